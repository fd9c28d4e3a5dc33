"""What lesson pages use to show computed values: tables, numbers inside the prose, and pieces that a reader can work with."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from lmkit.errors import LmkitError

if TYPE_CHECKING:
    from IPython.display import HTML
    from matplotlib.figure import Figure

HEAVIEST = 400_000  # bytes that a piece may add to its page


def table(head: Sequence[object], rows: Iterable[Sequence[object]], left: int = 1) -> HTML:
    """A table to end a cell with: the first `left` columns are text, the others numbers. Cells are shown as str gives them."""
    from IPython.display import HTML

    def line(cells: Sequence[object], tag: str, scope: str = "") -> str:
        sides = ["left" if i < left else "right" for i in range(len(cells))]
        pairs = zip(cells, sides, strict=True)
        return "<tr>" + "".join(f'<{tag}{scope} style="text-align:{side}">{escape(str(cell))}</{tag}>' for cell, side in pairs) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return HTML(f'<table class="dataframe"><thead>{line(head, "th", " scope=col")}</thead><tbody>{body}</tbody></table>')


@dataclass(frozen=True)
class Piece:
    """Something to work with on a page: its data for the script of that name, and the picture that stands where no script runs."""

    name: str
    title: str
    data: str  # JSON
    svg: str
    alt: str

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        source = base64.b64encode(self.svg.encode()).decode()
        picture = f'<img class="lm-static" alt="{escape(self.alt)}" src="data:image/svg+xml;base64,{source}">'
        data = f'<script type="application/json">{self.data}</script>'
        about = f'class="lm-piece" data-piece="{self.name}" data-title="{escape(self.title)}"'
        return {"text/html": f"<div {about}>{picture}{data}</div>", "image/svg+xml": self.svg, "text/plain": self.alt}


def piece(name: str, title: str, data: Mapping[str, object], picture: Figure, alt: str) -> Piece:
    """A piece to end a cell with: what book/_static/pieces/NAME.js makes of `data`, below its `title`.

    data: what JSON can hold, computed by the page; numbers rounded to what is shown. picture: a figure of one state, shown where no
    script runs (print, JupyterLab, a browser without scripts); alt: its alternative text. Raises LmkitError where a name is not
    lower-case words joined by hyphens, where the alternative text is empty, where data is not JSON (nan is not), and above HEAVIEST bytes.
    """
    if not re.fullmatch(r"[a-z]+(-[a-z]+)*", name):
        raise LmkitError(f"the name of a piece must be lower-case words joined by hyphens, not {name!r}")
    if not (title.strip() and alt.strip()):
        raise LmkitError(f"the piece {name} needs a title, and an alternative text for its picture")
    try:
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise LmkitError(f"the data of the piece {name} cannot be written as JSON: {error}") from None
    text = text.replace("<", "\\u003c")  # no </script> inside
    drawn = io.StringIO()
    picture.savefig(drawn, format="svg", metadata={"Date": None}, bbox_inches="tight")
    svg = drawn.getvalue()
    size = len(text.encode()) + 4 * len(svg.encode()) // 3
    if size > HEAVIEST:
        raise LmkitError(f"the piece {name} would add {size:,} bytes to its page, more than {HEAVIEST:,}: give it less data")
    return Piece(name, title, text, svg[svg.index("<svg") :], alt)


def put(**values: float | str) -> None:
    """Make computed values available to the prose: put(n=3.14) for {glue:text}`n:.1f`. Numbers become plain floats."""
    from myst_nb import glue

    for name, value in values.items():
        glue(name, value if isinstance(value, str) else float(value), display=False)
