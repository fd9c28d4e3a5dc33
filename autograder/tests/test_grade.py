"""Proof of the checks, the demonstration class, grading and export, on the toy chapter, with the real nbgrader."""

import csv
import os
import subprocess
import sys

import nbformat
import pytest

from autograder import nbgrader_api, sandbox
from autograder.assemble import assemble, make_release
from autograder.demo import make_class, plan_class
from autograder.errors import CourseError
from autograder.exports import export, rows
from autograder.grade import grade, read_verdicts, students_of
from autograder.gradebook import read_grades, roster_of
from autograder.layout import ROOT, course
from autograder.proof import is_proven, prove_all, prove_checks, remember_proof
from autograder.submissions import Answers, fill, reference_codes
from autograder.tests.test_assemble import replace
from autograder.tests.walls import needs_walls


def problems(rows):
    return [row.problem for row in rows if row.problem]


def test_the_toy_chapter_is_proven(toy):
    rows = prove_checks(toy)
    assert problems(rows) == []
    assert [row.subject for row in rows if row.kind == "wrong" and row.exercise == "double"] == ["triples", "squares", "trips_over_nothing"]


PROOF_FINDS = {
    "a wrong variant that passes": (
        "variants",
        '"2 * number": "3 * number"',
        '"2 * number": "number * 2"',
        "is wrong, but passes every check",
    ),
    "a wrong variant that fails elsewhere": ("variants", 'fails="check_steps"', 'fails="check_counts"', "fails first at check_steps"),
    "a message that does not name the mistake": ("variants", 'says="empty list"', 'says="no list"', "does not say 'no list'"),
    "a right variant that fails": ("variants", "list(2 * np", "list(3 * np", "is right, but fails check_two"),
    "a reference that fails": ("checks", "== [2, 4]", "== [2, 5]", "fails check_two"),
    "too few wrong variants": ("variants", '@wrong(of="double", fails="check_empty", says="empty list")\n', "", "has 2 wrong variants"),
    "a message too long": ("checks", '"an empty list gives an empty list"', '"an empty list gives no list" * 30', "810 characters"),
    "a variant of nothing": ("variants", '@right(of="double")', '@right(of="treble")', "treble is no exercise"),
}


@pytest.mark.parametrize("finding", PROOF_FINDS)
def test_the_proof_finds(toy, finding):
    module, old, new, sentence = PROOF_FINDS[finding]
    replace(getattr(toy, module), old, new)
    assert any(sentence in problem for problem in problems(prove_checks(toy)))


def test_two_processes_find_what_one_finds(toy, monkeypatch):
    told = []
    for jobs in (2, 1):
        monkeypatch.setattr("autograder.submissions._known", {})
        told.append([(row.subject, row.outcome, row.problem) for row in prove_checks(toy, jobs=jobs) if row.kind != "reference"])
    assert told[0] == told[1]


@pytest.mark.parametrize("module", ["exercises", "solutions", "checks", "variants"])
def test_a_proof_holds_until_something_changes_that_it_depends_on(toy, module):
    assert not is_proven(toy)
    remember_proof(toy)
    assert is_proven(toy)
    path = getattr(toy, module)
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert not is_proven(toy)


def test_an_edit_must_fit_exactly_once(toy):
    replace(toy.variants, '"2 * number": "3 * number"', '"numbers": "list"')
    with pytest.raises(CourseError, match=r"variant triples: 'numbers' stands \d times in double, not once"):
        prove_checks(toy)


@pytest.mark.slow
@needs_walls
def test_whole_notebooks_score_what_their_code_earns(toy):
    make_release([toy])
    (proof,) = prove_all([toy], jobs=1)  # in a process of its own, as where several chapters are proven side by side
    rows = {row.student: row for row in proof.notebooks}
    assert proof.problems == 0
    assert (course(toy.root) / "proven" / "01_toy.sha256").exists()
    assert (rows["solved"].points, rows["blank"].points, rows["half"].points) == (20, 0, 10)
    assert len(rows) == 3 + 4


@pytest.mark.slow
@needs_walls
def test_a_class_from_demonstration_to_export(toy, tmp_path):
    make_release([toy])
    folder = course(toy.root)
    planned = make_class(toy, 5)
    assert students_of(toy) == sorted(one.student for one in planned)
    make_class(toy, 5)  # the same class again changes nothing
    broken = folder / "submitted" / "zoe" / "01_toy" / "exercises.ipynb"
    broken.parent.mkdir(parents=True)
    broken.write_text("this is no notebook")
    seen = []
    verdicts = grade(toy, students_of(toy), report=seen.append)
    assert sorted(verdict.student for verdict in seen) == students_of(toy)
    by_student = {verdict.student: verdict for verdict in verdicts}
    for one in planned:
        verdict = by_student[one.student]
        assert verdict.status == "graded"
        assert {cell: verdict.by_cell.get(cell, 0) for cell in one.by_cell} == one.by_cell
    assert by_student["zoe"].status == "malformed"
    recorded = read_grades(folder, toy.name)
    assert {student: record.points for student, record in recorded.items()} == {one.student: one.points for one in planned}
    assert recorded["ada-solved"].needs_person
    assert "zoe" not in recorded
    page = (folder / "feedback" / "zoe" / "01_toy" / "exercises.html").read_text()
    assert "is not JSON" in page
    assert "[2 * number" not in "".join(path.read_text() for path in folder.glob("feedback/bo-blank/*/*.html"))
    grade(toy, ["bo-blank"])  # grading one student again takes nobody else out of the export
    export(rows(roster_of(folder), read_verdicts(folder, toy.name), recorded), tmp_path / "grades.csv")
    table = list(csv.DictReader((tmp_path / "grades.csv").open()))
    assert [(row["student"], row["status"]) for row in table] == [(one.student, one.status) for one in verdicts]
    assert table[-1]["points"] == ""  # a submission that was not graded has no points, not 0
    assert float(table[0]["double"]) == 10


@pytest.mark.slow
@needs_walls
def test_a_room_that_lacks_the_environment_is_found_before_anyone_gets_0(toy, monkeypatch):
    make_release([toy])
    make_class(toy, 1)
    whole = sandbox.readable(())
    at = whole.index(sys.prefix)
    monkeypatch.setattr(sandbox, "readable", lambda hide: whole[: at - 1] + whole[at + 2 :])
    with pytest.raises(CourseError, match=r"students' code does not run here \(ModuleNotFoundError: No module named"):
        grade(toy, ["ada-solved"])
    assert read_verdicts(course(toy.root), toy.name) == []


@pytest.mark.slow
@needs_walls
def test_a_lost_gradebook_is_made_again(toy):
    make_release([toy])
    (course(toy.root) / "gradebook.db").unlink()
    assert make_release([toy]) == ["01_toy"]
    assert make_release([toy]) == []


@pytest.mark.slow
@needs_walls
def test_points_given_by_hand_survive_a_regrade(toy):
    make_release([toy])
    make_class(toy, 1)
    grade(toy, ["ada-solved"])
    assert read_grades(course(toy.root), toy.name)["ada-solved"].points == 18
    with nbgrader_api.gradebook(course(toy.root)) as book:
        written = book.find_grade("toy-why", "exercises", "01_toy", "ada-solved")
        written.manual_score, written.needs_manual_grade = 1.5, False
        book.db.commit()
    grade(toy, ["ada-solved"])
    assert read_grades(course(toy.root), toy.name)["ada-solved"].points == 19.5


@pytest.mark.slow
def test_new_graded_cells_are_refused_before_the_release_is_emptied(toy):
    make_release([toy])
    make_class(toy, 1)
    grade(toy, students_of(toy))
    replace(toy.exercises, "toy.why", "toy.whence")
    replace(toy.written, "## why", "## whence")
    for _ in range(2):  # a refusal is not forgotten
        with pytest.raises(CourseError, match="has submissions, and toy-whence, toy-why would come or go"):
            make_release([toy])
    assert toy.release.exists()


@pytest.mark.slow
def test_submissions_that_nobody_graded_yet_hold_the_cells_too(toy):
    make_release([toy])
    make_class(toy, 1)
    replace(toy.exercises, "toy.why", "toy.whence")
    replace(toy.written, "## why", "## whence")
    with pytest.raises(CourseError, match="has submissions"):
        make_release([toy])


@pytest.mark.slow
def test_a_release_that_failed_is_made_again(toy, monkeypatch):
    def interrupted(course, assignment):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(nbgrader_api, "generate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_release([toy])
    assert make_release([toy]) == ["01_toy"]


def test_an_interrupt_in_nbgrader_stops_the_grading():
    with pytest.raises(KeyboardInterrupt):
        nbgrader_api._must({"success": False, "error": "Traceback …\n  File …\nKeyboardInterrupt\n"}, "autograde")
    told = "Traceback\nValueError: the reason\n[ERROR] There was an error processing assignment 'x'\n"
    error = "nbgrader.NbGraderException: Please see the the above traceback"
    with pytest.raises(CourseError, match="nbgrader failed in autograde: ValueError: the reason"):
        nbgrader_api._must({"success": False, "log": told, "error": error}, "autograde")


@pytest.mark.slow
@needs_walls
def test_warnings_in_a_students_notebook_cost_no_points(toy):
    make_release([toy])
    codes = reference_codes(toy, assemble(toy))
    noise = "import sys, warnings, logging\nlogging.basicConfig()\n"
    loud_line = "    warnings.warn('w'); print('e', file=sys.stderr); logging.error('l')\n"
    loud = noise + codes["double"].replace("    ### BEGIN", loud_line + "    ### BEGIN")
    assert loud.count("logging") == 3
    submission = fill(toy, Answers("loud", {"double": loud}))
    path = course(toy.root) / "submitted" / "loud" / "01_toy" / "exercises.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(submission, path)
    verdict = grade(toy, ["loud"])[0]
    assert (verdict.status, sum(verdict.by_cell.values())) == ("graded", 10)


def test_a_submission_that_differs_is_never_overwritten(toy, tmp_path):
    make_release([toy])
    one = plan_class(toy, 1)[0]
    path = course(toy.root) / "submitted" / one.student / "01_toy" / "exercises.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(CourseError, match="ada-solved has another submission"):
        make_class(toy, 2)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["grade", "2_ngrams"], "chapter 2_ngrams is unknown; the chapters are 01_tokens, 02_ngrams"),
        (["grade", "02_ngrams", "--student", "nobody-at-all"], "nobody-at-all has no submission of 02_ngrams"),
        (["check", "ngrams"], "chapter ngrams is unknown"),
        (["students", "no-such-class.csv"], "no-such-class.csv"),
        (["collect", "no-such-folder", "02_ngrams"], "no-such-folder"),
        (["export", "02_ngrams", "--to", "grades.csv", "--layout", "excel"], "there is no layout 'excel'"),
        (["attacks", "--only", "no-such-attack"], "no-such-attack"),
    ],
)
@pytest.mark.slow
def test_a_wrong_command_ends_in_one_sentence_and_status_2(arguments, sentence):
    environment = os.environ | {"NO_COLOR": "1"}
    command = [sys.executable, "-m", "autograder", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
