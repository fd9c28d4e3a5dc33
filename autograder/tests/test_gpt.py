"""Properties of chapter 9's solutions for any sizes: equality with transformers, what filters leave, what a cache saves."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, RepetitionPenaltyLogitsProcessor, TopKLogitsWarper, TopPLogitsWarper

from lmkit import minis, tokenizer
from solutions.gpt import (
    GPT,
    CausalBlock,
    apply_temperature,
    cached_attention,
    count_parameters,
    generate,
    generate_cached,
    initialise,
    load_gpt2,
    repetition_penalty,
    top_k_filter,
    top_p_filter,
)

pytestmark = pytest.mark.usefixtures("one_thread")
few = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**31)
shapes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2))  # V / 4, H, D, layers


def draw(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def near(one, other, tolerance=1e-9):
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance)


def gpt2(seed, V, T, C, layers, H):
    """A GPT2LMHeadModel with random weights, none of them small."""
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    library = GPT2LMHeadModel(GPT2Config(vocab_size=V, n_positions=T, n_embd=C, n_layer=layers, n_head=H, **ends)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for one in library.parameters():
            one.normal_(0, 0.5, generator=generator)
    return library


# The model


@few
@given(seeds, shapes, st.integers(1, 6))
def test_the_whole_model_equals_gpt2_with_its_weights(seed, shape, t):
    quarter, H, D, layers = shape
    library = gpt2(seed, 4 * quarter, 6, H * D, layers, H)
    ids = torch.randint(4 * quarter, (2, t), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        mine, theirs = load_gpt2(library), library.double()
        assert near(mine.double()(ids), theirs(ids).logits)


@torch.no_grad()
def test_the_whole_model_equals_gpt_mini_with_its_weights():
    library = GPT2LMHeadModel.from_pretrained(minis.folder("gpt-mini")).eval()
    mine = load_gpt2(library).double()
    ids = torch.tensor([[tokenizer.END_ID, *tokenizer.token_ids("test")[3]][: library.config.n_positions]])
    assert near(mine(ids), library.double()(ids).logits)  # in float32 sums in another order differ by more than 1e-5


@few
@given(shapes, st.integers(1, 50))
def test_the_number_of_parameters_is_the_models(shape, T):
    V, H, D, layers = shape
    model = GPT(V, T, H * D, [CausalBlock(H * D, H) for _ in range(layers)])
    initialise(model, max(layers, 1), torch.Generator().manual_seed(0))
    assert count_parameters(V, T, H * D, layers) == sum(one.numel() for one in model.parameters())


# Decoding


@few
@given(seeds, st.integers(1, 60), st.integers(1, 80), st.sampled_from([0.3, 1.0, 4.0]))
def test_top_k_equals_transformers_also_with_equal_logits(seed, V, k, scale):
    logits = (scale * draw(seed, 3, V)).round()
    assert torch.equal(top_k_filter(logits, k), TopKLogitsWarper(k)(None, logits))


@few
@given(seeds, st.integers(1, 60), st.floats(0.01, 1.0), st.sampled_from([0.3, 1.0, 4.0]))
def test_what_top_p_leaves_reaches_p_and_without_its_last_token_would_not(seed, V, p, scale):
    logits = scale * draw(seed, 3, V)
    left = top_p_filter(logits, p) > -math.inf
    probabilities = logits.softmax(-1)
    mass, least = (probabilities * left).sum(-1), probabilities.masked_fill(~left, 2.0).amin(-1)
    assert left.any(-1).all()
    assert (mass > p - 1e-9).all()
    assert ((mass - least < p + 1e-9) | (left.sum(-1) == 1)).all()
    if ((probabilities.sort(descending=True).values.cumsum(-1) - p).abs() > 1e-9).all():
        assert torch.equal(top_p_filter(logits, p), TopPLogitsWarper(p)(None, logits))


@few
@given(seeds, st.integers(0, 8), st.floats(0.2, 5.0))
def test_repetition_equals_transformers(seed, T, penalty):
    logits, ids = draw(seed, 3, 12), torch.randint(12, (3, T), generator=torch.Generator().manual_seed(seed))
    assert near(repetition_penalty(ids, logits, penalty), RepetitionPenaltyLogitsProcessor(penalty)(ids, logits))


@few
@given(seeds, st.floats(0.1, 5.0))
def test_temperature_changes_no_order_and_no_set_of_top_k(seed, temperature):
    logits = draw(seed, 2, 20)
    other = apply_temperature(logits, temperature)
    assert torch.equal(logits.argsort(-1), other.argsort(-1))
    assert torch.equal(top_k_filter(logits, 5) > -math.inf, top_k_filter(other, 5) > -math.inf)


# The cache


@few
@given(seeds, st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_attention_in_pieces_is_attention_at_once(seed, pieces):
    given = [draw(seed + i, 1, 2, sum(pieces), 3) for i in range(3)]
    whole, _ = cached_attention(*given)
    outputs, cache = [], None
    for parts in zip(*(one.split(pieces, dim=2) for one in given), strict=True):
        output, cache = cached_attention(*parts, cache)
        outputs.append(output)
    assert near(torch.cat(outputs, 2), whole)
    assert all(torch.equal(one, all_places) for one, all_places in zip(cache, given[1:], strict=True))


@settings(max_examples=5, deadline=None)
@given(seeds, st.integers(0, 12))
def test_both_loops_write_the_same_and_the_cache_saves_the_work(seed, longest):
    library, asked = gpt2(seed, 20, 24, 8, 1, 2).double(), []

    @torch.no_grad()
    def step(ids):
        return library(ids).logits[:, -1]

    @torch.no_grad()
    def cached_step(ids, cache):
        asked.append(ids.shape[1])
        output = library(ids, past_key_values=cache, use_cache=True)
        return output.logits[:, -1], output.past_key_values

    assert generate(step, [3, 1, 4], longest, 0) == generate_cached(cached_step, [3, 1, 4], longest, 0)
    assert sum(asked) <= 3 + max(longest - 1, 0)
