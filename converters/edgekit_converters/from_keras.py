"""Keras .keras, Keras 2 and 3 .h5 and SavedModel folders -> float32 TFLite bytes. Runs in the child process.

The route is a concrete function with a static batch that the converter freezes itself: 4 to 5 times faster than
``from_keras_model``, the same ops, and no shape arithmetic left for a dynamic batch. It is given *no*
``trackable_obj``, because with one the variables stay variables; so the file has no signature, which
``flatbuffer.add_signature`` adds.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit_converters.converter import Converted, Say
from edgekit_converters.errors import ConversionError, SourceError
from edgekit_converters.keras_file import first_line, load_error, refuse_code
from edgekit_converters.keras_loops import find_loops, loop_findings, unrolled
from edgekit_converters.keras_states import keep_initial, reset_layers
from edgekit_converters.shapes import InputHint, OpenShape, static_shapes
from edgekit_converters.sources import ModelSource
from edgekit_converters.types import Finding

NOT_NEEDED = ("jax", "sklearn", "scipy", "pandas", "torch", "matplotlib", "tensorboard")
"""What TensorFlow and Keras import only because it happens to be installed: 2 of 5 seconds, 180 of 730 MiB."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A source model in memory."""

    inputs: dict[str, tuple[OpenShape, str]]
    """Name -> shape with open dimensions as None, and dtype."""
    outputs: dict[str, tuple[OpenShape, str]]
    call: Callable[..., list[Any]]
    """Tensors in the order of ``inputs`` -> tensors in the order of ``outputs``."""
    fallback: tuple[str, Callable[[], Any]]
    """Name of the converter's slower route and what makes the converter."""
    tools: dict[str, str]
    reset: Callable[[], None]
    """Brings a stateful model back to its initial state."""
    loops: list[Any] = field(default_factory=list)
    """Recurrent layers that conversion writes out step by step."""


def load(source: ModelSource, *, hints: Mapping[str, InputHint]) -> Loaded:  # noqa: ARG001 - the file says all
    """Load the model; raises SourceError with the cause and the way out."""
    path = source.directory / source.spec
    if source.layout == "nchw":
        raise SourceError(
            "--layout nchw was asked for, and a TensorFlow model keeps its own layout.",
            hint="Leave --layout away; TensorFlow Lite computes convolutions in NHWC.",
        )
    if source.format != "saved-model":
        refuse_code(path, source.format)
    _import_tensorflow()
    if source.format == "saved-model":
        return _load_saved_model(path)
    return _load_keras(path, source.format, unroll=source.unroll)


def convert(loaded: Loaded, *, batch: int, hints: Mapping[str, InputHint], say: Say) -> Converted:
    """Static shapes, a concrete function, the converter; raises SourceError or ConversionError."""
    import tensorflow as tf

    say("converting")
    shapes, findings = static_shapes(
        {name: shape for name, (shape, _) in loaded.inputs.items()}, batch=batch, hints=hints
    )
    specs = [tf.TensorSpec(shapes[name], loaded.inputs[name][1], name=f"input_{i}") for i, name in enumerate(shapes)]
    try:
        with unrolled(loaded.loops) as loops:
            function = tf.function(loaded.call, autograph=False).get_concrete_function(*specs)
        findings.extend(loop_findings(loops))
        tflite = _converter(tf.lite.TFLiteConverter.from_concrete_functions([function])).convert()
    except Exception as err:  # noqa: BLE001 - whatever it is, the other route may do
        _raise_if_unsupported(err)
        return _convert_by_fallback(loaded, findings, err)
    return Converted(
        tflite=tflite,
        input_tensors=dict(zip(loaded.inputs, _tensor_names(function.inputs), strict=False)),
        output_tensors=dict(zip(loaded.outputs, _tensor_names(function.outputs), strict=False)),
        route="frozen-concrete-function",
        findings=findings,
    )


def run(loaded: Loaded, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The model's own outputs, computed by TensorFlow op by op, with its loops as they were saved.

    A stateful model starts from its initial state.
    """
    import tensorflow as tf

    loaded.reset()
    outputs = loaded.call(*(tf.constant(inputs[name], dtype) for name, (_, dtype) in loaded.inputs.items()))
    return {name: tensor.numpy() for name, tensor in zip(loaded.outputs, outputs, strict=True)}


def _convert_by_fallback(loaded: Loaded, findings: list[Finding], cause: Exception) -> Converted:
    route, make_converter = loaded.fallback
    try:
        tflite = _converter(make_converter()).convert()
    except Exception as err:
        _raise_if_unsupported(err)
        raise ConversionError(
            f"TensorFlow could not convert the model: {first_line(err)}", hint="The log holds its full output."
        ) from err
    said = Finding(
        name="converter-fallback",
        severity="warning",
        message=f"Converted by the slower {route}, because a concrete function was refused: {first_line(cause)}",
        fix="The file may hold shape arithmetic for a dynamic batch; report the model if the audit complains.",
    )
    return Converted(tflite=tflite, input_tensors={}, output_tensors={}, route=route, findings=[*findings, said])


def _converter(converter: Any) -> Any:
    # No Flex ops: no small runtime has them. No debug information: it holds paths of this machine.
    converter.exclude_conversion_metadata = True
    return converter


def _tensor_names(tensors: list[Any]) -> list[str]:
    return [tensor.name.removesuffix(":0") for tensor in tensors if tensor.dtype.name != "resource"]


def _raise_if_unsupported(err: Exception) -> None:
    text = str(err)
    scope = re.search(r"'(.*)' is not a valid (?:root )?scope name", text)
    if scope:
        raise SourceError(
            f"A layer is called {scope[1].rstrip('/')!r}, which TensorFlow cannot use as a name.",
            hint="Rename it: a letter or digit first, then letters, digits, '.', '_' and '-'; save the model again.",
        ) from err
    ops = sorted(set(re.findall(r"'?(tf\.[A-Z]\w+)'? op", text)) | set(re.findall(r"(?:Flex|Custom) ops: (\w+)", text)))
    if ops or "not supported by the native TFLite runtime" in text:
        names = ", ".join(ops) or first_line(err)
        loops = any(name.startswith("tf.TensorList") for name in ops)  # a recurrent layer in a SavedModel
        raise ConversionError(
            f"The model uses operations that TensorFlow Lite does not have: {names}.",
            hint="Build from the .keras or .h5 file, whose recurrent layers can be written out step by step."
            if loops
            else "Replace them by layers built from ordinary operations, or cut them off into pre- or postprocessing.",
        ) from err


def _import_tensorflow() -> None:
    import sys

    for name in NOT_NEEDED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # the documented way to refuse an import
    try:
        import tensorflow as tf
    except ImportError as err:
        raise SourceError(
            f"TensorFlow cannot be imported, and Keras models need it: {err}.",
            hint='Install it with: pip install "edgekit[keras]".',
        ) from err
    tf.get_logger().setLevel("ERROR")


def _load_keras(path: Path, source_format: str, *, unroll: bool) -> Loaded:
    import keras
    import tensorflow as tf

    class DepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
        """Keras 2 wrote ``groups`` into its .h5 files, which Keras 3 refuses; 1 is all it can be."""

        def __init__(self, *args: Any, groups: int = 1, **options: Any) -> None:
            super().__init__(*args, **options)

    # Only .h5 has the trap; a .keras file of Keras 3 keeps Keras's own class.
    custom = {"DepthwiseConv2D": DepthwiseConv2D} if source_format == "keras-h5" else None
    try:
        model = keras.models.load_model(path, custom_objects=custom, compile=False, safe_mode=True)
    except Exception as err:
        raise load_error(path, err) from err
    if not getattr(model, "inputs", None):
        raise SourceError(
            f"The model in {path} was saved before it was built: its input shape is not known.",
            hint="Give its first layer an Input(shape=...), or call it once on data, then save it again.",
        )
    names = _unique([tensor.name for tensor in model.inputs])
    output_names, flatten = _output_names(model)
    # A Sequential that was loaded has no ``input`` before it is called; it has one input by nature.
    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return Loaded(
        inputs={name: _spec(tensor) for name, tensor in zip(names, model.inputs, strict=True)},
        outputs={name: _spec(tensor) for name, tensor in zip(output_names, model.outputs, strict=True)},
        call=lambda *tensors: flatten(model(keras.tree.pack_sequence_as(structure, list(tensors)), training=False)),
        fallback=("from_keras_model", lambda: tf.lite.TFLiteConverter.from_keras_model(model)),
        tools={"tensorflow": tf.__version__, "keras": keras.__version__},
        reset=lambda: reset_layers(model),
        loops=find_loops(model) if unroll else [],
    )


def _output_names(model: Any) -> tuple[list[str], Callable[[Any], list[Any]]]:
    import keras

    flatten: Callable[[Any], list[Any]] = keras.tree.flatten
    structure = getattr(model, "output", None)
    if isinstance(structure, dict):
        names = sorted(structure)  # the order in which keras.tree flattens a dict
        return names, lambda outputs: [outputs[name] for name in names]
    names = getattr(model, "output_names", None) or [model.layers[-1].name]
    return _unique(list(names)), flatten


def _spec(tensor: Any) -> tuple[OpenShape, str]:
    import keras

    return tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype)


def _load_saved_model(path: Path) -> Loaded:
    import tensorflow as tf

    tools = {"tensorflow": tf.__version__}
    if b"_tf_keras_" in (path / "saved_model.pb").read_bytes():
        tools["tf-keras"] = _import_tf_keras(path)
    try:
        model = tf.saved_model.load(str(path))
    except Exception as err:
        raise load_error(path, err) from err
    signatures = dict(model.signatures)
    if not signatures:
        raise SourceError(
            f"The SavedModel {path} has no signature, so its inputs are not known.",
            hint="Save it with model.export('folder'), or tf.saved_model.save(model, folder, signatures=...).",
        )
    if "serving_default" not in signatures and len(signatures) > 1:
        raise SourceError(
            f"The SavedModel {path} has the signatures {', '.join(sorted(signatures))}, none is serving_default.",
            hint="Save it with the one to deploy as serving_default.",
        )
    key = "serving_default" if "serving_default" in signatures else next(iter(signatures))
    signature = signatures[key]
    inputs = {name: _open_spec(spec) for name, spec in signature.structured_input_signature[1].items()}
    outputs = {name: _open_spec(spec) for name, spec in sorted(signature.structured_outputs.items())}

    def call(*tensors: Any) -> list[Any]:
        results = signature(**dict(zip(inputs, tensors, strict=True)))
        return [results[name] for name in outputs]

    call.owner = model  # type: ignore[attr-defined]  # a signature does not keep its variables alive

    return Loaded(
        inputs=inputs,
        outputs=outputs,
        call=call,
        fallback=(
            "from_saved_model",
            lambda: tf.lite.TFLiteConverter.from_saved_model(str(path), signature_keys=[key]),
        ),
        tools=tools,
        reset=keep_initial(signature.variables),
    )


def _import_tf_keras(path: Path) -> str:
    # Without it TensorFlow revives a Keras 2 optimizer as a plain object: "'_UserObject' has no attribute 'add_slot'".
    try:
        import tf_keras
    except ImportError as err:
        raise SourceError(
            f"{path} was written by Keras 2, and tf-keras, which reads it, is not installed.",
            hint='Install it with: pip install "edgekit[keras]".',
        ) from err
    return str(tf_keras.__version__)


def _open_spec(spec: Any) -> tuple[OpenShape, str]:
    if spec.shape.rank is None:
        raise SourceError(
            f"The input {spec.name!r} of the SavedModel has no shape at all.",
            hint="Save it with an input signature that has a shape.",
        )
    return tuple(spec.shape.as_list()), spec.dtype.name


def _unique(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}_{seen[name] - 1}")
    return result
