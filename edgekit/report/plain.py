"""Text of devices, models and files as text: nothing in it commands a terminal, or turns the reading direction."""

import re

MARK = "\N{REPLACEMENT CHARACTER}"
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but for tab and line feed (ECMA-48; C1 too), the reordering ones of Unicode (UAX 9), and halves of
surrogate pairs, which no terminal can be sent."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def plain(text: str) -> str:
    """``text`` with ``MARK`` for every character of ``COMMANDS``."""
    return COMMANDS.sub(MARK, text)


def spreadsheet_text(text: str) -> str:
    """``plain``, and no formula: with an apostrophe before what would be one."""
    text = plain(text)
    return f"'{text}" if text.startswith(FORMULA) else text
