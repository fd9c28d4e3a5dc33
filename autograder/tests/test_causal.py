"""Tests of lmkit.causal: what a pass reads, how a run goes on in its middle, and how a model is measured."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lmkit import causal
from lmkit.causal import NO_TARGET, LanguageModel, batches, side_by_side

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPE = causal.config(T=8, C=8, layers=1, heads=2, V=11)
texts = st.lists(st.lists(st.integers(1, 10), min_size=1, max_size=30), min_size=1, max_size=8)


def one_pass(paragraphs, size, T, seed=0):
    """The batches of the first pass: until every token and end token has been a target."""
    left, found = sum(len(ids) + 1 for ids in paragraphs), []
    for inputs, targets in batches(paragraphs, size, T, seed):
        found.append((inputs, targets))
        left -= int((targets != NO_TARGET).sum())
        if left <= 0:
            return found, left
    return None


def test_side_by_side_by_hand():
    inputs, targets = side_by_side([[0, 5, 2, 0], [7, 3]], 0)
    assert inputs.tolist() == [[0, 5, 2], [7, 0, 0]]
    assert targets.tolist() == [[5, 2, 0], [3, NO_TARGET, NO_TARGET]]
    assert inputs.dtype == targets.dtype == torch.int64


@given(texts, st.integers(1, 4), st.integers(2, 9))
@settings(deadline=None, max_examples=40)
def test_every_token_is_a_target_once_a_pass(paragraphs, size, T):
    found, left = one_pass(paragraphs, size, T)
    assert left == 0
    targets = sorted(i for _, y in found for i in y[y != NO_TARGET].tolist())
    assert targets == sorted([i for ids in paragraphs for i in ids] + [0] * len(paragraphs))
    assert all(x.shape == y.shape and x.shape[0] <= size and x.shape[1] <= T for x, y in found)


@given(texts, st.integers(1, 3), st.integers(0, 40))
@settings(deadline=None, max_examples=25)
def test_from_a_step_on_the_batches_are_those_of_the_whole_run(paragraphs, size, start):
    whole = itertools.islice(batches(paragraphs, size, 5, 3), start, start + 4)
    later = itertools.islice(batches(paragraphs, size, 5, 3, start), 4)
    for one, other in zip(whole, later, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_loss_is_the_mean_over_real_targets():
    model = causal.new(SHAPE, 0).eval()
    rows = [[0, 4, 5, 6, 0], [0, 7]]
    alone = [F.cross_entropy(model(torch.tensor([row[:-1]])).logits[0], torch.tensor(row[1:]), reduction="none") for row in rows]
    assert causal.loss(model, side_by_side(rows, 0)).item() == pytest.approx(torch.cat(alone).mean().item(), abs=1e-5)


def test_new_is_the_same_for_a_seed_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (causal.new(SHAPE, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    weights = [model.transformer.wte.weight for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@given(st.lists(st.integers(0, 10), max_size=20))
@settings(deadline=None, max_examples=25)
def test_log_probs_are_those_of_next_where_the_paragraph_fits(ids):
    model = LanguageModel(causal.new(SHAPE, 0).eval())
    values = model.log_probs(ids)
    assert values.shape == (len(ids) + 1,)
    assert (values < 0).all()
    for t, token in enumerate([*ids, 0][:8]):
        assert math.log(model.next_probabilities(ids[:t])[token]) == pytest.approx(values[t], abs=1e-4)


def test_a_long_paragraph_is_seen_through_windows_that_overlap_by_half():
    seen = []

    def logits(ids):
        seen.append(ids[0].tolist())
        return torch.zeros(1, ids.shape[1], 11)

    values = LanguageModel(logits, longest=4).log_probs([1, 2, 3, 4, 5, 6, 7])
    assert seen == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]
    assert values == pytest.approx([-math.log(11)] * 8)
