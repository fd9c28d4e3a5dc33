"""The course that is attacked: one small chapter with an exercise of every kind that a check can meet."""

import shutil
from pathlib import Path

from autograder.assemble import make_release
from autograder.layout import Chapter, course
from autograder.tests.attacks.planted import secret
from autograder.tests.conftest import HEADER, write

NAME = "01_attacked"
FULL = {"double": 4.0, "Counter": 4.0, "softmax": 4.0, "Scale": 3.0, "generate": 3.0}  # exercise -> most points; the written question has 2

EXERCISES = (
    HEADER
    + """
# Attacked exercises

```{code-cell} ipython3
numbers = [1, 2, 3]
```
"""
    + "".join(
        f"""
## 1.{i} {name}

Write {name}.

```{{code-cell}} ipython3
:exercise: attacked.{name}
```
"""
        for i, name in enumerate(FULL, 1)
    )
    + """
## 1.6 Why

Why double?

```{code-cell} ipython3
:written: attacked.why
```
"""
)

SOLUTIONS = '''
"""A chapter that is attacked. SOLUTIONS_SECRET"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn


def double(numbers: list[float]) -> list[float]:
    """Twice every number."""
    return [2 * number for number in numbers]


class Counter:
    """Counts."""

    def __init__(self, start: int = 0):
        self.value = start

    def next(self, step: int = 1) -> int:
        """Add a step; return the new value."""
        self.value += step
        return self.value


def softmax(scores: Tensor) -> Tensor:
    """The softmax of the last dimension.   scores: (..., C) -> (..., C)"""
    weights = torch.exp(scores - scores.max(dim=-1, keepdim=True).values)
    return weights / weights.sum(dim=-1, keepdim=True)


class Scale(nn.Module):
    """Multiplies every feature by a weight of its own: a parameter `weight` of shape (C,), ones at first."""

    def __init__(self, C: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(C))

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., C) -> (..., C)"""
        return x * self.weight


def generate(probabilities: Callable[[list[int]], np.ndarray], length: int, generator: np.random.Generator) -> list[int]:
    """Draw `length` tokens with generator.choice, each from the probabilities that follow the tokens so far."""
    tokens: list[int] = []
    for _ in range(length):
        following = probabilities(tokens)
        tokens.append(int(generator.choice(len(following), p=following)))
    return tokens
'''

CHECKS = '''
"""Checks of the chapter that is attacked."""

import numpy as np
import torch

from lmkit.check import hidden, visible

_MANY = list(range(50))  # CHECKS_SECRET


@visible(points=1)
def check_one(double):
    assert double([3]) == [6], "[3] does not give [6]: multiply by two"


@visible(points=1)
def check_two(double):
    assert double([1, 2]) == [2, 4], "[1, 2] does not give [2, 4]: multiply by two"


@hidden(points=2)
def check_many(double):
    mark = "CHECKS_SECRET"
    assert mark and double(list(_MANY)) == [2 * number for number in _MANY], "some of 50 numbers are not doubled"


@visible(points=2)
def check_counts(Counter):
    counter = Counter(3)
    assert counter.next() == 4, "after 3 comes 4"


@hidden(points=2)
def check_steps(Counter):
    counter = Counter()
    assert (counter.next(2), counter.next(3)) == (2, 5), "steps add up: 0 + 2 + 3 is 5"


@visible(points=2)
def check_row(softmax):
    scores = torch.tensor([1.0, 2.0, 4.0])
    torch.testing.assert_close(softmax(scores), torch.softmax(scores, dim=-1))


@hidden(points=2)
def check_batch(softmax):
    scores = torch.linspace(-3, 3, 24).reshape(2, 3, 4)
    assert torch.allclose(softmax(scores), torch.softmax(scores, dim=-1)), "a batch of rows differs from torch.softmax"


@visible(points=1)
def check_weights(Scale):
    module = Scale(3)
    module.load_state_dict({"weight": torch.tensor([1.0, 2.0, 3.0])})
    torch.testing.assert_close(module(torch.tensor([2.0, 2.0, 2.0])).detach(), torch.tensor([2.0, 4.0, 6.0]))


@hidden(points=2)
def check_rows(Scale):
    module = Scale(2)
    module.load_state_dict({"weight": torch.tensor([0.5, -1.0])})
    rows = torch.tensor([[2.0, 3.0], [4.0, 5.0]])
    torch.testing.assert_close(module(rows).detach(), rows * torch.tensor([0.5, -1.0]))


@visible(points=1)
def check_certain(generate):
    tokens = generate(lambda tokens: np.eye(5)[(len(tokens) + 2) % 5], 3, np.random.default_rng(1))
    assert tokens == [2, 3, 4], "where one token is certain it must be drawn"


@hidden(points=2)
def check_draws(generate):
    following = np.array([0.2, 0.5, 0.3])
    tokens = generate(lambda tokens: following, 6, np.random.default_rng(7))
    stream = np.random.default_rng(7)
    assert tokens == [int(stream.choice(3, p=following)) for _ in range(6)], "the draws are not those of generator.choice"
'''

WRITTEN = """# Answers

## why (2 points)

Because twice as much is better than once, says the model answer.
"""

WRONG = {  # earns nothing, in no check
    "double": "def double(numbers):\n    return [0 for _ in numbers]",
    "Counter": "class Counter:\n    def __init__(self, start=0):\n        pass\n\n    def next(self, step=1):\n        return -1",
    "softmax": "import torch\n\n\ndef softmax(scores):\n    return torch.zeros_like(scores)",
    "Scale": "from torch import nn\n\n\nclass Scale(nn.Linear):\n    def __init__(self, C):\n        super().__init__(C, 1)\n\n"
    "    def forward(self, x):\n        return 0 * x",
    "generate": "def generate(probabilities, length, generator):\n    return []",
}


def build(root: Path) -> Chapter:
    """Write the chapter into a repository of its own at `root`, and make its release."""
    chapter = Chapter(root, NAME)
    write(chapter.exercises, EXERCISES)
    write(chapter.solutions, SOLUTIONS.replace("SOLUTIONS_SECRET", secret("solutions")))
    write(chapter.checks, CHECKS.replace("CHECKS_SECRET", secret("checks")))
    write(chapter.written, WRITTEN)
    for package in (chapter.solutions.parent, chapter.checks.parent, chapter.checks.parent.parent):
        write(package / "__init__.py", "")
    make_release([chapter])
    return chapter


def copied(master: Path, root: Path) -> Chapter:
    """A copy of a course that was built before, which takes seconds."""
    from autograder.nbgrader_api import link_config

    shutil.copytree(master, root)
    link_config(course(root))
    return Chapter(root, NAME)
