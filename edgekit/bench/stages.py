"""The whole way of a sample: preprocessing, inference and postprocessing, timed apart on the device."""

from typing import Literal

from edgekit.bench.latency import Latency
from edgekit.documents import Document

StageName = Literal["preprocess", "inference", "postprocess", "whole"]


class Stage(Document, frozen=True, kw_only=True):
    """One part of the way."""

    name: StageName
    latency_ms: Latency
    share: float
    """Of the whole, by the medians."""


class StagesReport(Document, frozen=True, kw_only=True):
    """The way of one sample."""

    sample: str
    """What was given, such as ``photo.jpg (480, 640, 3) uint8``, or how it was drawn."""
    stages: tuple[Stage, ...]
    """In order; ``whole`` last, timed as one."""
