"""Properties of chapter 10's solutions for any sizes: padding, what is frozen, labels there and back, spans, equality with peft."""

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from scipy.stats import ttest_1samp
from torch import nn

from lmkit import entities, pretrained
from solutions.finetuning import Adapter, ClassificationHead, LoRALinear, align_labels, best_span, freeze, interval, word_labels

pytestmark = pytest.mark.usefixtures("one_thread")
few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31)
small = st.integers(1, 6)


def draw(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def near(one, other):
    return torch.allclose(one, other, rtol=1e-9, atol=1e-9)


# Heads


@few
@given(seeds, small, small, st.lists(small, min_size=1, max_size=4), st.sampled_from(["mean", "first"]))
def test_a_row_has_the_same_logits_alone_and_beside_longer_ones(seed, C, K, lengths, pooling):
    head = ClassificationHead(C, K, pooling).double().eval()
    states = draw(seed, len(lengths), max(lengths), C)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    together = head(states, mask)
    for row, n, logits in zip(states, lengths, together, strict=True):
        assert near(head(row[None, :n], torch.ones(1, n)), logits[None])


@few
@given(st.lists(st.sampled_from(["a", "a.b", "a.bc", "d", "d.e"]), max_size=3))
def test_what_is_frozen_and_what_is_trained_are_all_numbers(chosen):
    part = nn.ModuleDict({"b": nn.Linear(2, 2), "bc": nn.Linear(2, 3)})
    model = nn.ModuleDict({"a": part, "d": nn.ModuleDict({"e": nn.Linear(1, 5), "f": part["b"]})})
    trained, total = freeze(model, chosen)
    assert total == sum(one.numel() for one in model.parameters()) == 25
    assert trained == sum(one.numel() for one in model.parameters() if one.requires_grad)
    assert (trained == 0) == (not chosen)


# Labels and spans


@pytest.mark.parametrize("every_piece", [False, True])
@pytest.mark.parametrize("split", entities.SPLITS)
def test_labels_of_the_course_come_back_as_they_went(split, every_piece):
    tokens = pretrained.tokenizer()
    for sentence in entities.sentences(split):
        word_ids = tokens(list(sentence.words), is_split_into_words=True).word_ids()
        targets = align_labels(sentence.labels, word_ids, entities.LABELS, every_piece)
        labelled = sum(target != -100 for target in targets)
        assert labelled == (sum(word is not None for word in word_ids) if every_piece else len(sentence.words))
        sure = torch.nn.functional.one_hot(torch.tensor(targets).clamp(min=0), len(entities.LABELS))
        assert word_labels(sure, word_ids, entities.LABELS, len(sentence.words)) == list(sentence.labels)


@few
@given(seeds, st.integers(1, 12), st.integers(1, 6), st.data())
def test_no_other_span_is_better(seed, T, longest, data):
    start, end = draw(seed, T), draw(seed + 1, T)
    low = data.draw(st.integers(0, T))
    high = data.draw(st.integers(low, T))
    found = best_span(start, end, (torch.arange(T) >= low) & (torch.arange(T) < high), longest)
    scores = {(i, j): float(start[i] + end[j]) for i in range(low, high) for j in range(i, min(i + longest, high))}
    assert (found is None) == (low == high)
    assert found is None or scores[found] == max(scores.values())


# Small parts that are trained


@few
@given(seeds, small, small)
def test_an_adapter_is_at_first_the_identity_and_has_so_many_numbers(seed, C, width):
    adapter, x = Adapter(C, width).double(), draw(seed, 3, C)
    assert torch.equal(adapter(x), x)
    assert sum(one.numel() for one in adapter.parameters()) == 2 * C * width + C + width


@settings(max_examples=10, deadline=None)
@given(seeds, small, small, small, st.floats(0.1, 40.0), st.booleans())
def test_lora_equals_peft_merged_and_unmerged(seed, width, out, r, alpha, bias):
    linear = nn.Linear(width, out, bias=bias).double()
    library = nn.Sequential(nn.Linear(width, out, bias=bias)).double()
    library[0].load_state_dict(linear.state_dict())
    library = get_peft_model(library, LoraConfig(r=r, lora_alpha=alpha, lora_dropout=0.0, target_modules=["0"]))
    layer, x = LoRALinear(linear, r, alpha), draw(seed, 4, width)
    with torch.no_grad():
        layer.B.copy_(draw(seed + 1, out, r))
        for name, one in library.named_parameters():
            if "lora_" in name:
                one.copy_(layer.A if "lora_A" in name else layer.B)
        assert near(layer(x), library(x))
        assert near(layer.merged()(x), library.merge_and_unload()(x))
        assert near(layer.merged()(x), layer(x))


# Intervals


@few
@given(st.lists(st.integers(0, 1000), min_size=2, max_size=9))
def test_the_interval_is_that_of_the_t_test(scores):
    mean, low, high = interval(scores)
    assert math.isclose(mean, statistics.fmean(scores))
    if len(set(scores)) == 1:
        assert low == high == mean
    else:
        ends = ttest_1samp(scores, 0).confidence_interval(0.95)
        assert math.isclose(low, ends.low, abs_tol=1e-6)
        assert math.isclose(high, ends.high, abs_tol=1e-6)
