"""The few calls that we make to nbgrader, with its failures turned into one sentence each."""

import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbgrader.api import MissingEntry
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from sqlalchemy.exc import SAWarning

from autograder.database import CONFIG, Database, course_config, find_alembic, gradebook
from autograder.errors import CourseError
from autograder.layout import NOTEBOOK
from lmkit.cache import write_whole

_EXCEPTION = re.compile(r"[\w.]*(?:Error|Exception|Entry|TooOld|TooNew)\b.*:|KeyboardInterrupt")
__all__ = ["autograde", "feedback", "generate", "gradebook", "link_config", "refuse_new_cells"]


def _api(course: Path) -> NbGraderAPI:
    """nbgrader on one course directory, which is made where it is not."""
    course.mkdir(parents=True, exist_ok=True)
    link_config(course)
    find_alembic()
    config = course_config(course)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        api = NbGraderAPI(config=config, coursedir=CourseDirectory(config=config))
    api.log_level = "ERROR"
    return api


def link_config(course: Path) -> None:
    """Let plain `nbgrader` find the settings when it is started in the course directory. What else stands in the file stays."""
    path = course / "nbgrader_config.py"
    line = f"load_subconfig({os.path.relpath(CONFIG, course)!r})\n"
    own = path.read_text(encoding="utf-8") if path.exists() else ""
    if line not in own:
        write_whole(path, line + own)


def _must(result: dict, doing: str) -> None:
    if result["success"]:
        return
    log, _, _ = (result.get("log") or "").partition("There was an error processing assignment '")
    lines = [line.strip() for text in (result.get("error") or "", log) for line in text.splitlines() if line.strip()]
    if any(line.startswith("KeyboardInterrupt") for line in lines):
        raise KeyboardInterrupt  # nbgrader catches it with everything else
    reasons = [line for line in lines if _EXCEPTION.match(line) and "Please see the" not in line]
    raise CourseError(f"nbgrader failed in {doing}: {(reasons or lines or ['it gave no reason'])[-1]}")


def generate(course: Path, assignment: str) -> None:
    """`nbgrader generate_assignment --force`: source/ -> release/, and the cells into the gradebook.

    Ask `refuse_new_cells` first: nbgrader empties `release/` before it finds that submissions forbid new graded cells.
    """
    api = _api(course)
    _must(api.generate_assignment(assignment, force=True), f"generate_assignment {assignment}")


def refuse_new_cells(course: Path, assignment: str, wanted: set[str]) -> None:
    """Raise CourseError where there are submissions, and the graded cells would be others than those released.

    wanted: the grade ids of the new source.
    """
    if not Database.of(course).may_exist:
        return
    with gradebook(course) as book:
        try:
            known = book.find_notebook(NOTEBOOK, assignment)
        except MissingEntry:
            return
        if not book.assignment_submissions(assignment) and not any(course.glob(f"submitted/*/{assignment}")):
            return
        changed = wanted ^ {cell.name for cell in known.grade_cells}
    if changed:
        raise CourseError(
            f"{assignment} has submissions, and {', '.join(sorted(changed))} would come or go among its graded cells; "
            "keep the exercises as released, or start a new course directory"
        )


def autograde(course: Path, assignment: str, student: str) -> None:
    """`nbgrader autograde --force` for one student.

    The kernel is reached by sockets in a folder of its own, so no port is open while a stranger's code runs. What the
    notebook puts on the ladder stays in that folder, which goes away.
    """
    with tempfile.TemporaryDirectory() as folder, _environment("LMKIT_RESULTS", folder), warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # nbgrader's own queries under SQLAlchemy 2.1
        api = _api(course)
        api.config.KernelManager.transport = "ipc"
        api.config.KernelManager.ip = str(Path(folder) / "kernel")
        _must(api.autograde(assignment, student, force=True), f"autograde {assignment} of {student}")


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for a while."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def feedback(course: Path, assignment: str, student: str) -> None:
    """`nbgrader generate_feedback --force` for one student."""
    _must(_api(course).generate_feedback(assignment, student, force=True), f"generate_feedback {assignment} of {student}")
