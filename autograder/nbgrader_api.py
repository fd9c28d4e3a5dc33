"""The few calls that we make to nbgrader, with its failures turned into one sentence each."""

import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from sqlalchemy.exc import SAWarning, SQLAlchemyError
from traitlets.config import Config, PyFileConfigLoader

from autograder.errors import CourseError
from autograder.layout import NOTEBOOK

_EXCEPTION = re.compile(r"[\w.]*(?:Error|Exception|Entry|TooOld|TooNew)\b.*:|KeyboardInterrupt")
CONFIG = Path(__file__).with_name("nbgrader_config.py")


def _api(course: Path) -> NbGraderAPI:
    """nbgrader on one course directory, which is made where it is not."""
    course.mkdir(parents=True, exist_ok=True)
    link_config(course)
    _find_alembic()
    config: Config = PyFileConfigLoader(CONFIG.name, path=str(CONFIG.parent)).load_config()
    config.CourseDirectory.root = str(course)
    config.Exchange.root = str(course / "exchange")  # unused here; nbgrader's default is a folder of the system
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        api = NbGraderAPI(config=config, coursedir=CourseDirectory(config=config))
    api.log_level = "ERROR"
    return api


def _find_alembic() -> None:
    """nbgrader starts the program `alembic` to make a gradebook: let it find the one installed beside this Python."""
    here = str(Path(sys.executable).parent)
    if here not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([here, os.environ.get("PATH", "")])


def link_config(course: Path) -> None:
    """Let plain `nbgrader` find the settings when it is started in the course directory."""
    path = course / "nbgrader_config.py"
    text = f"load_subconfig({os.path.relpath(CONFIG, course)!r})\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


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
    if not (course / "gradebook.db").exists():
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


@contextmanager
def gradebook(course: Path) -> Iterator[Gradebook]:
    """The course's gradebook, closed at the end."""
    config: Config = _api(course).config
    try:
        with Gradebook(CourseDirectory(config=config).db_url, config.CourseDirectory.course_id) as book:
            yield book
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        raise CourseError(f"the gradebook {course / 'gradebook.db'} cannot be used ({reason}): restore it from a copy, or wait") from None
