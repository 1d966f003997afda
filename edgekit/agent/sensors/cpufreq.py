"""CPU clocks and governors: /sys/devices/system/cpu/cpufreq/policy*.

Source: https://docs.kernel.org/admin-guide/pm/cpufreq.html (scaling_cur_freq in kHz, scaling_governor,
affected_cpus: the CPUs of a policy share one clock). A virtual machine usually has none of it.
"""

import os
from typing import Any, Dict, List, Optional

from edgekit.agent.events import AgentError
from edgekit.agent.sensors import entries, read_int, read_text

POLICIES = "sys/devices/system/cpu/cpufreq"


def read_policies(root: str = "/") -> List[Dict[str, Any]]:
    """``name``, ``cpus``, ``governor`` and ``khz``, ``min_khz``, ``max_khz`` (or None) of every policy."""
    return [_read_policy(root, name) for name in entries(root, POLICIES, "policy")]


def _read_policy(root: str, name: str) -> Dict[str, Any]:
    folder = os.path.join(POLICIES, name)
    cpus = (read_text(root, os.path.join(folder, "affected_cpus")) or "").split()
    return {
        "name": name,
        "cpus": [int(cpu) for cpu in cpus if cpu.isdigit()],
        "governor": read_text(root, os.path.join(folder, "scaling_governor")),
        "khz": read_int(root, os.path.join(folder, "scaling_cur_freq")),
        "min_khz": read_int(root, os.path.join(folder, "scaling_min_freq")),
        "max_khz": read_int(root, os.path.join(folder, "scaling_max_freq")),
    }


def set_governor(governor: str, root: str = "/") -> Dict[str, str]:
    """Set the governor of every policy; returns what it was, for ``restore_governor``.

    Raises AgentError where there is no cpufreq, no such governor or no permission; nothing is changed then.
    """
    policies = entries(root, POLICIES, "policy")
    if not policies:
        raise AgentError(
            "device",
            "The device has no cpufreq: its governor cannot be set.",
            "Leave --governor out; a virtual machine's clock is its host's business.",
        )
    before: Dict[str, str] = {}
    try:
        for name in policies:
            was = read_text(root, os.path.join(POLICIES, name, "scaling_governor"))
            _write_governor(root, name, governor)
            if was is not None:
                before[name] = was
    except OSError as err:
        restore_governor(before, root)
        offered = read_text(root, os.path.join(POLICIES, policies[0], "scaling_available_governors"))
        raise AgentError(
            "device",
            "The governor %r cannot be set: %s." % (governor, err.strerror),
            "Log in as a user who may write scaling_governor (root), or set it there before. It offers: %s."
            % (offered or "not known"),
        ) from err
    return before


def restore_governor(before: Dict[str, str], root: str = "/") -> Optional[str]:
    """Put back what ``set_governor`` returned; the answer is None, or what went wrong."""
    failed = None
    for name, governor in before.items():
        try:
            _write_governor(root, name, governor)
        except OSError as err:
            failed = "%s stays off %r: %s" % (name, governor, err.strerror)
    return failed


def _write_governor(root: str, name: str, governor: str) -> None:
    with open(os.path.join(root, POLICIES, name, "scaling_governor"), "w") as stream:
        stream.write(governor)
