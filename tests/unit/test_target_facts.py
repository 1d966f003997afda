"""A profile that is not true of its device is told by key, with both values; a model too large for it, too."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.audit import read
from edgekit.bench import BenchOptions, bench
from edgekit.cli.device_status import ask, describe, print_status
from edgekit.device import Device, DeviceTable
from edgekit.errors import DeviceFaultError, TargetError
from edgekit.target import Target, list_targets, load_target
from edgekit.target_facts import (
    RESERVED_MIB,
    Reported,
    check_facts,
    check_memory,
    peak_activation_bytes,
    read_reported,
)
from edgekit.transport import connect
from edgekit_converters.structure import OpInfo, Structure, TensorInfo

pytestmark = pytest.mark.unit
MIB = 1024 * 1024
RPI4 = load_target("rpi4")
BOARD = Reported(architecture="aarch64", cores=4, memory_bytes=3794 * MIB, cpu="Cortex-A72")
"""A Raspberry Pi 4 of 4 GB."""


def names(target: Target, **facts: Any) -> list[str]:
    return [finding.name for finding in check_facts(target, msgspec.structs.replace(BOARD, **facts))]


def test_a_true_profile_has_no_findings() -> None:
    assert names(RPI4) == []
    assert check_facts(RPI4, Reported()) == (), "what a device does not tell contradicts nothing"


@pytest.mark.parametrize(
    ("facts", "name", "message"),
    [
        ({"memory_bytes": 1841 * MIB + 14_000 * MIB}, "profile-ram-mib",
         "The profile rpi4 says memory.ram_mib 1024 or 2048 or 4096 or 8192, and the device reports 15841 MiB."),
        ({"memory_bytes": 420 * MIB}, "profile-ram-mib", "and the device reports 420 MiB."),
        ({"cores": 8}, "profile-cores", "says cpu.cores 4, and the device reports 8."),
        ({"cores": 2}, "profile-cores", "says cpu.cores 4, and the device reports 2."),
        ({"architecture": "x86_64"}, "profile-architecture", "aarch64, and the device reports x86_64."),
        ({"architecture": "armv8l"}, "profile-architecture", "reports armv8l."),
        ({"cpu": "Cortex-A7"}, "profile-model", "says cpu.model Cortex-A72, and the device reports Cortex-A7."),
    ],
)  # fmt: skip
def test_each_key_that_is_not_true_is_told_with_both_values(facts: dict[str, Any], name: str, message: str) -> None:
    (finding,) = check_facts(RPI4, msgspec.structs.replace(BOARD, **facts))
    assert (finding.name, finding.severity) == (name, "warning")
    assert message in finding.message
    assert "edgekit target new NAME --from rpi4" in finding.fix


@pytest.mark.parametrize(
    ("target", "facts"),
    [
        ("rpi3", {"cpu": "Cortex-A53", "memory_bytes": 906 * MIB}),  # gpu_mem=76
        ("rpi-zero-2w", {"cpu": "Cortex-A53", "memory_bytes": 416 * MIB}),
        ("rpi5", {"cpu": "Cortex-A76", "memory_bytes": 8063 * MIB}),
        ("jetson-orin-nano", {"cpu": "Cortex-A78AE", "cores": 6, "memory_bytes": 7620 * MIB}),
        ("rk3588", {"cpu": "Cortex-A55", "cores": 8, "memory_bytes": 15_900 * MIB}),  # the first core of /proc/cpuinfo
        ("x86-64", {"architecture": "x86_64", "cpu": "AMD EPYC 7B13", "cores": 64, "memory_bytes": 512 * 1024 * MIB}),
        ("android-arm64", {"cpu": "Cortex-A55", "cores": 8}),
    ],
)
def test_what_boards_really_report_is_no_contradiction(target: str, facts: dict[str, Any]) -> None:
    assert names(load_target(target), **facts) == []


def test_fewer_cores_than_the_least_there_is_are_a_contradiction_even_where_machines_differ() -> None:
    assert names(load_target("android-arm64"), cores=2) == ["profile-cores"]


@given(st.sampled_from([target for target in list_targets() if target.memory.ram_mib]), st.integers(0, 2**40))
def test_memory_is_accepted_below_a_size_and_never_above_the_largest(target: Target, memory_bytes: int) -> None:
    refused = "profile-ram-mib" in {f.name for f in check_facts(target, Reported(memory_bytes=memory_bytes))}
    if memory_bytes > max(target.memory.ram_mib) * MIB:
        assert refused
    if any(size * 0.85 * MIB <= memory_bytes <= size * MIB for size in target.memory.ram_mib):
        assert not refused
    if 0 < memory_bytes < (min(target.memory.ram_mib) * 0.8 - RESERVED_MIB) * MIB:
        assert refused


@pytest.mark.parametrize("facts", [{"cores": "four"}, {"memory_bytes": -1}, {"cores": 2**63}, {"cpu": "x" * 1001}])
def test_what_a_device_says_is_checked(facts: dict[str, Any]) -> None:
    with pytest.raises(DeviceFaultError, match=f"what the device says of itself: {next(iter(facts))}: Expected"):
        read_reported({"event": "done", **facts})


# --- a model against the memory


def tensor(index: int, mib: int, *, constant: bool = False, variable: bool = False, size: int = MIB) -> TensorInfo:
    shape = (mib * size,)
    return TensorInfo(
        name=str(index), dtype="int8", shape=shape, constant=constant, scales=0, index=index, variable=variable
    )


def structure(
    ops: list[tuple[list[TensorInfo], list[TensorInfo]]], size_bytes: int = 0, *unread: TensorInfo
) -> Structure:
    infos = tuple(
        OpInfo(name="ADD", custom=None, version=1, inputs=tuple(taken), outputs=tuple(made), index=place)
        for place, (taken, made) in enumerate(ops)
    )
    used = {t.index: t for op in infos for t in (*op.inputs, *op.outputs) if t is not None}
    return Structure(
        size_bytes=size_bytes, inputs=(), outputs=(), tensors=(*used.values(), *unread), ops=infos, subgraphs=1
    )


def test_activations_that_are_never_alive_together_share_their_memory() -> None:
    a, b, c, d = (tensor(index, 10) for index in range(4))
    chain = structure([([a], [b]), ([b], [c]), ([c], [d])])
    assert peak_activation_bytes(chain) == 20 * MIB
    branch = structure([([a], [b]), ([a], [c]), ([b, c], [d])])
    assert peak_activation_bytes(branch) == 30 * MIB
    weights = structure([([a, tensor(9, 500, constant=True)], [b])])
    assert peak_activation_bytes(weights) == 20 * MIB, "weights are in the file"
    state = structure([([a], [b]), ([b], [c])], 0, tensor(9, 7, variable=True))
    assert peak_activation_bytes(state) == 27 * MIB


def test_an_open_shape_has_no_peak() -> None:
    unknown = replace(tensor(0, 1), shape=(-1, 3))
    assert peak_activation_bytes(structure([([unknown], [tensor(1, 1)])])) is None
    assert list(check_memory(structure([([unknown], [tensor(1, 1)])], 2**40), RPI4)) == []


def test_a_model_larger_than_the_smallest_board_is_a_finding() -> None:
    large = structure([([tensor(0, 300)], [tensor(1, 300)])], 500 * MIB)
    (finding,) = check_memory(large, RPI4)
    assert finding.name == "memory"
    assert finding.message == (
        "The model needs at least 1,100 MiB (500 of the file, 600 of activations) on rpi4, and its smallest has "
        "1,024 MiB of RAM."
    )
    assert list(check_memory(large, load_target("rpi5"))), "1 GB is its smallest, too"
    assert list(check_memory(large, load_target("imx8mp"))) == []
    assert list(check_memory(large, load_target("x86-64"))) == [], "machines differ"
    assert list(check_memory(large, load_target("nucleo-h743zi"))) == [], "TFLite Micro measures the arena"
    (only,) = check_memory(large, load_target("rpi-zero-2w"))
    assert "on rpi-zero-2w, which has 512 MiB of RAM" in only.message


def test_a_real_model_needs_what_its_layers_hold(cases: Path) -> None:
    found = peak_activation_bytes(read((cases / "models" / "tflite_ref" / "kws_int8.tflite").read_bytes()))
    assert found == 2 * 25 * 5 * 64, "a block's input and output"


# --- where a device is reached


@pytest.fixture
def liar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    """This machine, said to be a 32-bit board of 16 MiB."""
    text = (Path(__file__).parents[2] / "targets" / "x86-64.toml").read_text()
    folder = tmp_path / "targets"
    folder.mkdir()
    text = text.replace('name = "x86-64"', 'name = "liar"').replace("# differs between machines", "ram_mib = [16]")
    (folder / "liar.toml").write_text(text.replace('architecture = "x86_64"', 'architecture = "armv7l"'))
    monkeypatch.chdir(tmp_path)
    return Device(name="local", transport="local", table=DeviceTable(target="liar", root=str(tmp_path / "root")))


def test_status_tells_a_profile_that_is_not_true(liar: Device, capsys: pytest.CaptureFixture[str]) -> None:
    answer = ask(liar)
    assert isinstance(answer, dict), answer
    assert {"profile-ram-mib", "profile-architecture"} <= {finding.name for finding in answer["findings"]}
    assert describe(liar, answer)["findings"] == answer["findings"]
    print_status([liar], [answer])
    told = capsys.readouterr().err
    assert "local: The profile liar says memory.ram_mib 16, and the device reports" in told
    assert "fix: Give the device another `target`, or correct the profile; a shipped one in a copy: " in told


def test_status_of_a_device_whose_target_is_no_profile_is_an_error(liar: Device) -> None:
    lost = msgspec.structs.replace(liar, table=msgspec.structs.replace(liar.table, target="liah"))
    answer = ask(lost)
    assert isinstance(answer, TargetError)
    assert "There is no target 'liah'" in answer.message
    assert "liar" in answer.hint


def test_a_benchmark_tells_it_too(liar: Device, cases: Path) -> None:
    options = BenchOptions(num_runs=1, warmup_runs=0, min_secs=0.0, processes=1)
    with connect(liar) as connection:
        report = bench(cases / "models" / "tflite_ref" / "kws_int8.tflite", connection, options)
    assert {"profile-ram-mib", "profile-architecture"} <= {finding.name for finding in report.findings}
    assert report.valid, "the samples are what they are"
