"""Writes a student's feedback page: one HTML file that loads nothing, runs nothing, and is at most MOST_BYTES long.

All that a student or a person wrote is text here, escaped by the template. The page takes no source of a check cell.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import escape

from autograder.errors import CourseError
from autograder.layout import NOTEBOOK
from autograder.outcome import png
from autograder.plain import bounded, one_line
from autograder.recorded import Recorded
from autograder.verdict import CRASHED, GRADED, MALFORMED, MEMORY, MISSING, TAMPERED, TIMEOUT, Part, Verdict
from lmkit.cache import write_whole
from lmkit.check import Result

MOST_BYTES = 1_000_000  # of a page
_WORDS, _CODE, _OUTPUT, _IMAGES = 250_000, 200_000, 100_000, 300_000  # bytes of messages, of answers, of output, of images in base64
_CHECKS, _NOTES, _OTHERS = 400, 20, 40  # how many checks, notes, and cells that belong to no exercise a page shows

_NO_ZERO = "This is not 0 points: there are no points yet."
STATUS = {  # status -> in words, what it means and what the student can do
    GRADED: ("Graded", "Your work was run and checked."),
    TIMEOUT: (
        "Stopped: it took too long",
        "Something in your work ran longer than it may and was stopped. The points of the other exercises stand. "
        "Look for a loop that does not end, or for work that is done again and again.",
    ),
    CRASHED: (
        "Stopped: Python ended",
        "Something in your work ended its Python process. The points of the other exercises stand. "
        "Restart the kernel, run all cells from the top, and see which one stops.",
    ),
    MEMORY: (
        "Stopped: out of memory",
        "Something in your work needed more memory than it may have and was stopped. The points of the other exercises stand. "
        "Look for a list or an array that grows without end.",
    ),
    MALFORMED: (
        "Not graded: the file cannot be read",
        f"{_NO_ZERO} Open your notebook in JupyterLab, choose Restart Kernel and Run All Cells, save it, "
        f"and hand in {NOTEBOOK}.ipynb again.",
    ),
    TAMPERED: (
        "A person will look at this",
        "Something is changed that only the grader changes. What could be graded was graded. "
        "If you did not mean to, put your answers into a fresh copy of the notebook and hand that in.",
    ),
    MISSING: (
        "Not graded: nothing was handed in",
        f"{_NO_ZERO} If you did hand in, make sure that the file is called {NOTEBOOK}.ipynb, and hand it in again or ask.",
    ),
}


class _Budget:
    """Hands out text until so many bytes of HTML are used up."""

    def __init__(self, size: int):
        self.left = size

    def take(self, text: str, characters: int, lines: int = 300) -> str:
        """The text, bounded, as far as there is room for it."""
        shown = bounded(text, characters, lines)
        size = _html_bytes(shown)
        if size > self.left:
            shown, size = "… left out: this page is full", 60
        self.left -= size
        return shown


def _html_bytes(text: str) -> int:
    return len(escape(text).encode("utf-8"))


@dataclass
class _Cell:
    """One cell of the student's notebook, as the page shows it."""

    heading: str  # the last heading above it, such as 2.1 Count
    source: str
    most: float = 0.0  # what a written answer is worth
    output: str = ""
    images: list[str] = field(default_factory=list)  # base64 of PNG


@dataclass
class _Work:
    """A student's notebook: the cells that the page may show."""

    solutions: dict[str, _Cell] = field(default_factory=dict)  # grade id -> cell
    written: dict[str, _Cell] = field(default_factory=dict)
    others: list[_Cell] = field(default_factory=list)


def write_feedback(course: Path, chapter: str, verdict: Verdict, recorded: Recorded | None = None) -> Path:
    """Write course/feedback/STUDENT/CHAPTER/exercises.html, whole or not at all; return its path. Errors: CourseError."""
    path = course / "feedback" / verdict.student / chapter / f"{NOTEBOOK}.html"
    try:
        write_whole(path, feedback_page(verdict, recorded))
    except OSError as error:
        raise CourseError(f"the feedback {path} cannot be written ({error.strerror}): mend that and grade again") from None
    return path


def feedback_page(verdict: Verdict, recorded: Recorded | None = None) -> str:
    """The page of one submission, as HTML. recorded: what the gradebook holds, with the points and comments of persons."""
    words = _Budget(_WORDS)
    label, meaning = STATUS.get(verdict.status, (verdict.status, ""))
    message = words.take(verdict.message, 2_000)
    exercises = _exercises(verdict, recorded, words)
    work = _read(verdict.notebook)
    for exercise in exercises:
        exercise["cell"] = work.solutions.get(exercise["grade_id"])
    return _template().render(
        chapter=one_line(verdict.chapter, 80),
        student=one_line(verdict.student, 80),
        name=one_line(f"{recorded.first_name} {recorded.last_name}", 120) if recorded else "",
        status=verdict.status if verdict.status in STATUS else "other",
        label=one_line(label, 80),
        meaning=meaning,
        message=message,
        notes=[words.take(note, 600, 8) for note in verdict.notes[:_NOTES]],
        total=_total(verdict, recorded),
        exercises=exercises,
        written=[_written(grade_id, cell, recorded, words) for grade_id, cell in work.written.items()],
        others=[cell for cell in work.others if cell.output or cell.images],
    )


def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["points"] = lambda number: f"{round(number, 2):g}"
    return environment.get_template("feedback.html.j2")


def _total(verdict: Verdict, recorded: Recorded | None) -> dict[str, object] | None:
    """Points and the most that there are; None where nothing was graded, which is not 0 points."""
    if not verdict.has_points:
        return None
    if recorded is None:
        most = sum(part.max_points for part in verdict.parts)
        return {"points": sum(part.points for part in verdict.parts), "most": most, "waits": False, "late": 0.0}
    return {"points": recorded.points, "most": recorded.max_points, "waits": recorded.needs_person, "late": recorded.late_penalty}


def _exercises(verdict: Verdict, recorded: Recorded | None, words: _Budget) -> list[dict[str, object]]:
    """What the page says of each exercise, in the notebook's order. A person's points for a cell replace the checks'."""
    found: dict[str, dict[str, object]] = {}
    room = _CHECKS
    for part in verdict.parts:
        grade_id = part.grade_id.removesuffix("-hidden" if part.hidden else "-visible")
        comment = _comment(recorded, grade_id, words) if part.exercise not in found else ""
        new = {"name": one_line(part.exercise, 80), "grade_id": grade_id, "points": 0.0, "most": 0.0, "checks": [], "changed": []}
        one = found.setdefault(part.exercise, {**new, "comment": comment})
        points = recorded.by_cell.get(part.grade_id, part.points) if recorded else part.points
        if points != part.points:
            one["changed"].append({"points": points, "checks": part.points, "hidden": part.hidden})
        one["points"] += points
        one["most"] += part.max_points
        one["checks"] += [_check(part, result, words) for result in part.results[:room]]
        room -= min(room, len(part.results))
    return list(found.values())[:_CHECKS]


def _comment(recorded: Recorded | None, grade_id: str, words: _Budget) -> str:
    return words.take(recorded.comments.get(grade_id, ""), 4_000) if recorded else ""


def _check(part: Part, result: Result, words: _Budget) -> dict[str, object]:
    message = "" if result.passed else words.take(result.message, 2_000, 60)
    title = words.take(one_line(result.title, 200), 200)
    return {"title": title, "hidden": part.hidden, "passed": result.passed, "points": result.points, "message": message}


def _written(grade_id: str, cell: _Cell, recorded: Recorded | None, words: _Budget) -> dict[str, object]:
    """A written answer, with its points where a person gave some, or where there was nothing to read."""
    grade = recorded.cells.get(grade_id) if recorded else None
    points = None if grade is None or grade.needs_person else grade.points
    blank = grade is not None and grade.manual is None
    return {"cell": cell, "points": points, "blank": blank, "most": cell.most, "comment": _comment(recorded, grade_id, words)}


def _read(notebook: str) -> _Work:
    """The cells of a rebuilt notebook: answers, and other cells that show something. Of check cells nothing is taken."""
    work, heading = _Work(), ""
    code, output, images = _Budget(_CODE), _Budget(_OUTPUT), _Budget(_IMAGES)
    shown: list[tuple[_Cell, list[object]]] = []
    for cell in _cells(notebook):
        mark = _dict(_dict(cell.get("metadata")).get("nbgrader"))
        source, grade_id, most = _text(cell.get("source")), str(mark.get("grade_id", "")), mark.get("points")
        solution, graded = bool(mark.get("solution")), bool(mark.get("grade"))
        if cell.get("cell_type") == "markdown" and not mark:
            heading = next((line.lstrip("# ") for line in reversed(source[:20_000].splitlines()) if line.startswith("#")), heading)
        elif solution:
            one = _Cell(one_line(heading, 120), code.take(source, 12_000), float(most) if isinstance(most, int | float) else 0.0)
            (work.written if graded else work.solutions)[grade_id] = one
            shown.append((one, cell.get("outputs")))
        elif cell.get("cell_type") == "code" and not mark and cell.get("outputs") and len(work.others) < _OTHERS:
            work.others.append(_Cell(one_line(heading, 120), code.take(source, 4_000, 100)))
            shown.append((work.others[-1], cell.get("outputs")))
    for one, outputs in shown:  # after all the sources, so that a flood of output pushes out no answer
        _take_outputs(one, outputs if isinstance(outputs, list) else [], output, images)
    return work


def _cells(notebook: str) -> list[dict]:
    try:
        cells = _dict(json.loads(notebook or "{}")).get("cells")
    except (ValueError, RecursionError):
        return []
    return [cell for cell in cells if isinstance(cell, dict)] if isinstance(cells, list) else []


def _dict(value: object) -> Mapping:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    """A field of a notebook that is a string, or a list of strings."""
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _take_outputs(cell: _Cell, outputs: list[object], output: _Budget, images: _Budget) -> None:
    """Put a cell's output into it: text, errors, and PNG images; nothing else, above all no HTML."""
    texts = []
    for one in map(_dict, outputs[:1_000]):
        data = _dict(one.get("data"))
        image = png(_text(data.get("image/png")))
        if image and len(image) <= images.left:
            images.left -= len(image)
            cell.images.append(image)
        elif one.get("output_type") == "error":
            texts.append(_text(one.get("traceback")) or f"{_text(one.get('ename'))}: {_text(one.get('evalue'))}")
        else:
            texts.append(_text(one.get("text")) or _text(data.get("text/plain")))
    text = "\n".join(text.rstrip("\n") for text in texts if text.strip())
    cell.output = output.take(text, 6_000, 200) if text else ""
