"""What this machine and a device have of what edgekit needs, and how to get the rest."""

from edgekit.doctor.check import HERE, Check
from edgekit.doctor.device import examine_device, judge_facts
from edgekit.doctor.host import environment_check, examine_host
from edgekit.errors import foreign_errors
from edgekit.progress import Progress
from edgekit_converters.environments import TOOLS, prepare

__all__ = ["Check", "examine", "examine_device", "examine_host", "install"]


def examine() -> tuple[Check, ...]:
    """This machine: as the host that builds, and as a device that runs models and measures them."""
    from edgekit.agent.doctor import examine as look
    from edgekit.device import DeviceTable

    facts = look(DeviceTable().root, (), ())
    told = {("machine", "ok"), ("runtime", "ok")}  # the host's checks say it, too
    here = (check for check in judge_facts(facts, None, where=HERE) if (check.group, check.state) not in told)
    return (*examine_host(), *here)


def install(extra: str, progress: Progress) -> Check:
    """Make a tool's environment now instead of on first use; raises ModelError naming what is in the way."""
    with foreign_errors():
        return environment_check(prepare(TOOLS[extra], progress))
