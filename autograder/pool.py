"""Runs jobs: in judges forked on this machine, or on whatever a Dask scheduler has.

Any `concurrent.futures` executor serves: a job goes in as JSON, a verdict comes out as JSON, and no disk is shared. A job
that was lost with its process or its machine ends in BrokenExecutor, ConnectionError or CancelledError, and may be given
out again; a CourseError is about the whole class.
"""

import atexit
import contextlib
import hashlib
import json
import os
import platform
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path

import lmkit
from autograder import sandbox
from autograder.errors import CourseError
from autograder.judge import receive, send
from autograder.kernel import probe
from autograder.nursery import Nursery, answers, ask
from autograder.verdict import CRASHED, Job, Verdict

_GRACE = 60.0  # seconds that a judge may take beyond what the submission may
_WAIT = 10  # seconds to wait for a scheduler, and for its first worker
_here: dict[tuple[str, ...], Nursery] = {}  # the nurseries of this process, by what they import
_users: Counter[tuple[str, ...]] = Counter()  # how many jobs each of them has at work
_lock = threading.Lock()


def run_job(job_json: str, address: str | None = None, code: str = "") -> str:
    """Grade one submission; returns its verdict as JSON. Whatever the submission does, this returns. Any thread may call it.

    address: of a nursery on this machine; without one, this process starts its own and keeps it.
    code: what `code_digest` says where the job comes from; empty: it does not matter.
    Errors: ConnectionError where the nursery was lost, so that nothing is known of the submission; CourseError.
    """
    if code and code != code_digest():
        raise CourseError(f"the worker {platform.node()} has another version of the course, Python or torch; install the same there")
    values = json.loads(job_json)
    with contextlib.nullcontext(address) if address else _own_nursery(tuple(values["modules"]), values["sandboxed"]) as nursery:
        return _judged(job_json, values, nursery)


def _judged(job_json: str, values: dict, address: str) -> str:
    ours, theirs = socket.socketpair()
    with ours:
        try:
            judge = ask(address, {"op": "judge", "address": address}, [theirs.fileno()])
        except OSError as error:
            raise ConnectionError(f"the process that grading starts from is gone ({error})") from None
        finally:
            theirs.close()
        ours.settimeout(values["limits"]["seconds"] + _GRACE)
        try:
            send(ours, job_json)
            return receive(ours)
        except TimeoutError:
            why = "did not end in time"
            with contextlib.suppress(OSError):
                os.kill(judge, signal.SIGKILL)
        except OSError:
            if not answers(address):  # the judge was ended with its nursery: that is not the submission's doing
                raise ConnectionError("the process that grading starts from was ended") from None
            why = "ended without a verdict"
    message = f"the process that grades it {why}; grade it again, and look at the notebook"
    return Verdict(values["student"], values["chapter"], CRASHED, message).to_json()  # without a key: it is not kept for a resume


def to_json(job: Job) -> str:
    return json.dumps(asdict(job))


@cache
def code_digest() -> str:
    """SHA-256 of all that grading is done with: this package, the toolkit, and the versions of Python and torch."""
    digest = hashlib.sha256(f"{platform.python_version()} {version('torch')}".encode())
    here, toolkit = Path(__file__).parent, Path(lmkit.__file__).parent
    for path in sorted([*here.glob("*.py"), *here.glob("bridge/*.py"), *toolkit.rglob("*.py")], key=lambda path: (path.name, str(path))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@contextlib.contextmanager
def _own_nursery(modules: tuple[str, ...], sandboxed: bool) -> Iterator[str]:
    """The address of this process's nursery with these modules. One that nobody uses ends when another is started."""
    with _lock:
        if modules not in _here or not _here[modules].alive:
            if sandboxed:
                _require_sandbox()
            for one in [one for one in _here if not _users[one] or not _here[one].alive]:
                _here.pop(one).close()
            nursery = Nursery(modules)
            try:
                probe(nursery.address, sandboxed)
            except CourseError:
                nursery.close()
                raise
            _here[modules] = nursery
        _users[modules] += 1
        address = _here[modules].address
    try:
        yield address
    finally:
        with _lock:
            _users[modules] -= 1


def _require_sandbox() -> None:
    try:
        sandbox.require()
    except CourseError as error:
        raise CourseError(f"on the worker {platform.node()}: {error}") from None


@atexit.register
def _close_nurseries() -> None:
    for one in _here.values():
        one.close()


class LocalPool:
    """`jobs` judges at a time, each a process forked for its job from one nursery; a thread here waits for each of them.

    Processes that only waited would double what starting costs, and outlive a parent that is killed. All starts with the
    first job. Use it in a `with` statement.
    """

    def __init__(self, jobs: int):
        if jobs < 1:
            raise CourseError(f"{jobs} jobs cannot grade; give --jobs a number of at least 1")
        self.size, self._nursery, self._executor = jobs, None, ThreadPoolExecutor(jobs)

    def __enter__(self) -> "LocalPool":
        return self

    def __exit__(self, *_: object) -> None:
        if self._nursery is not None:
            self._nursery.close()  # every judge and every student's process ends with it
        self._executor.shutdown(cancel_futures=True)

    def submit(self, job: Job) -> Future:
        if self._nursery is not None and not self._nursery.alive:
            self._nursery.close()
            self._nursery = None
        if self._nursery is None:
            self._nursery = Nursery(job.modules)
            probe(self._nursery.address, job.sandboxed)
        return self._executor.submit(run_job, to_json(job), self._nursery.address)

    def renew(self) -> None:
        """Nothing breaks here but the nursery, and `submit` sees that."""

    def look(self) -> None:
        """Called when nothing has come for a while: every job here ends in its time."""


class ExecutorPool:
    """Any executor of `concurrent.futures`: whatever it runs on has this package and its environment, and needs nothing else."""

    def __init__(self, executor: Executor, size: int):
        self.size, self._executor = size, executor

    def submit(self, job: Job) -> Future:
        told: Future = Future()
        try:
            asked = self._executor.submit(run_job, to_json(job), None, code_digest())
        except RuntimeError as error:  # it is shut down, or broken for good
            raise CourseError(f"nothing is left to grade with ({error}); start it again, then grade with --resume") from None
        asked.add_done_callback(lambda asked: self._tell(asked, told))
        return told

    @staticmethod
    def _tell(asked: Future, told: Future) -> None:
        """Pass on what an executor says, in the few errors that a pool has."""
        try:
            told.set_result(asked.result())
        except (CourseError, BrokenExecutor) as error:
            told.set_exception(error)
        except (CancelledError, OSError) as error:
            told.set_exception(ConnectionError(f"a worker was lost ({error})"))
        except Exception as error:
            if type(error).__name__ == "KilledWorker":  # Dask's, for a job that several workers were lost with
                told.set_exception(ConnectionError("several workers were lost"))
                return
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            told.set_exception(CourseError(f"the workers cannot grade ({reason}); install this version of the course on all of them"))

    def renew(self) -> None:
        """The executor looks after its own workers."""

    def look(self) -> None:
        """Called when nothing has come for a while. Raises CourseError where nothing can come any more."""


class _DaskPool(ExecutorPool):
    def __init__(self, client: "Client", address: str):  # noqa: F821
        super().__init__(client.get_executor(pure=False), sum(client.nthreads().values()))
        self._client, self._address, self._alone = client, address, 0

    def look(self) -> None:
        self._alone = 0 if self._client.nthreads() else self._alone + 1
        if self._alone > 1:
            advice = f"start some with: python -m dask worker {self._address}, then grade with --resume"
            raise CourseError(f"the Dask scheduler at {self._address} has lost all its workers; {advice}")

    def submit(self, job: Job) -> Future:
        if self._client.status != "running":
            raise CourseError(f"the Dask scheduler at {self._address} is gone; start it and its workers, then grade with --resume")
        return super().submit(job)


@contextlib.contextmanager
def dask_pool(address: str) -> Iterator[ExecutorPool]:
    """The workers of a Dask scheduler: SSH, Slurm, Kubernetes, whatever Dask runs on. A worker that is lost costs time only."""
    try:
        from distributed import Client
    except ImportError:
        raise CourseError("Dask is not installed here; install it with: pip install distributed") from None
    try:
        client = Client(address, timeout=_WAIT)
    except (OSError, ValueError, TypeError) as error:
        raise CourseError(f"there is no Dask scheduler at {address} ({error}); start one with: python -m dask scheduler") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_WAIT)
        except TimeoutError:
            raise CourseError(f"the Dask scheduler at {address} has no workers; start some with: python -m dask worker {address}") from None
        yield _DaskPool(client, address)
