"""The same attacks through plain `nbgrader autograde`, for comparison.

Plain nbgrader runs a submission as the user who grades. So it all happens in a room of its own: bubblewrap with nothing
writable but a small file system in memory, no network, its own process numbers, another user, and limits on memory, files
and processes. When the time is over the room is closed, and everything in it ends.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from autograder import sandbox
from autograder.errors import CourseError
from autograder.layout import NOTEBOOK, ROOT
from autograder.tests.attacks.course import FULL, build
from autograder.tests.attacks.desk import ANY, Attack
from autograder.tests.attacks.planted import found
from autograder.tests.attacks.runner import FELL, Classroom, Seat, classroom

SECONDS, MORE_SECONDS, CELL_SECONDS = 90, 30, 20  # of wall time: for nbgrader on a class of three, to make and read it, for one cell
FIRST_USER = 60_001  # nobody's number; every room has its own, because the limit on processes counts all that a user has
LIMITS = {"NPROC": 96, "AS": 4 << 30, "FSIZE": 64 << 20, "CORE": 0, "NOFILE": 512}
SPACE = 512 << 20  # bytes of the file system in memory
STATUSES = ("graded", "ungraded", "earned too little", "earned too much", "secret found", "bystander harmed", "batch aborted")


@dataclass(frozen=True)
class PlainOutcome:
    """What plain nbgrader made of one attack: one of STATUSES, and more in words."""

    attack: Attack
    status: str
    detail: str
    seconds: float


def room(command: Sequence[str], readable: Sequence[Path] = (), writing: int = -1) -> list[str]:
    """A command in a room of its own. readable: more folders that it may read; writing: a file descriptor for its answer."""
    alone = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try", "--cap-drop", "ALL"]
    user = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if os.getuid() == 0 else ["--unshare-user"]
    shown = [word for path in (ROOT, *readable) for word in ("--ro-bind", str(path), str(path))]
    course = ROOT / "autograder" / "course"  # what real students handed in is not for attacks to read
    hidden = ["--size", "65536", "--tmpfs", str(course)] if course.exists() else []
    space = ["--size", str(SPACE), "--perms", "1777", "--tmpfs"]
    settings = {"HOME": "/tmp/home", "USER": "grader", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
                "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
    return [
        *("bwrap", *alone, *user, "--die-with-parent", "--new-session", "--clearenv"),
        *(word for name, value in settings.items() for word in ("--setenv", name, value)),
        *(*space, "/tmp", *sandbox.readable(()), *shown, *hidden, "--proc", "/proc", "--dev", "/dev", *space, "/dev/shm"),
        *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", *(["--sync-fd", str(writing)] if writing >= 0 else [])),
        *command,
    ]


def confine(user: int = FIRST_USER) -> None:
    """Called in a child before its program starts: another user where there is the right to that, and limits."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    for name, value in LIMITS.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))


def run_plain(
    attacks: Sequence[Attack], jobs: int = 2, report: Callable[[PlainOutcome], None] = lambda outcome: None
) -> list[PlainOutcome]:
    """Grade every attack, between two bystanders, with plain nbgrader. Raises CourseError where no room can be made."""
    sandbox.require()
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(jobs) as pool:
        master = Path(scratch) / "repository"
        build(master)
        Path(scratch).chmod(0o755)
        outcomes = []
        for outcome in pool.map(lambda pair: _run_one(pair[1], master, FIRST_USER + pair[0]), enumerate(attacks)):
            outcomes.append(outcome)
            report(outcome)
        return outcomes


def _run_one(attack: Attack, master: Path, user: int) -> PlainOutcome:
    start = time.perf_counter()
    program = [sys.executable, "-m", "autograder.tests.attacks.plain", attack.name, str(master), str(user)]
    with subprocess.Popen(
        room(program, [master]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={}
    ) as process:
        try:
            told, said = process.communicate(timeout=SECONDS + MORE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            told, said = process.communicate()
            said = b"its time was over"
    seconds = time.perf_counter() - start
    lines = [line for line in told.decode(errors="replace").splitlines() if line.startswith("{")]
    if not lines:
        reason = (said.decode(errors="replace").strip().splitlines() or ["it ended without a word"])[-1]
        return PlainOutcome(attack, "batch aborted", reason, seconds)
    return PlainOutcome(attack, *classify(attack, json.loads(lines[-1])), seconds)


def classify(attack: Attack, seen: dict) -> tuple[str, str]:
    """A status and words for what was seen. seen: points by exercise of "attacker", "before" and "after" (or None), and "shown"."""
    bystanders = [seen["before"], seen["after"]]
    if None in bystanders:
        return "batch aborted", seen["said"]
    if any(points != FULL for points in bystanders):
        return "bystander harmed", f"before {seen['before']}, after {seen['after']}"
    got = seen["attacker"]
    most = {name: FULL[name] if points == ANY else points for name, points in attack.points.items() if attack.graded}
    if got is not None and (more := [name for name in FULL if got[name] > most.get(name, 0)]):
        return "earned too much", ", ".join(f"{name} {got[name]:g}" for name in more)
    if told := [*found(seen["shown"]), *([FELL] if FELL in seen["shown"] else [])]:
        return "secret found", ", ".join(told)
    if got is None:
        return "ungraded", seen["said"]
    less = [name for name, points in attack.points.items() if attack.graded and points != ANY and got[name] < points]
    return ("earned too little", ", ".join(f"{name} {got[name]:g}" for name in less)) if less else ("graded", "")


def inside(name: str, master: Path, user: int) -> dict:
    """Called in the room: hand in, autograde the class of three as nbgrader does, and read the gradebook."""
    from autograder.tests.attacks.corpus import choose

    os.umask(0)
    os.makedirs("/tmp/home")
    root = Path("/tmp/repository")
    with classroom([one for one in choose(name) if one.name == name], root, master) as place:
        for path in [root, *root.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o777 if path.is_dir() else 0o666)
        seat = place.seats[0]
        program = [sys.executable, "-m", "nbgrader", "autograde", f"--assignment={place.chapter.name}", f"--Execute.timeout={CELL_SECONDS}"]
        surroundings = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        with open("/tmp/said", "wb") as said:
            process = subprocess.Popen(program, cwd=place.folder, env=surroundings, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                                       preexec_fn=partial(confine, user), start_new_session=True)  # fmt: skip
        try:
            process.wait(SECONDS)
            return _seen(place, seat, _last_words(Path("/tmp/said")))
        except subprocess.TimeoutExpired:
            return _seen(place, seat, "it did not end")


def _seen(place: Classroom, seat: Seat, said: str) -> dict:
    """What `classify` judges."""
    path = place.folder / "autograded" / seat.student / place.chapter.name / f"{NOTEBOOK}.ipynb"
    shown = ""
    if path.is_file() and path.stat().st_size < 50_000_000:
        try:
            shown = "".join(json.dumps(cell.get("outputs", [])) for cell in json.loads(path.read_text())["cells"])
        except (ValueError, KeyError, TypeError):
            said = f"{said} (its notebook cannot be read)"
    names = {"attacker": seat.student, "before": seat.before, "after": seat.after}
    return {key: _points(place, student) for key, student in names.items()} | {"shown": shown[:5_000_000], "said": said}


def _points(place: Classroom, student: str) -> dict[str, float] | None:
    """Exercise -> points in the gradebook; None where the student has no graded notebook."""
    from nbgrader.api import Gradebook, MissingEntry

    if not (place.folder / "autograded" / student / place.chapter.name / f"{NOTEBOOK}.ipynb").exists():
        return None
    try:
        with Gradebook(f"sqlite:///{place.folder}/gradebook.db") as book:
            grades = book.find_submission_notebook(NOTEBOOK, place.chapter.name, student).grades
            by_cell = {grade.name: float(grade.score) for grade in grades}
    except MissingEntry:
        return None
    return {name: sum(by_cell.get(f"attacked-{name}-{part}", 0.0) for part in ("visible", "hidden")) for name in FULL}


def _last_words(path: Path) -> str:
    """The last line of nbgrader's log that says what went wrong."""
    lines = [line.strip() for line in path.read_bytes()[-50_000:].decode(errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if "Error:" in line and "Please see" not in line]
    return (told or lines or [""])[-1][:200]


if __name__ == "__main__":
    try:
        print(json.dumps(inside(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))), flush=True)
    except CourseError as error:
        sys.exit(str(error))
    os._exit(0)  # whatever still runs in the room ends with it
