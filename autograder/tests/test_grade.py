"""Proof of the checks, the demonstration class, grading and export, on the toy chapter, with the real nbgrader."""

import csv
import os
import subprocess
import sys

import nbformat
import pytest

from autograder import nbgrader_api
from autograder.assemble import assemble, make_release
from autograder.demo import make_class, plan_class
from autograder.errors import CourseError
from autograder.grade import Grade, check_submission, export, grade, refuse_visible_solutions, students_of, whole_class
from autograder.layout import ROOT, course
from autograder.proof import prove_checks, prove_notebooks
from autograder.submissions import Answers, fill, reference_codes
from autograder.tests.test_assemble import replace


def problems(rows):
    return [row.problem for row in rows if row.problem]


def test_the_toy_chapter_is_proven(toy):
    rows = prove_checks(toy)
    assert problems(rows) == []
    assert [row.subject for row in rows if row.kind == "wrong" and row.exercise == "double"] == ["triples", "squares", "trips_over_nothing"]


PROOF_FINDS = {
    "a wrong variant that passes": (
        "variants", '"2 * number": "3 * number"', '"2 * number": "number * 2"', "is wrong, but passes every check"),
    "a wrong variant that fails elsewhere": ("variants", 'fails="check_steps"', 'fails="check_counts"', "fails first at check_steps"),
    "a message that does not name the mistake": ("variants", 'says="empty list"', 'says="no list"', "does not say 'no list'"),
    "a right variant that fails": ("variants", "list(2 * np", "list(3 * np", "is right, but fails check_two"),
    "a reference that fails": ("checks", "== [2, 4]", "== [2, 5]", "fails check_two"),
    "too few wrong variants": ("variants", '@wrong(of="double", fails="check_empty", says="empty list")\n', "", "has 2 wrong variants"),
    "a variant of nothing": ("variants", '@right(of="double")', '@right(of="treble")', "treble is no exercise"),
}


@pytest.mark.parametrize("finding", PROOF_FINDS)
def test_the_proof_finds(toy, finding):
    module, old, new, sentence = PROOF_FINDS[finding]
    replace(getattr(toy, module), old, new)
    assert any(sentence in problem for problem in problems(prove_checks(toy)))


def test_an_edit_must_fit_exactly_once(toy):
    replace(toy.variants, '"2 * number": "3 * number"', '"numbers": "list"')
    with pytest.raises(CourseError, match=r"variant triples: 'numbers' stands \d times in double, not once"):
        prove_checks(toy)


@pytest.mark.slow
def test_whole_notebooks_score_what_their_code_earns(toy):
    make_release([toy])
    rows = {row.student: row for row in prove_notebooks(toy)}
    assert problems(rows.values()) == []
    assert (rows["solved"].points, rows["blank"].points, rows["half"].points) == (20, 0, 10)
    assert len(rows) == 3 + 4


@pytest.mark.slow
def test_a_class_from_demonstration_to_export(toy, tmp_path):
    make_release([toy])
    planned = make_class(toy, 5)
    assert students_of(toy) == sorted(one.student for one in planned)
    make_class(toy, 5)  # the same class again changes nothing
    broken = course(toy.root) / "submitted" / "zoe" / "01_toy" / "exercises.ipynb"
    broken.parent.mkdir(parents=True)
    broken.write_text("this is no notebook")
    seen = []
    grades = grade(toy, students_of(toy), report=seen.append)
    assert seen == grades
    by_student = {one.student: one for one in grades}
    for one in planned:
        assert by_student[one.student].points == one.points
        assert {cell: by_student[one.student].by_cell[cell] for cell in one.by_cell} == one.by_cell
    assert by_student["ada-solved"].needs_person
    assert by_student["zoe"].status == "malformed"
    feedback = course(toy.root) / "feedback"
    assert (feedback / "ada-solved" / "01_toy" / "exercises.html").exists()
    assert not (feedback / "zoe").exists()
    with nbgrader_api.gradebook(course(toy.root)) as book:
        assert "zoe" not in [student.id for student in book.students]
    one_again = grade(toy, ["bo-blank"])
    (course(toy.root) / "submitted" / "zora" / "01_toy").mkdir(parents=True)
    everyone = whole_class(toy, [*one_again, by_student["zoe"]])
    assert everyone[:-1] == grades  # grading one student again takes nobody else out of the export
    assert everyone[-1] == Grade("zora", "ungraded", None, 0.0)
    export(grades, tmp_path / "grades.csv")
    rows = list(csv.DictReader((tmp_path / "grades.csv").open()))
    assert [(row["student"], row["status"]) for row in rows] == [(one.student, one.status) for one in grades]
    assert rows[-1]["points"] == ""  # a submission that was not graded has no points, not 0
    assert rows[0]["toy-double-visible"] == "6"


@pytest.mark.slow
def test_points_given_by_hand_survive_a_regrade(toy):
    make_release([toy])
    make_class(toy, 1)
    assert grade(toy, ["ada-solved"])[0].points == 18
    with nbgrader_api.gradebook(course(toy.root)) as book:
        written = book.find_grade("toy-why", "exercises", "01_toy", "ada-solved")
        written.manual_score, written.needs_manual_grade = 1.5, False
        book.db.commit()
    again = grade(toy, ["ada-solved"])[0]
    assert again.points == 19.5


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
def test_a_damaged_gradebook_is_named(toy):
    make_release([toy])
    make_class(toy, 1)
    (course(toy.root) / "gradebook.db").write_bytes(b"this is no database, and long enough to be read as one" * 100)
    with pytest.raises(CourseError, match=r"the gradebook .*gradebook\.db cannot be used"):
        whole_class(toy, [])


def test_a_notebook_that_lost_its_check_cells_is_not_graded_as_0(toy):
    make_release([toy])
    notebook = fill(toy, Answers("sam", {}))
    path = course(toy.root) / "submitted" / "sam" / "01_toy" / "exercises.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)
    assert check_submission(path, toy.release) == ""
    hidden = next(cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == "toy-double-hidden")
    notebook.cells.append(hidden)
    nbformat.write(notebook, path)
    assert "has them twice (toy-double-hidden)" in check_submission(path, toy.release)
    notebook.cells = [cell for cell in notebook.cells if cell is not hidden]
    nbformat.write(notebook, path)
    assert "lacks cells of the release, or has them twice (toy-double-hidden)" in check_submission(path, toy.release)


@pytest.mark.slow
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
    assert grade(toy, ["loud"])[0].points == 10


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
    ("content", "reason"),
    [
        (None, "there is no exercises.ipynb in sam/01_toy"),
        ("this is no notebook", "exercises.ipynb of sam is not JSON"),
        ('{"cells": 3}', "exercises.ipynb of sam is not a valid notebook"),
        ("[]", "exercises.ipynb of sam is not a valid notebook"),
        ("[" * 200_000, "exercises.ipynb of sam is not"),
        ("\N{ZERO WIDTH NO-BREAK SPACE}{}", "exercises.ipynb of sam is not"),
        ("\xff", "exercises.ipynb of sam is not"),
    ],
)
def test_what_cannot_be_graded_is_told_in_a_sentence(tmp_path, content, reason):
    path = tmp_path / "sam" / "01_toy" / "exercises.ipynb"
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_bytes(content.encode("latin-1" if content == "\xff" else "utf-8"))
    assert check_submission(path).startswith(reason)


def test_grading_refuses_where_a_submission_could_import_the_solutions(monkeypatch):
    refuse_visible_solutions()
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with pytest.raises(CourseError, match="take the repository off PYTHONPATH"):
        refuse_visible_solutions()


def test_an_export_quotes_what_it_must(tmp_path):
    export([Grade('o"neil, pat', "malformed", None, 0.0)], tmp_path / "grades.csv")
    assert next(csv.DictReader((tmp_path / "grades.csv").open()))["student"] == 'o"neil, pat'


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["grade", "2_ngrams"], "chapter 2_ngrams is unknown; the chapters are 02_ngrams"),
        (["grade", "02_ngrams", "--student", "nobody-at-all"], "nobody-at-all has no submission of 02_ngrams"),
        (["check", "ngrams"], "chapter ngrams is unknown"),
    ],
)
def test_a_wrong_command_ends_in_one_sentence_and_status_2(arguments, sentence):
    environment = os.environ | {"NO_COLOR": "1"}
    command = [sys.executable, "-m", "autograder", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
