"""A process that has imported torch, IPython and the toolkit, and forks: judges, and the processes that students' code runs in.

Importing takes seconds, forking milliseconds, and a fork shares the memory of what was imported. The nursery never runs a
student's code and never reads a check or a solution, so a student's process inherits neither.

It listens on a socket in a private folder. A request is a line of JSON with file descriptors beside it.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Iterable
from pathlib import Path

from autograder.errors import CourseError
from autograder.layout import ROOT
from lmkit.cache import cache_dir

_THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")}
_FIXED = {"PYTHONHASHSEED": "0", "TOKENIZERS_PARALLELISM": "false", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
_FIXED |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"}
ALWAYS = ("numpy", "IPython", "matplotlib.pyplot", "autograder.judge", "autograder.bridge.far", "pyseccomp")
_PR_SET_PDEATHSIG = 1


class Nursery:
    """Starts a nursery and asks it for processes. Close it when the class is graded."""

    def __init__(self, modules: Iterable[str] = ()):
        self.folder = Path(tempfile.mkdtemp(prefix="nursery-"))
        self.address = str(self.folder / "socket")
        environment = {"HOME": os.environ.get("HOME", "/"), "LMKIT_CACHE": str(cache_dir()), **_THREADS, **_FIXED}
        command = [sys.executable, "-m", "autograder.nursery", self.address, *modules]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}  # it ends when its stdin does: with this process, not this thread
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **pipes)
        if self._process.stdout.readline() != b"ready\n":
            self.close()
            raise CourseError("the process that grading starts from did not come up; its error stands above")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # it ends all that came from it, then itself
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def answers(address: str) -> bool:
    """Whether there is a nursery at this address."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(60)
        try:
            connection.connect(address)
        except OSError:
            return False
    return True


def ask(address: str, request: dict, descriptors: list[int]) -> int:
    """Ask the nursery at this address for a process; returns its number. Raises ConnectionError where there is no nursery."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(60)
        connection.connect(address)
        socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], descriptors)
        with connection.makefile("rb") as answer:
            told = json.loads(answer.readline() or "{}")
    if "pid" not in told:
        raise ConnectionError(told.get("error", "the nursery did not answer"))
    return told["pid"]


# inside the nursery


def main(address: str, modules: list[str]) -> None:
    """Import, then serve until the one who started this process is gone."""
    for name in (*ALWAYS, *modules):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if {"lmkit.corpus", "lmkit.words"} & {*modules}:
        from lmkit import corpus

        corpus.all_paragraphs()  # rooms read what is in the cache and cannot make it
    if "lmkit.tokenizer" in modules:
        from lmkit import tokenizer

        tokenizer.load()  # imports transformers, which takes more than half a second
        for split in ("train", "validation"):
            tokenizer.token_ids(split)
    from autograder.bridge.far import Shell

    shell = Shell()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen(64)
    gc.collect()
    gc.freeze()
    if threading.active_count() != 1:
        raise RuntimeError(f"a library started a thread, and processes with threads must not fork: {threading.enumerate()}")
    print("ready", flush=True)
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        with connection:
            _serve(connection, listener, shell)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    shutil.rmtree(Path(address).parent, ignore_errors=True)
    from autograder.sandbox import end_descendants

    end_descendants()
    os._exit(0)


def _end_with_nursery(nursery: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != nursery:  # it ended before the kernel was asked
        os._exit(1)


def _serve(connection: socket.socket, listener: socket.socket, shell: object) -> None:
    line, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 4)
    try:
        request = json.loads(line)
        reading, writing = os.pipe()
        nursery = os.getpid()
        child = os.fork()
        if not child:
            os.close(reading)
            listener.close()
            connection.detach()
            _end_with_nursery(nursery)
            _become(request, descriptors, writing, shell)
        os.close(writing)
        with open(reading, encoding="utf-8") as told:
            answer = told.readline()
    except (OSError, ValueError) as error:
        answer = json.dumps({"error": str(error)}) + "\n"
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    with contextlib.suppress(OSError):
        connection.sendall(answer.encode() or b'{"error": "the new process failed"}\n')


def _become(request: dict, descriptors: list[int], writing: int, shell: object) -> None:
    """In the new process: be what was asked for, then end."""
    try:
        if request["op"] == "judge":
            os.setsid()
            _tell(writing, os.getpid())
            from autograder.judge import serve

            serve(socket.socket(fileno=descriptors[0]), request)
        else:
            _become_student(request, descriptors, writing, shell)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(writing, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode() + b"\n")
    finally:
        os._exit(0)


def _tell(writing: int, pid: int) -> None:
    os.write(writing, json.dumps({"pid": pid}).encode() + b"\n")
    os.close(writing)


def _become_student(request: dict, descriptors: list[int], writing: int, shell: object) -> None:
    from autograder.bridge.far import Far
    from autograder.sandbox import confine, enter
    from autograder.verdict import Limits

    limits, sandboxed = Limits(**request["limits"]), len(descriptors) > 1
    if sandboxed:
        inside = enter(descriptors[1], request["uid"])
        if inside is not None:
            _tell(writing, inside)
            return
    else:
        os.setsid()
        os.chdir(request["folder"])
        _tell(writing, os.getpid())
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.dup2(descriptors[0], 3)
    os.closerange(4, 1 << 16)
    _forget_the_grader(request["hide"])
    confine(limits, request["uid"], request["cpu"], sandboxed)
    Far(socket.socket(fileno=3), shell.run_cell, shell.namespace, limits.message).serve()


def _forget_the_grader(hide: list[str]) -> None:
    """Leave the student's code an environment, an import path and modules that tell nothing of the grader."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LMKIT_CACHE", "MPLBACKEND", "PYTHONHASHSEED", *_THREADS)}
    os.environ.clear()
    os.environ.update(kept | {"HOME": "/tmp", "USER": "student", "LOGNAME": "student", "TMPDIR": "/tmp", "LMKIT_RESULTS": "/tmp/results"})
    os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(ROOT))]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("autograder", "solutions", "nbgrader")]:
        del sys.modules[name]
    for name in hide:
        for known in [name, *(known for known in sys.modules if known.startswith(f"{name}."))]:
            sys.modules[known] = None
        parent, _, last = name.rpartition(".")
        vars(sys.modules.get(parent) or types.SimpleNamespace()).pop(last, None)
    sys.argv[:], tempfile.tempdir = ["notebook"], None


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
