"""What a class's verdicts say together: how each exercise went, and which checks failed how often, and why."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autograder.plain import one_line
from autograder.recorded import Recorded
from autograder.verdict import GRADED, MALFORMED, MISSING, STATUSES, Part, Verdict

_NUMBER = re.compile(r"\d[\d.,]*")
_FAILED_SHOWN = 8  # failed checks of an exercise in the table; the JSON has them all
_COLOURS = {GRADED: "green", MALFORMED: "red", MISSING: "red"}  # every other status: yellow


@dataclass(frozen=True)
class Failure:
    """A check that some submissions failed."""

    check: str  # its function's name
    title: str
    hidden: bool
    failed: int  # submissions
    share: float  # of the submissions with an answer that it ran on, 0 to 1
    message: str  # an example of the most common one
    alike: int  # how many of the failed submissions got that message, numbers aside


@dataclass(frozen=True)
class ExerciseReport:
    """How a class did in one exercise."""

    exercise: str
    submissions: int
    mean: float  # points
    most: float
    full_share: float  # submissions with full marks, 0 to 1
    blank: int  # submissions without an answer: every check found it not written yet; their failed checks are not counted
    failures: tuple[Failure, ...]  # the most common first


@dataclass(frozen=True)
class Report:
    """How a class did in a chapter. Times in seconds, memory in bytes."""

    statuses: dict[str, int]
    exercises: tuple[ExerciseReport, ...]
    slowest: tuple[str, float] | None  # student and wall time
    largest: tuple[str, int] | None  # student and peak memory

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)


def report(verdicts: Iterable[Verdict]) -> Report:
    """Sum up verdicts of one chapter. Points here are those of the checks; what persons gave stands in the gradebook."""
    verdicts = sorted(verdicts, key=lambda verdict: verdict.student)
    counted = Counter(verdict.status for verdict in verdicts)
    order = [status for status in STATUSES if status in counted] + sorted(set(counted) - set(STATUSES))
    slowest = max(verdicts, key=lambda verdict: verdict.seconds, default=None)
    largest = max(verdicts, key=lambda verdict: verdict.peak_bytes, default=None)
    return Report(
        {status: counted[status] for status in order},
        tuple(_exercise(name, verdicts) for name in _exercises(verdicts)),
        (slowest.student, slowest.seconds) if slowest and slowest.seconds else None,
        (largest.student, largest.peak_bytes) if largest and largest.peak_bytes else None,
    )


def _exercises(verdicts: Iterable[Verdict]) -> list[str]:
    return list(dict.fromkeys(part.exercise for verdict in verdicts for part in verdict.parts))


def _exercise(name: str, verdicts: list[Verdict]) -> ExerciseReport:
    scores = [verdict.by_exercise()[name] for verdict in verdicts if name in verdict.by_exercise()]
    answers = [[part for part in verdict.parts if part.exercise == name] for verdict in verdicts]
    written = [parts for parts in answers if parts and not _blank(parts)]
    return ExerciseReport(
        name,
        len(scores),
        sum(points for points, _ in scores) / len(scores),
        max(most for _, most in scores),
        sum(points >= most for points, most in scores) / len(scores),
        len(scores) - len(written),
        _failures([part for parts in written for part in parts]),
    )


def _blank(parts: list[Part]) -> bool:
    return all(result.message.endswith("is not written yet") for part in parts for result in part.results)


def _failures(parts: list[Part]) -> tuple[Failure, ...]:
    """The failed checks of an exercise, by falling share."""
    results: dict[tuple[bool, str], list] = {}
    for part in parts:
        for result in part.results:
            results.setdefault((part.hidden, result.name), []).append(result)
    failures = []
    for (hidden, check), all_of_it in results.items():
        failed = [result for result in all_of_it if not result.passed]
        if failed:
            message, alike = _most_common([result.message for result in failed])
            title = one_line(failed[0].title, 100)
            failures.append(Failure(check, title, hidden, len(failed), len(failed) / len(all_of_it), message, alike))
    return tuple(sorted(failures, key=lambda failure: -failure.share))


def _most_common(messages: list[str]) -> tuple[str, int]:
    """The first message of the largest group, and the group's size; messages that differ in numbers only are one group."""
    short = [one_line(message, 300) for message in messages]
    groups = Counter(_NUMBER.sub("#", message) for message in short)
    (group, size), *_ = groups.most_common(1)
    return next(message for message in short if _NUMBER.sub("#", message) == group), size


def render(report: Report) -> RenderableType:
    """The report for a terminal: statuses, a table of exercises with their failed checks, the slowest and the largest."""
    table = Table("exercise", "graded", "blank", "mean", "full marks", "failed", "check", "most common message", title_justify="left")
    for one in report.exercises:
        mean = f"{one.mean:.2f} of {one.most:g}"
        head = [Text(one_line(one.exercise, 40)), str(one.submissions), str(one.blank), mean, f"{one.full_share:.0%}"]
        table.add_row(*head, *_failure_cells(one.failures[0]) if one.failures else ("none", "", ""), end_section=len(one.failures) < 2)
        rest = one.failures[1:_FAILED_SHOWN]
        for i, failure in enumerate(rest):
            table.add_row("", "", "", "", "", *_failure_cells(failure), end_section=i == len(rest) - 1)
    lines = [Text(", ".join(f"{count} {one_line(status, 20)}" for status, count in report.statuses.items()) or "no submissions")]
    if report.exercises:
        lines.append(table)
    if report.slowest:
        lines.append(Text(f"slowest: {one_line(report.slowest[0], 60)}, {report.slowest[1]:.1f} s"))
    if report.largest:
        lines.append(Text(f"most memory: {one_line(report.largest[0], 60)}, {report.largest[1] / 2**20:,.0f} MiB"))
    return Group(*lines)


def _failure_cells(failure: Failure) -> tuple[RenderableType, ...]:
    title = Text(f"{failure.title}{' (hidden)' if failure.hidden else ''}")
    alike = f" ({failure.alike} of {failure.failed} say so)" if failure.failed > 1 else ""
    return f"{failure.share:.0%}", title, Text(f"{one_line(failure.message, 160)}{alike}")


def summary_table(verdicts: Iterable[Verdict], recorded: Mapping[str, Recorded], title: str = "") -> RenderableType:
    """What `grade` prints: a line a submission, with its points per exercise, and below it which exercise each number is.

    The total is the gradebook's. The columns of the exercises have numbers for names, so that the table fits on a screen.
    """
    verdicts = list(verdicts)
    exercises = _exercises(verdicts)
    table = Table(title=Text(one_line(title, 100)) if title else None, title_justify="left")
    table.add_column("student", max_width=28, overflow="fold")
    table.add_column("status", no_wrap=True)
    for number in range(1, len(exercises) + 1):
        table.add_column(str(number), justify="right", no_wrap=True)
    table.add_column("total", justify="right", no_wrap=True)
    table.add_column("note", overflow="fold")
    for verdict in verdicts:
        record = recorded.get(verdict.student)
        points = verdict.by_exercise()
        cells = [_number(points[name][0]) if name in points else "" for name in exercises]
        status = Text(one_line(verdict.status, 20), style=_COLOURS.get(verdict.status, "yellow"))
        table.add_row(Text(one_line(verdict.student, 60)), status, *cells, _total(verdict, record), Text(_note(verdict, record)))
    most = {name: points[1] for verdict in verdicts for name, points in verdict.by_exercise().items()}
    legend = [f"{i} {one_line(name, 40)} ({most[name]:g})" for i, name in enumerate(exercises, 1)]
    return Group(table, Text(f"Exercises and their points: {', '.join(legend)}")) if legend else table


def _number(points: float) -> str:
    return f"{round(points, 2):g}"


def _total(verdict: Verdict, record: Recorded | None) -> str:
    """Points of the most that there are; nothing where there is no grade, which is not 0."""
    if not verdict.has_points:
        return ""
    if record is None:
        return _number(sum(verdict.by_cell.values()))
    return f"{_number(record.points)}/{record.max_points:g}"


def _note(verdict: Verdict, record: Recorded | None) -> str:
    written = record is not None and any(cell.written and cell.needs_person for cell in record.cells.values())
    waits = f"{'a written answer' if written else 'something'} waits for a person" if record is not None and record.needs_person else ""
    waits = waits if verdict.has_points else ""
    return "; ".join(part for part in (one_line(verdict.message, 160), waits) if part)
