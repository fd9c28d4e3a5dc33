"""Tests of lmkit.recurrent: the rows and pieces of training, the model against a plain loop, and a fit that learns and repeats."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lmkit import recurrent
from lmkit.errors import LmkitError
from lmkit.recurrent import NO_TARGET, RecurrentConfig, RecurrentModel, batches, fit, load, loss, rows, save
from lmkit.train import Budget, TrainConfig

pytestmark = pytest.mark.usefixtures("one_thread")
KINDS = ("RNN", "LSTM", "GRU")
SMALL = RecurrentConfig(V=7, C=4, M=5, layers=2)
ROUND = [[1, 2, 3, 4, 5, 6, 1, 2, 3]] * 8  # what follows is known from the token before, but for the end
texts = st.lists(st.lists(st.integers(1, 6), max_size=12), min_size=1, max_size=9)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(kind: str = "LSTM", seed: int = 0, **changes) -> RecurrentModel:
    return RecurrentModel(replace(SMALL, kind=kind, **changes), seeded(seed)).eval()


def one_pass(paragraphs: list[list[int]], size: int, T: int, seed: int = 0) -> list[recurrent.Piece]:
    """The pieces of the first pass: as many as the paragraphs' batches have."""
    pieces, places = [], sum(len(p) + 1 for p in paragraphs)
    for piece in batches(paragraphs, size, T, 0, seeded(seed)):
        pieces.append(piece)
        places -= int((piece.targets != NO_TARGET).sum())
        if places <= 0:
            return pieces


def paragraphs_of(pieces: list[recurrent.Piece]) -> list[list[int]]:
    """The paragraphs that pieces were cut from, without their end tokens, put together by the states that they share."""
    found = []
    for _, group in itertools.groupby(pieces, key=lambda piece: id(piece.carried)):
        targets = torch.cat([piece.targets for piece in group], dim=1)
        found += [row[row != NO_TARGET].tolist()[:-1] for row in targets]
    return found


def test_rows_by_hand():
    inputs, targets = rows([[5, 2], []], 0)
    assert inputs.tolist() == [[0, 5, 2], [0, 0, 0]]
    assert targets.tolist() == [[5, 2, 0], [0, NO_TARGET, NO_TARGET]]
    assert inputs.dtype == targets.dtype == torch.int64


@given(texts, st.integers(1, 4), st.integers(1, 6))
@settings(deadline=None, max_examples=25)
def test_every_token_is_a_target_once_a_pass(paragraphs, size, T):
    pieces = one_pass(paragraphs, size, T)
    assert sorted(paragraphs_of(pieces)) == sorted(paragraphs)
    assert all(piece.inputs.shape == piece.targets.shape and piece.inputs.shape[1] <= T for piece in pieces)
    assert all(piece.inputs.shape[0] <= size for piece in pieces)


@given(texts, st.integers(1, 4), st.integers(1, 6))
@settings(deadline=None, max_examples=25)
def test_pieces_of_the_same_paragraphs_follow_each_other(paragraphs, size, T):
    for _, group in itertools.groupby(one_pass(paragraphs, size, T), key=lambda piece: id(piece.carried)):
        group = list(group)
        inputs, targets = (torch.cat([getattr(piece, name) for piece in group], dim=1) for name in ("inputs", "targets"))
        known = targets[:, :-1] != NO_TARGET
        assert (inputs[:, 0] == 0).all()
        assert torch.equal(inputs[:, 1:][known], targets[:, :-1][known])
        assert all(piece.inputs.shape[1] == T for piece in group[:-1])


def test_passes_differ_and_repeat_with_the_generator():
    paragraphs = [[1 + i % 6] * (1 + i) for i in range(12)]
    first, again, other = ([p.inputs.tolist() for p in one_pass(paragraphs, 2, 4, seed)] for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("kind", KINDS)
def test_log_probs_equal_a_plain_loop(kind):
    model, ids = small(kind), [3, 1, 4, 1, 5]
    values, states = [], None
    for token, target in zip([0, *ids], [*ids, 0], strict=True):
        logits, states = model(torch.tensor([[token]]), states)
        values.append(F.log_softmax(logits[0, 0], dim=0)[target].item())
    assert np.allclose(model.log_probs(ids), values, atol=1e-5)


def test_forward_is_the_formula():
    model = small("RNN", layers=1).double()
    layer = model.layers[0]
    h = torch.zeros(4).double()
    for token in (0, 3, 6):
        h = torch.tanh(layer.weight_ih_l0 @ model.E[token] + layer.bias_ih_l0 + layer.weight_hh_l0 @ h + layer.bias_hh_l0)
    logits, _ = model(torch.tensor([[0, 3, 6]]))
    assert torch.allclose(logits[0, -1], model.E @ h + model.c, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@given(ids=st.lists(st.integers(0, 6), max_size=8))
@settings(deadline=None, max_examples=15)
def test_probabilities_are_those_of_next(kind, ids):
    model = small(kind)
    values = model.log_probs(ids)
    assert values.shape == (len(ids) + 1,)
    for t, token in enumerate([*ids, 0]):
        p = model.next_probabilities(ids[:t])
        assert p.sum() == pytest.approx(1)
        assert math.log(p[token]) == pytest.approx(values[t], abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_causal_but_not_forgetful(kind):
    model = small(kind)
    assert np.allclose(model.log_probs([1, 2, 3, 4])[:3], model.log_probs([1, 2, 3, 6])[:3])
    assert not np.allclose(model.next_probabilities([1, 2, 3, 4]), model.next_probabilities([5, 2, 3, 4]), atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_give_the_loss_of_the_whole(kind):
    model = small(kind)
    paragraphs = [[1, 2, 3, 4, 5, 6, 5], [6, 5, 4], []]
    inputs, targets = rows(paragraphs, 0)
    logits, _ = model(inputs)
    whole = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=NO_TARGET, reduction="sum").item()
    pieces = one_pass(paragraphs, 3, 3)
    assert len(pieces) == 3
    in_pieces = sum(loss(model, piece).item() * int((piece.targets != NO_TARGET).sum()) for piece in pieces)
    assert in_pieces == pytest.approx(whole, rel=1e-5)


def test_carried_states_have_no_graph():
    model = small()
    piece = one_pass(ROUND, 8, 4)[0]
    loss(model, piece).backward()
    assert not any(h.requires_grad for state in piece.carried["states"] for h in state)


@pytest.mark.parametrize("kind", KINDS)
def test_learns_what_follows(kind):
    model, history = fit(ROUND, replace(SMALL, kind=kind), Budget(steps=150), seeded(), training=TrainConfig(learning_rate=0.02))
    assert not model.training
    assert history.loss[0] == pytest.approx(math.log(7), abs=0.2)
    assert history.loss[-1] < 0.5
    assert model.next_probabilities([1, 2]).argmax() == 3


def test_same_generator_same_model():
    config = replace(SMALL, dropout=0.2, token_dropout=0.1, weight_dropout=0.2)
    first, second, other = (fit(ROUND, config, Budget(steps=4), seeded(seed))[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["E"], other["E"])


def test_nothing_is_dropped_after_training():
    model = small(dropout=0.5, token_dropout=0.5, weight_dropout=0.5)
    plain = small()
    assert np.array_equal(model.log_probs([1, 2, 3]), plain.log_probs([1, 2, 3]))
    model.train()
    ids = torch.tensor([[0, 1, 2, 3]])
    assert not torch.equal(model(ids)[0], model(ids)[0])


def test_one_mask_for_all_places_of_a_row():
    model = small(dropout=0.5).train()
    kept = model._locked(torch.ones(3, 6, 40))
    assert torch.equal(kept, kept[:, :1].expand(3, 6, 40))
    assert not torch.equal(kept[0], kept[1])
    assert set(kept.unique().tolist()) == {0.0, 2.0}


def test_an_lstm_starts_by_remembering():
    layer = small(M=20, C=20).layers[0]
    i, f, g, o = (layer.bias_ih_l0.detach() + layer.bias_hh_l0.detach()).reshape(4, 20)
    assert f.mean() > 0.7
    assert max(b.abs().mean() for b in (i, g, o)) < 0.4


def test_saved_and_loaded(tmp_path):
    model, card = small(), {"steps": 3, "seed": 0}
    save(model, tmp_path, card)
    again = load(tmp_path)
    assert again.config == model.config
    assert not again.training
    assert np.allclose(again.log_probs([1, 2, 3]), model.log_probs([1, 2, 3]), atol=1e-3)  # 16 bits each
    with pytest.raises(LmkitError, match="holds no model"):
        load(tmp_path / "elsewhere")


def test_errors_say_what_to_do():
    with pytest.raises(LmkitError, match="kind is 'lstm': take one of RNN, LSTM, GRU"):
        RecurrentConfig(kind="lstm")
    with pytest.raises(LmkitError, match="at least 1"):
        RecurrentConfig(layers=0)
    with pytest.raises(LmkitError, match="below 1"):
        RecurrentConfig(dropout=1.0)
    with pytest.raises(LmkitError, match=r"lie in 1 … 9"):
        fit([[1, 9]], SMALL, Budget(steps=1), seeded())
    with pytest.raises(LmkitError, match="no paragraph"):
        fit([], SMALL, Budget(steps=1), seeded())
