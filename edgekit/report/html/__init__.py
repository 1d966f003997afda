"""Reports as one HTML file that needs nothing else (docs/report.md)."""

from edgekit.report.html.page import check_html, write_html

__all__ = ["check_html", "write_html"]
