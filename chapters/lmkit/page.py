"""What lesson pages use to show computed values: tables, and numbers inside the prose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.display import HTML


def table(head: Sequence[object], rows: Iterable[Sequence[object]], left: int = 1) -> HTML:
    """A table to end a cell with: the first `left` columns are text, the others numbers. Cells are shown as str gives them."""
    from IPython.display import HTML

    def line(cells: Sequence[object], tag: str, scope: str = "") -> str:
        sides = ["left" if i < left else "right" for i in range(len(cells))]
        pairs = zip(cells, sides, strict=True)
        return "<tr>" + "".join(f'<{tag}{scope} style="text-align:{side}">{escape(str(cell))}</{tag}>' for cell, side in pairs) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return HTML(f'<table class="dataframe"><thead>{line(head, "th", " scope=col")}</thead><tbody>{body}</tbody></table>')


def put(**values: float | str) -> None:
    """Make computed values available to the prose: put(n=3.14) for {glue:text}`n:.1f`. Numbers become plain floats."""
    from myst_nb import glue

    for name, value in values.items():
        glue(name, value if isinstance(value, str) else float(value), display=False)
