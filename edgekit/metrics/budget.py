"""The accuracy budget: what may be lost, and whether it was. Pure."""

import math

from edgekit.errors import AccuracyError, ProjectError
from edgekit.metrics.comparison import Evaluation
from edgekit.project import parse_fraction
from edgekit_converters.types import Finding

ROUNDING = 1e-12
"""A drop of exactly the budget keeps it, whatever the last bit says."""


def check_unit(metric: str, max_drop: str, *, is_fraction: bool) -> None:
    """Raise ProjectError for a budget in points of a metric that is no share, such as mse."""
    amount, unit = parse_fraction(max_drop)
    if unit == "pt" and not is_fraction:
        raise ProjectError(
            f"A budget of {max_drop} means nothing for {metric}, which is no share of 1.",
            hint=f"Give a share of the source's value: --max-drop {amount:g}%.",
        )


def allowed_drop(evaluation: Evaluation, max_drop: str) -> float:
    """The budget in the metric's own unit: points as they are, per cent of the source's metric.

    Raises ProjectError for points where the metric is no share.
    """
    check_unit(evaluation.metric, max_drop, is_fraction=evaluation.is_fraction)
    amount, unit = parse_fraction(max_drop)
    return amount / 100 if unit == "pt" else amount / 100 * abs(evaluation.source)


def check_budget(evaluation: Evaluation, max_drop: str) -> None:
    """Raise AccuracyError (exit code 3) when the measured drop is over the budget."""
    if evaluation.drop <= allowed_drop(evaluation, max_drop) + ROUNDING:
        return
    low, high = evaluation.drop_interval
    raise AccuracyError(
        f"The model loses {describe_drop(evaluation, evaluation.drop)} of {evaluation.metric} on {evaluation.samples} "
        f"samples ({evaluation.source:.4g} to {evaluation.model:.4g}; {100 * evaluation.level:g} % interval "
        f"{describe_drop(evaluation, low, sign=True)} to {describe_drop(evaluation, high, sign=True)}); "
        f"the budget is {max_drop}.",
        hint="Try --precision auto or float16, more or better calibration samples, or a larger --max-drop.",
        details={"evaluation": evaluation, "max_drop": max_drop},
    )


def unproven_budget(evaluation: Evaluation, max_drop: str) -> tuple[Finding, ...]:
    """A finding when the measured drop is within the budget and its interval is not."""
    allowed, high = allowed_drop(evaluation, max_drop), evaluation.drop_interval[1]
    if high <= allowed + ROUNDING:
        return ()
    return (
        Finding(
            name="budget-not-proven",
            severity="warning",
            message=(
                f"The measured drop keeps the budget of {max_drop}, but {evaluation.samples} samples leave room: the "
                f"upper end of the {100 * evaluation.level:.3g} % interval is {describe_drop(evaluation, high)}."
            ),
            fix="Evaluate on more samples; the interval narrows with their square root.",
        ),
    )


def describe_drop(evaluation: Evaluation, drop: float, *, sign: bool = False) -> str:
    """A drop as it is read: points of a share, otherwise the value with its share of the source's."""
    if not math.isfinite(drop):
        return "unknown"
    form = "+" if sign else ""
    if evaluation.is_fraction:
        return f"{100 * drop:{form}.2f} points"
    share = f" ({100 * drop / abs(evaluation.source):{form}.2f} %)" if evaluation.source else ""
    return f"{drop:{form}.4g}{share}"
