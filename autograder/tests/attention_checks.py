"""Checks of a multi-head attention written by hand, in the form of a chapter's checks: test_bridge_modules.py runs them both ways.

The contract: MultiHeadAttention(width, heads, dropout=0.0) is an nn.Module with the linear layers `qkv` (queries, keys and
values, in this order) and `projection`. attention(x, score=None, cache=None) takes x of shape (B, T, C) and gives a pair:
the causal self-attention (B, T, C), and a cache that holds what the next call needs, for the tokens that follow. `score`
replaces the scaled dot product: queries and keys of shape (B, H, T, D) and (B, H, S, D) -> scores (B, H, T, S).
"""

import torch

from lmkit.check import hidden, visible
from lmkit.subject import gradients, make

B, T, C, H = 2, 5, 12, 3
TOLERANCE = 1e-6


def _x(seed=1):
    return torch.randn(B, T, C, generator=torch.Generator().manual_seed(seed))


def _oracle():
    """torch's own attention, with weights that depend on no global seed."""
    oracle, generator = torch.nn.MultiheadAttention(C, H, batch_first=True), torch.Generator().manual_seed(7)
    oracle.load_state_dict({name: torch.randn(one.shape, generator=generator) / 3 for name, one in oracle.state_dict().items()})
    return oracle.eval()


def _names(state):
    """torch's names -> the contract's."""
    return {name.replace("in_proj_", "qkv.").replace("out_proj", "projection"): one for name, one in state.items()}


def _attention(MultiHeadAttention, oracle, dropout=0.0):
    attention = MultiHeadAttention(C, H, dropout)
    attention.load_state_dict(_names(oracle.state_dict()))
    return attention.eval()


def _wanted(oracle, x):
    hidden_later = torch.triu(torch.ones(T, T, dtype=torch.bool), 1)
    return oracle(x, x, x, attn_mask=hidden_later, need_weights=False)[0]


def _assert_close(what, got, want, advice):
    assert got.shape == want.shape, f"{what} has shape {tuple(got.shape)}, expected {tuple(want.shape)}"
    gap = float((got - want).abs().max())
    assert gap <= TOLERANCE, f"{what} is off by {gap:.1e}, more than {TOLERANCE:g}: {advice}"


@visible(points=1)
def check_shape(MultiHeadAttention):
    """The output has the input's shape."""
    attention = MultiHeadAttention(C, H)
    assert type(attention).__name__ == MultiHeadAttention.__name__, "the class makes objects of itself"
    got = attention(_x())[0]
    assert got.shape == (B, T, C), f"the output has shape {tuple(got.shape)}, expected {(B, T, C)}"
    assert got.dtype == torch.float32, f"the output is of {got.dtype}, expected float32"
    assert got.requires_grad, "gradients flow through the output"


@visible(points=1)
def check_parameters(MultiHeadAttention):
    """It has the parameters of the contract, and no more."""
    attention = MultiHeadAttention(C, H)
    sizes = {name: tuple(one.shape) for name, one in attention.named_parameters()}
    wanted = {name: tuple(one.shape) for name, one in _names(_oracle().state_dict()).items()}
    assert sizes == wanted, f"its parameters are {sizes}, expected {wanted}"
    assert sum(one.numel() for one in attention.parameters()) == 4 * C * C + 4 * C
    assert list(attention.state_dict()) == list(wanted), "its state dict names them in this order"


@visible(points=2)
def check_matches_torch(MultiHeadAttention):
    """With torch's weights it gives torch's output."""
    oracle, x = _oracle(), _x()
    with torch.no_grad():
        got = _attention(MultiHeadAttention, oracle)(x)[0]
        assert not got.requires_grad
        _assert_close(
            "the output", got, _wanted(oracle, x), "divide the scores by the square root of D, hide what comes later, then take the softmax"
        )


@hidden(points=2)
def check_gradients(MultiHeadAttention):
    """Gradients of the input and of every parameter are torch's."""
    oracle, x, upstream = _oracle(), _x(2).requires_grad_(), _x(3)
    attention = _attention(MultiHeadAttention, oracle)
    output, (by_x,), by_parameter = gradients(attention, x, upstream=upstream)
    names, weights = zip(*oracle.named_parameters(), strict=True)
    want_x, *want = torch.autograd.grad((_wanted(oracle, x) * upstream).sum(), [x, *weights])
    _assert_close("the output", output, _wanted(oracle, x).detach(), "it must not depend on gradients being asked")
    _assert_close("the gradient of x", by_x, want_x, "no part of the way may be detached")
    for name, gradient in _names(dict(zip(names, want, strict=True))).items():
        assert name in by_parameter, f"{name} gets no gradient"
        gap, scale = float((by_parameter[name] - gradient).abs().max()), float(gradient.abs().max())
        assert gap <= 1e-5 * max(1.0, scale), f"the gradient of {name} is off by {gap:.1e}"


@hidden(points=1)
def check_causal(MultiHeadAttention):
    """A later token changes no earlier output, and its own."""
    attention, x = _attention(MultiHeadAttention, _oracle()), _x()
    before = attention(x)[0].detach()
    assert before.isfinite().all(), "some outputs are not finite: every position attends to itself at least"
    for t in range(T):
        changed = x.clone()
        changed[:, t] += 1
        moved = (attention(changed)[0].detach() - before).abs().amax((0, 2)) > 1e-7
        assert not moved[:t].any(), f"position {int(moved.nonzero()[0])} attends to position {t}: the mask must hide later positions"
        assert moved[t], f"position {t} does not attend to itself"


@hidden(points=1)
def check_modes(MultiHeadAttention):
    """Dropout works in training, and is off in evaluation."""
    attention, x = MultiHeadAttention(C, H, dropout=0.5), _x()
    assert attention.training is True, "a new module is in training mode"
    make(MultiHeadAttention, "torch.manual_seed", 1)
    one, two = attention(x)[0], attention(x)[0]
    assert not torch.equal(one, two), "in training two calls drop different weights"
    make(MultiHeadAttention, "torch.manual_seed", 1)
    assert torch.equal(attention(x)[0], one), "with torch's seed set again the same weights are dropped"
    assert attention.eval().training is False
    assert torch.equal(attention(x)[0], attention(x)[0]), "in evaluation nothing is dropped"
    assert attention.train() is attention
    assert attention.training is True


@hidden(points=1)
def check_score(MultiHeadAttention):
    """A score function that is passed in replaces the dot product."""
    oracle, x, shapes = _oracle(), _x(), []

    def equal(queries, keys):
        shapes.append((tuple(queries.shape), tuple(keys.shape)))
        return torch.zeros(B, H, queries.shape[2], keys.shape[2])

    got = _attention(MultiHeadAttention, oracle)(x, score=equal)[0].detach()
    assert shapes == [((B, H, T, C // H),) * 2], f"score was given shapes {shapes}, expected queries and keys of {(B, H, T, C // H)} once"
    state = oracle.state_dict()
    values = x @ state["in_proj_weight"][2 * C :].T + state["in_proj_bias"][2 * C :]
    means = values.cumsum(1) / torch.arange(1, T + 1)[:, None]
    _assert_close(
        "with equal scores the output", got, means @ state["out_proj.weight"].T + state["out_proj.bias"], "it is a running mean of values"
    )


@hidden(points=1)
def check_score_that_fails(MultiHeadAttention):
    """An error in the score function reaches the caller."""
    error, caught = LookupError("no such score"), None

    def fails(queries, keys):
        raise error

    try:
        MultiHeadAttention(C, H)(_x(), score=fails)
    except LookupError as it:
        caught = it
    assert caught is error, "the error of a score function is swallowed"


@hidden(points=2)
def check_cache(MultiHeadAttention):
    """Token by token with the cache it gives what it gives at once."""
    attention, x = _attention(MultiHeadAttention, _oracle()), _x()
    whole, parts, cache = attention(x)[0], [], None
    for start, end in ((0, 2), (2, 3), (3, T)):
        part, cache = attention(x[:, start:end], cache=cache)
        parts.append(part)
    _assert_close("the output in three parts", torch.cat(parts, 1).detach(), whole.detach(), "queries attend to all keys so far")


@hidden(points=1)
def check_other_projection(MultiHeadAttention):
    """Another linear layer can take the projection's place."""
    attention = MultiHeadAttention(C, H)
    attention.projection = make(MultiHeadAttention, "torch.nn.Linear", C, 7)
    assert attention(_x())[0].shape == (B, T, 7), "the last layer is `projection`"
    attention.qkv.weight = torch.nn.Parameter(torch.zeros(3 * C, C))
    attention.qkv.bias = torch.nn.Parameter(torch.zeros(3 * C))
    got, want = attention(_x())[0].detach(), attention.projection.bias.detach()
    assert torch.equal(got, want.expand(B, T, 7)), "without queries, keys and values the projection's bias is left"


CHECKS = [one for name, one in list(globals().items()) if name.startswith("check_")]
