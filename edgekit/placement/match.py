"""Does an op hold to a delegate's rules, and if not, which rule is nearest and what would have to change?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edgekit.errors import TargetError
from edgekit.placement.checks import CHECKS
from edgekit.placement.context import Context
from edgekit.placement.rules import DelegateRules, Limit, OpRule
from edgekit_converters.structure import OpInfo, TensorInfo


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """One key of a rule that an op does not hold to."""

    key: str
    """Of the rule, or the name of a check."""
    reason: str


def explain(op: OpInfo, rules: DelegateRules, context: Context) -> tuple[str, str] | None:
    """None where a rule takes the op, else (reason, what to change); the change is empty where nothing is known.

    Raises:
        TargetError: the rules name a check that edgekit does not have.
    """
    name = op.custom or op.name
    tried = [list(mismatches(op, rule, context)) for rule in rules.ops if name in rule.ops]
    if not tried:
        return f"{name} is not among the ops it takes", rules.changes.get(name, "")
    nearest = min(tried, key=len)  # of equals, the first in the file
    if not nearest:
        return None
    change = next((rules.changes[m.key] for m in nearest if m.key in rules.changes), rules.changes.get(name, ""))
    return "; ".join(mismatch.reason for mismatch in nearest), change


def mismatches(op: OpInfo, rule: OpRule, context: Context) -> Iterator[Mismatch]:
    """Every key of one rule that the op breaks, in the order of the rule's keys."""
    yield from _tensor_mismatches(op, rule)
    if rule.max_version is not None and op.version > rule.max_version:
        reason = f"version {op.version} of the operator, the newest it knows is {rule.max_version}"
        yield Mismatch(key="max_version", reason=reason)
    yield from _option_mismatches(op, rule.options)
    for name in rule.checks:
        if name not in CHECKS:
            raise TargetError(
                f"The rules of {op.name} name the check {name!r}, which edgekit does not have.",
                hint=f"Known: {', '.join(sorted(CHECKS))}.",
            )
        failure = CHECKS[name](op, context)
        if failure is not None:
            yield Mismatch(key=name, reason=failure)


def _tensor_mismatches(op: OpInfo, rule: OpRule) -> Iterator[Mismatch]:
    flowing = [tensor for tensor in (*op.inputs, *op.outputs) if tensor is not None and not tensor.constant]
    wrong = dict.fromkeys(tensor.dtype for tensor in flowing if rule.dtypes and tensor.dtype not in rule.dtypes)
    if wrong:
        yield Mismatch(key="dtypes", reason=f"{' and '.join(wrong)} data, taken are {_listed(rule.dtypes)}")
    weights = weights_of(op)
    if weights is not None and rule.weights and weights.dtype not in rule.weights:
        yield Mismatch(key="weights", reason=f"{weights.dtype} weights, taken are {_listed(rule.weights)}")
    if weights is not None and weights.scales > 1 and not rule.per_channel:
        yield Mismatch(key="per_channel", reason="a scale per channel in its weights, taken is one scale")
    rank = next((len(tensor.shape) for tensor in op.inputs if tensor is not None and not tensor.constant), None)
    if rank is not None and rule.ranks and rank not in rule.ranks:
        yield Mismatch(key="ranks", reason=f"an input of rank {rank}, taken are {_listed(rule.ranks)}")
    if rule.static and any(size < 0 for tensor in flowing for size in tensor.shape):
        yield Mismatch(key="static", reason="a shape that is not known before it runs")


def weights_of(op: OpInfo) -> TensorInfo | None:
    """The second input where it is a constant of rank 2 or more."""
    second = op.inputs[1] if len(op.inputs) > 1 else None
    return second if second is not None and second.constant and len(second.shape) > 1 else None


def _option_mismatches(op: OpInfo, limits: Mapping[str, Limit]) -> Iterator[Mismatch]:
    for name, limit in limits.items():
        value = op.options.get(name)
        wanted = _broken(value, limit)
        if wanted:
            yield Mismatch(key=name, reason=f"{name} {_shown(value)}, taken is {wanted}")


def _broken(value: object, limit: Limit) -> str:
    """What the limit asks for, where the value is not that; an option that the file leaves out breaks every limit."""
    if limit.one_of and value not in limit.one_of:
        return _listed(limit.one_of)
    number = value if isinstance(value, int | float) else float("nan")
    if limit.min is not None and not number >= limit.min:
        return f"at least {limit.min:g}"
    if limit.max is not None and not number <= limit.max:
        return f"at most {limit.max:g}"
    return ""


def _shown(value: object) -> str:
    return "that is left out" if value is None else str(value)


def _listed(values: tuple[object, ...]) -> str:
    return ", ".join(map(str, values))
