"""``edgekit.toml`` (or ``[tool.edgekit]`` of pyproject.toml) -> ``Project``."""

import math
import re
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from edgekit.documents import Document, read_bounded, read_toml
from edgekit.errors import ProjectError
from edgekit.target import CompilerName, IoName, PositiveInt, PrecisionName
from edgekit_converters.types import Calibrator

ModelName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$(?!\n)")]
Fraction = Annotated[str, msgspec.Meta(pattern=r"^\d+(\.\d+)?(pt|%)$(?!\n)")]
"""``1pt`` (percentage points) or ``1%`` (of the value); a bare number is refused."""
PathText = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]+$(?!\n)")]
"""A path as the file system takes it: not empty, no NUL."""
Pixels = Annotated[int, msgspec.Meta(ge=1, le=8192)]
CalibratorName = Calibrator | Literal["auto"]
Batch = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Preprocessing(Document, frozen=True, kw_only=True):
    """From what the application has to what the model takes: resize, color, (x * scale - mean) / std, layout, dtype.

    The same code applies it in calibration, evaluation, ``edgekit run`` and on the device
    (``edgekit/agent/preprocess.py``).
    """

    resize: tuple[Pixels, Pixels] | None = None
    """(height, width) in pixels, bilinear with half-pixel centres."""
    color: Literal["rgb", "bgr", "gray"] | None = None
    """Channel order the model wants; images are read as RGB."""
    scale: float = 1.0
    """Such as 0.00392156862745098 (1/255) for models trained on 0..1."""
    mean: tuple[float, ...] = ()
    """Per channel or one value, subtracted after scaling."""
    std: tuple[float, ...] = ()
    """Per channel or one value, divided by after the mean."""
    layout: Literal["nhwc", "nchw"] | None = None
    """Layout the model wants; data is read as NHWC."""
    dtype: Literal["float32", "uint8", "int8", "int32", "int64"] = "float32"
    """dtype of the source model's input."""


class Input(Document, frozen=True, kw_only=True):
    """One input of the source model."""

    shape: tuple[PositiveInt, ...] | None = None
    """Shape with the batch; needed where the model leaves a dimension open."""
    dtype: str | None = None
    range: tuple[float, float] | None = None
    """Smallest and largest value after preprocessing; random golden inputs are drawn from it."""
    preprocessing: Preprocessing | None = None

    def __post_init__(self) -> None:
        if self.range is not None and not (all(map(math.isfinite, self.range)) and self.range[0] < self.range[1]):
            raise ValueError(f"Expected range [smallest, largest], got {list(self.range)}")


class Model(Document, frozen=True, kw_only=True):
    """The source model."""

    path: PathText
    """A file or folder, or ``package.module:function`` that returns a torch.nn.Module."""
    weights: PathText | None = None
    """State of a ``package.module:function``: .pth, .th or .safetensors."""
    layout: Literal["nchw", "nhwc"] | None = None
    """Layout of the built model's image inputs and outputs; None leaves what the source has or its converter makes."""
    batch: Batch = 1
    """Static batch of the converted model."""
    labels: PathText | None = None
    """A text file, one label a line, in the order of the output."""


class Build(Document, frozen=True, kw_only=True):
    """Defaults of ``edgekit build``."""

    target: str | None = None
    precision: PrecisionName | Literal["auto"] | None = None
    io: IoName | None = None
    weight_bits: Literal[4, 8] = 8
    """4: int4 weights where the runtime has kernels for them."""
    granularity: Literal["per-channel", "per-tensor"] | None = None
    """Scales of the weights; default: per channel where the target allows it."""
    activations: Literal["affine", "symmetric"] | None = None
    """Default: affine where the target allows it."""
    equalize: bool | None = None
    """Cross-layer equalization (Nagel et al. 2019); None: where the file made with it is surely better."""
    correct_biases: bool | None = None
    """Empirical bias correction (Nagel et al. 2019); None: where the file made with it is surely better."""
    max_trials: Annotated[int, msgspec.Meta(ge=4)] = 24
    """Evaluations that ``precision = "auto"`` may make."""


class Calibration(Document, frozen=True, kw_only=True):
    """The representative dataset."""

    data: PathText
    samples: PositiveInt | None = None
    """Use at most this many samples; None is all."""
    calibrator: CalibratorName = "auto"
    """How ranges are estimated; ``auto`` measures which is best for this model."""


class Evaluation(Document, frozen=True, kw_only=True):
    """Held-out labelled data and the budget."""

    data: PathText
    samples: PositiveInt | None = None
    metric: str = "top1"
    """``top1``, ``top5``, ``auc``, ``mse``, ``map50``, ``map`` or ``package.module:function``."""
    max_drop: Fraction | None = None


class Detection(Document, frozen=True, kw_only=True):
    """How a detector's outputs are read, for map50 and map and in the application.

    Three kinds: boxes (N, 4) and scores (N, classes) in two outputs; both in one output (N, 4 + classes) or its
    transpose (YOLO); or detections after non-maximum suppression inside the graph: boxes (N, 4), scores (N,), classes
    (N,) and their count (``TFLite_Detection_PostProcess``).
    """

    boxes: str | None = None
    """Name of the output; None where the shapes of one or two outputs tell."""
    scores: str | None = None
    classes: str | None = None
    """Output with a class index for each box; naming it says that the graph suppresses overlaps itself."""
    count: str | None = None
    """Output with the number of valid detections; None: all rows are."""
    format: Literal["xyxy", "yxyx", "xywh", "cxcywh"] = "xyxy"
    """Two corners, corner with width and height, or centre with width and height."""
    normalized: bool = True
    """Boxes in 0..1 of the input, else in pixels of the input."""
    objectness: bool = False
    """One output (N, 5 + classes) whose fifth column multiplies the scores (YOLOv5)."""
    activation: Literal["sigmoid", "softmax"] | None = None
    """What is still to be applied to the scores."""
    background: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Column of the scores that means no object."""
    score_threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01
    """Boxes below are dropped."""
    nms_iou: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    """Of two boxes of a class that overlap more, the better one stays; unused where the graph does it."""
    max_detections: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    """The best ones of an image; COCO counts 100."""
    categories: tuple[int, ...] = ()
    """COCO category of each class of the model, without the background; default: those of the data, rising."""


class Classification(Document, frozen=True, kw_only=True, tag_field="kind", tag="classification"):
    """What an application makes of scores, one a class: the best ones with their labels."""

    output: str | None = None
    """Name of the output; None where the model has one, or one alone has as many elements as there are labels."""
    activation: Literal["softmax", "sigmoid"] | None = None
    """What is still to be applied to the scores."""
    top_k: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 5
    """The best ones, by falling score."""


class DetectionLimits(Document, frozen=True, kw_only=True, tag_field="kind", tag="detection"):
    """What an application makes of the boxes that [detection] reads; None: as [detection] says.

    A metric counts every box down to a low score; an application wants only those it acts on.
    """

    score_threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    nms_iou: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    max_detections: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None


class Stream(Document, frozen=True, kw_only=True):
    """A model that is run frame after frame; each sample of its data is a sequence of frames."""

    state: dict[str, str] = msgspec.field(default_factory=dict)
    """State input -> the output that becomes it at the next frame; it starts at 0. Empty: the model keeps its state in
    variables of its own, which are emptied before each sequence."""
    output: Literal["last", "mean"] = "last"
    """What the metric sees of a sequence: the outputs of its last frame, or their mean over all frames."""


class Deploy(Document, frozen=True, kw_only=True):
    """The application's side of a deployment; commands run by ``sh -c`` on the device."""

    name: ModelName | None = None
    """Name of the model on the device; several live side by side. Default: the project's name."""
    on_activate: str | None = None
    """Told after the switch, such as ``systemctl restart camera``."""
    health_check: str | None = None
    """Must exit 0 within ``health_timeout_s``; otherwise the old version comes back."""
    health_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 30.0
    keep_versions: Annotated[int, msgspec.Meta(ge=2, le=100)] = 3
    """Versions kept on the device, the active one and its predecessor included."""


class Project(Document, frozen=True, kw_only=True):
    """What ``edgekit.toml`` says; paths are relative to its folder."""

    name: ModelName | None = None
    """Default: the name of the model file."""
    model: Model | None = None
    input: dict[str, Input] = msgspec.field(default_factory=dict)
    build: Build = Build()
    calibration: Calibration | None = None
    evaluation: Evaluation | None = None
    detection: Detection | None = None
    """Only for detectors."""
    postprocessing: Classification | DetectionLimits | None = None
    """What the application makes of the outputs; None: [detection] where there is one, else the labels."""
    stream: Stream | None = None
    """Only for models that are run frame after frame."""
    deploy: Deploy = Deploy()
    compiler: dict[str, dict[str, str | int]] = msgspec.field(default_factory=dict)
    """Compiler -> its settings, laid over those of the target's profile; docs/compilers.md names them."""

    def __post_init__(self) -> None:
        known = get_args(CompilerName)
        unknown = next((name for name in self.compiler if name not in known), None)
        if unknown is not None:
            raise ValueError(f"Expected [compiler.NAME] with one of {', '.join(known)}, got {unknown}")


def load_project(directory: Path = Path()) -> Project:
    """The project of ``directory``: edgekit.toml, else [tool.edgekit] of pyproject.toml, else an empty one."""
    path = directory / "edgekit.toml"
    if path.exists():
        return read_toml(path, Project, ProjectError)
    pyproject = directory / "pyproject.toml"
    if pyproject.exists() and b"[tool.edgekit" in read_bounded(pyproject, ProjectError):
        return read_toml(pyproject, Project, ProjectError, table=("tool", "edgekit"))
    return Project()


def has_project(directory: Path) -> bool:
    """Whether ``directory`` holds a project file."""
    pyproject = directory / "pyproject.toml"
    return (directory / "edgekit.toml").exists() or (
        pyproject.exists() and b"[tool.edgekit" in read_bounded(pyproject, ProjectError)
    )


def parse_fraction(text: str) -> tuple[float, Literal["pt", "%"]]:
    """``1pt`` -> (1.0, "pt"); raises ProjectError for a bare number, with both spellings."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(pt|%)", text.strip())
    if match is None:
        bare = re.fullmatch(r"\d+(?:\.\d+)?", text.strip())
        example = text.strip() if bare else "1"
        raise ProjectError(
            f"{text!r} has no unit." if bare else f"{text!r} is not a fraction.",
            hint=f"Write {example}pt for percentage points or {example}% for a share of the value.",
        )
    return float(match.group(1)), "pt" if match.group(2) == "pt" else "%"


def parse_share(text: str) -> float:
    """``3%`` -> 0.03; raises ProjectError for a bare number, and for points, which a latency does not have."""
    try:
        value, unit = parse_fraction(text)
    except ProjectError as err:
        raise ProjectError(err.message, hint="Write a share of the latency, such as 3%.") from err
    if unit != "%":
        raise ProjectError(f"{text!r}: a latency has no percentage points.", hint=f"Write {value:g}%.")
    return value / 100
