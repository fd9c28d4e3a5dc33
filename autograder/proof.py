"""Proves the checks: every reference and right variant passes, every wrong one fails where it must, also through nbgrader."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nbformat

from autograder.assemble import Assembled, Exercise, assemble, grade_id
from autograder.errors import CourseError
from autograder.grade import grade
from autograder.layout import NOTEBOOK, POINTS, Chapter, load
from autograder.submissions import Answers, checks_of, direct_results, fill, quiet, reference_codes, variant_code
from autograder.variant import Variant, build, load_variants
from lmkit.cache import write_whole
from lmkit.check import Result, run_checks

WRONG_AT_LEAST, RIGHT_AT_LEAST = 3, 1  # variants of an exercise
VISIBLE_SECONDS, NOTEBOOK_SECONDS = 5.0, 120.0  # what a check cell and a whole notebook may take


@dataclass(frozen=True)
class Row:
    """One line of the table: what the checks said of one implementation, and what is wrong with that ("" where all is right)."""

    exercise: str
    subject: str  # reference, or the variant's name
    kind: str  # reference, right or wrong
    outcome: str  # what happened, for people
    seconds: float
    problem: str


def prove_checks(chapter: Chapter, report: Callable[[Row], None] = lambda row: None) -> list[Row]:
    """Run every check on the reference and on every variant, in this process."""
    assembled = assemble(chapter)
    solutions = load(chapter, chapter.solutions)
    variants = load_variants(chapter)
    rows: list[Row] = []

    def add(row: Row) -> None:
        rows.append(row)
        report(row)

    known = {exercise.name for exercise in assembled.exercises}
    for variant in variants:
        if variant.exercise not in known:
            add(Row(variant.exercise, variant.name, _kind(variant), "not run", 0.0, f"{variant.exercise} is no exercise of {chapter.name}"))
    for exercise in assembled.exercises:
        checks = checks_of(chapter, exercise)
        add(_judge_reference(exercise, getattr(solutions, exercise.name), checks))
        mine = [variant for variant in variants if variant.exercise == exercise.name]
        for variant in mine:
            start = time.perf_counter()
            with quiet():
                results = run_checks(build(variant, solutions), checks)
            add(_judge_variant(exercise, variant, results, time.perf_counter() - start))
        for kind, least in (("wrong", WRONG_AT_LEAST), ("right", RIGHT_AT_LEAST)):
            have = sum(_kind(variant) == kind for variant in mine)
            if have < least:
                problem = f"has {have} {kind} variants; at least {least} are needed"
                add(Row(exercise.name, "variants", kind, f"{have} of them", 0.0, problem))
    return rows


def _kind(variant: Variant) -> str:
    return "right" if variant.right else "wrong"


def _judge_reference(exercise: Exercise, subject: object, checks: list) -> Row:
    start = time.perf_counter()
    with quiet():
        results = run_checks(subject, [check for check in checks if not check.hidden])
        visible_seconds = time.perf_counter() - start
        results += run_checks(subject, [check for check in checks if check.hidden])
    failed = [result for result in results if not result.passed]
    problem = f"fails {failed[0].name}: {failed[0].message}" if failed else ""
    if not problem and visible_seconds > 2 * VISIBLE_SECONDS:  # twice the budget: these machines are shared
        problem = f"its visible checks took {visible_seconds:.1f} s; a student should wait {VISIBLE_SECONDS:g} s at most"
    outcome = f"passes {len(results) - len(failed)} of {len(results)} checks, visible ones in {visible_seconds:.1f} s"
    return Row(exercise.name, "reference", "reference", outcome, time.perf_counter() - start, problem)


def _judge_variant(exercise: Exercise, variant: Variant, results: list[Result], seconds: float) -> Row:
    first = next((result for result in results if not result.passed), None)
    problem = ""
    if variant.right and first is not None:
        problem = f"is right, but fails {first.name}: {first.message}"
    elif not variant.right and first is None:
        problem = f"is wrong, but passes every check; {variant.fails} should fail"
    elif not variant.right and first.name != variant.fails:
        problem = f"fails first at {first.name}, not at {variant.fails}: {first.message}"
    elif not variant.right and variant.says not in first.message:
        problem = f"the message of {first.name} does not say {variant.says!r}: {first.message}"
    outcome = "passes" if first is None else f"fails {first.name}: {first.message}"
    return Row(exercise.name, variant.name, _kind(variant), outcome, seconds, problem)


@dataclass(frozen=True)
class NotebookRow:
    """A submission graded by nbgrader, beside what it must score."""

    student: str
    expected: float
    points: float | None
    seconds: float
    problem: str


def planned_answers(chapter: Chapter, assembled: Assembled) -> list[Answers]:
    """A solved, a blank and a half-solved notebook, and as many as it takes to hand in every variant once.

    The exercises of a notebook are independent, so notebook number i holds variant number i of every exercise.
    """
    reference = reference_codes(chapter, assembled)
    names = [exercise.name for exercise in assembled.exercises]
    plans = [
        Answers("solved", reference, written=True),
        Answers("blank", {}),
        Answers("half", {name: reference[name] for name in names[::2]}),
    ]
    variants = load_variants(chapter)
    by_exercise = {name: [variant for variant in variants if variant.exercise == name] for name in names}
    for i in range(max(len(mine) for mine in by_exercise.values())):
        codes = {name: variant_code(reference[name], mine[i]) for name, mine in by_exercise.items() if i < len(mine)}
        plans.append(Answers(f"variants-{i + 1}", codes, trying=False))
    return plans


def prove_notebooks(chapter: Chapter, report: Callable[[NotebookRow], None] = lambda row: None, jobs: int = 2) -> list[NotebookRow]:
    """Grade the planned notebooks with nbgrader, in course directories of their own, and compare the points.

    A notebook must earn in every cell what its code earns when its checks are called directly.
    """
    rows = []
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(jobs) as pool:
        plans = planned_answers(chapter, assemble(chapter))
        for row in pool.map(_grade_plan, [chapter] * len(plans), plans, [Path(scratch)] * len(plans)):
            rows.append(row)
            report(row)
    return rows


def _new_course(chapter: Chapter, folder: Path) -> None:
    from autograder.nbgrader_api import generate

    source = folder / "source" / chapter.name
    source.mkdir(parents=True)
    shutil.copy(chapter.source, source)
    generate(folder, chapter.name)


def _grade_plan(chapter: Chapter, plan: Answers, scratch: Path) -> NotebookRow:
    folder = scratch / str(os.getpid())  # each worker has a course directory, so that none waits for another's gradebook
    if not folder.exists():
        _new_course(chapter, folder)
    assembled = assemble(chapter)
    expected = expected_points(chapter, assembled, plan)
    submit(fill(chapter, plan), folder, plan.student, chapter)
    start = time.perf_counter()
    result = grade(chapter, [plan.student], folder)[0]
    seconds = time.perf_counter() - start
    if result.points is None:
        return NotebookRow(plan.student, sum(expected.values()), None, seconds, result.message)
    by_cell, points = result.by_cell, result.points
    if plan.written:  # a person gives the written answers their points; the model answer deserves them all
        points += _grade_by_hand(chapter, assembled, plan.student, folder)
        by_cell = by_cell | assembled_written(chapter, assembled)
    wrong = [f"{cell} earned {by_cell.get(cell)}, expected {points:g}" for cell, points in expected.items() if by_cell.get(cell) != points]
    if plan.student == "solved" and points != POINTS:
        wrong.append(f"a solved notebook scores {points:g}, not {POINTS:g}")
    if seconds > 2 * NOTEBOOK_SECONDS:  # twice the budget: these machines are shared
        wrong.append(f"it took {seconds:.0f} s; a notebook may take {NOTEBOOK_SECONDS:g} s")
    return NotebookRow(plan.student, sum(expected.values()), points, seconds, "; ".join(wrong))


def expected_points(chapter: Chapter, assembled: Assembled, plan: Answers) -> dict[str, float]:
    """Grade id -> points that the answers earn when the checks are called directly; all points for a model answer."""
    direct = direct_results(chapter, assembled.exercises, plan.codes)
    expected = {}
    for exercise in assembled.exercises:
        results = direct.get(exercise.name, [])
        for part, names in (("visible", exercise.visible), ("hidden", exercise.hidden)):
            earned = sum(result.earned for result in results if result.name in names)
            expected[grade_id(chapter, exercise.name, part)] = earned
    written = assembled_written(chapter, assembled)
    return expected | {cell: points if plan.written else 0.0 for cell, points in written.items()}


def assembled_written(chapter: Chapter, assembled: Assembled) -> dict[str, float]:
    """Grade id -> points of the written questions."""
    return {grade_id(chapter, slug): points for slug, points in assembled.written.items()}


def submit(notebook: nbformat.NotebookNode, folder: Path, student: str, chapter: Chapter) -> Path:
    """Write a submission into a course directory, where there is none of that student yet."""
    path = folder / "submitted" / student / chapter.name / f"{NOTEBOOK}.ipynb"
    if path.exists():
        raise CourseError(f"{student} has a submission of {chapter.name} already, and it is kept: {path}")
    write_whole(path, nbformat.writes(notebook) + "\n")
    return path


def _grade_by_hand(chapter: Chapter, assembled: Assembled, student: str, folder: Path) -> float:
    """Give the written answers full marks in the gradebook, as a person does in formgrader; return the points given."""
    from autograder.nbgrader_api import gradebook

    given = 0.0
    with gradebook(folder) as book:
        for cell, points in assembled_written(chapter, assembled).items():
            record = book.find_grade(cell, NOTEBOOK, chapter.name, student)
            record.manual_score, record.needs_manual_grade = points, False
            given += points
        book.db.commit()
    return given
