"""Makes submissions from a release notebook: solved, blank, half solved, or filled with variants."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import nbformat
from nbformat import NotebookNode

from autograder.assemble import Assembled, Exercise, grade_id, read_written
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
    sources = {cell.metadata["nbgrader"]["grade_id"]: cell.source for cell in assembled.notebook.cells if "nbgrader" in cell.metadata}
    return {exercise.name: sources[grade_id(chapter, exercise.name)] for exercise in assembled.exercises}


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
    if not answers.trying:
        first = next(i for i, cell in enumerate(notebook.cells) if "nbgrader" in cell.metadata)
        notebook.cells = [c for i, c in enumerate(notebook.cells) if i < first or c.cell_type == "markdown" or "nbgrader" in c.metadata]
    if codes:
        raise CourseError(f"the release of {chapter.name} has no cell {', '.join(sorted(codes))}; assemble it again")
    return notebook


def checks_of(chapter: Chapter, exercise: Exercise) -> list[Check]:
    """An exercise's checks as functions, visible ones first: the order in which the notebook runs them."""
    module = load(chapter, chapter.checks)
    return [getattr(module, name) for name in (*exercise.visible, *exercise.hidden)]


def direct_results(chapter: Chapter, exercises: list[Exercise], codes: Mapping[str, str]) -> dict[str, list[Result]]:
    """Run the answers' cells in one namespace, as a notebook does, and the checks on what they define.

    An exercise without an answer has no results.
    """
    namespace: dict[str, object] = {"__name__": "submission"}
    answered = [exercise for exercise in exercises if exercise.name in codes]
    with quiet():
        for exercise in answered:
            exec(compile(codes[exercise.name], f"<{exercise.name}>", "exec"), namespace)
        return {exercise.name: run_checks(namespace[exercise.name], checks_of(chapter, exercise)) for exercise in answered}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what answers print: wrong ones warn and complain, and that is not our output."""
    with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield
