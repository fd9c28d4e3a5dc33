"""The pieces of the pages for tests: what the cells of a lesson make of them, and their scripts run by Node."""

import ast
import json
import shutil
import subprocess
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgba

from autograder.assemble import read_notebook
from autograder.layout import ROOT
from autograder.tests.postgres import missing
from lmkit import page, plot

PIECES = ROOT / "book" / "_static" / "pieces"
COMMON = {"np": np, "plt": plt, "page": page, "plot": plot, "to_rgba": to_rgba}  # what every lesson imports


def statements(chapter: str, mark: str) -> list[ast.stmt]:
    """The statements of the one code cell of a lesson that holds this text."""
    cells = [cell.source for cell in read_notebook(ROOT / "chapters" / chapter / "lesson.md").cells if cell.cell_type == "code"]
    (source,) = [source for source in cells if mark in source]
    return ast.parse(source).body


def cell_of(chapter: str, name: str) -> list[ast.stmt]:
    """The statements of the cell that ends with this piece."""
    return statements(chapter, f'page.piece(\n    "{name}"')


def run(body: list[ast.stmt], names: dict[str, Any]) -> dict[str, Any]:
    """Run statements with these names, to which they add their own."""
    exec(compile(ast.Module(body, []), "lesson.md", "exec"), names)
    return names


def made(chapter: str, name: str, names: dict[str, Any], *before: str) -> page.Piece:
    """The piece that its lesson makes with these names; `before` name the cells that run first, by a text that each of them holds."""
    names |= COMMON
    for mark in before:
        run(statements(chapter, mark), names)
    *body, last = cell_of(chapter, name)
    run(body, names)
    piece = eval(compile(ast.Expression(last.value), "lesson.md", "eval"), names)
    plt.close("all")
    return piece


def in_javascript(name: str, expression: str, *arguments: Any) -> Any:
    """What an expression over `arguments` gives, with the functions of a piece's script."""
    if shutil.which("node") is None:
        missing("no node here: install it (Debian: nodejs)")
    script = (PIECES / f"{name}.js").read_text(encoding="utf-8")
    read = "const given = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
    program = f"const lmPiece = () => {{}};\n{script}\n{read}\nconsole.log(JSON.stringify(({expression})(...given)));"
    done = subprocess.run(["node", "-e", program], input=json.dumps(arguments), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
