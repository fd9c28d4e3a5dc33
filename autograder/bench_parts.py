"""Where the grader's time goes: the parts of the benchmark, measured one by one."""

import contextlib
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

from autograder import judge
from autograder.bench import timed
from autograder.bridge.channel import Channel
from autograder.bridge.near import Near
from autograder.feedback import write_feedback
from autograder.grade import _blank_job, _take_in, read_verdicts, students_of
from autograder.gradebook import Records
from autograder.layout import Chapter
from autograder.nursery import Nursery, ask
from autograder.sandbox import Room
from autograder.verdict import Job, Limits

_JUDGED = 6  # submissions that are judged once more, with a watch on the parts


def started(chapter: Chapter, folder: Path) -> dict[str, float]:
    """What starting takes."""
    print_time = "import time; start = time.perf_counter(); import torch; print(time.perf_counter() - start)"
    torch = float(subprocess.run([sys.executable, "-c", print_time], capture_output=True, text=True, check=True).stdout)
    begun = time.perf_counter()
    nursery = Nursery(_blank_job(chapter, folder, Limits(), True).modules)
    found = {"import torch, once": torch, "start the nursery, once": time.perf_counter() - begun}
    try:
        found["fork of the nursery"] = timed(lambda: _fork(nursery.address), 20)
    finally:
        nursery.close()
    rooms: list[Room] = []
    found["make an empty room with bubblewrap"] = timed(lambda: rooms.append(Room(Limits())), 10)
    found["end a room"] = timed(lambda: rooms.pop().close(), 10)
    return found


def _fork(address: str) -> None:
    """Ask for a judge, and give it nothing to do."""
    with open("/dev/null", "rb") as nothing:
        ask(address, {"op": "judge", "address": address}, [nothing.fileno()])


def judged(chapter: Chapter, folder: Path) -> dict[str, float]:
    """What a judge takes for one submission: the mean over some of the class."""
    students = students_of(chapter, folder)[:_JUDGED]
    jobs = [replace(job, key="") for job in _take_in(chapter, folder, students, Limits(), True, False) if isinstance(job, Job)]
    watch = _Watch()
    watched = {
        "the room and the student's process": (judge, "Kernel"),
        "the student's cells": (judge.Judge, "_run_cell"),
        "all checks": (judge.Judge, "_check_cell"),
        "bridge": (Near, "_converse"),
        "callbacks": (Near, "_called_back"),
        "waiting": (Channel, "receive"),
    }
    nursery = Nursery(jobs[0].modules)
    try:
        with contextlib.ExitStack() as stack:
            for name, (owner, method) in watched.items():
                stack.enter_context(watch.on(owner, method, name))
            watch.spent["whole"] = sum(timed(judge.Judge(job, nursery.address).verdict) for job in jobs)
    finally:
        nursery.close()
    each = {name: seconds / len(jobs) for name, seconds in watch.spent.items()}
    waiting, room = each["waiting in checks"], each["the room and the student's process"]
    bridge = each["bridge in checks"] - waiting - each.get("callbacks in checks", 0.0)
    return {
        "judge a submission": each["whole"],
        "- make its room and process": room,
        "- run the student's cells": each["the student's cells"] - room,
        "- all checks": each["all checks"],
        "-- wait for the student's functions": waiting,
        "-- encode and decode values": bridge,
        "-- the checks themselves": each["all checks"] - waiting - bridge,
    }


class _Watch:
    """Adds up the seconds of methods: all of them, and those within a check."""

    def __init__(self):
        self.spent: dict[str, float] = defaultdict(float)
        self._running: Counter[str] = Counter()

    @contextlib.contextmanager
    def on(self, owner: object, method: str, name: str) -> Iterator[None]:
        """Watch a method under this name; of calls within calls the outermost counts."""
        original: Callable = getattr(owner, method)

        def watched(*arguments: object, **named: object) -> object:
            self._running[name] += 1
            start = time.perf_counter()
            try:
                return original(*arguments, **named)
            finally:
                self._running[name] -= 1
                if not self._running[name]:
                    self.spent[name] += time.perf_counter() - start
                    if self._running["all checks"]:
                        self.spent[f"{name} in checks"] += time.perf_counter() - start

        with mock.patch.object(owner, method, watched):
            yield


def recorded(chapter: Chapter, folder: Path) -> dict[str, float]:
    """What writing takes for one submission."""
    written = read_verdicts(folder, chapter.name)[:_JUDGED]
    verdicts = iter(written)
    with Records(folder, chapter.name) as records:
        recording = timed(lambda: records.record(next(verdicts)), len(written))
        reading = timed(records.grades, 3)
        grades, pages = records.grades(), iter(written)

        def page() -> None:
            verdict = next(pages)
            write_feedback(folder, chapter.name, verdict, grades.get(verdict.student))

        return {
            "record it in the gradebook": recording,
            "read all grades": reading,
            "write its feedback": timed(page, len(written)),
        }
