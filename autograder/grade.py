"""Grades a class's submissions of one chapter: takes them in, has them judged in parallel, and writes what came of it.

A submission stands in course/submitted/STUDENT/CHAPTER. Only this process writes: for each student first the verdict, as
course/verdicts/STUDENT/CHAPTER.json, then the gradebook and the graded notebook, then the feedback. Each is whole or not
there at all, so a run that was killed goes on with `resume`: a verdict that follows from the same submission, release,
checks and limits is taken, and what it led to is written again.
"""

import ast
import base64
import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, wait
from dataclasses import replace
from pathlib import Path

import nbformat

from autograder import sandbox
from autograder.assemble import assemble, grade_id
from autograder.errors import CourseError
from autograder.intake import read_submission
from autograder.layout import NOTEBOOK, Chapter, course
from autograder.pool import ExecutorPool, LocalPool, code_digest, to_json
from autograder.roster import valid_id
from autograder.verdict import CRASHED, MALFORMED, Job, Limits, Refused, Verdict
from lmkit.cache import write_whole

Report = Callable[[Verdict], None]
Pool = LocalPool | ExecutorPool
_LOOK_SECONDS = 30.0  # without an answer, before the pool looks whether any can come
_TRIES = 3  # how often a submission is judged again after its worker was lost


def students_of(chapter: Chapter, folder: Path | None = None) -> list[str]:
    """Everyone with something in submitted/ for the chapter, in alphabetical order; names that begin with a dot are not looked at."""
    submitted = (folder or course(chapter.root)) / "submitted"
    if not submitted.is_dir():
        return []
    names = sorted(name for name in os.listdir(submitted) if not name.startswith("."))
    return [name for name in names if os.path.lexists(submitted / name / chapter.name) or (submitted / name).is_symlink()]


def grade(
    chapter: Chapter,
    students: Iterable[str],
    folder: Path | None = None,
    *,
    limits: Limits | None = None,
    pool: Pool | None = None,
    sandboxed: bool = True,
    resume: bool = False,
    db_url: str | None = None,
    report: Report = lambda verdict: None,
) -> list[Verdict]:
    """Grade the students' submissions; returns a verdict for each, in the order given.

    folder: the course directory, by default this repository's. Its release must have been made.
    pool: where to judge; by default two processes of this machine.
    resume: take the verdicts of an earlier run that still hold.
    report: called with each verdict when all that follows from it is written.
    Errors: CourseError, for what concerns the whole class; what has been written by then stands.
    """
    from autograder.feedback import write_feedback
    from autograder.gradebook import Records, submitted_at  # takes a second to import

    folder, students = folder or course(chapter.root), list(students)
    if sandboxed and not isinstance(pool, ExecutorPool):
        sandbox.require()
    verdicts: dict[str, Verdict] = {}
    with Records(folder, chapter.name, db_url) as records, contextlib.ExitStack() as stack:
        pool = pool or stack.enter_context(LocalPool(2))

        def write(verdict: Verdict) -> None:
            verdicts[verdict.student] = verdict
            if not _wrong_id(verdict.student):
                _sweep(folder / "verdicts" / verdict.student, folder / "feedback" / verdict.student / chapter.name)
                write_verdict(folder, verdict)
                records.record(verdict, submitted_at(folder, verdict.student, chapter.name))
                write_feedback(folder, chapter.name, verdict, records.grade_of(verdict.student))
            report(verdict)

        taken = _take_in(chapter, folder, students, limits or Limits(), sandboxed, resume)
        for verdict in _judged(taken, pool):
            write(verdict)
    return [verdicts[student] for student in students]


def _take_in(chapter: Chapter, folder: Path, students: list[str], limits: Limits, sandboxed: bool, resume: bool) -> Iterator[Verdict | Job]:
    """For each student the verdict, where there is no need of a judge, or else the job for one. Read when they are asked for."""
    blank = _blank_job(chapter, folder, limits, sandboxed)
    for student in students:
        if why := _wrong_id(student):
            yield Verdict(student, chapter.name, MALFORMED, f"the folder's name {student!r:.120} cannot be a student's id: {why}")
            continue
        try:
            submission = read_submission(folder, chapter.name, student)
        except Refused as refused:
            yield Verdict(student, chapter.name, refused.status, refused.message)
            continue
        job = replace(blank, student=student, submission=base64.b64encode(submission.data).decode(), notes=submission.notes)
        job = replace(job, key=hashlib.sha256((to_json(job) + code_digest()).encode()).hexdigest())
        known = read_verdict(folder, chapter.name, student) if resume else None
        yield known if known is not None and known.key == job.key else job


def _wrong_id(student: str) -> str:
    """Why a folder's name cannot be a student's id; empty where it can."""
    try:
        return "" if valid_id(student) == student else "it would be another name once its letters are composed and its edges trimmed"
    except CourseError as error:
        return str(error)


def _blank_job(chapter: Chapter, folder: Path, limits: Limits, sandboxed: bool) -> Job:
    """What all jobs of a chapter share."""
    path = folder / "release" / chapter.name / f"{NOTEBOOK}.ipynb"
    if not path.exists():
        raise CourseError(f"{chapter.name} has no release; make it with: python -m autograder assemble {chapter.name}")
    release, checks = path.read_text(encoding="utf-8"), chapter.checks.read_text(encoding="utf-8")
    graded = {
        grade_id(chapter, exercise.name, part): (exercise.name, part == "hidden", list(names))
        for exercise in assemble(chapter).exercises
        for part, names in (("visible", exercise.visible), ("hidden", exercise.hidden))
    }
    name = f"autograder.checks.{chapter.module}"
    return Job("", chapter.name, "", release, checks, name, graded, limits, sandboxed, modules=_imports(release, checks))


def _imports(release: str, checks: str) -> tuple[str, ...]:
    """The modules that the handed-out notebook and the checks import: the nursery imports them once for all."""
    cells = [cell.source for cell in nbformat.reads(release, as_version=4).cells if cell.cell_type == "code"]
    found: set[str] = set()
    for source in (*cells, checks):
        with contextlib.suppress(SyntaxError):  # a cell with IPython's own commands
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names if node.module == "lmkit")}
    return tuple(sorted(found - {"__future__"}))


def _judged(taken: Iterator[Verdict | Job], pool: Pool) -> Iterator[Verdict]:
    """The verdicts, as they come. A job whose worker was lost is given to another; after some losses it is the job's fault."""
    again, running, tries = [], {}, Counter()
    while True:
        while len(running) < 2 * pool.size and (job := again.pop() if again else next(taken, None)) is not None:
            if isinstance(job, Verdict):
                yield job
            else:
                running[pool.submit(job)] = job
        if not running:
            return
        lost = False
        done = wait(running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)[0]
        if not done:
            pool.look()
        for future in done:
            job = running.pop(future)
            try:
                yield _believed(future.result(), job)
            except (BrokenExecutor, ConnectionError, CancelledError) as error:
                lost |= isinstance(error, BrokenExecutor)
                tries[job.student] += 1
                if tries[job.student] < _TRIES:
                    again.append(job)
                else:
                    message = "every process that graded it was lost; look at the notebook before you grade it again"
                    yield Verdict(job.student, job.chapter, CRASHED, message, job.notes, key=job.key)
        if lost:  # with it went all that it had, through no fault of theirs
            wait(running)
            again += running.values()
            running.clear()
            pool.renew()


def _believed(text: str, job: Job) -> Verdict:
    """The verdict of a judge, if it is about this job."""
    verdict = Verdict.from_json(text)
    if (verdict.student, verdict.chapter) != (job.student, job.chapter) or verdict.key not in (job.key, ""):
        raise CourseError(f"a judge answered about {verdict.student} in place of {job.student}: are all workers of this version?")
    return verdict


def _sweep(*folders: Path) -> None:
    """Remove what a run that was killed had half written, beside the files that it would have replaced."""
    for leftover in (path for folder in folders for path in folder.glob(".*") if path.is_file()):
        leftover.unlink(missing_ok=True)


def write_verdict(folder: Path, verdict: Verdict) -> None:
    """Keep a verdict in the course directory; it is what `report`, `export` and `--resume` read."""
    write_whole(folder / "verdicts" / verdict.student / f"{verdict.chapter}.json", verdict.to_json())


def read_verdict(folder: Path, chapter: str, student: str) -> Verdict | None:
    """The verdict kept for a student, or None where there is none that can be read."""
    try:
        return Verdict.from_json((folder / "verdicts" / student / f"{chapter}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_verdicts(folder: Path, chapter: str) -> list[Verdict]:
    """The verdicts of everyone who was graded, in alphabetical order."""
    students = sorted(path.parent.name for path in (folder / "verdicts").glob(f"*/{chapter}.json"))
    return [verdict for student in students if (verdict := read_verdict(folder, chapter, student)) is not None]
