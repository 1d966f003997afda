"""Target profiles: every shipped file is true to its form; an invalid one names file, key, found and expected."""

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.cli import cli
from edgekit.cli.failures import guarded
from edgekit.compilers import COMPILERS, load_compiler
from edgekit.errors import TargetError
from edgekit.micro.resolver import BUILTINS
from edgekit.new_target import new_target
from edgekit.placement.rules import load_rules
from edgekit.target import Target, list_targets, load_target, read_target, target_folders

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[2]
SHIPPED = sorted(target_folders(Path("/nonexistent"))[1].glob("*.toml"))
EXPECTED = {
    "rpi3", "rpi4", "rpi5", "rpi-zero-2w", "coral-dev-board", "coral-dev-board-mini", "coral-usb",
    "jetson-orin-nano", "jetson-orin-nano-cpu", "android-arm64", "android-gpu", "android-npu-qualcomm",
    "android-npu-mediatek", "android-npu-samsung", "android-npu-google", "imx8mp", "imx93", "rpi5-hailo-8l",
    "rk3588", "rk3568", "rk3566", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512",
    "ethos-u85-256", "nucleo-f446re", "arduino-nano-33-ble", "nucleo-h743zi", "corstone-300", "x86-64",
}  # fmt: skip
SENSORS = {path.stem for path in (ROOT / "edgekit" / "agent" / "sensors").glob("[a-z]*.py")}

shipped = pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)


def urls(value: Any, key: str = "") -> Iterator[str]:
    """Everything under a key ``source``."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from urls(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from urls(inner, key)
    elif key == "source":
        yield value


@shipped
def test_every_shipped_profile_loads_and_cites_its_sources(path: Path) -> None:
    target = read_target(path)
    text = path.read_text()
    cited = [*urls(tomllib.loads(text)), *re.findall(r"https?://[^\s,;)\"]+", text)]
    assert len(cited) >= 4
    for url in cited:
        parts = urlsplit(url)
        assert parts.scheme == "https", url
        assert re.fullmatch(r"[a-z0-9.-]+\.[a-z]{2,}", parts.netloc), url
        assert not url.endswith((".", ":")), url
    told = target.memory.ram_mib or target.memory.sram_kib
    assert target.memory.source if told else "# " in text.split("[memory]")[1].split("[")[0], "why is it not told?"
    assert max(len(line) for line in text.splitlines() if "https://" not in line) <= 200


@shipped
def test_its_names_are_known_where_they_are_used(path: Path) -> None:
    target = read_target(path)
    for accelerator in target.accelerators:
        assert accelerator.rules is None or load_rules(accelerator.rules).name == accelerator.rules
        if accelerator.compiler is not None:
            compiler = load_compiler(accelerator.compiler)
            assert set(accelerator.settings) <= set(compiler.SETTINGS)
            assert set(target.runtime.custom_ops) >= compiler.ACCELERATOR_OPS, "what its files hold can be resolved"
        assert (accelerator.kind == "cpu") == (accelerator.delegate == "xnnpack")
        assert all(re.fullmatch(r"/dev/[a-z0-9_/-]+", node) for node in accelerator.device_nodes)
    for sensor in target.sensors:
        assert sensor.kind in SENSORS
    assert len({(sensor.quantity, sensor.kind) for sensor in target.sensors}) == len(target.sensors)


@shipped
def test_its_facts_are_plausible_and_none_is_said_twice(path: Path) -> None:
    target = read_target(path)
    for values in (target.memory.ram_mib, target.runtime.ops, target.runtime.custom_ops, target.quantization.io_dtypes,
                   target.quantization.precisions):  # fmt: skip
        assert len(set(values)) == len(values)
    assert list(target.memory.ram_mib) == sorted(target.memory.ram_mib)
    assert all(size % 512 == 0 for size in target.memory.ram_mib), "sold in steps of 512 MiB"
    assert target.cpu.clock_mhz is None or 16 <= target.cpu.clock_mhz <= 6000
    assert target.support.missing == "" or re.fullmatch(r"[eA-Z].*\.", target.support.missing)
    assert (target.support.deploy == "ready") == (target.os == "linux" and target.runtime.kind == "tflite")
    assert "\n\n\n" not in path.read_text()


def test_no_two_profiles_are_the_same_machine() -> None:
    targets = list_targets(Path("/nonexistent"))
    assert len({target.description for target in targets}) == len(targets)


def test_microcontrollers_have_the_ops_of_tflite_micro() -> None:
    micro = [target for target in list_targets(Path("/nonexistent")) if target.os == "none"]
    assert len(micro) >= 9
    for target in micro:
        more = set(target.runtime.ops) - set(BUILTINS)
        assert set(target.runtime.ops) >= set(BUILTINS)
        assert not more or "ethos-u" in target.runtime.custom_ops, "what only the NPU has"


def test_the_boards_of_the_readme_are_there() -> None:
    assert {path.stem for path in SHIPPED} >= EXPECTED


def test_every_compiler_has_a_target() -> None:
    used = {accelerator.compiler for target in map(read_target, SHIPPED) for accelerator in target.accelerators}
    assert used >= set(COMPILERS)


@pytest.mark.parametrize(
    ("line", "replacement", "message", "hint"),
    [
        ("cores = 4", 'cores = "four"', "cpu.cores: Expected `int`, got `str`, found 'four'", ""),
        ("cores = 4", "corse = 4", "cpu: Object contains unknown field `corse`", "Did you mean 'cores'?"),
        ("cores = 4", "", "cpu: Object missing required field `cores`", ""),
        ("cores = 4", "cores = 1_000_000_000", "cpu.cores: Expected `int` <= 1024, found 1000000000", ""),
        ("cores = 4", "cores = 0", "cpu.cores: Expected `int` >= 1, found 0", ""),
        ("clock_mhz = 1800", "clock_mhz = -5.0", "cpu.clock_mhz: Expected `float` >= 1.0, found -5.0", ""),
        ("clock_mhz = 1800", "clock_mhz = nan", "cpu.clock_mhz: Expected `float`", ""),
        ("[1024, 2048", "[0, 2048", "memory.ram_mib[0]: Expected `int` >= 1, found 0", ""),
        ("[1024, 2048", "[-1024, 2048", "memory.ram_mib[0]: Expected `int` >= 1, found -1024", ""),
        ("cache_kib = 1024", "cache_kib = 99999999", "cpu.cache_kib: Expected `int` <= 4194304, found 99999999", ""),
        (
            "https://github.com/raspberrypi/documentation/blob/master/documentation/asciidoc/computers/processors/bcm2711.adoc",
            "the manual",
            "cpu.source: Expected",
            "",
        ),
        (
            'rules = "xnnpack"',
            'rules = "xnpack"',
            "accelerators[0].rules: found 'xnpack', expected the name of a file of",
            "Did you mean 'xnnpack'?",
        ),
        ('rules = "xnnpack"', 'rules = "magic"', "expected the name of a file of targets/rules/", "nobody tells"),
        (
            'rules = "xnnpack"',
            'settings = { system_config = "x" }',
            "accelerators[0].settings: found system_config, expected none without a compiler",
            "options",
        ),
        ('rules = "xnnpack"', "max_subgraphs = 0", "accelerators[0].max_subgraphs: Expected `int` >= 1, found 0", ""),
        ('delegate = "xnnpack"', 'delegate = "xnnpack"\ncompiler = "velo"', "Invalid enum value 'velo'", "'vela'"),
        (
            'kind = "tflite"',
            'kind = "rknn"',
            "runtime.kind: found 'rknn', expected an accelerator with compiler = 'rknn'",
            'runtime.kind = "tflite"',
        ),
        (
            'kind = "tflite"',
            'kind = "tflm"',
            "os, cpu.architecture, runtime.kind: found linux, aarch64, tflm, expected none, cortex-m, tflm together",
            "A microcontroller is all three",
        ),
        ('os = "linux"', 'os = "none"', "os, cpu.architecture, runtime.kind: found none, aarch64, tflite", ""),
        ('build = "ready"', 'build = "planned"', "support.missing: found nothing, expected a sentence", "Write it"),
        ('build = "ready"', 'build = "ready"\ndeploy = "elsewhere"', "support.missing: found nothing", "Write it"),
        (
            "[runtime]",
            '[[accelerators]]\nname = "xnnpack"\nkind = "cpu"\ndelegate = "x"\nsource = "https://x.org"\n[runtime]',
            "accelerators[1].name: found 'xnnpack', expected a name that neither",
            "",
        ),
        ('os = "linux"', 'os = "plan9"', "os: Invalid enum value 'plan9'", "'android', 'linux' or 'none'"),
        (
            'default_precision = "int8"',
            'default_precision = "int4"',
            "default_precision: Invalid enum value",
            "'int8'",
        ),
        (
            "int16_activations = true",
            "int16_activations = false",
            "found 'int16x8', expected none of it without int16_activations",
            "Set int16_activations = true",
        ),
        ("cores = 4", "cores = 4 4", "is not valid TOML", "line"),
        ('name = "rpi4"', 'name = "rpi9"', "name: found 'rpi9', expected 'mine'", "Rename"),
        (
            '"float32"]',
            '"float32", "int4"]',
            "quantization.precisions[5]: Invalid enum value 'int4'",
            "'float16'",
        ),
    ],
)
def test_an_invalid_profile_is_explained(tmp_path: Path, line: str, replacement: str, message: str, hint: str) -> None:
    text = next(path for path in SHIPPED if path.stem == "rpi4").read_text()
    assert line in text
    path = tmp_path / "mine.toml"
    name = line if line.startswith("name") else 'name = "rpi4"'
    path.write_text(
        text.replace(line, replacement).replace(name, 'name = "mine"')
        if line != name
        else text.replace(line, replacement)
    )
    with pytest.raises(TargetError) as caught:
        read_target(path)
    assert str(path) in caught.value.message
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_the_users_own_profile_comes_first(tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    text = next(path for path in SHIPPED if path.stem == "rpi4").read_text()
    (tmp_path / "targets" / "rpi4.toml").write_text(text.replace("Raspberry Pi 4 Model B", "My own board"))
    assert load_target("rpi4", tmp_path).description.startswith("My own board")
    assert [target.name for target in list_targets(tmp_path)].count("rpi4") == 1


def test_an_unknown_target_names_the_closest() -> None:
    with pytest.raises(TargetError) as caught:
        load_target("rpi-4")
    assert "rpi4" in caught.value.hint


@pytest.mark.parametrize("key", ["flash_kib", "sram_kib"])
def test_a_microcontroller_without_a_size_is_refused(tmp_path: Path, key: str) -> None:
    text = next(path for path in SHIPPED if path.stem == "nucleo-f446re").read_text()
    path = tmp_path / "nucleo-f446re.toml"
    path.write_text(re.sub(rf"{key} = \d+\n", "", text))
    with pytest.raises(
        TargetError, match=rf"memory\.{key}: found nothing, expected its size, as os is 'none'"
    ) as caught:
        read_target(path)
    assert "data sheet" in caught.value.hint


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=20),
    st.lists(st.integers(-5, 5), max_size=3), st.dictionaries(st.text("ab", max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@given(data=st.data(), value=LEAVES)
@settings(max_examples=100, deadline=None)
def test_a_profile_with_any_value_anywhere_is_read_or_refused(data: st.DataObject, value: Any) -> None:
    profile = tomllib.loads(next(path for path in SHIPPED if path.stem == "imx93").read_text())
    place: Any = profile
    while True:
        key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
        if not (isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans())):
            break
        place = place[key]
    if value is None:
        del place[key]
    else:
        place[key] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "imx93.toml"
        path.write_text(tomlkit.dumps(profile))
        try:
            found: Target | TargetError = read_target(path)
        except TargetError as err:
            found = err
        if isinstance(found, Target):
            assert found.cpu.cores > 0
            assert all(size > 0 for size in found.memory.ram_mib)
        else:
            assert found.message.startswith(f"{path}")
            assert found.hint


def test_rules_of_the_users_own_are_found_beside_the_profile(tmp_path: Path) -> None:
    (tmp_path / "targets" / "rules").mkdir(parents=True)
    (tmp_path / "targets" / "rules" / "mine.toml").write_text("")
    text = next(path for path in SHIPPED if path.stem == "rpi4").read_text()
    (tmp_path / "targets" / "rpi4.toml").write_text(text.replace('rules = "xnnpack"', 'rules = "mine"'))
    assert load_target("rpi4", tmp_path).accelerators[0].rules == "mine"


# --- target new


def test_a_new_profile_keeps_the_comments_and_loads(tmp_path: Path) -> None:
    path, target = new_target("porch", "rpi4", tmp_path)
    assert path == tmp_path / "targets" / "porch.toml"
    assert load_target("porch", tmp_path) == target
    assert target.description == "porch, from rpi4: Raspberry Pi 4 Model B, 64-bit Raspberry Pi OS"
    old = next(path for path in SHIPPED if path.stem == "rpi4").read_text().splitlines()
    changed = [line for line, was in zip(path.read_text().splitlines(), old, strict=True) if line != was]
    assert [line.split(" = ")[0] for line in changed] == ["name", "description"]
    assert not [file for file in path.parent.iterdir() if file != path], "nothing half-written"


@pytest.mark.parametrize("source", [path.stem for path in SHIPPED])
def test_every_profile_can_be_started_from(tmp_path: Path, source: str) -> None:
    _, target = new_target("mine", source, tmp_path, description="Mine")
    assert (target.name, target.description) == ("mine", "Mine")


def test_a_profile_that_is_there_is_overwritten_only_on_demand(tmp_path: Path) -> None:
    new_target("porch", "rpi4", tmp_path)
    with pytest.raises(TargetError, match=r"porch\.toml is there already") as caught:
        new_target("porch", "rpi5", tmp_path)
    assert "--force" in caught.value.hint
    assert load_target("porch", tmp_path).cpu.model == "Cortex-A72"
    new_target("porch", "rpi5", tmp_path, force=True)
    assert load_target("porch", tmp_path).cpu.model == "Cortex-A76"
    _, again = new_target("garden", "porch", tmp_path)
    assert again.cpu.model == "Cortex-A76", "from the user's own, too"


@pytest.mark.parametrize("name", ["Porch", "../porch", "", "a" * 64, "-x", "porch\n", "pörch"])
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(TargetError, match="cannot be the name of a target"):
        new_target(name, "rpi4", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "targets").write_text("")
    with pytest.raises(TargetError, match=r"porch\.toml cannot be written"):
        new_target("porch", "rpi4", tmp_path)


# --- the commands


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = guarded(cli, ["target", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_new_says_where_and_what_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "new", "porch", "--from", "rpi4", "--description", "The camera on the porch")
    assert code == 0
    assert "Wrote targets/porch.toml" in err
    assert "edgekit build --target porch" in err
    code, out, err = run(capsys, "show", "porch")
    assert code == 0
    assert 'description = "The camera on the porch"' in out
    assert "targets/porch.toml: tflite, 1 GiB to 8 GiB; edgekit builds and deploys." in err
    code, _, err = run(capsys, "new", "porch", "--from", "rpi4")
    assert code == 1
    assert "--force" in err
    code, out, _ = run(capsys, "new", "porch", "--from", "rpi5", "--force", "--json")
    assert json.loads(out)["target"]["cpu"]["model"] == "Cortex-A76"
    code, _, err = run(capsys, "new", "yard", "--from", "rpi44")
    assert code == 1
    assert "There is no target 'rpi44'" in err


def test_the_list_fits_100_columns_and_tells_what_edgekit_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "list")
    assert code == 0
    lines = [line.rstrip() for line in out.splitlines()]
    assert max(map(len, lines)) <= 100
    rows = {line.split()[0]: " ".join(line.split()) for line in lines}
    assert rows["rpi4"] == "rpi4 tflite xnnpack 1 GiB to 8 GiB builds, deploys"
    assert rows["coral-usb"] == "coral-usb tflite edgetpu, xnnpack - builds, deploys"
    assert rows["nucleo-f446re"] == "nucleo-f446re tflm - 128 KiB SRAM, 512 KiB flash builds"


def test_what_is_deployed_elsewhere_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "show", "nucleo-f446re")
    assert code == 0
    assert "edgekit builds." in err
    assert "does not flash microcontrollers" in err


# --- the page


def rows(target: Target) -> str:
    """A line of the table in docs/targets.md."""
    names = ", ".join(f"`{item.name}`" for item in target.accelerators) or "none"
    deploys = "yes" if target.support.deploy == "ready" else "elsewhere"
    return f"| `{target.name}` | {target.description} | {target.runtime.kind} | {names} | {deploys} |"


def test_the_page_has_every_profile_and_every_key() -> None:
    page = (ROOT / "docs" / "targets.md").read_text()
    for target in list_targets(Path("/nonexistent")):
        assert rows(target) in page
    assert len(re.findall(r"^\| `[a-z0-9-]+` \| .* \| (?:yes|elsewhere) \|$", page, re.MULTILINE)) == len(SHIPPED)
    for schema in json.loads((ROOT / "docs" / "schema" / "target.json").read_text())["$defs"].values():
        for key in schema.get("properties", {}):
            assert f"`{key}`" in page, key


@pytest.mark.parametrize("name", ["xnnpack", "cpu"])
def test_a_second_accelerator_has_a_name_of_its_own(tmp_path: Path, name: str) -> None:
    text = (ROOT / "targets" / "rpi4.toml").read_text()
    more = f'\n[[accelerators]]\nname = "{name}"\nkind = "npu"\ndelegate = "libx.so"\nsource = "https://example.com"\n'
    (tmp_path / "rpi4.toml").write_text(text + more)
    with pytest.raises(TargetError, match=rf"accelerators\[1\]\.name: found '{name}', expected a name that neither"):
        read_target(tmp_path / "rpi4.toml")


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rpi4.toml")
    with pytest.raises(TargetError, match="is a named pipe"):
        read_target(tmp_path / "rpi4.toml")


def test_a_profile_commands_no_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "targets").mkdir()
    text = (ROOT / "targets" / "rpi4.toml").read_text(encoding="utf-8")
    (tmp_path / "targets" / "rpi4.toml").write_text(f"# \x9b31m\n{text}", encoding="utf-8")
    assert guarded(cli, ["target", "show", "rpi4"]) == 0
    shown = capsys.readouterr().out
    assert "\x9b" not in shown
    assert "\N{REPLACEMENT CHARACTER}31m" in shown


def test_a_broken_file_of_ones_own_hides_no_other_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "bad.toml").write_text("x\n")
    monkeypatch.chdir(tmp_path)
    assert guarded(cli, ["target", "list"]) == 1
    captured = capsys.readouterr()
    assert "rpi4" in captured.out
    assert "error: targets/bad.toml is not valid TOML" in captured.err
