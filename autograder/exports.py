"""Writes a class's grades as CSV: our own layout, and those that Canvas and Moodle import.

Every student of the class has a row and a status. Where there is no grade, the points are empty, never 0.

A spreadsheet runs a cell that begins like a formula. Such a text gets a single quote in front; `restore` takes it off again.
Numbers are never changed.
"""

import csv
import io
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autograder.errors import CourseError
from autograder.plain import one_line, plain
from autograder.recorded import Recorded
from autograder.roster import Student
from autograder.verdict import MISSING, Verdict
from lmkit.cache import write_whole

LAYOUTS = ("plain", "canvas", "moodle")
_QUOTES = "'\"`´‘’‚‛“”„‟＇＂"
Cell = str | float | int | None


@dataclass(frozen=True)
class Row:
    """What stands in an export about one student."""

    student: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    lms_id: str = ""  # the number that Canvas gave the student
    status: str = MISSING
    points: float | None = None  # None where there is no grade
    max_points: float | None = None  # None where nobody of the class was graded
    needs_person: bool = False  # something still waits for a person, so `points` may grow
    by_exercise: Mapping[str, float] = field(default_factory=dict)  # exercise or written question -> points
    message: str = ""


def rows(roster: Iterable[Student], verdicts: Iterable[Verdict], recorded: Mapping[str, Recorded]) -> list[Row]:
    """A row for everyone on the class list and everyone who was graded, sorted by student.

    Points are the gradebook's, which holds what persons gave too. Someone without a verdict is `missing`.
    """
    people = {student.id: student for student in roster}
    verdict_of = {verdict.student: verdict for verdict in verdicts}
    most = max((one.max_points for one in recorded.values()), default=None)
    return [_row(student, people.get(student), verdict_of.get(student), recorded.get(student), most)
            for student in sorted(people.keys() | verdict_of.keys() | recorded.keys())]  # fmt: skip


def _row(student: str, person: Student | None, verdict: Verdict | None, record: Recorded | None, most: float | None) -> Row:
    who = person or record
    names = {name: getattr(who, name, "") for name in ("first_name", "last_name", "email", "lms_id")}
    if verdict is None:
        message = "there is no submission" if record is None else "graded by another program: run grade"
        return Row(student, **names, max_points=most, message=message)
    if not verdict.has_points or record is None:
        message = verdict.message if not verdict.has_points else "not in the gradebook yet: run grade again"
        return Row(student, **names, status=verdict.status, max_points=most, message=message)
    return Row(
        student,
        **names,
        status=verdict.status,
        points=record.points,
        max_points=record.max_points,
        needs_person=record.needs_person,
        by_exercise=_by_exercise(verdict, record),
        message=verdict.message,
    )


def _by_exercise(verdict: Verdict, record: Recorded) -> dict[str, float]:
    """Points of each exercise as the gradebook has them, then those of the written questions that a person graded."""
    checked = verdict.by_cell
    points = dict.fromkeys(verdict.by_exercise(), 0.0)
    for part in verdict.parts:
        points[part.exercise] += record.by_cell.get(part.grade_id, part.points)
    for grade_id, given in record.by_cell.items():
        if grade_id not in checked and grade_id not in record.waiting:
            points[grade_id.partition("-")[2] or grade_id] = given
    return points


def export(rows: list[Row], path: Path, layout: str = "plain", assignment: str = "", partial: bool = False) -> None:
    """Write the rows as a CSV file, whole or not at all.

    layout: one of LAYOUTS; assignment: the name of the column of points, which Canvas knows or will make.
    Canvas and Moodle would take a sum that still grows for a grade: where a person has something left to grade, CourseError
    unless `partial`. CourseError too where the file cannot be written.
    """
    if layout not in LAYOUTS:
        raise CourseError(f"there is no layout {layout!r} of exports; take one of {', '.join(LAYOUTS)}")
    waiting = [row.student for row in rows if row.needs_person]
    if waiting and layout != "plain" and not partial:
        who = f"{', '.join(waiting[:3])}{' …' if len(waiting) > 3 else ''}"
        raise CourseError(
            f"the grades of {len(waiting)} of {len(rows)} students still wait for a person ({who}): "
            "finish them in formgrader, or take the points as they are with --partial"
        )
    table = {"plain": _plain, "canvas": _canvas, "moodle": _moodle}[layout](rows, assignment or "points")
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_NONNUMERIC).writerows([[_safe(cell) for cell in line] for line in table])
    try:
        write_whole(path, text.getvalue())
    except OSError as error:
        raise CourseError(f"{path} cannot be written ({error.strerror}): name another file") from None


def _plain(rows: list[Row], assignment: str) -> list[list[Cell]]:
    exercises = list(dict.fromkeys(name for row in rows for name in row.by_exercise))
    head = ["student", "first_name", "last_name", "status", "points", "max_points", "needs_person", *exercises, "message"]
    return [head] + [
        [row.student, row.first_name, row.last_name, row.status, row.points, row.max_points, "yes" if row.needs_person else "no",
         *(row.by_exercise.get(name) for name in exercises), one_line(row.message, 500)]
        for row in rows
    ]  # fmt: skip


def _canvas(rows: list[Row], assignment: str) -> list[list[Cell]]:
    """The layout of Canvas's gradebook. It finds a student by ID, else by login, else by name.

    ID takes digits only: Canvas reads 12 from "12abc", which is somebody else. Columns whose name contains "Current Grade"
    are read-only in Canvas: it skips them, so the status can stand there.
    """
    most = max((row.max_points for row in rows if row.max_points is not None), default=None)
    head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", assignment, "Status of the Current Grade"]
    lines: list[list[Cell]] = [head, ["    Points Possible", None, None, None, None, most, "(read only)"]]
    for row in rows:
        name = ", ".join(part for part in (row.last_name, row.first_name) if part) or row.student
        number = row.lms_id if row.lms_id.isascii() and row.lms_id.isdigit() else None
        lines.append([name, number, None, row.student, None, row.points, row.status])
    return lines


def _moodle(rows: list[Row], assignment: str) -> list[list[Cell]]:
    """For Moodle's grade import: map from Username (which holds our id, so it may be Moodle's ID number) or Email address.

    A column that names students is left out unless all have a value in it: Moodle gives the points of a row without one to the
    student of the row above. Points and feedback stand together, as Moodle drops the points where feedback alone is imported.
    The worksheet of offline grading is another thing: it numbers participants anew in every assignment, and no class list has that.
    """
    columns: dict[str, list[Cell]] = {
        "Username": [row.student for row in rows],
        "Email address": [row.email for row in rows],
    }
    columns = {name: cells for name, cells in columns.items() if all(cells)}
    columns |= {
        "First name": [row.first_name for row in rows],
        "Last name": [row.last_name for row in rows],
        "Status": [row.status for row in rows],
        "Grade": [row.points for row in rows],
        "Maximum Grade": [row.max_points for row in rows],
        "Feedback comments": [f"{assignment}: {row.status}{'. ' if row.message else ''}{one_line(row.message, 500)}" for row in rows],
    }
    return [list(columns), *map(list, zip(*columns.values(), strict=True))]


def _safe(cell: Cell) -> Cell:
    """A number as short as it can be; a text of one line that no spreadsheet takes for a formula."""
    if cell is None:
        return ""
    if isinstance(cell, int | float):
        number = round(float(cell), 6)
        return int(number) if number.is_integer() else number
    return neutralise(plain(cell).replace("\n", " "))


def neutralise(text: str) -> str:
    """The text, with a single quote in front where a spreadsheet might take it for a formula, also behind quotes and spaces."""
    return f"'{text}" if _like_a_formula(text) else text


def restore(text: str) -> str:
    """What `neutralise` was given: an id such as -anna stands in an export as '-anna."""
    return text[1:] if text.startswith("'") and _like_a_formula(text) else text


def _like_a_formula(text: str) -> bool:
    """Whether the first sign behind quotes, spaces and what cannot be seen is one that begins a formula, or a tab or line end."""
    for character in text:
        if character in "\t\r\n":
            return True
        if not (character in _QUOTES or character.isspace() or unicodedata.category(character) in ("Cc", "Cf", "Mn")):
            return unicodedata.normalize("NFKC", character).startswith(tuple("=+-@−"))
    return False
