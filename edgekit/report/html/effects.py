"""A comparison: the change of each candidate with its interval, against the margin."""

from edgekit.bench.versus.comparison import Comparison, ComparisonReport
from edgekit.report.html.reduce import significant
from edgekit.report.html.view import Figure, KeyFigure, Panel, Section, Series, Span, Table
from edgekit.report.html.words import level, number, percent, plural
from edgekit.report.units import milliseconds


def sentence(item: Comparison, margin: float) -> str:
    """The verdict with its numbers."""
    low, high = (percent(bound, sign=True) for bound in item.interval)
    words = {
        "faster": f"{item.candidate} is {percent(abs(item.effect))} faster than {item.baseline}",
        "slower": f"{item.candidate} is {percent(abs(item.effect))} slower than {item.baseline}",
        "equal": f"{item.candidate} and {item.baseline} are equal within {percent(margin)}",
        "inconclusive": f"{item.candidate} against {item.baseline} is inconclusive",
    }
    needed = f" About {item.needed_rounds} more rounds would probably decide." if item.needed_rounds else ""
    return f"{words[item.verdict]} ({low} to {high}, {level(item.level)} interval).{needed}"


def short(report: ComparisonReport) -> str:
    """One candidate's verdict in full, those of several counted."""
    if len(report.comparisons) == 1:
        return sentence(report.comparisons[0], report.margin)
    verdicts = [item.verdict for item in report.comparisons]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))
    return f"Of {len(verdicts)} models against {report.models[0].name}: {counts}."


def key_figures(report: ComparisonReport) -> tuple[KeyFigure, ...]:
    """One for each candidate."""
    return tuple(
        KeyFigure(
            label=f"{item.candidate} against {item.baseline}",
            value=item.verdict
            if item.verdict in {"equal", "inconclusive"}
            else f"{percent(abs(item.effect))} {item.verdict}",
            note=f"{percent(item.interval[0], sign=True)} to {percent(item.interval[1], sign=True)}, "
            f"{level(item.level)} interval",
        )
        for item in report.comparisons
    )


def sections(report: ComparisonReport) -> tuple[Section, ...]:
    """The changes, and the rounds that they come from."""
    return (
        Section(
            title="Change of the latency",
            text=tuple(sentence(item, report.margin) for item in report.comparisons),
            pieces=(_effects(report), _models(report), _rounds(report)),
        ),
    )


def _effects(report: ComparisonReport) -> Figure:
    items = report.comparisons
    margin = 100 * report.margin
    changes = Series(
        label="change",
        kind="points",
        values=tuple(significant(100 * item.effect) for item in items),
        low=tuple(significant(100 * item.interval[0]) for item in items),
        high=tuple(significant(100 * item.interval[1]) for item in items),
    )
    return Figure(
        title=f"Change against {items[0].baseline}",
        summary=(
            f"Left of 0 is faster. The band of ±{margin:g} % is the margin: an interval inside it is equal, one "
            "outside decided, one across its edge inconclusive."
        ),
        panels=(
            Panel(
                x_label="candidate",
                y_label="change of the latency, %",
                x=tuple(map(float, range(len(items)))),
                x_names=tuple(item.candidate for item in items),
                series=(changes,),
                horizontal=True,
                y_from_zero=True,
                spans=(Span(start=-margin, end=margin, label="margin", kind="margin"),),
            ),
        ),
        data=Table(
            caption="Change of the latency",
            heads=("candidate", "change", "from", "to", "verdict"),
            rows=tuple(
                (item.candidate, *(percent(value, sign=True) for value in (item.effect, *item.interval)), item.verdict)
                for item in items
            ),
        ),
    )


def _rounds(report: ComparisonReport) -> Figure:
    rounds = max(len(model.rounds_ms) for model in report.models)
    series = tuple(
        Series(
            label=model.name,
            kind="points",
            colour=place,
            values=(*map(significant, model.rounds_ms), *(None,) * (rounds - len(model.rounds_ms))),
        )
        for place, model in enumerate(report.models)
    )
    rows = tuple(
        (
            str(place + 1),
            *(milliseconds(model.rounds_ms[place]) if place < len(model.rounds_ms) else "" for model in report.models),
        )
        for place in range(rounds)
    )
    return Figure(
        title="Every round",
        summary=f"{plural(rounds, 'round')}; in each, fresh processes of all models, in turns. A point is one.",
        panels=(
            Panel(
                x_label="round",
                y_label="latency, ms",
                x=tuple(float(place + 1) for place in range(rounds)),
                series=series,
            ),
        ),
        data=Table(
            caption="Latency of each process, ms", heads=("round", *(model.name for model in report.models)), rows=rows
        ),
    )


def _models(report: ComparisonReport) -> Table:
    rows = tuple(
        (
            model.name,
            milliseconds(model.median_ms),
            str(model.num_threads),
            model.delegate,
            number(float(len(model.rounds_ms)), digits=1),
            model.model_sha256[:16],
        )
        for model in report.models
    )
    heads = ("model", "median, ms", "threads", "delegate", "rounds", "sha256")
    return Table(caption="The models, the baseline first", heads=heads, rows=rows)
