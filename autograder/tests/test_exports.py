"""Exports: a row for everyone with a status, the layouts of Canvas and Moodle, and no formula for a spreadsheet to run."""

import csv
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder.errors import CourseError
from autograder.exports import LAYOUTS, Row, export, neutralise, restore, rows
from autograder.recorded import CellGrade, Recorded
from autograder.roster import Student
from autograder.verdict import CRASHED, GRADED, MALFORMED, MISSING, Part, Verdict
from lmkit.check import Result

pytestmark = pytest.mark.slow  # for who changes the grader, not for who writes a chapter


def verdict(student, status=GRADED, message=""):
    parts = (
        Part("toy-double-visible", "double", False, (Result("a", "A", 4.0, True, ""),)),
        Part("toy-double-hidden", "double", True, (Result("b", "B", 6.0, False, "no"),)),
    )
    return Verdict(student, "01_toy", status, message, parts=() if status in (MALFORMED, MISSING) else parts)


def record(student, why=None, hidden=0.0):
    cells = {
        "toy-double-visible": CellGrade(4.0, None, 0.0, 4.0, False, False),
        "toy-double-hidden": CellGrade(0.0, hidden or None, 0.0, 6.0, False, False),
        "toy-why": CellGrade(None, why, 0.0, 2.0, why is None, True),
    }
    return Recorded(student, "", "", "", "", None, 0.0, cells)


def written(path, class_, *arguments, **options):
    """The cells of an export, as the csv module reads them."""
    export(class_, path, *arguments, **options)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


GOOD = Row("anna", "Anna", "Löwe", "anna@example.org", "17", GRADED, 11.5, 12.0, False, {"double": 10.0, "why": 1.5})
LOST = Row("ben", "Ben", 'O"Neil, Jr.', "ben@example.org", "18", MALFORMED, None, 12.0, False, {}, "not JSON; ask again")


def test_everyone_on_the_list_and_everyone_graded_has_a_row():
    people = [Student("ben"), Student("anna"), Student("carl")]
    made = rows(people, [verdict("anna"), verdict("ben", MALFORMED, "not JSON"), verdict("guest")],
                {"anna": record("anna", 1.5), "guest": record("guest", 2.0)})  # fmt: skip
    assert [(row.student, row.status, row.points) for row in made] == [
        ("anna", GRADED, 5.5), ("ben", MALFORMED, None), ("carl", MISSING, None), ("guest", GRADED, 6.0)]  # fmt: skip
    assert {row.max_points for row in made} == {12.0}
    assert made[1].message == "not JSON"


def test_points_that_a_person_gave_count_and_those_that_wait_stay_empty():
    changed, waiting = rows([], [verdict("anna"), verdict("ben")], {"anna": record("anna", 1.5, hidden=5.0), "ben": record("ben")})
    assert (changed.by_exercise, changed.points, changed.needs_person) == ({"double": 9.0, "why": 1.5}, 10.5, False)
    assert (waiting.by_exercise, waiting.points, waiting.needs_person) == ({"double": 4.0}, 4.0, True)


def test_no_points_without_a_verdict_or_without_the_gradebook():
    """Neither a number of another program, nor one that lacks what persons gave."""
    foreign, unrecorded = rows([], [verdict("ben")], {"anna": record("anna", 2.0)})
    assert (foreign.points, foreign.status) == (None, MISSING)
    assert (unrecorded.points, unrecorded.status) == (None, GRADED)
    assert "run grade" in foreign.message
    assert "run grade" in unrecorded.message


def test_a_submission_that_became_malformed_loses_the_points_of_the_one_before():
    (row,) = rows([], [verdict("anna", MALFORMED, "not JSON")], {"anna": record("anna", 2.0)})
    assert row.points is None


def test_names_come_from_the_class_list_before_the_gradebook():
    (row,) = rows([Student("anna", "Anna", "Löwe", "a@x", "17")], [verdict("anna")], {"anna": record("anna", 2.0)})
    assert (row.first_name, row.last_name, row.email, row.lms_id) == ("Anna", "Löwe", "a@x", "17")


def test_the_plain_layout_has_a_column_for_each_exercise_and_empty_points_where_there_is_no_grade(tmp_path):
    head, good, lost = written(tmp_path / "a.csv", [GOOD, LOST])
    assert head == ["student", "first_name", "last_name", "status", "points", "max_points", "needs_person", "double", "why", "message"]
    assert good == ["anna", "Anna", "Löwe", "graded", "11.5", "12", "no", "10", "1.5", ""]
    assert lost == ["ben", "Ben", 'O"Neil, Jr.', "malformed", "", "12", "no", "", "", "not JSON; ask again"]


def test_the_canvas_layout_is_the_one_that_its_gradebook_imports(tmp_path):
    head, possible, good, lost = written(tmp_path / "a.csv", [GOOD, LOST], "canvas", "02_ngrams (451)")
    assert head[:6] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "02_ngrams (451)"]
    assert "Current Grade" in head[6], "Canvas skips the column by this name; any other would become an assignment"
    assert possible[:6] == ["    Points Possible", "", "", "", "", "12"]
    assert good == ["Löwe, Anna", "17", "", "anna", "", "11.5", "graded"]
    assert lost == ['O"Neil, Jr., Ben', "18", "", "ben", "", "", "malformed"]


@pytest.mark.parametrize("number", ["12abc", "-12", "١٢", "²", "1.5", ""])
def test_canvas_gets_no_id_that_it_would_read_as_somebody_elses(tmp_path, number):
    assert written(tmp_path / "a.csv", [replace(GOOD, lms_id=number)], "canvas")[2][1] == ""


def test_the_moodle_layout_is_the_one_that_its_grade_import_maps(tmp_path):
    head, good, lost = written(tmp_path / "a.csv", [GOOD, LOST], "moodle", "02_ngrams")
    assert head == ["Username", "Email address", "First name", "Last name", "Status", "Grade", "Maximum Grade", "Feedback comments"]
    assert good == ["anna", "anna@example.org", "Anna", "Löwe", "graded", "11.5", "12", "02_ngrams: graded"]
    assert lost[5] == ""
    assert lost[7] == "02_ngrams: malformed. not JSON; ask again"


def test_moodle_gets_no_column_of_names_with_a_gap(tmp_path):
    """Its grade import gives the points of a row without a name to the student of the row above."""
    head, *_ = written(tmp_path / "a.csv", [GOOD, replace(LOST, email="")], "moodle")
    assert "Email address" not in head
    assert "Username" in head


@pytest.mark.parametrize("layout", ["canvas", "moodle"])
def test_points_that_may_still_grow_are_not_given_to_canvas_or_moodle_unless_told(tmp_path, layout):
    waiting = replace(GOOD, needs_person=True)
    with pytest.raises(CourseError, match=r"1 of 2 students still wait for a person \(anna\)"):
        export([waiting, LOST], tmp_path / "a.csv", layout)
    assert not (tmp_path / "a.csv").exists()
    assert "11.5" in written(tmp_path / "a.csv", [waiting, LOST], layout, partial=True)[-2]


def test_the_plain_layout_says_who_waits(tmp_path):
    assert written(tmp_path / "a.csv", [replace(GOOD, needs_person=True)])[1][6] == "yes"


FORMULAS = ["=1+1", "+1", "-anna", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "'=1", '"=1', "''=1", "=cmd|' /C calc'!A0", "＝1", "＋1",
            "－1", "＠x", "−1", "\ufeff=1", "\u200b=1", "\u202e=1", "“=1", "\xa0-2", "\x00=1", "﹢1", "⁺1"]  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_text_of_an_export_begins_like_a_formula(tmp_path, layout, text):
    hostile = Row(text, text, text, text, text, text, 1.0, 2.0, False, {text: 1.0}, text)
    for line in written(tmp_path / "a.csv", [hostile], layout, text):
        for cell in line:
            assert not cell.lstrip(" \t\r\n").startswith(("=", "+", "-", "@", '"', "＝", "＋", "－", "＠", "−", "“", "\ufeff", "\u200b"))
            assert not any(letter in cell for letter in "\0\n\r\u202e")


@pytest.mark.parametrize("text", FORMULAS)
def test_an_id_like_a_formula_is_recoverable(text):
    assert neutralise(text) == f"'{text}"
    assert restore(neutralise(text)) == text


@given(st.text(st.sampled_from("=+-@'\" \tab1＝"), max_size=6) | st.text(max_size=8))
def test_every_text_is_recoverable_and_no_two_become_one(text):
    assert restore(neutralise(text)) == text


@pytest.mark.parametrize("text", ["anna", "O'Neil", "'quoted'", "anna-lena", "a=b", "1-2", "", "Łukasz", "李", "a@b.org"])
def test_other_text_is_left_alone(text):
    assert neutralise(text) == text


@pytest.mark.parametrize(("points", "expected"), [(-1.5, "-1.5"), (0.0, "0"), (12.0, "12"), (1 / 3, "0.333333"), (1e-9, "0")])
def test_numbers_stay_numbers(tmp_path, points, expected):
    path = tmp_path / "a.csv"
    assert written(path, [replace(GOOD, points=points)])[1][4] == expected
    assert f",{expected}," in path.read_text(encoding="utf-8"), "a number in quotes is text to some programs"


def test_a_long_message_takes_one_line(tmp_path):
    (_, line) = written(tmp_path / "a.csv", [replace(LOST, message="a\nb " * 10_000)])
    assert "\n" not in line[-1]
    assert len(line[-1]) <= 500


def test_names_of_all_kinds_come_back_as_they_were(tmp_path):
    names = ['a,b;c"d', "Ağaoğlu", "👩‍💻", "מרים", "a'b"]
    table = written(tmp_path / "a.csv", [Row(f"s{i}", name) for i, name in enumerate(names)])
    assert [line[1] for line in table[1:]] == names


def test_an_export_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("as it was")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(CourseError, match="No space left on device"):
        export([GOOD], path)
    assert path.read_text() == "as it was"
    assert [one.name for one in tmp_path.iterdir()] == ["a.csv"]


def test_an_unknown_layout_is_refused(tmp_path):
    with pytest.raises(CourseError, match="plain, canvas, moodle"):
        export([GOOD], tmp_path / "a.csv", "excel")


def test_an_empty_class_is_a_header(tmp_path):
    assert [len(written(tmp_path / "a.csv", [], layout)) for layout in LAYOUTS] == [1, 2, 1]


def test_a_stopped_submission_keeps_its_points_and_its_status(tmp_path):
    made = rows([], [verdict("anna", CRASHED, "cell 3 ended Python")], {"anna": record("anna", 2.0)})
    assert written(tmp_path / "a.csv", made)[1] == ["anna", "", "", "crashed", "6", "12", "no", "4", "2", "cell 3 ended Python"]
