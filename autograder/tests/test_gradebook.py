"""Our grader's gradebook against nbgrader's own: the same rows, nothing of a person lost, nothing half-written."""

import dataclasses
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import time
from datetime import datetime
from pathlib import Path

import nbformat
import pytest
from sqlalchemy.orm import Session

from autograder import autograded, database, nbgrader_api
from autograder.assemble import assemble, grade_id, make_release
from autograder.errors import CourseError
from autograder.gradebook import Records, gradebook, read_grades, record, roster_of, submitted_at
from autograder.layout import Chapter, course
from autograder.submissions import Answers, direct_results, fill, reference_codes
from autograder.tests.postgres import missing, postgres  # noqa: F401  (a fixture)
from autograder.tests.test_assemble import replace
from autograder.verdict import GRADED, MALFORMED, MISSING, Part, Verdict
from lmkit.check import Result

pytestmark = pytest.mark.slow  # for who changes the grader, not for who writes a chapter

WHY = "Because twice is more."
TABLES = ("student", "submitted_assignment", "submitted_notebook", "grade", "comment")


def verdict_on(toy: Chapter, student: str, answered: tuple[str, ...] = ("double", "Counter"), written: str = WHY) -> Verdict:
    """The verdict on a notebook where these exercises are solved and the others blank. written: "" leaves the question blank."""
    assembled = assemble(toy)
    codes = {name: code for name, code in reference_codes(toy, assembled).items() if name in answered}
    notebook = fill(toy, Answers(student, codes))
    why = next(cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == "toy-why")
    why.source = written or why.source
    results = direct_results(toy, assembled.exercises, codes)
    parts = []
    for exercise in assembled.exercises:
        for part in ("visible", "hidden"):
            names, points = getattr(exercise, part), getattr(exercise, f"{part}_points")
            told = tuple(result for result in results.get(exercise.name, []) if result.name in names)
            told = told or (Result("none", "none", points, False, "not written yet"),)
            parts.append(Part(grade_id(toy, exercise.name, part), exercise.name, part == "hidden", told))
    return Verdict(student, toy.name, GRADED, parts=tuple(parts), notebook=nbformat.writes(notebook))


def hand_in(toy: Chapter, verdict: Verdict, student: str = "") -> Path:
    path = course(toy.root) / "submitted" / (student or verdict.student) / toy.name / "exercises.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(verdict.notebook)
    return path


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return tmp_path_factory.mktemp("template")


@pytest.fixture
def released(toy, template):
    """The toy chapter with its release: made once, which takes nbgrader seconds, then copied."""
    if any(template.iterdir()):
        shutil.copytree(template, course(toy.root))
    else:
        make_release([toy])
        shutil.copytree(course(toy.root), template, dirs_exist_ok=True)
    return toy


def by_hand(toy: Chapter, student: str, score: float = 1.5) -> None:
    """What a person does in formgrader: a score and a comment for the written answer, credit on a check cell, a name."""
    with gradebook(course(toy.root)) as book:
        written = book.find_grade("toy-why", "exercises", toy.name, student)
        written.manual_score, written.needs_manual_grade = score, False
        book.find_grade("toy-double-hidden", "exercises", toy.name, student).extra_credit = 0.5
        book.find_comment("toy-why", "exercises", toy.name, student).manual_comment = "Nearly."
        book.find_student(student).first_name = "Ada"
        book.db.commit()


def dump(folder: Path) -> dict[str, list]:
    """All that a course holds: the rows of the gradebook, and the files that grading writes."""
    with sqlite3.connect(folder / "gradebook.db") as connection:
        found = {table: sorted(connection.execute(f"SELECT * FROM {table}"), key=repr) for table in TABLES}
    connection.close()
    files = [path for name in ("autograded", "withdrawn") for path in sorted((folder / name).rglob("*"))]
    return found | {"files": [(str(path.relative_to(folder)), path.read_bytes() if path.is_file() else b"") for path in files]}


def meaning(folder: Path, toy: Chapter, student: str) -> dict:
    """Every row of a submission without its made-up ids, and its graded notebook without outputs."""
    with gradebook(folder) as book:
        submission = book.find_submission_notebook("exercises", toy.name, student)
        rows = [row.to_dict() | {"id": None} for row in (*submission.grades, *submission.comments)]
        rest = (submission.assignment.timestamp, submission.late_submission_penalty, submission.flagged, submission.score)
    path = folder / "autograded" / student / toy.name / "exercises.ipynb"
    notebook = nbformat.read(path, as_version=4)
    metadata = [{key: value for key, value in cell.metadata.items() if key != "execution"} for cell in notebook.cells]
    return {
        "rows": sorted(rows, key=lambda row: (len(row), row["name"])),
        "rest": rest,
        "kernel": notebook.metadata.kernelspec,
        "metadata": metadata,
        "mode": stat.S_IMODE(path.stat().st_mode),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("answered", "written"), [(("double", "Counter"), WHY), (("double",), "")])
def test_the_rows_are_those_of_plain_nbgrader(released, tmp_path, answered, written):
    verdict = verdict_on(released, "ada", answered, written)
    ours, plain = tmp_path / "ours", course(released.root)
    (ours / "source" / released.name).mkdir(parents=True)
    (ours / "source" / released.name / "exercises.ipynb").write_text(released.source.read_text())
    nbgrader_api.generate(ours, released.name)
    stamp = hand_in(released, verdict).with_name("timestamp.txt")
    stamp.write_text("2026-03-01 10:00:00.250000 CET\n")
    nbgrader_api.autograde(plain, released.name, "ada")
    record(ours, released.name, verdict, submitted_at(plain, "ada", released.name))
    assert meaning(ours, released, "ada") == meaning(plain, released, "ada")
    record(plain, released.name, verdict, submitted_at(plain, "ada", released.name))  # each over what the other left
    assert meaning(plain, released, "ada") == meaning(ours, released, "ada")
    nbgrader_api.autograde(plain, released.name, "ada")
    assert meaning(plain, released, "ada") == meaning(ours, released, "ada")
    nbgrader_api.feedback(ours, released.name, "ada")
    assert sorted(path.name for path in (ours / "feedback" / "ada" / released.name).iterdir()) == ["exercises.html", "timestamp.txt"]


def test_what_the_gradebook_holds_is_read_back(released):
    folder = course(released.root)
    record(folder, released.name, verdict_on(released, "ada", ("double",)), datetime(2026, 3, 1))
    one = read_grades(folder, released.name)["ada"]
    assert one.by_cell == {"toy-double-visible": 6, "toy-double-hidden": 4, "toy-Counter-visible": 0, "toy-Counter-hidden": 0, "toy-why": 0}
    assert (one.points, one.max_points, one.waiting, one.timestamp) == (10, 20, ("toy-why",), datetime(2026, 3, 1))
    assert one.cells["toy-why"].auto is None
    assert one.comments == {"toy-Counter": "No response."}
    assert [student.id for student in roster_of(folder)] == ["ada"]


def test_recording_again_changes_nothing(released):
    folder, verdict = course(released.root), verdict_on(released, "ada")
    record(folder, released.name, verdict, datetime(2026, 3, 1))
    by_hand(released, "ada")
    before = dump(folder)
    record(folder, released.name, verdict, datetime(2026, 3, 1))
    assert dump(folder) == before


def test_what_a_person_gave_survives_and_waits_again_where_the_answer_changed(released):
    folder = course(released.root)
    record(folder, released.name, verdict_on(released, "ada"))
    by_hand(released, "ada")
    record(folder, released.name, verdict_on(released, "ada", ("double",)))  # other code, the same written answer
    one = read_grades(folder, released.name)["ada"]
    assert (one.cells["toy-why"].manual, one.comments["toy-why"], one.first_name, one.points) == (1.5, "Nearly.", "Ada", 12)
    assert one.waiting == ()
    record(folder, released.name, verdict_on(released, "ada", ("double",), written="Another reason."))
    one = read_grades(folder, released.name)["ada"]
    assert (one.cells["toy-why"].manual, one.comments["toy-why"], one.points) == (1.5, "Nearly.", 12)
    assert one.waiting == ("toy-why",)
    record(folder, released.name, verdict_on(released, "ada", ("double",), written="Another reason."))
    assert read_grades(folder, released.name)["ada"].waiting == ("toy-why",)  # still: nobody has looked


def test_a_score_given_in_place_of_a_check_waits_again_where_the_code_changed(released):
    folder = course(released.root)
    record(folder, released.name, verdict_on(released, "ada"))
    with gradebook(folder) as book:
        book.find_grade("toy-Counter-hidden", "exercises", released.name, "ada").manual_score = 2.0
        book.db.commit()
    record(folder, released.name, verdict_on(released, "ada"))
    assert "toy-Counter-hidden" not in read_grades(folder, released.name)["ada"].waiting
    record(folder, released.name, verdict_on(released, "ada", ("double",)))
    one = read_grades(folder, released.name)["ada"]
    assert (one.by_cell["toy-Counter-hidden"], "toy-Counter-hidden" in one.waiting) == (2.0, True)


def test_a_verdict_without_points_makes_no_rows(released):
    folder = course(released.root)
    record(folder, released.name, Verdict("zoe", released.name, MALFORMED, "not JSON"))
    assert read_grades(folder, released.name) == {}
    assert roster_of(folder) == []
    assert not (folder / "autograded" / "zoe").exists()


@pytest.mark.parametrize("status", [MALFORMED, MISSING])
def test_a_file_that_became_ungradable_loses_the_old_automatic_points_and_keeps_a_persons(released, status):
    folder, verdict = course(released.root), verdict_on(released, "ada")
    record(folder, released.name, verdict, datetime(2026, 3, 1))
    by_hand(released, "ada")
    for _ in range(2):
        record(folder, released.name, Verdict("ada", released.name, status))
        one = read_grades(folder, released.name)["ada"]
        assert {cell.auto for cell in one.cells.values()} == {None}
        assert (one.cells["toy-why"].manual, one.comments["toy-why"], len(one.waiting)) == (1.5, "Nearly.", 5)
        assert not (folder / "autograded" / "ada" / released.name).exists()
        assert (folder / "withdrawn" / "ada" / released.name / "exercises.ipynb").exists()
    record(folder, released.name, verdict)
    one = read_grades(folder, released.name)["ada"]
    assert (one.points, one.cells["toy-why"].manual) == (20, 1.5)
    assert "toy-why" in one.waiting


def test_nbgraders_plugin_takes_points_away_for_lateness(released):
    folder = course(released.root)
    with (folder / "nbgrader_config.py").open("a") as settings:
        settings.write('c.LateSubmissionPlugin.penalty_method = "zero"\n')
    with gradebook(folder) as book:
        book.update_or_create_assignment(released.name, duedate="2026-03-01")
    with Records(folder, released.name) as records:
        records.record(verdict_on(released, "ada"), datetime(2026, 3, 2))
        records.record(verdict_on(released, "bo"), datetime(2026, 2, 28))
        grades = records.grades()
    assert [(grades[name].late_penalty, grades[name].points) for name in ("ada", "bo")] == [(18, 0), (0, 18)]


def test_a_persons_settings_in_the_course_directory_stay(released):
    path = course(released.root) / "nbgrader_config.py"
    path.write_text(path.read_text() + "c.CourseDirectory.course_id = 'mine'\n")
    nbgrader_api.link_config(path.parent)
    assert path.read_text().endswith("c.CourseDirectory.course_id = 'mine'\n")
    assert database.course_config(path.parent).CourseDirectory.course_id == "mine"
    path.write_text("c.oops(")
    with pytest.raises(CourseError, match=r"settings .*nbgrader_config\.py cannot be read"):
        read_grades(path.parent, released.name)


def test_a_class_of_forty_takes_seconds(released):
    verdict = verdict_on(released, "ada")
    start = time.perf_counter()
    with Records(course(released.root), released.name) as records:
        for number in range(40):
            records.record(dataclasses.replace(verdict, student=f"s{number}"))
            assert records.grade_of(f"s{number}").points == 18
        assert len(records.grades()) == 40
        assert records.grade_of("nobody") is None
    assert time.perf_counter() - start < 8  # measured: 1.5 s; these machines are shared


# What can go wrong: one sentence, and nothing half-written.


@pytest.fixture
def recorded(released):
    """A class of one, recorded and graded by a person; and a new verdict on her with other points and another answer."""
    record(course(released.root), released.name, verdict_on(released, "ada"), datetime(2026, 3, 1))
    by_hand(released, "ada")
    return released, verdict_on(released, "ada", ("double",), written="Another reason.")


def refused(folder: Path, verdict: Verdict, sentence: str, db_url: str | None = None) -> str:
    """Record a verdict, which must fail with one sentence and change nothing."""
    before = dump(folder)
    with pytest.raises(CourseError, match=sentence) as caught:
        record(folder, verdict.chapter, verdict, datetime(2026, 3, 2), db_url)
    assert dump(folder) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_locked_gradebook_is_waited_for_and_then_named(recorded, monkeypatch):
    toy, verdict = recorded
    folder = course(toy.root)
    monkeypatch.setattr(database, "WAIT", 0.3)
    other = sqlite3.connect(folder / "gradebook.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    start = time.perf_counter()
    refused(folder, verdict, r"gradebook\.db is being written by another program: wait")
    assert 0.3 < time.perf_counter() - start < 4  # SQLite's own patience is 5 s
    other.execute("ROLLBACK")
    other.close()
    record(folder, toy.name, verdict)
    assert read_grades(folder, toy.name)["ada"].points == 12


def test_nobody_writes_between_our_reading_and_our_writing(recorded, monkeypatch):
    toy, verdict = recorded
    folder, refusals = course(toy.root), []

    def meanwhile(*arguments):
        other = sqlite3.connect(folder / "gradebook.db", timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked") as caught:
            other.execute("UPDATE grade SET manual_score = 1")
        refusals.append(caught.value)
        other.close()
        return autograded.released(*arguments)

    monkeypatch.setattr("autograder.gradebook.released", meanwhile)
    record(folder, toy.name, verdict)
    assert len(refusals) == 1


def test_a_damaged_gradebook_is_named(recorded):
    toy, verdict = recorded
    path = course(toy.root) / "gradebook.db"
    path.write_bytes(b"this is no database, and long enough to be read as one" * 100)
    with pytest.raises(CourseError, match=r"the gradebook .*gradebook\.db cannot be used \(file is not a database\): restore it"):
        record(course(toy.root), toy.name, verdict)


def test_a_gradebook_of_another_nbgrader_is_named(recorded):
    toy, verdict = recorded
    folder = course(toy.root)
    for version, sentence in (("282d30a0218e", "is of an older nbgrader.*nbgrader db upgrade"), ("ffffffffffff", "is of a newer nbgrader")):
        with sqlite3.connect(folder / "gradebook.db") as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", [version])
        connection.close()
        refused(folder, verdict, sentence)


def test_a_course_that_was_never_assembled_is_named_and_nothing_is_made(recorded, tmp_path):
    toy, verdict = recorded
    with pytest.raises(CourseError, match=r"there is no gradebook .* yet: make it with python -m autograder assemble"):
        record(tmp_path, toy.name, verdict)
    assert not (tmp_path / "gradebook.db").exists()
    other = dataclasses.replace(verdict, chapter="09_other")
    refused(course(toy.root), other, "does not know 09_other: run python -m autograder assemble 09_other")


def test_a_verdict_on_other_cells_is_refused(recorded):
    toy, verdict = recorded
    first, *rest = verdict.parts
    more = dataclasses.replace(first, results=(*first.results, Result("new", "new", 1, True, "")))
    for parts in (tuple(rest), (dataclasses.replace(first, grade_id="toy-other"), *rest), (more, *rest)):
        told = refused(course(toy.root), dataclasses.replace(verdict, parts=parts), "differ in toy-")
        assert "assemble 01_toy" in told


def test_points_that_are_no_number_are_refused(recorded):
    toy, verdict = recorded
    first, *rest = verdict.parts
    odd = dataclasses.replace(first.results[0], points=float("nan"))
    parts = (dataclasses.replace(first, results=(odd, *first.results[1:])), *rest)
    refused(course(toy.root), dataclasses.replace(verdict, parts=parts), "the verdict on ada")


def test_points_are_never_below_0(recorded):
    toy, verdict = recorded
    first, *rest = verdict.parts
    below = (dataclasses.replace(first.results[0], points=-3), dataclasses.replace(first.results[1], points=9.0, passed=False))
    record(course(toy.root), toy.name, dataclasses.replace(verdict, parts=(dataclasses.replace(first, results=below), *rest)))
    assert read_grades(course(toy.root), toy.name)["ada"].cells["toy-double-visible"].auto == 0


@pytest.fixture
def disk(recorded, tmp_path):
    """The course on a disk of its own of 2 MB."""
    toy, verdict = recorded
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False).returncode:
        missing("a small disk can be mounted by root only")
    try:
        subprocess.run(["cp", "-r", *course(toy.root).iterdir(), folder], check=True)
        yield folder, verdict
    finally:
        subprocess.run(["umount", folder], check=True)


def leave(folder: Path, free: int) -> None:
    """Fill the disk up to some bytes."""
    here = os.statvfs(folder)
    (folder / "filler").write_bytes(bytes(here.f_bavail * here.f_frsize - free))


@pytest.mark.parametrize("free", [0, 4096, 20_000, 150_000])
def test_a_full_disk_is_named_and_the_old_grades_stand(disk, free):
    folder, verdict = disk
    long = nbformat.reads(verdict.notebook, as_version=4)
    long.cells.append(nbformat.v4.new_markdown_cell("a long text " * 20_000))
    leave(folder, free)
    longer = dataclasses.replace(verdict, notebook=nbformat.writes(long))
    for student in ("ada", "bo"):
        refused(folder, dataclasses.replace(longer, student=student), "as its disk is full: make room, then run the command again")
    (folder / "filler").unlink()
    record(folder, verdict.chapter, verdict)
    assert read_grades(folder, verdict.chapter)["ada"].points == 12


def test_a_folder_that_cannot_be_written_is_named(disk):
    folder, verdict = disk
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    refused(folder, verdict, r"cannot be written \(.*\): mend its folder")
    elsewhere = folder.parent / "gradebook.db"
    elsewhere.write_bytes((folder / "gradebook.db").read_bytes())
    told = refused(folder, verdict, r"autograded/ada/01_toy cannot be written \(Read-only file system\)", f"sqlite:///{elsewhere}")
    assert told.endswith("mend its permissions, then run the command again")
    assert read_grades(folder, verdict.chapter, f"sqlite:///{elsewhere}")["ada"].points == 20  # as before


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(function, count: int, only=lambda *_: True):
    """The function, but the process ends at its call number `count` among those that count."""
    calls = []

    def called(*arguments):
        if only(*arguments):
            calls.append(1)
        if len(calls) == count:
            kill()
        return function(*arguments)

    return called


def renames(patch, count: int) -> None:
    patch.setattr(os, "replace", kill_at(os.replace, count, lambda _, place: not Path(place).name.startswith(".")))


MOMENTS = {
    "before the files": lambda patch: patch.setattr(autograded, "write_whole", kill_at(autograded.write_whole, 1)),
    "in a file": lambda patch: patch.setattr(os, "fsync", kill_at(os.fsync, 1)),
    "between the files": lambda patch: patch.setattr(autograded, "write_whole", kill_at(autograded.write_whole, 2)),
    "before the commit": lambda patch: patch.setattr(Session, "commit", lambda _: kill()),
    "after the commit": lambda patch: renames(patch, 1),
    "between the renames": lambda patch: renames(patch, 2),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_who_is_killed_leaves_the_old_grades_or_the_new_ones(recorded, monkeypatch, moment):
    toy, verdict = recorded
    folder = course(toy.root)
    old = read_grades(folder, toy.name)["ada"]
    child = os.fork()
    if child == 0:
        MOMENTS[moment](monkeypatch)
        record(folder, toy.name, verdict, datetime(2026, 3, 2))
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    found = read_grades(folder, toy.name)["ada"]
    record(folder, toy.name, verdict, datetime(2026, 3, 2))
    new = read_grades(folder, toy.name)["ada"]
    assert found in (old, new)
    assert (found == new) == ("renames" in moment or "after" in moment)
    assert (new.points, new.waiting, new.timestamp) == (12, ("toy-why",), datetime(2026, 3, 2))
    assert sorted(path.name for path in (folder / "autograded" / "ada" / toy.name).iterdir()) == ["exercises.ipynb", "timestamp.txt"]


# PostgreSQL


@pytest.mark.slow
def test_grades_in_postgresql_are_those_in_sqlite(released, postgres):  # noqa: F811
    folder, verdict = course(released.root), verdict_on(released, "ada", ("double",))
    with Records(folder, released.name) as records:
        records.record(verdict, datetime(2026, 3, 1))
        wanted = records.grades()
    (folder / "gradebook.db").unlink()
    with pytest.raises(CourseError, match=r"no gradebook postgresql.*\*\*\*@.* yet"):
        read_grades(folder, released.name, postgres)
    (folder / "nbgrader_config.json").write_text(json.dumps({"CourseDirectory": {"db_url": postgres}}))
    nbgrader_api.generate(folder, released.name)
    for _ in range(2):
        with Records(folder, released.name) as records:
            records.record(verdict, datetime(2026, 3, 1))
            assert records.grades() == wanted
    record(folder, released.name, Verdict("ada", released.name, MALFORMED))
    assert len(read_grades(folder, released.name, postgres)["ada"].waiting) == 5
    assert [student.id for student in roster_of(folder)] == ["ada"]
    assert not (folder / "gradebook.db").exists()
    replace(released.exercises, "toy.why", "toy.whence")
    replace(released.written, "## why", "## whence")
    with pytest.raises(CourseError, match="has submissions"):
        make_release([released])


@pytest.mark.slow
def test_a_server_that_cannot_be_used_is_named_without_its_password(released, postgres):  # noqa: F811
    folder = course(released.root)
    wrong = postgres.replace("p%40ss", "secret")
    stopped = wrong.replace(postgres.rpartition(":")[2], "1/postgres")
    for address, sentence in (
        (wrong, "refused the user or the password: mend them in its address"),
        (stopped, r"cannot be reached \(.*refused.*start its server"),
        (wrong.replace("+psycopg2", "+nothing"), "is in a database that is not known here"),
        ("not an address; secret", "the gradebook's address is none"),
    ):
        with pytest.raises(CourseError, match=sentence) as caught:
            read_grades(folder, released.name, address)
        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)
