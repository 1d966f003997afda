"""Variables: state that one inference leaves to the next."""

from edgekit.errors import ModelError
from edgekit.placement.context import Context
from edgekit.placement.xnnpack.operands import EIGHT_BITS, input_at
from edgekit_converters.structure import OpInfo, TensorInfo


def variable(op: OpInfo, context: Context) -> str | None:
    """READ_VARIABLE and ASSIGN_VARIABLE: float or eight bits, and of one dtype and shape for each variable."""
    handle = context.maker(input_at(op, 0))
    if handle is None or handle.name != "VAR_HANDLE":
        return "a variable that another subgraph or the caller gives"
    users = [user for user in context.readers[handle.outputs[0].index] if _holds(user)]
    if op not in users:
        return "a variable that is neither float32 nor 8 bits, or has no dimension where it is read"
    first, value = _value(users[0]), _value(op)
    same = (first.dtype, first.shape) == (value.dtype, value.shape)
    return None if same else f"a variable of shape {value.shape}, where {users[0].name} has {first.shape}"


def used_variable(op: OpInfo, context: Context) -> str | None:
    """VAR_HANDLE: goes with the ops that read and write the variable."""
    users = (user for tensor in op.outputs for user in context.readers.get(tensor.index, ()))
    return None if any(map(context.fits, users)) else "no op that is taken reads or writes it"


def _holds(op: OpInfo) -> bool:
    if op.name not in {"READ_VARIABLE", "ASSIGN_VARIABLE"}:
        return False
    return _value(op).dtype in {"float32", *EIGHT_BITS} and (op.name == "ASSIGN_VARIABLE" or bool(_value(op).shape))


def _value(op: OpInfo) -> TensorInfo:
    value = op.outputs[0] if op.name == "READ_VARIABLE" else op.inputs[1]
    if value is None:
        raise ModelError(
            f"Op {op.index} ({op.name}) of the model has no value.", hint="The file is damaged; convert it again."
        )
    return value
