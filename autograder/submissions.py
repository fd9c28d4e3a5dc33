"""Makes submissions from a release notebook: solved, blank, half solved, or filled with variants."""

import contextlib
import linecache
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import nbformat
from nbformat import NotebookNode

from autograder.assemble import GIVEN, Assembled, Exercise, grade_id, read_written
from autograder.errors import CourseError
from autograder.layout import Chapter, load
from autograder.variant import Variant
from lmkit.check import Check, Result, run_checks

_DEFINITION = re.compile(r"^(?:@|def |class )", re.MULTILINE)


@dataclass(frozen=True)
class Answers:
    """What a student hands in."""

    student: str
    codes: Mapping[str, str]  # exercise -> code; absent: left blank
    written: bool = False  # whether the written questions are answered
    trying: bool = True  # whether the cells between the exercises, for trying things out, are still there


def reference_codes(chapter: Chapter, assembled: Assembled) -> dict[str, str]:
    """Exercise -> the reference solution as a notebook cell."""
    return _cells(chapter, assembled.notebook, assembled.exercises)


def _cells(chapter: Chapter, notebook: NotebookNode, exercises: list[Exercise]) -> dict[str, str]:
    """Exercise -> the code in its cell of a notebook."""
    sources = {cell.metadata["nbgrader"]["grade_id"]: cell.source for cell in notebook.cells if "nbgrader" in cell.metadata}
    return {exercise.name: sources[grade_id(chapter, exercise.name)] for exercise in exercises}


def variant_code(reference: str, variant: Variant) -> str:
    """A variant as a notebook cell: what stands above the reference's definition (imports, aliases), then the variant."""
    return reference[: _DEFINITION.search(reference).start()] + variant.code


def fill(chapter: Chapter, answers: Answers) -> NotebookNode:
    """The release notebook with these answers in its solution cells."""
    if not chapter.release.exists():
        raise CourseError(f"{chapter.name} has no release; make it with: python -m autograder assemble {chapter.name}")
    notebook = nbformat.read(chapter.release, as_version=4)
    codes = {grade_id(chapter, name): code for name, code in answers.codes.items()}
    texts = read_written(chapter.written) if answers.written and chapter.written.exists() else {}
    codes |= {grade_id(chapter, slug): written.text for slug, written in texts.items()}
    for cell in notebook.cells:
        identity = cell.metadata.get("nbgrader", {}).get("grade_id")
        cell.source = codes.pop(identity, cell.source)
    if not answers.trying:  # emptied, not deleted: what is deleted, grading restores
        first = next(i for i, cell in enumerate(notebook.cells) if "nbgrader" in cell.metadata)
        for cell in notebook.cells[first:]:
            stays = cell.cell_type == "markdown" or "nbgrader" in cell.metadata or GIVEN in cell.metadata.get("tags", [])
            cell.source = cell.source if stays else ""
    if codes:
        raise CourseError(f"the release of {chapter.name} has no cell {', '.join(sorted(codes))}; assemble it again")
    return notebook


def checks_of(chapter: Chapter, exercise: Exercise) -> list[Check]:
    """An exercise's checks as functions, visible ones first: the order in which the notebook runs them."""
    module = load(chapter, chapter.checks)
    return [getattr(module, name) for name in (*exercise.visible, *exercise.hidden)]


def run_cell(code: str, name: str, namespace: dict[str, object]) -> object:
    """Run an answer's cell in this process; returns what it defines under the exercise's name."""
    file = f"<{name}>"
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)  # an error's message quotes the line
    exec(compile(code, file, "exec"), namespace)
    return namespace[name]


def direct_results(chapter: Chapter, exercises: list[Exercise], codes: Mapping[str, str]) -> dict[str, list[Result]]:
    """Run each answer's cell beside the reference's other definitions, and the checks on what it defines, in this process.

    exercises: all of the chapter. Where an answer uses another exercise's name, it gets what the notebook has there. An
    exercise without an answer has no results. What was run before is remembered: answers and checks do not change.
    """
    cells = all_cells(chapter, exercises, codes)
    return {exercise.name: direct_result(chapter, exercise, cells) for exercise in exercises if exercise.name in codes}


def all_cells(chapter: Chapter, exercises: list[Exercise], codes: Mapping[str, str]) -> dict[str, str]:
    """Exercise -> the code of its cell, in the notebook's order: the answer, else the blank of the release."""
    blank = _cells(chapter, nbformat.read(chapter.release, as_version=4), exercises) if len(codes) < len(exercises) else {}
    return {exercise.name: codes.get(exercise.name, blank.get(exercise.name, "")) for exercise in exercises}


def direct_result(chapter: Chapter, exercise: Exercise, codes: Mapping[str, str]) -> list[Result]:
    """The checks' results on one exercise's answer.   codes: of every exercise, in the notebook's order"""
    key = _key(chapter, exercise, codes)
    if key not in _known:
        with quiet():
            namespace = dict(vars(load(chapter, chapter.solutions)))
            for name in _used(exercise.name, codes):
                defined = run_cell(codes[name], name, namespace)
            _known[key] = run_checks(defined, checks_of(chapter, exercise))
    return _known[key]


def _key(chapter: Chapter, exercise: Exercise, codes: Mapping[str, str]) -> tuple:
    return (*(codes[name] for name in _used(exercise.name, codes)), *checks_of(chapter, exercise))


def _used(name: str, codes: Mapping[str, str]) -> list[str]:
    """The answers that this one uses, in the notebook's order, and it: it stands last."""
    words = set(re.findall(r"\w+", codes[name]))
    above = list(codes)[: list(codes).index(name)]
    used = [other for other in above if other in words]
    return [*dict.fromkeys(one for other in used for one in _used(other, codes)), name]


_known: dict[tuple, list[Result]] = {}


def run_ahead(chapter: Chapter, asked: Sequence[tuple[Exercise, Mapping[str, str]]], jobs: int) -> Iterator[float]:
    """Let `jobs` processes find what `direct_result` will be asked, all of it; yields the seconds that each took, in order.

    Every answer is computed with one thread, as graded answers are; so is what this process computes meanwhile.
    """
    one_thread()
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=one_thread) as pool:
        running = [pool.submit(_timed, chapter, exercise, dict(codes)) for exercise, codes in asked]
        for (exercise, codes), future in zip(asked, running, strict=True):
            results, seconds = future.result()
            remember(chapter, exercise, codes, results)
            yield seconds


def remember(chapter: Chapter, exercise: Exercise, codes: Mapping[str, str], results: list[Result]) -> None:
    """Have `direct_result` return these when it is asked for the same."""
    _known[_key(chapter, exercise, codes)] = results


def one_thread() -> None:
    """Let torch compute in one thread: processes that each use all cores wait for one another."""
    import torch

    torch.set_num_threads(1)


def _timed(chapter: Chapter, exercise: Exercise, codes: Mapping[str, str]) -> tuple[list[Result], float]:
    start = time.perf_counter()
    return direct_result(chapter, exercise, codes), time.perf_counter() - start


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what answers print: wrong ones warn and complain, and that is not our output."""
    with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield
