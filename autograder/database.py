"""Opens nbgrader's gradebook, in SQLite or in any database that SQLAlchemy knows, and tells what goes wrong in one sentence.

Where it is, the first of these says: the argument `db_url`; `c.CourseDirectory.db_url` in the course directory's own
nbgrader_config.py or nbgrader_config.json, which plain `nbgrader` and formgrader read too; else course/gradebook.db.
"""

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic.script import ScriptDirectory
from alembic.util import CommandError
from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory
from nbgrader.dbutil import ALEMBIC_DIR
from sqlalchemy import URL, Engine, create_engine, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, SAWarning, SQLAlchemyError
from traitlets.config import Config, JSONFileConfigLoader, PyFileConfigLoader

from autograder.errors import CourseError

CONFIG = Path(__file__).with_name("nbgrader_config.py")
WAIT = 10  # seconds to wait for another program that is writing the gradebook, and for a server that does not answer
_ADVICE = (  # what the database says -> what is wrong, and what to do
    (r"is locked|lock timeout|deadlock|unique constraint", "is being written by another program: wait, then run the command again"),
    (r"disk is full|no space left", "cannot be written, as its disk is full: make room, then run the command again"),
    (r"readonly|read-only|unable to open|permission denied|disk I/O error", "cannot be written ({reason}): mend its folder"),
    (r"not a database|malformed", "cannot be used ({reason}): restore it from a copy"),
    (r"no such (table|column)|(relation|column) .* does not exist", "is of an older nbgrader: copy it, then run `nbgrader db upgrade`"),
    (r"authentication failed|no password supplied|role .* does not exist", "refused the user or the password: mend them in its address"),
    (r"load plugin", "is in a database that is not known here: mend its address"),
    (r"connect|server|translate host|database .* does not exist", "cannot be reached ({reason}): start its server, or mend its address"),
)  # fmt: skip


def course_config(course: Path) -> Config:
    """nbgrader's settings for a course directory: ours, then those of its own nbgrader_config files. Errors: CourseError."""
    config: Config = PyFileConfigLoader(CONFIG.name, path=str(CONFIG.parent)).load_config()
    for name, loader in (("nbgrader_config.py", PyFileConfigLoader), ("nbgrader_config.json", JSONFileConfigLoader)):
        if (course / name).exists():
            try:
                config.merge(loader(name, path=str(course)).load_config())
            except Exception as error:  # whatever the person's file raises
                raise CourseError(f"nbgrader's settings {course / name} cannot be read ({_first_line(error)}): mend the file") from None
    config.CourseDirectory.root = str(course.absolute())
    config.Exchange.root = str(course.absolute() / "exchange")  # unused here; nbgrader's default is a folder of the system
    return config


@dataclass(frozen=True)
class Database:
    """Where a course's gradebook is. Its address may hold a password, which no message shows."""

    course: Path
    url: URL

    @staticmethod
    def of(course: Path, db_url: str | None = None) -> "Database":
        """The course's gradebook, or the one at `db_url`. Raises CourseError where that is no address."""
        try:
            return Database(course, make_url(db_url or CourseDirectory(config=course_config(course)).db_url))
        except ArgumentError:
            raise CourseError("the gradebook's address is none: write it as in postgresql://user@host/name or sqlite:///path") from None

    @property
    def place(self) -> str:
        return str(self.url.database) if self.is_file else self.url.render_as_string(hide_password=True)

    @property
    def is_file(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def may_exist(self) -> bool:
        """False where it is a file that is not there; a server is not asked."""
        return not self.is_file or Path(self.place).is_file()

    @contextmanager
    def sentences(self) -> Iterator[None]:
        """Turn what the database raises inside into a CourseError."""
        try:
            yield
        except ImportError as error:
            raise CourseError(f"the gradebook {self.place} needs the package {error.name}, which is not installed: install it") from None
        except (SQLAlchemyError, UnicodeError) as error:
            reason = _first_line(getattr(error, "orig", None) or error)
            if self.url.password:
                reason = reason.replace(str(self.url.password), "***")
            advice = (then for pattern, then in _ADVICE if re.search(pattern, reason, re.IGNORECASE))
            told = next(advice, "cannot be used ({reason}): restore it from a copy, or wait").format(reason=reason)
            raise CourseError(f"the gradebook {self.place} {told}") from None

    def engine(self) -> Engine:
        """Connect to a gradebook that is there, made by the nbgrader installed here. Nothing is made. Errors: CourseError."""
        missing = CourseError(f"there is no gradebook {self.place} yet: make it with python -m autograder assemble")
        if not self.may_exist:
            raise missing
        waiting = {"sqlite": {"timeout": WAIT}, "postgresql": {"connect_timeout": WAIT, "options": f"-c lock_timeout={WAIT * 1000}"}}
        with self.sentences():
            engine = create_engine(self.url, connect_args=waiting.get(self.url.get_backend_name(), {}))
            try:
                if not inspect(engine).get_table_names():
                    raise missing
                with engine.connect() as connection:
                    self._check_version(connection.scalar(text("SELECT version_num FROM alembic_version")))
            except BaseException:
                engine.dispose()
                raise
        return engine

    def _check_version(self, version: str | None) -> None:
        scripts = ScriptDirectory(ALEMBIC_DIR)
        if version == scripts.get_current_head():
            return
        try:
            scripts.get_revision(version or "")
        except CommandError:
            raise CourseError(f"the gradebook {self.place} is of a newer nbgrader: install the nbgrader that made it") from None
        raise CourseError(f"the gradebook {self.place} is of an older nbgrader: copy it, then run `nbgrader db upgrade` in {self.course}")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


@contextmanager
def gradebook(course: Path, db_url: str | None = None) -> Iterator[Gradebook]:
    """nbgrader's own gradebook object, made where there is none, closed at the end. Errors: CourseError."""
    find_alembic()
    database = Database.of(course, db_url)
    course_id = course_config(course).CourseDirectory.course_id
    with database.sentences(), warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # nbgrader's own queries under SQLAlchemy 2.1
        if database.is_file:
            Path(database.place).parent.mkdir(parents=True, exist_ok=True)
        with Gradebook(database.url.render_as_string(hide_password=False), course_id) as book:
            yield book


def find_alembic() -> None:
    """nbgrader starts the program `alembic` to make a gradebook: let it find the one installed beside this Python."""
    here = str(Path(sys.executable).parent)
    if here not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([here, os.environ.get("PATH", "")])
