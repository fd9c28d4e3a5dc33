"""An attack, and the desk at which it is prepared: a solved notebook to spoil, and the folder that is handed in."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from autograder.layout import NOTEBOOK
from autograder.tests.attacks.course import FULL, NAME, WRONG
from autograder.tests.attacks.planted import MARK, PATTERN, Planted
from autograder.verdict import GRADED, MALFORMED, MISSING

ANY = -1.0  # points that do not matter: the attack spoils its own work in ways that may end differently
NOTHING = dict.fromkeys(FULL, 0.0)  # no exercise earns anything
WHATEVER = dict.fromkeys(FULL, ANY)
CORPUS: list["Attack"] = []  # filled while the families are imported


@dataclass
class Desk:
    """Where one submission is made. The notebook is handed in as it is when the attack is ready, unless `hand_in` was called."""

    notebook: NotebookNode  # the release, solved
    folder: Path  # submitted/STUDENT/01_attacked, empty
    planted: Planted
    bystander: Path  # the notebook that another student handed in
    done: bool = field(default=False, init=False)

    def cell(self, exercise: str, part: str = "") -> NotebookNode:
        """An exercise's solution cell, or its check cell (part: visible or hidden)."""
        wanted = f"attacked-{exercise}{'-' + part if part else ''}"
        return next(cell for cell in self.notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == wanted)

    def blank(self, exercise: str) -> str:
        """An exercise's solution cell as it was handed out."""
        release = nbformat.read(self.folder.parents[2] / "release" / self.folder.name / f"{NOTEBOOK}.ipynb", as_version=4)
        wanted = self.cell(exercise).metadata["nbgrader"]["grade_id"]
        return next(cell.source for cell in release.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == wanted)

    @property
    def graded_cells(self) -> list[NotebookNode]:
        return [cell for cell in self.notebook.cells if "nbgrader" in cell.metadata]

    def answer(self, exercise: str, code: str) -> None:
        """Write another solution."""
        self.cell(exercise).source = self._fill(code)

    def spoil(self, *exercises: str) -> None:
        """Answer exercises so that no check passes; all of them where none is named."""
        for exercise in exercises or FULL:
            self.answer(exercise, WRONG[exercise])

    def try_out(self, code: str, after: str = "") -> NotebookNode:
        """Add a code cell of the student's own: at the top, or after an exercise's solution."""
        cell = new_code_cell(self._fill(code))
        place = self.notebook.cells.index(self.cell(after)) + 1 if after else 1
        self.notebook.cells.insert(place, cell)
        return cell

    def spy(self, code: str) -> None:
        """Add a cell in which `tell(text)` prints the secrets of a text or of bytes, and `peek(path)` those of a file."""
        self.try_out(f"import os, re, sys\nfrom pathlib import Path\n\n\ndef tell(text):\n"
                     f"    text = text.decode('latin-1') if isinstance(text, bytes) else str(text)\n"
                     f"    print(*set(re.findall(r'{PATTERN}', text)))\n\n\n"
                     f"def peek(path):\n    try:\n        tell(Path(path).read_bytes())\n    except OSError as error:\n"
                     f"        print(type(error).__name__)\n\n\n{self._fill(code)}\nprint('tried', 'all')")  # fmt: skip

    def note(self, text: str) -> NotebookNode:
        """Add a markdown cell at the top."""
        self.notebook.cells.insert(1, new_markdown_cell(text))
        return self.notebook.cells[1]

    def again(self, cell: NotebookNode, code: str | None = None) -> NotebookNode:
        """Put a copy of a cell below it, as copy and paste does: with its metadata. Returns the copy."""
        copy = deepcopy(cell)
        copy.id = f"{cell.id}-copy"
        copy.source = cell.source if code is None else self._fill(code)
        self.notebook.cells.insert(self.notebook.cells.index(cell) + 1, copy)
        return copy

    def remove(self, cell: NotebookNode) -> None:
        self.notebook.cells.remove(cell)

    @property
    def text(self) -> str:
        """The notebook as Jupyter saves it; not validated."""
        return json.dumps(self.notebook, indent=1, ensure_ascii=False) + "\n"

    def hand_in(self, content: str | bytes | None = None, name: str = f"{NOTEBOOK}.ipynb") -> None:
        """Write a file of the submission, by default the notebook; what the attack does not write is then not handed in."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = self.text if content is None else content
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
        self.done = True

    def add_file(self, name: str, content: str | bytes) -> None:
        """Hand in one more file beside the notebook."""
        done = self.done
        self.hand_in(dedent(content) if isinstance(content, str) else content, name)
        self.done = done

    def _fill(self, code: str) -> str:
        """Code without its margin, and with the places that only the desk knows."""
        places = {"COURSE": self.planted.course, "REPOSITORY": self.planted.course.parent.parent, "BYSTANDER": self.bystander,
                  "TEMPORARY": self.planted.temporary, "SHARED": self.planted.shared, "PORT": self.planted.port,
                  "ABSTRACT": self.planted.name, "MARKER": MARK, "CHAPTER": NAME}  # fmt: skip
        for name, value in places.items():
            code = code.replace(f"<{name}>", str(value))
        return dedent(code).strip("\n")


@dataclass(frozen=True)
class Attack:
    """A submission, and what the grader must make of it."""

    name: str
    family: str
    sentence: str  # what it tries, and what must happen
    prepare: Callable[[Desk], None]
    statuses: tuple[str, ...]  # one of them; more than one where honest graders may differ
    points: dict[str, float]  # exercise -> points
    graded: bool  # whether there are points at all
    shows: str  # must stand in the outputs of the graded notebook: the attack did run
    page_hides: str  # must not stand in the feedback page: a script that would run there
    student: str  # the whole name of the student's folder, where that is the attack

    @property
    def expected(self) -> str:
        """For the table."""
        status = " or ".join(self.statuses)
        if not self.graded:
            return f"{status}, no points"
        changed = [f"{name} {'any' if points == ANY else f'{points:g}'}" for name, points in self.points.items() if points != FULL[name]]
        return f"{status}, {', '.join(changed) or 'full marks'}"


def attack(
    status: str | tuple[str, ...] = GRADED, *, graded: bool | None = None, shows: str = "", page_hides: str = "", student: str = "",
    **points: float,
) -> Callable[[Callable[[Desk], None]], Callable[[Desk], None]]:  # fmt: skip
    """Put the function below into the corpus. Its docstring says what it tries and what must happen.

    points: exercise=points where they are not full marks. graded: False where there must be no points, which is
    so by itself for the statuses malformed and missing.
    """
    statuses = (status,) if isinstance(status, str) else status
    unknown = set(points) - set(FULL)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))} is no exercise of the attacked chapter")

    def remember(prepare: Callable[[Desk], None]) -> Callable[[Desk], None]:
        has_points = not set(statuses) <= {MALFORMED, MISSING} if graded is None else graded
        family = prepare.__module__.rpartition(".")[2]
        sentence = " ".join((prepare.__doc__ or "").split())
        made = Attack(prepare.__name__, family, sentence, prepare, statuses, FULL | points, has_points, shows, page_hides, student)
        CORPUS.append(made)
        return prepare

    return remember


def solved(path: Path) -> NotebookNode:
    """A fresh copy of a notebook on disk."""
    return nbformat.read(path, as_version=4)
