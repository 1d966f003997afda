"""Target profiles: ``targets/*.toml`` -> ``Target``. Facts about hardware are data; there is no code per board."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec

from edgekit.documents import Document, read_toml
from edgekit.errors import TargetError
from edgekit_converters.types import IoDtype, Precision

PositiveInt = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
Cores = Annotated[int, msgspec.Meta(ge=1, le=1024)]
Megahertz = Annotated[float, msgspec.Meta(ge=1, le=20_000)]
Mebibytes = Annotated[int, msgspec.Meta(ge=1, le=2**24)]
"""Up to 16 TiB; Linux on a board has no less than a few MiB."""
Kibibytes = Annotated[int, msgspec.Meta(ge=1, le=2**22)]
"""Up to 4 GiB: caches, on-chip memory, a microcontroller's flash."""
Url = Annotated[str, msgspec.Meta(pattern=r"^https?://\S+$(?!\n)")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$(?!\n)")]
CompilerName = Literal["edgetpu", "vela", "litert-aot", "rknn", "hailo", "tensorrt"]
PrecisionName = Precision
IoName = IoDtype


class Cpu(Document, frozen=True, kw_only=True):
    """The cores that run what no accelerator takes."""

    architecture: Literal["aarch64", "armv7l", "x86_64", "cortex-m"]
    cores: Cores
    model: str
    """Such as ``Cortex-A72``."""
    clock_mhz: Megahertz | None = None
    """Highest clock; None where it differs between machines."""
    cache_kib: Kibibytes | None = None
    """Last level of cache that the cores share; None where it differs or is not told."""
    source: Url


class Memory(Document, frozen=True, kw_only=True):
    """What holds the model and its activations."""

    ram_mib: tuple[Mebibytes, ...] = ()
    """Every size the board is sold with; empty where it differs between machines."""
    sram_kib: Kibibytes | None = None
    """On-chip memory: what a microcontroller's arena lives in, or an accelerator works from."""
    flash_kib: Kibibytes | None = None
    """What a microcontroller's program and model are stored in."""
    source: Url | None = None


class Accelerator(Document, frozen=True, kw_only=True):
    """Something that can take ops from the CPU's plain kernels, in the order of preference."""

    name: Name
    kind: Literal["cpu", "gpu", "npu"]
    delegate: str
    """``xnnpack``, or the file name of an external delegate library such as ``libedgetpu.so.1``."""
    compiler: CompilerName | None = None
    """The compiler whose output it needs."""
    rules: Name | None = None
    """File of ``targets/rules/`` that says which ops it takes; None where nobody tells, and no prediction is made."""
    max_subgraphs: PositiveInt | None = None
    """Partitions it can run; None where there is no limit."""
    cache_kib: Kibibytes | None = None
    """Memory of its own that weights stay in."""
    device_nodes: tuple[str, ...] = ()
    """Files such as ``/dev/apex_0``, one of which the delegate opens; ``edgekit doctor`` looks at them."""
    options: dict[str, str] = msgspec.field(default_factory=dict)
    """Handed to the delegate library when it is loaded."""
    settings: dict[str, str] = msgspec.field(default_factory=dict)
    """Of its compiler, such as Vela's ``system_config``; docs/compilers.md names them."""
    source: Url


class Sensor(Document, frozen=True, kw_only=True):
    """What the board can measure of itself, by the names of ``edgekit/agent/sensors``."""

    quantity: Literal["temperature", "power", "battery", "throttle", "clock"]
    kind: str
    """Such as ``thermal``, ``ina3221x``, ``pmic``, ``power_supply``."""
    source: Url


class QuantizationRules(Document, frozen=True, kw_only=True):
    """What the target's runtime and delegates really take."""

    precisions: tuple[PrecisionName, ...]
    default_precision: PrecisionName
    io_dtypes: tuple[IoName, ...] = ("int8", "uint8", "float32")
    per_channel: bool = True
    """False where the runtime only knows per-tensor weights, in convolutions too."""
    per_channel_fully_connected: bool = True
    """False where the runtime only knows per-tensor weights in FULLY_CONNECTED."""
    symmetric_activations: bool = False
    """True where every int8 activation must have the zero point 0."""
    int16_activations: bool = False
    """True where the runtime has kernels for int16 activations over int8 weights: int16x8, and single layers of it."""
    int4_weights: bool = False
    """True where the runtime's kernels for CONV_2D and FULLY_CONNECTED read int4 weights."""
    source: Url | None = None


class Runtime(Document, frozen=True, kw_only=True):
    """What executes the .tflite on the target."""

    kind: Literal["tflite", "tflm", "tensorrt", "rknn", "hailo"]
    """``tflite``: ai-edge-litert, tflite-runtime or tensorflow, from Python. ``tflm``: TFLite Micro, linked into a
    microcontroller's program. The others read a file of their own format."""
    ops: tuple[str, ...] = ("*",)
    """Builtin operators it has, as in the TFLite schema; ``*`` is every builtin of LiteRT."""
    custom_ops: tuple[str, ...] = ()
    """Custom operators it can resolve."""
    source: Url


class Support(Document, frozen=True, kw_only=True):
    """What edgekit can do for this target today."""

    build: Literal["ready", "planned"]
    deploy: Literal["ready", "elsewhere"] = "ready"
    """``elsewhere``: edgekit makes and checks the file, and something else brings it there and runs it."""
    missing: str = ""
    """What is not there yet, or what brings the file there, as a sentence for the user."""


class Target(Document, frozen=True, kw_only=True):
    """A board or accelerator, as ``edgekit target show`` prints it."""

    schema_version: Literal[1]
    name: Name
    description: str
    os: Literal["linux", "android", "none"]
    cpu: Cpu
    memory: Memory
    accelerators: tuple[Accelerator, ...] = ()
    runtime: Runtime
    quantization: QuantizationRules
    sensors: tuple[Sensor, ...] = ()
    support: Support

    @property
    def delegate(self) -> str:
        """The delegate a deployment uses: the first accelerator's, or ``none`` for the plain CPU kernels."""
        return self.accelerators[0].delegate if self.accelerators else "none"

    @property
    def delegate_options(self) -> dict[str, str]:
        """What that delegate is loaded with."""
        return self.accelerators[0].options if self.accelerators else {}


HERE = Path(__file__).parent
SHIPPED = HERE / "targets" if (HERE / "targets").is_dir() else HERE.parent / "targets"
"""Profiles that come with edgekit: in the package, or beside it in a checkout."""
OWN_FORMATS: dict[str, CompilerName] = {"rknn": "rknn", "hailo": "hailo", "tensorrt": "tensorrt"}
"""Runtime that reads no .tflite -> the compiler that makes its file."""
MICROCONTROLLER = ("none", "cortex-m", "tflm")


def target_folders(directory: Path) -> tuple[Path, ...]:
    """Where profiles are looked for: the user's ``./targets`` first, then the package's or the checkout's."""
    return (directory / "targets", SHIPPED)


def profile_files(directory: Path = Path()) -> tuple[Path, ...]:
    """Every profile's file; the user's own come first, and hide a shipped one of the same name."""
    files: dict[str, Path] = {}
    for folder in target_folders(directory):
        for path in sorted(folder.glob("*.toml")):
            files.setdefault(path.stem, path)
    return tuple(files.values())


def read_target(path: Path) -> Target:
    """Read one profile; raises TargetError naming file, key, what was found and what was expected."""
    target = read_toml(path, Target, TargetError)
    wrong = next(_contradictions(target, path), None)
    if wrong is not None:
        raise TargetError(f"{path}: {wrong.key}: found {wrong.found}, expected {wrong.expected}.", hint=wrong.fix)
    return target


class _Contradiction(NamedTuple):
    """Two keys of a profile that cannot both be true."""

    key: str
    found: str
    expected: str
    fix: str


def _contradictions(target: Target, path: Path) -> Iterator[_Contradiction]:
    if target.name != path.stem:
        file = f"{path.stem!r}, the name of the file"
        yield _Contradiction("name", repr(target.name), file, "Rename the file or the target; the two are one.")
    yield from _of_quantization(target.quantization)
    for place, accelerator in enumerate(target.accelerators):
        yield from _of_accelerator(target, place, accelerator, (path.parent, SHIPPED))
    yield from _of_system(target)
    if (target.support.build == "planned" or target.support.deploy == "elsewhere") and not target.support.missing:
        yield _Contradiction(
            "support.missing",
            "nothing",
            "a sentence that says what is not there, or what brings the file to the device",
            "Write it for the user; `edgekit build` and `edgekit deploy` show it.",
        )


def _of_quantization(rules: QuantizationRules) -> Iterator[_Contradiction]:
    if rules.default_precision not in rules.precisions:
        among = f"one of quantization.precisions {list(rules.precisions)}"
        fix = "Add it to the precisions, or choose another default."
        yield _Contradiction("quantization.default_precision", repr(rules.default_precision), among, fix)
    if "int16x8" in rules.precisions and not rules.int16_activations:
        yield _Contradiction(
            "quantization.precisions",
            "'int16x8'",
            "none of it without int16_activations = true",
            "Set int16_activations = true if the runtime has these kernels, or take int16x8 away.",
        )


def _of_accelerator(
    target: Target, place: int, accelerator: Accelerator, folders: tuple[Path, ...]
) -> Iterator[_Contradiction]:
    key = f"accelerators[{place}]"
    if accelerator.name in {"cpu", *(other.name for other in target.accelerators[:place])}:
        free = "a name that neither the CPU ('cpu') nor an accelerator before it has"
        yield _Contradiction(f"{key}.name", repr(accelerator.name), free, "Name each differently.")
    if accelerator.settings and accelerator.compiler is None:
        yield _Contradiction(
            f"{key}.settings",
            ", ".join(sorted(accelerator.settings)),
            "none without a compiler, whose settings they are",
            'Add compiler = "..."; what a delegate library takes when it is loaded is called options.',
        )
    if accelerator.rules is None:
        return
    known = sorted({file.stem for folder in folders for file in (folder / "rules").glob("*.toml")})
    if accelerator.rules not in known:
        close = difflib.get_close_matches(accelerator.rules, known, n=1)
        yield _Contradiction(
            f"{key}.rules",
            repr(accelerator.rules),
            f"the name of a file of targets/rules/: {', '.join(known)}",
            f"Did you mean {close[0]!r}?" if close else "Leave `rules` away where nobody tells which ops it takes.",
        )


def _of_system(target: Target) -> Iterator[_Contradiction]:
    """A microcontroller has no system, its program and its arena have a size, and TFLite Micro runs there."""
    system = target.os, target.cpu.architecture, target.runtime.kind
    if set(system) & set(MICROCONTROLLER) and system != MICROCONTROLLER:
        yield _Contradiction(
            "os, cpu.architecture, runtime.kind",
            ", ".join(system),
            f"{', '.join(MICROCONTROLLER)} together, or none of the three",
            "A microcontroller is all three; a board that runs Linux or Android is none of them.",
        )
    for key in ("flash_kib", "sram_kib"):
        if target.os == "none" and getattr(target.memory, key) is None:
            yield _Contradiction(
                f"memory.{key}",
                "nothing",
                "its size, as os is 'none'",
                "It decides whether model and arena fit; the data sheet of the microcontroller tells it.",
            )
    needed = OWN_FORMATS.get(target.runtime.kind)
    if needed is not None and needed not in {accelerator.compiler for accelerator in target.accelerators}:
        yield _Contradiction(
            "runtime.kind",
            repr(target.runtime.kind),
            f"an accelerator with compiler = {needed!r}, which makes the file that this runtime reads",
            'Add it to the accelerator, or use runtime.kind = "tflite".',
        )


def list_targets(directory: Path = Path()) -> tuple[Target, ...]:
    """Every profile that can be seen from ``directory``, by name."""
    return tuple(sorted(map(read_target, profile_files(directory)), key=lambda target: target.name))


def target_file(name: str, directory: Path = Path()) -> Path:
    """The file of the profile called ``name``; raises TargetError with the closest names where there is none."""
    files = {path.stem: path for path in profile_files(directory)}
    if name not in files:
        close = difflib.get_close_matches(name, files, n=3)
        raise TargetError(
            f"There is no target {name!r}.",
            hint=f"Did you mean {' or '.join(close)}?" if close else f"Known: {', '.join(sorted(files))}.",
        )
    return files[name]


def load_target(name: str, directory: Path = Path()) -> Target:
    """The profile called ``name``; raises TargetError."""
    return read_target(target_file(name, directory))
