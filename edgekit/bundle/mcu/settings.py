"""``--setting NAME=VALUE`` of the format ``mcu``, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import BundleError

SETTINGS: Mapping[str, str] = {
    "image": "what is signed for MCUboot: model (default), or none",
    "firmware": "a firmware that is signed, too: the binary that links the package (default: none)",
    "firmware-model": "inside (default): the firmware must hold this model's bytes; or elsewhere",
    "security-counter": "0 to 4294967295, or auto (default): from the version, major * 2^24 + minor * 2^16 + patch",
    "build-number": "of the image's version, 0 to 4294967295 (default 0)",
    "header-size": "bytes before the image, as MCUboot and the linker script have it (default 0x200)",
    "slot-size": "bytes of the secondary slot, which image and trailer must fit into (default 0: not checked)",
    "align": "write size of the flash: 1, 2, 4, 8, 16 or 32 bytes (default 8)",
}
MAX_32 = 2**32 - 1
MIN_HEADER, MAX_HEADER = 32, 2**16 - 1
ALIGNMENTS = (1, 2, 4, 8, 16, 32)
TENSOR_ALIGNMENT = 16
"""Of a model that is read in its slot: the flatbuffer's buffers are aligned to 16 bytes of its start."""


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """What an image is made with."""

    model: bool
    """Whether the model is signed as an image."""
    firmware: Path | None
    firmware_holds_model: bool
    security_counter: int | None
    """None: imgtool derives it from the version."""
    build: int
    header_bytes: int
    slot_bytes: int
    """0: not checked."""
    align: int


def read_settings(settings: Mapping[str, str]) -> ImageSettings:
    """Raises BundleError for a setting that does not exist or has a value it cannot have."""
    for name in settings:
        if name not in SETTINGS:
            raise BundleError(
                f"The format mcu has no setting {name!r}.", hint=f"It has {', '.join(SETTINGS)} (docs/mcu-bundle.md)."
            )
    counter = settings.get("security-counter", "auto")
    header = _number(settings, "header-size", 0x200, MIN_HEADER, MAX_HEADER)
    if header % TENSOR_ALIGNMENT:
        raise _bad("header-size", str(header), f"a multiple of {TENSOR_ALIGNMENT}: models are aligned to that")
    align = _number(settings, "align", 8, min(ALIGNMENTS), max(ALIGNMENTS))
    if align not in ALIGNMENTS:
        raise _bad("align", str(align), "1, 2, 4, 8, 16 or 32")
    return ImageSettings(
        model=_choice(settings, "image", "model", "none") == "model",
        firmware=Path(settings["firmware"]) if "firmware" in settings else None,
        firmware_holds_model=_choice(settings, "firmware-model", "inside", "elsewhere") == "inside",
        security_counter=None if counter == "auto" else _number(settings, "security-counter", 0, 0, MAX_32),
        build=_number(settings, "build-number", 0, 0, MAX_32),
        header_bytes=header,
        slot_bytes=_number(settings, "slot-size", 0, 0, MAX_32),
        align=align,
    )


def _choice(settings: Mapping[str, str], name: str, *allowed: str) -> str:
    value = settings.get(name, allowed[0])
    if value not in allowed:
        raise _bad(name, value, " or ".join(allowed))
    return value


def _number(settings: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = settings.get(name)
    if text is None:
        return default
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not least <= number <= most:
        raise _bad(name, text, f"a whole number from {least} to {most}, decimal or 0x...")
    return number


def _bad(name: str, value: str, wanted: str) -> BundleError:
    return BundleError(f"The setting {name} cannot be {value[:80]!r}.", hint=f"Give {wanted}.")
