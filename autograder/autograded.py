"""The folder autograded/STUDENT/CHAPTER of nbgrader's course directory: the graded notebook that formgrader shows."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader import utils

from autograder.errors import CourseError
from autograder.layout import NOTEBOOK
from lmkit.cache import write_whole

_FULL = (errno.ENOSPC, errno.EDQUOT)


def released(text: str, kernelspec: str | None, checksums: Mapping[str, str]) -> NotebookNode:
    """A verdict's notebook with the metadata that plain autograde leaves: the release's kernel and checksums.

    With the checksum nbgrader tells an answer that was left blank. checksums: by grade id, from the gradebook.
    """
    notebook = nbformat.reads(text, as_version=4)
    if kernel := json.loads(kernelspec or "null"):
        notebook.metadata["kernelspec"] = kernel
    for cell in notebook.cells:
        identity = cell.metadata.get("nbgrader", {}).get("grade_id")
        if identity in checksums:
            cell.metadata.nbgrader["checksum"] = checksums[identity]
    return notebook


class Changes:
    """What differs in a student's work between the notebook graded before, if there is one, and the new one."""

    def __init__(self, folder: Path, new: NotebookNode):
        try:
            old = nbformat.read(folder / f"{NOTEBOOK}.ipynb", as_version=4)
        except (OSError, ValueError, AttributeError, KeyError):  # absent or damaged: then all counts as changed
            old = None
        self._all = old is None or _code(old) != _code(new)
        self._old, self._new = _written(old) if old else {}, _written(new)

    def of(self, name: str) -> bool:
        """Whether the written answer of that grade id, or the code that its checks judged, is another than before."""
        if name in self._new:
            return self._old.get(name) != self._new[name]
        return self._all


def _written(notebook: NotebookNode) -> dict[str, str]:
    cells = [cell for cell in notebook.cells if utils.is_grade(cell) and utils.is_solution(cell)]
    return {cell.metadata.nbgrader["grade_id"]: cell.source for cell in cells}


def _code(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code" and not utils.is_locked(cell)]


@contextlib.contextmanager
def file_sentences(folder: Path) -> Iterator[None]:
    """Turn what the file system raises inside into a CourseError."""
    try:
        yield
    except OSError as error:
        what = "as its disk is full: make room" if error.errno in _FULL else f"({error.strerror}): mend its permissions"
        raise CourseError(f"{folder} cannot be written, {what}, then run the command again".replace(", (", " (")) from None


@contextlib.contextmanager
def written_after(folder: Path, files: Mapping[str, str]) -> Iterator[None]:
    """Write files beside their places, run the body, then rename them, in this order; where the body fails, nothing changed.

    nbgrader leaves these files read-only, so that nobody works in them by mistake. Errors: CourseError.
    """
    staged = {folder / f".{name}.new.ipynb": folder / name for name in files}  # hidden notebooks: nbgrader copies any other file
    made = [path for path in (folder, folder.parent) if not path.exists()]
    try:
        with file_sentences(folder):
            for leftover in folder.glob(".*.ipynb*"):  # of a run that was killed
                leftover.unlink()
            for new, text in zip(staged, files.values(), strict=True):
                write_whole(new, text)
                new.chmod(0o444)
        yield
        with file_sentences(folder):
            for new, place in staged.items():
                os.replace(new, place)
    finally:
        with contextlib.suppress(OSError):
            for new in staged:
                new.unlink(missing_ok=True)
            for path in made:
                path.rmdir()  # refused, as it must be, where something is in it


def set_aside(course: Path, student: str, chapter: str) -> None:
    """Move the graded notebook of a submission to withdrawn/STUDENT/CHAPTER. Errors: CourseError."""
    folder = course / "autograded" / student / chapter
    graded = folder / f"{NOTEBOOK}.ipynb"
    with file_sentences(folder):
        if graded.exists():
            kept = course / "withdrawn" / student / chapter / graded.name
            kept.parent.mkdir(parents=True, exist_ok=True)
            graded.replace(kept)
        if folder.exists():
            shutil.rmtree(folder)
