"""From the outputs of a detector to COCO detections, as ``[detection]`` of edgekit.toml declares.

The boxes themselves are those of the application on the device: ``edgekit/agent/boxes.py``.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.errors import DataError
from edgekit.project import Detection
from edgekit_converters.coco import Objects

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

COLUMNS = 6
"""Of a detection: left, top, right, bottom in pixels of the image, score, COCO category."""


def decode(
    outputs: "Mapping[str, Array]", table: Detection, *, objects: Objects, input_size: tuple[int, int] | None
) -> "Array":
    """The detections of one image, best first: float32 (detections, 6), see ``COLUMNS``.

    ``outputs`` without the batch; ``input_size`` (width, height) of the model's input in pixels, which boxes that are
    not normalized need. Raises DataError when the outputs are not what the table says.
    """
    import numpy as np

    from edgekit.agent import boxes
    from edgekit.agent.outputs import DoesNotFit

    try:
        found = boxes.decode(msgspec.to_builtins(table), outputs, objects.size, input_size).rows
    except DoesNotFit as err:
        raise DataError(str(err), hint=err.hint) from err
    categories = np.array(table.categories or tuple(objects.names))
    if found.size and not 0 <= found[:, 5].min() <= found[:, 5].max() < len(categories):
        raise DataError(
            f"The model has a class {int(found[:, 5].max())}, and there are {len(categories)} categories.",
            hint="Set [detection] categories to the COCO category of each class, and background if there is one.",
        )
    found[:, 5] = categories[found[:, 5].astype(np.intp)]
    return found
