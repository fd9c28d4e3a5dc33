"""Properties of chapter 7's solutions for any sizes: causality, permutation, padding, places that see nothing, equality with torch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from lmkit.subject import gradients
from solutions.transformer import (
    DecoderBlock,
    EncoderBlock,
    LayerNorm,
    MultiHeadAttention,
    attention,
    causal_mask,
    padding_mask,
    sinusoidal_positions,
)

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")
few = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**31)
lengths = st.integers(1, 7)
shapes = st.tuples(st.integers(1, 3), st.integers(1, 4))  # heads, and numbers in a head
CLOSE = 1e-9


def draw(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_mask(seed, *shape):
    """Some rows of it are wholly hidden."""
    generator = torch.Generator().manual_seed(seed)
    shares = torch.rand((*shape[:-1], 1), generator=generator).round(decimals=1)
    return torch.rand(shape, generator=generator) < shares


def filled(module, seed):
    """The module in float64 with random weights."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double()
    module.load_state_dict({k: torch.randn(v.shape, generator=generator, dtype=v.dtype) / 2 for k, v in module.state_dict().items()})
    return module


def like(module, library):
    """The module with the library's weights."""
    module.double().load_state_dict(library.state_dict())
    return module


def near(one, other, tolerance=CLOSE):
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance)


def same_gradients(module, oracle, inputs, output, *more):
    """Both give the same gradients of inputs and parameters.   more: what the module alone is given"""
    upstream = draw(1, *output.shape)
    found, wanted = gradients(module, *inputs, *more, upstream=upstream), gradients(oracle, *inputs, upstream=upstream)
    pairs = [*zip(found[1], wanted[1], strict=False), *((found[2][name.removeprefix("inner.")], one) for name, one in wanted[2].items())]
    return all(near(one, other, 1e-6) for one, other in pairs if other is not None)


class Named(nn.Module):
    """A layer of torch with arguments that it gets beforehand."""

    def __init__(self, inner, **named):
        super().__init__()
        self.inner, self.named = inner, named

    def forward(self, *inputs):
        got = self.inner(*inputs, **self.named)
        return got[0] if isinstance(got, tuple) else got


# Weights


@few
@given(seeds, shapes, lengths, lengths)
def test_weights_of_what_is_seen_sum_to_one_and_all_others_are_zero(seed, shape, T, S):
    H, D = shape
    query, key, value = draw(seed, 2, H, T, D), draw(seed + 1, 2, H, S, D), draw(seed + 2, 2, H, S, D)
    mask = random_mask(seed, 2, 1, T, S)
    output, weights = attention(query, key, value, mask)
    assert (weights[~mask.expand_as(weights)] == 0).all()
    sees = mask.any(-1).expand(2, H, T).to(weights.dtype)
    assert near(weights.sum(-1), sees)
    assert (output[sees == 0] == 0).all()
    assert near(output, F.scaled_dot_product_attention(query, key, value, attn_mask=mask))


@few
@given(seeds, shapes, lengths, lengths)
def test_gradients_are_torchs_also_where_a_place_sees_nothing(seed, shape, T, S):
    H, D = shape
    inputs, mask = [draw(seed, 2, H, T, D), draw(seed + 1, 2, H, S, D), draw(seed + 2, 2, H, S, D)], random_mask(seed, 2, 1, T, S)
    upstream = draw(seed + 3, 2, H, T, D)
    _, found, _ = gradients(attention, *inputs, mask, upstream=upstream)
    _, wanted, _ = gradients(F.scaled_dot_product_attention, *inputs, mask, upstream=upstream)
    assert all(one.isfinite().all() for one in found[:3])
    assert all(near(one, other, 1e-6) for one, other in zip(found[:3], wanted[:3], strict=True))


# Masks


@few
@given(seeds, lengths, st.integers(0, 3))
def test_padding_in_front_leaves_places_that_see_nothing(seed, T, front):
    tokens = torch.randint(1, 9, (1, T), generator=torch.Generator().manual_seed(seed))
    mask = padding_mask(F.pad(tokens, (front, 0)), 0) & causal_mask(front + T)
    assert mask.shape == (1, 1, front + T, front + T)
    assert mask[0, 0].sum(-1).tolist() == [0] * front + list(range(1, T + 1))


@few
@given(seeds, shapes, st.integers(2, 7), st.data())
def test_nothing_depends_on_what_comes_later(seed, shape, T, data):
    H, D = shape
    t = data.draw(st.integers(1, T - 1))
    x, memory, real = draw(seed, 2, T, H * D), draw(seed + 1, 2, 3, H * D), torch.ones(2, 3, dtype=torch.bool)
    other = x.clone()
    other[:, t:] += 1 + draw(seed + 2, 2, T - t, H * D)
    heads = filled(MultiHeadAttention(H * D, H), seed)
    block = filled(DecoderBlock(H * D, H, 5, norm_first=bool(seed % 2)), seed)
    first, second = (heads(one, one, one, causal_mask(T)) for one in (x, other))
    assert near(first[:, :t], second[:, :t])
    first, second = (block(one, memory, real) for one in (x, other))
    assert near(first[:, :t], second[:, :t])


@few
@given(seeds, shapes, lengths, st.integers(1, 3))
def test_padding_changes_nothing(seed, shape, T, more):
    H, D = shape
    C, norm_first = H * D, bool(seed % 2)
    x, tail = draw(seed, 2, T, C), draw(seed + 1, 2, more, C)
    longer, real = torch.cat([x, tail], 1), torch.arange(T + more).expand(2, -1) < T
    heads, encoder = filled(MultiHeadAttention(C, H), seed), filled(EncoderBlock(C, H, 5, norm_first), seed)
    decoder, y = filled(DecoderBlock(C, H, 5, norm_first), seed), draw(seed + 2, 2, 3, C)
    assert near(heads(y, longer, longer, real[:, None, None]), heads(y, x, x))
    assert near(encoder(longer, real)[:, :T], encoder(x, real[:, :T]))
    assert near(decoder(y, longer, real), decoder(y, x, real[:, :T]))


# Order


@few
@given(seeds, shapes, st.integers(2, 7))
def test_shuffled_tokens_give_shuffled_answers(seed, shape, T):
    H, D = shape
    order = torch.randperm(T, generator=torch.Generator().manual_seed(seed))
    x, real = draw(seed, 2, T, H * D), torch.ones(2, T, dtype=torch.bool)
    heads, block = filled(MultiHeadAttention(H * D, H), seed), filled(EncoderBlock(H * D, H, 5, norm_first=bool(seed % 2)), seed)
    assert near(heads(x[:, order], x[:, order], x[:, order]), heads(x, x, x)[:, order])
    assert near(block(x[:, order], real), block(x, real)[:, order])


def test_positions_tell_the_order():
    x, real = draw(1, 1, 4, 6), torch.ones(1, 4, dtype=torch.bool)
    block, turned = filled(EncoderBlock(6, 2, 5), 2), [3, 2, 1, 0]
    placed = [block(one + sinusoidal_positions(4, 6), real) for one in (x, x[:, turned])]
    assert not near(placed[0][:, turned], placed[1], 1e-3)


@few
@given(st.integers(1, 40), st.integers(1, 20))
def test_the_product_of_two_positions_depends_on_their_distance_alone(T, pairs):
    positions = sinusoidal_positions(T, 2 * pairs).double()
    assert positions.shape == (T, 2 * pairs)
    products = positions @ positions.T
    for distance in range(T):
        along = products.diagonal(distance)
        assert near(along, along[0].expand_as(along), 1e-4)
    assert near(products.diagonal(), torch.full((T,), float(pairs), dtype=torch.float64), 1e-4)


# Equality with torch


@few
@given(seeds, shapes, lengths, lengths, st.booleans())
def test_heads_equal_torchs(seed, shape, T, S, hides):
    H, D = shape
    library = filled(nn.MultiheadAttention(H * D, H, batch_first=True), seed)
    heads, inputs = like(MultiHeadAttention(H * D, H), library), [draw(seed + i, 2, (T, S, S)[i], H * D) for i in range(3)]
    mask = random_mask(seed, 2, H, T, S) if hides else None
    oracle = Named(library, need_weights=False, attn_mask=None if mask is None else ~mask.flatten(0, 1))
    output = heads(*inputs, mask)
    assert near(output, oracle(*inputs))
    assert same_gradients(heads, oracle, inputs, output, mask)


@few
@given(seeds, st.lists(lengths, min_size=1, max_size=3), st.sampled_from([1e-4, 1.0, 1e3]))
def test_norm_equals_torchs_and_knows_neither_shift_nor_scale(seed, shape, scale):
    library = filled(nn.LayerNorm(shape[-1]), seed)
    norm, x = like(LayerNorm(shape[-1]), library), scale * draw(seed, *shape)
    assert near(norm(x), library(x))
    assert same_gradients(norm, library, [x], x)
    fine = like(LayerNorm(shape[-1], eps=1e-18), library)
    assert shape[-1] < 3 or near(fine(x), fine(7 + 3 * x), 1e-5)


@few
@given(seeds, shapes, lengths, lengths, st.booleans())
def test_blocks_equal_torchs(seed, shape, T, S, norm_first):
    H, D = shape
    C, options = H * D, {"dropout": 0.0, "batch_first": True, "norm_first": norm_first}
    x, memory = draw(seed, 2, T, C), draw(seed + 1, 2, S, C)
    real = torch.arange(S) < torch.randint(1, S + 1, (2, 1), generator=torch.Generator().manual_seed(seed))

    library = filled(nn.TransformerEncoderLayer(C, H, 5, **options), seed)
    encoder, oracle = like(EncoderBlock(C, H, 5, norm_first), library), Named(library, src_key_padding_mask=~real)
    output = encoder(memory, real)
    assert near(output, oracle(memory))
    assert same_gradients(encoder, oracle, [memory], output, real)

    library = filled(nn.TransformerDecoderLayer(C, H, 5, **options), seed)
    hidden = {"tgt_mask": ~causal_mask(T), "memory_key_padding_mask": ~real}
    decoder, oracle = like(DecoderBlock(C, H, 5, norm_first), library), Named(library, **hidden)
    output = decoder(x, memory, real)
    assert near(output, oracle(x, memory))
    assert same_gradients(decoder, oracle, [x, memory], output, real)
