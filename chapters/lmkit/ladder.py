"""The ladder: every measured model in one table, from the files in which its result was recorded."""

from __future__ import annotations

import hashlib
import html
import io
import json
import operator
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import typer
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from lmkit.cache import cache_dir, write_whole
from lmkit.errors import LmkitError

KEYS = ("model", "bits_per_byte", "perplexity", "parameters", "train_seconds", "made_by")
HEADERS = ("Model", "Bits per byte", "Perplexity", "Parameters", "Training time", "Made by")
CAPTION = "Models measured on the same held-out text; fewer bits per byte is better."
EMPTY = "The ladder is empty: run a lesson page or an exercise that ends with “measure it”, or call lmkit.ladder.record(…)."


class HasScore(Protocol):
    """What `record` reads of a score: `lmkit.metrics.evaluate` returns one."""

    bits_per_byte: float
    perplexity: float


def results_dir() -> Path:
    """The folder of recorded results: $LMKIT_RESULTS, else the folder `ladder` in the cache."""
    if own := os.environ.get("LMKIT_RESULTS"):
        return Path(own).expanduser()
    return cache_dir() / "ladder"


def record(model: str, score: HasScore, *, parameters: int, train_seconds: float, made_by: str) -> None:
    """Put a model on the ladder; a model recorded before under the same name loses its earlier row.

    parameters: numbers that the model learned (for counts: how many it keeps). made_by: the page or the exercise, as a reader knows it.
    Errors: LmkitError where a value cannot stand in the table (an infinite score: a token had probability zero), and where
    the folder cannot be written; nothing is half-written.
    """
    try:
        row = {
            "model": model,
            "bits_per_byte": float(score.bits_per_byte),
            "perplexity": float(score.perplexity),
            "parameters": operator.index(parameters),
            "train_seconds": float(train_seconds),
            "made_by": made_by,
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise LmkitError(
            f"{model!r} cannot stand on the ladder ({error}): pass a Score of lmkit.metrics.evaluate, and plain numbers"
        ) from None
    if fault := _fault(row):
        raise LmkitError(f"{model!r} cannot stand on the ladder: {fault}")
    _write(results_dir() / _file_name(model), json.dumps(row, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def rows() -> list[dict]:
    """The rows of the ladder, best first: dictionaries with the keys of KEYS. Models that tie stand in order of their names.

    Errors: LmkitError that names the file, where one in the folder cannot be read or is no result.
    """
    folder = results_dir()
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json" and not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LmkitError(f"the folder of results {folder} cannot be read ({error.strerror}): set LMKIT_RESULTS to another") from None
    return sorted((_read(path) for path in paths), key=lambda row: (row["bits_per_byte"], row["model"]))


@dataclass(frozen=True)
class Table:
    """The ladder to look at: a table in a notebook, plain text elsewhere."""

    rows: list[dict]

    def __str__(self) -> str:
        if not self.rows:
            return EMPTY
        console = Console(file=io.StringIO(), width=200, color_system=None, force_terminal=False, force_jupyter=False)
        console.print(self)
        return "\n".join(line.rstrip() for line in console.file.getvalue().split("\n")).strip("\n")

    __repr__ = __str__

    def __rich__(self) -> RichTable:
        table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, caption=CAPTION, caption_justify="left", caption_style="")
        for i, header in enumerate(HEADERS):
            number = 0 < i < 5
            table.add_column(header, justify="right" if number else "left", no_wrap=number, overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in _cells(row)))  # Text: a name is not read as markup
        return table

    def _repr_html_(self) -> str:
        if not self.rows:
            return f"<p>{html.escape(EMPTY)}</p>"
        worst = self.rows[-1]["bits_per_byte"] or 1.0
        head = "".join(_html_cell("th", header, i, ' scope="col"') for i, header in enumerate(HEADERS))
        body = "".join(_html_row(row, row["bits_per_byte"] / worst) for row in self.rows)
        return (
            f'<table class="dataframe lmkit-ladder"><caption>{CAPTION}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        )


def table() -> Table:
    """The ladder as an object that shows itself: the last line of a notebook cell, or `print(ladder.table())`. Errors: as `rows`."""
    return Table(rows())


def _cells(row: dict) -> tuple[str, ...]:
    return (
        row["model"],
        f"{row['bits_per_byte']:.3f}",
        f"{row['perplexity']:,.1f}",
        f"{row['parameters']:,}",
        _duration(row["train_seconds"]),
        row["made_by"],
    )


def _html_row(row: dict, length: float) -> str:
    """One row; a bar as long as its share of the worst score underlines the score, in the colour of the text."""
    model, bits, *others = (html.escape(cell) for cell in _cells(row))
    bar = f'<div aria-hidden="true" style="height:3px;margin-top:2px;width:{100 * length:.1f}%;background:currentColor;opacity:.6"></div>'
    cells = [_html_cell("th", model, 0, ' scope="row"'), _html_cell("td", bits + bar, 1)]
    cells += [_html_cell("td", cell, i) for i, cell in enumerate(others, start=2)]
    return f"<tr>{''.join(cells)}</tr>"


def _html_cell(tag: str, content: str, column: int, scope: str = "") -> str:
    side = "right" if 0 < column < 5 else "left"  # numbers stand at the right
    width = "min-width:9em;" if column == 0 else "white-space:nowrap;" if tag == "td" and side == "right" else ""
    return f'<{tag}{scope} style="{width}text-align:{side};padding:.3em .6em">{content}</{tag}>'


def _duration(seconds: float) -> str:
    if seconds < 0.1:
        return "under 0.1 s"
    size, unit = (1, "s") if seconds < 120 else (60, "min") if seconds < 7200 else (3600, "h")
    return f"{seconds / size:,.{1 if seconds < 10 * size else 0}f} {unit}"


def _fault(row: object) -> str | None:
    """What keeps a row from the ladder, in words, or None."""
    if not isinstance(row, dict) or set(row) != set(KEYS):
        return f"it needs the entries {', '.join(KEYS)}, and no others"
    for key in ("model", "made_by"):
        if not isinstance(row[key], str) or not row[key].strip() or not row[key].isprintable() or len(row[key]) > 120:
            return f"{key} must be one line of text, of 1 to 120 characters"
    if not isinstance(row["parameters"], int) or isinstance(row["parameters"], bool) or row["parameters"] < 0:
        return "parameters must be a whole number, at least 0"
    for key in ("bits_per_byte", "perplexity", "train_seconds"):
        if not isinstance(row[key], float | int) or isinstance(row[key], bool) or not 0 <= row[key] <= sys.float_info.max:
            return f"{key} must be a finite number, at least 0, not {row[key]!r}"
    return None


def _file_name(model: str) -> str:
    """A file name for any model name: what can be read of it, and a hash, so that two names never share a file."""
    readable = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:40].strip("-") or "model"
    return f"{readable}-{hashlib.sha256(model.encode('utf-8')).hexdigest()[:8]}.json"


def _read(path: Path) -> dict:
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LmkitError(f"the result {path} cannot be read ({error.strerror}): mend its permissions, or delete it") from None
    except (ValueError, RecursionError):  # not UTF-8, not JSON, nested beyond reason
        raise LmkitError(f"the result {path} is not JSON: move it out of the folder, or delete it and run again what made it") from None
    if fault := _fault(row):
        raise LmkitError(f"{path} is not a result of the ladder ({fault}): move it out of the folder")
    if path.name != _file_name(row["model"]):
        raise LmkitError(f"{path} is a renamed copy of the result of {row['model']!r}: delete it, or name it {_file_name(row['model'])}")
    return {key: row[key] for key in KEYS}


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text)
    except OSError as error:
        raise LmkitError(
            f"the result {path} cannot be written ({error.strerror}): set the environment variable LMKIT_RESULTS to a folder that can be"
        ) from None


app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON, for programs.")] = False) -> None:
    """Print the ladder: every model measured so far on the same held-out text, best first.

    A model gets its rung when a lesson page or an exercise calls lmkit.ladder.record. Bits per byte counts what the model needs to
    tell one byte of the text; it compares models whatever their tokens are. Perplexity compares only models with the same tokens.

    The results lie in $LMKIT_RESULTS, or else in the folder "ladder" of the cache ($LMKIT_CACHE, or ~/.cache/lmkit). To take a
    model off the ladder, delete its file there.
    """
    try:
        ladder = table()
    except LmkitError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps(ladder.rows, indent=1))
    elif ladder.rows and sys.stdout.isatty():
        Console().print(ladder)
    else:
        typer.echo(str(ladder))


if __name__ == "__main__":
    app()
