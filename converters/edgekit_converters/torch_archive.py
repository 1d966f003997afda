"""What a .pt2 archive would do besides describing a network, found before torch reads it.

``torch.export.load`` unpickles without limits, evaluates expressions of sizes with sympy, looks up the functions a
graph calls by name in the whole of torch, and loads compiled libraries. An ordinary export needs none of that, so
whatever goes beyond it is refused here, with torch's own reader of the archive: the same bytes that torch will see.
"""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgekit_converters.errors import SourceError

_WEIGHTS, _CONSTANTS = "data/weights/", "data/constants/"
_OPERATORS = re.compile(
    "getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|abs|inv|eq|ne|lt|le|gt|ge|and_|or_|not_|index"
)
_SYMBOLIC = re.compile("sym_(float|int|max|min|not|sqrt|ite|sum)")
_MATH = re.compile("ceil|floor|trunc|sqrt|log2")
_OP = re.compile(
    r"torch\.ops\.(aten|prims|higher_order|quantized_decomposed|torchvision)"
    r"\.(_?[A-Za-z]\w*|__i?(and|or|xor|lshift|rshift)__)(\.[A-Za-z]\w*)?"
)
_FUNCTION = re.compile(r"(?:torch|_operator|math|#)")
_EXPRESSION = re.compile(r"[\w\s+\-*/(),<>=!&|~%.]*")
_WORD = re.compile(r"[A-Za-z_]\w*")
_QUOTED_SIZE = re.compile(r"'([suz]\d+)'")
_SIZE = re.compile(
    r"[suz]\d+|Symbol|Integer|Rational|Float|positive|nonnegative|integer|real|Add|Mul|Pow"
    r"|Eq|Ne|Lt|Le|Gt|Ge|Max|Min|Mod|PythonMod|(Floor|Ceil|Clean)Div|ModularIndexing|Where|And|Or|Not|Abs|floor|ceiling"
    r"|(Trunc|Floor|Ceil)ToInt|(Int|Float)TrueDiv|ToFloat|PowByNatural|FloatPow|[Tt]rue|[Ff]alse|oo|int_oo"
)
"""A size such as ``s0``, and the functions of sizes that torch and sympy's ``srepr`` write."""


def refuse_code(path: Path) -> None:
    """Raise SourceError if loading the archive could run code of its author's."""
    from torch.export.pt2_archive import PT2ArchiveReader

    with PT2ArchiveReader(str(path)) as archive:
        names = archive.get_file_names()
        if any(name.startswith("data/aotinductor/") for name in names):
            raise _refused(path, "it holds compiled libraries (AOTInductor)")
        for name in names:
            if name.endswith(".pt"):
                _refuse_pickle(path, name, archive.read_bytes(name))
            elif name.startswith((_WEIGHTS, _CONSTANTS)) and name.endswith("_config.json"):
                for member in _pickled(path, json.loads(archive.read_string(name))):
                    record = f"{name.rpartition('/')[0]}/{member}"
                    _refuse_pickle(path, record, archive.read_bytes(record))
            elif name.startswith("models/"):
                _refuse_calls(path, archive.read_string(name))


def _refuse_pickle(path: Path, name: str, data: bytes) -> None:
    import torch

    if not data:
        return
    try:
        torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as err:
        raise _refused(path, f"{name} is a pickle of more than tensors") from err


def _pickled(path: Path, config: Any) -> Iterator[str]:
    """Members of a payload configuration that are pickles of tensors."""
    for name, payload in config["config"].items():
        member = str(payload["path_name"])
        if "/" in member or member.startswith(("custom_obj", "opaque_obj")):
            raise _refused(path, f"the constant {name!r} is an object of a class, not a tensor")
        if payload["use_pickle"]:
            yield member


def _refuse_calls(path: Path, text: str) -> None:
    if "__enum__" in text or "default_factory_module" in text:
        raise _refused(path, "its inputs or outputs are made of classes that torch would import by name")
    for node in _dictionaries(json.loads(text)):
        target, expression = node.get("target"), node.get("expr_str")
        if "inputs" in node and isinstance(target, str) and not is_operation(target):
            raise _refused(path, f"its graph calls {target!r}, which is no operation on tensors")
        if isinstance(expression, str) and not is_arithmetic(expression):
            raise _refused(path, f"a size in its graph is the expression {expression[:80]!r}")


def is_operation(target: str) -> bool:
    """Whether a graph node's target is an ATen-like operation or plain arithmetic; other strings call nothing."""
    if _OP.fullmatch(target) or not _FUNCTION.match(target):
        return True
    module, _, name = target.partition(".")
    known = {"_operator": _OPERATORS, "torch": _SYMBOLIC, "math": _MATH}.get(module)
    return known is not None and known.fullmatch(name) is not None


def is_arithmetic(expression: str) -> bool:
    """Whether an expression of sizes has only numbers, sizes such as ``s0`` and functions of sizes."""
    bare = _QUOTED_SIZE.sub(r"\1", expression)
    return (
        _EXPRESSION.fullmatch(bare) is not None
        and re.search(r"\.(?!\d)", bare) is None  # 0.5, and no attribute
        and all(_SIZE.fullmatch(word) for word in _WORD.findall(bare))
    )


def _dictionaries(value: Any) -> Iterator[dict[str, Any]]:
    """Every dictionary inside parsed JSON, at any depth."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _refused(path: Path, why: str) -> SourceError:
    return SourceError(
        f"{path} is refused: {why}, and loading it could run code of its author's.",
        hint="Export the network again with torch.export.save, tensors only; or give it as package.module:function.",
    )
