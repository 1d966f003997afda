"""rich's console for text that others wrote."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from edgekit.report.plain import plain


class Terminal(Console):
    """Shows control characters of a text as marks; what rich itself commands, colours above all, is kept."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain(segment.text), segment.style)
