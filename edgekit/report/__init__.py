"""Reports for people and for programs."""

from edgekit.report.comparison_table import comparison_table, print_comparison
from edgekit.report.document import comparison_document, document
from edgekit.report.table import latency_table, print_report

__all__ = ["comparison_document", "comparison_table", "document", "latency_table", "print_comparison", "print_report"]
