"""Grades a class's submissions of one chapter with nbgrader: autograde, feedback, a table, an export.

A submission stands in course/submitted/STUDENT/CHAPTER/exercises.ipynb. One that cannot be graded is reported with the
reason and changes nothing for the others.
"""

import csv
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from autograder.errors import CourseError
from autograder.layout import NOTEBOOK, Chapter, course
from lmkit.cache import write_whole


@dataclass(frozen=True)
class Grade:
    """What a student got for a chapter."""

    student: str
    status: str  # graded, malformed, failed, or ungraded where nobody has tried yet
    points: float | None  # None where it was not graded
    max_points: float
    by_cell: dict[str, float] = field(default_factory=dict)  # grade id -> points
    needs_person: bool = False  # a written answer waits for a person
    message: str = ""  # why it was not graded


def students_of(chapter: Chapter, folder: Path | None = None) -> list[str]:
    """Everyone with a submission folder for the chapter, in alphabetical order."""
    submitted = (folder or course(chapter.root)) / "submitted"
    return sorted(path.parent.name for path in submitted.glob(f"*/{chapter.name}") if path.is_dir())


def refuse_visible_solutions() -> None:
    """Raise CourseError where a notebook's kernel could import the reference solutions: any submission would score full marks."""
    probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec('solutions') is not None)"
    with tempfile.TemporaryDirectory() as elsewhere:
        found = subprocess.run([sys.executable, "-c", probe], cwd=elsewhere, env=os.environ, check=False).returncode
    if found:
        raise CourseError("a submission could import the package `solutions` and score full marks; take the repository off PYTHONPATH")


def check_submission(path: Path, release: Path | None = None) -> str:
    """Why a submitted file cannot be graded, in one sentence; empty where it can.

    release: the notebook that was handed out. Without its cells, nbgrader would find no work, and give 0 points.
    """
    student = path.parent.parent.name
    try:
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        nbformat.validate(notebook)
    except FileNotFoundError:
        return f"there is no {path.name} in {student}/{path.parent.name}; ask for the file"
    except OSError as error:
        return f"{path.name} of {student} cannot be read ({error.strerror}); ask for the file again"
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError, nbformat.ValidationError) as error:
        reason = "not JSON" if isinstance(error, json.JSONDecodeError | nbformat.reader.NotJSONError) else "not a valid notebook"
        return f"{path.name} of {student} is {reason}; ask for the file again, saved by Jupyter"
    if release is not None:
        wanted, found = sorted(_grade_ids(nbformat.read(release, as_version=4))), sorted(_grade_ids(notebook))
        if wanted != found:
            lost = sorted(set(wanted) - set(found)) or sorted(cell for cell in set(found) if found.count(cell) != wanted.count(cell))
            which = f"lacks cells of the release, or has them twice ({', '.join(lost[:3])})"
            return f"{path.name} of {student} {which}; ask for the work in a fresh copy of the notebook"
    return ""


def _grade_ids(notebook: nbformat.NotebookNode) -> list[str]:
    """The ids of a notebook's solution and check cells."""
    marked = [cell.metadata.get("nbgrader") for cell in notebook.cells]
    return [str(mark["grade_id"]) for mark in marked if isinstance(mark, dict) and "grade_id" in mark]


def grade(
    chapter: Chapter,
    students: Iterable[str],
    folder: Path | None = None,
    report: Callable[[Grade], None] = lambda grade: None,
) -> list[Grade]:
    """Autograde the students' submissions and write their feedback. `report` is called with each grade as it is made.

    folder: the course directory, by default this repository's. Its release must have been made.
    """
    from autograder import nbgrader_api as nbgrader  # takes more than a second to import

    folder = folder or course(chapter.root)
    refuse_visible_solutions()
    release = folder / "release" / chapter.name / f"{NOTEBOOK}.ipynb"
    if not release.exists():
        raise CourseError(f"{chapter.name} has no release; make it with: python -m autograder assemble {chapter.name}")
    grades = []
    for student in students:
        problem = check_submission(folder / "submitted" / student / chapter.name / f"{NOTEBOOK}.ipynb", release)
        if problem:
            grades.append(Grade(student, "malformed", None, 0.0, message=problem))
        else:
            try:
                nbgrader.autograde(folder, chapter.name, student)
                nbgrader.feedback(folder, chapter.name, student)
                grades.append(read_grade(folder, chapter, student))
            except CourseError as error:
                grades.append(Grade(student, "failed", None, 0.0, message=str(error)))
        report(grades[-1])
    return grades


def read_grade(folder: Path, chapter: Chapter, student: str) -> Grade:
    """A student's points as they stand in the gradebook."""
    from autograder.nbgrader_api import gradebook

    with gradebook(folder) as book:
        submission = book.find_submission_notebook(NOTEBOOK, chapter.name, student)
        by_cell = {one.name: float(one.score) for one in submission.grades}
        return Grade(student, "graded", float(submission.score), float(submission.max_score), by_cell, bool(submission.needs_manual_grade))


def whole_class(chapter: Chapter, graded: list[Grade], folder: Path | None = None) -> list[Grade]:
    """The grades just made, and those of everyone else who handed in as they stand in the gradebook, in alphabetical order."""
    from nbgrader.api import MissingEntry

    folder = folder or course(chapter.root)
    by_student = {one.student: one for one in graded}
    for student in set(students_of(chapter, folder)) - set(by_student):
        try:
            by_student[student] = read_grade(folder, chapter, student)
        except MissingEntry:
            by_student[student] = Grade(student, "ungraded", None, 0.0)
    return [by_student[student] for student in sorted(by_student)]


def export(grades: list[Grade], path: Path) -> None:
    """Write a CSV file: a row a student, with the status; no points where there is no grade."""
    cells = sorted({cell for grade in grades for cell in grade.by_cell})
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["student", "status", "points", "max_points", "needs_person", *cells])
    for grade in grades:
        points = "" if grade.points is None else f"{grade.points:g}"
        row = [grade.student, grade.status, points, f"{grade.max_points:g}", "yes" if grade.needs_person else "no"]
        writer.writerow(row + [f"{grade.by_cell[cell]:g}" if cell in grade.by_cell else "" for cell in cells])
    try:
        write_whole(path, text.getvalue())
    except OSError as error:
        raise CourseError(f"{path} cannot be written ({error.strerror}): name another file with --to") from None
