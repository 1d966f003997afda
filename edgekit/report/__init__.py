"""Reports for people and for programs."""

from edgekit.report.document import document
from edgekit.report.table import latency_table, print_report

__all__ = ["document", "latency_table", "print_report"]
