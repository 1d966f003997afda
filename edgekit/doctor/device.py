"""What a device has of what a deployment needs, from what its agent found: pure, one function a group of checks."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from edgekit.delegate_pairs import known_mismatches
from edgekit.doctor.check import HERE, Check, judge
from edgekit.entries import FindingEntry
from edgekit.target import Accelerator, Target
from edgekit.target_facts import check_facts, read_reported
from edgekit.transport import Connection

Facts = Mapping[str, Any]
"""What ``edgekit/agent/doctor.py`` returns."""
LITTLE_DISK_BYTES = 100e6
BUILT_IN = frozenset({"xnnpack", "none", "tensorrt", "ethos-u"})
"""Delegates that are no library which a TFLite runtime loads."""


def examine_device(connection: Connection, target: Target | None) -> tuple[Check, ...]:
    """Ask the device's agent; ``target`` is its profile where one is known. Raises TransportError."""
    from edgekit.transport.agent import call, prepare_agent, result

    agent = prepare_agent(connection)
    request = {"root": agent.root, **asked(target, connection.device.table.delegate)}
    facts = result(call(agent, "doctor", request))
    return judge_facts(facts, target, where=connection.device.name, delegate=connection.device.table.delegate)


def asked(target: Target | None, delegate: str | None) -> dict[str, list[str]]:
    """The libraries and device nodes that the agent shall look for."""
    accelerators = target.accelerators if target else ()
    names = [delegate] if delegate else [item.delegate for item in accelerators]
    return {
        "libraries": [name for name in names if name not in BUILT_IN],
        "nodes": [node for item in accelerators for node in item.device_nodes],
    }


def judge_facts(facts: Facts, target: Target | None, *, where: str, delegate: str | None = None) -> tuple[Check, ...]:
    """Every check that the facts allow."""
    found: list[Check] = []
    for check in CHECKS:
        found.extend(check(facts, target, where))
    found.extend(_delegates(facts, target, where, delegate))
    return tuple(found)


def _machine(facts: Facts, _target: Target | None, where: str) -> Iterator[Check]:
    python = f"{facts['python']} ({facts['python_executable']})"
    yield judge("machine", "python", python, "runs the agent", "", where=where)
    machine = f"{facts['board'] or facts['cpu'] or 'unnamed'}, {facts['architecture']}, {facts['bits']} bit"
    yield judge("machine", "board", machine, "decides which runtime fits", "", where=where)
    yield judge(
        "machine",
        "C library",
        facts["libc"],
        "what the runtime's wheels link against",
        "The wheels need glibc: use Raspberry Pi OS, Debian or Ubuntu rather than a musl system.",
        nothing="not glibc",
        where=where,
    )


def _runtime(facts: Facts, _target: Target | None, where: str) -> Iterator[Check]:
    fix = 'pip install "edgekit"' if where == HERE else f"edgekit device setup {where}"
    for item in facts["runtimes"]:
        text = f"{item['version'] or 'unknown version'}" + (f": {item['error']}" if item["error"] else "")
        yield Check(
            group="runtime",
            name=item["name"],
            state="broken" if item["error"] else "ok",
            found=text,
            purpose="runs models",
            fix=fix if item["error"] else None,
            where=where,
        )
    if not facts["runtimes"]:
        yield judge("runtime", "TFLite runtime", None, "runs models", fix, absent="broken", where=where)
    yield judge("runtime", "numpy", facts["numpy"], "holds tensors", fix, absent="broken", where=where)


def _profile(facts: Facts, target: Target | None, where: str) -> Iterator[Check]:
    """What the profile says of the device that it does not confirm, and library and runtime that do not fit."""
    if target is None:
        return
    findings = [*check_facts(target, read_reported(facts)), *_mismatches(facts)]
    for finding in findings:
        yield Check(
            group="profile",
            name=finding.name,
            state="broken",
            found=finding.message,
            purpose="what is built and how it runs",
            fix=finding.fix,
            where=where,
        )
    if not findings:
        yield judge("profile", target.name, "the device confirms it", "what is built and how it runs", "", where=where)


def _mismatches(facts: Facts) -> Iterator[FindingEntry]:
    """Pairs of library and runtime that are known to crash."""
    works = next((item for item in facts["runtimes"] if not item["error"]), None)
    libc = re.fullmatch(r"glibc ([0-9.]+)", facts["libc"] or "")
    for found in facts["libraries"].values():
        if found and works and works["version"]:
            yield from known_mismatches(
                works["name"],
                works["version"],
                library=found["real_path"],
                package=found["package"],
                python=facts["python"],
                glibc=libc[1] if libc else None,
            )


def _sensors(facts: Facts, _target: Target | None, where: str) -> Iterator[Check]:
    sensors = "docs/sensors.md says which boards and meters there are."
    for gauge in facts["gauges"]:
        reads = ", ".join(f"{name} {value:.4g}" for name, value in sorted((gauge["reading"] or {}).items()))
        yield judge("sensor", gauge["name"], reads or None, "energy", sensors, nothing="does not answer", where=where)
    if not facts["gauges"] and not facts["blocked"]:
        yield judge("sensor", "power", None, "energy", f"Attach an external meter. {sensors}", where=where)
    heat = ", ".join(f"{name} {value:.0f} C" for name, value in sorted(facts["temperatures_c"].items())) or None
    yield judge("sensor", "temperature", heat, "tells a hot run from a cold one", sensors, where=where)


def _permissions(facts: Facts, _target: Target | None, where: str) -> Iterator[Check]:
    for note in facts["blocked"]:
        yield Check(
            group="permission",
            name=note["name"],
            state="missing",
            found=note["message"],
            purpose="energy",
            fix=note["fix"],
            where=where,
        )
    root, disk = facts["root"], facts["disk"]
    usable = root["writable"] and root["executable"] is not False
    why = "not writable" if not root["writable"] else "mounted noexec"
    yield Check(
        group="permission",
        name="edgekit's folder",
        state="ok" if usable else "broken",
        found=root["path"] if usable else f"{root['path']}: {why} for {facts['user']}",
        purpose="agent, runtime, models",
        fix=None if usable else "Set `root` in the device's table to a folder of the login user's.",
        where=where,
    )
    if disk is not None:
        enough = disk["free_bytes"] >= LITTLE_DISK_BYTES
        yield Check(
            group="permission",
            name="disk",
            state="ok" if enough else "missing",
            found=f"{disk['free_bytes'] / 1e9:.1f} of {disk['total_bytes'] / 1e9:.1f} GB free",
            purpose="runtime and models",
            fix=None if enough else "Free some space: a runtime takes about 100 MB.",
            where=where,
        )
    if facts["governor"] is not None:
        yield judge(
            "permission",
            "CPU governor",
            "may be set" if facts["governor"] else None,
            "bench --governor",
            f"Log in as root for it, or set it there before; {facts['user']} may not.",
            nothing="may not be set",
            where=where,
        )


def _delegates(facts: Facts, target: Target | None, where: str, delegate: str | None) -> Iterator[Check]:
    for name, found in facts["libraries"].items():
        accelerator = _accelerator(target, name)
        needed = delegate is not None or (target is not None and accelerator is target.accelerators[0])
        source = f" ({accelerator.source})" if accelerator else ""
        if found is None:
            yield judge(
                "delegate",
                name,
                None,
                "the accelerator",
                f"Install the vendor's library there{source}, or set `delegate` in the device's table to its path.",
                absent="broken" if needed else "missing",
                where=where,
            )
            continue
        fits = found["machine"] == facts["architecture"]
        path = found["path"] if found["path"] == found["real_path"] else f"{found['path']} -> {found['real_path']}"
        other = f"{path} is {'for ' + found['machine'] if found['machine'] else 'no ELF file'}"
        yield Check(
            group="delegate",
            name=name,
            state="ok" if fits else "broken",
            found=path if fits else f"{other}; the device is {facts['architecture']}",
            purpose="the accelerator",
            fix=None if fits else f"Install the library for {facts['architecture']}{source}.",
            where=where,
        )
    for accelerator in target.accelerators if target else ():
        if accelerator.device_nodes:
            yield _node(facts, accelerator, where)


def _node(facts: Facts, accelerator: Accelerator, where: str) -> Check:
    """Whether one of the files by which the kernel shows the accelerator is there, and may be used."""
    seen = {path: facts["nodes"].get(path) for path in accelerator.device_nodes}
    usable = next((path for path, node in seen.items() if node and node["usable"]), None)
    locked = next(((path, node) for path, node in seen.items() if node), None)
    purpose = f"the kernel's driver of {accelerator.name}"
    if usable or locked is None:
        fix = f"Is it plugged in, and its driver loaded? See {accelerator.source}"
        nothing = f"none of {', '.join(seen)}"
        return judge("delegate", accelerator.name, usable, purpose, fix, nothing=nothing, where=where)
    path, node = locked
    return Check(
        group="delegate",
        name=accelerator.name,
        state="broken",
        found=f"{path} may not be opened by {facts['user']} (groups {', '.join(facts['groups'])})",
        purpose=purpose,
        fix=f"sudo usermod -aG {node['group']} {facts['user']}, then log in again.",
        where=where,
    )


def _accelerator(target: Target | None, library: str) -> Accelerator | None:
    return next((item for item in target.accelerators if item.delegate == library), None) if target else None


CHECKS: tuple[Callable[[Facts, Target | None, str], Iterator[Check]], ...] = (
    _machine,
    _runtime,
    _profile,
    _sensors,
    _permissions,
)
