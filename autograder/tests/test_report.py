"""The report on a class, and the table that `grade` prints."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from autograder.recorded import CellGrade, Recorded
from autograder.report import render, report, summary_table
from autograder.verdict import CRASHED, GRADED, MALFORMED, MISSING, TIMEOUT, Part, Verdict
from lmkit.check import Result


def part(exercise, hidden=False, **failed):
    """A check cell with the checks a (1 point) and b (3 points); failed: check -> message."""
    results = [Result(name, f"Title {name}", points, name not in failed, failed.get(name, "")) for name, points in (("a", 1.0), ("b", 3.0))]
    return Part(f"toy-{exercise}-{'hidden' if hidden else 'visible'}", exercise, hidden, tuple(results))


def verdict(student, *parts, status=GRADED, **values):
    return Verdict(student, "01_toy", status, parts=parts, **values)


CLASS = [
    verdict("dora", part("double", a="got 3, expected 4"), part("count"), seconds=3.0, peak_bytes=3 << 20),
    verdict("anna", part("double", a="got 15.5, expected 16"), part("count"), seconds=1.0, peak_bytes=9 << 20),
    verdict("ben", part("double", a="None: return it", b="slow"), part("count"), status=TIMEOUT, seconds=60.0),
    verdict("carl", part("double"), part("count")),
    verdict("eve", status=MALFORMED, message="not JSON"),
]


def shown(renderable, width=160):
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(renderable)
    return out.getvalue()


def test_an_exercise_has_its_mean_full_marks_and_failed_checks_by_falling_share():
    double, count = report(CLASS).exercises
    assert (double.exercise, double.submissions, double.mean, double.most, double.full_share) == ("double", 4, 2.5, 4.0, 0.25)
    found = [(one.check, one.title, one.failed, one.share) for one in double.failures]
    assert found == [("a", "Title a", 3, 0.75), ("b", "Title b", 1, 0.25)]
    assert (count.mean, count.full_share, count.failures) == (4.0, 1.0, ())


def test_answers_left_blank_are_counted_apart_from_failed_checks():
    unwritten = {"a": "double is not written yet", "b": "double is not written yet"}
    blank, half = verdict("fay", part("double", **unwritten)), verdict("gil", part("double", **unwritten | {"b": "got 3, expected 4"}))
    (double,) = report([CLASS[3], blank, half]).exercises[:1]
    assert (double.submissions, double.blank) == (3, 1)
    assert [(failure.check, failure.failed, failure.share) for failure in double.failures] == [("a", 1, 0.5), ("b", 1, 0.5)]


def test_messages_that_differ_in_numbers_only_are_one():
    failure = report(CLASS).exercises[0].failures[0]
    assert (failure.message, failure.alike) == ("got 15.5, expected 16", 2)


def test_a_check_of_the_same_name_is_visible_and_hidden_apart():
    (one,) = report([verdict("anna", part("double", a="seen"), part("double", hidden=True, b="unseen"))]).exercises
    assert [(failure.check, failure.hidden, failure.message) for failure in one.failures] == [("a", False, "seen"), ("b", True, "unseen")]
    assert one.most == 8.0


def test_statuses_are_counted_and_the_slowest_and_largest_named():
    made = report(CLASS)
    assert made.statuses == {"graded": 3, "timeout": 1, "malformed": 1}
    assert made.slowest == ("ben", 60.0)
    assert made.largest == ("anna", 9 << 20)


def test_ungraded_submissions_count_in_no_mean():
    assert report([*CLASS, verdict("finn", status=MISSING)]).exercises == report(CLASS).exercises


def test_the_report_does_not_depend_on_the_order_of_verdicts():
    assert report(CLASS) == report(CLASS[::-1])


def test_the_report_is_json():
    made = json.loads(report(CLASS).to_json())
    assert made["exercises"][0]["failures"][0] == {
        "check": "a", "title": "Title a", "hidden": False, "failed": 3, "share": 0.75, "message": "got 15.5, expected 16", "alike": 2,
    }  # fmt: skip


def test_the_report_shows_what_the_class_misunderstood():
    text = shown(render(report(CLASS)))
    for expected in ("3 graded, 1 timeout, 1 malformed", "2.50 of 4", "25%", "75%", "Title a", "got 15.5, expected 16 (2 of 3 say so)",
                     "slowest: ben, 60.0 s", "most memory: anna, 9 MiB"):  # fmt: skip
        assert expected in text


def test_the_report_on_nobody_says_so():
    assert shown(render(report([]))).strip() == "no submissions"
    assert "1 missing" in shown(render(report([verdict("anna", status=MISSING)])))


def test_long_messages_are_bounded():
    loud = verdict("anna", part("double", a="x" * 1_000_000, b="y\n" * 1_000_000))
    assert all(len(failure.message) <= 300 for failure in report([loud]).exercises[0].failures)
    assert len(shown(render(report([loud])))) < 10_000


def recorded(student, points=4.0, waits=False):
    cells = {
        "toy-double-visible": CellGrade(points, None, 0.0, 4.0, False, False),
        "toy-why": CellGrade(None, None if waits else 1.5, 0.0, 2.0, waits, True),
    }
    return Recorded(student, "", "", "", "", None, 0.0, cells)


SEVEN = ("count_ngrams", "add_k_probability", "interpolated_probability", "KneserNey", "perplexity_and_bits", "generate", "LanguageModel")


def test_the_summary_fits_seven_exercises_on_160_columns():
    long = verdict("a-rather-long-student-name-anna-lena", *(part(name) for name in SEVEN), message="cell 12 was stopped after 60 seconds")
    waits = verdict("ben", *(part(name, a="no") for name in SEVEN), status=TIMEOUT)
    lines = shown(summary_table([long, waits], {"ben": recorded("ben", waits=True)})).splitlines()
    assert max(map(len, lines)) <= 160
    assert [line for line in lines if "1" in line and "7" in line and "student" in line], "numbers head the columns of the exercises"
    (ben,) = (line for line in lines if "ben" in line)
    assert [cell.strip() for cell in ben.split("│")[1:-1]] == ["ben", "timeout", *["3"] * 7, "4/6", "a written answer waits for a person"]
    legend = " ".join(" ".join(lines[-3:]).split())
    assert all(f"{i} {name} (4)" in legend for i, name in enumerate(SEVEN, 1))


def test_the_summary_gives_no_points_to_whom_there_is_no_grade_for():
    ungraded = verdict("eve", status=MALFORMED, message="not JSON; ask for the file again")
    text = shown(summary_table([CLASS[3], ungraded], {"carl": recorded("carl"), "eve": recorded("eve", waits=True)}))
    (eve,) = (line for line in text.splitlines() if "eve" in line)
    assert [cell.strip() for cell in eve.split("│")[1:-1]] == ["eve", "malformed", "", "", "", "not JSON; ask for the file again"]
    (carl,) = (line for line in text.splitlines() if "carl" in line)
    assert "5.5/6" in carl


def test_the_summary_works_without_a_gradebook_and_without_anyone():
    assert " 8 " in shown(summary_table([CLASS[3]], {}))
    assert "student" in shown(summary_table([], {}))


STRANGE = ["[red]x[/red]", "[/]", "[link=http://x]y[/link]", "[@click=1]", "\x1b[31mred", "a\u202eb", "\0", "a\nb", "x" * 100_000]


@pytest.mark.parametrize("text", STRANGE, ids=range(len(STRANGE)))
def test_names_and_messages_of_strangers_are_shown_as_text(text):
    bad = replace(verdict(text, part(text, a=text), status=CRASHED, message=text, seconds=1.0, peak_bytes=1), status=text)
    table = shown(summary_table([bad], {}, title=text)) + shown(render(report([bad])))
    assert not any(letter in table for letter in "\x1b\u202e\0")
    assert len(table) < 20_000
    if text.startswith("["):
        assert table.count(text) >= 5
