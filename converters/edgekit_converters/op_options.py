"""The builtin options of an operator, by the schema's own names."""

from functools import cache
from typing import Any

ENUMERATIONS = {
    "padding": "Padding",
    "fusedActivationFunction": "ActivationFunctionType",
    "inDataType": "TensorType",
    "outDataType": "TensorType",
    "outputType": "TensorType",
    "mode": "MirrorPadMode",
    "weightsFormat": "FullyConnectedOptionsWeightsFormat",
    "kernelType": "LSTMKernelType",
}
"""Option -> the schema's enumeration that its number is from."""
MAX_OPTION_ITEMS = 64


def read_options(operator: Any) -> dict[str, Any]:
    """Of an ``OperatorT``: numbers, booleans, tuples of them; enumerations by name; empty where it has none."""
    found: dict[str, Any] = {}
    for table in (operator.builtinOptions, getattr(operator, "builtinOptions2", None)):
        for name, value in vars(table).items() if table is not None else ():
            if name in ENUMERATIONS:
                found[name] = enumeration(ENUMERATIONS[name]).get(value, str(value))
            elif isinstance(value, (bool, int, float)):
                found[name] = value
            elif hasattr(value, "__len__") and not isinstance(value, (str, bytes)) and len(value) <= MAX_OPTION_ITEMS:
                found[name] = tuple(value.tolist() if hasattr(value, "tolist") else value)
    return found


@cache
def enumeration(kind: str) -> dict[int, str]:
    """Number -> name, such as of ``BuiltinOperator``."""
    from ai_edge_litert import schema_py_generated as schema

    return {value: name for name, value in vars(getattr(schema, kind)).items() if isinstance(value, int)}
