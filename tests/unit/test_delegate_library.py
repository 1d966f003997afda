"""A delegate's library that cannot be used: each cause is told from the others, with real libraries."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit.agent import delegates
from edgekit.agent.delegates import DelegateRefused, Elf, read_elf
from edgekit.agent.runtime import Model
from tests.unit.delegate_library import build_text
from tests.unit.delegate_models import chain

pytestmark = pytest.mark.unit

MODEL = chain(("ADD", "RELU"))
CREATE = "void* tflite_plugin_create_delegate(char** k, char** v, unsigned long n, void (*r)(const char*))"


def refuse(library: Path | str, options: dict[str, str] | None = None) -> DelegateRefused:
    with pytest.raises(DelegateRefused) as caught:
        Model(MODEL, str(library), delegate_options=options or {})
    return caught.value


def test_no_file(tmp_path: Path) -> None:
    err = refuse(tmp_path / "libnone.so")
    assert str(err) == f"There is no file {tmp_path / 'libnone.so'} on the device."
    assert err.hint.startswith("Install the delegate's library there")


def test_a_relative_path_says_from_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(refuse("./libnone.so")) == f"There is no file ./libnone.so on the device (from {tmp_path})."


def test_no_library_of_that_name() -> None:
    err = refuse("libnone_of_this_name.so.1")
    assert str(err) == "The loader of the device finds no libnone_of_this_name.so.1."
    assert "ldconfig -p" in err.hint


@pytest.mark.parametrize("name", ["ethos-u", "tensorrt"])
def test_what_an_artifact_was_made_for_is_no_library(name: str) -> None:
    err = refuse(name)
    assert str(err) == f"{name} is no library that a TFLite runtime loads."
    assert "reference.tflite" in err.hint


def test_no_library_at_all(tmp_path: Path) -> None:
    path = tmp_path / "delegate.so"
    path.write_text("GROUP ( libdelegate.so.1 )\n")
    assert str(refuse(path)) == f"{path} is no shared library: it has no ELF header."


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_no_file_at_all(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "delegate.so")
    assert str(refuse(tmp_path / "delegate.so")) == f"{tmp_path}/delegate.so is no file on the device."


@pytest.mark.parametrize(("machine", "name"), [(183, "aarch64"), (40, "armv7l"), (9999, "machine 9999")])
def test_another_processor(tmp_path: Path, elementwise: Path, machine: int, name: str) -> None:
    data = bytearray(elementwise.read_bytes())
    data[18:20] = machine.to_bytes(2, "little")
    path = tmp_path / "delegate.so"
    path.write_bytes(data)
    own = os.uname().machine
    err = refuse(path)
    assert str(err) == f"The library {path} is for {name} (64 bit), Python on the device is {own} (64 bit)."
    assert err.hint == f"Install the build of the delegate for {own}."


def test_no_delegate(tmp_path: Path) -> None:
    path = build_text(tmp_path / "libother.so", "int answer(void) { return 42; }")
    err = refuse(path)
    assert str(err) == f"{path} is no TFLite external delegate: it has no tflite_plugin_create_delegate."
    assert "libedgetpu.so.1" in err.hint


def test_something_that_it_needs_is_missing(tmp_path: Path) -> None:
    needed = build_text(tmp_path / "libneeded.so", "int needed(void) { return 1; }")
    text = f"int needed(void); {CREATE} {{ (void)k; (void)v; (void)n; (void)r; needed(); return 0; }}"
    path = build_text(tmp_path / "libneeding.so", text, f"-L{tmp_path}", "-lneeded")
    needed.unlink()
    err = refuse(path)
    assert str(err) == f"{path} needs libneeded.so, which is not on the device."
    assert err.hint.endswith(f"`ldd {path}` on the device shows everything it needs.")


def test_a_symbol_that_nothing_has(tmp_path: Path) -> None:
    body = "(void)k; (void)v; (void)n; (void)r; of_another_version(); return 0;"
    text = f"int of_another_version(void); {CREATE} {{ {body} }}"
    path = build_text(tmp_path / "libold.so", text)
    err = refuse(path)
    assert str(err) == f"{path} needs the symbol of_another_version, which nothing on the device has."


def test_a_system_that_is_too_old() -> None:
    said = "/lib/libm.so.6: version `GLIBC_2.38' not found (required by ./libvx_delegate.so)"
    err = delegates._explain("./libvx_delegate.so", said)
    assert str(err).startswith("./libvx_delegate.so needs GLIBC_2.38, and the device's is older")


def test_options_that_the_delegate_refuses(elementwise: Path) -> None:
    err = refuse(elementwise, {"device": "usb:0", "ops": "ADD"})
    given = f"{elementwise} gives no delegate with the options device=usb:0, ops=ADD"
    assert str(err) == f"{given}: elementwise: there is no option device"
    assert err.hint.startswith("Check the delegate's options")


def test_no_hardware(elementwise: Path) -> None:
    err = refuse(elementwise, {"fail": "create"})
    assert str(err).endswith("elementwise: no device found")


def test_nothing_without_a_word(elementwise: Path) -> None:
    err = refuse(elementwise, {"fail": "silent"})
    assert str(err) == f"{elementwise} gives no delegate with the options fail=silent, and does not say why."
    assert "hardware" in err.hint


def test_a_model_that_the_delegate_refuses(elementwise: Path) -> None:
    err = refuse(elementwise, {"fail": "prepare"})
    assert str(err).startswith(f"The model cannot be prepared with {elementwise}: elementwise: the device is busy")
    assert "--delegate none" in err.hint


def test_no_header(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\x7fELF")
    assert read_elf(str(path)) is None
    assert read_elf(str(tmp_path / "none")) is None
    path.write_bytes(b"\x7fELF\x01\x02" + bytes(12) + (40).to_bytes(2, "big"))
    assert read_elf(str(path)) == Elf(32, "armv7l")
