"""Checks for exercises: the two decorators, and the runner that a notebook's check cells call."""

import contextlib
import inspect
import io
import linecache
import math
import os
import sys
import sysconfig
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from traceback import walk_tb
from typing import Any

from lmkit.subject import SubjectGone

Check = Callable[[Any], None]
NOT_DEFINED = "{} is not defined: run the cell above that defines it, and mend the error that it shows, if any"
_OURS = ("lmkit.", "autograder.bridge.", "autograder.checks.")


def visible(points: float) -> Callable[[Check], Check]:
    """Mark a function as a check that students see.   points: finite, at least 0

    The check takes one argument, named after the exercise (a function or a class), and raises AssertionError with a
    message for the student where it fails. Its docstring's first line, or else its name, is its title.
    """
    return _marked(points, hidden=False)


def hidden(points: float) -> Callable[[Check], Check]:
    """Mark a function as a check that runs only when work is graded. Otherwise as `visible`."""
    return _marked(points, hidden=True)


def _marked(points: float, hidden: bool) -> Callable[[Check], Check]:
    if not (isinstance(points, int | float) and math.isfinite(points) and points >= 0):
        raise ValueError(f"points must be a finite number, at least 0, not {points!r}")

    def mark(check: Check) -> Check:
        parameters = list(inspect.signature(check).parameters)
        if len(parameters) != 1:
            raise ValueError(f"{check.__name__} takes {len(parameters)} arguments; a check takes one, named after its exercise")
        check.points, check.hidden, check.exercise = float(points), hidden, parameters[0]
        return check

    return mark


@dataclass(frozen=True)
class Result:
    """What one check said of one subject."""

    name: str  # the check's function name
    title: str  # what a person reads
    points: float  # what the check is worth
    passed: bool
    message: str  # why it failed; empty where it passed

    @property
    def earned(self) -> float:
        return self.points if self.passed else 0.0


def run_checks(subject: object, checks: Sequence[Check]) -> list[Result]:
    """Call every check on the subject, in order; an exception of the subject's code fails its check and no other."""
    return [_run_one(subject, check) for check in checks]


def _run_one(subject: object, check: Check) -> Result:
    message = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            check(subject)
    except AssertionError as error:
        message = str(error) or _explain(error, check)
    except (KeyboardInterrupt, GeneratorExit, SubjectGone):
        raise
    except BaseException as error:  # also SystemExit: a stray exit() costs one check, not the cell
        message = _explain(error, check)
    return Result(check.__name__, _title(check), check.points, not message, message)


def failed(check: Check, message: str) -> Result:
    """The result of a check that could not even run."""
    return Result(check.__name__, _title(check), check.points, False, message)


def _title(check: Check) -> str:
    first_line = (inspect.getdoc(check) or "").partition("\n")[0]
    return first_line.rstrip(".") or check.__name__.removeprefix("check_").replace("_", " ")


def _explain(error: BaseException, check: Check) -> str:
    """What went wrong, and where: in a function of the student's cells, if the error arose there or below it."""
    kind, text = type(error).__name__, str(error)
    short = f"{kind}: {text[:300]}{' …' if len(text) > 300 else ''}" if text else kind
    calls = answer_calls(error, inspect.getfile(check))
    if 'missing the required "forward"' in text:  # torch's words, in a NotImplementedError
        return f"{check.exercise}: its module has no method `forward`; is the name spelt so, and the method inside the class?"
    if not calls:
        if isinstance(error, NotImplementedError):
            return f"{check.exercise} is not written yet"
        if "does not require grad" in text:  # torch's words
            return f"{check.exercise}: the result has no gradient at all: is there a .detach(), a torch.tensor(…) or a no_grad on the way?"
        if isinstance(error, AssertionError):
            return f"{check.__name__} failed"
        return f"{check.exercise} took or returned something that the check could not use ({short})"
    name, line, source = calls[-1]
    if isinstance(error, NotImplementedError):
        return f"{name} is not written yet"
    return f"{name} stopped with {short}{f', in line {line} of its cell: {source}' if source else ''}"


def answer_calls(error: BaseException, check_file: str = "") -> list[tuple[str, int, str]]:
    """The calls on the way to an error that are neither ours, nor a check's, nor a library's: function, line, its source.

    An error that comes from another process brings its own list.
    """
    if (told := getattr(error, "answer_calls", None)) is not None:
        return told
    libraries = (*(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")), "<frozen")
    calls = []
    for frame, line in walk_tb(error.__traceback__):
        module, file = str(frame.f_globals.get("__name__", "")), frame.f_code.co_filename
        if file != check_file and not module.startswith(_OURS) and not file.startswith(libraries):
            calls.append((frame.f_code.co_qualname, line, linecache.getline(file, line).strip()))
    return calls


def run(name: str, namespace: Mapping[str, object], checks: Sequence[Check]) -> float:
    """Run the checks of an exercise in a notebook: print a line per check, return the points earned.

    name: what the exercise asked for; namespace: where it was defined, as a rule `globals()`.
    The result is a finite Python float between 0 and the sum of the checks' points: nbgrader reads it as partial credit.
    Whatever is written to standard error meanwhile appears on standard output: nbgrader gives 0 to a cell that writes there.
    """
    with _stderr_on_stdout():
        if namespace.get(name) is None:
            print(NOT_DEFINED.format(name))
            return 0.0
        results = run_checks(namespace[name], checks)
        print(report(results))
    return min(float(sum(result.earned for result in results)), float(sum(result.points for result in results)))


def report(results: Sequence[Result]) -> str:
    """What a check cell prints: a line a check, the message where it failed, and the points."""
    earned, total = float(sum(result.earned for result in results)), float(sum(result.points for result in results))
    return "\n".join([*map(_line, results), f"{earned:g} of {_points(total)}"])


def _points(number: float) -> str:
    return f"{number:g} point{'' if number == 1 else 's'}"


def _line(result: Result) -> str:
    worth = _points(result.points)
    if result.passed:
        return f"✔ passed  {result.title}  ({worth})"
    margin = " " * 10
    lines = textwrap.wrap(
        result.message, 100, initial_indent=margin, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join([f"✘ failed  {result.title}  ({worth})", *lines])


@contextlib.contextmanager
def _stderr_on_stdout() -> Iterator[None]:
    """Send Python's standard error to standard output, and drop what other code writes to file descriptor 2."""
    notebook_stream = sys.stderr if hasattr(sys.stderr, "_flush") and hasattr(sys.stderr, "name") else None
    saved = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        with _renamed(notebook_stream), contextlib.redirect_stderr(sys.stdout):
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)


@contextlib.contextmanager
def _renamed(stream: io.TextIOBase | None) -> Iterator[None]:
    """Label a notebook's standard error as standard output: a logging handler made earlier still holds that stream."""
    if stream is None:
        yield
        return
    stream.flush()
    name, stream.name = stream.name, "stdout"
    try:
        yield
    finally:
        stream.flush()
        stream.name = name
