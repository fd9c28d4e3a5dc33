"""Writes verdicts into nbgrader's gradebook and its autograded/ folder, as plain `nbgrader autograde` would have, and reads grades.

Nothing else of this package writes grades. One student is all or nothing: the rows are one transaction, and the notebook is
written beside its place before the commit and renamed after it. Who is stopped in between, by whatever, runs the same again.

What a person gave (scores, extra credit, comments, names) is never changed. Where the work that a person scored has changed
since, the score stays and `needs_manual_grade` is set again; nbgrader itself sets it after every regrade.

A verdict without points (malformed, missing, ...) makes no rows, as rows would count as 0. Where there are rows of an earlier
submission, their automatic scores are taken away and all cells wait for a person, what persons gave stays, and the graded
notebook moves to withdrawn/STUDENT/CHAPTER: formgrader then lists the submission as not graded. The next verdict with points
fills the rows again.
"""

import contextlib
import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader import utils
from nbgrader.api import Student as StudentRow
from nbgrader.api import SubmittedAssignment, SubmittedNotebook
from nbgrader.preprocessors import AssignLatePenalties
from sqlalchemy import select, text
from sqlalchemy.orm import Session, selectinload

from autograder.autograded import Changes, released, set_aside, written_after
from autograder.database import Database, course_config, gradebook
from autograder.errors import CourseError
from autograder.gradebook_rows import Sheet, find, find_or_add, read_sheet, recorded, write_comments, write_grades
from autograder.layout import NOTEBOOK
from autograder.recorded import CellGrade, Recorded
from autograder.roster import Student
from autograder.verdict import Verdict

__all__ = ["CellGrade", "Recorded", "Records", "gradebook", "read_grades", "record", "roster_of", "submitted_at"]


class Records:
    """The gradebook of one chapter, opened once for many verdicts. Use it in a `with` statement. Errors: CourseError."""

    def __init__(self, course: Path, chapter: str, db_url: str | None = None):
        self.course, self.chapter = course, chapter
        self.config = course_config(course)
        self.database = Database.of(course, db_url)
        self.engine = self.database.engine()
        with self._session() as session:
            self._sheet(session)  # says at once where the chapter was never assembled

    def __enter__(self) -> "Records":
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.dispose()

    @contextlib.contextmanager
    def _session(self, write: bool = False) -> Iterator[Session]:
        with self.database.sentences(), Session(self.engine) as session:
            if write and self.database.is_file:
                session.execute(text("BEGIN IMMEDIATE"))  # so that nobody writes between our reading and our writing
            yield session

    def _sheet(self, session: Session) -> Sheet:
        sheet = read_sheet(session, self.chapter)
        if sheet is None:
            advice = f"run python -m autograder assemble {self.chapter}"
            raise CourseError(f"the gradebook {self.database.place} does not know {self.chapter}: {advice}")
        return sheet

    def record(self, verdict: Verdict, timestamp: datetime | None = None) -> None:
        """Write one verdict: the rows, and course/autograded/STUDENT/CHAPTER.

        timestamp: when it was handed in, UTC where it has no zone; None leaves the gradebook's, as nbgrader does.
        Errors: CourseError; then the student's grades and files are as they were.
        """
        if not verdict.has_points:
            self._withdraw(verdict.student)
            return
        folder = self.course / "autograded" / verdict.student / self.chapter
        with self._session(write=True) as session:
            sheet = self._sheet(session)
            notebook = released(verdict.notebook, sheet.notebook.kernelspec, sheet.checksums)
            self._compare(verdict, notebook, sheet)
            submission, mine = find_or_add(session, sheet, verdict.student)
            files = {f"{NOTEBOOK}.ipynb": nbformat.writes(notebook) + "\n"}
            if timestamp is not None:
                submission.timestamp = utils.parse_utc(timestamp)
                files["timestamp.txt"] = f"{submission.timestamp:%Y-%m-%d %H:%M:%S.%f} UTC\n"
            write_grades(session, sheet, mine, verdict, notebook, Changes(folder, notebook))
            write_comments(session, sheet, mine, notebook)
            self._penalize(session, submission, mine)
            session.flush()  # what the database refuses, it refuses before the files are made
            with written_after(folder, files):
                session.commit()

    def _compare(self, verdict: Verdict, notebook: NotebookNode, sheet: Sheet) -> None:
        """Raise CourseError where the verdict is of other cells than the gradebook's: each would miss points, or have too many."""
        found = {part.grade_id: part.max_points for part in verdict.parts}
        known = sheet.checked
        differ = {name for name in found.keys() | known.keys() if not math.isclose(found.get(name, -1), known.get(name, -1))}
        there = {cell.metadata.nbgrader["grade_id"] for cell in notebook.cells if utils.is_grade(cell) or utils.is_solution(cell)}
        differ |= there ^ (sheet.graded.keys() | sheet.answers.keys())
        if differ:
            cells = ", ".join(sorted(map(str, differ))[:3])
            advice = f"run python -m autograder assemble {self.chapter}, then grade again"
            raise CourseError(f"the verdict on {verdict.student} and the gradebook {self.database.place} differ in {cells}: {advice}")
        if not all(math.isfinite(points) for points in verdict.by_cell.values()):
            raise CourseError(f"the verdict on {verdict.student} holds points that are no numbers: grade {verdict.student} again")

    def _penalize(self, session: Session, submission: SubmittedAssignment, mine: SubmittedNotebook) -> None:
        """What nbgrader's plugin for late submissions takes away; by default nothing."""
        session.flush()
        mine.late_submission_penalty = None
        if submission.total_seconds_late > 0:
            late = AssignLatePenalties(config=self.config)
            late.init_plugin()
            session.refresh(mine, ["score"])
            penalty = late.plugin_inst.late_submission_penalty(submission.student_id, mine.score, submission.total_seconds_late)
            mine.late_submission_penalty = None if penalty is None else late._check_late_penalty(mine, penalty)

    def _withdraw(self, student: str) -> None:
        """Take away what checks gave an earlier submission; the module's text says why."""
        with self._session(write=True) as session:
            _, mine = find(session, self._sheet(session), student)
            for grade in mine.grades if mine else ():
                grade.auto_score, grade.needs_manual_grade = None, True
            session.commit()
        set_aside(self.course, student, self.chapter)

    def grade_of(self, student: str) -> Recorded | None:
        """What the gradebook holds of one student, where there is something."""
        with self._session() as session:
            sheet = self._sheet(session)
            _, mine = find(session, sheet, student)
            return recorded(mine, sheet) if mine else None

    def grades(self) -> dict[str, Recorded]:
        """Student -> what the gradebook holds of the chapter, for everyone who has rows in it."""
        with self._session() as session:
            sheet = self._sheet(session)
            chosen = select(SubmittedNotebook).where(SubmittedNotebook.notebook_id == sheet.notebook.id)
            loaded = session.scalars(chosen.options(selectinload(SubmittedNotebook.grades), selectinload(SubmittedNotebook.comments)))
            everyone = [recorded(mine, sheet) for mine in loaded]
        return {one.student: one for one in sorted(everyone, key=lambda one: one.student)}


def record(course: Path, chapter: str, verdict: Verdict, timestamp: datetime | None = None, db_url: str | None = None) -> None:
    """`Records.record` for one verdict alone; for a class, open `Records` once."""
    with Records(course, chapter, db_url) as records:
        records.record(verdict, timestamp)


def read_grades(course: Path, chapter: str, db_url: str | None = None) -> dict[str, Recorded]:
    """Student -> what the gradebook holds of a chapter. Errors: CourseError."""
    with Records(course, chapter, db_url) as records:
        return records.grades()


def roster_of(course: Path, db_url: str | None = None) -> list[Student]:
    """All students in the gradebook, by id. Errors: CourseError."""
    database = Database.of(course, db_url)
    engine = database.engine()
    try:
        with database.sentences(), Session(engine) as session:
            rows = session.scalars(select(StudentRow).order_by(StudentRow.id))
            return [Student(row.id, row.first_name or "", row.last_name or "", row.email or "", row.lms_user_id or "") for row in rows]
    finally:
        engine.dispose()


def submitted_at(course: Path, student: str, chapter: str) -> datetime | None:
    """When a submission was handed in, UTC, as its timestamp.txt says, which nbgrader writes; None where it says nothing.

    formgrader takes a submission for graded where the gradebook has this very time, so give this one to `record`.
    """
    try:
        return utils.parse_utc((course / "submitted" / student / chapter / "timestamp.txt").read_text(encoding="utf-8").strip())
    except (OSError, ValueError, OverflowError):
        return None
