"""Tests of lmkit.transformer: nothing looks ahead, padding changes nothing, writing is what one pass says, and fits that repeat."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmkit import sequences
from lmkit.errors import LmkitError
from lmkit.sequences import PAD, START
from lmkit.train import Budget, TrainConfig
from lmkit.transformer import (
    SequenceTransformer,
    TransformerConfig,
    TransformerModel,
    attention_weights,
    exact_match,
    fit,
    fit_task,
    sinusoids,
)

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = TransformerConfig(V=7, C=8, H=2, M=16, layers=2, T=6)
TASK = TransformerConfig(V=sequences.V, C=8, H=2, M=16, layers=1, T=16)
ROUND = [[1, 2, 3, 4, 5, 6, 1, 2, 3]] * 8
ids = st.lists(st.integers(0, 6), max_size=16)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def task_model(**changes) -> SequenceTransformer:
    return SequenceTransformer(TransformerConfig(**{**vars(TASK), **changes}), seeded()).eval()


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_later_tokens_change_nothing(positions):
    model = TransformerModel(TransformerConfig(**{**vars(SMALL), "positions": positions}), seeded()).eval()
    one, other = torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([[1, 2, 3, 6, 0]])
    assert torch.allclose(model(one)[:, :3], model(other)[:, :3], atol=1e-6)
    assert not torch.allclose(model(one)[:, 3:], model(other)[:, 3:], atol=1e-3)


@given(ids)
@settings(deadline=None, max_examples=30)
def test_probabilities_are_those_of_next(tokens):
    model = TransformerModel(SMALL, seeded()).eval()
    values = model.log_probs(tokens)
    assert values.shape == (len(tokens) + 1,)
    for t, token in enumerate([*tokens, 0][: SMALL.T]):  # further on, what is seen differs
        p = model.next_probabilities(tokens[:t])
        assert p.sum() == pytest.approx(1)
        assert math.log(p[token]) == pytest.approx(values[t], abs=1e-5)


def test_long_paragraphs_are_read_with_half_of_the_places_before():
    model = TransformerModel(SMALL, seeded()).eval()
    tokens = [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5]
    row = torch.tensor([[0, *tokens, 0]])
    want = [model(row[:, :6])[0].log_softmax(-1)[t, row[0, t + 1]].item() for t in range(6)]
    for start in (3, 6):
        logs = model(row[:, start : start + 6])[0].log_softmax(-1)
        want += [logs[t, row[0, start + t + 1]].item() for t in range(3, 6)]
    assert model.log_probs(tokens) == pytest.approx(np.array(want), abs=1e-5)


def test_first_loss_is_about_that_of_guessing():
    model = TransformerModel(TransformerConfig(), seeded()).eval()
    assert -model.log_probs(list(range(2, 120))).mean() == pytest.approx(math.log(2048), abs=0.5)


def test_sinusoids_by_hand():
    P = sinusoids(3, 4)
    assert P[0].tolist() == [0, 1, 0, 1]
    assert P[2].tolist() == pytest.approx([math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)])
    assert sinusoids(2, 3).shape == (2, 3)


def test_padding_of_the_source_changes_nothing():
    model = task_model()
    short, target = torch.tensor([[5, 6, 7]]), torch.tensor([[START, 7, 6]])
    padded = torch.tensor([[5, 6, 7, PAD, PAD]])
    assert torch.allclose(model(short, target), model(padded, target), atol=1e-5)
    assert torch.equal(model.greedy(short, 5), model.greedy(padded, 5))


def test_writing_is_what_one_pass_says():
    model = task_model()
    source = torch.tensor([[5, 6, 7, 8], [9, 4, PAD, PAD]])
    written = model.greedy(source, 6)
    assert written.shape == (2, 7)
    assert (written[:, 0] == START).all()
    assert torch.equal(model(source, written[:, :-1]).argmax(dim=-1), written[:, 1:])


@pytest.mark.parametrize("model", [TransformerModel(SMALL, seeded()).eval(), TransformerModel(SMALL, seeded())])
def test_attention_weights_of_a_language_model(model):
    row = torch.tensor([[1, 2, 3, 4]])
    logits = model(row)
    found = attention_weights(model, row)
    assert list(found) == ["blocks.layers.0.self_attn", "blocks.layers.1.self_attn"]
    for weights in found.values():
        assert weights.shape == (1, 2, 4, 4)
        assert torch.allclose(weights.sum(dim=-1), torch.ones(1, 2, 4))
        assert not weights.triu(diagonal=1).any()
    assert torch.allclose(model(row), logits, atol=1e-6)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_attention_weights_of_a_decoder_hide_padding():
    found = attention_weights(task_model(), torch.tensor([[5, 6, PAD]]), torch.tensor([[START, 6]]))
    assert set(found) == {"encoder.layers.0.self_attn", "decoder.layers.0.self_attn", "decoder.layers.0.multihead_attn"}
    cross = found["decoder.layers.0.multihead_attn"]
    assert cross.shape == (1, 2, 2, 3)
    assert not cross[..., 2].any()


def test_learns_what_follows():
    model, history = fit(ROUND, SMALL, Budget(steps=150), seeded(), batch=8)
    assert not model.training
    assert history.loss[-1] < 0.6
    assert model.next_probabilities([1, 2]).argmax() == 3


def test_same_generator_same_model():
    first, second, other = (fit(ROUND, SMALL, Budget(steps=4), seeded(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first.E, second.E)
    assert not torch.equal(first.E, other.E)
    one, two = (fit_task("sort", Budget(steps=3), seeded(), TASK, lengths=(3,), batch=4)[0] for _ in range(2))
    assert torch.equal(one.E, two.E)


def test_a_task_is_learned_and_measured():
    config, training = TransformerConfig(**{**vars(TASK), "C": 16}), TrainConfig(learning_rate=1e-2)
    untrained = SequenceTransformer(config, seeded()).eval()
    model, history = fit_task("sort", Budget(steps=150), seeded(), config, lengths=(1, 2), batch=32, training=training)
    assert history.loss[-1] < history.loss[0] / 3
    assert exact_match(model, "sort", (2,), 40, seeded()) > exact_match(untrained, "sort", (2,), 40, seeded()) + 0.1


@pytest.mark.parametrize("fault", [{"C": 6, "H": 4}, {"positions": "rotary"}, {"layers": 0}, {"end": 7}])
def test_configurations_that_make_no_sense(fault):
    with pytest.raises(LmkitError):
        TransformerConfig(**{**vars(SMALL), **fault})


def test_errors():
    with pytest.raises(LmkitError, match=r"token ids must lie in 0 … 6"):
        fit([[1, 2, 9, 4, 5, 6] * 4], SMALL, Budget(steps=1), seeded())
    with pytest.raises(LmkitError, match=r"at least 13"):
        fit([[1, 2]], SMALL, Budget(steps=1), seeded())
    with pytest.raises(LmkitError, match=r"7 places, and there are positions for 6"):
        TransformerModel(SMALL, seeded())(torch.zeros(1, 7, dtype=torch.int64))
