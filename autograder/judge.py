"""Grades one submission: runs its cells in a sandbox and the checks here, and says what came of it as a verdict.

A judge is a process of its own, forked for one submission (nursery.py). It is the only one that holds the checks.
"""

import base64
import contextlib
import io
import json
import signal
import socket
import struct
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import nbformat
from nbformat import NotebookNode

from autograder.bridge.near import Broken, TimeUp
from autograder.kernel import Kernel
from autograder.outcome import clean, out_of_memory, outputs
from autograder.rebuild import rebuild
from autograder.sandbox import RoomError, limit_memory
from autograder.verdict import CRASHED, GRADED, MEMORY, TAMPERED, TIMEOUT, Job, Limits, Part, Refused, Verdict
from lmkit.check import NOT_DEFINED, Check, Result, failed, report, run_checks
from lmkit.subject import SubjectGone

_LENGTH = struct.Struct(">Q")
_GRACE = 10.0  # seconds that a check may take beyond what the answer may
_MEMORY = 4 << 30  # bytes that a judge may take beyond what it starts with
_MOST_MESSAGE = 10_000  # characters of what a check says
_MOST_SHOWN = 4 << 20  # characters of all outputs of a notebook that are kept
_WORDS = {
    TIMEOUT: "it took longer than it may and was stopped",
    MEMORY: "it needed more memory than it may have",
    CRASHED: "it ended the notebook's process",
    TAMPERED: "its process broke the connection to the checks",
}


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
            cell.outputs, cell.execution_count = outputs({"text": report(part.results)}), None
            return part
        if cell.cell_type == "code":
            shown = outputs(self._run_cell(number, cell.source)) if cell.source.strip() else []
            self._to_show -= sum(len(str(output)) for output in shown)
            cell.outputs, cell.execution_count = shown if self._to_show > 0 else [], None
        return None

    # the student's cells

    def _run_cell(self, number: int, source: str, again: bool = False) -> dict:
        """Run a cell; a cell that ends the process is left out from then on. Returns its outcome, of which nothing is trusted.

        again: it ran out of memory before, which may have been another's doing, and now has a new process.
        """
        try:
            kernel = self._ready()
            outcome = self._run_in(kernel, source)
        except SubjectGone as gone:
            words = self._end(gone, "a cell")
            self._lethal.add(number)
            return {"text": f"This cell was stopped: {words}. The notebook went on without it.\n"}
        if kernel.near.memory_errors or out_of_memory(outcome):  # what it holds would be missing for the rest
            self._note(MEMORY, f"a cell was stopped: {_WORDS[MEMORY]}")
            self._close()
            if not again:
                return self._run_cell(number, source, again=True)
            self._lethal.add(number)
            return outcome
        self._run.append((number, source))
        return outcome

    def _run_in(self, kernel: Kernel, source: str) -> dict:
        with kernel.near.time_limit(self._allowed(self.job.limits.cell_seconds)):
            try:
                outcome = kernel.near.run_cell(source)
            except Exception as error:  # the notebook broke what its process needs to answer
                return {"text": f"This cell did not end as cells do ({type(error).__name__}: {error}).\n"}
        return outcome if isinstance(outcome, dict) else {}

    def _ready(self) -> Kernel:
        """The student's process; where there is none, a new one in which the cells so far have run again."""
        self._allowed(1)
        while self._kernel is None:
            if self._restarts > self.job.limits.restarts:
                raise SubjectGone("the notebook's process was started again too often")
            self._restarts += 1
            self._kernel = self._new_kernel()
            for number, source in self._run:
                if number in self._lethal:
                    continue
                try:
                    self._run_in(self._kernel, source)
                except SubjectGone as gone:
                    self._lethal.add(number)
                    self._end(gone, "a cell")
                    break
        return self._kernel

    def _new_kernel(self) -> Kernel:
        """A new process. That none can be made is the machine's doing: it is tried again, then the whole judgement fails."""
        for pause in (0.5, 2.0, None):
            try:
                return Kernel(self.job.limits, self.address, self.job.sandboxed, getattr(self._checks, "HIDES", ()))
            except (RoomError, OSError):
                if pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError

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
        self._shed_memory(exercise)
        if exercise in self._lost:
            stopped, rest = self._lost[exercise], checks[len(results) :]
            results += [failed(check, f"{exercise} could not be checked to the end: {stopped}") for check in rest]
        return Part(identity, exercise, hidden, tuple(results))

    def _shed_memory(self, exercise: str) -> None:
        """Where an exercise has filled the memory, go on in a new process: what it hoards would be missing for the next."""
        kernel = self._kernel
        if kernel is None:
            return
        if kernel.near.memory_errors:
            self._note(MEMORY, f"the check of {exercise} was stopped: {_WORDS[MEMORY]}")
        if kernel.near.memory_errors or kernel.peak > 0.9 * self.job.limits.memory:
            self._close()
            self._restarts -= 1  # nothing has died

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
                yield failed(check, clean(why)[:_MOST_MESSAGE])
                continue
            near.new_check()
            seconds = self._allowed(self.job.limits.call_seconds)
            with _alarm(seconds + _GRACE), near.time_limit(seconds), contextlib.redirect_stdout(io.StringIO()):
                result = run_checks(subject, [check])[0]
            yield replace(result, message=clean(result.message)[:_MOST_MESSAGE])


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise TimeUp where a check of ours is still at work on what an answer gave it."""

    def ring(*_: object) -> None:
        raise TimeUp("the check had no end")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # and again: a first ring may be lost in a callback of Python's
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _module(name: str, source: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile(source, f"{name.replace('.', '/')}.py", "exec"), module.__dict__)
    return module


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
        verdict = Verdict(job.student, job.chapter, CRASHED, clean(message)[:1000], job.notes)
    send(connection, verdict.to_json())
