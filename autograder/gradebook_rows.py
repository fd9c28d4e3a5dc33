"""The rows of nbgrader's gradebook that one chapter has: the cells as released, and a submission's grades and comments."""

from dataclasses import dataclass
from typing import TypeVar

from nbformat import NotebookNode
from nbgrader import utils
from nbgrader.api import (
    Assignment,
    Comment,
    Grade,
    GradeCell,
    Notebook,
    SolutionCell,
    SourceCell,
    Student,
    SubmittedAssignment,
    SubmittedNotebook,  # fmt: skip
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from autograder.autograded import Changes
from autograder.layout import NOTEBOOK
from autograder.recorded import CellGrade, Recorded
from autograder.verdict import Verdict

Row = TypeVar("Row")


@dataclass(frozen=True)
class Sheet:
    """The cells of a chapter as the gradebook knows them since the release, by grade id."""

    notebook: Notebook
    graded: dict[str, GradeCell]
    answers: dict[str, str]  # of the answers, written or code: ids in the database
    checksums: dict[str, str]

    @property
    def checked(self) -> dict[str, float]:
        """Grade id -> most points of the cells that checks grade."""
        return {name: cell.max_score for name, cell in self.graded.items() if name not in self.answers}


def read_sheet(session: Session, chapter: str) -> Sheet | None:
    """The chapter's cells; None where the gradebook does not know the chapter."""
    notebook = session.scalar(select(Notebook).join(Assignment).where(Assignment.name == chapter, Notebook.name == NOTEBOOK))
    if notebook is None:
        return None

    def cells(kind: type) -> list:
        return list(session.scalars(select(kind).where(kind.notebook_id == notebook.id)))

    graded, answers = {cell.name: cell for cell in cells(GradeCell)}, {cell.name: cell.id for cell in cells(SolutionCell)}
    return Sheet(notebook, graded, answers, {cell.name: cell.checksum for cell in cells(SourceCell)})


def find(session: Session, sheet: Sheet, student: str) -> tuple[SubmittedAssignment | None, SubmittedNotebook | None]:
    """A student's rows of the chapter, where there are any."""
    of = (SubmittedAssignment.assignment_id == sheet.notebook.assignment_id) & (SubmittedAssignment.student_id == student)
    submission = session.scalar(select(SubmittedAssignment).where(of))
    notebooks = submission.notebooks if submission else ()
    return submission, next((one for one in notebooks if one.notebook_id == sheet.notebook.id), None)


def find_or_add(session: Session, sheet: Sheet, student: str) -> tuple[SubmittedAssignment, SubmittedNotebook]:
    """A student's rows of the chapter; those that are not there are made, and the student too."""
    submission, mine = find(session, sheet, student)
    if submission is None:
        if session.get(Student, student) is None:
            _added(session, Student(id=student))
        submission = _added(session, SubmittedAssignment(assignment_id=sheet.notebook.assignment_id, student_id=student))
    if mine is None:
        mine = _added(session, SubmittedNotebook(assignment_id=submission.id, notebook_id=sheet.notebook.id))
    return submission, mine


def _added(session: Session, row: Row) -> Row:
    session.add(row)
    session.flush()  # which gives it its id
    return row


def write_grades(
    session: Session, sheet: Sheet, mine: SubmittedNotebook, verdict: Verdict, notebook: NotebookNode, changes: Changes
) -> None:
    """The automatic scores, and which cells wait for a person. A person's scores are left alone."""
    cells = {cell.metadata.nbgrader["grade_id"]: cell for cell in notebook.cells if utils.is_grade(cell)}
    grades = {grade.cell_id: grade for grade in mine.grades}
    for name, cell in sheet.graded.items():
        grade = grades.get(cell.id) or _added(session, Grade(cell_id=cell.id, notebook_id=mine.id))
        before = grade.auto_score
        if name in sheet.answers:
            grade.auto_score, _ = utils.determine_grade(cells[name])  # 0 where it was left blank, else None
        else:
            grade.auto_score = max(0.0, min(float(verdict.by_cell[name]), float(cell.max_score)))
        if grade.manual_score is None:
            grade.needs_manual_grade = grade.auto_score is None
        elif changes.of(name) or grade.auto_score != before:
            grade.needs_manual_grade = True


def write_comments(session: Session, sheet: Sheet, mine: SubmittedNotebook, notebook: NotebookNode) -> None:
    """nbgrader's own comment on each answer; a person's stands beside it."""
    comments = {comment.cell_id: comment for comment in mine.comments}
    for cell in notebook.cells:
        if utils.is_solution(cell):
            identity = sheet.answers[cell.metadata.nbgrader["grade_id"]]
            comment = comments.get(identity) or _added(session, Comment(cell_id=identity, notebook_id=mine.id))
            blank = cell.metadata.nbgrader.get("checksum") == utils.compute_checksum(cell)
            comment.auto_comment = "No response." if blank else None


def recorded(mine: SubmittedNotebook, sheet: Sheet) -> Recorded:
    """A submission's rows as plain values."""
    student, grades, comments = mine.student, {one.cell_id: one for one in mine.grades}, {one.cell_id: one for one in mine.comments}
    return Recorded(
        student.id,
        student.first_name or "",
        student.last_name or "",
        student.email or "",
        student.lms_user_id or "",
        mine.assignment.timestamp,
        mine.late_submission_penalty or 0.0,
        {name: _cell_grade(grades[cell.id], cell, name in sheet.answers) for name, cell in sheet.graded.items() if cell.id in grades},
        {name: comments[key].comment for name, key in sheet.answers.items() if key in comments and comments[key].comment},
    )


def _cell_grade(grade: Grade, cell: GradeCell, written: bool) -> CellGrade:
    return CellGrade(grade.auto_score, grade.manual_score, grade.extra_credit or 0.0, cell.max_score, grade.needs_manual_grade, written)
