"""Tests of lmkit.masked: stretches, pairs, masks, the losses, and the counting that a masked model is held to."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from lmkit import corpus, masked
from lmkit.errors import LmkitError
from lmkit.masked import CLS, MASK, NO_TARGET, PAD, SEP, Chunk

pytestmark = pytest.mark.usefixtures("one_thread")
V = 30
SHAPE = masked.config(V=V, C=16, layers=2, heads=4)
FOUND = [Chunk([[5, 6, 7], [8, 9]], "A"), Chunk([[10, 11, 12, 13]], "A"), Chunk([[14], [15, 16], [17, 18, 19]], "B"), Chunk([[20]], "C")]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def tokens():
    return masked.train_tokenizer(corpus.texts("train")[:300], 600)


def test_the_tokenizer_is_the_same_each_time_and_has_its_special_tokens_first(tokens):
    again = masked.train_tokenizer(corpus.texts("train")[:300], 600)
    assert tokens.get_vocab() == again.get_vocab()
    assert len(tokens) == 600
    assert tokens.convert_tokens_to_ids(list(masked.SPECIAL)) == [PAD, masked.UNK, CLS, SEP, MASK]
    assert tokens("the", "of").input_ids == [CLS, tokens.get_vocab()["the"], SEP, tokens.get_vocab()["of"], SEP]
    assert tokens.tokenize("The") == ["the"]


def test_chunks_hold_every_token_once_and_are_short_enough(tokens):
    found = masked.chunks("validation", tokens, 40)
    assert all(0 < sum(map(len, chunk.sentences)) <= 40 for chunk in found)
    whole = [i for text in corpus.texts("validation") for i in tokens(text, add_special_tokens=False, verbose=False)["input_ids"]]
    assert [i for chunk in found for sentence in chunk.sentences for i in sentence] == whole


def test_half_of_the_pairs_are_exchanged_with_another_article():
    second = {i for chunk in FOUND for i in itertools.chain(*chunk.sentences)}
    article = {i: chunk.title for chunk in FOUND for i in itertools.chain(*chunk.sentences)}
    labels = []
    for seed in range(200):
        for chunk, (a, b, label) in zip(FOUND, masked._pairs(FOUND, seeded(seed)), strict=True):
            whole = list(itertools.chain(*chunk.sentences))
            assert a == whole[: len(a)]
            assert (b == whole[len(a) :]) if label == 0 else all(article[i] != chunk.title for i in b)
            assert set(b) <= second
            labels.append(label)
    assert abs(sum(labels) / len(labels) - 0.5) < 0.09  # 5 deviations of 800 draws
    with pytest.raises(LmkitError, match="at least two"):
        masked._pairs(FOUND[:2] * 20, seeded())


def test_a_batch_by_hand():
    batch = masked._batch([([5, 6], [7], 0), ([8], [], 1)], V, seeded(), share=0.0)
    assert batch.input_ids.tolist() == [[CLS, 5, 6, SEP, 7, SEP], [CLS, 8, SEP, SEP, PAD, PAD]]
    assert batch.token_type_ids.tolist() == [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 0, 0]]
    assert batch.attention_mask.tolist() == [[1] * 6, [1, 1, 1, 1, 0, 0]]
    assert (batch.labels == NO_TARGET).all()
    assert batch.next_sentence_label.tolist() == [0, 1]


def test_masks_have_the_published_shares_and_touch_nothing_special():
    ids = torch.randint(0, V, (400, 100), generator=seeded())
    before = ids.clone()
    inputs, labels = masked.mask_tokens(ids, V, seeded(1))
    assert torch.equal(ids, before)
    chosen = labels != NO_TARGET
    assert not (chosen & (ids <= MASK)).any()
    assert torch.equal(labels[chosen], ids[chosen])
    assert torch.equal(inputs[~chosen], ids[~chosen])
    n, m = int((ids > MASK).sum()), int(chosen.sum())
    assert abs(m / n - 0.15) < 5 * (0.15 * 0.85 / n) ** 0.5
    shares = [(inputs[chosen] == MASK).double().mean().item(), (inputs[chosen] == ids[chosen]).double().mean().item()]
    for share, expected in zip(shares, (0.8 + 0.1 / V, 0.1 + 0.1 / V), strict=True):
        assert abs(share - expected) < 5 * (expected * (1 - expected) / m) ** 0.5


@pytest.mark.parametrize("start", [0, 1, 5, 9])
def test_from_a_step_on_the_batches_are_those_of_the_whole_run(start):
    whole = itertools.islice(masked.batches(FOUND, 2, V, 3), start, start + 3)
    for one, other in zip(whole, masked.batches(FOUND, 2, V, 3, start), strict=False):
        assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in vars(one))


def test_the_loss_is_that_of_transformers():
    model = masked.new(SHAPE, 0).eval()
    batch = next(masked.batches(FOUND, 4, V, 1, share=0.5))
    theirs = model(
        batch.input_ids, batch.attention_mask, batch.token_type_ids, labels=batch.labels, next_sentence_label=batch.next_sentence_label
    ).loss
    assert masked.loss(model, batch).item() == pytest.approx(theirs.item(), abs=1e-5)


def test_two_heads_start_by_looking_at_the_neighbours():
    places = masked.waves(torch.arange(20), 16)
    assert torch.allclose(places[1:], places[:-1] @ masked.turned(1, 16).T, atol=1e-5)
    model = masked.new(masked.config(), 0).eval()
    model.set_attn_implementation("eager")
    weights = model.bert(torch.randint(5, 4096, (2, 50), generator=seeded()), output_attentions=True).attentions[0]
    for head, step in ((0, -1), (1, 1)):
        assert weights[:, head].diagonal(step, 1, 2).mean() > 0.5
    assert weights[:, 2].diagonal(1, 1, 2).mean() < 0.1


def test_counting_by_hand():
    counts = masked.Neighbours([Chunk([[5, 6, 7]], "A"), Chunk([[5, 6, 8]], "A"), Chunk([[9, 5, 7]], "A"), Chunk([[5, 7, 8]], "A")])
    rows = [[5, MASK, 8], [9, MASK, 6], [MASK, MASK, 7]]
    inputs = torch.tensor([[CLS, *row, SEP] for row in rows])
    held_out = masked.Gaps(inputs.where(inputs != MASK, 5), inputs, inputs == MASK)
    assert counts.most_frequent(held_out).tolist() == [5, 5, 5, 5]
    # behind 5 stand 6 and 7 twice each: the lower id; behind 9 stands 5; behind [CLS] 5, three times of four; behind [MASK] nothing
    assert counts.bigram(held_out).tolist() == [6, 5, 5, 5]
    # 5 _ 8: 6 has 2 · 1 / 2, 7 has 2 · 1 / 3; 9 _ 6: 5 has 1 · 2 / 4; beside a hidden neighbour as bigram
    assert counts.both_sides(held_out).tolist() == [6, 5, 5, 5]
    assert masked.accuracy(torch.tensor([5, 6, 5, 6]), held_out) == 0.5


def test_gaps_hide_only_tokens_and_are_the_same_each_time():
    one, same = masked.gaps_of(FOUND, 0.5), masked.gaps_of(FOUND, 0.5)
    assert torch.equal(one.inputs, same.inputs)
    assert one.hidden.any()
    assert (one.ids[one.hidden] > MASK).all()
    assert (one.inputs[one.hidden] == MASK).all()
    assert torch.equal(one.inputs[~one.hidden], one.ids[~one.hidden])


def test_guesses_are_those_of_the_whole_model():
    model, held_out = masked.new(SHAPE, 0).eval(), masked.gaps_of(FOUND, 0.5)
    logits = model(held_out.inputs, (held_out.inputs != PAD).long()).prediction_logits
    assert torch.equal(masked.guesses(model, held_out, size=3), logits[held_out.hidden].argmax(dim=-1))


def test_pseudo_log_probs_hide_one_token_at_a_time():
    model, ids = masked.new(SHAPE, 0).eval(), [7, 9, 7, 12, 20]
    values = masked.pseudo_log_probs(model, ids, size=2)
    for t, token in enumerate(ids):
        row = [CLS, *ids, SEP]
        row[t + 1] = MASK
        expected = F.log_softmax(model(torch.tensor([row])).prediction_logits[0, t + 1].double(), dim=0)[token]
        assert values[t] == pytest.approx(expected.item(), abs=1e-5)
    assert masked.pseudo_log_probs(model, []).shape == (0,)
    with pytest.raises(LmkitError, match="give at most 126"):
        masked.pseudo_log_probs(model, [5] * 127)
