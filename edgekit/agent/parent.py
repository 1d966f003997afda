"""A process that measures ends with the agent that started it, however that ends: nothing else would stop it."""

import os
import signal

VARIABLE = "EDGEKIT_AGENT_PID"
"""Environment variable of the processes that the agent starts: its process id."""
PR_SET_PDEATHSIG = 1
"""linux/prctl.h; prctl(2)."""


def end_with_parent() -> None:
    """Have the kernel kill this process when the agent that started it dies; nothing for others, and without Linux."""
    parent = os.environ.pop(VARIABLE, None)
    if parent is None:
        return
    try:
        import ctypes  # numpy needs it anyway

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    except (ImportError, OSError, AttributeError):
        return
    if os.getppid() != int(parent):  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)
