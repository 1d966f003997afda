"""What `edgekit device status` asks of a device and how it is shown."""

from typing import TYPE_CHECKING, Any

from edgekit.cli.options import console, output

if TYPE_CHECKING:
    from edgekit.device import Device


def ask(device: "Device") -> "dict[str, Any] | Exception":
    """What the agent says of the device and of its store, and whether its profile is true of it; or the error."""
    from edgekit.errors import EdgekitError
    from edgekit.target import load_target
    from edgekit.target_facts import check_facts, read_reported
    from edgekit.transport import connect
    from edgekit.transport.agent import call, prepare_agent, result

    try:
        target = load_target(device.table.target) if device.table.target else None
        with connect(device) as connection:
            agent = prepare_agent(connection)
            info = result(call(agent, "info", {"root": agent.root}))
            status = result(call(agent, "status", {"root": agent.root}))
        findings = check_facts(target, read_reported(info)) if target else ()
    except EdgekitError as err:
        return err
    return {"info": info, "status": status, "findings": findings}


def describe(device: "Device", answer: "dict[str, Any] | Exception") -> dict[str, Any]:
    if isinstance(answer, Exception):
        return {"name": device.name, "reachable": False, "error": _error(answer)}
    told = {part: {k: v for k, v in answer[part].items() if k != "event"} for part in ("info", "status")}
    return {"name": device.name, "reachable": True, **told, "findings": answer["findings"]}


def _error(err: Exception) -> dict[str, Any]:
    return {"kind": type(err).__name__, "message": getattr(err, "message", str(err)), "hint": getattr(err, "hint", "")}


def print_status(devices: "list[Device]", answers: "list[dict[str, Any] | Exception]") -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("device", "board", "runtime", "free", "models", "gauges", box=None, pad_edge=False)
    for device, answer in zip(devices, answers, strict=True):
        if isinstance(answer, Exception):
            table.add_row(device.name, "[red]cannot be asked[/]", "", "", "", "")
            continue
        info, status = answer["info"], answer["status"]
        runtime = info["runtime"]
        table.add_row(
            device.name,
            info["board"] or info["cpu"] or info["architecture"],
            f"{runtime['name']} {runtime['version']}" if runtime else "none: edgekit device setup",
            _size(status["free_bytes"]),
            "\n".join(_model(model) for model in status["models"]) or "-",
            "\n".join(escape(_gauge(gauge)) for gauge in info["gauges"]) or "-",
        )
    output().print(table)
    for device, answer in zip(devices, answers, strict=True):
        if isinstance(answer, Exception):
            error = _error(answer)
            message = error["message"].removeprefix(f"{device.name}: ")
            console().print(f"[red]{escape(device.name)}[/]: {escape(message)}\n  next: {escape(error['hint'])}")
            continue
        said = [(note["message"], note["fix"]) for note in answer["info"]["blocked"]]
        for message, fix in [*said, *((finding.message, finding.fix) for finding in answer["findings"])]:
            console().print(f"{escape(device.name)}: {escape(message)}\n  fix: {escape(fix)}")


UNITS = {"power_w": "W", "energy_j": "J", "current_a": "A", "capacity_percent": "%"}
"""The channels of which the first that a gauge has is shown, and their units."""


def _gauge(gauge: dict[str, Any]) -> str:
    """Its name and the most telling of its values."""
    reading = gauge["reading"] or {}
    told = next((f"{reading[name]:.4g} {unit}" for name, unit in UNITS.items() if name in reading), "silent")
    return f"{gauge['name']} {told}"


def _size(free_bytes: int) -> str:
    return f"{free_bytes / 1e9:.1f} GB" if free_bytes >= 1e9 else f"{free_bytes / 1e6:.0f} MB"  # noqa: PLR2004


def _model(model: dict[str, Any]) -> str:
    active = f"{model['active'][:12]} active" if model["active"] else "none active"
    if model["release"]:
        active = f"{model['release']} ({model['active'][:12]}) active"
    return f"{model['name']}: {active}{', DAMAGED' if model['damaged'] else ''}"
