"""A toy course for tests: one small chapter in a folder of its own."""

import os
from pathlib import Path
from textwrap import dedent

import pytest

from autograder.assemble import make_release
from autograder.layout import Chapter, course
from autograder.lock import folder_lock

if "PYTEST_XDIST_WORKER" in os.environ:  # tests side by side: processes that each use all cores wait for one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")

for name in ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "COURSE_REPOSITORY"):  # commands would speak in colours, a toy book have buttons
    os.environ.pop(name, None)

HEADER = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---
"""

EXERCISES = (
    HEADER
    + """
# Toy exercises

```{code-cell} ipython3
numbers = [1, 2, 3]
```

## 1.1 Double

Double every number.

```{code-cell} ipython3
:exercise: toy.double
```

## 1.2 A counter

Count up.

```{code-cell} ipython3
:exercise: toy.Counter
```

## 1.3 Why

Why double?

```{code-cell} ipython3
:written: toy.why
```
"""
)

SOLUTIONS = '''
"""A toy chapter."""

import math
from collections.abc import Sequence

Numbers = Sequence[float]
unused = math.pi


def double(numbers: Numbers) -> list[float]:
    """Twice every number."""
    # the reference's own comment
    doubled_by_reference = [2 * number for number in numbers]
    return doubled_by_reference


class Counter:
    """Counts."""

    def __init__(self, start: int = 0):
        self.value_of_counter = start

    def next(
        self,
        step: int = 1,
    ) -> int:
        """Add a step; return the new value."""
        self.value_of_counter += step
        return self.value_of_counter
'''

CHECKS = '''
"""Checks of the toy chapter."""

import numpy as np

from lmkit.check import hidden, visible

_MANY = list(range(5))


def _close(a, b):
    return np.allclose(a, b)


@visible(points=4)
def check_two(double):
    """Two numbers."""
    got = double([1, 2])
    assert list(got) == [2, 4], f"[1, 2] gives {got}, expected [2, 4]: multiply by two"


@visible(points=2)
def check_empty(double):
    assert list(double([])) == [], "an empty list gives an empty list"


@hidden(points=4)
def check_many_numbers(double):
    assert _close(double(_MANY), [2 * number for number in _MANY]), "some numbers are not doubled"


@visible(points=3)
def check_counts(Counter):
    counter = Counter(3)
    assert counter.next() == 4, "after 3 comes 4"


@hidden(points=5)
def check_steps(Counter):
    counter = Counter()
    assert (counter.next(2), counter.next(3)) == (2, 5), "steps add up: 0 + 2 + 3 is 5"
'''

VARIANTS = '''
"""Variants of the toy chapter."""

import numpy as np

from autograder.variant import edited, right, wrong

edited(__name__, "triples", of="double", fails="check_two", says="multiply by two", edits={"2 * number": "3 * number"})
edited(__name__, "squares", of="double", fails="check_two", says="multiply by two", edits={"2 * number": "number ** 2"})


@wrong(of="double", fails="check_empty", says="empty list")
def trips_over_nothing(numbers):
    return [2 * number for number in numbers] if numbers else [0]


@right(of="double")
def with_numpy(numbers):
    return list(2 * np.array(numbers))


edited(__name__, "stands_still", of="Counter", fails="check_counts", says="comes 4", edits={"+= step": "+= 0"})
edited(__name__, "counts_down", of="Counter", fails="check_counts", says="comes 4", edits={"+= step": "-= step"})
edited(__name__, "ignores_step", of="Counter", fails="check_steps", says="add up", edits={"+= step": "+= 1"})


@right(of="Counter")
class OtherName:
    def __init__(self, start=0):
        self.steps = [start]

    def next(self, step=1):
        self.steps.append(step)
        return sum(self.steps)
'''

WRITTEN = """# Answers

## why (2 points)

Because twice as much is better than once, says the model answer.

### Rubric

One point for the model sentence about twice, one for its reason.
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text), encoding="utf-8")


@pytest.fixture
def toy(tmp_path: Path) -> Chapter:
    """A chapter 01_toy with two exercises and a written question, worth 20 points, in a repository of its own."""
    root = tmp_path / "repository"
    chapter = Chapter(root, "01_toy")
    write(chapter.exercises, EXERCISES)
    write(chapter.solutions, SOLUTIONS)
    write(chapter.checks, CHECKS)
    write(chapter.variants, VARIANTS)
    write(chapter.written, WRITTEN)
    return chapter


def make_releases(*wanted: Chapter) -> None:
    """Make releases of this repository's chapters, where they are not as they must be; tests side by side wait for one another."""
    with folder_lock(course(), wait=True):
        make_release(wanted)


@pytest.fixture
def one_thread():
    """For models so small that threads cost more than they bring, above all beside other processes."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
