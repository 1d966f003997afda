"""``edgekit --help`` against ``litert-benchmark --help``: wall time with .pyc files present.

python -m benchmarks.help_time [--pairs 20] [--json FILE]

Fresh processes, alternating; a first pair, not counted, writes the .pyc files of both into one folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from benchmarks.harness import SCRIPTS, Row, alternating, finish, paired, parser

LIMIT = 0.5


def wall(script: str, cache: str) -> float:
    """Seconds from start to exit of ``SCRIPT --help``."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = cache
    start = time.perf_counter()
    subprocess.run([SCRIPTS / script, "--help"], env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--pairs", type=int, default=20)
    options = arguments.parse_args()
    pairs = []
    with tempfile.TemporaryDirectory() as cache:
        for number in range(-1, options.pairs):
            order = alternating(number, "edgekit", "litert-benchmark")
            times = {script: wall(script, cache) for script in order}
            if number >= 0:
                pairs.append(times)
    ratio = paired([times["edgekit"] / times["litert-benchmark"] for times in pairs])
    what = "edgekit --help / litert-benchmark --help, wall"
    row = Row(what=what, measured=f"{ratio:.2f}", to_reach=f"<= {LIMIT}", ok=ratio.value <= LIMIT)
    return finish([row], {"pairs_s": pairs}, options.json)


if __name__ == "__main__":
    sys.exit(main())
