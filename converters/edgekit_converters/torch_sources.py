"""The three ways in which PyTorch gives a network, each to an exported program: .pt2, a function, TorchScript."""

import importlib
import importlib.metadata
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edgekit_converters.errors import ConversionError, SourceError
from edgekit_converters.shapes import InputHint, OpenShape
from edgekit_converters.sources import ModelSource
from edgekit_converters.torch_program import Interface, flat_call, interface

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

    Call = Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]

SINGLE = "x"
"""How data without names calls the only input."""

_NOT_FLOAT32 = frozenset({"float16", "bfloat16", "complex64"})


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A source model in memory."""

    inputs: dict[str, tuple[OpenShape, str]]
    outputs: dict[str, tuple[OpenShape, str]]
    tools: dict[str, str]
    program: "ExportedProgram"
    interface: Interface
    call: "Call"
    """The source itself, not the program made of it: tensors in the order of ``inputs`` -> those of ``outputs``."""
    route: str
    layout: Literal["nchw", "nhwc"] | None


def load_program(source: ModelSource) -> Loaded:
    from torch.export.pt2_archive._package import load_pt2

    from edgekit_converters.torch_archive import refuse_code

    path = source.directory / source.spec
    try:
        refuse_code(path)
        programs = load_pt2(str(path)).exported_programs
    except SourceError:
        raise
    except Exception as err:
        raise SourceError(
            f"torch cannot read {path}: {first_line(err)}",
            hint=f"This is torch {_version('torch')}; export the network with that version, or install the version "
            "that wrote it. torch 2.8 and later write files that others read.",
        ) from err
    if len(programs) != 1:
        raise SourceError(
            f"{path} holds {len(programs)} networks: {', '.join(sorted(programs)) or 'none'}.",
            hint="Save the one to deploy: torch.export.save(program, 'model.pt2').",
        )
    (program,) = programs.values()
    own = interface(program)
    module = program.module(check_guards=False)
    return _loaded(source, program, own, flat_call(program, module, own), "torch.export file")


def load_network(source: ModelSource, hints: Mapping[str, InputHint]) -> Loaded:
    from edgekit_converters.torch_weights import load_weights

    network = _make_network(source)
    if source.weights is not None:
        load_weights(network, source.weights)
    network.eval()
    parameters = inspect.signature(network.forward).parameters.values()
    names = _input_names(source, [(p.name, p.default is not p.empty) for p in parameters], hints)
    return _export(source, network, names, hints)


def _make_network(source: ModelSource) -> "torch.nn.Module":
    import torch

    module_name, _, function_name = source.spec.partition(":")
    import_litert()  # before the user's folder can shadow anything that it imports
    sys.path.insert(0, str(source.directory.absolute()))
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ModuleNotFoundError, AttributeError) as err:
        raise SourceError(
            f"{source.spec} is not found: {first_line(err)}.",
            hint=f"Modules are imported from {source.directory.absolute()}.",
        ) from err
    except Exception as err:
        raise _failed(source, "cannot be imported", err) from err
    try:
        network = function()
    except Exception as err:
        raise _failed(source, "failed", err) from err
    if not isinstance(network, torch.nn.Module):
        raise SourceError(
            f"{source.spec} gave a {type(network).__name__}, not a torch.nn.Module.",
            hint="The function takes no arguments and returns the network; --weights fills it.",
        )
    return network


def load_script(source: ModelSource, hints: Mapping[str, InputHint]) -> Loaded:
    import torch
    from torch._export.converter import TS2EPConverter

    path = source.directory / source.spec
    try:
        script = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except Exception as err:
        raise SourceError(f"torch cannot read {path}: {first_line(err)}", hint="Save the model again.") from err
    arguments = script.forward.schema.arguments[1:]
    names = _input_names(source, [(item.name, item.has_default_value()) for item in arguments], hints)
    samples = _samples(source, names, hints)
    try:
        program = TS2EPConverter(script, tuple(samples.values())).convert()
    except Exception as err:
        raise SourceError(
            f"torch cannot make an exported program of the TorchScript {path}: {first_line(err)}",
            hint="Give the network itself: torch.export.save(torch.export.export(network, inputs), 'model.pt2'), "
            "or package.module:function with --weights.",
        ) from err
    own = interface(program, names)
    return _loaded(source, program, own, _eager(script, names, positional=True), "TorchScript graph")


def _export(
    source: ModelSource, network: "torch.nn.Module", names: list[str], hints: Mapping[str, InputHint]
) -> Loaded:
    import torch

    samples = _samples(source, names, hints)
    try:
        program = torch.export.export(network, (), kwargs=samples, strict=False)
    except Exception as err:
        raise ConversionError(
            f"torch.export refused the network of {source.spec}: {first_line(err)}",
            hint="Control flow that depends on values must go; see torch.export's documentation.",
        ) from err
    own = interface(program, names)
    return _loaded(source, program, own, _eager(network, names, positional=False), "torch.export")


def _eager(network: "torch.nn.Module", names: list[str], *, positional: bool) -> "Call":
    from torch.utils import _pytree as pytree

    def call(tensors: "Sequence[torch.Tensor]") -> "list[torch.Tensor]":
        given = network(*tensors) if positional else network(**dict(zip(names, tensors, strict=True)))
        return [leaf for leaf in pytree.tree_leaves(given) if hasattr(leaf, "dtype")]

    return call


def _loaded(
    source: ModelSource,
    program: "ExportedProgram",
    own: Interface,
    call: "Call",
    route: str,
) -> Loaded:
    wrong = sorted({dtype for _, dtype in own.inputs.values() if dtype in _NOT_FLOAT32})
    if wrong:
        raise SourceError(
            f"The network takes {wrong[0]}, and a conversion starts from float32.",
            hint="Call network.float() before exporting; --precision float16 makes the file small again.",
        )
    return Loaded(
        inputs=own.inputs,
        outputs=own.outputs,
        tools={name: _version(name) for name in ("torch", "litert-torch", "litert-converter")},
        program=program,
        interface=own,
        call=call,
        route=f"{route}, litert-torch",
        layout=source.layout,
    )


def _input_names(source: ModelSource, parameters: list[tuple[str, bool]], hints: Mapping[str, InputHint]) -> list[str]:
    """The parameters of forward() that need a tensor, and the optional ones that somebody gave a shape."""
    names = [name for name, optional in parameters if not optional or name in hints]
    if not names:
        raise SourceError(
            f"forward() of {source.spec} takes no input by name.", hint="Name its inputs, such as forward(self, x)."
        )
    unknown = sorted(name for name, hint in hints.items() if hint.declared and name not in names)
    if unknown:
        raise SourceError(
            f"edgekit.toml describes an input {unknown[0]!r} that forward() of {source.spec} does not have.",
            hint=f"Inputs of the model: {', '.join(names)}.",
        )
    return names


def _samples(source: ModelSource, names: list[str], hints: Mapping[str, InputHint]) -> "dict[str, torch.Tensor]":
    """A tensor per input; raises SourceError saying what to write where its shape is not known."""
    import torch

    found = {}
    for name in names:
        hint = hints.get(name) or (hints.get(SINGLE) if len(names) == 1 else None)
        if hint is None or hint.shape is None:
            raise SourceError(
                f"The shape of the input {name!r} of {source.spec} is not known: {_kind(source)} does not say it.",
                hint=f"Write it into edgekit.toml, the batch first: [input.{name}] shape = [1, 3, 224, 224]; or give "
                f"calibration data with an array {name!r}; or to `edgekit init`, --shape {name}=1,3,224,224.",
            )
        found[name] = torch.zeros(hint.shape, dtype=getattr(torch, hint.dtype or "float32"))
    return found


def _kind(source: ModelSource) -> str:
    return "a function" if source.format == "torch-factory" else "TorchScript"


def _failed(source: ModelSource, what: str, err: Exception) -> ConversionError:
    return ConversionError(
        f"{source.spec} {what}: {type(err).__name__}: {first_line(err)}", hint="The log holds the traceback."
    )


def import_litert() -> Any:
    try:
        return importlib.import_module("litert_torch")
    except ImportError as err:
        raise SourceError(
            f"litert-torch cannot be imported, and PyTorch models need it: {err}.",
            hint='Install it with: pip install "edgekit[torch]".',
        ) from err


def _version(package: str) -> str:
    return importlib.metadata.version(package)


def first_line(err: Exception) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:300]


def import_torch() -> None:
    try:
        importlib.import_module("torch")
    except ImportError as err:
        raise SourceError(
            f"PyTorch cannot be imported, and this model needs it: {err}.",
            hint='Install it with: pip install "edgekit[torch]".',
        ) from err
