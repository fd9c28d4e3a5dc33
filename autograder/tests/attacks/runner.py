"""Hands every attack in between two bystanders, has the whole class graded, and compares what came out with what must."""

import contextlib
import hashlib
import json
import os
import re
import site
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from autograder.assemble import assemble
from autograder.errors import CourseError
from autograder.layout import NOTEBOOK, Chapter, course
from autograder.proof import submit
from autograder.submissions import Answers, fill, reference_codes
from autograder.tests.attacks.course import FULL, build, copied
from autograder.tests.attacks.desk import ANY, Attack, Desk
from autograder.tests.attacks.planted import MARK, Planted, found, planted, secret
from autograder.verdict import GRADED, Limits, Verdict

LIMITS = Limits(cell_seconds=4, call_seconds=4, seconds=30, memory=512 << 20, processes=32, disk=32 << 20, restarts=3)
BOUND = 3 << 20  # bytes of a verdict, and of a feedback page
FELL = "wall fell"  # what an attack prints where it got through
Report = Callable[[Verdict], None]
Grader = Callable[[Chapter, list[str], Path, Limits, Report], Sequence[Verdict]]


@dataclass(frozen=True)
class Outcome:
    """What became of one attack. problem: what is not as it must be; empty where all is."""

    attack: Attack
    got: str
    seconds: float
    problem: str

    @property
    def family(self) -> str:
        return self.attack.family

    @property
    def expected(self) -> str:
        return self.attack.expected


@dataclass(frozen=True)
class Seat:
    """Where one attack sits in the class: its student, and the bystanders before and after it."""

    attack: Attack
    student: str
    before: str
    after: str


@dataclass(frozen=True)
class Classroom:
    """A course directory with everything handed in, in the order in which students are graded."""

    chapter: Chapter
    folder: Path
    seats: list[Seat]
    planted: Planted

    @property
    def students(self) -> list[str]:
        return sorted({name for seat in self.seats for name in (seat.before, seat.student, seat.after)})


@contextlib.contextmanager
def classroom(attacks: Sequence[Attack], root: Path, master: Path | None = None) -> Iterator[Classroom]:
    """The attacked course at `root`, with one submission for every attack and every bystander; secrets are planted meanwhile.

    master: a course that was built before, of which this one is made as a copy.
    """
    chapter = copied(master, root) if master else build(root)
    folder = course(root)
    with planted(folder) as secrets:
        solution = fill(chapter, Answers("solved", reference_codes(chapter, assemble(chapter)), written=True))
        seats = [_seat(attack, number) for number, attack in enumerate(attacks)]
        for name in sorted({name for seat in seats for name in (seat.before, seat.after)}):
            work = deepcopy(solution)
            work.cells[1].source += f"  # {secret('student')}"
            submit(work, folder, name, chapter)
        for seat in seats:
            desk = Desk(deepcopy(solution), folder / "submitted" / seat.student / chapter.name, secrets,
                        folder / "submitted" / seat.before / chapter.name / f"{NOTEBOOK}.ipynb")  # fmt: skip
            prepare(seat.attack, desk)
        yield Classroom(chapter, folder, seats, secrets)


def _seat(attack: Attack, number: int) -> Seat:
    """Two attacks in a row have a bystander in common."""
    student = attack.student or f"a{number:03d}-2-{attack.name}"
    return Seat(attack, student, f"a{number:03d}-1-bystander", f"a{number + 1:03d}-1-bystander")


def prepare(attack: Attack, desk: Desk) -> None:
    """Write one submission."""
    desk.folder.mkdir(parents=True)
    attack.prepare(desk)
    if not desk.done:
        desk.hand_in()


def our_grader(jobs: int = 2) -> Grader:
    """The grader that this repository has, with so many jobs."""
    from autograder.grade import grade
    from autograder.pool import LocalPool

    def run(chapter: Chapter, students: list[str], folder: Path, limits: Limits, report: Report) -> list[Verdict]:
        with LocalPool(jobs) as pool:
            return grade(chapter, students, folder, limits=limits, pool=pool, report=report)

    return run


def run_corpus(attacks: Sequence[Attack], grade: Grader, report: Report = lambda verdict: None) -> list[Outcome]:
    """Grade one class that holds all the attacks, and judge each. `report` is called as verdicts come in."""
    with tempfile.TemporaryDirectory() as scratch, classroom(attacks, Path(scratch) / "repository") as room:
        before = _digests(room)
        verdicts = grade(room.chapter, room.students, room.folder, LIMITS, report)
        by_student = {verdict.student: verdict for verdict in verdicts}
        outcomes = [judge(room, seat, by_student) for seat in room.seats]
        damage = _damage(before, _digests(room)) + _marks(room)
        if damage and outcomes:  # nobody knows whose deed it was: the whole run is bad
            outcomes = [Outcome(one.attack, one.got, one.seconds, "; ".join(filter(None, (one.problem, damage)))) for one in outcomes]
        return outcomes


def judge(room: Classroom, seat: Seat, verdicts: Mapping[str, Verdict]) -> Outcome:
    """Compare the verdicts of an attack and of its bystanders with what they must be."""
    verdict = verdicts.get(seat.student)
    problems = [_harmed(name, verdicts.get(name)) for name in (seat.before, seat.after)]
    if verdict is None:
        return Outcome(seat.attack, "no verdict", 0.0, "; ".join(filter(None, ["there is no verdict", *problems])))
    page = _feedback(room, seat.student)
    shown = _shown(room, verdict) + page
    problems += [
        _wrong_status(seat.attack, verdict),
        _wrong_points(seat.attack, verdict),
        f"it found the secrets of: {', '.join(found(verdict.to_json() + page))}" if found(verdict.to_json() + page) else "",
        "a wall fell: " + " ".join(re.findall(rf"{FELL}[^\n\"]*", shown))[:200] if FELL in shown else "",
        f"its outputs do not show {seat.attack.shows!r}" if seat.attack.shows not in shown else "",
        f"the feedback page shows {seat.attack.page_hides!r}" if seat.attack.page_hides and seat.attack.page_hides in page else "",
        f"the verdict or the page has more than {BOUND >> 20} MB" if max(len(verdict.to_json()), len(page)) > BOUND else "",
    ]
    return Outcome(seat.attack, _got(verdict), verdict.seconds, "; ".join(filter(None, problems)))


def _harmed(name: str, verdict: Verdict | None) -> str:
    if verdict is not None and verdict.status == GRADED and _points(verdict) == FULL:
        return ""
    return f"{name} was harmed: {'no verdict' if verdict is None else f'{_got(verdict)} {verdict.message}'}"


def _points(verdict: Verdict) -> dict[str, float]:
    return {name: points for name, (points, _) in verdict.by_exercise().items()}


def _got(verdict: Verdict) -> str:
    if not verdict.has_points:
        return f"{verdict.status}, no points"
    points = _points(verdict)
    less = [f"{name} {points.get(name, 0):g}" for name in FULL if points.get(name) != FULL[name]]
    return f"{verdict.status}, {', '.join(less) or 'full marks'}"


def _wrong_status(attack: Attack, verdict: Verdict) -> str:
    if verdict.status in attack.statuses:
        return ""
    return f"the status is {verdict.status}, not {' or '.join(attack.statuses)} ({verdict.message})"


def _wrong_points(attack: Attack, verdict: Verdict) -> str:
    """Points must be as expected; a status that allows no points, and stands among others, needs none."""
    if not attack.graded:
        return "it has points" if verdict.has_points else ""
    if not verdict.has_points:
        return "" if len(attack.statuses) > 1 and verdict.status != GRADED else "it has no points"
    got = _points(verdict)
    wrong = [f"{name} has {got.get(name)} points, not {points:g}" for name, points in attack.points.items()
             if points not in (ANY, got.get(name))]  # fmt: skip
    odd = [name for name, points in got.items() if type(points) is not float or not 0 <= points <= FULL.get(name, 0)]
    return ", ".join([*wrong, *(f"{name} has impossible points" for name in odd)])


def _shown(room: Classroom, verdict: Verdict) -> str:
    """The outputs of the graded notebook, in the verdict and on disk, and the messages of the verdict."""
    texts = [verdict.message, *verdict.notes, *(result.message for part in verdict.parts for result in part.results)]
    path = room.folder / "autograded" / verdict.student / room.chapter.name / f"{NOTEBOOK}.ipynb"
    for notebook in (verdict.notebook, path.read_text(encoding="utf-8") if path.is_file() else ""):
        if notebook:
            texts += [json.dumps(cell.get("outputs", []), ensure_ascii=False) for cell in json.loads(notebook)["cells"]]
    return "\n".join(texts)


def _feedback(room: Classroom, student: str) -> str:
    path = room.folder / "feedback" / student / room.chapter.name / f"{NOTEBOOK}.html"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _digests(room: Classroom) -> dict[str, str]:
    """Path -> digest of everything that grading must leave as it is: what was handed in, the release, the repository, the secrets."""
    found = {}
    for top in (room.folder / "submitted", room.folder / "release", room.folder / "source", room.chapter.root / "chapters",
                room.chapter.root / "solutions", room.chapter.checks.parent, room.planted.temporary, room.planted.shared):  # fmt: skip
        for path in [top, *sorted(top.rglob("*"))]:
            plain = path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts
            if plain or path.is_symlink():
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if plain else os.readlink(path)
    return found


def _damage(before: dict[str, str], after: dict[str, str]) -> str:
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return f"files were changed: {', '.join(changed[:5])}" if changed else ""


def _marks(room: Classroom) -> str:
    """Files of the writers' name outside the sandbox; they are taken away again."""
    import numpy
    import torch

    folders = {*sys.path, *site.getsitepackages(), sys.prefix, sys.base_prefix, os.path.dirname(sys.executable), os.getcwd(),
               os.path.dirname(torch.__file__), os.path.dirname(numpy.__file__), str(room.planted.temporary.parent),
               os.path.expanduser("~"), "/", "/etc", "/root", "/home", "/var", "/var/tmp", "/opt", "/srv", "/run", "/boot",
               "/etc/cron.d", "/dev", "/tmp", "/dev/shm", "/usr/lib", "/usr/bin", "/usr/local/bin", "/work"}  # fmt: skip
    left = [path for folder in folders if folder for path in Path(folder).glob(f"{MARK}*")]
    left += [path for path in room.chapter.root.rglob(f"{MARK}*")]
    for path in left:
        path.unlink(missing_ok=True)
    return f"; files were left: {', '.join(map(str, left[:5]))}" if left else ""


PROBE = """
import json, os, resource, socket
from pathlib import Path

walls = {
    "it is another user, without rights": os.getuid() != 0 and "CapEff:\\t0000000000000000" in Path("/proc/self/status").read_text(),
    "it does not see the course": not os.path.exists("<COURSE>") and not os.path.exists("<TEMPORARY>"),
    "it sees its own processes only": len([name for name in os.listdir("/proc") if name.isdigit()]) < 12,
    "it has no network but loopback": [name for _, name in socket.if_nameindex() if name != "lo"] == [],
    "its processes are limited": resource.getrlimit(resource.RLIMIT_NPROC)[0] in range(1, 1000),
    "it cannot write to the system": not os.access("/usr", os.W_OK) and not os.access("/etc", os.W_OK),
}
print("walls:", json.dumps(walls))
"""


def prove_walls(grade: Grader) -> None:
    """Grade one harmless submission that looks around. Raises CourseError where a wall is missing: then no attack is safe to run."""
    probe = Attack("probe", "probe", "", lambda desk: desk.try_out(PROBE) and None, (GRADED,), dict(FULL), True, "", "", "")
    with tempfile.TemporaryDirectory() as scratch, classroom([probe], Path(scratch) / "repository") as room:
        student = room.seats[0].student
        verdict = grade(room.chapter, [student], room.folder, LIMITS, lambda verdict: None)[0]
    outputs = [output for cell in json.loads(verdict.notebook or '{"cells": []}')["cells"] for output in cell.get("outputs", [])]
    printed = "".join("".join(output.get("text", "")) for output in outputs)
    line = next((line for line in printed.splitlines() if line.startswith("walls: ")), "")
    walls = json.loads(line.removeprefix("walls: ")) if line else {"a harmless submission runs": False}
    missing = [wall for wall, stands in walls.items() if not stands]
    if missing:
        raise CourseError(f"the attacks are not run, because a probe of the sandbox finds that this does not hold: {'; '.join(missing)}")
