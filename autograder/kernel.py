"""A student's process in its sandbox, the connection to it, and the watch on its memory."""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import stat
import tempfile
import threading
from pathlib import Path

from autograder import nursery
from autograder.bridge.near import Near
from autograder.errors import CourseError
from autograder.sandbox import Room, memory_of
from autograder.verdict import Limits
from lmkit.subject import SubjectGone

_SAMPLE_SECONDS = 0.05
_FORKS = 4  # processes whose share of the nursery's memory is not counted


class Kernel:
    """A student's process in its sandbox, and the checks' connection to it."""

    def __init__(self, limits: Limits, address: str, sandboxed: bool, hide: tuple[str, ...] = ()):
        self.peak = 0  # bytes of memory that the student's processes held, at most, beyond the nursery's
        self._limits, self._room, self._folder, self._pid, self._watcher = limits, None, None, 0, None
        self._slot = _Slot()
        self._connection, theirs = socket.socketpair()
        self._closed = threading.Event()
        request = {"op": "student", "limits": vars(limits), "uid": None, "cpu": self._slot.cpu, "hide": list(hide)}
        try:
            descriptors = [theirs.fileno()]
            if sandboxed:
                self._room = Room(limits, self._slot.number, hide)
                request["uid"] = self._room.uid
                descriptors.append(self._room.pidfd)
            else:
                self._folder = request["folder"] = tempfile.mkdtemp(prefix="submission-")
            self._pid = nursery.ask(address, request, descriptors)
        except BaseException:
            self.close()
            raise
        finally:
            theirs.close()
        self.near = Near(self._connection, limits.message)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        """End the student's processes when together they hold too much memory. Runs beside the judge, who may be at work."""
        roots = [self._pid, *([self._room.first] if self._room else [])]
        base = memory_of([self._pid]).get(self._pid, 0)
        with contextlib.suppress(Exception):
            while not self._closed.wait(_SAMPLE_SECONDS):
                sizes = memory_of(roots).values()
                used = sum(sizes) - base * min(len(sizes) - 1, _FORKS)  # forks share what the nursery had; not all are forks
                self.peak = max(self.peak, used)
                if used > self._limits.memory:
                    break
        if not self._closed.is_set():  # too much, or not to be told: no process goes unwatched
            self._kill()

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            self._room.kill() if self._room is not None else os.killpg(self._pid, signal.SIGKILL)

    def close(self) -> None:
        self._closed.set()
        if self._watcher is not None:
            self._watcher.join()
        if self._pid:
            self._kill()
        if self._room is not None:
            self._room.close()
        self._connection.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._slot.free()


def probe(address: str, sandboxed: bool) -> None:
    """Raise CourseError where a student's code would not find what it needs, so that no class gets 0 for our fault."""
    try:
        kernel = Kernel(Limits(), address, sandboxed)
        try:
            with kernel.near.time_limit(60):
                error = kernel.near.run_cell("import colorsys, numpy.polynomial, tqdm.contrib, lmkit.page").get("error")
        finally:
            kernel.close()
    except (SubjectGone, OSError) as gone:
        error = {"kind": type(gone).__name__, "text": str(gone)}
    if error:
        told = f"{error.get('kind')}: {error.get('text')}"
        raise CourseError(f"students' code does not run here ({told}); is .venv whole, and made by make environment?")


class _Slot:
    """A processor of its own for each student's process while there are enough, so that a greedy one slows nobody else."""

    def __init__(self):
        folder = _own_folder()
        cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.number, self.cpu, self._file = os.getpid() % 3000 + 64, None, None
        for number in range(64):
            self._file = open(folder / f"slot-{number}", "ab")  # noqa: SIM115
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._file.close()
                continue
            self.number, self.cpu = number, cpus[number % len(cpus)] if cpus else None
            return

    def free(self) -> None:
        if self._file is not None:
            self._file.close()


def _own_folder() -> Path:
    """A folder of this machine that only this user can write: all graders here share the slots in it."""
    folder = Path(tempfile.gettempdir(), f"grader-slots-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
        raise CourseError(f"{folder} belongs to somebody else; remove it, or set TMPDIR to a folder of your own")
    return folder
