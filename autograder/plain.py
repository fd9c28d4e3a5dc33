"""Makes text that strangers wrote safe to show and short enough: on a page, in a terminal, in a spreadsheet.

It escapes nothing: that is the task of whoever writes HTML, rich markup or CSV.
"""

import re

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
# Control characters but tab and line feed; what turns the direction of the text; separators; half of a surrogate pair.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]")
_LONGEST = 50_000  # characters that are looked at; what stands behind them is only counted


def plain(text: str) -> str:
    """Text without colour codes, with Unix line ends, and with every control character spelt out, as in ⟨U+202E⟩."""
    text = _ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _UNSEEN.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text)


def bounded(text: str, characters: int, lines: int = 1_000_000) -> str:
    """Plain text of at most so many characters and lines, and a mark that says how much was left out."""
    beyond = max(0, len(text) - _LONGEST)
    whole = plain(text[:_LONGEST])
    shown = "\n".join(whole[:characters].split("\n", lines)[:lines])
    more = len(whole) - len(shown) + beyond
    return f"{shown}\n… {more:,} characters more" if more else shown


def one_line(text: str, characters: int) -> str:
    """Plain text on one line, cut with an ellipsis after so many characters."""
    line = " ".join(plain(text[:_LONGEST]).split())
    return line if len(line) <= characters else f"{line[: characters - 1]}…"
