"""Tests of lmkit.window: the windows, the formula, and a fit that learns and repeats."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmkit import metrics, tokenizer
from lmkit.errors import LmkitError
from lmkit.ngram import NgramModel
from lmkit.train import Budget
from lmkit.window import WindowConfig, WindowModel, fit, windows

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = WindowConfig(V=7, n=3, C=4, M=5)
ROUND = [[1, 2, 3, 4, 5, 6, 1, 2, 3]] * 8  # what follows is known from the token before, but for the end
texts = st.lists(st.lists(st.integers(0, 6), max_size=8), max_size=6)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_windows_by_hand():
    histories, targets = windows([[5, 2], []], 3, 0)
    assert histories.tolist() == [[0, 0], [0, 5], [5, 2], [0, 0]]
    assert targets.tolist() == [5, 2, 0, 0]
    assert histories.dtype == targets.dtype == torch.int64


@given(texts, st.integers(2, 5))
@settings(deadline=None, max_examples=50)
def test_windows_give_back_the_text(paragraphs, n):
    histories, targets = windows(paragraphs, n, 0)
    assert targets.tolist() == [token for p in paragraphs for token in [*p, 0]]
    at = 0
    for p in paragraphs:
        for t in range(len(p) + 1):
            assert histories[at].tolist() == ([0] * (n - 1) + p[:t])[-(n - 1) :]
            at += 1
    assert histories.shape == (at, n - 1)


def test_forward_is_the_formula():
    model = WindowModel(SMALL, seeded()).double()
    E, W, b, U, c = (p.detach() for p in (model.E, model.W, model.b, model.U, model.c))
    x = torch.cat([E[2], E[6]])  # the older token first
    want = torch.tanh(x @ W + b) @ U + c
    assert torch.allclose(model(torch.tensor([[2, 6]]))[0], want, atol=1e-12)
    assert not torch.allclose(model(torch.tensor([[6, 2]]))[0], want, atol=1e-3)


def test_first_loss_is_that_of_guessing():
    V = tokenizer.VOCAB_SIZE
    model = WindowModel(WindowConfig(V=V, n=4, C=32, M=128), seeded())
    values = np.concatenate([model.log_probs(p) for p in tokenizer.token_ids("validation")[:5]])
    assert -values.mean() == pytest.approx(math.log(V), abs=0.1)


@given(st.lists(st.integers(0, 6), max_size=8))
@settings(deadline=None, max_examples=30)
def test_probabilities_are_those_of_next(ids):
    model = WindowModel(SMALL, seeded())
    values = model.log_probs(ids)
    assert values.shape == (len(ids) + 1,)
    for t, token in enumerate([*ids, 0]):
        p = model.next_probabilities(ids[:t])
        assert p.sum() == pytest.approx(1)
        assert math.log(p[token]) == pytest.approx(values[t], abs=1e-5)


def test_later_tokens_change_nothing_and_older_ones_neither():
    model = WindowModel(SMALL, seeded())
    assert np.allclose(model.log_probs([1, 2, 3, 4])[:3], model.log_probs([1, 2, 3, 6])[:3])
    assert np.allclose(model.next_probabilities([1, 2, 3]), model.next_probabilities([5, 2, 3]))


def test_learns_what_follows():
    model, history = fit(ROUND, SMALL, Budget(steps=200), seeded(), batch=16)
    assert not model.training
    assert history.loss[0] == pytest.approx(math.log(7), abs=0.1)
    assert history.loss[-1] < 0.5
    assert model.next_probabilities([1, 2]).argmax() == 3


def test_same_generator_same_model():
    first, second, other = (fit(ROUND, SMALL, Budget(steps=5), seeded(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first.E, second.E)
    assert not torch.equal(first.E, other.E)


def test_starts_from_given_embeddings():
    rows = torch.arange(28.0).reshape(7, 4)
    model = WindowModel(SMALL, seeded(), rows)
    assert torch.equal(model.E.detach(), rows)
    assert model.E.requires_grad
    assert torch.equal(model.W, WindowModel(SMALL, seeded()).W)
    rows.zero_()
    assert model.E.abs().max() > 0
    with pytest.raises(LmkitError, match=r"shape \(4, 7\), expected \(V, C\) = \(7, 4\)"):
        WindowModel(SMALL, seeded(), torch.zeros(4, 7))


def test_beats_its_unigram_on_real_text():
    paragraphs = tokenizer.token_ids("train")[:300]
    model, _ = fit(paragraphs, WindowConfig(tokenizer.VOCAB_SIZE, 3, 24, 32), Budget(steps=150), seeded(), batch=256)
    unigram = NgramModel(paragraphs, 1, tokenizer.VOCAB_SIZE, tokenizer.END_ID)
    assert metrics.evaluate(model).bits_per_byte < metrics.evaluate(unigram).bits_per_byte


def test_errors_say_what_to_do():
    with pytest.raises(LmkitError, match="n is 1"):
        WindowConfig(V=7, n=1, C=4, M=5)
    with pytest.raises(LmkitError, match="end = 7"):
        WindowConfig(V=7, n=3, C=4, M=5, end=7)
    with pytest.raises(LmkitError, match=r"lie in 0 … 9"):
        fit([[1, 9]], SMALL, Budget(steps=1), seeded())
    with pytest.raises(LmkitError, match="no paragraph"):
        fit([], SMALL, Budget(steps=1), seeded())
