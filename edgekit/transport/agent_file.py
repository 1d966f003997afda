"""The agent as one file: ``edgekit/agent`` packed as a zipapp."""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ENTRY = """import sys

from edgekit.agent.__main__ import main

sys.exit(main())
"""


@dataclass(frozen=True, kw_only=True)
class AgentFile:
    """The agent as one file."""

    data: bytes
    """A zipapp, deterministic: the same sources give the same bytes."""
    digest: str
    """sha256, hexadecimal; its name on the device."""


@cache
def build_agent() -> AgentFile:
    """Pack ``edgekit/agent`` as a zipapp whose bytes depend on its sources alone."""
    import edgekit.agent

    folder = Path(edgekit.agent.__file__).parent
    files = {
        "__main__.py": ENTRY.encode(),
        "edgekit/__init__.py": b'"""The part of edgekit that runs on a device."""\n',
    }
    for path in folder.rglob("*.py"):
        files[f"edgekit/agent/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o100644 << 16
            archive.writestr(info, files[name])
    data = packed.getvalue()
    return AgentFile(data=data, digest=hashlib.sha256(data).hexdigest())
