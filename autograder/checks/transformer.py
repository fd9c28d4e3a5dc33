"""Checks of the exercises of chapter 7, the Transformer."""

import math
from functools import partial
from itertools import product

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lmkit import sequences
from lmkit.check import hidden, visible
from lmkit.compare import alike, assert_close, assert_gradients, shown, tensor
from lmkit.subject import find, make

HIDES = ("lmkit.transformer",)  # while work is graded: it holds what 7.8 asks for


_INPUTS = "the queries", "the keys", "the values"


def _drawn(shape, seed, dtype=torch.float64):
    """Random numbers, most of them between -2 and 2."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _random_state(module, seed):
    """Weights for all parameters of a module, none of them small or alike: name -> tensor, float64."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(one.shape, generator=generator, dtype=torch.float64) / (one.shape[-1] ** 0.5 if one.ndim > 1 else 2)
        for name, one in module.state_dict().items()
    }


def _filled(module, state):
    """The module in float64, with these weights."""
    module = module.double()
    module.load_state_dict(state)
    return module


def _named_parameters(what, module, state, library):
    """AssertionError where a student's module has parameters of other names or shapes than these."""
    try:
        own = {name: tuple(one.shape) for name, one in module.named_parameters()}
    except AttributeError:
        raise AssertionError(f"{what} is no nn.Module whose super().__init__() has run: write `class …(nn.Module)`, and call it") from None
    advice = f"name the parts as {library} does, so that its weights fit"
    missing, more = [name for name in state if name not in own], [name for name in own if name not in state]
    parts = ", ".join(dict.fromkeys(name.partition(".")[0] for name in own))
    assert not missing, f"{what} has no parameter {missing[0]}; it has {parts or 'none'}: {advice}"
    assert not more, f"{what} has a parameter {more[0]}, which {library} has not: {advice}"
    for name, one in state.items():
        assert own[name] == tuple(one.shape), f"{what}: its parameter {name} has the shape {own[name]}, expected {tuple(one.shape)}"


def _filled_answer(what, module, state, library):
    """A student's module with these weights, in float64. AssertionError: other parameters than the library's, or built on that."""
    _named_parameters(what, module, state, library)
    is_a, itself = find(module, "builtins.isinstance"), getattr(nn, library.removeprefix("nn."))
    built_on = any(is_a(part, itself) for part in module.modules())
    assert not built_on, f"{what} is built on {library}: write its steps yourself, and keep the library's for comparing"
    return _filled(module, state)


def _gradients_alike(what, subject, oracle, given, names, upstream, also=()):
    """Gradients as the oracle's. given: tensors for both; also: more for the subject alone."""
    own = oracle.named_parameters() if isinstance(oracle, nn.Module) else ()
    parameters = {name.removeprefix("library."): name for name, _ in own}
    assert_gradients(what, subject, oracle, (*given, *also), names, upstream, parameters, tuple(given))


class _WithMasks(nn.Module):
    """A layer of torch with masks that it gets beforehand, by their names there."""

    def __init__(self, library, **masks):
        super().__init__()
        self.library, self.masks = library, masks

    def forward(self, *given):
        got = self.library(*given, **self.masks)
        return got[0] if isinstance(got, tuple) else got


def _unchanged(what, given, kept, advice="work on new tensors: `x = x + …`, not `x += …`"):
    for name, one in kept.items():
        assert torch.equal(given[name], one), f"{what}: {name}, which was given, is changed: {advice}"


# 7.1 Masks


def _mask(what, got, shape, letters):
    """A mask that an answer returned: bool, of this shape."""
    expected = f"a bool tensor of shape {letters} = {shape}"
    assert isinstance(got, torch.Tensor), f"{what}: expected {expected}, got {shown(got)}"
    kind = ": True where a place may be looked at, not 0 and -inf, nor 1 and 0" if got.dtype.is_floating_point else ""
    assert got.dtype == torch.bool, f"{what}: expected {expected}, got one of {got.dtype}{kind}"
    assert tuple(got.shape) == shape, f"{what}: expected {expected}, got the shape {tuple(got.shape)}"
    return got


def _assert_mask(what, got, want, slips=()):
    """Compare two masks. slips: pairs (what a usual mistake gives, what to say of it)."""
    if not torch.equal(got, want):
        place = tuple(torch.nonzero(got != want)[0].tolist())
        known = [f": {advice}" for slip, advice in slips if torch.equal(got, torch.as_tensor(slip))]
        raise AssertionError(f"{what}: at {place} it is {got[place].item()}, expected {want[place].item()}{''.join(known[:1])}")


_TORCH_SENSE = "True means `may be looked at` here; nn.MultiheadAttention has it the other way round"


@visible(points=0.5)
def check_causal_mask_of_three(causal_mask):
    """Three places: the worked example"""
    want = torch.tensor([[True, False, False], [True, True, False], [True, True, True]])
    alone = [[False, False, False], [True, False, False], [True, True, False]]
    slips = (
        (want.T, "it is turned over: row t is the place that looks, column s the one that is looked at"),
        (alone, "a place may look at itself: the first could look at nothing else"),
        (~want, _TORCH_SENSE),
    )
    _assert_mask("causal_mask(3)", _mask("causal_mask(3)", causal_mask(3), (3, 3), "(T, T)"), want, slips)


@hidden(points=0.5)
def check_causal_masks(causal_mask):
    """Other lengths: each place may look at one place more than the one before it"""
    for T in (1, 2, 7, 40, 0):
        what = f"causal_mask({T})"
        got = _mask(what, causal_mask(T), (T, T), "(T, T)")
        for t in range(T):
            open_places, want = torch.nonzero(got[t]).flatten().tolist(), list(range(t + 1))
            lost = [s for s in want if s not in open_places]
            assert not lost, f"{what}: place {t} may not look at place {lost[0]}; it may look at itself and all earlier places"
            assert open_places == want, f"{what}: place {t} may look at place {open_places[t + 1]}, which is later"


@visible(points=0.5)
def check_padding_mask_of_two(padding_mask):
    """Two rows of three tokens: the worked example, alone and with a causal mask"""
    what = "ids [[5, 3, 0], [4, 0, 0]], pad = 0"
    want = torch.tensor([[[[True, True, False]]], [[[True, False, False]]]])
    got = _mask(what, padding_mask(torch.tensor([[5, 3, 0], [4, 0, 0]]), 0), (2, 1, 1, 3), "(B, 1, 1, S)")
    _assert_mask(what, got, want, ((~want, _TORCH_SENSE),))
    both = got & torch.tensor([[True, False, False], [True, True, False], [True, True, True]])
    assert both.shape == (2, 1, 3, 3), f"{what}: with a causal mask by & it has the shape {tuple(both.shape)}, expected (2, 1, 3, 3)"


@hidden(points=0.5)
def check_padding_masks(padding_mask):
    """Another padding id, padding in front and within, rows of padding alone, the ids as they were"""
    cases = (
        ([[7, 9, 9], [9, 9, 9]], 9, "a row of padding alone"),
        ([[0, 3, 9]], 9, "0 is a token like others where the padding is 9"),
        ([[0, 0, 6, 2], [5, 0, 4, 0]], 0, "padding may stand in front, or within"),
        ([[1], [0]], 0, "one place"),
    )
    for rows, pad, about in cases:
        ids = torch.tensor(rows)
        what = f"ids {rows}, pad = {pad} ({about})"
        got = _mask(what, padding_mask(ids, pad), (len(rows), 1, 1, len(rows[0])), "(B, 1, 1, S)")
        _assert_mask(what, got, torch.tensor([[[[token != pad for token in row]]] for row in rows]))
        assert ids.tolist() == rows, f"{what}: the ids that were given have become {ids.tolist()}"


# 7.2 Attention


def _attended(what, got, output_shape, weights_shape):
    """The pair that attention returned, as tensors without a graph."""
    assert not isinstance(got, list), f"{what}: expected a pair, (output, weights), got a list: `return output, weights`, without brackets"
    assert isinstance(got, tuple), f"{what}: expected a pair, (output, weights), got {shown(got)}"
    assert len(got) == 2, f"{what}: expected a pair, (output, weights), got {len(got)} values"
    weights = tensor(f"{what}: the weights", got[1], weights_shape, "(..., T, S)")
    return tensor(f"{what}: the output", got[0], output_shape, "(..., T, E)"), weights


def _two_queries():
    """Queries, keys and values of the worked example: D = 4, so its root is 2."""
    values = [[2, 0, 0, 0], [0, 0, 0, 2]], [[0, 0, 0, 0], [math.log(3), 0, 0, 0]], [[4, 0], [0, 8]]
    return [torch.tensor(one, dtype=torch.float64) for one in values]


def _assert_by_hand(what, got, weights, output, slips):
    """Weights and outputs of the worked example. slips: pairs (weights that a usual mistake gives, what to say of it)."""
    got_output, got_weights = _attended(what, got, (2, 2), (2, 2))
    assert_close(f"{what}: the weights", got_weights, torch.tensor(weights, dtype=torch.float64), slips)
    of_keys = "the weights are right; an output is the sum of the values, each times its weight: weights @ value"
    assert_close(f"{what}: the output", got_output, torch.tensor(output, dtype=torch.float64), ((got_output, of_keys),))


@visible(points=0.5)
def check_two_queries(attention):
    """The worked example: weights 1/4 and 3/4, and 1/2 and 1/2"""
    slips = (
        ([[0.1, 0.9], [0.5, 0.5]], "the scores are not divided by the root of D, 2"),
        ([[0.3660, 0.6340], [0.5, 0.5]], "the scores are divided by D, 4; divide them by its root"),
        ([[0.1746, 0.8254], [0.5, 0.5]], "the scores are divided by the root of the number of keys; D is the size of a query, 4"),
        ([[0.5, 0.75], [0.5, 0.25]], "the softmax goes over the queries; the weights of one query, a row, sum to one"),
        ([[0.0, 1.0986], [0.0, 0.0]], "these are the scores; the weights are their softmax"),
    )
    _assert_by_hand("the worked example", attention(*_two_queries()), [[0.25, 0.75], [0.5, 0.5]], [[1.0, 6.0], [2.0, 4.0]], slips)


@visible(points=0.5)
def check_hidden_keys(attention):
    """The worked example with a mask: what is hidden has weight 0 and takes nothing from the rest"""
    slips = (
        ([[0.25, 0.0], [0.0, 0.5]], "the rest no longer sums to one: hide the scores before the softmax, not the weights after it"),
        ([[0.5, 0.5], [0.5, 0.5]], "a score of 0 is a score like others; a hidden one must become -inf"),
        ([[0.0, 1.0], [1.0, 0.0]], _TORCH_SENSE),
        ([[0.25, 0.75], [0.5, 0.5]], "the mask is not used"),
    )
    mask = torch.tensor([[True, False], [False, True]])
    what = "the worked example, where query 0 may look at key 0 alone, and query 1 at key 1"
    _assert_by_hand(what, attention(*_two_queries(), mask), [[1.0, 0.0], [0.0, 1.0]], [[4.0, 0.0], [0.0, 8.0]], slips)


def _library_attention(query, key, value, mask=None):
    """Output and weights by F.scaled_dot_product_attention: its output for values that are one-hot are the weights."""
    one_hot = torch.eye(key.shape[-2], dtype=key.dtype).expand(*key.shape[:-2], -1, -1)
    given = [F.scaled_dot_product_attention(query, key, last, attn_mask=mask) for last in (value, one_hot)]
    return given[0], given[1]


def _assert_hidden_weights(what, weights, mask):
    """What a mask hides has the weight 0, not only nearly."""
    hidden_weights = weights[~mask.expand(weights.shape)]
    assert (hidden_weights == 0).all(), f"{what}: a hidden key has a weight that is not exactly 0: give it the score -inf, not a low one"


def _random_attention(shape, T, S, D, E, seed, dtype=torch.float64):
    """Random queries, keys and values with these leading dimensions."""
    return [_drawn((*shape, *last), seed + i, dtype) for i, last in enumerate(((T, D), (S, D), (S, E)))]


def _random_mask(shape, seed):
    """A random mask; the first place may always be looked at."""
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.6
    mask[..., 0] = True
    return mask


@hidden(points=0.5)
def check_attention_of_library(attention):
    """Heads and batches, other lengths and widths, masks that broadcast, float32: as F.scaled_dot_product_attention"""
    cases = (((2, 3), 5, 5, 4, 4, None), ((2, 3), 5, 7, 4, 6, None), ((4,), 3, 2, 1, 5, (3, 2)), ((1, 1), 1, 1, 9, 2, None),
             ((2, 3), 4, 6, 5, 2, (2, 1, 1, 6)), ((2, 3), 6, 6, 5, 5, (6, 6)), ((2, 2), 4, 5, 3, 3, (2, 2, 4, 5)))  # fmt: skip
    for number, (shape, T, S, D, E, masked) in enumerate(cases):
        for dtype in (torch.float64, torch.float32):
            given = _random_attention(shape, T, S, D, E, 10 * number, dtype)
            mask = None if masked is None else _random_mask(masked, number)
            shapes = f"queries {tuple(given[0].shape)}, keys {tuple(given[1].shape)}, values {tuple(given[2].shape)}"
            what = f"random {shapes}, {dtype}" + ("" if masked is None else f", a mask of shape {masked}")
            want = _library_attention(*given, mask)
            got = _attended(what, attention(*given, mask) if mask is not None else attention(*given), want[0].shape, want[1].shape)
            for name, mine, theirs in zip(("output", "weights"), got, want, strict=True):
                assert mine.dtype == dtype, f"{what}: the {name} have the type {mine.dtype}, expected that of the inputs"
                assert_close(f"{what}: the {name}", mine, theirs, tolerance=1e-6 if dtype == torch.float64 else 1e-4)
            if mask is not None:
                _assert_hidden_weights(what, got[1], mask)


@hidden(points=0.5)
def check_rows_that_see_nothing(attention):
    """A query that may look at nothing has weights of 0 and the output 0, and leaves its neighbours alone"""
    given, mask = _random_attention((2, 3), 4, 5, 4, 4, 70), _random_mask((2, 1, 4, 5), 7)
    mask[0, 0, 2], mask[1, 0] = False, False
    what = "random queries, some of which may look at nothing"
    output, weights = _attended(what, attention(*given, mask), (2, 3, 4, 4), (2, 3, 4, 5))
    about = "the softmax of a row that is wholly -inf is 0 / 0; set these weights to 0"
    for name, one in (("weights", weights), ("output", output)):
        assert not one.isnan().any(), f"{what}: the {name} hold nan: {about}"
    evenly = "they have the weight 1/5 at every key; where all scores are equally low, the softmax is even: set these weights to 0"
    assert not alike(weights[0, :, 2], torch.full((3, 5), 0.2)), f"{what}: {evenly}"
    for name, mine, theirs in zip(("output", "weights"), (output, weights), _library_attention(*given, mask), strict=True):
        assert_close(f"{what}: the {name}", mine, theirs)


@hidden(points=0.5)
def check_gradients_of_attention(attention):
    """Gradients of queries, keys and values, as F.scaled_dot_product_attention's; none is nan, also where a query sees nothing"""
    for masked, about in ((None, "without a mask"), (_random_mask((2, 1, 4, 5), 8), "with a mask"), (None, "where a query sees nothing")):
        given, mask = _random_attention((2, 3), 4, 5, 4, 3, 80), masked
        if "nothing" in about:
            mask = _random_mask((2, 1, 4, 5), 9)
            mask[1, 0, 1] = False
        what = f"random queries, keys and values, {about}"
        oracle = partial(F.scaled_dot_product_attention, attn_mask=mask)
        _gradients_alike(what, attention, oracle, given, _INPUTS, _drawn((2, 3, 4, 3), 90), () if mask is None else (mask,))


@hidden(points=0.5)
def check_large_scores(attention):
    """Scores in the thousands; what is given stays as it is"""
    query, key, value = _random_attention((2,), 3, 4, 4, 4, 100)
    mask = _random_mask((2, 3, 4), 10)
    what = "queries and keys 100 times as large as usual"
    want = _library_attention(100 * query, 100 * key, value, mask)
    got = _attended(what, attention(100 * query, 100 * key, value, mask), (2, 3, 4), (2, 3, 4))
    overflow = "an exponential has become inf; torch.softmax subtracts the largest score first"
    for name, mine, theirs in zip(("output", "weights"), got, want, strict=True):
        assert mine.isfinite().all(), f"{what}: the {name} hold nan or inf: {overflow}"
        assert_close(f"{what}: the {name}", mine, theirs)
    given = {"query": query, "key": key, "value": value, "mask": mask}
    kept = {name: one.clone() for name, one in given.items()}
    attention(*given.values())
    _unchanged("random queries, keys and values", given, kept)


# 7.3 Multi-head attention

_HEADS = "the library's weights, C = {}, H = {}"


def _heads(C, H, seed, state=None):
    """torch's own attention with random weights, or with these."""
    library = nn.MultiheadAttention(C, H, batch_first=True)
    return _filled(library, _random_state(library, seed) if state is None else state)


def _own_heads(MultiHeadAttention, C, H, state):
    return _filled_answer(f"MultiHeadAttention({C}, {H})", MultiHeadAttention(C, H), state, "nn.MultiheadAttention")


def _joined(what, got, shape, letters):
    """What the heads return, one tensor."""
    assert not isinstance(got, tuple), f"{what}: got a pair or more, as nn.MultiheadAttention returns; return the result alone"
    return tensor(what, got, shape, letters)


def _library_heads(library, query, key, value, mask=None):
    """torch's multi-head attention; there a mask has a row of matrices for each batch and head, and True hides."""
    if mask is not None:
        B, T, S, H = len(query), query.shape[1], key.shape[1], library.num_heads
        mask = ~mask.expand(B, H, T, S).reshape(B * H, T, S)
    return library(query, key, value, attn_mask=mask, need_weights=False)[0]


@visible(points=0.5)
def check_places_stay_apart(MultiHeadAttention):
    """A token gets the same, whatever those tokens are that it may not look at"""
    C, H, T = 6, 3, 4
    library, x = _heads(C, H, 1), _drawn((2, T, C), 2)
    heads, other = _own_heads(MultiHeadAttention, C, H, library.state_dict()), x.clone()
    other[:, 1:] += 1
    first_alone = torch.zeros(T, T, dtype=torch.bool)
    first_alone[:, 0] = True
    mixed = "numbers of different tokens are mixed; the heads' dimension is a part of C, never of T: split C first, then move dimensions"
    mixed += ", and before joining move the heads' dimension back"
    for about, mask in (("at itself alone", torch.eye(T, dtype=torch.bool)), ("at the first token alone", first_alone)):
        what = f"{_HEADS.format(C, H)}, where each token may look {about}"
        before, after = (_joined(what, heads(one, one, one, mask), (2, T, C), "(B, T, C)") for one in (x, other))
        with torch.no_grad():
            slips = ((_library_heads(library, x, x, x, ~mask), _TORCH_SENSE), (_library_heads(library, x, x, x), "the mask is not used"))
        advice = next((advice for slip, advice in slips if alike(before, slip)), mixed)
        moved = (before - after).abs()[:, : 1 if mask[1, 1] else T].max()
        assert moved < 1e-9, f"{what}: when other tokens change, so does the result, by {moved:.4f}: {advice}"
        apart = (before - before[:, :1]).abs().max()
        assert mask[1, 1] or apart < 1e-9, f"{what}: all must get the same, and a number differs by {apart:.4f}: {advice}"


@visible(points=0.5)
def check_two_heads(MultiHeadAttention):
    """The worked example: two heads of one number each"""
    three, zeros = math.log(3), torch.zeros(2)
    rows = [[three, 0], [0, three], [1, 0], [0, 1], [4, 0], [0, 8]]
    state = {"in_proj_weight": torch.tensor(rows, dtype=torch.float64), "in_proj_bias": torch.zeros(6),
             "out_proj.weight": torch.tensor([[1.0, 1.0], [0.0, 1.0]]), "out_proj.bias": zeros}  # fmt: skip
    x = torch.tensor([[[1, 0], [0, 1]]], dtype=torch.float64)
    heads = _own_heads(MultiHeadAttention, 2, 2, state)
    got = _joined("the worked example", heads(x, x, x), (1, 2, 2), "(B, T, C)")
    slips = (
        ([[[3, 4], [2, 6]]], "out_proj is missing: this is what the heads return, side by side"),
        ([[[3, 7], [2, 8]]], "out_proj is turned over; it is a linear layer, so call it"),
        ([[[5, 2], [10, 6]]], "before joining, move the heads' dimension back behind that of the tokens"),
        ([[[6.74, 4], [7.48, 5.48]]], "the scores are divided by the root of C; each head has D = C / H numbers, here 1"),
        ([[[5.26, 2.52], [6.74, 5.48]]], "both heads are one: split the C numbers into H heads of D"),
    )
    assert_close("the worked example: the result", got, torch.tensor([[[7, 4], [8, 6]]], dtype=torch.float64), slips)


def _head_slips(library, x, mask=None):
    """What usual mistakes give, by the library with other weights."""
    state, C, H = library.state_dict(), library.embed_dim, library.num_heads
    D = C // H
    W, b = state["in_proj_weight"], state["in_proj_bias"]
    q, k, v = W.split(C)
    bq, bk, bv = b.split(C)
    across = torch.arange(C).view(D, H).T.flatten()  # the numbers of head 0, then those of head 1, if every H-th one belonged to it

    def scaled(factor):
        return {"in_proj_weight": torch.cat([q * factor, k, v]), "in_proj_bias": torch.cat([bq * factor, bk, bv])}

    others = (
        ({"in_proj_weight": torch.cat([q.T, k.T, v.T])}, "a projection is x W.T + b, as F.linear has it; here W is turned over"),
        ({"in_proj_weight": torch.cat([v, k, q]), "in_proj_bias": torch.cat([bv, bk, bq])}, "the matrices stand in the order q, k, v"),
        ({"in_proj_weight": torch.cat([k, v, q]), "in_proj_bias": torch.cat([bk, bv, bq])}, "the matrices stand in the order q, k, v"),
        ({"in_proj_bias": torch.zeros_like(b)}, "in_proj_bias is missing"),
        ({"out_proj.weight": torch.eye(C), "out_proj.bias": torch.zeros(C)}, "out_proj is missing"),
        (scaled(D**0.5), "the scores are not divided by the root of D"),
        (scaled(D**0.5 / C**0.5), f"the scores are divided by the root of C, {C}; each head has D = {D} numbers"),
        ({"in_proj_weight": torch.cat([q[across], k[across], v[across]]), "in_proj_bias": torch.cat([bq[across], bk[across], bv[across]]),
          "out_proj.weight": state["out_proj.weight"][:, across]}, f"head 0 takes the first D = {D} numbers, not every H-th one"),
    )  # fmt: skip
    with torch.no_grad():
        slips = [(_library_heads(_heads(C, H, 0, {**state, **other}), x, x, x, mask), advice) for other, advice in others]
        one_head = _library_heads(_heads(C, 1, 0, state), x, x, x, mask if mask is None or mask.ndim < 3 else mask[:, :1])
    return [*slips, (one_head, f"this is one head of {C} numbers; split them into H = {H} heads")]


@visible(points=0.5)
def check_heads_of_library(MultiHeadAttention):
    """Self-attention with random weights, C = 8, H = 2: what nn.MultiheadAttention gives"""
    library, x = _heads(8, 2, 3), _drawn((3, 5, 8), 4)
    heads = _own_heads(MultiHeadAttention, 8, 2, library.state_dict())
    with torch.no_grad():
        want = _library_heads(library, x, x, x)
    what = f"{_HEADS.format(8, 2)}, x of shape (3, 5, 8)"
    assert_close(f"{what}: the result", _joined(what, heads(x, x, x), (3, 5, 8), "(B, T, C)"), want, _head_slips(library, x))


@hidden(points=0.5)
def check_cross_attention(MultiHeadAttention):
    """Queries from one sequence, keys from another, values from a third; other numbers of heads; float32"""
    for C, H, T, S in ((8, 2, 3, 5), (6, 1, 4, 2), (5, 5, 1, 3), (12, 3, 6, 1)):
        library = _heads(C, H, C)
        heads = _own_heads(MultiHeadAttention, C, H, library.state_dict())
        given = [_drawn((2, length, C), seed) for seed, length in ((5, T), (6, S), (7, S))]
        what = f"{_HEADS.format(C, H)}, query (2, {T}, {C}), key and value (2, {S}, {C})"
        with torch.no_grad():
            want = _library_heads(library, *given)
            swapped = _library_heads(library, given[0], given[2], given[1])
            itself = _library_heads(library, given[0], given[0], given[0])
        got = _joined(what, heads(*given), (2, T, C), "(B, T, C)")
        mixed_up = "the keys and values are made from `key` and `value`, not `query`"
        slips = ((swapped, "key and value are taken for each other"), (itself, mixed_up))
        assert_close(f"{what}: the result", got, want, slips)
        kept = [one.clone() for one in given]
        heads(*given)
        _unchanged(what, dict(zip(("query", "key", "value"), given, strict=True)), dict(zip(("query", "key", "value"), kept, strict=True)))
        single = _joined(what, heads.float()(*(one.float() for one in given)), (2, T, C), "(B, T, C)")
        assert single.dtype == torch.float32, f"{what}, in float32: the result has the type {single.dtype}"
        assert_close(f"{what}, in float32: the result", single, want, tolerance=1e-4)


@hidden(points=0.5)
def check_masks_of_heads(MultiHeadAttention):
    """Causal masks, padding, both, and a mask of its own for each head: what nn.MultiheadAttention gives"""
    C, H, B, T, S = 6, 3, 2, 4, 4
    library = _heads(C, H, 8)
    heads = _own_heads(MultiHeadAttention, C, H, library.state_dict())
    x, memory = _drawn((B, T, C), 9), _drawn((B, S, C), 10)
    for shape in ((T, S), (B, 1, 1, S), (B, 1, T, S), (B, H, T, S), (1, H, 1, S)):
        mask = _random_mask(shape, sum(shape))
        with torch.no_grad():
            want, turned = (_library_heads(library, x, memory, memory, one) for one in (mask, ~mask))
        what = f"{_HEADS.format(C, H)}, a mask of shape {shape}"
        got = _joined(what, heads(x, memory, memory, mask), (B, T, C), "(B, T, C)")
        assert_close(f"{what}: the result", got, want, ((turned, _TORCH_SENSE),))


def _blind(T, S):
    """A mask for two sequences, in which some queries see nothing."""
    mask = torch.ones(2, 1, T, S, dtype=torch.bool)
    mask[0, 0, 1], mask[1] = False, False
    return mask


@hidden(points=0.5)
def check_heads_that_see_nothing(MultiHeadAttention):
    """A query that may look at nothing gets out_proj's bias"""
    C, H, T, S = 6, 2, 3, 4
    library = _heads(C, H, 11)
    heads = _own_heads(MultiHeadAttention, C, H, library.state_dict())
    x, memory = _drawn((2, T, C), 12), _drawn((2, S, C), 13)
    what = f"{_HEADS.format(C, H)}, a query that may look at nothing"
    got = _joined(what, heads(x, memory, memory, _blind(T, S)), (2, T, C), "(B, T, C)")
    assert not got.isnan().any(), f"{what}: the result holds nan: its weights are 0, so the heads give it 0"
    bias = library.state_dict()["out_proj.bias"]
    for row in (got[0, 1], got[1, 0], got[1, 2]):
        assert_close(f"{what}, which gets out_proj's bias: the result", row, bias)
    with torch.no_grad():
        want = _library_heads(library, x[:1], memory[:1], memory[:1])
    assert_close(f"{what}, and beside it one that sees all: the result", got[0, 0], want[0, 0])


@hidden(points=1)
def check_gradients_of_heads(MultiHeadAttention):
    """Gradients of the inputs and of all weights: what nn.MultiheadAttention has, also where a query sees nothing"""
    C, H, T, S = 6, 2, 3, 4
    library = _heads(C, H, 14)
    heads = _own_heads(MultiHeadAttention, C, H, library.state_dict())
    given = [_drawn((2, length, C), seed) for seed, length in ((15, T), (16, S), (17, S))]
    blind = _blind(T, S), "a mask that leaves a query nothing"
    for mask, about in ((None, "no mask"), (_random_mask((2, 1, T, S), 18), "a mask"), blind):
        flat = None if mask is None else ~mask.expand(2, H, T, S).reshape(2 * H, T, S)
        oracle, also = _WithMasks(library, attn_mask=flat, need_weights=False), () if mask is None else (mask,)
        _gradients_alike(f"{_HEADS.format(C, H)}, {about}", heads, oracle, given, _INPUTS, _drawn((2, T, C), 19), also)


# 7.4 Positions


@visible(points=0.5)
def check_three_places(sinusoidal_positions):
    """Three places of four numbers: the worked example"""
    what = "sinusoidal_positions(3, 4)"
    got = tensor(what, sinusoidal_positions(3, 4), (3, 4), "(T, C)")
    want = [[0, 1, 0, 1], [0.84147, 0.54030, 0.01, 0.99995], [0.90930, -0.41615, 0.02, 0.99980]]
    slips = (
        (torch.tensor(want)[:, [0, 2, 1, 3]], "sine and cosine of one rate stand side by side, in columns 2i and 2i + 1"),
        (torch.tensor(want)[:, [1, 0, 3, 2]], "the sine stands in column 2i, the cosine in column 2i + 1"),
        ([[0, 1, 0, 1], [0.8415, 0.5403, 0.0998, 0.9950], [0.9093, -0.4161, 0.1987, 0.9801]],
         "the second rate is 0.1, and must be 0.01: a rate is 10000 ** (-2i / C)"),
        ([[0, 1, 0, 1], [0.8415, 0.5403, -0.5064, 0.8623], [0.9093, -0.4161, -0.8733, 0.4872]],
         "the angles grow with the rates' inverse: a rate is 10000 ** (-2i / C), so the later waves are slow"),
        ([[0.8415, 0.5403, 0.01, 0.99995], [0.9093, -0.4161, 0.02, 0.9998], [0.1411, -0.98999, 0.03, 0.99955]], "the first place is t = 0"),
        ([[0, 1, 0, 1], [0.8415, 0.9950, 0.01, 1.0], [0.9093, 0.9801, 0.02, 1.0]],
         "both waves of a pair, columns 2i and 2i + 1, have one rate"),
    )  # fmt: skip
    assert_close(what, got, torch.tensor(want), slips, tolerance=2e-5)


@hidden(points=0.5)
def check_waves(sinusoidal_positions):
    """Other sizes: each pair of columns turns by the same angle from place to place, and the angles form a geometric row"""
    for T, C in ((60, 16), (2, 2), (5, 128), (300, 6), (1, 8), (0, 4)):
        what = f"sinusoidal_positions({T}, {C})"
        got = tensor(what, sinusoidal_positions(T, C), (T, C), "(T, C)").double().numpy()
        points = got[:, 1::2] + 1j * got[:, ::2]  # a pair (sine, cosine) is a point of the circle
        if T > 0:
            assert np.allclose(points[0], 1, atol=1e-4), f"{what}: place 0 is {np.round(got[0, :4], 4).tolist()}…, expected 0, 1, 0, 1, …"
        if T > 1:
            turn, want = np.angle(points[1]), np.geomspace(1, 10000 ** (2 / C - 1), C // 2)
            i = int(np.abs(turn - want).argmax())
            rates = f"{what}: columns {2 * i} and {2 * i + 1} turn by {turn[i]:.6f} from place to place, expected {want[i]:.6f}"
            assert np.allclose(turn, want, rtol=1e-4, atol=1e-6), f"{rates}: the rates are 10000 ** (-2i / C)"
            steady = np.abs(points[1:] - points[:-1] * points[1]).max()
            assert steady < 1e-3, f"{what}: the turn from place to place is not always the same: the angle of place t is t times the rate"


# 7.5 Layer norm


def _own_norm(LayerNorm, C, state, *eps):
    return _filled_answer(f"LayerNorm({C})", LayerNorm(C, *eps), state, "nn.LayerNorm")


def _plain(C):
    return {"weight": torch.ones(C), "bias": torch.zeros(C)}


@visible(points=0.5)
def check_norm_by_hand(LayerNorm):
    """The worked example: two tokens, eps = 5"""
    x = torch.tensor([[1.0, 1.0, 5.0, 5.0], [2.0, 2.0, 2.0, 2.0]], dtype=torch.float64)
    got = tensor("the worked example", _own_norm(LayerNorm, 4, _plain(4), 5.0)(x), (2, 4), "(B, C)")
    assert not got[1].isnan().any(), "the worked example: (2, 2, 2, 2) becomes nan: add eps to the variance, under the root"
    third = 1 / 3
    slips = (
        ([[-0.6222, -0.6222, 0.6222, 0.6222], [0, 0, 0, 0]], "the variance is divided by C - 1; divide it by C"),
        ([[-0.2857, -0.2857, 0.2857, 0.2857], [0, 0, 0, 0]], "eps is added to the root; add it to the variance, under the root"),
        ([[-1, -1, 1, 1], [0, 0, 0, 0]], "eps is not used"),
        ([[-0.2222, -0.2222, 0.2222, 0.2222], [0, 0, 0, 0]], "the root of the variance is missing"),
        ([[third, third, 5 * third, 5 * third], [0.8944, 0.8944, 0.8944, 0.8944]], "the mean is not subtracted"),
        ([[-0.5571, -0.5571, 0.9285, 0.9285], [-0.1857, -0.1857, -0.1857, -0.1857]],
         "each token has a mean and a variance of its own, those of its C numbers"),
        ([[-0.2182, -0.2182, 0.5571, 0.5571], [0.2182, 0.2182, -0.5571, -0.5571]],
         "the mean goes over the tokens; it goes over the C numbers of one token, the last dimension"),
    )  # fmt: skip
    assert_close("the worked example", got, torch.tensor([[-2, -2, 2, 2], [0, 0, 0, 0]], dtype=torch.float64) / 3, slips)


@visible(points=0.5)
def check_norm_of_library(LayerNorm):
    """Random weights, tokens of eight numbers: what nn.LayerNorm gives; fresh weights are ones and zeros"""
    state, x = _random_state(nn.LayerNorm(8), 20), _drawn((2, 3, 8), 21)
    fresh = LayerNorm(8)
    _named_parameters("LayerNorm(8)", fresh, state, "nn.LayerNorm")
    for name, one in fresh.named_parameters():
        start = f"LayerNorm(8): its {name} starts as {np.round(one.tolist(), 2).tolist()!s:.60}, expected {_plain(8)[name].tolist()!s:.60}"
        assert torch.equal(one.detach().float(), _plain(8)[name]), start
    norm, library = _own_norm(LayerNorm, 8, state), _filled(nn.LayerNorm(8), state)
    with torch.no_grad():
        want, flat = library(x), F.layer_norm(x, (8,))
        across = F.layer_norm(x.mT, (3,)).mT * state["weight"] + state["bias"]
        slips = (
            (across, "mean and variance go over dimension 1; they go over the last one, whatever the number of dimensions"),
            (flat, "weight and bias are not used"),
            (flat * state["weight"], "bias is not used"),
            (flat + state["bias"], "weight is not used"),
            ((flat + state["bias"]) * state["weight"], "the bias is added last, after the weight"),
        )
    assert_close("random weights: the result", tensor("random weights", norm(x), (2, 3, 8), "(B, T, C)"), want, slips)


@hidden(points=0.5)
def check_norms_of_other_shapes(LayerNorm):
    """One, two and four dimensions, small numbers, equal numbers, float32; what is given stays as it is"""
    for shape, scale in (((5,), 1), ((3, 7), 1), ((2, 3, 2, 4), 1), ((3, 6), 1e-3), ((2, 1), 1), ((4, 5), 0), ((3, 5), 1e4)):
        C = shape[-1]
        state, x = _random_state(nn.LayerNorm(C), 22), 0.5 + scale * _drawn(shape, 23)
        what = f"random x of shape {shape}, spread {scale:g}"
        norm, library = _own_norm(LayerNorm, C, state), _filled(nn.LayerNorm(C), state)
        kept = x.clone()
        got = tensor(what, norm(x), shape)
        _unchanged(what, {"x": x}, {"x": kept})
        with torch.no_grad():
            assert_close(f"{what}: the result", got, library(x))
            single = tensor(f"{what}, float32", norm.float()(x.float()), shape)
            assert single.dtype == torch.float32, f"{what}, float32: the result has the type {single.dtype}"
            if scale >= 1:
                assert_close(f"{what}, float32: the result", single, library(x), tolerance=1e-3)


@hidden(points=0.5)
def check_gradients_of_norm(LayerNorm):
    """Gradients of x, weight and bias: what nn.LayerNorm has"""
    state = _random_state(nn.LayerNorm(6), 24)
    norm, library = _own_norm(LayerNorm, 6, state), _filled(nn.LayerNorm(6), state)
    _gradients_alike("random x of shape (2, 3, 6)", norm, library, [_drawn((2, 3, 6), 25)], ("x",), _drawn((2, 3, 6), 26))


# 7.6 Encoder block

_SIZES = 8, 2, 12  # C, H, M of the blocks


def _encoder(norm_first, seed=30, state=None, **other):
    """torch's own encoder block with random weights, or with these."""
    C, H, M = _SIZES
    library = nn.TransformerEncoderLayer(C, H, M, dropout=0.0, batch_first=True, norm_first=norm_first, **other)
    return _filled(library, _random_state(library, seed) if state is None else state)


def _own_block(Block, norm_first, state, library):
    C, H, M = _SIZES
    return _filled_answer(f"{library.replace('nn.Transformer', '').replace('Layer', 'Block')}({C}, {H}, {M})",
                          Block(C, H, M, norm_first), state, library)  # fmt: skip


def _own_encoder(EncoderBlock, norm_first, state):
    return _own_block(EncoderBlock, norm_first, state, "nn.TransformerEncoderLayer")


def _silenced(state):
    """The same weights, but attention and feed-forward layer return 0."""
    silent = ("out_proj.weight", "out_proj.bias", "linear2.weight", "linear2.bias")
    return {name: torch.zeros_like(one) if name.endswith(silent) else one for name, one in state.items()}


def _called(what, block, *given):
    """What a block returns. Where shapes do not fit, torch's attention stops with an AssertionError, which says too little alone."""
    try:
        return block(*(one.clone() for one in given))
    except AssertionError as error:
        advice = "has it batch_first=True, and are query, key and value given in this order?"
        raise AssertionError(f"{what}: nn.MultiheadAttention stopped with `{error!s:.150}`: {advice}") from None


def _block_result(what, block, x, *more, sense):
    """What a block returns: of x's shape, without nan, the same in a second call. sense: what to say of nan."""
    got, again = (tensor(what, _called(what, block, x, *more), tuple(x.shape), "(B, T, C)") for _ in range(2))
    assert not got.isnan().any(), f"{what}: the result holds nan: {sense}"
    assert (got - again).abs().max() < 1e-9, f"{what}: two calls give two results: no dropout here"
    return got


def _assert_silent(what, got, x, state, norms, norm_first):
    """What a block gives whose parts return 0: x itself, or x normalised by each norm in turn."""
    want = x
    for norm in norms if not norm_first else ():
        want = F.layer_norm(want, want.shape[-1:], state[f"{norm}.weight"], state[f"{norm}.bias"])
    moved = (got - want).abs().max()
    if norm_first:
        advice = "x goes on as it is, and each part adds to it: x + f(norm(x)); only what a part reads is normalised"
        assert moved < 1e-9, f"{what}, norm_first=True: expected x itself, and a number differs by {moved:.4f}: {advice}"
    else:
        turns = f"{''.join(f'{norm}(' for norm in reversed(norms))}x{')' * len(norms)}"
        advice = "x is added to what a part returns, and the sum normalised: norm(x + f(x))"
        for order in product(norms, repeat=len(norms)):
            mixed = x
            for norm in order:
                mixed = F.layer_norm(mixed, mixed.shape[-1:], state[f"{norm}.weight"], state[f"{norm}.bias"])
            advice = f"the norms come in the order {', '.join(order)}: each part has one of its own" if alike(got, mixed) else advice
        assert moved < 1e-9, f"{what}, norm_first=False: expected {turns}, and a number differs by {moved:.4f}: {advice}"


_REAL_SENSE = "`{0}` is True for tokens, key_padding_mask of nn.MultiheadAttention is True for padding: hand over ~{0}"
_DECODER_SENSES = "where may a place look at nothing? Turn memory_real round for key_padding_mask; in attn_mask, too, True hides"
_ORDER = {False: "norm_first=False", True: "norm_first=True"}


@visible(points=0.5)
def check_encoder_adds(EncoderBlock):
    """Attention and feed-forward layer that return 0: x stays, or is normalised twice"""
    x, real = _drawn((2, 3, 8), 31), torch.ones(2, 3, dtype=torch.bool)
    for norm_first in (True, False):
        state = _silenced(_encoder(norm_first).state_dict())
        what = "a block whose attention and linear2 return 0"
        got = _block_result(what, _own_encoder(EncoderBlock, norm_first, state), x, real, sense=_REAL_SENSE.format("real"))
        _assert_silent(what, got, x, state, ("norm1", "norm2"), norm_first)


def _exchanged(state, one, other):
    """A state in which the weights of two parts have changed places."""
    turned = {one: other, other: one}
    return {f"{turned.get(head, head)}.{rest}": state[f"{head}.{rest}"] for head, _, rest in (name.partition(".") for name in state)}


_NOT_RELU = (
    ("gelu", "between linear1 and linear2 stands ReLU"),
    (nn.Identity(), "ReLU is missing between linear1 and linear2"),
)


@visible(points=0.5)
def check_encoder_of_library(EncoderBlock):
    """Random weights, no padding, both places of the norm: what nn.TransformerEncoderLayer gives"""
    x, real = _drawn((2, 5, 8), 32), torch.ones(2, 5, dtype=torch.bool)
    for norm_first in (False, True):
        library = _encoder(norm_first)
        state = library.state_dict()
        with torch.no_grad():
            want = library(x)
            slips = (
                (_encoder(not norm_first, state=state)(x), f"this is {_ORDER[not norm_first]}"),
                (_encoder(norm_first, state=_exchanged(state, "norm1", "norm2"))(x), "norm1 belongs to the attention"),
                (library(x, src_key_padding_mask=real), _REAL_SENSE.format("real")),
                *((_encoder(norm_first, state=state, activation=f)(x), advice) for f, advice in _NOT_RELU),
            )
        what = f"random weights, {_ORDER[norm_first]}"
        got = _block_result(what, _own_encoder(EncoderBlock, norm_first, state), x, real, sense=_REAL_SENSE.format("real"))
        assert_close(f"{what}: the result", got, want, slips)


_REAL = torch.tensor([[True, True, True, True], [True, True, False, False], [True, False, False, False]])


@hidden(points=0.5)
def check_encoder_with_padding(EncoderBlock):
    """No place looks at padding: tokens get what nn.TransformerEncoderLayer gives, whatever the padding holds"""
    x, other = _drawn((3, 4, 8), 33), _drawn((3, 4, 8), 34)
    other[_REAL] = x[_REAL]
    for norm_first in (False, True):
        library = _encoder(norm_first, 35)
        block, what = _own_encoder(EncoderBlock, norm_first, library.state_dict()), f"padding, {_ORDER[norm_first]}"
        sense = _REAL_SENSE.format("real")
        got, again = (_block_result(what, block, one, _REAL, sense=sense) for one in (x, other))
        want, unmasked, turned = (library(x, src_key_padding_mask=mask).detach() for mask in (~_REAL, None, _REAL))
        slips = ((unmasked[_REAL], "the padding is looked at: `real` must reach the attention"), (turned[_REAL], sense))
        assert_close(f"{what}: a token's numbers", got[_REAL], want[_REAL], slips)
        moved = (got - again)[_REAL].abs().max()
        assert moved < 1e-9, f"{what}: other numbers in the padding change what the tokens get, by {moved:.4f}"
        kept, given = {"x": x.clone(), "real": _REAL}, {"x": x, "real": _REAL.clone()}
        block(*given.values())
        _unchanged(what, given, kept)


@hidden(points=0.5)
def check_gradients_of_encoder(EncoderBlock):
    """Gradients of x and of all weights: what nn.TransformerEncoderLayer has"""
    real = torch.tensor([[True, True, True], [True, True, False]])
    upstream = _drawn((2, 3, 8), 36) * real[..., None]
    for norm_first in (False, True):
        library = _encoder(norm_first, 37)
        block = _own_encoder(EncoderBlock, norm_first, library.state_dict())
        oracle = _WithMasks(library, src_key_padding_mask=~real)
        _block_result(f"random weights, {_ORDER[norm_first]}", block, _drawn((2, 3, 8), 38), real, sense=_REAL_SENSE.format("real"))
        _gradients_alike(f"random weights, {_ORDER[norm_first]}", block, oracle, [_drawn((2, 3, 8), 38)], ("x",), upstream, (real,))


# 7.7 Decoder block


def _decoder(norm_first, seed=40, state=None, **other):
    """torch's own decoder block with random weights, or with these."""
    C, H, M = _SIZES
    library = nn.TransformerDecoderLayer(C, H, M, dropout=0.0, batch_first=True, norm_first=norm_first, **other)
    return _filled(library, _random_state(library, seed) if state is None else state)


def _own_decoder(DecoderBlock, norm_first, state):
    return _own_block(DecoderBlock, norm_first, state, "nn.TransformerDecoderLayer")


def _later(T):
    """torch's causal mask: True hides."""
    return nn.Transformer.generate_square_subsequent_mask(T).isinf()


@visible(points=0.25)
def check_decoder_adds(DecoderBlock):
    """Parts that return 0: x stays, or is normalised three times"""
    x, memory, real = _drawn((2, 3, 8), 41), _drawn((2, 4, 8), 42), torch.ones(2, 4, dtype=torch.bool)
    for norm_first in (True, False):
        state = _silenced(_decoder(norm_first).state_dict())
        what = "a block whose attentions and linear2 return 0"
        got = _block_result(what, _own_decoder(DecoderBlock, norm_first, state), x, memory, real, sense=_DECODER_SENSES)
        _assert_silent(what, got, x, state, ("norm1", "norm2", "norm3"), norm_first)


@visible(points=0.25)
def check_decoder_looks_back(DecoderBlock):
    """No place looks at a later one"""
    x, memory, real = _drawn((2, 4, 8), 43), _drawn((2, 5, 8), 44), torch.ones(2, 5, dtype=torch.bool)
    for norm_first in (False, True):
        block, what = _own_decoder(DecoderBlock, norm_first, _decoder(norm_first).state_dict()), f"random weights, {_ORDER[norm_first]}"
        first = _block_result(what, block, x, memory, real, sense=_DECODER_SENSES)
        for t in (1, 2, 3):
            other = x.clone()
            other[:, t] += 1
            moved = (block(other, memory, real).detach() - first).abs().amax((0, 2))
            seen = [s for s in range(t) if moved[s] > 1e-9]
            assert not seen, f"{what}: place {seen[0]} sees place {t}, which is later: give self_attn a causal mask, in which True hides"


def _memory_first(state, x, memory):
    """What norm_first=True gives where a block looks at the memory first: two blocks of the library, each without a part."""

    def without(part, norm, other):
        moved = {f"{norm}.{kind}": state[f"{other}.{kind}"] for kind in ("weight", "bias")}
        return {name: torch.zeros_like(one) if name.startswith(part) else one for name, one in {**state, **moved}.items()}

    looked = _decoder(True, state=without(("self_attn.out_proj", "linear2"), "norm2", "norm1"))(x, memory)
    return _decoder(True, state=without("multihead_attn.out_proj", "norm1", "norm2"))(looked, memory, tgt_mask=_later(x.shape[1]))


@visible(points=0.5)
def check_decoder_of_library(DecoderBlock):
    """Random weights, no padding, both places of the norm: what nn.TransformerDecoderLayer gives"""
    x, memory, real = _drawn((2, 3, 8), 45), _drawn((2, 5, 8), 46), torch.ones(2, 5, dtype=torch.bool)
    for norm_first in (True, False):
        library = _decoder(norm_first)
        state = library.state_dict()
        with torch.no_grad():
            want = library(x, memory, tgt_mask=_later(3))
            normed = F.layer_norm(memory, (8,), state["norm2.weight"], state["norm2.bias"])
            pairs = ("self_attn", "multihead_attn"), ("norm1", "norm2"), ("norm2", "norm3"), ("norm1", "norm3")
            others = [_decoder(norm_first, state=_exchanged(state, *pair))(x, memory, tgt_mask=_later(3)) for pair in pairs]
            slips = (
                (_decoder(not norm_first, state=state)(x, memory, tgt_mask=_later(3)), f"this is {_ORDER[not norm_first]}"),
                (library(x, normed, tgt_mask=_later(3)), "the memory is normalised here; it comes ready from the encoder"),
                (library(x, memory, tgt_mask=_later(3), memory_key_padding_mask=real), _REAL_SENSE.format("memory_real")),
                (_memory_first(state, x, memory) if norm_first else math.nan, "first self_attn, then multihead_attn"),
                (library(x, memory, tgt_mask=_later(4)[:3, 1:]), "a place may look at itself, too: hide only what is later"),
                (others[0], "self_attn and multihead_attn have changed places; multihead_attn looks at the memory"),
                *((_decoder(norm_first, state=state, activation=f)(x, memory, tgt_mask=_later(3)), advice) for f, advice in _NOT_RELU),
                *((other, "norm1 belongs to self_attn, norm2 to multihead_attn, norm3 to the feed-forward layer") for other in others[1:]),
            )
        what = f"random weights, {_ORDER[norm_first]}"
        got = _block_result(what, _own_decoder(DecoderBlock, norm_first, state), x, memory, real, sense=_DECODER_SENSES)
        assert_close(f"{what}: the result", got, want, slips)


@hidden(points=0.5)
def check_decoder_with_padding(DecoderBlock):
    """No place looks at padding in the memory; one place alone; what is given stays as it is"""
    memory, other = _drawn((3, 4, 8), 47), _drawn((3, 4, 8), 48)
    other[_REAL] = memory[_REAL]
    for norm_first, T in ((False, 3), (True, 3), (False, 1)):
        library, x = _decoder(norm_first, 49), _drawn((3, T, 8), 50)
        block, what = _own_decoder(DecoderBlock, norm_first, library.state_dict()), f"padding in the memory, {_ORDER[norm_first]}, T = {T}"
        got, again = (tensor(what, block(x.clone(), one.clone(), _REAL.clone()), (3, T, 8), "(B, T, C)") for one in (memory, other))
        masks = ~_REAL, None, _REAL
        want, unmasked, turned = (library(x, memory, tgt_mask=_later(T), memory_key_padding_mask=mask).detach() for mask in masks)
        sense = _REAL_SENSE.format("memory_real")
        assert not got.isnan().any(), f"{what}: the result holds nan: {sense}"
        slips = ((unmasked, "the padding is looked at: `memory_real` must reach multihead_attn"), (turned, sense))
        assert_close(f"{what}: the result", got, want, slips)
        moved = (got - again).abs().max()
        assert moved < 1e-9, f"{what}: other numbers in the padding change the result by {moved:.4f}"
        given = {"x": x, "memory": memory, "memory_real": _REAL.clone()}
        kept = {name: one.clone() for name, one in given.items()}
        block(*given.values())
        _unchanged(what, given, kept)


@hidden(points=0.5)
def check_gradients_of_decoder(DecoderBlock):
    """Gradients of x, of the memory and of all weights: what nn.TransformerDecoderLayer has"""
    real = torch.tensor([[True, True, True, True], [True, True, False, False]])
    given = [_drawn((2, 3, 8), 51), _drawn((2, 4, 8), 52)]
    for norm_first in (False, True):
        library = _decoder(norm_first, 53)
        block = _own_decoder(DecoderBlock, norm_first, library.state_dict())
        oracle = _WithMasks(library, tgt_mask=_later(3), memory_key_padding_mask=~real)
        what = f"random weights, {_ORDER[norm_first]}"
        _gradients_alike(what, block, oracle, given, ("x", "the memory"), _drawn((2, 3, 8), 54), (real,))


# 7.8 Reverse and sort


def _rewriter(Rewriter, seed):
    make(Rewriter, "torch.manual_seed", seed)
    return Rewriter()


def _logits(what, model, inputs, prefix):
    with torch.no_grad():
        return tensor(f"{what}: the logits", model(inputs, prefix), (*prefix.shape, sequences.V), "(B, T, V)")


def _ids(what, got, shape):
    assert isinstance(got, torch.Tensor), f"{what}: expected a tensor of shape (B, S + 2) = {shape}, got {shown(got)}"
    assert tuple(got.shape) == shape, f"{what}: expected a tensor of shape (B, S + 2) = {shape}, got the shape {tuple(got.shape)}"
    assert not got.is_floating_point(), f"{what}: expected ids, whole numbers, got {got.dtype}"
    return got.long()


@visible(points=0.25)
def check_logits_of_rewriter(Rewriter):
    """Logits for every place of the prefix; padding changes none, and neither does what comes later (untrained)"""
    model = _rewriter(Rewriter, 60)
    model.eval()
    inputs, prefix = torch.tensor([[5, 9, 4, 7], [8, 3, 0, 0]]), torch.tensor([[1, 7, 4], [1, 3, 8]])
    what = "inputs [[5, 9, 4, 7], [8, 3, 0, 0]]"
    first = _logits(what, model, inputs, prefix)
    moved = (_logits(what, model, inputs, prefix) - first).abs().max()
    assert moved < 1e-4, f"{what}: two calls in evaluation mode give two results, {moved:.4f} apart: no dropout there"
    longer = _logits(f"{what} with two more columns of padding", model, F.pad(inputs, (0, 2)), prefix)
    advice = "padding must not be looked at, in the encoder and from the decoder"
    moved = (longer - first).abs().max()
    assert moved < 1e-4, f"{what}: two more columns of padding change a logit by {moved:.4f}: {advice}"
    alone = _logits("inputs [[8, 3]]", model, inputs[1:, :2], prefix[1:])
    moved = (alone[0] - first[1]).abs().max()
    assert moved < 1e-4, f"{what}: the second row alone, without its padding, has other logits, by {moved:.4f}: {advice}"
    for t in (1, 2):
        other = prefix.clone()
        other[:, t] = 12
        moved = (_logits(what, model, inputs, other) - first)[:, :t].abs().max()
        assert moved < 1e-4, f"{what}: another id at place {t} of the prefix changes the logits of an earlier place, by {moved:.4f}"
    long = 3 + torch.arange(45)[None] % 16
    _logits("an input of 40 symbols, a prefix of 45", model, long[:, :40], long)


@visible(points=0.25)
def check_answers(Rewriter):
    """answer takes the greatest logit each time, and stops behind END (the logits are the check's own)"""
    model = _rewriter(Rewriter, 61)
    model.eval()
    script = torch.tensor([[1, 7, 5, 2, 9, 9], [1, 4, 4, 4, 4, 4], [1, 2, 6, 2, 6, 6]])
    want = torch.tensor([[1, 7, 5, 2, 0, 0], [1, 4, 4, 4, 4, 4], [1, 2, 0, 0, 0, 0]])
    inputs = torch.tensor([[5, 7, 3, 6], [4, 4, 4, 4], [8, 8, 0, 0]])
    number, asked = {(5, 7, 3, 6): 0, (4, 4, 4, 4): 1, (8, 8): 2}, []

    def scripted(inputs, prefix):
        """Logits for those rows that are asked about, in whatever order; an answer may leave out the ones that have ended."""
        rows = [number.get(tuple(token for token in row if token != sequences.PAD)) for row in inputs.tolist()]
        asked.append((rows, prefix.clone()))
        next_ids = F.pad(script[torch.tensor([row or 0 for row in rows], dtype=torch.long), 1:], (0, prefix.shape[1]))[:, : prefix.shape[1]]
        return F.one_hot(next_ids, sequences.V).double()

    model.forward = scripted
    what = "three inputs of four symbols, where the greatest logits say " + ", then ".join(map(str, script[0, 1:4].tolist()))
    got = _ids(what, model.answer(inputs), (3, 6))
    assert asked, f"{what}: answer did not ask the model: call self(inputs, ids) for the logits"
    strange = [rows for rows, _ in asked if None in rows]
    assert not strange, f"{what}: answer asked self(inputs, ids) about inputs that are no rows of those it was given"
    begun = asked[0][1]
    assert (begun[:, 0] == 1).all(), f"{what}: the first prefix was {begun.tolist()}, expected START, 1, in front of every row"
    slips = (
        (script, "a row ends with its first END, 2; behind that stands PAD, 0"),
        (want[:, [1, 2, 3, 4, 5, 5]], "START stands in front"),
    )
    known = [f": {advice}" for slip, advice in slips if torch.equal(got, slip)]
    assert torch.equal(got, want), f"{what}: got {got.tolist()}, expected {want.tolist()}{''.join(known[:1])}"
    _ids(f"{what}, and two columns of padding more", model.answer(F.pad(inputs, (0, 2))), (3, 8))


def _exact(what, model, inputs, targets):
    """The share of answers that are wholly right."""
    got = _ids(what, model.answer(inputs), (len(inputs), inputs.shape[1] + 2))
    return (got == targets).all(dim=1).double().mean().item()


def _assert_learns(Rewriter, task, seed):
    """Train on the lengths of the course, measure on lengths and sequences that were kept back."""
    generator = torch.Generator().manual_seed(seed)
    measured = sequences.examples(task, sequences.HELD_OUT, 1_000, generator, held_out=True)
    trained = sequences.examples(task, sequences.TRAINED, 30_000, generator)
    model, what = _rewriter(Rewriter, seed), f"{task}, sequences of lengths and symbols that were kept back"
    model.eval()
    before = _exact(f"{what}, before any training", model, *(one[:50] for one in measured))
    assert before < 0.5, f"{what}: {before:.0%} are right before any training: the model must learn the task, not bring it along"
    model.train()
    model.fit(*trained, torch.Generator().manual_seed(seed))
    model.eval()
    exact = _exact(what, model, *measured)
    advice = "more steps, another learning rate? Does the encoder know which place is which, and does the decoder see all of the input?"
    assert exact >= 0.99, f"{what}: {exact:.1%} of 1,000 answers are wholly right, expected at least 99%: {advice}"
    ids = model.answer(measured[0][:40])
    best = _logits(what, model, measured[0][:40], ids[:, :-1]).argmax(dim=-1)
    same = (best == ids[:, 1:]) | (ids[:, 1:] == sequences.PAD)
    assert same.all(), f"{what}: answer gives an id that is not the one with the greatest logit"


@hidden(points=0.75)
def check_reverses(Rewriter):
    """Trained to reverse: at least 0.99 of the answers exact, on lengths within the range that were never trained"""
    _assert_learns(Rewriter, "reverse", 62)


@hidden(points=0.75)
def check_sorts(Rewriter):
    """Trained to sort: at least 0.99 of the answers exact, on lengths within the range that were never trained"""
    _assert_learns(Rewriter, "sort", 63)
