"""Latency and memory of a model on a device: plan a run, read what the agent measured, state what it is worth."""

from edgekit.bench.plan import BenchOptions
from edgekit.bench.report import BenchmarkReport, require_valid
from edgekit.bench.run import bench

__all__ = ["BenchOptions", "BenchmarkReport", "bench", "require_valid"]
