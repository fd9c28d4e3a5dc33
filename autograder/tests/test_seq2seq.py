"""Tests of lmkit.seq2seq: steps equal the whole, padding changes nothing, searches find what they promise, a fit learns and repeats."""

import math

import pytest
import torch

from lmkit import dutch, seq2seq
from lmkit.dutch import END, PAD, START
from lmkit.errors import LmkitError
from lmkit.seq2seq import EncoderDecoder, Seq2SeqConfig
from lmkit.train import Budget, TrainConfig

pytestmark = pytest.mark.usefixtures("one_thread")
KINDS = (None, "additive", "dot")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(attention: str | None, seed: int = 0, sure: float = 1.0) -> EncoderDecoder:
    """A model with random weights, the larger the more sure of what it says."""
    model = EncoderDecoder(Seq2SeqConfig(9, 7, attention, C=5, M=6, A=4), seeded(seed)).double().eval()
    with torch.no_grad():
        model.output.weight *= sure
    return model


SOURCE = torch.tensor([[3, 4, 5, END], [6, 7, END, PAD], [8, END, PAD, PAD]])
TARGET = torch.tensor([[3, 4, END], [5, END, PAD], [6, 6, END]])


@pytest.mark.parametrize("attention", KINDS)
def test_steps_equal_the_whole(attention):
    model = small(attention)
    whole = model(SOURCE, seq2seq.shifted(TARGET))
    memory, mask, state = model.encode(SOURCE)
    for t, tokens in enumerate(seq2seq.shifted(TARGET).T):
        logits, state, weights = model.step(tokens, state, memory, mask)
        assert torch.allclose(logits, whole[:, t], atol=1e-12)
        assert torch.allclose(weights.sum(dim=1), torch.ones(3, dtype=torch.float64))
        assert not weights[~mask].any()


@pytest.mark.parametrize("attention", KINDS)
def test_padding_changes_nothing(attention):
    model = small(attention)
    alone = model(SOURCE[2:, :2], seq2seq.shifted(TARGET[2:]))
    assert torch.allclose(model(SOURCE, seq2seq.shifted(TARGET))[2:], alone, atol=1e-12)


@pytest.mark.parametrize("attention", KINDS)
def test_the_first_state_sees_the_whole_source(attention):
    model = small(attention)
    first, last = SOURCE[:1].clone(), SOURCE[:1].clone()
    first[0, 0], last[0, 2] = 8, 8
    states = [model.encode(source)[2] for source in (SOURCE[:1], first, last)]
    assert not torch.allclose(states[0], states[1])
    assert not torch.allclose(states[0], states[2])


def test_without_attention_the_context_never_changes():
    model = small(None)
    memory, mask, _ = model.encode(SOURCE)
    assert memory.shape == (3, 1, 6)
    contexts, weights = model.attend(torch.randn(3, 4, 6, generator=seeded()).double(), memory, mask)
    assert torch.equal(weights, torch.ones_like(weights))
    assert torch.equal(contexts, memory.expand(3, 4, 6))


def test_scores_are_the_formulas():
    states, memory = (torch.randn(1, n, 6, generator=seeded(n)).double() for n in (2, 3))
    mask = torch.ones(1, 3, dtype=torch.bool)
    for attention in ("dot", "additive"):
        model = small(attention)
        _, weights = model.attend(states, memory, mask)
        for t in range(2):
            s, hs = states[0, t], memory[0]
            scores = [s @ h if attention == "dot" else model.score(torch.tanh(model.query(s) + model.key(h)))[0] for h in hs]
            assert torch.allclose(weights[0, t], torch.stack(scores).softmax(dim=0), atol=1e-12)


def test_log_probs_are_those_of_the_words():
    model = small("dot")
    logits = model(SOURCE, seq2seq.shifted(TARGET)).log_softmax(dim=2)
    want = [sum(logits[b, t, TARGET[b, t]] for t in range(n)) for b, n in enumerate((3, 2, 3))]
    assert torch.allclose(seq2seq.log_probs(model, SOURCE, TARGET), torch.stack(want), atol=1e-12)


def test_shifted():
    assert seq2seq.shifted(TARGET).tolist() == [[START, 3, 4], [START, 5, END], [START, 6, 6]]


@pytest.mark.parametrize("attention", KINDS)
def test_beam_of_one_is_greedy(attention):
    for seed in range(5):
        model = small(attention, seed, sure=8)
        ids, _ = seq2seq.greedy(model, SOURCE, max_length=6)
        for row, source in zip(ids.tolist(), SOURCE, strict=True):
            words = row[: row.index(END)] if END in row else row
            (found,) = seq2seq.beam(model, source[None], 1, max_length=6)
            assert found[0] == words


def test_a_wide_beam_finds_the_best_of_all_and_none_falls_below_greedy():
    """Length at most 3 and 7 ids: all sentences can be listed, and a beam of 7 * 7 * 7 keeps them all."""
    model = small("dot", 3, sure=12)
    source = SOURCE[:1]
    every = seq2seq.beam(model, source, 343, max_length=3)
    assert sum(math.exp(score) for _, score in every) == pytest.approx(1)
    scores = [score for _, score in every]
    assert scores == sorted(scores, reverse=True)
    greedy = seq2seq.beam(model, source, 1, max_length=3)[0]
    for width in (1, 2, 3, 5, 10):
        found = seq2seq.beam(model, source, width, max_length=3)
        assert len(found) <= width
        assert greedy[1] - 1e-12 <= found[0][1] <= every[0][1] + 1e-12
        assert all(any(ids == other and score == pytest.approx(best) for other, best in every) for ids, score in found)


def test_beam_score_is_the_models():
    model = small("additive", 1, sure=8)
    for ids, score in seq2seq.beam(model, SOURCE[:1], 4, max_length=10):
        if len(ids) < 10:
            assert seq2seq.log_probs(model, SOURCE[:1], torch.tensor([[*ids, END]])).item() == pytest.approx(score, abs=1e-9)


def test_batches_hold_every_pair_once_a_pass():
    pairs = dutch.pairs("test")[:50]
    stream = seq2seq.batches(pairs, 8, seeded())
    rows = []
    for _ in range(7):
        source, target = next(stream)
        assert len(source) == len(target) <= 8
        rows += [dutch.decode(row, dutch.dutch()) for row in target.tolist()]
    assert sorted(rows) == sorted(pair.dutch for pair in pairs)


@pytest.mark.parametrize("attention", KINDS)
def test_learns_a_few_sentences_by_heart(attention):
    pairs = [pair for pair in dutch.pairs("train") if len(pair.english) < 6][:6]
    setting = TrainConfig(learning_rate=0.03)
    model, history = seq2seq.fit(pairs, attention, Budget(steps=100), seeded(), C=16, M=32, batch=6, training=setting)
    assert not model.training
    assert history.loss[0] == pytest.approx(math.log(len(dutch.dutch())), abs=0.3)
    assert seq2seq.exact_match(model, pairs) == 1
    assert seq2seq.translate(model, pairs, batch=4) == [pair.dutch for pair in pairs]


def test_same_generator_same_model():
    pairs = dutch.pairs("train")[:64]
    first, second, other = (seq2seq.fit(pairs, "dot", Budget(steps=3), seeded(seed), C=8, M=8)[0] for seed in (1, 1, 2))
    assert torch.equal(first.output.weight, second.output.weight)
    assert not torch.equal(first.output.weight, other.output.weight)


def test_greedy_stops():
    model = small("dot", sure=8)
    ids, weights = seq2seq.greedy(model, SOURCE, max_length=5)
    assert ids.shape[1] <= 5
    assert weights.shape == (3, ids.shape[1], 4)
    for row in ids.tolist():
        if END in row:
            assert set(row[row.index(END) + 1 :]) <= {PAD}


def test_errors_say_what_to_do():
    with pytest.raises(LmkitError, match="attention is 'luong'"):
        Seq2SeqConfig(5, 5, "luong")
    with pytest.raises(LmkitError, match="M even"):
        Seq2SeqConfig(5, 5, M=7)
    with pytest.raises(LmkitError, match="no pair"):
        seq2seq.fit([], "dot", Budget(steps=1), seeded())
