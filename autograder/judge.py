"""Grades one submission: runs its cells in a sandbox and the checks here, and says what came of it as a verdict.

A judge is a process of its own, forked for one submission (nursery.py). It is the only one that holds the checks.
"""

import base64
import contextlib
import fcntl
import io
import json
import os
import shutil
import signal
import socket
import struct
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder import nursery
from autograder.bridge.near import Broken, Near, TimeUp
from autograder.errors import CourseError
from autograder.rebuild import rebuild
from autograder.sandbox import Room, limit_memory, memory_of
from autograder.verdict import CRASHED, GRADED, MEMORY, TAMPERED, TIMEOUT, Limits, Part, Refused, Verdict
from lmkit.check import NOT_DEFINED, Check, Result, failed, report, run_checks
from lmkit.subject import SubjectGone

_LENGTH = struct.Struct(">Q")
_SAMPLE_SECONDS = 0.05
_GRACE = 10.0  # seconds that a check may take beyond what the answer may
_MEMORY = 8 << 30  # bytes that a judge may take beyond what it starts with
_MOST_MESSAGE = 10_000  # characters of what a check says
_MOST_SHOWN = 4 << 20  # characters of all outputs of a notebook that are kept
_WORDS = {
    TIMEOUT: "it took longer than it may and was stopped",
    MEMORY: "it needed more memory than it may have",
    CRASHED: "it ended the notebook's process",
    TAMPERED: "its process broke the connection to the checks",
}


@dataclass(frozen=True)
class Job:
    """All that grading one submission takes, in plain values: it travels to other processes and machines."""

    student: str
    chapter: str
    submission: str  # the file's bytes, in base64
    release: str  # the notebook that was handed out, as JSON
    checks: str  # the source of the checks' module
    checks_name: str  # its dotted name
    graded: dict[str, tuple[str, bool, list[str]]]  # grade id -> exercise, whether hidden, its checks' names
    limits: Limits
    sandboxed: bool = True
    key: str = ""
    notes: tuple[str, ...] = ()  # what was found before it came here
    modules: tuple[str, ...] = ()  # what the nursery imports first


class Judge:
    """One submission on its way through the notebook."""

    def __init__(self, job: Job, address: str):
        self.job, self.address = job, address
        self._checks = _module(job.checks_name, job.checks)
        self._kernel: Kernel | None = None
        self._run: list[tuple[int, str]] = []  # the cells that ran so far, to run again in a new process
        self._lethal: set[int] = set()  # cells that ended the process
        self._lost: dict[str, str] = {}  # exercise -> what ended the process in its checks
        self._restarts, self._peak = 0, 0
        self._status, self._message = GRADED, ""
        self._deadline = time.monotonic() + job.limits.seconds
        self._to_show = _MOST_SHOWN

    def verdict(self) -> Verdict:
        start = time.monotonic()
        about = {"student": self.job.student, "chapter": self.job.chapter, "key": self.job.key}
        try:
            rebuilt = rebuild(base64.b64decode(self.job.submission), nbformat.reads(self.job.release, as_version=4))
        except Refused as refused:
            return Verdict(status=refused.status, message=refused.message, **about)
        try:
            parts = [part for i, cell in enumerate(rebuilt.notebook.cells) if (part := self._cell(i, cell)) is not None]
        finally:
            self._close()
        if rebuilt.tampered:
            self._status, self._message = TAMPERED, rebuilt.tampered
        return Verdict(
            status=self._status,
            message=self._message,
            notes=(*self.job.notes, *rebuilt.notes),
            parts=tuple(parts),
            notebook=nbformat.writes(rebuilt.notebook),
            seconds=time.monotonic() - start,
            peak_bytes=self._peak,
            **about,
        )

    def _cell(self, number: int, cell: NotebookNode) -> Part | None:
        identity = cell.metadata.get("nbgrader", {}).get("grade_id")
        if identity in self.job.graded:
            part = self._check_cell(identity)
            cell.outputs, cell.execution_count = _outputs({"text": report(part.results)}), None
            return part
        if cell.cell_type == "code":
            outputs = _outputs(self._run_cell(number, cell.source)) if cell.source.strip() else []
            self._to_show -= sum(len(str(output)) for output in outputs)
            cell.outputs, cell.execution_count = outputs if self._to_show > 0 else [], None
        return None

    # the student's cells

    def _run_cell(self, number: int, source: str) -> dict:
        """Run a cell; a cell that ends the process is left out from then on. Returns its outcome, of which nothing is trusted."""
        try:
            kernel = self._ready()
            with kernel.near.time_limit(self._allowed(self.job.limits.cell_seconds)):
                outcome = kernel.near.run_cell(source)
        except SubjectGone as gone:
            words = self._end(gone, "a cell")
            self._lethal.add(number)
            return {"text": f"This cell was stopped: {words}. The notebook went on without it.\n"}
        except Exception as error:  # the notebook broke what its process needs to answer
            return {"text": f"This cell did not end as cells do ({type(error).__name__}: {error}).\n"}
        outcome = outcome if isinstance(outcome, dict) else {}
        if kernel.near.memory_errors or _out_of_memory(outcome):  # what it holds would be missing for the rest
            self._lethal.add(number)
            self._note(MEMORY, f"a cell was stopped: {_WORDS[MEMORY]}")
            self._close()
            return outcome
        self._run.append((number, source))
        return outcome

    def _ready(self) -> "Kernel":
        """The student's process; where there is none, a new one in which the cells so far have run again."""
        self._allowed(1)
        while self._kernel is None:
            if self._restarts > self.job.limits.restarts:
                raise SubjectGone("the notebook's process was started again too often")
            self._restarts += 1
            self._kernel = Kernel(self.job, self.address, getattr(self._checks, "HIDES", ()))
            for number, source in self._run:
                if number in self._lethal:
                    continue
                try:
                    with self._kernel.near.time_limit(self._allowed(self.job.limits.cell_seconds)):
                        self._kernel.near.run_cell(source)
                except SubjectGone as gone:
                    self._lethal.add(number)
                    self._end(gone, "a cell")
                    break
                except Exception:
                    continue  # as when it ran first
        return self._kernel

    def _allowed(self, seconds: float) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeUp("the whole notebook took longer than it may")
        return min(seconds, left)

    def _end(self, gone: SubjectGone, where: str) -> str:
        """Close the process that is gone; remember why. Returns that in words."""
        kind = CRASHED
        if isinstance(gone, TimeUp):
            kind = TIMEOUT
        elif isinstance(gone, Broken):
            kind = TAMPERED
        elif self._kernel is not None and self._kernel.peak > 0.9 * self.job.limits.memory:
            kind = MEMORY
        self._close()
        self._note(kind, f"{where} was stopped: {_WORDS[kind]}")
        return _WORDS[kind]

    def _note(self, status: str, message: str) -> None:
        if self._status == GRADED or status == TAMPERED:
            self._status, self._message = status, message

    def _close(self) -> None:
        if self._kernel is not None:
            self._kernel.close()
            self._peak = max(self._peak, self._kernel.peak)
            self._kernel = None

    # the checks

    def _check_cell(self, identity: str) -> Part:
        exercise, hidden, names = self.job.graded[identity]
        checks = [getattr(self._checks, name) for name in names]
        results: list[Result] = []
        try:
            if exercise not in self._lost:
                for result in self._run_checks(exercise, checks):
                    results.append(result)  # one by one: what was checked before the process ended stands
        except SubjectGone as gone:
            self._lost[exercise] = self._end(gone, f"the check of {exercise}")
        if exercise in self._lost:
            stopped, rest = self._lost[exercise], checks[len(results) :]
            results += [failed(check, f"{exercise} could not be checked to the end: {stopped}") for check in rest]
        return Part(identity, exercise, hidden, tuple(results))

    def _run_checks(self, exercise: str, checks: list[Check]) -> Iterator[Result]:
        """Yields the result of each check; SubjectGone ends it, and what was yielded stands."""
        near = self._ready().near
        why = NOT_DEFINED.format(exercise)
        try:
            with near.time_limit(self._allowed(self.job.limits.call_seconds)):
                subject = near.lookup(exercise)
        except Exception as error:  # the notebook broke what its process needs to answer
            subject, why = None, f"{exercise} could not be asked for ({type(error).__name__}: {error})"
        for check in checks:
            if subject is None:
                yield failed(check, _clean(why)[:_MOST_MESSAGE])
                continue
            near.new_check()
            seconds = self._allowed(self.job.limits.call_seconds)
            with _alarm(seconds + _GRACE), near.time_limit(seconds), contextlib.redirect_stdout(io.StringIO()):
                result = run_checks(subject, [check])[0]
            yield replace(result, message=_clean(result.message)[:_MOST_MESSAGE])
        if near.memory_errors:
            near.memory_errors = 0
            self._note(MEMORY, f"the check of {exercise} was stopped: {_WORDS[MEMORY]}")


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise TimeUp where a check of ours is still at work on what an answer gave it."""

    def ring(*_: object) -> None:
        raise TimeUp("the check had no end")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _out_of_memory(outcome: dict) -> bool:
    error = outcome.get("error")
    kinds, text = (error.get("kinds"), error.get("text")) if isinstance(error, dict) else (None, None)
    return (isinstance(kinds, list) and "MemoryError" in kinds) or (isinstance(text, str) and "can't allocate memory" in text)


def _module(name: str, source: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile(source, f"{name.replace('.', '/')}.py", "exec"), module.__dict__)
    return module


class Kernel:
    """A student's process in its sandbox, and the checks' connection to it."""

    def __init__(self, job: Job, address: str, hide: tuple[str, ...]):
        self.peak = 0  # bytes of memory that the student's processes held, at most, beyond the nursery's
        self._limits, self._room, self._folder, self._pid, self._watcher = job.limits, None, None, 0, None
        self._slot = _Slot(Path(address).parent)
        self._connection, theirs = socket.socketpair()
        self._closed = threading.Event()
        request = {"op": "student", "limits": vars(job.limits), "uid": None, "cpu": self._slot.cpu, "hide": list(hide)}
        try:
            descriptors = [theirs.fileno()]
            if job.sandboxed:
                self._room = Room(job.limits, self._slot.number, hide)
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
        self.near = Near(self._connection, job.limits.message)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        """End the student's processes when together they hold too much memory. Runs beside the judge, who may be at work."""
        roots = [self._pid, *([self._room.first] if self._room else [])]
        base = memory_of([self._pid]).get(self._pid, 0)
        while not self._closed.wait(_SAMPLE_SECONDS):
            used = sum(max(0, size - base) for size in memory_of(roots).values())
            self.peak = max(self.peak, used)
            if used > self._limits.memory:
                self._kill()
                return

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
    job = Job("", "", "", "", "", "", {}, Limits(), sandboxed)
    try:
        kernel = Kernel(job, address, ())
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

    def __init__(self, folder: Path):
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


def _outputs(outcome: dict) -> list[NotebookNode]:
    """A cell's outcome as a notebook's outputs: text and pictures only, whatever the student's process says they are."""
    outputs = []
    text, shown = outcome.get("text"), outcome.get("shown")
    if isinstance(text, str) and text:
        outputs.append(nbformat.v4.new_output("stream", name="stdout", text=_clean(text)[: 1 << 17]))
    for one in shown[:20] if isinstance(shown, list) else []:
        data = {}
        if isinstance(one, dict) and isinstance(one.get("text"), str):
            data["text/plain"] = _clean(one["text"])[: 1 << 14]
        if isinstance(one, dict) and (png := _picture(one.get("png"))):
            data["image/png"] = png
        if data:
            outputs.append(nbformat.v4.new_output("display_data", data=data))
    return outputs


def _clean(text: str) -> str:
    """Text that can be written as UTF-8: halves of characters become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _picture(png: Any) -> str:
    """A PNG picture in base64, or nothing where it is none."""
    if not isinstance(png, str) or len(png) > 500_000:
        return ""
    try:
        data = base64.b64decode(png, validate=False)
    except ValueError:
        return ""
    return base64.b64encode(data).decode("ascii") if data.startswith(b"\x89PNG\r\n\x1a\n") else ""


# as a process: a job comes in, a verdict goes out


def send(connection: socket.socket, text: str) -> None:
    """Send one text: its length in bytes, then UTF-8."""
    data = text.encode("utf-8", "surrogatepass")
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive(connection: socket.socket) -> str:
    """The text that `send` sent. Raises ConnectionError where the other side is gone."""
    return _exactly(connection, _LENGTH.unpack(_exactly(connection, _LENGTH.size))[0]).decode("utf-8", "surrogatepass")


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise ConnectionResetError("the other side is gone")
        parts += part
    return bytes(parts)


def serve(connection: socket.socket, request: dict) -> None:
    """Be a judge: read a job, send its verdict."""
    limit_memory(_MEMORY)
    values = json.loads(receive(connection))
    job = Job(**{**values, "limits": Limits(**values["limits"])})
    try:
        verdict = Judge(job, request["address"]).verdict()
    except Exception as error:  # a fault of the grader's: it must cost one submission, not the class
        traceback.print_exc()
        message = f"the grader itself failed at it ({type(error).__name__}: {error}); please report that, and look at the notebook"
        verdict = Verdict(job.student, job.chapter, CRASHED, _clean(message)[:1000], job.notes, key=job.key)
    send(connection, verdict.to_json())
