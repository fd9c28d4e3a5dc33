"""Checks of the exercises of chapter 5, recurrent networks."""

import copy
import math
from functools import lru_cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lmkit.check import hidden, visible
from lmkit.compare import assert_close, numbers, shown, tensor
from lmkit.subject import find, gradients, make
from lmkit.tokenizer import END_ID, VOCAB_SIZE, n_bytes, token_ids

HIDES = ("lmkit.recurrent",)  # while work is graded: it holds what exercise 5.7 asks for

# 5.1 to 5.3: layers

_GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
_PAIR = "the state is the pair (h, c), h first"


def _layer(Layer, kind, C, M, seed=1):
    """A layer of the answer's class, which must be a module written with torch's operations."""
    layer = Layer(C, M, torch.Generator().manual_seed(seed))
    is_a = find(Layer, "builtins.isinstance")
    assert is_a(layer, nn.Module), f"{kind} is no module: write `class {kind}(nn.Module):`"
    for part in layer.modules():
        library = is_a(part, (nn.RNNBase, nn.RNNCellBase))
        assert not library, f"{kind} is built on torch's own recurrent layers: write the steps yourself, and keep nn.{kind} for comparing"
    return layer


def _shapes(kind, C, M):
    rows = _GATES[kind] * M
    return {"weight_ih_l0": (rows, C), "weight_hh_l0": (rows, M), "bias_ih_l0": (rows,), "bias_hh_l0": (rows,)}


def _assert_parameters(Layer, kind):
    """Names, shapes and first values of the parameters; torch's own weights can be loaded."""
    for C, M in ((3, 20), (7, 5)):
        what, shapes = f"{kind}({C}, {M}, generator)", _shapes(kind, C, M)
        drawn = [dict(_layer(Layer, kind, C, M, seed).named_parameters()) for seed in (1, 1, 2)]
        sizes = {name: tuple(one.shape) for name, one in drawn[0].items()}
        advice = "set it in __init__, with draw(…), after super().__init__()"
        for name, shape in shapes.items():
            assert name in sizes, f"{what} has the parameters {sorted(sizes)}, and {name} is not among them: {advice}"
            assert sizes[name] == shape, f"{what}: the parameter {name} has the shape {sizes[name]}, expected {shape}"
        others = sorted(set(sizes) - set(shapes))
        assert not others, f"{what} has the parameter {others[:1]} too; expected {', '.join(shapes)} and no more"
        bound = 1 / math.sqrt(M)
        for name in shapes:
            first, again, other = (one[name].detach().double() for one in drawn)
            most = first.abs().max().item()
            assert 0.3 * bound < most <= bound * 1.0001, (
                f"{what}: the largest number of {name}, its sign left out, is {most:.3f}; expected numbers between -1/√M and 1/√M, "
                f"which is {bound:.3f}: use draw with M = {M}"
            )
            advice = "draw all of it from the generator that is given"
            assert torch.equal(first, again), f"{what}: two generators with the same seed gave two different {name}: {advice}"
            assert not torch.equal(first, other), f"{what}: generators with the seeds 1 and 2 gave the same {name}: {advice}"


def _library(kind, C, M, seed=5, dtype=torch.float64):
    """torch's own layer, with weights of its sizes that depend on no global seed."""
    generator = torch.Generator().manual_seed(seed)
    library = getattr(nn, kind)(C, M, batch_first=True).to(dtype)
    drawn = {name: torch.randn(one.shape, generator=generator, dtype=torch.float64) * 0.7 for name, one in library.state_dict().items()}
    library.load_state_dict(drawn)
    return library


def _copy_of(Layer, kind, library):
    """The answer's layer with the library layer's weights."""
    layer = _layer(Layer, kind, library.input_size, library.hidden_size)
    layer = layer.double() if library.weight_hh_l0.dtype == torch.float64 else layer
    layer.load_state_dict(dict(library.state_dict()))
    return layer


def _random(B, T, C, M, kind, seed=8, dtype=torch.float64):
    """Random input (B, T, C) and a random state of that kind of layer."""
    generator = torch.Generator().manual_seed(seed)
    x, *states = (torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in ((B, T, C), (1, B, M), (1, B, M)))
    return x, tuple(states) if kind == "LSTM" else states[0]


def _parts(state):
    """The tensors of a state."""
    return state if isinstance(state, tuple | list) else () if state is None else (state,)


def _answer(what, layer, kind, x, state, M):
    """What a layer returned, by name: outputs, and h_T (of an LSTM c_T too). What it was given must be unchanged."""
    (B, T, _), x_given = x.shape, x.clone()
    given = None if state is None else tuple(one.clone() for one in state) if kind == "LSTM" else state.clone()
    try:
        got = layer(x_given) if state is None else layer(x_given, given)
    except RuntimeError as error:
        if "dtype" not in str(error) and "data type" not in str(error):
            raise
        advice = "does a state start as x.new_zeros(…), in the type of x?"
        raise AssertionError(f"{what}, {x.dtype}: stopped with {error!s:.100}: {advice}") from None
    pair = "a pair, (outputs, state)"
    assert isinstance(got, tuple), f"{what}: expected {pair}, as a tuple, got {'a list' if isinstance(got, list) else shown(got)}"
    assert len(got) == 2, f"{what}: expected {pair}, got {len(got)} values"
    found = {"the outputs": tensor(f"{what}: the outputs", got[0], (B, T, M), "(B, T, M)")}
    if kind == "LSTM":
        is_pair = isinstance(got[1], tuple | list) and len(got[1]) == 2
        assert is_pair, f"{what}: expected the state as a pair, (h_T, c_T), got {shown(got[1])}"
    for name, one in zip(("h_T", "c_T"), got[1] if kind == "LSTM" else got[1:], strict=False):
        found[f"the state, {name}," if kind == "LSTM" else "the state"] = tensor(f"{what}: {name}", one, (1, B, M), "(1, B, M)")
    for name, one in found.items():
        assert one.dtype == x.dtype, f"{what}: {name} has the type {one.dtype}, expected that of x, {x.dtype}"
    same = torch.equal(x_given, x) and all(torch.equal(a, b) for a, b in zip(_parts(given), _parts(state), strict=True))
    name = "c" if kind == "LSTM" else "h"
    advice = f"`{name} = …` makes a new tensor, `{name} *= …` and `{name}[…] = …` change the old one"
    assert same, f"{what}: the input or the state that was given is changed: {advice}"
    return found


def _assert_same(what, layer, kind, library, x, state, slips=()):
    """Outputs and states beside those of torch's layer."""
    with torch.no_grad():
        outputs, after = library(x) if state is None else library(x, state)
    got = _answer(what, layer, kind, x, state, library.hidden_size)
    tolerance = 1e-6 if x.dtype == torch.float64 else 1e-4
    exchanged = [[(one, f"this is the other of the two: {_PAIR}")] for one in reversed(after)] if kind == "LSTM" else [()]
    for (name, one), want, known in zip(got.items(), (outputs, *_parts(after)), (slips, *exchanged), strict=True):
        assert_close(f"{what}: {name}", one, want, known, tolerance)


def _by_hand(kind, **values):
    """torch's layer with the weights of a worked example."""
    weights = {f"{name}_l0": torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
    M, C = weights["weight_hh_l0"].shape[1], weights["weight_ih_l0"].shape[1]
    library = getattr(nn, kind)(C, M, batch_first=True).double()
    library.load_state_dict(weights)
    return library


def _assert_carried(Layer, kind):
    """The second half of a text, with the state behind the first, is as in the whole text."""
    library = _library(kind, 3, 4)
    layer, (x, state) = _copy_of(Layer, kind, library), _random(2, 5, 3, 4, kind)
    whole = _answer("5 steps at once", layer, kind, x, state, 4)["the outputs"]
    first = _answer("the first 2 steps, with a state", layer, kind, x[:, :2], state, 4)
    assert_close("2 steps, compared with the first 2 of 5: the outputs", first["the outputs"], whole[:, :2])
    _, *behind = first.values()
    again = tuple(behind) if kind == "LSTM" else behind[0]
    second = _answer("the other 3 steps, from the state behind the first 2", layer, kind, x[:, 2:], again, 4)["the outputs"]
    alone = _answer("the other 3 steps, from zeros", layer, kind, x[:, 2:], None, 4)["the outputs"]
    slips = ((alone, "they start from zeros: start from the state that is given"),)
    assert_close("the other 3 of 5 steps, from the state behind the first 2: the outputs", second, whole[:, 2:], slips)
    zeros = tuple(torch.zeros_like(one) for one in behind)
    zero = _answer("5 steps from zeros", layer, kind, x, zeros if kind == "LSTM" else zeros[0], 4)["the outputs"]
    without = _answer("5 steps without a state", layer, kind, x, None, 4)["the outputs"]
    assert_close("5 steps without a state, compared with a state of zeros: the outputs", without, zero)
    assert not torch.allclose(whole, zero), "5 steps from a state and from zeros are the same: start from the state that is given"


def _interleaved(library, x, state):
    """The outputs of the layer if the rows of its gates did not stand one gate behind the other, but took turns."""
    other, M = copy.deepcopy(library), library.hidden_size
    other.load_state_dict({name: one.unflatten(0, (M, -1)).transpose(0, 1).flatten(0, 1) for name, one in library.state_dict().items()})
    with torch.no_grad():
        return other(x)[0] if state is None else other(x, state)[0]


def _assert_library(Layer, kind):
    """Several sizes, with and without a state, in float64 and float32, beside torch's layer."""
    for B, T, C, M in ((2, 5, 3, 4), (1, 1, 1, 1), (3, 7, 2, 6), (5, 1, 6, 3), (2, 40, 3, 5)):
        for dtype in (torch.float64, torch.float32) if T < 40 else (torch.float64,):
            library = _library(kind, C, M, seed=B, dtype=dtype)
            layer = _copy_of(Layer, kind, library)
            x, given = _random(B, T, C, M, kind, seed=T, dtype=dtype)
            for state, how in ((None, "without a state"), (given, "with a state")):
                slips = (
                    (_interleaved(library, x, state), "the first M numbers belong to the first gate, the next M to the second, and so on"),
                )
                slips = slips if _GATES[kind] > 1 < M else ()
                _assert_same(f"B = {B}, T = {T}, C = {C}, M = {M}, {how}", layer, kind, library, x, state, slips)


def _cut_short(library, x, state, upstream):
    """What the gradients of the parameters are where no gradient passes from a step to the one before."""
    total = {name: torch.zeros_like(one) for name, one in library.named_parameters()}
    for t in range(x.shape[1]):
        _, _, found = gradients(library, x[:, t : t + 1], state, upstream=upstream[:, t : t + 1])
        with torch.no_grad():
            _, state = library(x[:, t : t + 1], state)
        total = {name: one + found[name] for name, one in total.items()}
    return total


def _assert_ways(what, Layer, kind, layer, library, x, state, upstream):
    """From the outputs, and from the state behind them, gradients flow into the input and the state before, of an LSTM into both parts."""
    generator = torch.Generator().manual_seed(3)
    behind = [torch.randn(one.shape, generator=generator, dtype=one.dtype) for one in _parts(state)]
    try:
        (_, after), back = find(Layer, "torch.func.vjp")(layer, x, state)
    except RuntimeError:  # such as a torch.autograd.Function of the answer's own: torch.func cannot follow it
        return
    names = ["x", "h_0", "c_0"] if kind == "LSTM" else ["x", "the state"]
    mine = [one.clone().requires_grad_() for one in (x, *_parts(state))]
    wanted, wanted_after = library(mine[0], tuple(mine[1:]) if kind == "LSTM" else mine[1])
    ways = [("from the outputs alone", wanted, upstream, [torch.zeros_like(one) for one in behind])]
    for number, part in enumerate(_parts(wanted_after)):
        ups = [one if i == number else torch.zeros_like(one) for i, one in enumerate(behind)]
        way = f"from the {'hc'[number]}_T that is returned" if kind == "LSTM" else "from the state that is returned"
        ways.append((way, part, behind[number], ups))
    for way, end, up, ups in ways:
        up_outputs = upstream if end is wanted else torch.zeros_like(upstream)
        by_x, by_state = back((up_outputs, ups[0] if kind != "LSTM" else ups if isinstance(after, list) else tuple(ups)))
        by_mine = torch.autograd.grad((end * up).sum(), mine, retain_graph=True)
        for name, got, want in zip(names, (by_x, *_parts(by_state)), by_mine, strict=True):
            slips = ((torch.zeros_like(want), "nothing arrives: the way back is cut; no .detach(), no .data, no copy on it"),)
            assert_close(f"{what}: the gradient of {name} {way}", got, want, slips)


def _assert_gradients(Layer, kind):
    """Gradients of the input, the parameters and the state are torch's."""
    for B, T, C, M, seed in ((2, 6, 3, 4, 1), (1, 1, 2, 3, 2), (3, 25, 2, 5, 3)):
        library = _library(kind, C, M, seed)
        layer, (x, given) = _copy_of(Layer, kind, library), _random(B, T, C, M, kind, seed)
        upstream = torch.randn(B, T, M, generator=torch.Generator().manual_seed(seed + 20), dtype=torch.float64)
        for state, how in ((None, "without a state"), (given, "with a state")):
            what = f"B = {B}, T = {T}, C = {C}, M = {M}, {how}"
            arguments = (x,) if state is None else (x, state)
            try:
                output, by_input, by_name = gradients(layer, *arguments, upstream=upstream)
            except RuntimeError as error:
                if "does not require grad" not in str(error):
                    raise
                advice = "is there a no_grad, a .detach() or .data on the way?"
                raise AssertionError(f"{what}: the outputs have no gradient at all: {advice}") from None
            wanted, by_input_wanted, by_name_wanted = gradients(library, *arguments, upstream=upstream)
            assert_close(f"{what}: the outputs", output, wanted)
            short = _cut_short(library, x, state, upstream)
            advice = "this is what comes where every step starts from a detached state: let gradients flow through all steps"
            for name, want in by_name_wanted.items():
                assert name in by_name, f"{what}: {name} gets no gradient: is it used as it is, without .data, .detach() or a copy?"
                assert_close(f"{what}: the gradient of {name}", by_name[name], want, ((short[name], advice),))
            for name, got, want in zip(("x", "the state"), by_input, by_input_wanted, strict=False):
                if want is not None:
                    assert got is not None, f"{what}: {name} gets no gradient: the way from the outputs back to it is cut"
                    assert_close(f"{what}: the gradient of {name}", got, want)
            if state is not None:
                _assert_ways(what, Layer, kind, layer, library, x, state, upstream)


@visible(points=0.5)
def check_rnn_parameters(RNN):
    """Names, shapes and first values of the parameters"""
    _assert_parameters(RNN, "RNN")


@visible(points=0.5)
def check_rnn_by_hand(RNN):
    """The worked example: two steps, two hidden numbers"""
    bias_ih, bias_hh = [0, math.log(1.5)], [0, math.log(2)]
    library = _by_hand("RNN", weight_ih=[[1], [0]], weight_hh=[[0, 1], [0.5, 0]], bias_ih=bias_ih, bias_hh=bias_hh)
    turned = "weight_hh_l0 is used the other way round: row i holds the weights into h_i, so multiply by its transpose"
    slips = (
        ([[[0.6, 0.8], [0.3799, 0.9352]]], turned),
        ([[[0.6, 0.3846], [0.3667, 0.6078]]], "bias_hh_l0 is missing"),
        ([[[0.6, 0.6], [0.5370, 0.7587]]], "bias_ih_l0 is missing"),
        ([[[0.6931, 1.0986], [1.0986, 1.4452]]], "tanh is missing, in every step"),
        ([[[0.6667, 0.75], [0.6792, 0.8072]]], "take tanh, not the sigmoid"),
        ([[[0.6, 0.8], [0.0, 0.8]]], "the second step starts from zeros: it starts from the h of the first"),
    )
    x = torch.tensor([[[math.log(2)], [0.0]]], dtype=torch.float64)
    _assert_same("the worked example", _copy_of(RNN, "RNN", library), "RNN", library, x, None, slips)


@visible(points=0.5)
def check_rnn_carried_state(RNN):
    """Two pieces of a text, the state carried from one to the next, give what the whole text gives"""
    _assert_carried(RNN, "RNN")


@hidden(points=0.75)
def check_rnn_matches_torch(RNN):
    """Outputs and state equal those of nn.RNN, for several sizes"""
    _assert_library(RNN, "RNN")


@hidden(points=0.75)
def check_rnn_gradients(RNN):
    """Gradients equal those of nn.RNN"""
    _assert_gradients(RNN, "RNN")


@visible(points=0.5)
def check_lstm_parameters(LSTM):
    """Names, shapes and first values of the parameters"""
    _assert_parameters(LSTM, "LSTM")


@visible(points=0.75)
def check_lstm_by_hand(LSTM):
    """The worked example: two steps of one cell, from a given state"""
    weights = {"weight_ih": [[math.log(4)], [0], [math.log(2)], [math.log(9)]], "weight_hh": [[0], [0], [1], [0]]}
    library = _by_hand("LSTM", **weights, bias_ih=[0, math.log(1.5), 0, 0], bias_hh=[0, math.log(2), 0, 0])
    slips = (
        ([[[0.7635], [0.4016]]], "the gates i and f are exchanged: the rows of the weights belong to i, f, g, o"),
        ([[[0.6070], [0.5288]]], "the gates g and o are exchanged: the rows of the weights belong to i, f, g, o"),
        ([[[0.6713], [0.5574]]], "the order of the gates is i, f, g, o, and yours is i, o, f, g"),
        ([[[0.7716], [0.4314]]], "g is a tanh; only i, f and o are sigmoids"),
        ([[[1.1070], [0.6620]]], "h is o times tanh(c), not o times c"),
        ([[[0.4016], [0.2505]]], "the cell starts from zero: start from the c_0 that is given, the second of the pair"),
        ([[[0.5704], [0.3371]]], f"this is what h_0 = 1 and c_0 = 0 would give: {_PAIR}"),
        ([[[0.7139], [0.3709]]], "bias_hh_l0 is missing"),
        ([[[0.7350], [0.3961]]], "bias_ih_l0 is missing"),
    )
    x = torch.tensor([[[1.0], [0.0]]], dtype=torch.float64)
    state = torch.zeros(1, 1, 1, dtype=torch.float64), torch.ones(1, 1, 1, dtype=torch.float64)
    _assert_same("the worked example, h_0 = 0 and c_0 = 1", _copy_of(LSTM, "LSTM", library), "LSTM", library, x, state, slips)


@visible(points=0.75)
def check_lstm_carried_state(LSTM):
    """Two pieces of a text, the state carried from one to the next, give what the whole text gives"""
    _assert_carried(LSTM, "LSTM")


@hidden(points=1)
def check_lstm_matches_torch(LSTM):
    """Outputs and state equal those of nn.LSTM, for several sizes"""
    _assert_library(LSTM, "LSTM")


@hidden(points=1)
def check_lstm_gradients(LSTM):
    """Gradients equal those of nn.LSTM"""
    _assert_gradients(LSTM, "LSTM")


@visible(points=0.5)
def check_gru_parameters(GRU):
    """Names, shapes and first values of the parameters"""
    _assert_parameters(GRU, "GRU")


@visible(points=0.5)
def check_gru_by_hand(GRU):
    """The worked example: two steps of one hidden number, from a given state"""
    weights = {"weight_ih": [[math.log(3)], [math.log(4)], [math.log(2)]], "weight_hh": [[0], [0], [-4]]}
    library = _by_hand("GRU", **weights, bias_ih=[0, 0, 0], bias_hh=[0, 0, 1])
    slips = (
        ([[[0.4382], [0.2806]]], "r multiplies h before its matrix here, or leaves the bias out; it comes after matrix and bias"),
        ([[[0.3405], [-0.0032]]], "the reset gate r is missing"),
        ([[[0.3548], [0.0741]]], "r multiplies what comes from x too; it multiplies what comes from the state alone"),
        ([[[0.0546], [0.2133]]], "the old state is kept with the weight z, and n comes in with 1 - z, not the other way round"),
        ([[[0.3484], [0.0771]]], "the gates r and z are exchanged: the rows of the weights belong to r, z, n"),
        ([[[0.1789], [0.1601]]], "it starts from zero: start from the state that is given"),
        ([[[0.2664], [-0.1106]]], "bias_hh_l0 is missing"),
        ([[[0.4972], [0.4380]]], "n is a tanh; only r and z are sigmoids"),
    )
    x = torch.tensor([[[1.0], [0.0]]], dtype=torch.float64)
    state = torch.full((1, 1, 1), 0.5, dtype=torch.float64)
    _assert_same("the worked example, h_0 = 0.5", _copy_of(GRU, "GRU", library), "GRU", library, x, state, slips)


@visible(points=0.5)
def check_gru_carried_state(GRU):
    """Two pieces of a text, the state carried from one to the next, give what the whole text gives"""
    _assert_carried(GRU, "GRU")


@hidden(points=0.75)
def check_gru_matches_torch(GRU):
    """Outputs and state equal those of nn.GRU, for several sizes"""
    _assert_library(GRU, "GRU")


@hidden(points=0.75)
def check_gru_gradients(GRU):
    """Gradients equal those of nn.GRU"""
    _assert_gradients(GRU, "GRU")


# 5.4 Clip


def _clipped(clip_gradients, what, values, largest):
    """The norm that was returned, as a tensor, and the gradients as they are afterwards."""
    given = tuple(one.clone() for one in values)
    advice = "change the tensors themselves, as gradient *= … does; put no others in their place"
    try:
        got = clip_gradients(given, largest)
    except TypeError as error:
        if "item assignment" not in str(error):
            raise
        raise AssertionError(f"{what}: the gradients came as a tuple, and {error}: {advice}") from None
    except (RuntimeError, ValueError, LookupError) as error:
        if given:
            raise
        raise AssertionError(f"{what}: stopped with {error!s:.120}: no gradients, (), have the norm 0; nothing is to be changed") from None
    if isinstance(got, torch.Tensor | np.ndarray | np.generic):
        assert got.size == 1 if isinstance(got, np.ndarray) else math.prod(got.shape) == 1, f"{what}: expected one number, got {shown(got)}"
        got = float(got)
    assert isinstance(got, int | float), f"{what}: expected the norm, a number, got {shown(got)}"
    return torch.tensor(float(got), dtype=torch.float64), given


def _assert_clipped(clip_gradients, what, values, largest, norm, wanted, slips=(), norm_slips=(), tolerance=1e-6):
    """The norm, and every gradient afterwards. slips: pairs (all numbers in a row as a usual mistake gives them, what to say of it)."""
    got, after = _clipped(clip_gradients, what, values, largest)
    flat, want = (torch.cat([torch.zeros(0), *(one.flatten().double() for one in some)]) for some in (after, wanted))
    unchanged = torch.cat([torch.zeros(0), *(one.flatten().double() for one in values)])
    advice = "the gradients are as they were: change the tensors themselves, as gradient *= … does"
    assert_close(f"{what}: the gradients, all numbers in a row,", flat, want, (*slips, (unchanged, advice)), tolerance)
    assert_close(f"{what}: the norm that is returned", got, torch.tensor(float(norm), dtype=torch.float64), norm_slips, tolerance)


_GRADIENTS = torch.tensor([2.0, 1.0]), torch.tensor([[2.0]])  # the worked example: the norm is 3
_IN_WORDS = "gradients (2, 1) and ((2))"


@visible(points=0.5)
def check_clips_together(clip_gradients):
    """The worked example: two gradients with the norm 3, clipped to 1.5"""
    slips = (
        ([1.3416, 0.6708, 1.5], "each tensor is clipped by its own norm; take the norm of all numbers of all tensors together"),
        ([1.5, 1.0, 1.5], "every number is clipped by itself, which turns the gradient; multiply all by the same factor"),
        ([0.7083, 0.3541, 0.7083], "the norms of the tensors are added; add the squares of all numbers, then take the root"),
        ([0.6, 0.3, 0.6], "these are divided by the sum of all numbers; the norm is the root of the sum of their squares"),
        ([0.3333, 0.1667, 0.3333], "the root is missing: the norm is the root of the sum of squares"),
        ([0.6667, 0.3333, 0.6667], "these have the norm 1; multiply by largest / norm, not by 1 / norm"),
        ([1.5, 0.75, 1.5], "these are divided by the largest number; the norm is the root of the sum of squares"),
    )
    norm_slips = (
        (1.5, "this is the norm afterwards; return the one from before"),
        (9.0, "the root is missing"),
        (0.5, "this is the factor; return the norm"),
    )
    wanted = torch.tensor([1.0, 0.5]), torch.tensor([[1.0]])
    _assert_clipped(clip_gradients, f"{_IN_WORDS}, largest = 1.5", _GRADIENTS, 1.5, 3.0, wanted, slips, norm_slips)


@visible(points=0.5)
def check_small_gradients_stay(clip_gradients):
    """Gradients whose norm is small enough stay as they are"""
    for largest in (3.5, 100.0, 3.0):
        longer = [one * largest / 3 for one in _GRADIENTS]
        slips = ((torch.cat([one.flatten() for one in longer]), "a norm below `largest` is made larger; clipping only makes smaller"),)
        _assert_clipped(clip_gradients, f"{_IN_WORDS}, largest = {largest:g}", _GRADIENTS, largest, 3.0, _GRADIENTS, slips)


@hidden(points=0.5)
def check_matches_clip_grad_norm(clip_gradients):
    """The gradients and the norm of nn.utils.clip_grad_norm_, for many shapes and both types"""
    generator = torch.Generator().manual_seed(4)
    for number, shapes in enumerate((((3, 4), (4,), (2, 3, 2)), ((1,),), ((), (5,), (30, 40)), ((7,), (7,), (7,), (1, 1)))):
        for dtype in (torch.float64, torch.float32):
            values = [(torch.randn(shape, generator=generator, dtype=torch.float64) * 3 ** (number - 1)).to(dtype) for shape in shapes]
            for largest in (0.25, 1.0, 30.0):
                parameters = [nn.Parameter(torch.zeros_like(one)) for one in values]
                for parameter, one in zip(parameters, values, strict=True):
                    parameter.grad = one.clone()
                norm = nn.utils.clip_grad_norm_(parameters, largest)
                what = f"random gradients of the shapes {shapes}, {dtype}, largest = {largest:g}"
                wanted = [parameter.grad for parameter in parameters]
                _assert_clipped(clip_gradients, what, values, largest, norm, wanted, tolerance=1e-4)


@hidden(points=0.5)
def check_edges_of_clipping(clip_gradients):
    """Zeros, no gradients, a second call"""
    zeros = torch.zeros(3), torch.zeros(2, 2)
    _assert_clipped(clip_gradients, "gradients of zeros, largest = 1", zeros, 1.0, 0.0, zeros)
    _assert_clipped(clip_gradients, "no gradients, largest = 1", (), 1.0, 0.0, ())
    mixed = torch.tensor([0.0, -3.0]), torch.zeros(2), torch.tensor([4.0])
    _, once = _clipped(clip_gradients, "gradients (0, -3), (0, 0), (4), largest = 1", mixed, 1.0)
    _assert_clipped(clip_gradients, "gradients (0, -3), (0, 0), (4), clipped to 1 a second time", once, 1.0, 1.0, once, tolerance=1e-4)


# 5.5 Batches


def _pieces(what, got, B, T):
    """The pairs that bptt_batches returned, as tensors of int64 whose shapes fit."""
    assert got is not None, f"{what}: expected a list of pairs, (inputs, targets), got {shown(got)}"
    pieces = list(got)
    for k, pair in enumerate(pieces):
        is_pair = isinstance(pair, tuple | list) and len(pair) == 2
        assert is_pair, f"{what}: expected a list of pairs, (inputs, targets); number {k} is {shown(pair)}"
        for name, one in zip(("inputs", "targets"), pair, strict=True):
            assert isinstance(one, torch.Tensor), f"{what}: piece {k}: expected {name} as a tensor, got {shown(one)}"
            assert one.dtype == torch.int64, f"{what}: piece {k}: {name} have the type {one.dtype}, expected int64"
            shape = tuple(one.shape)
            fits = len(shape) == 2 and shape[0] == B and 1 <= shape[1] <= T
            expected = f"expected (B, T) = ({B}, {T}), with 1 to {T} places in the last piece"
            assert fits, f"{what}: piece {k}: {name} have the shape {shape}, {expected}"
    return pieces


def _assert_pieces(what, got, wanted, B, T, slips=()):
    """Compare pieces with the right ones, as lists. slips: pairs (all inputs as a usual mistake gives them, what to say of it)."""
    found = [(inputs.tolist(), targets.tolist()) for inputs, targets in _pieces(what, got, B, T)]
    known = [f": {advice}" for slip, advice in slips if [inputs for inputs, _ in found] == slip]
    for k, ((inputs, targets), (want_inputs, want_targets)) in enumerate(zip(found, wanted, strict=False)):
        assert inputs == want_inputs, f"{what}: piece {k} has the inputs {inputs}, expected {want_inputs}{''.join(known[:1])}"
        wrapped = [row[1:] + row[:1] for row in want_inputs]
        advice = ": the target of the last place is the token behind it in the text, not the first of the row" if targets == wrapped else ""
        advice = ": the target of a token is the one behind it" if targets == want_inputs else advice
        assert targets == want_targets, f"{what}: piece {k} has the targets {targets}, expected {want_targets}{advice}"
    short = ": the last piece is shorter, and is there too" if len(found) == len(wanted) - 1 else ""
    assert len(found) == len(wanted), f"{what}: got {len(found)} pieces, expected {len(wanted)}{short}"


@visible(points=0.5)
def check_pieces_of_a_short_text(bptt_batches):
    """The worked example: 12 tokens in 2 rows, 3 places a piece"""
    wanted = [([[1, 2, 3], [6, 7, 8]], [[2, 3, 4], [7, 8, 9]]), ([[4, 5], [9, 10]], [[5, 6], [10, 11]])]
    one_after_another = "a row goes on in the next piece, not in the next row"
    together = "a row holds tokens that follow each other in the text: reshape to (B, L), without a transpose"
    slips = (
        ([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]], one_after_another),
        ([[[1, 2, 3], [4, 5, 6]]], one_after_another),
        ([[[1, 3, 5], [2, 4, 6]], [[7, 9], [8, 10]]], together),
        ([[[1, 2, 3], [7, 8, 9]], [[4, 5, 6], [10, 11, 12]]], "the last token has no target: a row has L = (N - 1) // B places, here 5"),
        ([[[1, 2, 3], [7, 8, 9]], [[4, 5], [10, 11]]], "a row has L = (N - 1) // B = 5 places, and row b starts at b L: here 0 and 5"),
    )
    _assert_pieces("the tokens 1 to 12, B = 2, T = 3", bptt_batches(torch.arange(1, 13), 2, 3), wanted, 2, 3, slips)


@visible(points=0.5)
def check_pieces_of_other_sizes(bptt_batches):
    """One row; pieces of one place; pieces longer than the rows"""
    for N, B, T, wanted in (
        (5, 1, 2, [([[0, 1]], [[1, 2]]), ([[2, 3]], [[3, 4]])]),
        (8, 3, 1, [([[0], [2], [4]], [[1], [3], [5]]), ([[1], [3], [5]], [[2], [4], [6]])]),
        (7, 2, 50, [([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])]),
    ):
        _assert_pieces(f"the tokens 0 to {N - 1}, B = {B}, T = {T}", bptt_batches(torch.arange(N), B, T), wanted, B, T)


@hidden(points=0.5)
def check_pieces_go_on(bptt_batches):
    """Random texts: each row goes on from piece to piece, and all rows together are the text"""
    generator = torch.Generator().manual_seed(6)
    for N, B, T in ((1000, 4, 16), (999, 7, 10), (64, 8, 8), (65, 8, 8), (66, 8, 3), (300, 1, 70)):
        tokens, what, length = torch.randint(500, (N,), generator=generator), f"{N} random tokens, B = {B}, T = {T}", (N - 1) // B
        pieces = _pieces(what, bptt_batches(tokens.clone(), B, T), B, T)
        sizes = [inputs.shape[1] for inputs, _ in pieces]
        whole = [T] * (length // T) + [length % T] * (length % T > 0)
        assert sizes == whole, f"{what}: the pieces have {sizes!s:.80} places, expected {whole!s:.80}"
        inputs, targets = (torch.cat(some, dim=1) for some in zip(*pieces, strict=True))
        row = next((b for b in range(B) if inputs[b].tolist() != tokens[b * length :][:length].tolist()), None)
        where = f"the {length} tokens from place {row} · {length} on"
        assert row is None, f"{what}: the inputs of row {row}, all pieces together, are not {where}"
        follow = torch.equal(targets.flatten(), tokens[1 : B * length + 1])
        assert follow, f"{what}: the targets are not the tokens behind the inputs in the text"


@hidden(points=0.5)
def check_edges_of_pieces(bptt_batches):
    """Too few tokens for a piece, just enough, the tokens left as they were"""
    for N, B in ((0, 2), (1, 1), (1, 4), (3, 3), (4, 9)):
        pieces = _pieces(f"{N} tokens, B = {B}, T = 3", bptt_batches(torch.arange(N), B, 3), B, 3)
        assert not pieces, f"{N} tokens, B = {B}, T = 3: got {len(pieces)} pieces, expected none: every place needs a token and its target"
    _assert_pieces("the tokens 0 to 3, B = 3, T = 3", bptt_batches(torch.arange(4), 3, 3), [([[0], [1], [2]], [[1], [2], [3]])], 3, 3)
    tokens = torch.arange(20)
    bptt_batches(tokens, 3, 2)
    assert tokens.tolist() == list(range(20)), "the tokens that were given are changed: leave them as they are"


# 5.6 Generate


def _reader(calls, logits_after, as_pair=False):
    """A stand-in for a model: its state is the list of all it has read, and `logits_after` that list says what comes next.

    calls: filled with pairs (ids, what the state says was read before them).
    """

    def model(ids, state):
        is_row = isinstance(ids, torch.Tensor) and ids.dim() == 2 and ids.shape[0] == 1 and ids.shape[1] >= 1
        got = f"of shape {tuple(ids.shape)}" if isinstance(ids, torch.Tensor) else f": {shown(ids)}"
        assert is_row, f"the model was called with ids {got}, expected a tensor of shape (1, T) with T >= 1"
        assert ids.dtype == torch.int64, f"the model was called with ids of the type {ids.dtype}, expected int64"
        if as_pair and state is not None:
            assert isinstance(state, tuple | list), f"the state was a pair, and the model got {shown(state)}: hand it back as it is"
            state = state[0]
        before = [] if state is None else state[0, 0].long().tolist()
        read = ids[0].tolist()
        advice = "stop when there are max_tokens new tokens, here at most 100"
        assert len(before) + len(read) < 400, f"the model has read 400 tokens, and there is no end of it: {advice}"
        calls.append((read, before))
        rows = [logits_after(before + read[: i + 1]) for i in range(len(read))]
        after = torch.tensor([[before + read]], dtype=torch.float64)
        return torch.tensor([rows], dtype=torch.float64), (after, torch.zeros(1, 1, 1)) if as_pair else after

    return model


def _assert_read(what, calls, text):
    """The model has read this text, each token once, with its state carried on; the last token of the text may be left out."""
    if not calls:
        assert len(text) <= 1, f"{what}: the model was never called"
        return
    ids, before = calls[0]
    assert not before, f"{what}: the first call had a state already: start with None"
    first = f"{what}: the model first read {ids[:1]}, expected the end token, {text[0]}, then the prompt"
    assert ids[0] == text[0], first
    for number, (ids, before) in enumerate(calls):
        told = sum(len(one) for one, _ in calls[:number])
        read = [token for one, _ in calls[:number] for token in one]
        advice = "hand it the state that the call before returned"
        assert before == read, f"{what}: in call {number} the state knew of {len(before)} tokens, and {told} had been read: {advice}"
        again = number > 0 and len(ids) > 1
        advice = "with the state carried on, each token is read once" if again else "the token that was just drawn comes next"
        right = ids == text[told : told + len(ids)]
        assert right, f"{what}: call {number} read {ids}, expected {text[told : told + 1] or 'no call'}: {advice}"
    told = sum(len(ids) for ids, _ in calls)
    assert told >= len(text) - 1, f"{what}: the model read {told} tokens, expected {len(text) - 1}: the end token, the prompt, the new ones"


def _new_tokens(what, got):
    """The tokens that generate returned, as a list of Python's ints."""
    assert isinstance(got, list | tuple), f"{what}: expected a list of ids, got {shown(got)}"
    odd = [token for token in got if not isinstance(token, int | np.integer)]
    assert not odd, f"{what}: the list holds {shown(odd[0])}, expected plain ids: int(…) makes them so"
    return [int(token) for token in got]


def _peak(token, V=12):
    """Logits whose largest is that of one token."""
    return [5.0 if one == token % V else -0.1 * one for one in range(V)]


def _counting(text):
    """After every token the next number is most likely."""
    return _peak(text[-1] + 1)


def _summing(text):
    """The most likely token is the sum of all that was read: one that is forgotten changes it."""
    return _peak(sum(text) + len(text))


@visible(points=0.5)
def check_greedy(generate):
    """Temperature 0: a model that counts on; the end token ends, and is not returned"""
    cases = (([3], 4, 0, [4, 5, 6, 7]), ([3], 50, 0, list(range(4, 12))), ([], 3, 2, [3, 4, 5]), ([3], 0, 0, []))
    for prompt, max_tokens, end, want in cases:
        what, given = f"the model that counts on, prompt {prompt}, end = {end}, max_tokens = {max_tokens}", list(prompt)
        got = _new_tokens(what, generate(_reader([], _counting), given, max_tokens, 0, end, torch.Generator().manual_seed(1)))
        advice = ""
        if got[: len(prompt)] == prompt and prompt and got != want:
            advice = ": return the new tokens only, without the prompt"
        elif got == [*want, end]:
            advice = ": the end token ends the text, and is not returned"
        elif want and got and got[0] == (end + 1) % 12 != want[0]:
            advice = ": this follows the end token: the prompt is read behind it, and the last place's logits count, not those at the first"
        elif len(got) > max_tokens:
            advice = ": stop when there are max_tokens new tokens"
        assert got == want, f"{what}: got {got!s:.100}, expected {want}{advice}"
        assert given == prompt, f"{what}: the prompt has become {given!s:.80}: work on a copy"


@visible(points=0.5)
def check_state_is_carried(generate):
    """The model reads every token once, with the state that the call before returned"""
    for as_pair in (False, True):
        for prompt, end in (([5, 2, 9], 0), ([], 3), ([1], 0)):
            what, calls = f"prompt {prompt}, end = {end}, 6 tokens, a state that is {'a pair' if as_pair else 'a tensor'}", []
            model = _reader(calls, _summing, as_pair)
            got = _new_tokens(what, generate(model, list(prompt), 6, 0, end, torch.Generator().manual_seed(1)))
            _assert_read(what, calls, [end, *prompt, *got])


@hidden(points=0.5)
def check_temperature(generate):
    """Tokens come as often as softmax(logits / temperature) says"""
    p = np.array([0.0, 0.5, 0.3, 0.2])
    logits = [-math.inf, *np.log(p[1:])]
    for temperature in (1.0, 0.3, 3.0):
        what = f"600 tokens with the probabilities 0, 0.5, 0.3 and 0.2 at temperature {temperature:g}"
        model = _reader([], lambda text: logits)
        drawn = []
        for seed in range(6):  # 100 at a time: the stand-in's state grows with the text
            got = generate(model, [], 100, temperature, 0, torch.Generator().manual_seed(seed))
            drawn += _new_tokens(what, got)
        assert len(drawn) == 600, f"{what}: got {len(drawn)} tokens, expected 600: no end token can come up"
        shares = np.bincount(drawn, minlength=4)[:4] / 600
        want = p ** (1 / temperature) / (p[1:] ** (1 / temperature)).sum() * (p > 0)
        slips = (
            (want, ""),
            (p**temperature / (p[1:] ** temperature).sum() * (p > 0), ": divide the logits by the temperature, do not multiply"),
            (p, ": the temperature changes nothing; divide the logits by it before the softmax"),
            (np.eye(4)[1], ": draw from the distribution; the most likely token is for temperature 0 alone"),
        )
        advice = min(slips, key=lambda slip: np.abs(shares - slip[0]).max())[1]
        right = np.abs(shares - want).max() < 0.1
        assert right, f"{what}: they came with the shares {shares.round(2).tolist()}, expected about {want.round(2).tolist()}{advice}"


@hidden(points=0.5)
def check_seeds_and_edges(generate):
    """The generator decides; ties at temperature 0, low temperatures, impossible tokens"""

    def flat(text):
        return [-math.inf, *([0.0] * 11)]

    texts = [generate(_reader([], flat), [4], 30, 1.0, 0, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    first, again, other = (_new_tokens("11 equally likely tokens", one) for one in texts)
    assert first == again, "two generators with seed 1 gave two different texts: draw with generator=generator"
    assert first != other, "generators with the seeds 1 and 2 gave the same text: draw with generator=generator"
    generator = torch.Generator().manual_seed(1)
    twice = [generate(_reader([], flat), [4], 30, 1.0, 0, generator) for _ in range(2)]
    assert twice[0] != twice[1], "two texts from one generator are the same: draw on from it, do not seed it again"
    for logits, want in (([0.0, 2.0, 3.0, 3.0], 2), ([-math.inf, -5.0, -math.inf, -5.0], 1)):
        got = _new_tokens("ties", generate(_reader([], lambda text, logits=logits: logits), [], 2, 0, 0, torch.Generator()))
        advice = "of equally likely tokens the lowest id"
        assert got == [want] * 2, f"logits {logits} at temperature 0: got {got}, expected {[want] * 2}: {advice}"
    for temperature in (0.001, 0.01):
        what = f"logits -900, 1, 3, 2 at temperature {temperature:g}"
        model = _reader([], lambda text: [-900.0, 1.0, 3.0, 2.0])
        got = _new_tokens(what, generate(model, [], 5, temperature, 0, torch.Generator().manual_seed(1)))
        assert got == [2] * 5, f"{what}: got {got}, expected {[2] * 5}"
    got = generate(_reader([], lambda text: [50.0, 0.0]), [1], 5, 1.0, 0, torch.Generator().manual_seed(1))
    assert _new_tokens("a model sure of the end", got) == [], f"a model that is sure of the end token at once: got {got}, expected []"


# 5.7 A recurrent language model

_STEPS, _SIZE = 400, 64


def _drawn(kind, C, M, seed):
    """Weights for a layer of torch's, drawn as torch does, from a seed."""
    generator, bound = torch.Generator().manual_seed(seed), 1 / math.sqrt(M)
    return {name: torch.empty(shape).uniform_(-bound, bound, generator=generator) for name, shape in _shapes(kind, C, M).items()}


def _model(RecurrentLM, kind, V, C, M, end, seed):
    """A model of the answer's class on a layer of torch's; its parameters must have the names and shapes of the contract."""
    layer = make(RecurrentLM, f"torch.nn.{kind}", C, M, batch_first=True)
    layer.load_state_dict(_drawn(kind, C, M, seed))
    model = RecurrentLM(layer, V, C, M, end, torch.Generator().manual_seed(seed))
    is_module = find(RecurrentLM, "builtins.isinstance")(model, nn.Module)
    assert is_module, "RecurrentLM is no module: write `class RecurrentLM(nn.Module):`"
    sizes = {name: tuple(one.shape) for name, one in model.named_parameters()}
    wanted = {"E": (V, C), "U": (M, V), "c": (V,)} | {f"layer.{name}": shape for name, shape in _shapes(kind, C, M).items()}
    for name, shape in wanted.items():
        assert name in sizes, f"the model has the parameters {sorted(sizes)}, and {name} is not among them"
        assert sizes[name] == shape, f"the parameter {name} has the shape {sizes[name]}, expected {shape}, V = {V}, C = {C}, M = {M}"
    others = sorted(set(sizes) - set(wanted))
    assert not others, f"the model has the parameter {others[0]} too; expected {', '.join(wanted)} and no more"
    return model


def _library_model(kind, state):
    """The same model out of torch's own layers: a function of ids and state. state: the model's state_dict, name -> tensor"""
    state = {name: one.detach() for name, one in state.items()}
    (V, C), M = state["E"].shape, len(state["U"])
    embedding, layer, output = nn.Embedding(V, C), getattr(nn, kind)(C, M, batch_first=True), nn.Linear(M, V)
    for part, values in (
        (embedding, {"weight": state["E"]}),
        (layer, {name.removeprefix("layer."): one for name, one in state.items() if name.startswith("layer.")}),
        (output, {"weight": state["U"].T, "bias": state["c"]}),
    ):
        part.to(state["E"].dtype).load_state_dict(values)

    @torch.no_grad()
    def model(ids, before=None):
        hidden_states, after = layer(embedding(ids), before)
        return output(hidden_states), after

    return model


def _assert_logits(what, model, library, ids, state, slips=()):
    """Logits beside the library's. Returns the states behind them."""
    (B, T), (want, _) = ids.shape, library(ids, state)
    got = model(ids.clone()) if state is None else model(ids.clone(), state)
    assert isinstance(got, tuple | list), f"{what}: expected a pair, (logits, state), got {shown(got)}"
    assert len(got) == 2, f"{what}: expected a pair, (logits, state), got {len(got)} values"
    logits = tensor(f"{what}: the logits", got[0], (B, T, want.shape[-1]), "(B, T, V)")
    assert_close(f"{what}: the logits", logits, want, [(want.softmax(-1), "these are probabilities; return the logits"), *slips])
    return got[1]


def _said_by(library, paragraph, end):
    """ln p of every token of a paragraph and of the end token behind it, from the library's model."""
    logits, _ = library(torch.tensor([[end, *paragraph]]))
    return F.log_softmax(logits[0].double(), dim=-1)[torch.arange(len(paragraph) + 1), [*paragraph, end]].numpy()


def _log_probs(model, paragraph):
    """What the model's log_probs says of a paragraph: (len(paragraph) + 1,) numbers."""
    what, T = f"log_probs of a paragraph of {len(paragraph)} tokens", len(paragraph)
    expected = f"({T + 1},): one number for each token and one for the end token behind the last"
    return numbers(what, model.log_probs(list(paragraph)), T + 1, expected)


def _assert_honest(what, model, library, paragraph, end):
    """log_probs is what the library's layers say with the model's parameters. Returns it."""
    got, want = _log_probs(model, paragraph), _said_by(library, paragraph, end)
    wrong = np.flatnonzero(~np.isclose(got, want, rtol=1e-3, atol=1e-3))
    if len(wrong):
        i = int(wrong[0])
        advice = "the model reads the end token, then the paragraph, from a state of zeros; nothing is kept from one paragraph to the next"
        if np.allclose(got, np.exp(want), rtol=1e-3, atol=1e-3):
            advice = "this is p itself; take its natural logarithm"
        elif np.allclose(got, want / math.log(2), rtol=1e-3, atol=1e-3):
            advice = "take natural logarithms, not base 2"
        elif np.allclose(got, -want, rtol=1e-3, atol=1e-3):
            advice = "a minus is too much: a log-probability is at most 0"
        told = f"{what}: log_probs gives position {i} of a paragraph of {len(paragraph)} tokens {got[i]:.3f}"
        raise AssertionError(f"{told}, and torch's layers with your parameters give {want[i]:.3f}: {advice}")
    return got


@visible(points=0.25)
def check_logits(RecurrentLM):
    """The logits of torch's layers with the same parameters, also from a state"""
    for kind in ("RNN", "LSTM", "GRU"):
        V, C, M = 11, 4, 5
        model = _model(RecurrentLM, kind, V, C, M, 2, 3).double()
        generator = torch.Generator().manual_seed(9)
        state = {name: torch.randn(one.shape, generator=generator, dtype=torch.float64) for name, one in dict(model.state_dict()).items()}
        model.load_state_dict(state)
        library = _library_model(kind, state)
        ids = torch.randint(V, (3, 6), generator=generator)
        without_c = _library_model(kind, state | {"c": torch.zeros_like(state["c"])})(ids[:, :4])[0]
        slips = ((without_c, "c is missing"),)
        after = _assert_logits(f"nn.{kind}, 4 tokens from the start", model, library, ids[:, :4], None, slips)
        whole = library(ids[:, :4])[1]
        from_zeros = library(ids[:, 4:])[0]
        slips = ((from_zeros, "they start from zeros: give the layer the state that is given, and return the layer's own"),)
        _assert_logits(f"nn.{kind}, 2 more tokens, from the state behind 4", model, library, ids[:, 4:], whole, slips)
        got = f"{len(_parts(after))} tensors" if isinstance(after, tuple | list) else "None" if after is None else shown(after)
        fits = isinstance(after, tuple | list) == (kind == "LSTM") and len(_parts(after)) == len(_parts(whole))
        advice = "return the one that the layer returned, of an LSTM the pair"
        assert fits, f"nn.{kind}: the state that the model returned is {got}: {advice}"
        for mine, theirs in zip(_parts(after), _parts(whole), strict=True):
            mine = tensor(f"nn.{kind}: the state that the model returned", mine, (1, 3, M), "(1, B, M)")
            assert_close(f"nn.{kind}: the state that the model returned", mine, theirs)


@visible(points=0.25)
def check_log_probs(RecurrentLM):
    """log_probs starts each paragraph with the end token and zeros, and scores the end behind it"""
    for kind in ("RNN", "LSTM"):
        model = _model(RecurrentLM, kind, 30, 8, 8, 4, 5)
        generator = torch.Generator().manual_seed(2)
        state = {name: torch.randn(one.shape, generator=generator) for name, one in dict(model.state_dict()).items()}
        model.load_state_dict(state)
        model.eval()
        for paragraph in ([3, 1, 4, 1, 5], [], [7], [3, 1, 4, 1, 5], [29, 4, 0]):
            _assert_honest(f"nn.{kind}, random parameters", model, _library_model(kind, state), paragraph, 4)


@visible(points=0.25)
def check_fit(RecurrentLM):
    """fit changes all parameters for the better, and the same seeds give the same model (40 steps on 40 paragraphs)"""
    V, end = 200, 0
    paragraphs = [[1 + token % (V - 1) for token in paragraph] for paragraph in token_ids("train")[:40]]
    given = [list(paragraph) for paragraph in paragraphs]
    states, scores, places = [], [], []

    def count(layer, inputs):
        if torch.is_grad_enabled() and inputs and isinstance(inputs[0], torch.Tensor):
            places.append(math.prod(inputs[0].shape[:-1]))

    for _ in range(2):
        model = _model(RecurrentLM, "LSTM", V, 16, 16, end, 11)
        before = {name: one.detach().clone() for name, one in dict(model.state_dict()).items()}
        hook = model.layer.register_forward_pre_hook(count)
        model.fit(given, 40, torch.Generator().manual_seed(12))
        hook.remove()
        states.append({name: one.detach() for name, one in dict(model.state_dict()).items()})
        model.eval()
        scores.append(np.concatenate([_log_probs(model, paragraph) for paragraph in paragraphs[:5]]).mean())
    assert given == [list(paragraph) for paragraph in paragraphs], "fit has changed the paragraphs that it was given"
    read, most = sum(places) // 2, 40 * 512
    advice = "`steps` counts the updates, not the passes through the text, and each is on at most 512 places"
    assert read <= most, f"in 40 steps the layer has read {read:,} places, at most {most:,} are allowed: {advice}"
    for name, one in before.items():
        assert states[0][name].isfinite().all(), f"after 40 steps {name} is not finite: a smaller learning rate, or clip the gradients"
        assert not torch.equal(one, states[0][name]), f"40 steps have not changed {name}: does the optimizer hold all of self.parameters()?"
        same = torch.allclose(states[0][name], states[1][name], atol=1e-2)
        assert same, f"two models with the same seeds differ in {name} after 40 steps: take all chance from `generator`"
    what = f"V = {V}: after 40 steps the mean log-probability on the training text is {scores[0]:.2f}"
    advice = "does every step go against the gradient of its loss, or is the learning rate very small?"
    assert scores[0] > -5.25, f"{what}, expected above -5.25; guessing has -5.30: {advice}"


@lru_cache(maxsize=2)
def _measured(RecurrentLM, kind):
    """Train and measure a model on a layer of torch's; returns its bits per byte, and what is not honest, if anything is not."""
    try:
        return _bits_per_byte(RecurrentLM, kind), ""
    except AssertionError as error:
        return math.inf, str(error)


def _bits_per_byte(RecurrentLM, kind):
    """Bits per byte of the validation text after training, all of it compared with the parameters."""
    model = _model(RecurrentLM, kind, VOCAB_SIZE, _SIZE, _SIZE, END_ID, 7)
    model.fit(token_ids("train"), _STEPS, torch.Generator().manual_seed(7))
    model.eval()
    library, nats, tokens = _library_model(kind, dict(model.state_dict())), 0.0, 0
    for number, paragraph in enumerate(token_ids("validation")):
        nats -= _assert_honest(f"nn.{kind}, after {_STEPS} steps", model, library, paragraph, END_ID).sum()
        tokens += len(paragraph) + 1
        guessing = number == 40 and nats / tokens > math.log(VOCAB_SIZE) - 0.3
        told = f"nn.{kind}, after {_STEPS} steps: the loss on 41 validation paragraphs is {nats / tokens:.2f}"
        assert not guessing, f"{told}, and guessing has ln V = {math.log(VOCAB_SIZE):.2f}: fit has taught it next to nothing"
    bits = nats / math.log(2) / n_bytes("validation")
    assert bits > 2.0, f"the model needs {bits:.1f} bits per byte, less than {_STEPS} steps can teach it: it has seen this text"
    return bits


def _assert_at_most(RecurrentLM, kind, most):
    bits, problem = _measured(RecurrentLM, kind)
    assert not problem, problem
    advice = "AdamW, gradients clipped to 1, and a learning rate of 0.02 that falls towards the end; let some rows start from zeros"
    assert bits <= most, f"on nn.{kind} the model needs {bits:.2f} bits per byte on the validation text, expected at most {most}: {advice}"


@hidden(points=0.5)
def check_rnn_is_measured(RecurrentLM):
    """On an RNN, honest, and at most 2.95 bits per byte after 400 steps"""
    _assert_at_most(RecurrentLM, "RNN", 2.95)


@hidden(points=0.75)
def check_lstm_is_measured(RecurrentLM):
    """On an LSTM, honest, and at most 2.8 bits per byte after 400 steps"""
    _assert_at_most(RecurrentLM, "LSTM", 2.8)
