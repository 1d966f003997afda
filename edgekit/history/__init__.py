"""Every run is kept: one JSON file each below ``.edgekit/runs``; found again by id, prefix, ``latest`` or path."""

from edgekit.history.find import DamagedRun, find_baseline, find_run, list_runs, read_run
from edgekit.history.record import RunRecord
from edgekit.history.store import Kept, keep

__all__ = ["DamagedRun", "Kept", "RunRecord", "find_baseline", "find_run", "keep", "list_runs", "read_run"]
