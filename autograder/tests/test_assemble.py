"""The assembler: what it makes of a chapter, and the sentence it has for each mistake."""

import re

import nbformat
import pytest

from autograder.assemble import assemble, make_release, write_source
from autograder.errors import CourseError
from autograder.layout import chapter, chapters
from autograder.submissions import Answers, fill
from autograder.tests.conftest import EXERCISES, HEADER


def graded(notebook):
    return [cell for cell in notebook.cells if "nbgrader" in cell.metadata]


def replace(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_an_exercise_becomes_a_solution_and_two_graded_cells(toy):
    assembled = assemble(toy)
    cells = graded(assembled.notebook)
    assert [cell.metadata.nbgrader.grade_id for cell in cells] == [
        "toy-double", "toy-double-visible", "toy-double-hidden",
        "toy-Counter", "toy-Counter-visible", "toy-Counter-hidden", "toy-why",
    ]  # fmt: skip
    assert [cell.metadata.nbgrader.get("points") for cell in cells] == [None, 6, 4, None, 3, 5, 2]
    assert all(cell.metadata.nbgrader.schema_version == 3 for cell in cells)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", cell.metadata.nbgrader.grade_id) for cell in cells)
    assert assembled.points == 20
    nbformat.validate(assembled.notebook)


def test_signatures_docstrings_and_used_names_stay_outside_the_markers(toy):
    source = graded(assemble(toy).notebook)[0].source
    outside = re.sub(r"### BEGIN SOLUTION.*?### END SOLUTION", "", source, flags=re.DOTALL)
    for kept in ("from collections.abc import Sequence", "Numbers = Sequence[float]", "def double(", '"""Twice every number."""'):
        assert kept in outside
    assert "the reference's own comment" not in outside
    assert "doubled_by_reference" not in outside
    assert "math" not in source  # a name that the exercise does not use


def test_every_method_of_a_class_is_left_to_the_student(toy):
    source = graded(assemble(toy).notebook)[3].source
    outside = re.sub(r"### BEGIN SOLUTION.*?### END SOLUTION", "", source, flags=re.DOTALL)
    assert source.count("### BEGIN SOLUTION") == 2
    assert "value_of_counter" not in outside
    assert "Add a step" in outside
    compile(source, "cell", "exec")


def test_check_cells_run_by_themselves_and_hold_what_they_use(toy):
    cells = graded(assemble(toy).notebook)
    for subject, visible, hidden in ((cells[0], cells[1], cells[2]), (cells[3], cells[4], cells[5])):
        namespace = {}
        exec(subject.source, namespace)
        exec(visible.source, namespace)
        exec(hidden.source, namespace)
    assert "_close" not in cells[1].source
    assert "_close" in cells[2].source
    assert "_MANY = list(range(5))" in cells[2].source


def test_two_names_of_one_line_bring_it_once(toy):
    replace(toy.checks, "_MANY = list(range(5))", "_MANY, _FEW = list(range(5)), [0]")
    assert graded(assemble(toy).notebook)[2].source.count("_MANY, _FEW = ") == 1


def test_points_stand_in_the_statement(toy):
    statement = next(cell for cell in assemble(toy).notebook.cells if "1.1 Double" in cell.source)
    assert "10 points: 6 by the checks below, 4 by hidden checks" in statement.source


def test_one_method_alone_can_be_the_exercise(toy):
    replace(toy.exercises, ":exercise: toy.Counter", ":exercise: toy.Counter.next")
    source = graded(assemble(toy).notebook)[3].source
    assert source.count("### BEGIN SOLUTION") == 1
    assert "self.value_of_counter = start" in source.partition("### BEGIN SOLUTION")[0]


MISTAKES = {
    "an exercise that solutions lack": (
        lambda toy: replace(toy.exercises, "toy.double", "toy.triple"), "toy.py has no triple, which chapters/01_toy/exercises.md names"),
    "a method that there is not": (
        lambda toy: replace(toy.exercises, "toy.Counter", "toy.Counter.back"), "no method Counter.back"),
    "another chapter's module": (
        lambda toy: replace(toy.exercises, "toy.double", "tow.double"), "must begin with the chapter's own module"),
    "no exercise at all": (
        lambda toy: toy.exercises.write_text(HEADER + "\n# Nothing\n"), "has no exercise"),
    "a header that loses the cells": (
        lambda toy: toy.exercises.write_text(EXERCISES.replace("    extension: .md\n", "")), "lacks `extension: .md`"),
    "points that do not add up": (
        lambda toy: replace(toy.checks, "points=4)\ndef check_two", "points=3)\ndef check_two"),
        "the points add up to 19, not 20 (double 9"),
    "checks of nothing": (
        lambda toy: replace(toy.checks, "def check_steps(Counter)", "def check_steps(Clock)"), "has no hidden check of Counter"),
    "an exercise named twice": (
        lambda toy: toy.exercises.write_text(
            EXERCISES + "\n## 1.4 Again\n\n```{code-cell} ipython3\n:exercise: toy.double\n```\n"), "double stands twice"),
    "a written question without an answer": (
        lambda toy: replace(toy.exercises, "toy.why", "toy.how"), "has no section 'how'"),
    "an answer that no question asks for": (
        lambda toy: replace(toy.written, "# Answers", "# Answers\n\n## how (1 point)\n\nSo.\n"), "answers how, which"),
    "a bad id": (
        lambda toy: [replace(path, "double", "doublé") for path in (toy.exercises, toy.solutions, toy.checks)], "cannot be a grade id"),
    "a heading of an answer without points": (
        lambda toy: replace(toy.written, "## why (2 points)", "## why"), "must read '## slug (2 points)'"),
    "a solution that is not Python": (
        lambda toy: toy.solutions.write_text("def double(:\n"), "solutions/toy.py, line 1, is not valid Python"),
    "a missing module of checks": (
        lambda toy: toy.checks.unlink(), "checks/toy.py is missing"),
    "a helper that no cell defines": (
        lambda toy: [replace(toy.solutions, "class Counter", "def helper(): ...\n\n\nclass Counter"),
                     replace(toy.solutions, "self.value_of_counter = start", "self.value_of_counter = start or helper()")], "uses helper"),
    "a check's helper with a solution's name": (
        lambda toy: replace(toy.checks, "_MANY", "unused"), "unused is a name of the solutions too"),
    "a body on the signature's line": (
        lambda toy: replace(toy.solutions, "start: int = 0):\n        self", "start: int = 0): self"),
        "must start on a line of its own"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_has_its_sentence(toy, mistake):
    make, sentence = MISTAKES[mistake]
    make(toy)
    with pytest.raises(CourseError) as caught:
        assemble(toy)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_exercise_needs_a_heading_of_its_own(toy):
    replace(toy.exercises, "## 1.2 A counter\n\nCount up.\n", "")
    with pytest.raises(CourseError, match="needs a statement of its own"):
        assemble(toy)


def test_a_file_that_would_be_released_by_accident_is_refused(toy):
    write_source(toy)
    (toy.source.parent / "answers.txt").write_text("42")
    with pytest.raises(CourseError, match=r"answers\.txt, which would be released"):
        write_source(toy)


def test_an_unknown_chapter_is_named_with_those_that_there_are(toy):
    with pytest.raises(CourseError, match="chapter 1_toy is unknown; the chapters are 01_toy"):
        chapter("1_toy", toy.root)


def test_a_misnamed_folder_is_an_error(toy):
    (toy.root / "chapters" / "2-toys").mkdir()
    with pytest.raises(CourseError, match="2-toys is no chapter's name"):
        chapters(toy.root)


@pytest.mark.slow
def test_the_release_holds_no_solution_and_is_made_once(toy):
    assert make_release([toy]) == ["01_toy"]
    release = nbformat.read(toy.release, as_version=4)
    text = toy.release.read_text(encoding="utf-8")
    assert text.count("raise NotImplementedError()") == 3
    for secret in ("doubled_by_reference", "value_of_counter", "check_many_numbers", "model answer", "Rubric"):
        assert secret not in text
    assert len(graded(release)) == 7
    before = toy.release.stat().st_mtime_ns, toy.source.read_bytes()
    assert make_release([toy]) == []
    assert (toy.release.stat().st_mtime_ns, toy.source.read_bytes()) == before
    replace(toy.checks, "multiply by two", "take it twice")
    assert make_release([toy]) == ["01_toy"]
    assert "take it twice" in toy.release.read_text(encoding="utf-8")


def test_a_given_cell_stays_where_the_cells_for_trying_are_emptied(toy):
    toy.solutions.write_text(toy.solutions.read_text(encoding="utf-8") + "\n\ndef half(number):\n    return number / 2\n", encoding="utf-8")
    text = toy.exercises.read_text(encoding="utf-8")
    extra = "```{code-cell} ipython3\n:given: toy.half\n```\n\n```{code-cell} ipython3\nprint(half(4))\n```\n\n## 1.2"
    toy.exercises.write_text(text.replace("## 1.2", extra), encoding="utf-8")
    make_release([toy])
    sources = [cell.source for cell in fill(toy, Answers("one", {}, trying=False)).cells]
    assert any("return number / 2" in source for source in sources)
    assert not any("print(half(4))" in source for source in sources)
