"""Lets one process at a time work in a folder."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from autograder.errors import CourseError


@contextlib.contextmanager
def folder_lock(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold a folder, which is made where it is not, alone. Where another process holds it: wait for that, or raise CourseError."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise CourseError(f"another run works in {folder}; wait until it has ended, or stop it") from None
        yield
