"""Checks of the exercises of chapter 9, GPT."""

import math
from functools import lru_cache, partial

import torch
from scipy.stats import binom
from torch import nn
from torch.nn import functional as F
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.models.gpt2.modeling_gpt2 import GPT2Block

from lmkit import minis
from lmkit.causal import LanguageModel
from lmkit.check import hidden, visible
from lmkit.compare import assert_close, assert_gradients, shown, tensor, whole_number
from lmkit.metrics import evaluate
from lmkit.subject import find, make
from lmkit.tokenizer import END_ID, VOCAB_SIZE, token_ids

HIDES = ("lmkit.transformer",)  # while work is graded: it holds a model that trains itself, which 9.7 asks for


def _drawn(shape, seed, dtype=torch.float64):
    """Random numbers, most of them between -2 and 2."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _weights(shapes, seed):
    """Random weights for these parameters, none of them small or alike: name -> tensor, float64."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64) / (shape[-1] ** 0.5 if len(shape) > 1 else 2)
        for name, shape in shapes.items()
    }


def _assert_parameters(what, module, shapes, advice):
    """AssertionError where a student's module has parameters of other names or shapes than these."""
    try:
        own = {name: tuple(one.shape) for name, one in module.named_parameters()}
    except AttributeError:
        raise AssertionError(f"{what} is no nn.Module whose super().__init__() has run: write `class …(nn.Module)`, and call it") from None
    missing, more = [name for name in shapes if name not in own], [name for name in own if name not in shapes]
    parts = ", ".join(dict.fromkeys(name.partition(".")[0] for name in own))
    assert not missing, f"{what} has no parameter {missing[0]}; its parts are {parts or 'none'}: {advice}"
    assert not more, f"{what} has a parameter {more[0]}, which does not belong there: {advice}"
    for name, shape in shapes.items():
        assert own[name] == tuple(shape), f"{what}: its parameter {name} has the shape {own[name]}, expected {tuple(shape)}"


# 9.1 The causal block

_BLOCK = "CausalBlock({}, {})"
_NORM = ("norm1", "norm2")
_OF_TORCH = {"norm1": "norm1.", "qkv": "self_attn.in_proj_", "out": "self_attn.out_proj.",
             "norm2": "norm2.", "up": "linear1.", "down": "linear2."}  # fmt: skip


def _block_shapes(C):
    """Names and shapes of a block's parameters."""
    rows = {"norm1": (C,), "qkv": (3 * C, C), "out": (C, C), "norm2": (C,), "up": (4 * C, C), "down": (C, 4 * C)}
    return {f"{part}.{kind}": shape if kind == "weight" else shape[:1] for part, shape in rows.items() for kind in ("weight", "bias")}


def _own_block(CausalBlock, C, H, state):
    """A student's block with these weights, in float64."""
    block = CausalBlock(C, H)
    _assert_parameters(_BLOCK.format(C, H), block, _block_shapes(C), "norm1, qkv, out, norm2, up and down, and no others")
    block = block.double()
    block.load_state_dict(state, strict=False)  # a student's module may have buffers of its own
    return block


_GELU = partial(F.gelu, approximate="tanh")


class _TorchBlock(nn.Module):
    """A block of torch's own layers with a student's weights."""

    def __init__(self, C, H, state, causal=True, **other):
        super().__init__()
        options = {"activation": _GELU, "norm_first": True, **other}
        self.layer = nn.TransformerEncoderLayer(C, H, 4 * C, dropout=0.0, batch_first=True, **options).double()
        self.layer.load_state_dict({_of_torch(name): one for name, one in state.items()})
        self.causal = causal

    def forward(self, x):
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        return self.layer(x, src_mask=later if self.causal else None)


def _of_torch(name):
    part, _, kind = name.partition(".")
    return _OF_TORCH[part] + kind


@visible(points=0.5)
def check_block_adds(CausalBlock):
    """The parts by their names; where out and down give 0, x stays as it is"""
    state = _weights(_block_shapes(8), 1)
    silent = {name: torch.zeros_like(one) if name.startswith(("out", "down")) else one for name, one in state.items()}
    what, x = "a block whose out and down give 0", _drawn((2, 3, 8), 2)
    block = _own_block(CausalBlock, 8, 2, silent)
    got, again = (tensor(what, block(x.clone()), (2, 3, 8), "(B, T, C)") for _ in range(2))
    assert (got - again).abs().max() < 1e-9, f"{what}: two calls give two results: no dropout here"
    moved = (got - x).abs().max()
    advice = "x goes on as it is, and each part adds to it: x + f(norm(x)); only what a part reads is normalised"
    assert moved < 1e-9, f"{what}: expected x itself, and a number differs by {moved:.4f}: {advice}"


@visible(points=0.5)
def check_block_is_causal(CausalBlock):
    """No place sees a later one, and every place sees the earlier ones"""
    block, x = _own_block(CausalBlock, 6, 3, _weights(_block_shapes(6), 3)), _drawn((2, 4, 6), 4)
    what = f"{_BLOCK.format(6, 3)} with random weights"
    first = tensor(what, block(x.clone()), (2, 4, 6), "(B, T, C)")
    for t in range(4):
        other = x.clone()
        other[:, t] = _drawn((2, 6), 40 + t)
        moved = (tensor(what, block(other), (2, 4, 6)) - first).abs().amax((0, 2))
        seen = [s for s in range(t) if moved[s] > 1e-9]
        advice = "the attention needs its causal mask, and heads are split from C, so that tokens do not mix"
        assert not seen, f"{what}: place {seen[0]} sees place {t}, which is later: {advice}"
        blind = [s for s in range(t, 4) if moved[s] < 1e-9]
        assert not blind, f"{what}: place {blind[0]} does not see place {t}, which is not later"


def _block_slips(state, C, H, x):
    """What usual mistakes give, by torch's layers with other settings or other weights."""
    q, k, v = range(C), range(C, 2 * C), range(2 * C, 3 * C)
    across = torch.arange(C).view(C // H, H).T.flatten()  # the numbers of head 0, then those of head 1, if every H-th one belonged to it

    def rows(order):
        return {"qkv.weight": state["qkv.weight"][order], "qkv.bias": state["qkv.bias"][order]}

    scaled = torch.ones(3 * C, dtype=torch.float64)
    scaled[:C] = (C // H) ** 0.5
    flat = torch.ones(3 * C, dtype=torch.float64)
    flat[:C] = H**-0.5
    others = (
        ({}, {"activation": "gelu"}, "this is the exact GELU; GPT-2 has the approximation with tanh"),
        ({}, {"activation": "relu"}, "this is ReLU; GPT-2 has GELU, approximated with tanh"),
        ({}, {"activation": nn.Identity()}, "GELU is missing between up and down"),
        ({}, {"norm_first": False}, "this is post-norm; GPT-2 normalises what a part reads"),
        ({}, {"H": 1}, f"this is one head of {C} numbers; split them into H = {H} heads"),
        (rows([*k, *q, *v]), {}, "the 3C numbers of qkv are queries, keys, values, in this order"),
        (rows([*v, *k, *q]), {}, "the 3C numbers of qkv are queries, keys, values, in this order"),
        (rows([*k, *v, *q]), {}, "the 3C numbers of qkv are queries, keys, values, in this order"),
        (rows([*q, *v, *k]), {}, "the 3C numbers of qkv are queries, keys, values, in this order"),
        (rows(torch.arange(3 * C).view(H, 3, C // H).transpose(0, 1).flatten()), {},
         "all queries stand first in qkv, then all keys, then all values: cut it in three, then each into heads"),
        ({"qkv.weight": state["qkv.weight"] * scaled[:, None], "qkv.bias": state["qkv.bias"] * scaled}, {},
         "the scores are not divided by the root of D"),
        ({"qkv.weight": state["qkv.weight"] * flat[:, None], "qkv.bias": state["qkv.bias"] * flat}, {},
         "the scores are divided by the root of C; it is that of D = C / H, the width of one head"),
        (rows(torch.cat([across, across + C, across + 2 * C])) | {"out.weight": state["out.weight"][:, across]}, {},
         f"head 0 takes the first D = {C // H} numbers, not every H-th one"),
        ({name: state[f"norm{3 - int(name[4])}{name[5:]}"] for name in state if name.startswith("norm")}, {},
         "norm1 stands before the attention, norm2 before the feed-forward layer"),
        ({name: state[name.replace("norm2", "norm1")] for name in state if name.startswith("norm2")}, {},
         "norm1 stands before both parts; the feed-forward layer reads norm2"),
    )  # fmt: skip
    with torch.no_grad():
        return [
            (_TorchBlock(C, options.get("H", H), {**state, **changed}, **{k: one for k, one in options.items() if k != "H"})(x), advice)
            for changed, options, advice in others
        ]


@visible(points=0.75)
def check_block_of_torch(CausalBlock):
    """Random weights: what torch's encoder layer gives with a causal mask, norm first and the same GELU"""
    state, x = _weights(_block_shapes(8), 5), _drawn((3, 5, 8), 6)
    what = f"{_BLOCK.format(8, 2)} with random weights, x of shape (3, 5, 8)"
    got = tensor(what, _own_block(CausalBlock, 8, 2, state)(x.clone()), (3, 5, 8), "(B, T, C)")
    assert_close(f"{what}: the result", got, _TorchBlock(8, 2, state)(x).detach(), _block_slips(state, 8, 2, x))


def _gpt2_sizes(V, T, C, layers, H):
    """What a GPT2Config of this shape is made of; without dropout."""
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    drops = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    sizes = {"vocab_size": V, "n_positions": T, "n_embd": C, "n_layer": layers, "n_head": H}
    return {**sizes, **ends, **drops, "attn_implementation": "sdpa"}


def _gpt2_block_state(state):
    """A block's weights as GPT2Block has them."""
    theirs = {"norm1": "ln_1", "qkv": "attn.c_attn", "out": "attn.c_proj", "norm2": "ln_2", "up": "mlp.c_fc", "down": "mlp.c_proj"}
    named = {name: f"{theirs[name.partition('.')[0]]}.{name.partition('.')[2]}" for name in state}
    return {named[name]: one.mT if one.ndim == 2 else one for name, one in state.items()}


@hidden(points=0.75)
def check_block_of_gpt2(CausalBlock):
    """Other sizes, one place, float32: what transformers' GPT2Block gives; x stays as it is"""
    for C, H, shape in ((8, 2, (2, 7)), (6, 1, (1, 3)), (5, 5, (3, 1)), (12, 3, (2, 40))):
        state, x = _weights(_block_shapes(C), C), _drawn((*shape, C), C + 1)
        library = GPT2Block(GPT2Config(**_gpt2_sizes(9, 64, C, 1, H)), 0).double().eval()
        library.load_state_dict(_gpt2_block_state(state))
        with torch.no_grad():
            want = library(x)
        what = f"{_BLOCK.format(C, H)} with random weights, x of shape {(*shape, C)}"
        block, kept = _own_block(CausalBlock, C, H, state), x.clone()
        assert_close(f"{what}: the result", tensor(what, block(x), tuple(x.shape), "(B, T, C)"), want)
        assert torch.equal(x, kept), f"{what}: x, which was given, is changed: write `x = x + …`, not `x += …`"
        single = tensor(f"{what}, float32", block.float()(x.float()), tuple(x.shape), "(B, T, C)")
        assert single.dtype == torch.float32, f"{what}, float32: the result has the type {single.dtype}"
        assert_close(f"{what}, float32: the result", single, want, tolerance=1e-4)


@hidden(points=0.5)
def check_gradients_of_block(CausalBlock):
    """Gradients of x and of all weights: what torch's encoder layer has"""
    state, x = _weights(_block_shapes(8), 7), _drawn((2, 4, 8), 8)
    block = _own_block(CausalBlock, 8, 4, state)
    tensor("random weights", block(x), (2, 4, 8), "(B, T, C)")
    names = {name: f"layer.{_of_torch(name)}" for name in state}
    assert_gradients("random weights", block, _TorchBlock(8, 4, state), (x,), ("x",), _drawn((2, 4, 8), 99), names)


# 9.2 The model


def _gpt_shapes(V, T, C):
    """Names and shapes of the parameters of a GPT without blocks."""
    return {"tokens.weight": (V, C), "positions.weight": (T, C), "norm.weight": (C,), "norm.bias": (C,)}


@visible(points=0.25)
def check_gpt_by_hand(GPT):
    """The worked example: two places, no block"""
    model = GPT(3, 2, 2, [])
    _assert_parameters("GPT(3, 2, 2, [])", model, _gpt_shapes(3, 2, 2), "tokens, positions and norm, and for the logits tokens again")
    rows = {"tokens.weight": [[1, 0], [0, 1], [2, 0]], "positions.weight": [[0, 0], [2, 0]], "norm.weight": [1, 1], "norm.bias": [0, 0]}
    model = model.double()
    model.load_state_dict({name: torch.tensor(row, dtype=torch.float64) for name, row in rows.items()}, strict=False)
    got = tensor("the worked example, ids [[0, 1]]", model(torch.tensor([[0, 1]])), (1, 2, 3), "(B, t, V)")
    slips = (
        ([[[1, 0, 2], [2, 1, 4]]], "the last norm is missing"),
        ([[[1, -1, 2], [-1, 1, -2]]], "the positions are not used: place 1 has the position (2, 0)"),
        ([[[0.2595, 0.0351, 0.7054], [0.2595, 0.0351, 0.7054]]], "these are probabilities; return the logits"),
    )
    want = torch.tensor([[[1.0, -1.0, 2.0], [1.0, -1.0, 2.0]]])
    assert_close("the worked example, ids [[0, 1]]: the logits", got, want, slips, tolerance=1e-3)


@visible(points=0.25)
def check_blocks_in_their_order(GPT):
    """The blocks that are given are parts of the model, and x goes through them one after the other"""
    scales = [make(GPT, "torch.nn.LayerNorm", 3) for _ in range(2)]
    model = GPT(5, 4, 3, scales)
    norms = {f"blocks.{i}.{kind}": (3,) for i in range(2) for kind in ("weight", "bias")}
    what = "GPT(5, 4, 3, two layer norms as blocks)"
    _assert_parameters(what, model, _gpt_shapes(5, 4, 3) | norms, "keep the blocks in an nn.ModuleList called blocks")
    state, ids = _weights(_gpt_shapes(5, 4, 3) | norms, 11), torch.tensor([[4, 0, 2]])
    model = model.double()
    model.load_state_dict(state, strict=False)

    def through(*order):
        x = state["tokens.weight"][ids] + state["positions.weight"][:3]
        for name in (*(f"blocks.{i}" for i in order), "norm"):
            x = F.layer_norm(x, (3,), state[f"{name}.weight"], state[f"{name}.bias"])
        return x @ state["tokens.weight"].mT

    slips = (
        (through(1, 0), "the blocks have changed places"),
        (through(), "the blocks are not used"),
        (through(0), "only the first block is used"),
        (through(1), "only the last block is used: each reads what the one before it gives"),
    )
    assert_close(f"{what}: the logits", tensor(what, model(ids), (1, 3, 5), "(B, t, V)"), through(0, 1), slips)


class _Logits(nn.Module):
    """A model of transformers that returns its logits, as ours do."""

    def __init__(self, library):
        super().__init__()
        self.library = library

    def forward(self, ids):
        return self.library(ids).logits


def _gpt2(sizes, seed):
    """A GPT2LMHeadModel with random weights that float32 can hold, in float64."""
    library = GPT2LMHeadModel(GPT2Config(**sizes)).double().eval()
    shapes = {name: tuple(one.shape) for name, one in library.state_dict().items() if name != "lm_head.weight"}
    state = _weights(shapes, seed)
    library.load_state_dict(state | {"lm_head.weight": state["transformer.wte.weight"]})
    return library.float().double()


def _gpt_on_library_blocks(GPT, V, T, C, layers, H, seed):
    """A student's GPT with the library's blocks in it, a GPT2LMHeadModel with the same weights, and own name -> the library's."""
    sizes, library = _gpt2_sizes(V, T, C, layers, H), _gpt2(_gpt2_sizes(V, T, C, layers, H), seed)
    config = make(GPT, "transformers.GPT2Config", **sizes)
    blocks = [make(GPT, "transformers.models.gpt2.modeling_gpt2.GPT2Block", config, i) for i in range(layers)]
    model = GPT(V, T, C, blocks)
    outer = {"wte": "tokens", "wpe": "positions", "h": "blocks", "ln_f": "norm"}
    state = {name.removeprefix("transformer."): one for name, one in library.state_dict().items() if name != "lm_head.weight"}
    names = {outer[name.partition(".")[0]] + name[name.index(".") :]: f"library.transformer.{name}" for name in state}
    own = {mine: state[theirs.removeprefix("library.transformer.")] for mine, theirs in names.items()}
    shapes = {mine: tuple(one.shape) for mine, one in own.items()}
    _assert_parameters(f"GPT({V}, {T}, {C}, {layers} blocks)", model, shapes, "keep the blocks in an nn.ModuleList called blocks")
    model = model.double()
    model.load_state_dict(own, strict=False)
    return model.eval(), library, names


@hidden(points=0.25)
def check_gpt_of_library(GPT):
    """Random weights, blocks of transformers' own: the logits of GPT2LMHeadModel, for one place and for as many as there are"""
    for number, (V, T, C, layers, H) in enumerate(((11, 7, 8, 2, 2), (30, 5, 6, 3, 1), (4, 9, 4, 0, 2))):
        model, library, _ = _gpt_on_library_blocks(GPT, V, T, C, layers, H, 20 + number)
        for t in (1, T - 2, T):
            ids = torch.randint(V, (3, t), generator=torch.Generator().manual_seed(t))
            what, kept = f"GPT({V}, {T}, {C}, {layers} blocks), ids of shape (3, {t})", ids.clone()
            got = tensor(what, model(ids), (3, t, V), "(B, t, V)")
            with torch.no_grad():
                assert_close(f"{what}: the logits", got, library(ids).logits)
            assert torch.equal(ids, kept), f"{what}: the ids that were given are changed"


@hidden(points=0.25)
def check_gradients_of_gpt(GPT):
    """Gradients of all weights: the table of tokens gets them from both of its ends"""
    model, library, names = _gpt_on_library_blocks(GPT, 11, 7, 8, 2, 2, 24)
    ids = torch.tensor([[3, 0, 10, 3], [1, 1, 2, 9]])
    tensor("random weights", model(ids), (2, 4, 11), "(B, t, V)")
    assert_gradients("random weights, 2 rows of 4 ids", model, _Logits(library), (ids,), (), _drawn((2, 4, 11), 99), names)


def _skeleton(initialise, C, layers):
    """A module with the parameters of a GPT that stands where the student's code is; it cannot compute. Linear layers, tables and norms."""

    def part(kind, *sizes):
        return make(initialise, f"torch.nn.{kind}", *sizes)

    def block():
        rows = {"norm1": part("LayerNorm", C), "qkv": part("Linear", C, 3 * C), "out": part("Linear", C, C),
                "norm2": part("LayerNorm", C), "up": part("Linear", C, 4 * C), "down": part("Linear", 4 * C, C)}  # fmt: skip
        return part("ModuleDict", rows)

    rows = {"tokens": part("Embedding", 400, C), "positions": part("Embedding", 60, C),
            "blocks": part("ModuleList", [block() for _ in range(layers)]), "norm": part("LayerNorm", C)}  # fmt: skip
    model = part("ModuleDict", rows)
    for name, one in dict(model.state_dict()).items():
        if "norm" in name:
            model.load_state_dict({name: torch.full_like(one, 0.5)}, strict=False)
    return model


def _initialised(initialise, C, layers, seed):
    """The parameters after initialise: name -> tensor."""
    model = _skeleton(initialise, C, layers)
    make(initialise, "torch.manual_seed", 1000 + seed)
    initialise(model, layers, torch.Generator().manual_seed(seed))
    return {name: one.detach().clone() for name, one in dict(model.state_dict()).items()}


def _assert_spread(what, one, want, slips):
    """Whether the numbers look drawn from a normal distribution with mean 0 and this standard deviation."""
    spread, middle = one.std().item(), one.mean().item()
    known = [f": {advice}" for slip, advice in slips if abs(spread / slip - 1) < 0.08]
    told = f"{what} has the standard deviation {spread:.5f}, expected about {want:.5f}"
    assert abs(spread / want - 1) < 0.08, f"{told}{''.join(known[:1])}"
    assert abs(middle) < 0.1 * want, f"{what} has the mean {middle:.5f}, expected about 0"
    outside = (one.abs() > 2 * want).double().mean().item()
    told = f"{what}: {outside:.1%} of the numbers lie beyond two standard deviations"
    assert 0.02 < outside < 0.08, f"{told}; of a normal distribution 4.6% do"


def _assert_first_values(state, layers):
    """All parameters as initialise must leave them."""
    residual = 0.02 / math.sqrt(2 * layers)
    for name, one in state.items():
        what = f"{layers} layers: {name}"
        if one.ndim == 1:
            want = 0.0 if name.endswith("bias") else 1.0
            assert (one == want).all(), f"{what} holds {one[0]:.4f}, expected {want:g} everywhere"
        elif name.endswith(("out.weight", "down.weight")):
            slips = (
                (0.02, "it writes into x: divide 0.02 by the root of 2 · layers"),
                (0.02 / math.sqrt(layers), "a layer writes into x twice: divide 0.02 by the root of 2 · layers"),
                (0.02 / (2 * layers), "divide by the root of 2 · layers, not by 2 · layers"),
            )
            _assert_spread(what, one, residual, slips)
        else:
            slips = (
                (residual, "only out.weight and down.weight are drawn smaller"),
                (0.1414, "0.02 is the standard deviation, not the variance"),
                (1.0, "it is as torch drew it: tables of vectors are drawn anew, too"),
            )
            _assert_spread(what, one, 0.02, slips)


@visible(points=0.5)
def check_first_values(initialise):
    """Two layers, C = 64: how far each kind of parameter spreads"""
    _assert_first_values(_initialised(initialise, 64, 2, 1), 2)


@hidden(points=0.5)
def check_first_values_of_others(initialise):
    """Other numbers of layers; all chance comes from the generator"""
    for layers in (1, 5):
        _assert_first_values(_initialised(initialise, 64, layers, 2), layers)
    first, other = _initialised(initialise, 48, 2, 3), _initialised(initialise, 48, 2, 4)
    model = _skeleton(initialise, 48, 2)
    make(initialise, "torch.manual_seed", 5)
    initialise(model, 2, torch.Generator().manual_seed(3))
    again = {name: one.detach() for name, one in dict(model.state_dict()).items()}
    drawn = [name for name, one in first.items() if one.ndim == 2]
    for name in drawn:
        same = torch.equal(first[name], again[name])
        assert same, f"two generators with the same seed give two {name}: what is drawn must be drawn by `generator`"
        assert not torch.equal(first[name], other[name]), f"two generators with other seeds give the same {name}"
    for name in drawn:
        twin = first[name.replace("blocks.1", "blocks.0")]
        alone = "blocks.1" not in name or not torch.equal(first[name], twin)
        assert alone, f"{name} has the same numbers as in the block before: draw each by itself"


def _library_count(V, T, C, layers):
    """How many parameters a GPT2LMHeadModel has, without making room for them."""
    with torch.device("meta"):
        return GPT2LMHeadModel(GPT2Config(**_gpt2_sizes(V, T, C, layers, 1))).num_parameters()


def _count_slips(want, V, T, C, layers):
    """What usual mistakes give in place of `want`, and what to say of each."""
    return [
        (want + V * C, "the table of tokens counts once: it serves at both ends"),
        (want - 2 * C, "the last norm is missing"),
        (want - T * C, "the positions are missing"),
        (want - layers * 13 * C - 2 * C, "these are the matrices alone; biases and norms count, too"),
        (want - layers * 11 * C - C, "weights have biases, too, and norms two vectors"),
        (want - layers * 9 * C, "the biases of the four linear layers are missing"),
        (want - layers * 4 * C, "each block has two norms of two vectors each"),
        (want - layers * 4 * C - 2 * C, "the norms are missing: two in each block and one at the end, of two vectors each"),
        (want - layers * 2 * C - C, "a norm has two vectors, its weight and its bias"),
        (want - layers * 2 * C, "the bias of qkv has 3 C numbers"),
        (want + V, "the logits have no bias"),
    ]


@visible(points=0.5)
def check_count_by_hand(count_parameters):
    """The worked example, and the smallest of the four published GPT-2"""
    by_hand, published, want = (5, 3, 2, 1), (50257, 1024, 768, 12), 124_439_808
    got, of_published = count_parameters(*by_hand), count_parameters(*published)
    slips = _count_slips(want, *published)
    # by hand several mistakes give the same number: both must be off by the same one
    both = [small for small, (large, _) in zip(_count_slips(94, *by_hand), slips, strict=True) if of_published == large]
    whole_number(f"count_parameters{by_hand}", got, 94, both)
    whole_number(f"count_parameters{published}", of_published, want, slips)


@hidden(points=0.5)
def check_count_of_library(count_parameters):
    """The other three published sizes, and one that fills no computer: the library's number, or the one by hand"""
    for sizes in ((50257, 1024, 1024, 24), (50257, 1024, 1280, 36), (50257, 1024, 1600, 48), (7, 4, 3, 0), (100, 1, 1, 5)):
        want = _library_count(*sizes)
        whole_number(f"count_parameters{sizes}", count_parameters(*sizes), want, _count_slips(want, *sizes))
    sizes, want = (50257, 2048, 12288, 96), 174_604_259_328
    whole_number(f"count_parameters{sizes}", count_parameters(*sizes), want, _count_slips(want, *sizes))


# 9.3 Published weights


def _there(load_gpt2, library):
    """A GPT2LMHeadModel with the same configuration and weights as this one, where the student's code is. float32."""
    wanted = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "bos_token_id", "eos_token_id", "pad_token_id")
    config = make(load_gpt2, "transformers.GPT2Config", **{name: getattr(library.config, name) for name in wanted})
    copy = make(load_gpt2, "transformers.GPT2LMHeadModel", config)
    copy.load_state_dict({name: one.float() for name, one in library.state_dict().items()})
    return copy.eval()


def _loaded(what, load_gpt2, library):
    """What load_gpt2 makes of a copy of this model, in evaluation mode, and the copy."""
    copy = _there(load_gpt2, library)
    make(load_gpt2, "torch.manual_seed", 0)  # for weights that do not arrive: a message says the same each time
    model = load_gpt2(copy)
    assert model is not None, f"{what}: load_gpt2 returned None: `return` the model"
    assert hasattr(model, "modules"), f"{what}: expected a model, an nn.Module, got {shown(model)}"
    if getattr(model, "training", False):  # allowed where it makes no difference
        first, second = (_logits(what, model, torch.tensor([[0, 1, 2]]), library.config.vocab_size) for _ in range(2))
        advice = "return it in evaluation mode, `model.eval()`, so that nothing is dropped"
        assert torch.equal(first, second), f"{what}: the model that load_gpt2 returned gives two results for the same ids: {advice}"
    return model.eval(), copy


def _logits(what, model, ids, V):
    with torch.no_grad():
        return tensor(f"{what}: the logits", model(ids), (*ids.shape, V), "(B, t, V)")


@torch.no_grad()
def _load_slips(library, ids):
    """The logits of usual mistakes: the library with other weights."""
    state = library.state_dict()

    def other(change):
        model = GPT2LMHeadModel(library.config).to(next(iter(state.values())).dtype).eval()
        model.load_state_dict({name: change(name, one) for name, one in state.items()})
        return model(ids).logits

    def plain(name, one):
        return torch.ones_like(one) if name.endswith("weight") else torch.zeros_like(one)

    turned = "the library's Conv1D has its matrix lying down, (in, out); a linear layer has (out, in): turn it over. attn.c_proj, "
    return (
        (other(lambda name, one: one.mT if "attn.c_proj.weight" in name else one), turned + "too: it is square, so that no shape tells"),
        (other(lambda name, one: plain(name, one) if ".ln_f." in name else one), "ln_f has not reached the last norm"),
        (other(lambda name, one: torch.zeros_like(one) if ".c_" in name and name.endswith("bias") else one), "biases are missing"),
        (other(lambda name, one: torch.zeros_like(one) if "wpe" in name else one), "the positions are missing"),
        (other(lambda name, one: state[name.replace("ln_1", "ln_2")] if "ln_1" in name else state[name.replace("ln_2", "ln_1")]
               if "ln_2" in name else one), "ln_1 is norm1, ln_2 is norm2"),
        (other(lambda name, one: state[f"transformer.h.0.{name.split('.', 3)[3]}"] if ".h." in name else one),
         "all blocks have the weights of the first"),
    )  # fmt: skip


@visible(points=0.75)
def check_random_gpt2(load_gpt2):
    """Random weights, C = 8, two layers: the logits of GPT2LMHeadModel"""
    library, ids = _gpt2(_gpt2_sizes(11, 7, 8, 2, 2), 31), torch.tensor([[3, 0, 10, 3, 5], [1, 1, 2, 9, 7]])
    what = "random weights, C = 8, H = 2, 2 layers"
    model = _loaded(what, load_gpt2, library)[0].double()
    with torch.no_grad():
        want = library(ids).logits
    assert_close(f"{what}: the logits", _logits(what, model, ids, 11), want, _load_slips(library, ids), tolerance=1e-5)


@hidden(points=0.25)
def check_other_gpt2s(load_gpt2):
    """Other shapes: one layer and three, one head and many, one place and all"""
    for number, (V, T, C, layers, H) in enumerate(((30, 5, 6, 1, 1), (7, 12, 12, 3, 4))):
        library = _gpt2(_gpt2_sizes(V, T, C, layers, H), 32 + number)
        what = f"random weights, C = {C}, H = {H}, {layers} layer(s)"
        model = _loaded(what, load_gpt2, library)[0].double()
        for t in (1, T):
            ids = torch.randint(V, (2, t), generator=torch.Generator().manual_seed(t))
            with torch.no_grad():
                want = library(ids).logits
            assert_close(f"{what}, {t} place(s): the logits", _logits(what, model, ids, V), want, tolerance=1e-5)


@hidden(points=0.5)
def check_gpt_mini(load_gpt2):
    """gpt-mini on paragraphs of the course: its logits to one part in 100,000; roughly in float32 as well"""
    library = GPT2LMHeadModel.from_pretrained(minis.folder("gpt-mini")).eval().double()
    model, longest = _loaded("gpt-mini", load_gpt2, library)[0], library.config.n_positions
    for number in (0, 7, 11):
        ids = torch.tensor([[END_ID, *token_ids("validation")[number]][:longest]])
        with torch.no_grad():
            want = library(ids).logits
        what, V = f"gpt-mini, validation paragraph {number}, {ids.shape[1]} places", library.config.vocab_size
        if number == 0:
            single, most = _logits(f"{what}, in float32", model, ids, V), want.abs().max()
            near = ((single.double() - want).abs() < 1e-4 * most).all()
            model = model.double()
        assert_close(f"{what}: the logits", _logits(what, model, ids, V), want, tolerance=1e-5)
    advice = "no part of it may compute in 16 bits"
    assert near, f"gpt-mini in float32: a logit is off by more than a ten-thousandth of the largest, while float64 fits: {advice}"


@hidden(points=0.5)
def check_weights_are_copies(load_gpt2):
    """The weights are copies, in a model of one's own; the library's stays as it is"""
    library, ids = _gpt2(_gpt2_sizes(11, 7, 8, 2, 2), 35), torch.tensor([[3, 0, 10, 3, 5]])
    what = "random weights, C = 8, H = 2, 2 layers"
    model, copy = _loaded(what, load_gpt2, library)
    is_a, home = find(load_gpt2, "builtins.isinstance"), "transformers.models.gpt2.modeling_gpt2."
    for kind in ("GPT2PreTrainedModel", "GPT2Block", "GPT2Attention", "GPT2MLP"):
        theirs = find(load_gpt2, home + kind)
        built_on = any(is_a(part, theirs) for part in model.modules())
        assert not built_on, f"{what}: a part of the model is the library's {kind}: build it of your own parts, or of torch's layers"
    for name, one in dict(copy.state_dict()).items():
        assert torch.equal(one, library.state_dict()[name].float()), f"{what}: load_gpt2 has changed the library's {name}"
    before = _logits(what, model, ids, 11)
    copy.load_state_dict({name: torch.zeros_like(one).float() for name, one in library.state_dict().items()})
    moved = (_logits(what, model, ids, 11) - before).abs().max()
    advice = "the two share memory: copy the weights, as load_state_dict does"
    assert moved < 1e-6, f"{what}: when the library's weights change afterwards, so do your logits, by {moved:.4f}: {advice}"


# 9.4 Decoding


def _kept(row):
    """The tokens of a row of logits that are not -inf."""
    return [token for token, logit in enumerate(row.tolist()) if logit != -math.inf]


def _filtered(what, got, given):
    """What a filter returned: a tensor of the shape and the type of the logits that it was given, without nan."""
    got = tensor(what, got, tuple(given.shape), "(B, V)")
    assert got.dtype == given.dtype, f"{what}: the result has the type {got.dtype}, expected that of the logits, {given.dtype}"
    advice = "a -inf that is given is a logit like others" if given.isinf().any() else "0 · inf, 0 / 0 and inf - inf give it"
    assert not got.isnan().any(), f"{what}: the result holds nan; {advice}"
    return got


def _assert_kept(what, got, logits, want, advice):
    """Which tokens of one row stay, and that their logits are as they were."""
    left = _kept(got[0])
    assert left == want, f"{what}: kept tokens {left}, expected {want}: {advice}"
    rest = [token for token in want if got[0, token] != logits[0, token]]
    if rest:
        before, after = (one[0, rest[0]].item() for one in (logits, got))
        raise AssertionError(f"{what}: token {rest[0]} stays, but its logit has become {after:.4f}; it was {before:.4f}")


def _rows(seed, dtype=torch.float64):
    """Rows of 40 random logits: some as they come, some with equal ones, some with tokens that are shut out already."""
    logits = 3 * _drawn((12, 40), seed)
    logits[4:8] = logits[4:8].round()
    logits[8:, ::3] = -math.inf
    return logits.to(dtype)


def _as_library(name, ask, processor, logits, ids=None):
    """Compare a filter with a processor of transformers. ask: logits -> the student's; AssertionError also where logits are changed."""
    kept = logits.clone()
    got, want = _filtered(name, ask(logits), logits), processor(ids, kept.clone())
    assert torch.equal(logits, kept), f"{name}: the logits that were given are changed: work on a copy, or with masked_fill without _"
    differ = (got == -math.inf) != (want == -math.inf)
    if differ.any():
        row, token = torch.nonzero(differ)[0].tolist()
        fate = {True: "shut out", False: "kept"}
        mine, theirs = (fate[bool(one[row, token] == -math.inf)] for one in (got, want))
        raise AssertionError(f"{name}: token {token} of row {row} is {mine}, transformers has it {theirs}")
    open_ones = want > -math.inf
    assert_close(f"{name}: a logit that stays", got[open_ones], want[open_ones])


@visible(points=0.25)
def check_temperature_by_hand(apply_temperature):
    """Logits 0, 1 and 3 at the temperatures 0.5 and 2"""
    logits = torch.tensor([[0.0, 1.0, 3.0]], dtype=torch.float64)
    for temperature, want in ((0.5, [[0.0, 2.0, 6.0]]), (2.0, [[0.0, 0.5, 1.5]])):
        what = f"logits 0, 1, 3, temperature {temperature:g}"
        got = _filtered(what, apply_temperature(logits.clone(), temperature), logits)
        half = logits / temperature
        slips = (
            (logits * temperature, "divide by the temperature, do not multiply"),
            (half.softmax(-1), "these are probabilities; return logits"),
            (half.log_softmax(-1), "these are log-probabilities; return the logits, divided and no more"),
            (logits.softmax(-1) / temperature, "divide the logits, before any softmax"),
            (logits.softmax(-1) ** (1 / temperature), "divide the logits, before any softmax"),
        )
        assert_close(what, got, torch.tensor(want, dtype=torch.float64), slips)


@hidden(points=0.25)
def check_temperature_of_library(apply_temperature):
    """TemperatureLogitsWarper on random logits, near 0 as well; what is given stays as it is"""
    for dtype in (torch.float64, torch.float32):
        for temperature in (1.0, 0.7, 3.0, 1e-3, 1e-6, 1e3):
            name = f"12 rows of random logits, {dtype}, temperature {temperature:g}"
            logits = _rows(41, dtype)
            _as_library(name, partial(_swap, apply_temperature, temperature), TemperatureLogitsWarper(temperature), logits)


def _swap(function, setting, logits):
    return function(logits, setting)


@visible(points=0.5)
def check_top_k_by_hand(top_k_filter):
    """Four logits, of which two are equal"""
    logits = torch.tensor([[1.0, 3.0, 2.0, 2.0]], dtype=torch.float64)
    cases = (
        (1, [1], "the greatest stays"),
        (2, [1, 2, 3], "tokens 2 and 3 have equal logits: both equal the second greatest, so both stay"),
        (3, [1, 2, 3], "the three greatest stay"),
        (4, [0, 1, 2, 3], "all stay"),
        (9, [0, 1, 2, 3], "with k > V all stay"),
    )
    for k, want, advice in cases:
        what = f"logits 1, 3, 2, 2 with k = {k}"
        try:
            got = _filtered(what, top_k_filter(logits.clone(), k), logits)
        except NotImplementedError:  # which is a RuntimeError, too
            raise
        except (IndexError, RuntimeError) as error:
            if k <= 4:
                raise
            raise AssertionError(f"{what} stopped with {type(error).__name__}: {str(error)[:80]}: {advice}") from None
        zeroed = [token for token in range(4) if token not in want and got[0, token] == 0]
        assert not zeroed, f"{what}: token {zeroed[0]} has the logit 0, a logit like others: shut it out with -inf"
        _assert_kept(what, got, logits, want, advice)


@hidden(points=0.5)
def check_top_k_of_library(top_k_filter):
    """TopKLogitsWarper on random logits: each row by itself, equal logits, tokens shut out before; what is given stays as it is"""
    for dtype in (torch.float64, torch.float32):
        for k in (1, 2, 5, 17, 39, 40, 41, 1000):
            name = f"12 rows of random logits, {dtype}, k = {k}"
            _as_library(name, partial(_swap, top_k_filter, k), TopKLogitsWarper(k), _rows(42, dtype))


def _of(*probabilities):
    return torch.tensor([probabilities], dtype=torch.float64).log()


@visible(points=0.5)
def check_crossing_token_stays(top_p_filter):
    """Probabilities 0.5, 0.3, 0.15, 0.05: the worked example"""
    logits = _of(0.5, 0.3, 0.15, 0.05)
    for p, want in ((0.45, [0]), (0.6, [0, 1]), (0.9, [0, 1, 2]), (0.97, [0, 1, 2, 3])):
        what = f"probabilities 0.5, 0.3, 0.15, 0.05 with p = {p:g}"
        got = _filtered(what, top_p_filter(logits.clone(), p), logits)
        zeroed = [token for token in range(4) if token not in want and got[0, token] == 0]
        assert not zeroed, f"{what}: token {zeroed[0]} has the logit 0, a logit like others: shut it out with -inf"
        _assert_kept(what, got, logits, want, "the token whose probability carries the sum past p stays, and none behind it")


@visible(points=0.25)
def check_token_order(top_p_filter):
    """The same probabilities in another order, two rows at once"""
    logits = torch.cat([_of(0.05, 0.5, 0.15, 0.3), _of(0.3, 0.05, 0.5, 0.15)])
    got = _filtered("two rows with p = 0.6", top_p_filter(logits.clone(), 0.6), logits)
    for row, (rows, want) in enumerate((("0.05, 0.5, 0.15, 0.3", [1, 3]), ("0.3, 0.05, 0.5, 0.15", [0, 2]))):
        advice = "the token whose probability carries the sum past p stays, and none behind it"
        if len(_kept(got[row])) == len(want):
            advice = "bring the mask back into token order before you apply it"
        _assert_kept(f"probabilities {rows} with p = 0.6 (row {row} of two)", got[row : row + 1], logits[row : row + 1], want, advice)


@hidden(points=0.5)
def check_top_p_of_library(top_p_filter):
    """TopPLogitsWarper on random logits, tokens shut out before; what is given stays as it is"""
    for dtype in (torch.float64, torch.float32):
        for p in (0.1, 0.35, 0.5, 0.8, 0.95, 0.999):
            rows = torch.cat([_rows(43)[:4], _rows(43)[8:], _rows(44)[:4], 4 * _rows(45)[:4]])
            sums = rows.softmax(-1).sort(descending=True).values.cumsum(-1)
            rows = rows[((sums - p).abs() > 1e-5).all(-1)].to(dtype)  # p falls on no sum, so rounding decides nothing
            name = f"{len(rows)} rows of random logits, {dtype}, p = {p:g}"
            _as_library(name, partial(_swap, top_p_filter, p), TopPLogitsWarper(p), rows)


@hidden(points=0.25)
def check_top_p_edges(top_p_filter):
    """p = 1 keeps all, a tiny p keeps one, of equal tokens the lower id comes first"""
    even = torch.zeros(1, 8, dtype=torch.float64)
    cases = (
        (even, 0.4, [0, 1, 2, 3], "eight equal tokens of 1/8: four reach 0.4, and of equal ones the lower ids come first"),
        (even, 1.0, list(range(8)), "p = 1 keeps all"),
        (even, 1e-9, [0], "one token always stays"),
        (_of(0.2, 0.2, 0.4, 0.2), 0.5, [0, 2], "0.4 and one of 0.2 reach 0.5; of equal ones the lower id comes first"),
        (-torch.arange(30, dtype=torch.float32)[None], 1.0, list(range(30)), "p = 1 keeps all, also what a sum in float32 hardly notices"),
        (_of(0.6, 0.0, 0.4), 1.0, [0, 2], "-inf stays -inf"),
        (torch.tensor([[-50.0, 900.0, 10.0]]), 0.3, [1], "one token has all the probability"),
        (_rows(46).round()[:1, :1], 0.5, [0], "one token in all"),
    )
    for logits, p, want, advice in cases:
        values = ", ".join(f"{one:g}" for one in logits[0, :4].tolist())
        what = f"logits {values}{' …' if logits.shape[1] > 4 else ''} with p = {p:g}"
        _assert_kept(what, _filtered(what, top_p_filter(logits.clone(), p), logits), logits, want, advice)


@visible(points=0.5)
def check_penalty_by_hand(repetition_penalty):
    """Four logits, of which three tokens have occurred: one positive, one negative, one 0"""
    logits, ids = torch.tensor([[2.0, -2.0, 0.0, 3.0]], dtype=torch.float64), torch.tensor([[0, 1, 0, 2]])
    what = "logits 2, -2, 0, 3 after the ids 0, 1, 0, 2, penalty 2"
    got = _filtered(what, repetition_penalty(ids.clone(), logits.clone(), 2.0), logits)
    slips = (
        ([[1, -1, 0, 3]], "-2 / 2 = -1 makes token 1 likelier: multiply a negative logit by the penalty"),
        ([[0.5, -4, 0, 3]], "token 0 occurs twice, and is changed once only"),
        ([[0.5, -8, 0, 3]], "token 0 occurs twice, and is changed once only"),
        ([[4, -4, 0, 3]], "2 · 2 = 4 makes token 0 likelier: divide a positive logit by the penalty"),
        ([[4, -1, 0, 3]], "both make their token likelier: divide a positive logit by the penalty, and multiply a negative one"),
        ([[0, -4, -2, 3]], "divide and multiply, do not subtract"),
        ([[1, -4, 0, 1.5]], "token 3 has not occurred: it stays as it is"),
    )
    assert_close(what, got, torch.tensor([[1.0, -4.0, 0.0, 3.0]], dtype=torch.float64), slips)


@hidden(points=0.5)
def check_penalty_of_library(repetition_penalty):
    """RepetitionPenaltyLogitsProcessor on random logits: each row its own ids, none at all, tokens shut out before"""
    generator = torch.Generator().manual_seed(47)
    for dtype in (torch.float64, torch.float32):
        for penalty, T in ((1.2, 30), (3.0, 1), (0.8, 10), (1.0, 5), (1.3, 0)):
            ids = torch.randint(40, (12, T), generator=generator)
            logits, kept = _rows(48, dtype), ids.clone()
            name = f"12 rows of random logits, {dtype}, {T} ids in each, penalty {penalty:g}"
            ask = partial(_penalised, repetition_penalty, ids, penalty)
            _as_library(name, ask, RepetitionPenaltyLogitsProcessor(penalty), logits, ids)
            assert torch.equal(ids, kept), f"{name}: the ids that were given are changed"


def _penalised(repetition_penalty, ids, penalty, logits):
    return repetition_penalty(ids, logits, penalty)


# 9.5 Generate


class _Script:
    """A model for the checks: behind the prompt its greatest logits spell a script. It notes the ids that it is asked about."""

    def __init__(self, prompt, script, V=8):
        self.start, self.script, self.V, self.asked = len(prompt), script, V, []

    def __call__(self, ids, written=None):
        assert isinstance(ids, torch.Tensor), f"step was given {shown(ids)}, expected a tensor of ids of shape (1, T)"
        assert ids.shape == (1, ids.numel()), f"step was given a tensor of shape {tuple(ids.shape)}, expected (1, T)"
        assert ids.dtype == torch.int64, f"step was given a tensor of {ids.dtype}, expected int64"
        self.asked.append(ids[0].tolist())
        written = ids.shape[1] - self.start if written is None else written
        token = self.script[min(written, len(self.script) - 1)]  # one call too many finds the last once more
        return torch.arange(self.V, dtype=torch.float32)[None] / 100 + 5 * F.one_hot(torch.tensor([token]), self.V)


def _new_ids(what, got):
    """A list of ids."""
    assert isinstance(got, list | tuple), f"{what}: expected a list of ids, got {shown(got)}"
    try:
        return [int(token) for token in got]
    except (TypeError, ValueError):
        raise AssertionError(f"{what}: expected a list of ids, whole numbers, got {shown(got)}") from None


def _assert_new(what, got, prompt, script, want, end):
    """The ids that were written, and what usual mistakes give."""
    got = _new_ids(what, got)
    slips = (
        ([*prompt, *want], "the prompt is not part of the answer"),
        ([*want, end], "the end token is not returned"),
        (script[: len(got)], "nothing comes behind the end token"),
    )
    known = [f": {advice}" for slip, advice in slips if got == slip]
    assert got == want, f"{what}: got {got}, expected {want}{''.join(known[:1])}"


@visible(points=0.5)
def check_follows_the_greatest(generate):
    """Without a generator: the greatest logit each time, until the end token, each step with all ids so far"""
    prompt, script = [3, 5], [4, 6, 4, 0, 7, 7]
    what = "prompt [3, 5], where the greatest logits say 4, 6, 4, 0, 7, 7, longest = 6, end = 0"
    step, given = _Script(prompt, script), list(prompt)
    got = generate(step, given, 6, 0)
    short = [ids for ids in step.asked if ids[:2] != prompt]
    assert not short, f"{what}: step was asked about {short[0]}: hand over all ids so far, the prompt in front"
    _assert_new(what, got, prompt, script, [4, 6, 4], 0)
    assert given == prompt, f"{what}: the prompt that was given has become {given}"
    want = [[3, 5], [3, 5, 4], [3, 5, 4, 6], [3, 5, 4, 6, 4]]
    asked = step.asked
    assert asked == want, f"{what}: step was asked about {asked!s:.150}, expected {want}: all ids so far, once for each new one"


@visible(points=0.5)
def check_filters_in_their_order(generate):
    """Each filter gets the ids so far and what the one before it gave"""
    seen = []

    def shut_out_four(ids, logits):
        assert isinstance(ids, torch.Tensor), f"a filter was given {shown(ids)} first, expected a tensor of ids of shape (1, T)"
        seen.append((ids[0].tolist(), tuple(logits.shape)))
        return logits.index_fill(1, torch.tensor([4]), -math.inf)

    def turn_round(ids, logits):
        return torch.where(logits == -math.inf, 100.0, -logits)

    prompt, what = [3, 5], "prompt [3, 5], where the greatest logit is always that of 4, longest = 2"
    got = _new_ids(what, generate(_Script(prompt, [4] * 6), prompt, 2, 0, [shut_out_four]))
    advice = {(4, 4): ": what the filters return goes on, not the logits of step", (3, 5, 7, 7): ": the prompt is not part of the answer"}
    assert got == [7, 7], f"{what}, one filter that shuts out 4: got {got}, expected [7, 7]{advice.get(tuple(got), '')}"
    want = [([3, 5], (1, 8)), ([3, 5, 7], (1, 8))]
    assert seen == want, f"{what}: the filter was given ids and logits {seen!s:.120}, expected the ids so far and (1, V): {want}"
    got = _new_ids(what, generate(_Script(prompt, [4] * 6), prompt, 2, 0, [shut_out_four, turn_round]))
    told = f"{what}, a filter that shuts out 4, then one that makes 100 of -inf and turns the others round"
    assert got == [4, 4], f"{told}: got {got}, expected [4, 4]: each filter reads what the one before it gave, in the order of the list"


@hidden(points=0.5)
def check_draws(generate):
    """With a generator: drawn from the softmax of what the filters leave, the same for the same seed"""
    shares = (0.05, 0.45, 0.3, 0.2)
    logits = torch.tensor([shares], dtype=torch.float32).log()
    what = "tokens drawn with the probabilities 0.05, 0.45, 0.3, 0.2"

    def draw(seed, n, *filters):
        return _new_ids(what, generate(lambda ids: logits, [1], n, 9, list(filters), torch.Generator().manual_seed(seed)))

    n = 600
    first, again, other = draw(1, n), draw(1, n), draw(2, n)
    assert len(first) == n, f"{what}: got {len(first)} of them, expected {n}"
    assert len(set(first)) > 1, f"{what}: all are the same token: with a generator the next token is drawn"
    assert first == again, f"{what}: two generators with the same seed give two texts: draw with `generator`"
    assert first != other, f"{what}: two generators with other seeds give the same text: draw with `generator`"
    large = draw(4, n, lambda ids, logits: logits + 1000)
    for about, drawn in ((what, first), (f"{what}, and 1000 added to every logit", large)):
        for token, share in enumerate(shares):
            least, most = (int(bound(1e-8, n, share)) for bound in (binom.ppf, binom.isf))  # chance passes them rarely
            found, advice = drawn.count(token), "draw from the softmax of the logits, each token by itself"
            assert least <= found <= most, f"{about}: token {token} is {found} of {n}, expected between {least} and {most}: {advice}"
    hot = draw(3, 100, lambda ids, logits: logits.masked_fill(logits < -1.5, -math.inf))
    left = sorted(set(hot))
    assert left == [1, 2], f"{what}, where a filter leaves tokens 1 and 2: drawn are {left}: draw from what the filters leave"


@hidden(points=0.5)
def check_where_it_stops(generate):
    """longest = 0 asks for nothing, the end token at once, an end token in the prompt, no end at all"""
    cases = (
        ([3, 5], [4, 6], 0, 0, [], "longest = 0"),
        ([3, 5], [0, 6], 2, 0, [], "the end token comes first"),
        ([0, 5], [4, 6, 0], 3, 0, [4, 6], "an end token in the prompt is a token like others"),
        ([2], [4, 6, 4, 6, 1], 4, 0, [4, 6, 4, 6], "no end token comes"),
        ([5, 0], [0, 0, 7, 3], 6, 7, [0, 0], "the end token is 7, and 0 one like others"),
    )
    for prompt, script, longest, end, want, about in cases:
        for given in (list(prompt), tuple(prompt)):
            step, kind = _Script(prompt, script), "a tuple" if isinstance(given, tuple) else "a list"
            what = f"prompt {prompt} as {kind}, greatest logits {script}, longest = {longest}, end = {end} ({about})"
            _assert_new(what, generate(step, given, longest, end), prompt, script, want, end)
            most = min(longest, len(want) + 1)
            assert len(step.asked) == most, f"{what}: step was called {len(step.asked)} times, expected {most}"


# 9.6 The cache


def _new_places(shape, T, seed):
    """Queries, keys and values of T places."""
    return [_drawn((*shape[:2], T, shape[2]), seed + i) for i in range(3)]


def _pair(what, got, names):
    assert isinstance(got, tuple | list), f"{what}: expected a pair, {names}, got {shown(got)}"
    assert len(got) == 2, f"{what}: expected a pair, {names}, got {len(got)} values"
    return got


def _attended(what, got, shape, S):
    """The pair that cached_attention returned: output, (keys, values)."""
    output, cache = _pair(what, got, "(output, cache)")
    sizes = (*shape[:2], S, shape[3])
    names = zip(("keys", "values"), _pair(f"{what}: the cache", cache, "(keys, values)"), strict=True)
    cache = tuple(tensor(f"{what}: the {name} of the cache", one, sizes, "(B, H, S + T, D)") for name, one in names)
    return tensor(f"{what}: the output", output, shape, "(B, H, T, D)"), cache


def _in_pieces(cached_attention, given, pieces, shape):
    """Outputs of all pieces, one behind the other, and the last cache. given: query, key, value of all places."""
    B, H, D = shape
    cache, done, outputs = None, 0, []
    for T in pieces:
        new = [one[:, :, done : done + T].clone() for one in given]
        what = f"{sum(pieces)} places in pieces of {', '.join(map(str, pieces))}: places {done} to {done + T - 1}"
        got = cached_attention(*new) if cache is None else cached_attention(*new, cache)
        output, cache = _attended(what, got, (B, H, T, D), done + T)
        outputs.append(output)
        done += T
    return torch.cat(outputs, dim=2), cache


@visible(points=0.5)
def check_one_more_place(cached_attention):
    """Three places, then one more: what attention over all four gives"""
    shape = 2, 2, 3
    query, key, value = given = _new_places(shape, 4, 51)
    want = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    got, cache = _in_pieces(cached_attention, given, (3, 1), shape)
    unmasked = F.scaled_dot_product_attention(*(one[:, :, :3] for one in given))
    slips = (
        (torch.cat([want[:, :, :3], value[:, :, :1]], 2),
         "the new place sees the first alone; it stands behind the cache, and sees it all"),
        (F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0), "the scores are not divided by the root of D"),
        (torch.cat([want[:, :, :3], value[:, :, 3:]], 2), "the new place sees itself alone: put the cache in front of its key and value"),
        (torch.cat([unmasked, want[:, :, 3:]], 2), "places that come together see later ones: within a piece, too, none may"),
    )  # fmt: skip
    assert_close("three places, then one more: the output", got, want, slips)
    for name, one, all_places in zip(("keys", "values"), cache, (key, value), strict=True):
        assert_close(f"three places, then one more: the {name} of the cache", one, all_places)


@hidden(points=0.5)
def check_any_pieces(cached_attention):
    """Any pieces, one place at a time as well: as F.scaled_dot_product_attention over all; a cache stays as it was"""
    cases = ((2, 3, 4), (2, 3)), ((1, 1, 5), (1, 1, 1, 1, 1)), ((2, 2, 2), (1, 4, 2)), ((1, 4, 3), (6,))
    for number, (shape, pieces) in enumerate(cases):
        query, key, value = given = _new_places(shape, sum(pieces), 60 + number)
        want = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        what = f"{sum(pieces)} places in pieces of {', '.join(map(str, pieces))}"
        got, cache = _in_pieces(cached_attention, given, pieces, shape)
        assert_close(f"{what}: the output", got, want)
        for name, one, all_places in zip(("keys", "values"), cache, (key, value), strict=True):
            assert_close(f"{what}: the {name} of the cache", one, all_places)
    B, H, D = shape = 1, 2, 3
    _, cache = _attended("two places", cached_attention(*_new_places(shape, 2, 70)), (B, H, 2, D), 2)
    kept = [one.clone() for one in cache]
    results = [_attended("a third place", cached_attention(*_new_places(shape, 1, 71), cache), (B, H, 1, D), 3)[0] for _ in range(2)]
    same = all(torch.equal(one, before) for one, before in zip(cache, kept, strict=True))
    assert same, "two places, then a third: the cache that was given is changed: make a new one with torch.cat"
    assert_close("the same third place behind the same cache, a second time: the output", results[1], results[0])


class _CachedScript(_Script):
    """As _Script, for a step with a cache: a ticket, which says how much the model has read, good for the next call alone."""

    def __call__(self, ids, cache):
        read = 0 if cache is None else self.read
        assert cache is None or cache == f"ticket {len(self.asked)}", "step was given another cache than the one that it returned last"
        self.read = read + ids.numel()
        if not self.asked:
            told = f"the first call of step gets {self.read} of the {self.start} tokens of the prompt"
            assert self.read >= self.start, f"{told}: hand over the whole prompt at once"
        told = f"step was given no cache in a later call, with {ids.numel()} token(s), and the prompt alone has {self.start}"
        assert self.read >= self.start, f"{told}: hand on the cache that the last call returned"
        logits = super().__call__(ids, self.read - self.start)
        return logits, f"ticket {len(self.asked)}"


@visible(points=0.5)
def check_each_token_once(generate_cached):
    """Each token goes through the model once: the prompt at the start, then each new one by itself"""
    prompt, script = [3, 5, 6], [4, 6, 4, 0, 7, 7, 7, 7, 7, 7]
    what = "prompt [3, 5, 6], where the greatest logits say 4, 6, 4, 0, longest = 6, end = 0"
    step, given = _CachedScript(prompt, script), list(prompt)
    _assert_each_once(what, generate_cached, step, given, 6, 0)
    assert given == prompt, f"{what}: the prompt that was given has become {given}"


def _assert_each_once(what, generate_cached, step, prompt, longest, end):
    """What is written and what goes through the model are as they must be, by the script."""
    want = step.script[: step.script.index(end)] if end in step.script else step.script
    want = want[:longest]
    got = generate_cached(step, prompt, longest, end)
    calls = [list(prompt), *([token] for token in want)][: min(longest, len(want) + 1)]
    asked, most = step.asked, sum(map(len, calls))
    again = f"{sum(map(len, asked))} tokens have gone through the model, where {most} are enough"
    advice = "the cache holds the prompt and all tokens before; hand over what the model has not read yet"
    assert sum(map(len, asked)) <= most, f"{what}: {again}: {advice}"
    _assert_new(what, got, list(prompt), step.script, want, end)
    assert asked == calls, f"{what}: step was asked about {asked!s:.150}, expected {calls}"


@hidden(points=0.5)
def check_cached_text(generate_cached):
    """Other scripts and ends; a GPT2LMHeadModel with its cache writes what its own generate does"""
    cases = (
        ([3, 5], [4, 6], 0, 0, "longest = 0"),
        ([3], [0, 6], 2, 0, "the end token comes first"),
        ([2, 2, 2, 2], [4, 6, 4, 6], 4, 0, "no end token comes"),
        ([5, 0], [0, 0, 7, 3], 6, 7, "the end token is 7"),
    )
    for prompt, script, longest, end, about in cases:
        what = f"prompt {prompt}, greatest logits {script}, longest = {longest}, end = {end} ({about})"
        _assert_each_once(what, generate_cached, _CachedScript(prompt, script), prompt, longest, end)
    library, caches, put = _gpt2(_gpt2_sizes(50, 64, 16, 2, 4), 75), {}, []

    def step(ids, cache):
        put.append(ids.shape[1])
        with torch.no_grad():
            output = library(ids, past_key_values=caches.get(cache), use_cache=True)
        caches[len(put)] = output.past_key_values
        return output.logits[:, -1], len(put)

    prompt = [7, 33, 12, 4]
    what = "a GPT2LMHeadModel with random weights, 30 new tokens behind 4"
    got = _new_ids(what, generate_cached(step, prompt, 30, -1))
    with torch.no_grad():
        whole = torch.tensor([prompt])
        for _ in range(30):
            whole = torch.cat([whole, library(whole, use_cache=False).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    want = whole[0, 4:].tolist()
    assert got == want, f"{what}: got {got!s:.60} …, and without a cache the model writes {want!s:.60} …"
    assert sum(put) == 33, f"{what}: {sum(put)} tokens have gone through the model, expected 4 + 29 = 33"


# 9.7 Measure it

_MOST = 128  # places that a SmallGPT reads at once


def _small(SmallGPT, seed):
    make(SmallGPT, "torch.manual_seed", seed)
    return SmallGPT(torch.Generator().manual_seed(seed))


def _rows_of_text(T):
    """The first T places of some validation paragraphs, the end token in front. (B, T) int64"""
    paragraphs = [ids for ids in token_ids("validation") if len(ids) >= T][:6]
    return torch.tensor([[END_ID, *ids[: T - 1]] for ids in paragraphs])


def _assert_causal(what, model):
    """The logits of a place do not depend on what stands behind it, and all 128 places can be read."""
    ids = _rows_of_text(_MOST)
    whole = _logits(what, model, ids, VOCAB_SIZE)
    for t in (1, 2, 40, 101):
        moved = (_logits(what, model, ids[:, :t], VOCAB_SIZE)[:, -1] - whole[:, t - 1]).abs().max()
        advice = "no place may look at a later one, and none be given its own answer"
        assert moved < 1e-3, f"{what}: the logits of place {t - 1} change, by {moved:.2f}, when later tokens are taken away: {advice}"


def _assert_looks_back(what, model):
    """The logits of a place depend on tokens three and more places before it."""
    ids = _rows_of_text(_MOST)
    whole, other = _logits(what, model, ids, VOCAB_SIZE)[:, -1], (ids + 1) % VOCAB_SIZE
    for back in (3, 20, 120):
        changed = ids.clone()
        changed[:, -1 - back] = other[:, -1 - back]
        moved = (_logits(what, model, changed, VOCAB_SIZE)[:, -1] - whole).abs().max()
        advice = "every place may look at all earlier ones; a table of pairs is no GPT"
        assert moved > 1e-4, f"{what}: the logits of place {_MOST - 1} do not change with the token {back} places before it: {advice}"


def _loss(model, ids):
    return F.cross_entropy(_logits("the model", model, ids, VOCAB_SIZE)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).item()


@visible(points=0.5)
def check_untrained(SmallGPT):
    """Before training: logits for up to 128 places, causal, and close to guessing"""
    model = _small(SmallGPT, 80).eval()
    _assert_causal("an untrained model", model)
    loss, guessing = _loss(model, _rows_of_text(_MOST)), math.log(VOCAB_SIZE)
    advice = "it must guess nearly evenly: draw small first values, as initialise does"
    assert abs(loss - guessing) < 0.5, f"an untrained model has the loss {loss:.1f}, and guessing ln V = {guessing:.1f}: {advice}"


@lru_cache(maxsize=1)
def _measured(SmallGPT):
    """Train and measure once for both checks; bits per byte, and what is wrong, if anything is."""
    try:
        return _bits_per_byte(SmallGPT), ""
    except AssertionError as error:
        return math.inf, str(error)


def _bits_per_byte(SmallGPT):
    """Train on the training text, measure on all of the validation text."""
    model, paragraphs = _small(SmallGPT, 81), token_ids("train")
    model.train()
    model.fit(paragraphs, torch.Generator().manual_seed(81))
    model.eval()
    _assert_causal("the trained model", model)
    loss, guessing = _loss(model, _rows_of_text(_MOST)), math.log(VOCAB_SIZE)
    told = f"after training the loss on six validation paragraphs is {loss:.1f}"
    assert loss < guessing - 1, f"{told}, and guessing has ln V = {guessing:.1f}: fit has taught the model next to nothing"
    _assert_looks_back("the trained model", model)
    bits = evaluate(LanguageModel(model, _MOST)).bits_per_byte
    told = f"the model needs {bits:.1f} bits per byte, fewer than half a minute can teach it"
    assert bits > 2.0, f"{told}: it has seen this text, or is no model trained in the time"
    return bits


def _assert_at_most(SmallGPT, most):
    bits, problem = _measured(SmallGPT)
    assert not problem, problem
    advice = "AdamW with a learning rate that rises, then falls; rows of 64 places; more steps of fewer rows"
    assert bits <= most, f"the model needs {bits:.1f} bits per byte on the validation text, expected at most {most}: {advice}"


@hidden(points=0.75)
def check_small_gpt_is_measured(SmallGPT):
    """Trained: at most 3 bits per byte on the validation text"""
    _assert_at_most(SmallGPT, 3.0)


@hidden(points=0.75)
def check_small_gpt_is_good(SmallGPT):
    """Trained: at most 2.9 bits per byte on the validation text"""
    _assert_at_most(SmallGPT, 2.9)
