"""Tests of lmkit.sequences: what a row looks like, and that what is measured was never trained."""

import pytest
import torch

from lmkit import sequences
from lmkit.errors import LmkitError
from lmkit.sequences import END, FIRST, HELD_OUT, LONGER, PAD, START, TRAINED, V, examples, kept_back


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("task", "answer"), [("reverse", lambda row: row[::-1]), ("sort", sorted)])
def test_rows(task, answer):
    inputs, targets = examples(task, (2, 5), 60, seeded())
    assert inputs.shape == (60, 5)
    assert targets.shape == (60, 7)
    assert inputs.dtype == targets.dtype == torch.int64
    lengths = set()
    for x, y in zip(inputs.tolist(), targets.tolist(), strict=True):
        symbols = [i for i in x if i != PAD]
        lengths.add(len(symbols))
        assert x == symbols + [PAD] * (5 - len(symbols))
        assert all(FIRST <= i < V for i in symbols)
        assert y == [START, *answer(symbols), END] + [PAD] * (5 - len(symbols))
    assert lengths == {2, 5}


def test_trained_and_measured_share_nothing():
    rows = {
        held_out: {tuple(i for i in row if i) for row in examples("sort", (1, 2, 4), 300, seeded(), held_out=held_out)[0].tolist()}
        for held_out in (False, True)
    }
    assert not rows[False] & rows[True]
    assert all(kept_back(row) for row in rows[True])
    assert kept_back([3, 3, 4])
    assert not kept_back([3, 3, 5])


def test_lengths_of_the_course():
    assert not set(TRAINED) & set(HELD_OUT)
    assert min(TRAINED) < min(HELD_OUT)
    assert max(HELD_OUT) < max(TRAINED) < min(LONGER)


def test_same_generator_same_rows():
    first, second, other = (examples("reverse", TRAINED, 20, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])


def test_both_tasks_draw_the_same_inputs():
    assert torch.equal(examples("reverse", TRAINED, 20, seeded())[0], examples("sort", TRAINED, 20, seeded())[0])


@pytest.mark.parametrize(("task", "lengths", "number"), [("mirror", (3,), 1), ("sort", (), 1), ("sort", (0, 3), 1), ("sort", (3,), 0)])
def test_errors(task, lengths, number):
    with pytest.raises(LmkitError):
        examples(task, lengths, number, seeded())


def test_every_symbol_occurs():
    found = examples("reverse", TRAINED, 200, seeded())[0].unique().tolist()
    assert found == [PAD, *range(sequences.FIRST, V)]
