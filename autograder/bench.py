"""Measures this grader beside plain `nbgrader autograde`: the same class, in one run, on the same processors.

Compare within one run only: how long anything takes depends on what else the machine does. CPU time is what the kernel
counted for every process of a run: who loses its parent, as students' processes do, is adopted here and counted too.
Memory is sampled: the sum of the proportional set sizes (PSS), in which what processes share counts once.
"""

import contextlib
import ctypes
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from autograder.assemble import make_release
from autograder.demo import make_class
from autograder.errors import CourseError
from autograder.layout import Chapter, chapter
from autograder.proof import new_course

_SAMPLE_SECONDS = 0.5  # each look takes some 20 ms of a processor
_PR_SET_CHILD_SUBREAPER = 36
_OUTPUTS = ("autograded", "verdicts", "feedback", "withdrawn")


@dataclass(frozen=True)
class Cost:
    """What one run over the class took."""

    wall: float  # seconds
    cpu: float  # seconds, user and system
    peak: int  # bytes of all processes at once
    worker: int  # bytes that one worker's processes share with nobody: what one more worker costs
    sampling: float  # seconds of CPU that the sampling took, in another process

    @staticmethod
    def least(costs: list["Cost"]) -> "Cost":
        """The least of each over several rounds: what else the machine does only ever adds."""
        return Cost(*(min(getattr(cost, name) for cost in costs) for name in Cost.__dataclass_fields__))


def bench(chapter: Chapter, students: int = 40, rounds: int = 1, out: Console | None = None) -> int:
    """Grade a demonstration class plainly, and with ours, one and two jobs at a time; print the tables.

    Returns how many grades differ from plain nbgrader's. Errors: CourseError where a run fails.
    """
    from autograder.gradebook import read_grades

    out = out or Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    make_release([chapter])
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch) / "course"
        folder.mkdir()
        new_course(chapter, folder)
        make_class(chapter, students, folder)
        shutil.copy(folder / "gradebook.db", scratch)
        ours = [sys.executable, "-m", "autograder.bench", str(folder), chapter.name]
        runs = {
            "plain nbgrader autograde": [sys.executable, "-m", "nbgrader", "autograde", chapter.name],
            "ours, one job": [*ours, "1"],
            "ours, two jobs": [*ours, "2"],
        }
        costs: dict[str, list[Cost]] = {name: [] for name in runs}
        grades: dict[str, dict[str, dict[str, float | None]]] = {}
        for number in range(rounds):
            for name, command in runs.items():
                _clear(folder, Path(scratch) / "gradebook.db")
                out.print(f"round {number + 1} of {rounds}: {name}", style="dim")
                costs[name].append(measure(command, folder, Path(scratch)))
                recorded = read_grades(folder, chapter.name)
                grades[name] = {one.student: {key: cell.auto for key, cell in one.cells.items()} for one in recorded.values()}
        out.print(_table({name: Cost.least(found) for name, found in costs.items()}, students))
        differences = list(_differences(grades, students))
        out.print("\n".join(differences) or f"plain nbgrader and ours agree on every cell of all {students} submissions")
        out.print(_parts_table(parts(chapter, folder)))
    return len(differences)


def _clear(folder: Path, gradebook: Path) -> None:
    for name in _OUTPUTS:
        shutil.rmtree(folder / name, ignore_errors=True)
    shutil.copy(gradebook, folder / "gradebook.db")


def _differences(grades: dict[str, dict[str, dict]], students: int) -> Iterator[str]:
    plain, *others = grades.items()
    if len(plain[1]) < students:
        yield f"{plain[0]} graded {len(plain[1])} of {students}"
    for name, found in others:
        if len(found) < students:
            yield f"{name} graded {len(found)} of {students}"
        for student, cells in plain[1].items():
            wrong = {key: (points, found.get(student, {}).get(key)) for key, points in cells.items()}
            for key, (one, other) in wrong.items():
                if one != other:
                    yield f"{student}, {key}: {plain[0]} gives {one}, {name} gives {other}"


# one run


def measure(command: list[str], folder: Path, scratch: Path) -> Cost:
    """Run a command in `folder` to its end, and that of all it started. Raises CourseError where it fails.

    This process must have no other children meanwhile.
    """
    environment = os.environ | {"LMKIT_RESULTS": str(scratch / "results"), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    cwd = folder if "nbgrader" in command else Path(__file__).parent.parent
    with _adopting(), open(scratch / "log", "w+b") as log:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        sampler = _Sampler(process.pid)
        sampler.start()
        status = process.wait()
        wall = time.perf_counter() - start
        sampler.stop()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, 0):
                pass
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        log.seek(0)
        said = log.read().decode(errors="replace").strip().splitlines()
    if status:
        raise CourseError(f"{' '.join(command[1:4])} failed: {said[-1] if said else 'it said nothing'}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, sampler.peak, sampler.worker, sampler.seconds)


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """Be the parent of every process below that loses its own, so that its CPU time comes to be counted here."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class _Sampler(threading.Thread):
    """Looks again and again how much memory the processes below this one have."""

    def __init__(self, grader: int):
        super().__init__(daemon=True)
        self.peak = self.worker = 0
        self.seconds, self._grader, self._done = 0.0, grader, threading.Event()

    def run(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            self._sample()
            self.seconds = time.thread_time()

    def stop(self) -> None:
        self._done.set()
        self.join()

    def _sample(self) -> None:
        total = private = judges = 0
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error, OSError):
                parent, forked = process.ppid(), "autograder.nursery" in process.cmdline()
                shared = process.pid == self._grader or (forked and parent == self._grader)
                judges += forked and not shared and parent != os.getpid()
                found = _memory(process.pid)
                total += found["Pss"]
                private += 0 if shared else found["Private_Clean"] + found["Private_Dirty"]
        self.peak = max(self.peak, total)
        self.worker = max(self.worker, private // max(judges, 1))


def _memory(pid: int) -> Counter[str]:
    """Kind of memory, as the kernel names it -> bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
    return Counter({line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines})


def _table(costs: dict[str, Cost], students: int) -> Table:
    title = f"a class of {students}, beside plain nbgrader; {len(os.sched_getaffinity(0))} processors"
    columns = ("", "wall", "ratio", "CPU", "ratio", "peak memory", "ratio", "a worker's own", "sampling")
    table = Table(*columns, title=title, title_justify="left")
    plain = next(iter(costs.values()))
    for name, cost in costs.items():
        cells = [f"{cost.wall:.1f} s", f"{cost.wall / plain.wall:.2f}", f"{cost.cpu:.1f} s", f"{cost.cpu / plain.cpu:.2f}"]
        cells += [f"{cost.peak >> 20} MiB", f"{cost.peak / plain.peak:.2f}", f"{cost.worker >> 20} MiB", f"{cost.sampling:.1f} s"]
        table.add_row(name, *cells)
    return table


# where the time goes


def parts(chapter: Chapter, folder: Path) -> dict[str, float]:
    """What -> seconds, measured one by one in this process, on a class that is graded."""
    from autograder.bench_parts import judged, recorded, started

    return {**started(chapter, folder), **judged(chapter, folder), **recorded(chapter, folder)}


def _parts_table(found: dict[str, float]) -> Table:
    table = Table("where the time goes", "", title_justify="left")
    for name, seconds in found.items():
        table.add_row(name, f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms")
    return table


def timed(call: Callable[[], object], times: int = 1) -> float:
    """The median of how many seconds a call takes."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main(folder: str, name: str, jobs: str) -> None:
    """Grade a class as the command does, in a course directory of its own."""
    from autograder.grade import grade, students_of
    from autograder.pool import LocalPool

    one = chapter(name)
    with LocalPool(int(jobs)) as pool:
        grade(one, students_of(one, Path(folder)), Path(folder), pool=pool)


if __name__ == "__main__":
    main(*sys.argv[1:])
