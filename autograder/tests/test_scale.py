"""Grading on machines that Dask has: a scheduler and two workers as processes of their own on loopback, grades in PostgreSQL."""

import concurrent.futures
import gc
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from autograder import grade as grade_module
from autograder import nbgrader_api
from autograder import pool as pool_module
from autograder.assemble import assemble
from autograder.errors import CourseError
from autograder.exports import export, rows
from autograder.grade import grade, students_of
from autograder.gradebook import read_grades, roster_of
from autograder.layout import ROOT, Chapter, course
from autograder.pool import ExecutorPool, LocalPool, code_digest, dask_pool
from autograder.pool import run_job as real_run_job
from autograder.submissions import reference_codes
from autograder.tests.postgres import postgres  # noqa: F401  (a fixture)
from autograder.tests.test_gradebook import released, template  # noqa: F401  (fixtures)
from autograder.tests.test_resume import TRIPLE, family, hand_in, results, verdicts, wait_for
from autograder.tests.walls import needs_walls
from autograder.verdict import Limits, Verdict

dask_config = pytest.importorskip("dask.config", reason="Dask is not installed: pip install distributed")
pytestmark = [pytest.mark.slow, pytest.mark.alone, needs_walls]
LIMITS = Limits(call_seconds=2, cell_seconds=8)


@pytest.fixture(autouse=True)
def no_forgotten_clients() -> None:
    """Clients that could not start are garbage. Collected in the thread of a new one, they wait for the lock that its start holds."""
    gc.collect()


def dask(*arguments: str, hidden: Path | None = None) -> subprocess.Popen:
    """A program of Dask, started in the repository. hidden: a folder that is empty in its eyes."""
    command = [sys.executable, "-m", "dask", *arguments, "--host", "127.0.0.1", "--no-dashboard"]
    if hidden:
        rights = ["--cap-add", "ALL"] if os.getuid() == 0 else []
        command = [shutil.which("bwrap"), "--dev-bind", "/", "/", *rights, "--tmpfs", str(hidden), "--die-with-parent", *command]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Cluster:
    """A Dask scheduler without workers. Use it in a `with` statement."""

    def __init__(self, folder: Path):
        self._folder, self._file = folder, folder / "scheduler.json"
        self._processes = [dask("scheduler", "--port", "0", "--scheduler-file", str(self._file))]
        wait_for(lambda: self._file.exists() and self._file.read_text().rstrip().endswith("}"))  # it is not written at once
        self.scheduler, self.address = self._processes[0], json.loads(self._file.read_text())["address"]

    def add_worker(self, hidden: Path | None = None, threads: int = 1) -> psutil.Process:
        name = f"worker{len(self._processes)}"
        options = ["--no-nanny", "--nthreads", str(threads), "--name", name, "--local-directory", str(self._folder)]
        self._processes.append(dask("worker", self.address, *options, hidden=hidden))
        above = self._processes[-1].pid
        process = wait_for(lambda: next((one for one in [psutil.Process(above), *family(above)] if "-m" in _words(one)[:3]), None))
        return process

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture
def cluster(tmp_path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as made:
        yield made


@pytest.fixture
def lesson(released) -> Chapter:  # noqa: F811
    """A class: right, wrong, blank, broken, hostile; some slow."""
    for number in range(3):
        hand_in(released, f"slow{number}", before="import time; time.sleep(2)")
    hand_in(released, "right", reference_double(released))
    hand_in(released, "wrong", TRIPLE)
    hand_in(released, "endless", "def double(numbers):\n    while True:\n        pass")
    hand_in(released, "exits", "def double(numbers):\n    import os\n    os._exit(1)")
    broken = course(released.root) / "submitted" / "broken" / released.name / "exercises.ipynb"
    broken.parent.mkdir(parents=True)
    broken.write_text("this is no notebook")
    return released


def reference_double(chapter: Chapter) -> str:
    return reference_codes(chapter, assemble(chapter))["double"]


def in_threads(chapter: Chapter, student: str) -> list[Verdict]:
    """Grade one student on an executor whose only thread ends with the call."""
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return grade(chapter, [student], pool=ExecutorPool(executor, 1))


def graded(chapter: Chapter, pool: object, db_url: str | None = None) -> dict[str, object]:
    """Grade the class; returns all that came of it, the export too."""
    folder = course(chapter.root)
    verdicts = grade(chapter, students_of(chapter), limits=LIMITS, pool=pool, db_url=db_url)
    recorded = read_grades(folder, chapter.name, db_url)
    export(rows(roster_of(folder, db_url), verdicts, recorded), folder / f"{chapter.name}.csv")
    return {**results(chapter), "grades": recorded}


def clear(chapter: Chapter) -> None:
    for name in ("verdicts", "autograded", "feedback"):
        shutil.rmtree(course(chapter.root) / name)


def judging(worker: psutil.Process) -> list[psutil.Process]:
    """The worker's processes, once one of them is a sandbox."""
    below = family(worker.pid)
    return below if any("bwrap" in word for process in below for word in _words(process)[:1]) else []


def test_two_workers_give_the_grades_of_one_process_even_where_one_is_killed(lesson, cluster, postgres):  # noqa: F811
    folder = course(lesson.root)
    with LocalPool(1) as alone:
        wanted = graded(lesson, alone)
    clear(lesson)
    (folder / "gradebook.db").unlink()
    (folder / "nbgrader_config.json").write_text(json.dumps({"CourseDirectory": {"db_url": postgres}}))
    nbgrader_api.generate(folder, lesson.name)
    workers = [cluster.add_worker(hidden=lesson.root.parent) for _ in range(2)]
    with dask_pool(cluster.address) as pool:
        assert [family(worker.pid) for worker in workers] == [[], []], "a nursery was started before there was a job"
        assert graded(lesson, pool, postgres) == wanted
    clear(lesson)
    lost: list[psutil.Process] = []

    def kill() -> None:
        lost.extend(wait_for(lambda: judging(workers[0])))
        workers[0].kill()

    killer = threading.Thread(target=kill)
    with dask_pool(cluster.address) as pool:
        killer.start()
        assert graded(lesson, pool, postgres) == wanted
    killer.join()
    assert any("autograder.nursery" in " ".join(_words(one)) for one in family(workers[1].pid))
    _, alive = psutil.wait_procs(lost, timeout=15)
    assert alive == [], "processes of the killed worker are still there"
    assert not (folder / "gradebook.db").exists()


def test_the_scheduler_may_go_while_a_class_is_graded(lesson, cluster):
    cluster.add_worker()
    with dask_pool(cluster.address) as pool, dask_config.set({"distributed.comm.timeouts.connect": "2s"}):
        first = threading.Event()
        killer = threading.Thread(target=lambda: (first.wait(60), cluster.scheduler.kill()))
        killer.start()
        with pytest.raises(CourseError, match=r"the Dask scheduler at tcp://.* is gone; start it .*, then grade with --resume"):
            grade(lesson, students_of(lesson), limits=LIMITS, pool=pool, report=lambda one: first.set() if one.has_points else None)
        killer.join()
    assert 1 <= len(verdicts(lesson)) < len(students_of(lesson))


def test_a_cluster_that_loses_all_its_workers_ends_in_a_sentence(lesson, cluster, monkeypatch):
    monkeypatch.setattr(grade_module, "_LOOK_SECONDS", 1)
    worker = cluster.add_worker()
    with dask_pool(cluster.address) as pool:
        killer = threading.Thread(target=lambda: wait_for(lambda: judging(worker)) and worker.kill())
        killer.start()
        with pytest.raises(CourseError, match=r"has lost all its workers; start some with: .*, then grade with --resume"):
            grade(lesson, ["slow0", "slow1", "endless"], limits=LIMITS, pool=pool)
        killer.join()


def test_where_there_is_no_scheduler_or_no_worker_a_sentence_says_so(cluster, monkeypatch):
    monkeypatch.setattr(pool_module, "_WAIT", 1)
    with pytest.raises(CourseError, match=r"the Dask scheduler at tcp://\S+ has no workers; start some with: python -m dask worker tcp://"):
        dask_pool(cluster.address).__enter__()
    for address in ("tcp://127.0.0.1:1", "nowhere at all", "http://127.0.0.1:1"):
        gc.collect()
        with pytest.raises(CourseError, match="there is no Dask scheduler at"):
            dask_pool(address).__enter__()


def test_without_dask_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(CourseError, match="Dask is not installed here; install it with: pip install distributed"):
        dask_pool("tcp://127.0.0.1:1").__enter__()


def test_a_worker_with_another_version_is_refused(lesson, monkeypatch):
    digest = code_digest()
    monkeypatch.setattr(pool_module, "run_job", in_another_version)
    with pytest.raises(CourseError, match=r"the worker .* has another version of the course, Python or torch; install the same there"):
        in_threads(lesson, "right")
    assert code_digest() == digest


def in_another_version(job: str, address: str | None, code: str) -> str:
    return real_run_job(job, address, f"{code} and a bit")


def in_a_broken_place(job: str, address: str | None, code: str) -> str:
    import no_such_package  # noqa: F401


def test_a_worker_without_the_course_is_named(lesson, monkeypatch):
    monkeypatch.setattr(pool_module, "run_job", in_a_broken_place)
    with pytest.raises(CourseError, match=r"the workers cannot grade \(ModuleNotFoundError: .*no_such_package.*\); install this"):
        in_threads(lesson, "right")


def test_a_worker_without_a_sandbox_runs_nothing(lesson, monkeypatch, tmp_path):
    monkeypatch.setattr(pool_module, "_here", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CourseError, match=r"on the worker .*: bubblewrap \(the program bwrap\) is missing"):
        in_threads(lesson, "right")
    assert not verdicts(lesson)


def test_a_nursery_outlives_the_thread_that_started_it(lesson):
    found = [*in_threads(lesson, "right"), *in_threads(lesson, "right")]
    assert [one.status for one in found] == ["graded", "graded"]
    nurseries = [one for one in psutil.Process().children() if "autograder.nursery" in _words(one)]
    assert len(nurseries) == 1
    nurseries[0].kill()  # and one that ended takes nobody with it
    assert in_threads(lesson, "right")[0].status == "graded"


def test_a_process_pool_that_breaks_ends_in_a_sentence(lesson):
    def kill() -> None:
        found = wait_for(lambda: [one for one in psutil.Process().children() if "spawn_main" in str(_words(one)) and judging(one)])
        lost.extend(family(found[0].pid))
        found[0].kill()

    lost, killer = [], threading.Thread(target=kill)
    killer.start()
    processes = concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    with processes, pytest.raises(CourseError, match=r"nothing is left to grade with .*; start it again, then grade with --resume"):
        grade(lesson, ["slow0", "slow1"], pool=ExecutorPool(processes, 1))
    killer.join()
    assert psutil.wait_procs(lost, timeout=15)[1] == []
