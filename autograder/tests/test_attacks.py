"""The attack corpus against the grader, and the corpus' runner against graders that are wrong on purpose."""

import ast
import json
from dataclasses import replace
from functools import cache

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from autograder.assemble import assemble, grade_id
from autograder.errors import CourseError
from autograder.intake import read_submission
from autograder.rebuild import rebuild
from autograder.submissions import direct_results, reference_codes
from autograder.tests.attacks import runner
from autograder.tests.attacks.archives import ARCHIVES, problem_of
from autograder.tests.attacks.corpus import FAMILIES, choose
from autograder.tests.attacks.course import FULL, WRONG, build, copied
from autograder.tests.attacks.desk import CORPUS, attack
from autograder.tests.attacks.runner import Outcome, classroom, our_grader, prove_walls, run_corpus
from autograder.verdict import GRADED, MALFORMED, MISSING, TAMPERED, TIMEOUT, Part, Refused, Verdict
from lmkit.check import Result

pytestmark = [pytest.mark.slow, pytest.mark.alone]  # it grades the whole corpus

ISSUE = {  # what the corpus must hold at least, each by three attacks
    "endless loops": ("loops", "loop_in_an_answer", "loop_that_catches_everything", "loop_that_ignores_signals"),
    "memory, disk, output floods": ("floods", "memory_in_an_answer", "disk", "output_without_end"),
    "processes": ("processes", "fork_bomb", "kill_oneself", "exit_at_once", "segmentation_fault", "input_in_a_cell", "orphan"),
    "cells and metadata": ("cells", "deleted_answer", "copied_answer", "renamed_answer", "answer_as_text", "edited_check", "all_backwards"),
    "files": ("files", "no_json", "not_utf8", "format_of_tomorrow", "too_large", "renamed_file", "nothing_at_all",
              "another_notebook_beside", "link_to_the_source", "fifo", "hard_link"),
    "patches": ("patches", "builtins_that_lie", "operators", "torch_testing", "numpy_testing", "asserts_stripped", "display_hook",
                "importer", "modules_beside_the_notebook", "garbage_collector", "frames"),
    "lies": ("liars", "list_equal_to_everything", "equal_to_everything", "tensor_of_another_shape", "endless_list"),
    "reading": ("spies", "notebook_on_disk", "repository", "gradebook", "course_folder", "environment", "process_table"),
    "writing": ("writers", "gradebook_rewritten", "other_submissions", "interpreter"),
    "network": ("network", "internet", "loopback", "abstract_socket", "shared_memory"),
    "forged outputs and scripts": ("outputs", "forged_success", "forged_times", "forged_time", "script_displayed", "script_in_markdown"),
    "ids": ("ids", "option_as_a_name", "two_lines_as_a_name", "quotes_as_a_name"),
    "honest oddities": ("oddities", "warnings_in_answers", "prints", "slow_but_right", "helper_cells", "other_imports",
                        "windows_line_ends", "byte_order_mark", "renamed_file"),
}  # fmt: skip
NO_PYTHON = {"syntax_error_in_a_cell", "syntax_error_in_an_answer", "null_bytes_in_a_cell", "half_a_character", "cells_without_a_source"}


@pytest.fixture(scope="session")
def outcomes() -> dict[str, Outcome]:
    """What the grader makes of the whole corpus."""
    grade = our_grader()
    prove_walls(grade)
    return {outcome.attack.name: outcome for outcome in run_corpus(CORPUS, grade)}


@pytest.mark.parametrize("one", CORPUS, ids=lambda one: f"{one.family}-{one.name}")
def test_attack(one, outcomes):
    outcome = outcomes[one.name]
    assert not outcome.problem, f"{one.sentence} Got: {outcome.got}"


def test_the_corpus_is_whole():
    names = [one.name for one in CORPUS]
    assert len(names) >= 110
    assert len(set(names)) == len(names)
    assert all(one.sentence.endswith((".", "?")) for one in CORPUS)
    for family, *members in ISSUE.values():
        assert sum(one.family == family for one in CORPUS) >= 3
        assert set(members) <= set(names)
    assert {family for family, *_ in ISSUE.values()} == set(FAMILIES)


def test_a_name_or_a_family_is_chosen():
    assert [one.name for one in choose("fork_bomb")] == ["fork_bomb"]
    assert {one.family for one in choose("loops")} == {"loops"}
    with pytest.raises(CourseError, match="no attack and no family 'knights'; the families are "):
        choose("knights")


def test_an_attack_names_exercises_of_the_chapter():
    with pytest.raises(ValueError, match="treble is no exercise"):
        attack(treble=3)


def test_right_and_wrong_answers_of_the_attacked_chapter(tmp_path):
    chapter = build(tmp_path / "repository")
    assembled = assemble(chapter)
    right = direct_results(chapter, assembled.exercises, reference_codes(chapter, assembled))
    wrong = direct_results(chapter, assembled.exercises, WRONG)
    assert {name: sum(result.earned for result in results) for name, results in right.items()} == FULL
    assert {name: [result.passed for result in results] for name, results in wrong.items() if any(one.passed for one in results)} == {}


def test_every_submission_is_written_and_the_code_is_meant(tmp_path):
    transform = cache(TransformerManager().transform_cell)
    with classroom(CORPUS, tmp_path / "repository") as room:
        for seat in room.seats:
            path = room.folder / "submitted" / seat.student / room.chapter.name / "exercises.ipynb"
            if seat.attack.name in NO_PYTHON or not path.is_file() or path.is_symlink() or path.stat().st_nlink > 1:
                continue
            try:
                cells = json.loads(path.read_text(encoding="utf-8-sig"))["cells"]
            except (ValueError, RecursionError, TypeError, KeyError):
                assert seat.attack.family == "files"  # broken on purpose
                continue
            for cell in cells if isinstance(cells, list) else []:
                if isinstance(cell, dict) and cell["cell_type"] == "code":
                    source = "".join(cell["source"]).removeprefix("\ufeff")
                    ast.parse(transform(source).replace("await ", ""))


def test_intake_alone_agrees_on_what_is_no_notebook(tmp_path):
    """Nothing is run here: the statuses that follow from files and cells alone."""
    wrong = {}
    with classroom(CORPUS, tmp_path / "repository") as room:
        release = nbformat.read(room.chapter.release, as_version=4)
        for seat in room.seats:
            try:
                rebuilt = rebuild(read_submission(room.folder, room.chapter.name, seat.student).data, release)
                status = TAMPERED if rebuilt.tampered else GRADED
            except Refused as refused:
                status = refused.status
            meant = set(seat.attack.statuses)
            refusing = meant <= {MALFORMED, MISSING, TAMPERED} and seat.attack.family != "ids"  # ids are refused before intake
            if refusing if status == GRADED else status not in meant:
                wrong[seat.attack.name] = (status, meant)
    assert wrong == {}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("one", ARCHIVES, ids=lambda one: one.name)
def test_an_export_that_attacks(one):
    assert problem_of(one) == "", one.sentence


EXPECTED = {one.name: one for one in CORPUS}
FEW = [EXPECTED[name] for name in ("loop_in_an_answer", "edited_check", "nothing_at_all", "prints")]


def verdict(student: str, chapter, status: str = GRADED, lost: tuple[str, ...] = (), message: str = "", notebook: str = "") -> Verdict:
    """A verdict with full marks but for the exercises that are lost."""
    parts = [Part(grade_id(chapter, name, "visible"), name, False, (Result("check", "check", points, name not in lost, message),))
             for name, points in FULL.items()]  # fmt: skip
    return Verdict(student, chapter.name, status, parts=tuple(parts), notebook=notebook)


def right_grader(chapter, students, folder, limits, report):
    """Gives each what the corpus expects."""
    verdicts = []
    for student in students:
        one = EXPECTED.get(student.partition("-2-")[2])
        if one is None:
            verdicts.append(verdict(student, chapter))
        elif one.graded:
            lost = tuple(name for name in FULL if one.points[name] == 0)
            printed = json.dumps({"cells": [{"outputs": [{"text": one.shows}]}]})
            verdicts.append(verdict(student, chapter, one.statuses[0], lost, notebook=printed))
        else:
            verdicts.append(Verdict(student, chapter.name, one.statuses[0]))
        report(verdicts[-1])
    return verdicts


@pytest.fixture(autouse=True)
def built(tmp_path_factory, monkeypatch):
    """nbgrader makes the release of the attacked course once for all tests here."""
    master = tmp_path_factory.getbasetemp() / "attacked"
    if not master.exists():
        build(master)
    monkeypatch.setattr(runner, "build", lambda root: copied(master, root))


def problems_of(grader) -> dict[str, str]:
    return {outcome.attack.name: outcome.problem for outcome in run_corpus(FEW, grader)}


def test_a_right_grader_has_no_problem():
    seen = []
    outcomes = run_corpus(FEW, right_grader, report=seen.append)
    assert [outcome.problem for outcome in outcomes] == [""] * 4
    assert [outcome.got for outcome in outcomes] == [outcome.expected for outcome in outcomes]
    assert len(seen) == 4 + 5  # the attacks, and a bystander before, between and after them


def changed(change):
    """A grader that grades right, and then does one thing more."""

    def grader(chapter, students, folder, limits, report):
        verdicts = right_grader(chapter, students, folder, limits, report)
        return [change(one, folder) for one in verdicts]

    return grader


def test_a_grader_that_gives_full_marks_is_found_out():
    problems = problems_of(changed(lambda one, folder: verdict(one.student, type("", (), {"name": one.chapter, "module": "attacked"}))))
    assert "the status is graded, not timeout" in problems["loop_in_an_answer"]
    assert "double has 4.0 points, not 0" in problems["edited_check"]
    assert "it has points" in problems["nothing_at_all"]


def test_a_harmed_bystander_is_found_on_both_sides():
    hurt = changed(lambda one, folder: replace(one, status=TIMEOUT) if one.student == "a001-1-bystander" else one)
    problems = problems_of(hurt)
    assert "a001-1-bystander was harmed: timeout" in problems["loop_in_an_answer"]
    assert "a001-1-bystander was harmed" in problems["edited_check"]
    assert problems["prints"] == ""


def test_a_missing_verdict_is_found():
    def grader(*values):
        return right_grader(*values)[:3]

    assert "there is no verdict" in problems_of(grader)["edited_check"]


def test_a_secret_that_came_out_is_found():
    def tell(one, folder):
        told = next(folder.glob("submitted/a000-1-*/*/*.ipynb")).read_text()
        return replace(one, message=told) if "prints" in one.student else one

    problems = problems_of(changed(tell))
    assert "it found the secrets of: student" in problems["prints"]
    assert problems["edited_check"] == ""


def test_a_wall_that_fell_and_a_cell_that_did_not_run_are_found():
    printed = json.dumps({"cells": [{"outputs": [{"text": "wall fell: /etc"}]}]})
    problems = problems_of(changed(lambda one, folder: replace(one, notebook=printed) if "prints" in one.student else one))
    assert "a wall fell: wall fell: /etc" in problems["prints"]
    assert "its outputs do not show 'hello'" in problems["prints"]


def test_a_changed_file_is_found():
    def write(one, folder):
        if "prints" in one.student:
            next(folder.glob("submitted/a000-1-*/*/*.ipynb")).write_text("{}")
        return one

    assert "files were changed" in problems_of(changed(write))["prints"]


def test_a_script_in_the_page_is_found():
    def show(one, folder):
        page = folder / "feedback" / one.student / one.chapter / "exercises.html"
        page.parent.mkdir(parents=True)
        page.write_text("<p><script>attacked()</script>")
        return one

    chosen = [EXPECTED["script_displayed"]]
    assert "the feedback page shows '<script>" in run_corpus(chosen, changed(show))[0].problem


def test_points_out_of_bounds_are_found():
    def raise_points(one, folder):
        parts = tuple(replace(part, results=tuple(replace(result, points=100.0) for result in part.results)) for part in one.parts)
        return replace(one, parts=parts)

    assert "has impossible points" in problems_of(changed(raise_points))["prints"]


def test_nothing_is_run_where_the_probe_meets_no_wall():
    with pytest.raises(CourseError, match=r"the attacks are not run, because a probe .* a harmless submission runs"):
        prove_walls(right_grader)


def test_a_tampered_verdict_may_stand_without_points_where_the_attack_says_so():
    one = EXPECTED["link_to_the_source"]
    assert one.statuses == (TAMPERED,)
    assert not one.graded
