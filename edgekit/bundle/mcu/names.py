"""Names and data as C++ takes them. Pure."""

import re
from collections.abc import Iterable, Iterator

BYTES_A_LINE = 16
PRINTABLE = range(0x20, 0x7F)


def identifier(name: str) -> str:
    """A model's name as a C++ identifier that is no keyword and no name of a library: ``kws-v2`` -> ``kws_v2_model``.

    Of letters, digits and single underscores; it begins with a letter and says ``model``, so that it can be a
    namespace beside ``::log`` or ``::time``. Different names can have the same identifier (``a-b`` and ``a.b``).
    """
    clean = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if clean[:1].isdigit():
        return f"model_{clean}"
    return clean if clean.endswith("_model") else f"{clean}_model"


def string_literal(text: str) -> str:
    """``text`` in UTF-8 as a C string literal; nothing in it can end it, and no trigraph or line splice is left."""
    return '"' + "".join(map(_character, text.encode())) + '"'


def _character(byte: int) -> str:
    if byte in b'"\\?' or byte not in PRINTABLE:
        return f"\\{byte:03o}"  # three octal digits end by themselves, unlike \x
    return chr(byte)


def comment(text: str) -> str:
    """``text`` for a ``//`` comment: one line of printable ASCII that no backslash and no trigraph of one continues."""
    return "".join(chr(byte) if byte in PRINTABLE and byte not in b"\\?" else "_" for byte in text.encode())


def byte_lines(data: bytes) -> Iterator[str]:
    """The elements of an array of bytes, some a line."""
    for at in range(0, len(data), BYTES_A_LINE):
        yield " ".join(f"0x{byte:02x}," for byte in data[at : at + BYTES_A_LINE])


def float_literal(value: float) -> str:
    """A float32 as C has it, with all its digits: ``5.8470291e-01f``."""
    import numpy as np

    return f"{np.format_float_scientific(np.float32(value), unique=True, trim='0')}f"


def joined(values: Iterable[object]) -> str:
    """As elements of an initializer."""
    return ", ".join(map(str, values))
