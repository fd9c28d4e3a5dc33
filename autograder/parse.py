"""Reads a submitted notebook's bytes: the text, kind, id and nbgrader metadata of its cells, and nothing else.

It runs over strangers' bytes: nothing of them is executed, and sizes are limited before memory is taken.
"""

import ast
import codecs
import json
import re
from dataclasses import dataclass, field

from autograder.verdict import MALFORMED, Refused

MAX_CELLS = 2_000
MAX_SOURCE = 1_000_000  # characters of one cell
MAX_BRACKETS = 2_000_000  # of the whole file: each opens a Python object of about 60 bytes
MAX_PARSED = 1_000_000  # characters of a notebook's code that are parsed; beyond that, lines are matched
MAX_NESTING = 80  # brackets in brackets of a cell that is parsed


def short(text: object, most: int = 60) -> str:
    """A stranger's text for a sentence: one line, printable, bounded."""
    text = text if isinstance(text, str) else f"({type(text).__name__})"
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in text[: most + 1])
    return text if len(text) <= most else text[: most - 1] + "…"


@dataclass(frozen=True)
class Cell:
    """What is taken of a submitted cell."""

    kind: str  # code, markdown or raw
    source: str
    identity: str  # the cell's id; empty where there is none
    mark: dict = field(default_factory=dict)  # metadata.nbgrader

    @property
    def grade_id(self) -> str:
        found = self.mark.get("grade_id")
        return found if isinstance(found, str) else ""


def parse(data: bytes) -> tuple[list[Cell], list[str]]:
    """The cells of a submitted file, and notes on what was mended. Raises Refused."""
    text, notes = _decode(data)
    if text.count("[") + text.count("{") > MAX_BRACKETS:
        raise Refused(MALFORMED, "the notebook holds too many values; ask for it again with its outputs cleared")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError, MemoryError):
        raise Refused(MALFORMED, "the file is not JSON, so it is no notebook; ask for it again, saved by Jupyter") from None
    if not isinstance(document, dict) or type(document.get("nbformat")) is not int:
        raise Refused(MALFORMED, "the file is JSON but no notebook; ask for it again, saved by Jupyter")
    if document["nbformat"] != 4 or not isinstance(document.get("cells"), list):
        raise Refused(MALFORMED, "the notebook is not of format 4; ask for it again, saved by Jupyter Notebook 4 or JupyterLab")
    if len(document["cells"]) > MAX_CELLS:
        raise Refused(MALFORMED, f"the notebook has more than {MAX_CELLS} cells; ask for the work in a fresh copy")
    return [_parse_cell(cell) for cell in document["cells"]], notes


def _decode(data: bytes) -> tuple[str, list[str]]:
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
    marks |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # after UTF-32, whose mark begins alike
    encoding = next((name for mark, name in marks.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise Refused(MALFORMED, "the file is not text in UTF-8; ask for it again, saved by Jupyter") from None
    if encoding == "utf-8":
        return text, []
    mended = "began with a byte-order mark" if encoding == "utf-8-sig" else f"was encoded in {encoding.upper()}"
    return text, [f"the file {mended}, and was read all the same"]


def _parse_cell(cell: object) -> Cell:
    source = cell.get("source") if isinstance(cell, dict) else None
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise Refused(MALFORMED, "a cell of the notebook has no text; ask for the file again, saved by Jupyter")
    if len(source) > MAX_SOURCE:
        raise Refused(MALFORMED, f"a cell of the notebook has more than {MAX_SOURCE:,} characters; ask for the work in a fresh copy")
    source = source.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").removeprefix("\ufeff")
    source = re.sub("[\ud800-\udfff]", "\ufffd", source)
    kind, identity, metadata = cell.get("cell_type"), cell.get("id"), cell.get("metadata")
    mark = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    return Cell(
        kind if kind in ("code", "markdown") else "raw",
        source,
        identity if isinstance(identity, str) else "",
        mark if isinstance(mark, dict) else {},
    )


_LINES = re.compile(r"^(?:async +def|def|class) +(\w+)|^(\w+) *(?::[^=\n]*)?=(?!=)", re.MULTILINE)


def names(source: str, parse: bool = True) -> frozenset[str]:
    """The names that code binds at top level. Where it cannot be parsed (a magic, a slip), its lines are matched instead."""
    try:
        if not parse or _nesting(source) > MAX_NESTING:
            raise ValueError
        body = list(ast.parse(source).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset(match[1] or match[2] for match in _LINES.finditer(source))
    found: set[str] = set()
    while body:
        node = body.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
        if isinstance(node, ast.Assign) or (isinstance(node, ast.AnnAssign) and node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            stored = [part for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
            found.update(part.id for part in stored if isinstance(part.ctx, ast.Store))
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            body += getattr(node, block, [])
    return frozenset(found)


def _nesting(source: str) -> int:
    depth = deepest = 0
    for letter in source:
        if letter in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in ")]}":
            depth = max(depth - 1, 0)
    return deepest


def plain_source(source: str) -> str:
    """A source without trailing white space, which editors change."""
    return "\n".join(line.rstrip() for line in source.rstrip().split("\n"))
