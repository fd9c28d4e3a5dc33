"""Takes a submission in: finds its one file among whatever a student's folder holds.

No link is followed and nothing but a plain file is read. What the file holds is parsed in parse.py and put into the
release's notebook in rebuild.py.
"""

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from autograder.layout import NOTEBOOK
from autograder.parse import short
from autograder.verdict import MALFORMED, MISSING, TAMPERED, Refused

MAX_ENTRIES = 1_000  # of a submission's folder that are looked at
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Submission:
    """The bytes of a submitted notebook, and the name of the file they stood in."""

    data: bytes
    name: str

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence where the file was renamed."""
        return () if self.name == f"{NOTEBOOK}.ipynb" else (f"the file was named {short(self.name)} and was taken as {NOTEBOOK}.ipynb",)


def read_submission(course: Path, chapter: str, student: str, limit: int = 20 << 20) -> Submission:
    """The notebook in course/submitted/STUDENT/CHAPTER: exercises.ipynb, or the only other notebook there.

    No link is followed below `submitted`, and only a plain file with one name is read, of at most `limit` bytes.
    Raises Refused: tampered, missing or malformed.
    """
    if student in ("", ".", "..") or "/" in student or "\0" in student:
        raise Refused(TAMPERED, f"{short(student)} cannot be the name of a student's folder; rename it")
    with contextlib.ExitStack() as stack:
        try:
            folder = os.open(course / "submitted", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise Refused(MISSING, f"the folder submitted cannot be opened ({error.strerror})") from None
        stack.callback(os.close, folder)
        for name in (student, chapter):
            folder = _open_below(folder, name, stat.S_ISDIR)
            stack.callback(os.close, folder)
        name = _choose(folder)
        file = _open_below(folder, name, stat.S_ISREG)
        stack.callback(os.close, file)
        return Submission(_read(file, name, limit), name)


def _open_below(folder: int, name: str, wanted: object) -> int:
    """A file descriptor of `name` in an open folder. It is looked at before it is opened: opening a device may do something."""
    try:
        _check_kind(os.stat(name, dir_fd=folder, follow_symlinks=False), name, wanted)
        opened = os.open(name, _OPEN, dir_fd=folder)
    except FileNotFoundError:
        raise Refused(MISSING, f"there is no {short(name)} among the submissions; ask for the work") from None
    except OSError as error:
        raise Refused(MALFORMED, f"{short(name)} cannot be read ({error.strerror}); ask for the file again") from None
    try:
        _check_kind(os.fstat(opened), name, wanted)  # what was opened, whatever the name meant a moment ago
    except Refused:
        os.close(opened)
        raise
    return opened


def _check_kind(found: os.stat_result, name: str, wanted: object) -> None:
    plain = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
    if not plain:
        raise Refused(TAMPERED, f"{short(name)} is a link or a special file, which is never read; ask for a plain file")
    if not wanted(found.st_mode):
        kind, other = ("folder", "file") if wanted is stat.S_ISDIR else ("file", "folder")
        raise Refused(MALFORMED, f"{short(name)} is a {other} where a {kind} must be; ask for the work again")
    if wanted is stat.S_ISREG and found.st_nlink > 1:
        raise Refused(TAMPERED, f"{short(name)} is a hard link to a file that has other names too; ask for a plain file")


def _choose(folder: int) -> str:
    """The name of the notebook in an open folder."""
    names: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for i, entry in enumerate(entries):
                if entry.name == f"{NOTEBOOK}.ipynb":
                    return entry.name
                notebook = entry.name.lower().endswith(".ipynb") and not entry.name.startswith(".")
                if notebook and not entry.is_dir(follow_symlinks=False):
                    names.append(entry.name)
                if i >= MAX_ENTRIES:
                    raise Refused(MALFORMED, f"the folder holds more than {MAX_ENTRIES} files; ask for {NOTEBOOK}.ipynb alone")
    except OSError as error:
        raise Refused(MALFORMED, f"the folder of the submission cannot be read ({error.strerror}); mend its permissions") from None
    if not names:
        raise Refused(MISSING, f"there is no notebook in the folder; ask for {NOTEBOOK}.ipynb")
    if len(names) > 1:
        listing = " and ".join(short(name) for name in sorted(names)[:2])
        found = f"{len(names)} notebooks ({listing})"
        raise Refused(MALFORMED, f"the folder holds {found}, none of them {NOTEBOOK}.ipynb; ask which one counts")
    return names[0]


def _read(file: int, name: str, limit: int) -> bytes:
    data = bytearray()
    try:
        while len(data) <= limit and (piece := os.read(file, min(1 << 20, limit + 1 - len(data)))):
            data += piece
    except OSError as error:
        raise Refused(MALFORMED, f"{short(name)} cannot be read ({error.strerror}); ask for the file again") from None
    if len(data) > limit:
        raise Refused(MALFORMED, f"{short(name)} is larger than {limit >> 20} MB; ask for it again with its outputs cleared")
    return bytes(data)
