"""Properties of chapter 8's solutions: what masking keeps, whom pairs hold, what padding changes, equality with transformers and lmkit."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from torch import nn
from transformers import BertForPreTraining

from autograder.checks import bert as checks
from lmkit import masked, pretrained
from lmkit.check import run_checks
from solutions.bert import (
    Encoder,
    InputEmbeddings,
    load_pretrained,
    mask_tokens,
    masked_lm_loss,
    next_sentence_pairs,
    pseudo_log_probs,
)

pytestmark = pytest.mark.usefixtures("one_thread")
few = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**31)
SPECIAL = [0, 1, 2, 3, 4]


def generator(seed):
    return torch.Generator().manual_seed(seed)


def draw(seed, *shape):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def small(seed, **shape):
    return masked.new(masked.config(**{"V": 30, "T": 16, "C": 12, "layers": 2, "heads": 3, "dropout": 0.0} | shape), seed).eval()


# The whole


def test_own_bert_equals_the_published_model_on_fifty_paragraphs():
    batches = checks._fifty_paragraphs()
    lengths = [length for _, real, _ in batches for length in real.sum(dim=1).tolist()]
    assert len(lengths) == 50
    assert 3 * min(lengths) < max(lengths)
    published = pretrained.encoder()
    sizes = published.config
    embeddings = InputEmbeddings(sizes.vocab_size, sizes.hidden_size, sizes.max_position_embeddings)
    encoder = Encoder(sizes.hidden_size, sizes.num_attention_heads, sizes.intermediate_size, sizes.num_hidden_layers)
    load_pretrained(embeddings, encoder, published)
    for ids, real, want in batches:
        with torch.no_grad():
            got = encoder(embeddings(ids), real)
        assert (got - want)[real].abs().max() < 1e-5


# Masking


@few
@given(seeds, st.integers(0, 3), st.integers(0, 12), st.floats(0, 1))
def test_masking_changes_chosen_tokens_only(seed, B, T, share):
    ids = torch.randint(0, 20, (B, T), generator=generator(seed))
    kept = ids.clone()
    hidden, labels = mask_tokens(ids, SPECIAL, 4, 20, generator(seed), share)
    assert torch.equal(ids, kept)
    assert hidden.shape == labels.shape == ids.shape
    chosen = labels != -100
    assert torch.equal(labels[chosen], ids[chosen])
    assert torch.equal(hidden[~chosen], ids[~chosen])
    assert (ids[chosen] > 4).all()


@pytest.mark.parametrize("offset", range(1, 9))
def test_checks_of_chance_pass_with_other_seeds(monkeypatch, offset):
    monkeypatch.setattr(checks, "_generator", lambda seed: generator(seed + 1000 * offset))
    of_masking = checks.check_labels_of_chosen, checks.check_shares, checks.check_each_by_itself, checks.check_generator_of_masking
    of_pairs = checks.check_half_are_neighbours, checks.check_strangers_are_equally_likely, checks.check_pairs_at_the_ends
    results = run_checks(mask_tokens, of_masking) + run_checks(next_sentence_pairs, of_pairs)
    assert [result.message for result in results if not result.passed] == []


def test_a_right_answer_falls_outside_the_bounds_less_than_once_in_a_million_runs():
    outside = 0.0
    of_hidden_checks = (200, 0.85**10), (20_000, 0.8), (60_000, 0.85), (300, 0.5), (1_500, 1 / 27)
    for n, p in (*of_hidden_checks, (60_000, 0.15), (9_000, 0.8), (9_000, 0.1), (200, 0.15), (40_000, 0.1 / 12), (3_000, 0.5)):
        low, high = checks._bounds(n, p)
        outside = max(outside, binom.cdf(low - 1, n, p) + binom.sf(high, n, p))
    assert 1000 * outside < 1e-6


# Pairs


def test_pairs_have_the_probabilities_of_the_worked_example():
    documents = [["a1", "a2", "a3"], ["b1"], ["c1", "c2"], []]
    n, chance = 3_000, generator(1)
    found = Counter(next_sentence_pairs(documents, chance)[0] for _ in range(n))
    want = {("a1", "a2", True): 1 / 2, ("a1", "b1", False): 1 / 4, ("a1", "c1", False): 1 / 8, ("a1", "c2", False): 1 / 8}
    assert set(found) == set(want)
    for pair, p in want.items():
        low, high = checks._bounds(n, p)
        assert low <= found[pair] <= high


@few
@given(seeds, st.lists(st.integers(0, 4), min_size=2, max_size=6).filter(lambda sizes: sum(size > 0 for size in sizes) > 1))
def test_strangers_come_from_other_documents(seed, sizes):
    documents = [[(d, i) for i in range(size)] for d, size in enumerate(sizes)]
    pairs = next_sentence_pairs(documents, generator(seed))
    assert [first for first, _, _ in pairs] == [sentence for document in documents for sentence in document[:-1]]
    for (d, i), second, is_next in pairs:
        assert second == (d, i + 1) if is_next else second[0] != d


# The encoder


def test_encoder_without_positions_does_not_know_order():
    torch.manual_seed(0)
    encoder, x = Encoder(12, 3, 20, 2).double(), draw(2, 2, 5, 12)
    order, real = torch.tensor([3, 0, 4, 1, 2]), torch.ones(2, 5, dtype=torch.bool)
    assert torch.allclose(encoder(x, real)[:, order], encoder(x[:, order], real))


@pytest.mark.parametrize("training", [True, False])
def test_padding_changes_nothing(training):
    torch.manual_seed(0)
    encoder, x = Encoder(12, 3, 20, 2).double().train(training), draw(3, 1, 4, 12)
    longer = torch.cat([x, draw(4, 1, 3, 12)], dim=1)
    real = torch.tensor([[True] * 4 + [False] * 3])
    with torch.no_grad():
        assert torch.allclose(encoder(longer, real)[:, :4], encoder(x, real[:, :4]), atol=1e-9)


# The loss, and scores of gaps


def test_loss_of_a_model_for_pretraining():
    model = small(5).double()
    ids = torch.randint(5, 30, (3, 9), generator=generator(6))
    hidden_ids, labels = mask_tokens(ids, SPECIAL, 4, 30, generator(7), 0.5)
    with torch.no_grad():
        hidden = model.bert(hidden_ids).last_hidden_state
        head = model.cls.predictions
        got = masked_lm_loss(hidden, labels, head.transform, model.bert.embeddings.word_embeddings.weight, head.bias)
        want = nn.functional.cross_entropy(model(hidden_ids).prediction_logits.mT, labels)
    assert torch.allclose(got, want)


def test_loss_without_a_label_is_zero_and_can_be_differentiated():
    hidden, table = draw(8, 2, 3, 4).requires_grad_(), draw(9, 5, 4).requires_grad_()
    loss = masked_lm_loss(hidden, torch.full((2, 3), -100), nn.Identity(), table, torch.zeros(5, dtype=torch.float64))
    loss.backward()
    assert loss == 0
    assert (table.grad == 0).all()


def test_scores_of_gaps_are_those_of_the_toolkit():
    model = small(10, T=64)
    assert isinstance(model, BertForPreTraining)
    ordinary = torch.randint(5, 30, (40,), generator=generator(11)).tolist()
    got = pseudo_log_probs(model, torch.tensor([2, *ordinary, 3]), SPECIAL, 4)
    assert got.tolist() == pytest.approx(masked.pseudo_log_probs(model, ordinary).tolist(), abs=1e-4)
    assert not got.requires_grad
