"""Remove a kernel module, so many seconds after a model began to run by a schedule: unplug.py MODULE SECONDS."""

import pathlib
import subprocess
import sys
import time

SCHEDULE = b"record-process"


def is_recording() -> bool:
    """Whether the agent's process of a schedule runs."""
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if SCHEDULE in path.read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


def main() -> None:
    module, seconds = sys.argv[1:]
    print("ready", flush=True)
    while not is_recording():
        time.sleep(0.2)
    time.sleep(float(seconds))
    subprocess.run(["busybox", "rmmod", module], check=True)
    time.sleep(3600)  # until whoever started it ends it


if __name__ == "__main__":
    main()
