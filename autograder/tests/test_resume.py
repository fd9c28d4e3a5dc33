"""The command line over a class, disturbed: killed, interrupted, out of disk, without a sandbox.

Nothing is lost or graded twice.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from autograder import nbgrader_api
from autograder.assemble import assemble
from autograder.gradebook import gradebook, read_grades
from autograder.layout import ROOT, Chapter, course
from autograder.lock import folder_lock
from autograder.proof import submit
from autograder.submissions import Answers, fill, reference_codes
from autograder.tests.test_assemble import replace
from autograder.tests.test_gradebook import released, template  # noqa: F401  (fixtures)
from autograder.tests.walls import needs_walls

pytestmark = [pytest.mark.slow, pytest.mark.alone, needs_walls]
TRIPLE = "def double(numbers):\n    return [3 * number for number in numbers]"
ENDLESS = "while True:\n    pass"


@pytest.fixture
def repository(released) -> Chapter:  # noqa: F811
    """The toy chapter in a repository with the grader itself, so that `python -m autograder` there grades it."""
    skipped = shutil.ignore_patterns("course", "tests", "__pycache__")
    shutil.copytree(ROOT / "autograder", released.root / "autograder", dirs_exist_ok=True, ignore=skipped)
    nbgrader_api.link_config(course(released.root))
    return released


def hand_in(chapter: Chapter, student: str, code: str = TRIPLE, before: str = "") -> None:
    """A submission with the reference's Counter and this code for double. before: what its first cell does."""
    reference = reference_codes(chapter, assemble(chapter))
    notebook = fill(chapter, Answers(student, reference | {"double": code}))
    next(cell for cell in notebook.cells if cell.cell_type == "code").source += f"\n{before}"
    shutil.rmtree(course(chapter.root) / "submitted" / student, ignore_errors=True)
    submit(notebook, course(chapter.root), student, chapter)


def start(chapter: Chapter, *options: str, **environment: str) -> subprocess.Popen:
    """`python -m autograder grade` in the toy repository, as the first of a process group, as in a terminal."""
    scratch = chapter.root.parent / "t"
    scratch.mkdir(exist_ok=True)
    known = os.environ | {"TMPDIR": str(scratch), "NO_COLOR": "1", "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": ""} | environment
    command = [sys.executable, "-m", "autograder", "grade", chapter.name, *options]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what a shell starts behind itself ignores Ctrl-C, and so would this
    return subprocess.Popen(command, cwd=chapter.root, env=known, start_new_session=True, preexec_fn=hears, **output)


def run(chapter: Chapter, *options: str, **environment: str) -> tuple[int, str, str]:
    """Returns its status, and what it said on standard output and on standard error."""
    running = start(chapter, *options, **environment)
    output, error = running.communicate(timeout=120)
    return running.returncode, output.strip(), error.strip()


def verdicts(chapter: Chapter) -> dict[str, dict]:
    paths = course(chapter.root).glob(f"verdicts/*/{chapter.name}.json")
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def results(chapter: Chapter) -> dict[str, object]:
    """All that grading leaves, but for what may differ from run to run: how long it took, how much memory; and for hidden files."""
    folder = course(chapter.root)
    kept = {student: {**verdict, "seconds": 0, "peak_bytes": 0} for student, verdict in verdicts(chapter).items()}
    files = [path for name in ("autograded", "feedback") for path in folder.glob(f"{name}/**/[!.]*") if path.is_file()]
    texts = {str(path.relative_to(folder)): path.read_text() for path in [*files, folder / f"{chapter.name}.csv"]}
    return {"verdicts": kept, "grades": read_grades(folder, chapter.name), "files": texts}


def family(pid: int) -> list[psutil.Process]:
    """All processes that came from this one, those in sandboxes too."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> object:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return found


def of_the_run(chapter: Chapter) -> list[psutil.Process]:
    """The processes of this machine that belong to a run in the toy repository."""
    return living(str(chapter.root.parent))


def living(mark: str) -> list[psutil.Process]:
    """The processes of this machine whose command or folder has this in it."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and (mark in " ".join(process.cmdline()) or process.cwd().startswith(mark)):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(autouse=True)
def no_process_stays(released) -> Iterator[None]:  # noqa: F811
    yield
    end = time.monotonic() + 60
    while left := of_the_run(released):
        assert time.monotonic() < end, [process.as_dict(["pid", "ppid", "status", "cmdline"]) for process in left]
        time.sleep(0.05)


MOMENTS = [*(("start", moment) for moment in (0.5, 2.0, 3.5)), *(("first verdict", moment / 10) for moment in range(7))]


def kill_once(chapter: Chapter, event: str, moment: float) -> list[psutil.Process]:
    """Start a run and kill it so many seconds after an event. Returns the processes that it had then."""
    before = len(verdicts(chapter))
    running = start(chapter, "--resume", "--jobs", "2")
    if event == "first verdict":
        wait_for(lambda: len(verdicts(chapter)) > before or running.poll() is not None)
    time.sleep(moment)
    had = family(running.pid)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    return had


def test_ten_kills_lose_nothing_and_grade_nothing_twice(repository):
    folder, dice = course(repository.root), random.Random(3)
    for number in range(24):
        wait = f"import time; time.sleep({dice.choice((0, 0.2, 0.5))})"
        hand_in(repository, f"student{number:02}", (TRIPLE, "raise SystemExit", "double = sorted")[number % 3], before=wait)
    shutil.copy(folder / "gradebook.db", folder.parent / "fresh.db")
    assert run(repository, "--jobs", "2")[0] == 0
    undisturbed = results(repository)
    for name in ("verdicts", "autograded", "feedback"):
        shutil.rmtree(folder / name)
    (folder / f"{repository.name}.csv").unlink()
    shutil.copy(folder.parent / "fresh.db", folder / "gradebook.db")
    seconds, progress = {}, []
    for event, moment in dice.sample(MOMENTS, len(MOMENTS)):
        had = kill_once(repository, event, moment + dice.random() / 10)
        _, alive = psutil.wait_procs(had, timeout=15)
        assert alive == []
        for student, verdict in verdicts(repository).items():
            assert seconds.setdefault(student, verdict["seconds"]) == verdict["seconds"], f"{student} was judged again"
        progress.append(len(seconds))
    assert 5 < progress[-1] < 24, f"the kills came too early or too late: {progress}"
    assert run(repository, "--jobs", "2", "--resume")[0] == 0
    assert results(repository) == undisturbed
    assert all(verdicts(repository)[student]["seconds"] == known for student, known in seconds.items())
    left = list((repository.root.parent / "t").iterdir())  # the nursery of a run that was killed takes its folder away, if it can
    assert len(left) <= 3, left
    halves = list(folder.glob("*/*/*/.*"))  # what was being written when a run was killed; nobody reads it
    assert len(halves) <= len(MOMENTS), halves


def seconds(chapter: Chapter) -> dict[str, float]:
    """Student -> how long the judge took: another number where the submission was judged again."""
    return {student: verdict["seconds"] for student, verdict in verdicts(chapter).items()}


def test_a_run_judges_what_changed_and_no_more(repository):
    for student in ("ada", "bo", "cy"):
        hand_in(repository, student)
    assert run(repository, "--jobs", "1")[0] == 0
    with gradebook(course(repository.root)) as book:
        written = book.find_grade("toy-why", "exercises", repository.name, "ada")
        written.manual_score, written.needs_manual_grade = 1.5, False
        book.db.commit()
    alone, first = results(repository), seconds(repository)
    hand_in(repository, "bo", ENDLESS.replace("while True", "for _ in [1]"))
    assert run(repository, "--resume")[0] == 0
    resumed = seconds(repository)
    assert [student for student in first if resumed[student] != first[student]] == ["bo"]
    hand_in(repository, "bo")
    assert run(repository, "--student", "bo")[0] == 0
    assert results(repository)["verdicts"] == alone["verdicts"]
    assert {student for student, known in seconds(repository).items() if known != resumed[student]} == {"bo"}
    replace(repository.checks, "multiply by two", "multiply by 2")
    assert run(repository, "--resume", "--jobs", "2")[0] == 0
    changed = results(repository)
    assert all(known != resumed[student] for student, known in seconds(repository).items())
    assert changed["grades"] == alone["grades"]
    assert changed["grades"]["ada"].by_cell["toy-why"] == 1.5
    assert "multiply by 2" in json.dumps(changed["verdicts"]["ada"])


def test_a_second_run_is_refused(repository):
    hand_in(repository, "ada")
    with folder_lock(course(repository.root)):
        status, _, error = run(repository)
    assert (status, error.count("\n")) == (2, 0)
    assert "another run works in" in error


def test_an_interrupt_ends_in_a_sentence_within_seconds(repository):
    for number in range(4):
        hand_in(repository, f"student{number}", before=f"import time; time.sleep({30 * (number > 0)})")
    running = start(repository, "--jobs", "2")
    wait_for(lambda: (course(repository.root) / "feedback" / "student0").exists())
    before = time.monotonic()
    os.killpg(running.pid, signal.SIGINT)
    _, error = running.communicate(timeout=60)
    assert time.monotonic() - before < 10
    assert running.returncode == 2
    assert "Traceback" not in error
    assert "stopped; what is graded stands" in error
    assert list(verdicts(repository)) == ["student0"]
    assert list(read_grades(course(repository.root), repository.name)) == ["student0"]


def test_a_nursery_that_is_killed_costs_time_only(repository):
    for number in range(5):
        hand_in(repository, f"student{number}", before=f"import time; time.sleep({number > 0})")
    running = start(repository, "--jobs", "2")
    wait_for(lambda: verdicts(repository))
    nursery = [process for process in psutil.Process(running.pid).children() if "autograder.nursery" in process.cmdline()]
    nursery[0].kill()
    _, error = running.communicate(timeout=240)
    assert (running.returncode, error.strip()) == (0, "")
    assert {verdict["status"] for verdict in verdicts(repository).values()} == {"graded"}
    assert len(verdicts(repository)) == 5


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (None, "bubblewrap (the program bwrap) is missing"),
        ("echo bubblewrap 0.3.1", "bubblewrap 0.8 or newer is needed, and this is bubblewrap 0.3.1"),
        ('[ "$1" = --version ] && echo bubblewrap 0.11.0 || { echo no namespaces for you >&2; exit 1; }', "no namespaces for you"),
    ],
)
def test_without_a_sandbox_nothing_is_run(repository, tmp_path, program, sentence):
    hand_in(repository, "ada", before="open('/tmp/course-was-here', 'w')")
    programs = tmp_path / "bin"
    programs.mkdir()
    if program:
        (programs / "bwrap").write_text(f"#!/bin/sh\n{program}\n")
        (programs / "bwrap").chmod(0o755)
    status, _, error = run(repository, PATH=str(programs))
    assert (status, error.count("\n")) == (2, 0)
    assert sentence in error
    assert not verdicts(repository)
    assert not Path("/tmp/course-was-here").exists()


@pytest.fixture
def small_disk(repository) -> Iterator[Path]:
    """The course directory on a disk of 2 MB."""
    folder = course(repository.root)
    folder.rename(folder.with_name("moved"))
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False, capture_output=True).returncode:
        pytest.skip("only root can make a small disk")
    try:
        shutil.copytree(folder.with_name("moved"), folder, dirs_exist_ok=True)
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("free", [0, 30_000, 90_000])
def test_a_full_disk_is_named_and_nothing_is_lost(repository, small_disk, free):
    for number in range(4):
        hand_in(repository, f"student{number}")
    room = os.statvfs(small_disk)
    (small_disk / "ballast").write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - free)))
    status, _, error = run(repository)
    assert status == 2, error
    assert error.count("\n") == 0
    assert "space" in error or "full" in error
    (small_disk / "ballast").unlink()
    done = len(verdicts(repository))
    assert run(repository, "--resume")[0] == 0
    assert {verdict["status"] for verdict in verdicts(repository).values()} == {"graded"}
    assert len(read_grades(small_disk, repository.name)) == 4
    assert done < 4
    assert not list(small_disk.rglob(".*.new.ipynb"))


FORSAKEN = """
import os, subprocess
from autograder import sandbox
from autograder.verdict import Limits
start = subprocess.Popen
def started(*given, **named):
    start(*given, **named)
    os._exit(0)
subprocess.Popen = started
sandbox.Room(Limits())
"""


def test_a_room_ends_with_who_made_it_also_where_that_was_at_once(tmp_path):
    """Bubblewrap ends at a status pipe that nobody reads, and its child then waits for ever to be told that it may begin."""
    known = os.environ | {"PYTHONPATH": str(ROOT)}
    for _ in range(8):
        subprocess.run([sys.executable, "-c", FORSAKEN], cwd=tmp_path, env=known, check=True)
    wait_for(lambda: not living(str(tmp_path)), 15)


FAMILY = """
import subprocess, sys, time
from autograder.sandbox import end_descendants
mark, again = sys.argv[1], "import subprocess, sys, time; subprocess.Popen([sys.executable, *sys.argv[1:]]); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", again, "-c", again, "-c", "import time; time.sleep(600)", mark])
subprocess.Popen(["/bin/sh", "-c", f"trap '' TERM; while true; do sleep 0.01; done; {mark}"])
time.sleep(1)
print("started", flush=True)
end_descendants()
time.sleep(600)
"""


def test_a_nursery_ends_all_that_came_from_it_before_itself(tmp_path):
    mark = tmp_path.name
    with subprocess.Popen([sys.executable, "-c", FAMILY, mark], stdout=subprocess.PIPE, cwd=ROOT) as running:
        running.stdout.readline()
        wait_for(lambda: [process.pid for process in living(mark)] == [running.pid], 15)
        running.kill()


OWNER = """
import time
from autograder import sandbox
from autograder.verdict import Limits
room = sandbox.Room(Limits())
print(room._process.pid, room.first, flush=True)
time.sleep(600)
"""


def test_a_room_ends_with_who_made_it():
    running = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    room = [psutil.Process(int(number)) for number in running.stdout.readline().split()]
    assert len(room) == 2
    running.kill()
    running.communicate()
    assert psutil.wait_procs(room, timeout=15)[1] == []
