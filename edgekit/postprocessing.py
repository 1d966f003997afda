"""What the application makes of a model's outputs: decided from edgekit.toml, checked against the model."""

import msgspec

from edgekit.entries import DetectionEntry, Postprocessing
from edgekit.errors import ProjectError
from edgekit.project import Classification, Project
from edgekit_converters.types import FloatModel


def decide_postprocessing(project: Project) -> Postprocessing | None:
    """[postprocessing], laid over [detection] for a detector; raises ProjectError where one contradicts the other.

    Without it [detection] alone declares it, but for a batch of several, which no application gives sample by sample.
    """
    table, detection = project.postprocessing, project.detection
    if isinstance(table, Classification):
        return table
    if detection is None:
        if table is None:
            return None
        raise ProjectError(
            'edgekit.toml has [postprocessing] kind = "detection", and does not say how the outputs are read.',
            hint="Add a [detection] table; docs/evaluation.md has its keys.",
        )
    if table is None and project.model is not None and project.model.batch > 1:
        return None
    limits = {} if table is None else msgspec.structs.asdict(table)
    wishes = {name: value for name, value in limits.items() if value is not None}
    return DetectionEntry(**{**msgspec.structs.asdict(detection), **wishes})


def check_postprocessing(spec: Postprocessing, model: FloatModel, labels: tuple[str, ...] | None) -> None:
    """Raise ProjectError unless ``spec`` fits the model's outputs; by the code of the device, on outputs that are 0."""
    import numpy as np

    from edgekit.agent.outputs import DoesNotFit
    from edgekit.agent.pipeline import find_image
    from edgekit.agent.postprocess import apply

    image = find_image({item.name: (item.shape, None) for item in model.inputs})
    size = None if image is None else image[1]
    outputs = {item.name: np.zeros(item.shape, np.float32) for item in model.outputs}
    try:
        apply(msgspec.to_builtins(spec), outputs, labels, image_size=size, input_size=size)
    except DoesNotFit as err:
        raise ProjectError(f"The postprocessing does not fit the model: {err}", hint=err.hint) from err
