"""Proves the checks: every reference and right variant passes, every wrong one fails where it must, also across the bridge."""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import nbformat

from autograder.assemble import Assembled, Exercise, assemble, grade_id
from autograder.errors import CourseError
from autograder.grade import grade
from autograder.layout import NOTEBOOK, POINTS, Chapter, course, load
from autograder.pool import LocalPool, code_digest
from autograder.sandbox import is_here as sandbox_is_here
from autograder.submissions import (
    Answers,
    checks_of,
    direct_result,
    direct_results,
    fill,
    one_thread,
    quiet,
    reference_codes,
    remember,
    run_ahead,
    variant_code,
)
from autograder.variant import Variant, load_variants
from autograder.verdict import GRADED, Limits, Verdict
from lmkit.cache import write_whole
from lmkit.check import Result, run_checks

WRONG_AT_LEAST, RIGHT_AT_LEAST = 3, 1  # variants of an exercise
VISIBLE_SECONDS, NOTEBOOK_SECONDS = 5.0, 120.0  # what a check cell and a whole notebook may take
LONGEST_MESSAGE = 800  # characters; a student reads no more
PATIENT = replace(Limits(), cell_seconds=150.0, call_seconds=150.0)  # for a slow machine with other work, too


@dataclass(frozen=True)
class Row:
    """One line of the table: what the checks said of one implementation, and what is wrong with that ("" where all is right)."""

    exercise: str
    subject: str  # reference, or the variant's name
    kind: str  # reference, right or wrong
    outcome: str  # what happened, for people
    seconds: float
    problem: str


def prove_checks(chapter: Chapter, report: Callable[[Row], None] = lambda row: None, jobs: int = 1) -> list[Row]:
    """Run every check on the reference and on every variant, directly: the variants in `jobs` processes, or in this one."""
    assembled = assemble(chapter)
    solutions = load(chapter, chapter.solutions)
    variants, reference = load_variants(chapter), reference_codes(chapter, assembled)
    rows: list[Row] = []

    def add(row: Row) -> None:
        rows.append(row)
        report(row)

    known = {exercise.name: exercise for exercise in assembled.exercises}
    by_exercise = [variant for name in known for variant in variants if variant.exercise == name]
    codes = {variant: reference | {variant.exercise: variant_code(reference[variant.exercise], variant)} for variant in by_exercise}
    asked = [(known[variant.exercise], codes[variant]) for variant in by_exercise]
    seconds = run_ahead(chapter, asked, jobs) if jobs > 1 else iter(())
    for variant in variants:
        if variant.exercise not in known:
            add(Row(variant.exercise, variant.name, _kind(variant), "not run", 0.0, f"{variant.exercise} is no exercise of {chapter.name}"))
    for exercise in assembled.exercises:
        checks = checks_of(chapter, exercise)
        row, results = _judge_reference(exercise, getattr(solutions, exercise.name), checks)
        remember(chapter, exercise, reference, results)  # its cell is the same code: the solved notebook must earn as much
        add(row)
        mine = [variant for variant in variants if variant.exercise == exercise.name]
        for variant in mine:
            start = time.perf_counter()
            elsewhere = next(seconds, None)
            results = direct_result(chapter, exercise, codes[variant])
            add(_judge_variant(exercise, variant, results, elsewhere or time.perf_counter() - start))
        for kind, least in (("wrong", WRONG_AT_LEAST), ("right", RIGHT_AT_LEAST)):
            have = sum(_kind(variant) == kind for variant in mine)
            if have < least:
                problem = f"has {have} {kind} variants; at least {least} are needed"
                add(Row(exercise.name, "variants", kind, f"{have} of them", 0.0, problem))
    return rows


def is_proven(chapter: Chapter) -> bool:
    """Whether `remember_proof` was called when everything that the checks' proof depends on was as it is now."""
    path = _proof_file(chapter)
    return path.exists() and path.read_text(encoding="utf-8") == _proof_digest(chapter)


def remember_proof(chapter: Chapter) -> None:
    """Note that all rows of `prove_checks` were as they must be."""
    write_whole(_proof_file(chapter), _proof_digest(chapter))


def _proof_file(chapter: Chapter) -> Path:
    return course(chapter.root) / "proven" / f"{chapter.name}.sha256"


def _proof_digest(chapter: Chapter) -> str:
    digest = hashlib.sha256(code_digest().encode())
    for path in (chapter.exercises, chapter.solutions, chapter.checks, chapter.variants):
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def _kind(variant: Variant) -> str:
    return "right" if variant.right else "wrong"


def _judge_reference(exercise: Exercise, subject: object, checks: list) -> tuple[Row, list[Result]]:
    start, busy = time.perf_counter(), time.process_time()
    with quiet():
        results = run_checks(subject, [check for check in checks if not check.hidden])
        visible_seconds = time.process_time() - busy  # of the processor: other work on the machine does not count
        results += run_checks(subject, [check for check in checks if check.hidden])
    failed = [result for result in results if not result.passed]
    problem = f"fails {failed[0].name}: {failed[0].message}" if failed else ""
    if not problem and visible_seconds > 2 * VISIBLE_SECONDS:  # twice the budget: some machines are slow
        problem = f"its visible checks took {visible_seconds:.1f} s; a student should wait {VISIBLE_SECONDS:g} s at most"
    outcome = f"passes {len(results) - len(failed)} of {len(results)} checks, visible ones in {visible_seconds:.1f} s"
    return Row(exercise.name, "reference", "reference", outcome, time.perf_counter() - start, problem), results


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
    too_long = [result for result in results if len(result.message) > LONGEST_MESSAGE]
    if not problem and too_long:
        problem = f"the message of {too_long[0].name} has {len(too_long[0].message)} characters; at most {LONGEST_MESSAGE} help"
    outcome = "passes" if first is None else f"fails {first.name}: {first.message}"
    return Row(exercise.name, variant.name, _kind(variant), outcome, seconds, problem)


@dataclass(frozen=True)
class NotebookRow:
    """A submission graded as a student's, beside what it must score."""

    student: str
    expected: float
    points: float | None
    seconds: float
    problem: str


def planned_answers(chapter: Chapter, assembled: Assembled, every: bool = False) -> list[Answers]:
    """A solved, a blank and a half-solved notebook, and as many as it takes to hand in the variants.

    The exercises of a notebook are independent, so notebook number i holds variant number i of every exercise. Of each exercise the
    first WRONG_AT_LEAST wrong and RIGHT_AT_LEAST right variants are handed in, or `every` one.
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
    if not every:
        by_exercise = {name: _handed_in(mine) for name, mine in by_exercise.items()}
    for i in range(max(len(mine) for mine in by_exercise.values())):
        codes = {name: variant_code(reference[name], mine[i]) for name, mine in by_exercise.items() if i < len(mine)}
        plans.append(Answers(f"variants-{i + 1}", codes, trying=False))
    return plans


def _handed_in(variants: list[Variant]) -> list[Variant]:
    wrong, right = ([variant for variant in variants if variant.right is is_right] for is_right in (False, True))
    return wrong[:WRONG_AT_LEAST] + right[:RIGHT_AT_LEAST]


def prove_notebooks(
    chapter: Chapter, report: Callable[[NotebookRow], None] = lambda row: None, jobs: int = 2, every: bool = False
) -> list[NotebookRow]:
    """Grade the planned notebooks as a class's, in a course directory of their own, and compare them with direct calls.

    every: as for `planned_answers`.
    A notebook must earn in every cell what its code earns when its checks are called directly; each check says the same.
    """
    assembled = assemble(chapter)
    plans = {plan.student: plan for plan in planned_answers(chapter, assembled, every)}
    rows = []
    with tempfile.TemporaryDirectory() as scratch, LocalPool(jobs) as pool:
        folder = Path(scratch)
        new_course(chapter, folder)
        for plan in plans.values():
            submit(fill(chapter, plan), folder, plan.student, chapter)

        def compare(verdict: Verdict) -> None:
            rows.append(_compare(chapter, assembled, plans[verdict.student], verdict, folder))
            report(rows[-1])

        grade(chapter, plans, folder, limits=PATIENT, pool=pool, sandboxed=sandbox_is_here(), report=compare)
    return sorted(rows, key=lambda row: list(plans).index(row.student))


@dataclass(frozen=True)
class Proof:
    """All that came of proving one chapter's checks. notebooks: none where the proof was quick."""

    chapter: Chapter
    rows: list[Row]
    notebooks: list[NotebookRow]

    @property
    def problems(self) -> int:
        return sum(bool(row.problem) for row in (*self.rows, *self.notebooks))


def prove(
    chapter: Chapter, quick: bool = False, every: bool = False, report: Callable[[object], None] = lambda row: None, jobs: int = 1
) -> Proof:
    """Prove a chapter's checks, directly and, unless `quick`, in notebooks. Its release must have been made.

    every: as for `planned_answers`; report: called with each line of the tables; jobs: how many processes work at once.
    """
    rows = prove_checks(chapter, report, jobs)
    if not any(row.problem for row in rows):
        remember_proof(chapter)
    return Proof(chapter, rows, [] if quick else prove_notebooks(chapter, report, jobs, every))


def prove_all(chapters: Sequence[Chapter], quick: bool = False, every: bool = False, jobs: int = 2) -> Iterator[Proof]:
    """Prove chapters side by side, each by one process after the other of its own work; yields what came of each, in order.

    So no process waits for another: within a chapter, one training would keep all of them waiting at its end.
    """
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=one_thread) as pool:
        running = [pool.submit(prove, chapter, quick, every) for chapter in chapters]
        try:
            for future in running:
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)  # what has not begun: one chapter may have failed to be assembled


def new_course(chapter: Chapter, folder: Path) -> None:
    """Make a course directory with the release of one chapter and no student."""
    from autograder.nbgrader_api import generate

    source = folder / "source" / chapter.name
    source.mkdir(parents=True)
    shutil.copy(chapter.source, source)
    generate(folder, chapter.name)


def _compare(chapter: Chapter, assembled: Assembled, plan: Answers, verdict: Verdict, folder: Path) -> NotebookRow:
    direct = direct_results(chapter, assembled.exercises, plan.codes)
    expected = expected_points(chapter, assembled, plan, direct)
    by_cell = verdict.by_cell
    points = sum(by_cell.values())
    wrong = [] if verdict.status == GRADED else [f"its status is {verdict.status}: {verdict.message}"]
    if plan.written:  # a person gives the written answers their points; the model answer deserves them all
        points += _grade_by_hand(chapter, assembled, plan.student, folder)
        by_cell = by_cell | assembled_written(chapter, assembled)
    wrong += [f"{cell} earned {by_cell.get(cell, 0)}, expected {most:g}" for cell, most in expected.items() if by_cell.get(cell, 0) != most]
    for result in (result for part in verdict.parts for result in part.results):
        mine = next((one for results in direct.values() for one in results if one.name == result.name), None)
        if mine is not None and (mine.passed, mine.message) != (result.passed, result.message):
            wrong.append(f"{result.name} says {result.message!r} across the bridge, and {mine.message!r} when it is called directly")
    if plan.student == "solved" and points != POINTS:
        wrong.append(f"a solved notebook scores {points:g}, not {POINTS:g}")
    if verdict.seconds > 2 * NOTEBOOK_SECONDS:  # twice the budget: these machines are shared
        wrong.append(f"it took {verdict.seconds:.0f} s; a notebook may take {NOTEBOOK_SECONDS:g} s")
    return NotebookRow(plan.student, sum(expected.values()), points, verdict.seconds, "; ".join(wrong))


def expected_points(
    chapter: Chapter, assembled: Assembled, plan: Answers, direct: dict[str, list[Result]] | None = None
) -> dict[str, float]:
    """Grade id -> points that the answers earn when the checks are called directly; all points for a model answer."""
    direct = direct_results(chapter, assembled.exercises, plan.codes) if direct is None else direct
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
