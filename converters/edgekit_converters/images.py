"""Images as arrays: (height, width, 3) uint8 RGB."""

import warnings
from pathlib import Path
from typing import Any

from edgekit_converters.errors import DataError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
_DEEP_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})


def read_image(path: Path) -> Any:
    """Decode one image; raises DataError for a broken one, an oversized one, or one of more than 8 bits a channel."""
    import numpy as np
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning)  # odd EXIF: the pixels are what counts
            with Image.open(path) as image:
                if image.mode in _DEEP_MODES:
                    raise DataError(
                        f"{path} has more than 8 bits a channel (mode {image.mode}).",
                        hint="Convert it to 8 bits as in training, or give the data as .npz.",
                    )
                return np.asarray(image.convert("RGB"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        raise DataError(
            f"{path} is refused: {err}", hint="Scale it down; no model on a device takes an image of that size."
        ) from err
    except (OSError, ValueError, SyntaxError, EOFError) as err:
        raise DataError(
            f"{path} is no image that can be read: {err}.", hint="Remove it or save it again as PNG or JPEG."
        ) from err
