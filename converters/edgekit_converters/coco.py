"""Images with COCO instances: the JSON of http://cocodataset.org/#format-data, its images beside it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from edgekit_converters.errors import DataError
from edgekit_converters.images import read_image

MAX_BYTES = 1 << 30
"""The largest file of COCO itself, instances_train2017.json, has 449 MB."""

LARGEST = 1e6
"""Pixels: no image is as wide, and areas of boxes stay finite."""

LONGEST = 255
"""Characters of a file name with its folders."""

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels of the image, from its top left corner."""


@dataclass(frozen=True, kw_only=True)
class Objects:
    """What is in one image."""

    size: tuple[int, int]
    """(width, height) of the image in pixels, before preprocessing."""
    boxes: tuple[Box, ...]
    categories: tuple[int, ...]
    """COCO category of each box."""
    crowd: tuple[bool, ...]
    """The box holds several objects; finding one of them is neither right nor wrong."""
    names: Mapping[int, str]
    """Every category of the data set, rising -> its name."""


class _Image(msgspec.Struct):
    id: int
    file_name: str
    width: int
    height: int


class _Annotation(msgspec.Struct):
    image_id: int
    category_id: int
    bbox: Box
    iscrowd: int = 0


class _Category(msgspec.Struct):
    id: int
    name: str


class _Instances(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


@dataclass(frozen=True, kw_only=True)
class CocoImages:
    """The images of a file of instances, in the order of the file."""

    files: tuple[Path, ...]
    objects: tuple[Objects, ...]

    def read(self, positions: Sequence[int] | None) -> Iterator[tuple[str, Any, Objects]]:
        """Path, pixels (height, width, 3) uint8 and objects of the images at these positions, or of all.

        Raises DataError for an image that cannot be read or has another size than the file says.
        """
        for position in range(len(self.files)) if positions is None else positions:
            path, objects = self.files[position], self.objects[position]
            pixels = read_image(path)
            if (pixels.shape[1], pixels.shape[0]) != objects.size:
                raise DataError(
                    f"{path} is {pixels.shape[1]} x {pixels.shape[0]} pixels; its labels say "
                    f"{objects.size[0]} x {objects.size[1]}.",
                    hint="Use the images that the boxes were drawn on.",
                )
            yield str(path), pixels, objects


def read_instances(path: Path) -> CocoImages:
    """Read a file of COCO instances and find its images; raises DataError."""
    instances = _parse(path)
    names = {category.id: category.name for category in sorted(instances.categories, key=lambda item: item.id)}
    if not instances.images or not names:
        raise DataError(f"{path} has no images or no categories.", hint="Give a file of COCO instances.")
    by_image: dict[int, list[_Annotation]] = defaultdict(list)
    for annotation in instances.annotations:
        if annotation.category_id not in names:
            raise DataError(
                f"{path}: a box has the unknown category {annotation.category_id}.", hint="Repair the file."
            )
        if max(map(abs, annotation.bbox)) > LARGEST or min(annotation.bbox[2:]) < 0:
            raise DataError(
                f"{path}: the box {list(annotation.bbox)} of image {annotation.image_id} is none.",
                hint="Boxes are [x, y, width, height] in pixels; two corners must be converted.",
            )
        by_image[annotation.image_id].append(annotation)
    folder = _image_folder(path, instances.images[0])
    return CocoImages(
        files=tuple(folder / _relative(image.file_name, path) for image in instances.images),
        objects=tuple(_objects(image, by_image[image.id], names) for image in instances.images),
    )


def _parse(path: Path) -> _Instances:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} is larger than {MAX_BYTES} bytes.", hint="Split it.")
        return msgspec.json.decode(path.read_bytes(), type=_Instances)
    except OSError as err:
        raise DataError(f"{path} cannot be read: {err.strerror}.", hint="Check the path.") from err
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as err:
        raise DataError(
            f"{path} is no file of COCO instances: {err}.",
            hint="It needs images (id, file_name, width, height), annotations (image_id, category_id, bbox) and "
            "categories (id, name).",
        ) from err


def _objects(image: _Image, annotations: list[_Annotation], names: Mapping[int, str]) -> Objects:
    return Objects(
        size=(image.width, image.height),
        boxes=tuple(annotation.bbox for annotation in annotations),
        categories=tuple(annotation.category_id for annotation in annotations),
        crowd=tuple(bool(annotation.iscrowd) for annotation in annotations),
        names=names,
    )


def _relative(name: str, path: Path) -> PurePosixPath:
    relative = PurePosixPath(name)
    if len(name) > LONGEST:
        raise DataError(f"{path}: an image has a name of {len(name)} characters.", hint="Repair the file.")
    if relative.is_absolute() or ".." in relative.parts or "\0" in name:
        raise DataError(f"{path}: the image {name!r} lies outside its folder.", hint="Give relative file names.")
    return relative


def _image_folder(path: Path, image: _Image) -> Path:
    """Beside the file, or as COCO itself is laid out: annotations/instances_val2017.json and val2017/."""
    split = path.stem.removeprefix("instances_")
    folder = path.parent
    places = (folder, folder / "images", folder / split, folder.parent / split, folder.parent / "images")
    name = _relative(image.file_name, path)
    for place in places:
        if (place / name).is_file():
            return place
    raise DataError(
        f"The image {name} of {path} is not found.",
        hint=f"Put the images into one of: {', '.join(map(str, places))}.",
    )
