"""Two tasks on sequences of symbols, reversing and sorting, made as needed: they show what a model does with positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lmkit.errors import LmkitError

PAD, START, END = 0, 1, 2  # filling behind a shorter row; what begins an answer; what ends it
FIRST = 3  # the smallest symbol
SYMBOLS = 16  # how many there are, FIRST … V - 1; their ids are their order
V = FIRST + SYMBOLS
TRAINED = (4, 5, 6, 8, 9, 11, 12)  # lengths to train on
HELD_OUT = (7, 10)  # lengths within that range, never trained
LONGER = (13, 14, 15, 16)  # lengths beyond it
KEPT_BACK = 5  # one sequence in so many is kept for measuring, by its symbols alone

TASKS = {"reverse": lambda symbols: symbols[::-1], "sort": sorted}


def examples(
    task: str, lengths: Sequence[int], number: int, generator: torch.Generator, *, held_out: bool = False
) -> tuple[Tensor, Tensor]:
    """Inputs (N, S) and targets (N, T) of a task, int64: N = number, S = max(lengths), T = S + 2.

    task: "reverse" or "sort" (ascending). An input is a row of symbols; its length is drawn evenly from `lengths`, each symbol evenly
    from all. Its target is START, the answer, END. Both are filled with PAD behind their ends.
    held_out: draw the sequences that are kept for measuring; without it the others. No sequence is in both (see `kept_back`).
    Errors: LmkitError for another task, for no length, a length below 1, and a number below 1.
    """
    if task not in TASKS:
        raise LmkitError(f"task is {task!r}: take one of {', '.join(TASKS)}")
    if not len(lengths) or min(lengths) < 1 or number < 1:
        raise LmkitError(f"lengths = {tuple(lengths)} and number = {number}: give at least one length, and only whole numbers from 1 on")
    S = max(lengths)
    inputs = torch.full((number, S), PAD)
    targets = torch.full((number, S + 2), PAD)
    for i in range(number):
        length = lengths[int(torch.randint(len(lengths), (), generator=generator))]
        symbols = _draw(length, held_out, generator)
        inputs[i, :length] = torch.tensor(symbols)
        targets[i, : length + 2] = torch.tensor([START, *TASKS[task](symbols), END])
    return inputs, targets


def kept_back(symbols: Sequence[int]) -> bool:
    """Whether a sequence is kept for measuring: whether the sum of its ids is divisible by KEPT_BACK. It depends on no order."""
    return sum(symbols) % KEPT_BACK == 0


def _draw(length: int, held_out: bool, generator: torch.Generator) -> list[int]:
    while True:
        symbols = torch.randint(FIRST, V, (length,), generator=generator).tolist()
        if kept_back(symbols) == held_out:
            return symbols
