"""Checks of the exercises of chapter 12, scaling."""

import json
import math
import random
from functools import lru_cache

import numpy as np
import torch
from scipy.optimize import least_squares, minimize_scalar
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from lmkit import scaling, tokenizer
from lmkit.check import hidden, visible
from lmkit.compare import numbers, shown, whole_number
from lmkit.subject import find

# 12.1 Size and work


@lru_cache(maxsize=2)
def _llama(V, C, M, layers, H, G, tied=False):
    """A Llama of this shape that takes no memory."""
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    sizes = {"vocab_size": V, "hidden_size": C, "intermediate_size": M, "num_hidden_layers": layers}
    heads = {"num_attention_heads": H, "num_key_value_heads": G}
    config = LlamaConfig(**sizes, **heads, **ends, tie_word_embeddings=tied, attn_implementation="eager")
    with torch.device("meta"):
        return LlamaForCausalLM(config).eval()


def _told(slips, want):
    """The slips that give another number than the right one; where several give the same one, all of them are told."""
    by_number = {}
    for slip, told in slips:
        if slip != want:
            by_number.setdefault(slip, []).append(told)
    return [(slip, ", or: ".join(dict.fromkeys(told))) for slip, told in by_number.items()]


def _count(count_parameters, want, V, C, M, layers, H, G, tied):
    """Ask for one count. Usual mistakes are told by how far it is off."""
    slips = (
        (want - V * C, "a tied model still has one table" if tied else "the model is not tied: it has two tables of tokens"),
        (want + V * C, "a tied model has one table of tokens, which serves at both ends"),
        (want + layers * 2 * C * (C - C * G // H), "keys and values have G heads, not H"),
        (want + layers * 2 * C * (G * C - C * G // H), "a head has C / H numbers"),
        (want - layers * C * M, "the feed-forward part has three matrices"),
        (want - layers * C * (C * G // H), "keys have a matrix, and values have one"),
        (want - C, "the last norm is missing"),
        (want - layers * C, "each block has two norms"),
        (want - layers * 2 * C, "each block has two norms"),
        (want - layers * 2 * C - C, "the norms are missing: two in each block and one at the end, of C weights each"),
        (want + layers * 2 * C + C, "these norms have weights and no bias"),
    )
    what = f"count_parameters({V}, {C}, {M}, {layers}, {H}, {G}, {tied})"
    whole_number(what, count_parameters(V, C, M, layers, H, G, tied), want, _told(slips, want))


@visible(points=0.75)
def check_count_by_hand(count_parameters):
    """The worked example, tied as well, and Llama 2 of 7 billion"""
    _count(count_parameters, 212, 10, 4, 6, 1, 2, 1, False)
    _count(count_parameters, 172, 10, 4, 6, 1, 2, 1, True)
    _count(count_parameters, 6_738_415_616, 32000, 4096, 11008, 32, 32, 32, False)


@hidden(points=0.75)
def check_count_of_library(count_parameters):
    """Other shapes: what transformers counts; and Llama 3 of 8 billion"""
    for shape in ((7, 12, 20, 3, 6, 2, False), (50, 24, 5, 1, 4, 4, True), (9, 8, 8, 0, 2, 1, False), (31, 40, 64, 2, 10, 5, True)):
        _count(count_parameters, _llama(*shape).num_parameters(), *shape)
    _count(count_parameters, 8_030_261_248, 128256, 4096, 14336, 32, 32, 8, False)


def _work(flops, want, V, C, M, layers, H, G, T):
    """Ask for one count of operations."""
    D = C // H
    slips = (
        (want // 2, "a multiplication and its addition are two operations"),
        (want - 2 * T * V * C, "the logits are missing: a product with V · C numbers for each token"),
        (want + 2 * T * V * C, "taking rows from the table of embeddings costs nothing"),
        (want - layers * 4 * T * T * C, "the scores and the mixing of the values are missing"),
        (want - layers * 2 * T * T * C, "scores and mixing the values are two products of one size, each for all H heads of queries"),
        (want - layers * 4 * T * T * (C - G * D), "scores are computed for all H heads of queries; only keys and values are shared"),
        (want - layers * 4 * T * T * (C - D), "all H heads compute scores"),
        (want - layers * 2 * T * (T - 1) * C, "all T x T scores are counted, the hidden ones, too"),
        (want // T, "this is for one of the T tokens"),
        (want + 2 * T * layers * 2 * C * (C - G * D), "keys and values have G heads, not H"),
        (want * 3, "this is training, reading and going back; reading alone is asked for"),
    )
    what = f"flops({V}, {C}, {M}, {layers}, {H}, {G}, {T})"
    whole_number(what, flops(V, C, M, layers, H, G, T), want, _told(slips, want))


@visible(points=0.75)
def check_flops_by_hand(flops):
    """The worked example: three tokens, and one"""
    _work(flops, 1104, 10, 4, 6, 1, 2, 1, 3)
    _work(flops, 336, 10, 4, 6, 1, 2, 1, 1)


@hidden(points=0.75)
def check_flops_of_library(flops):
    """Other shapes and lengths: what torch counts while transformers' Llama reads"""
    for *shape, T in ((7, 12, 20, 3, 6, 2, 5), (50, 24, 5, 1, 4, 4, 17), (9, 8, 8, 0, 2, 1, 4), (100, 64, 160, 2, 8, 2, 64)):
        with torch.device("meta"):
            ids, mask = torch.zeros(1, T, dtype=torch.long), torch.zeros(1, 1, T, T)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            _llama(*shape)(ids, attention_mask=mask, use_cache=False)
        _work(flops, counter.get_total_flops(), *shape, T)


# 12.2 Memory


def _bytes(tensors):
    return sum(one.numel() * one.element_size() for one in tensors)


def _trained_bytes(parameters, trained, kind):
    """The bytes of torch's own tensors after one step of AdamW; `parameters` numbers, `trained` of which learn."""
    dtype = torch.float32 if kind == "float32" else torch.bfloat16
    frozen, learns = (nn.Parameter(torch.ones(n, dtype=dtype)) for n in (parameters - trained, trained))
    learns.grad = torch.ones_like(learns)
    copies = [nn.Parameter(learns.detach().float())] if kind == "mixed" else []
    for copy in copies:
        copy.grad = torch.ones_like(copy)
    optimizer = torch.optim.AdamW(copies or [learns], foreach=False)
    optimizer.step()
    averages = [state[name] for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    return {"weights": _bytes([frozen, learns]), "gradients": _bytes([learns.grad]), "optimizer": _bytes([*averages, *copies])}


def _memory(training_memory, want, parameters, trained, kind):
    """Ask for one dictionary of bytes. Usual mistakes are told."""
    what = f"training_memory({parameters}, {trained}, {kind!r})"
    got = training_memory(parameters, trained, kind)
    keys = 'the keys "weights", "gradients" and "optimizer"'
    assert isinstance(got, dict), f"{what}: expected a dictionary with {keys}, got {shown(got)}"
    assert set(got) == set(want), f"{what}: expected {keys}, got {', '.join(map(repr, got)) or 'none'}"
    frozen = "frozen weights have no gradient, and the optimizer keeps nothing of them"
    for key, expected in want.items():
        slips = []
        if trained < parameters:
            slips += [(want[part] * parameters // max(trained, 1), frozen) for part in ("gradients", "optimizer")]
        if key == "weights":
            slips += [(expected * trained // parameters, "the frozen weights stand in memory, too")]
            if kind == "mixed":
                copy = "the float32 copy counts as the optimizer's"
                slips += [(expected + 4 * trained, copy), (expected + 4 * parameters, copy)]
        if key == "optimizer":
            slips += [(expected // 2, "AdamW keeps two averages")]
            if kind == "mixed":
                slips += [(trained * 8, "the float32 copy of what learns counts as the optimizer's"),
                          (trained * 8, "copy and averages are float32"), (trained * 6, "copy and averages are float32"),
                          (trained * 4, "in mixed precision a float32 copy and float32 averages are kept")]  # fmt: skip
            if kind == "bfloat16":
                slips += [(trained * 8, "with bfloat16 alone the averages are bfloat16, too")]
        whole_number(f'{what}["{key}"]', got[key], expected, _told(slips, expected))


@visible(points=0.5)
def check_training_by_hand(training_memory):
    """100 parameters, 10 of them trained, in the three kinds"""
    _memory(training_memory, {"weights": 400, "gradients": 40, "optimizer": 80}, 100, 10, "float32")
    _memory(training_memory, {"weights": 200, "gradients": 20, "optimizer": 40}, 100, 10, "bfloat16")
    _memory(training_memory, {"weights": 200, "gradients": 20, "optimizer": 120}, 100, 10, "mixed")


@hidden(points=0.5)
def check_training_of_torch(training_memory):
    """As many bytes as torch's own weights, gradients and averages; nothing trained, all trained, an unknown kind"""
    for kind in ("float32", "bfloat16", "mixed"):
        for parameters, trained in ((37, 37), (64, 5), (11, 0)):
            _memory(training_memory, _trained_bytes(parameters, trained, kind), parameters, trained, kind)
    want = {"weights": 14_000_000_000, "gradients": 14_000_000_000, "optimizer": 84_000_000_000}
    _memory(training_memory, want, 7_000_000_000, 7_000_000_000, "mixed")
    for kind in ("float16", ""):
        _refused(f"training_memory(10, 10, {kind!r})", training_memory, 10, 10, kind)


def _refused(what, function, *arguments):
    """AssertionError where the function does not raise ValueError."""
    try:
        got = function(*arguments)
    except ValueError:
        return
    raise AssertionError(f"{what}: expected ValueError, got {shown(got)}")


def _cache(cache_memory, want, *sizes):
    B, _, _, layers, H, G, size = sizes
    slips = (
        (want // 2, "keys and values are both kept"),
        (want // layers, "every layer has a cache of its own"),
        (want * H // G, "there are G heads of keys and values, not H"),
        (want * H, "a head has C / H numbers"),
        (want // size, "these are numbers; each takes `size` bytes"),
        (want // B, "every one of the B texts has its own"),
        (want // G, "there are G heads of keys, and G of values"),
    )
    whole_number(f"cache_memory{sizes}", cache_memory(*sizes), want, _told(slips, want))


@visible(points=0.5)
def check_cache_by_hand(cache_memory):
    """The worked example, and a larger one"""
    _cache(cache_memory, 48, 1, 3, 4, 2, 2, 1, 2)
    _cache(cache_memory, 17_179_869_184, 32, 4096, 4096, 32, 32, 8, 2)


@hidden(points=0.5)
def check_cache_of_library(cache_memory):
    """As many bytes as the cache of transformers' Llama"""
    for (C, layers, H, G), dtype, (B, T) in (
        ((12, 3, 6, 2), torch.float32, (2, 5)),
        ((24, 1, 4, 4), torch.bfloat16, (1, 1)),
        ((40, 2, 10, 5), torch.float16, (3, 7)),
    ):
        with torch.device("meta"):
            ids, mask = torch.zeros(B, T, dtype=torch.long), torch.zeros(B, 1, T, T, dtype=dtype)
        cache, model = DynamicCache(), _llama.__wrapped__(30, C, 2 * C, layers, H, G).to(dtype)
        with torch.no_grad():
            model(ids, attention_mask=mask, past_key_values=cache, use_cache=True)
        held = _bytes(one for layer in cache.layers for one in (layer.keys, layer.values))
        _cache(cache_memory, held, B, T, C, layers, H, G, dtype.itemsize)


# 12.3 A power law


def _fitted(what, fit_power_law, *arguments):
    """The three numbers of a fit, as floats. AssertionError where they are none, or out of bounds."""
    got = fit_power_law(*arguments)
    three = isinstance(got, tuple) and len(got) == 3
    assert three, f"{what}: expected a tuple of three numbers, (E, A, alpha), got {shown(got)}"
    try:
        E, A, alpha = map(float, got)
    except (TypeError, ValueError):
        raise AssertionError(f"{what}: expected three numbers, got {', '.join(map(shown, got))}") from None
    finite = all(map(math.isfinite, (E, A, alpha)))
    assert finite, f"{what}: a number is not finite: E = {E:g}, A = {A:g}, alpha = {alpha:g}"
    assert alpha > 0, f"{what}: alpha = {alpha:.4f}, expected above 0: it is the power of 1 / x"
    assert E >= 0, f"{what}: E = {E:.4f}, and a floor below 0 is not allowed: the best that is has E = 0"
    assert A > 0, f"{what}: A = {A:.4g}, expected above 0"
    return E, A, alpha


def _recovers(what, fit_power_law, x, true, given=None):
    """Losses that lie on a curve: its three numbers must come out, to 1 in 100."""
    loss = [true[0] + true[1] * one ** -true[2] for one in x]
    got = _fitted(what, fit_power_law, list(x), loss, *(() if given is None else (given,)))
    for name, mine, want in zip(("E", "A", "alpha"), got, true, strict=True):
        near = abs(mine - want) <= max(0.01 * abs(want), 1e-3 if name == "E" else 0)
        advice = ""
        if name == "A" and abs(got[2] / true[2] - 1) < 0.01:
            advice = "; middle^alpha, if you divide x, makes a small error in alpha a large one in A: search alpha more finely"
        elif max(x) > 1e6:
            advice = "; are powers of large x drowned in rounding? divide x by a middle one first"
        assert near, f"{what}: {name} = {mine:.4g}, expected {want:.4g}{advice}"


@visible(points=0.5)
def check_fit_by_hand(fit_power_law):
    """The worked example: losses 4, 3, 2.5 at x = 1, 10, 100"""
    what = "x = 1, 10, 100, losses 4, 3, 2.5"
    E, A, alpha = _fitted(what, fit_power_law, [1, 10, 100], [4, 3, 2.5])
    told = f"{what}: E = {E:.4f}, A = {A:.4f}, alpha = {alpha:.4f}; expected 2, 2 and 0.3010"
    assert E > 0.2, f"{told}: this is a curve without a floor; fit E as well"
    assert max(abs(E - 2) / 2, abs(A - 2) / 2, abs(alpha - 0.30103) / 0.30103) < 0.01, told


@visible(points=0.5)
def check_fit_with_a_given_floor(fit_power_law):
    """A floor that is given stands, also E = 0"""
    x, curve = (1, 4, 16, 64), [8.0, 4.0, 2.0, 1.0]
    for E in (0, 1.5):
        what = f"x = 1, 4, 16, 64, losses {E:g} + 8 x^-0.5, E = {E:g}"
        got = _fitted(what, fit_power_law, x, [E + one for one in curve], E)
        told = f"{what}: E = {got[0]:.4f}, A = {got[1]:.4f}, alpha = {got[2]:.4f}; expected {E:g}, 8 and 0.5"
        assert got[0] == E, f"{told}: the E that is given stands{'; `if E:` takes 0 for nothing given' if E == 0 else ''}"
        assert max(abs(got[1] / 8 - 1), abs(got[2] / 0.5 - 1)) < 0.01, told
    x, loss = [1, 10, 100], [4, 3, 2.5]
    got = _fitted("x = 1, 10, 100, losses 4, 3, 2.5, E = 0", fit_power_law, x, loss, 0)
    _least("x = 1, 10, 100, losses 4, 3, 2.5, E = 0", got, x, loss, 0)


@hidden(points=1)
def check_fit_recovers_curves(fit_power_law):
    """Losses that lie on a curve, for small and large x, steep and flat, in any order"""
    large = [10**k for k in (7, 7.5, 8, 8.7, 9.3, 10)]
    for name, x, true in (
        ("x from 1e7 to 1e10, E = 1.69, A = 406.4, alpha = 0.34", large, (1.69, 406.4, 0.34)),
        ("x from 1e12 to 1e15, E = 0.5, A = 2e6, alpha = 0.5", [1e12, 3e12, 1e13, 1e14, 1e15], (0.5, 2e6, 0.5)),
        ("x from 1e12 to 1e15, E = 0.5, A = 1e24, alpha = 1.9", [1e12, 3e12, 1e13, 1e14, 1e15], (0.5, 1e24, 1.9)),
        ("x from 1 to 1e6, E = 2, A = 3, alpha = 0.03", [10**k for k in range(7)], (2.0, 3.0, 0.03)),
        ("x from 0.001 to 1, E = 3, A = 0.2, alpha = 1", [1, 0.001, 0.1, 0.01], (3.0, 0.2, 1.0)),
        ("x from 1e3 to 1e6, E = 0, A = 20, alpha = 0.1", [1e3, 1e6, 1e4, 1e5, 1e5], (0.0, 20.0, 0.1)),
    ):
        _recovers(name, fit_power_law, x, true)
    for E in (0, 1.69):
        _recovers(f"x from 1e7 to 1e10, alpha = 0.34, E = {E} given", fit_power_law, large[1:3], (E, 406.4, 0.34), E)


@lru_cache
def _smallest(x, loss, given):
    """The least sum of squared errors of a curve, with this floor or any. x, loss: tuples."""
    u, loss = np.array(x), np.array(loss)
    u = u / np.exp(np.log(u).mean())

    def errors(p):
        E = given if given is not None else p[2]
        return E + math.exp(p[0]) * u ** -p[1] - loss

    low, high = [-40, 0.001, 0], [40, 5, float(loss.min()) + 1]
    unknowns = 3 if given is None else 2
    starts = [[math.log(loss.mean() / 2), alpha, loss.min() / 2][:unknowns] for alpha in (0.05, 0.3, 1.0)]
    exact = {"bounds": (low[:unknowns], high[:unknowns]), "xtol": 1e-12, "ftol": 1e-12, "gtol": 1e-12, "max_nfev": 2000}
    return min(2 * least_squares(errors, start, **exact).cost for start in starts)


def _least(what, got, x, loss, given=None):
    """AssertionError where the sum of squared errors is more than 1% above the least."""
    x, loss = np.asarray(x, dtype=float), np.asarray(loss, dtype=float)
    best = _smallest(tuple(x.tolist()), tuple(loss.tolist()), given)
    E, A, alpha = got
    mine = float(((E + A * x**-alpha - loss) ** 2).sum())
    slip = ""
    if given is not None:
        slope, start = np.polyfit(np.log(x), np.log(loss - given), 1)
        if abs(alpha + slope) < 1e-4 and abs(A / math.exp(start) - 1) < 1e-3:
            slip = ": this is the best line through the logarithms; its errors are others than those of the losses"
    told = f"{what}: your curve E = {E:.4f}, A = {A:.4g}, alpha = {alpha:.4f} has S = {mine:.6g}, and there is one with {best:.6g}"
    assert mine <= 1.01 * best + 1e-12, told + slip


@hidden(points=0.5)
def check_fit_is_the_best(fit_power_law):
    """Losses with errors: no curve has a sum of squares that is smaller by more than one part in 100"""
    generator = np.random.default_rng(12)
    cases = []
    for count, true, spread in ((8, (1.7, 400.0, 0.34), 0.02), (5, (0.5, 9.0, 0.1), 0.03), (12, (3.0, 2000.0, 0.7), 0.05)):
        x = np.sort(10 ** generator.uniform(4, 8, count))
        cases.append((x, true[0] + true[1] * x ** -true[2] + spread * generator.standard_normal(count)))
    straight = np.array([1e3, 1e4, 1e5, 1e6, 1e7])
    cases.append((straight, np.array([6.0, 5.2, 4.4, 3.6, 2.5])))  # the best line has a floor below 0
    repeated = np.array([1e3] * 5 + [1e4, 1e5, 1e5, 1e6])  # every point counts, also those of one x
    cases.append((repeated, np.array([6.0, 6.1, 5.9, 6.05, 6.4, 5.1, 4.6, 4.4, 4.0])))
    for number, (x, loss) in enumerate(cases, 1):
        for given in (None, 0, 0.3):
            what = f"{len(x)} losses with errors, case {number}" + ("" if given is None else f", E = {given} given")
            kept = x.copy(), loss.copy()
            arguments = (x, loss) if given is None else (x, loss, given)
            got = _fitted(what, fit_power_law, *arguments)
            assert given is None or got[0] == given, f"{what}: E = {got[0]:.4f}: the E that is given stands"
            _least(what, got, x, loss, given)
            unchanged = np.array_equal(x, kept[0]) and np.array_equal(loss, kept[1])
            assert unchanged, f"{what}: the arrays that were given are changed"


@hidden(points=0.5)
def check_fit_refuses(fit_power_law):
    """What cannot be fitted raises ValueError"""
    for told, *arguments in (
        ("2 values of x, 3 losses", [1, 2], [3, 2, 1]),
        ("4 values of x, 3 losses", (1, 2, 3, 4), (3, 2, 1), 0),
        ("an x of 0", [0, 1, 2, 3], [4, 3, 2.5, 2.2]),
        ("an x below 0", [-1, 1, 2, 3], [4, 3, 2.5, 2.2]),
        ("a loss of 0", [1, 2, 3, 4], [4, 3, 2.5, 0]),
        ("a loss below 0", [1, 2, 3, 4], [4, 3, 2.5, -1]),
        ("a loss that is no number", [1, 2, 3, 4], [4, 3, 2.5, math.nan]),
        ("a loss that is not finite", [1, 2, 3, 4], [math.inf, 3, 2.5, 2.2]),
        ("an x that is no number", [1, 2, math.nan, 4], [4, 3, 2.5, 2.2]),
        ("an x that is not finite", [1, 2, 3, math.inf], [4, 3, 2.5, 2.2]),
        ("two points for three unknowns", [1, 2], [4, 3]),
        ("three points, but only two different x, for three unknowns", [1, 2, 2], [4, 3, 2.9]),
        ("no point", [], []),
        ("one point for two unknowns", [1], [4], 0),
        ("E below 0", [1, 2, 3, 4], [4, 3, 2.5, 2.2], -0.1),
        ("E as large as the least loss", [1, 2, 3, 4], [4, 3, 2.5, 2.2], 2.2),
        ("E above the least loss, which stands first", [4, 3, 2, 1], [2.2, 2.5, 3, 4], 2.3),
    ):
        _refused(f"fit_power_law with {told}", fit_power_law, *arguments)
    _fitted("two points and E = 0", fit_power_law, [1, 2], [4, 3], 0)


# 12.4 A budget


def _pair(what, got):
    two = isinstance(got, tuple | list) and len(got) == 2
    assert two, f"{what}: expected a pair (N, D), got {shown(got)}"
    try:
        N, D = map(float, got)
    except (TypeError, ValueError):
        raise AssertionError(f"{what}: expected two numbers, got {', '.join(map(shown, got))}") from None
    fine = all(math.isfinite(one) and one > 0 for one in (N, D))
    assert fine, f"{what}: expected two numbers above 0, got N = {N:g}, D = {D:g}"
    return N, D


def _above_floor(N, D, A, B, alpha, beta):
    return A / N**alpha + B / D**beta


def _least_allocation(budget, A, B, alpha, beta):
    """The best N and D, searched."""
    middle = math.log(budget / 6) / 2
    bounds = middle - 60, middle + 60

    def loss(log_n):
        return _above_floor(math.exp(log_n), budget / 6 / math.exp(log_n), A, B, alpha, beta)

    coarse = min(np.linspace(*bounds, 241), key=loss)
    found = minimize_scalar(loss, bounds=(coarse - 1, coarse + 1), method="bounded", options={"xatol": 1e-10})
    return math.exp(found.x), budget / 6 / math.exp(found.x)


def _allocated(optimal_allocation, budget, *coefficients):
    """Ask for one allocation: it spends the budget, and it is the best."""
    what = f"optimal_allocation({', '.join(f'{one:g}' for one in (budget, *coefficients))})"
    N, D = _pair(what, optimal_allocation(budget, *coefficients))
    A, B, alpha, beta = coefficients or (406.4, 410.7, 0.34, 0.28)
    want = _least_allocation(budget, A, B, alpha, beta)
    told = f"{what}: N = {N:.4g}, D = {D:.4g}"
    swapped = all(abs(mine / other - 1) < 1e-3 for mine, other in zip((N, D), reversed(want), strict=True))
    assert not swapped or abs(N / D - 1) < 1e-3, f"{told}: the two have changed places: N, the parameters, comes first"
    spent = 6 * N * D / budget
    without = "; the six of 6 N D is missing" if abs(spent - 6) < 0.01 else ""
    assert abs(spent - 1) < 2e-3, f"{told}: 6 N D is {spent:.4g} times the budget, expected the budget itself{without}"
    mine, least = (_above_floor(*pair, A, B, alpha, beta) for pair in ((N, D), want))
    close = all(abs(one / other - 1) < 1e-3 for one, other in zip((N, D), want, strict=True))
    equal = "; you spend as much on each term as on the other, but it is their slopes that must agree"
    hint = equal if abs(A / N**alpha / (B / D**beta) - 1) < 1e-2 else ""
    better = f"the loss above the floor is {mine:.6g}; N = {want[0]:.4g}, D = {want[1]:.4g} has {least:.6g}"
    assert close, f"{told}: {better}{hint}"


@visible(points=0.5)
def check_allocation_by_hand(optimal_allocation):
    """The worked example: a budget of 600"""
    _allocated(optimal_allocation, 600, 2, 1, 0.5, 0.5)


@visible(points=0.5)
def check_allocation_published(optimal_allocation):
    """The published coefficients, from 1e18 to 1e26 operations: the budget is spent, and no other N is better"""
    for budget in (1e18, 5.76e23, 1e26):
        _allocated(optimal_allocation, budget)


@hidden(points=1)
def check_allocation_of_other_laws(optimal_allocation):
    """Other coefficients: alpha above beta and below it, steep and flat; a budget of a few operations"""
    for coefficients in (
        (482.0, 2085.4, 0.348, 0.366),
        (5.0, 700.0, 0.2, 0.6),
        (700.0, 5.0, 0.7, 0.25),
        (1.0, 1.0, 1.0, 1.0),
        (30.0, 30.0, 0.3, 0.1),
    ):
        for budget in (6e9, 3e21):
            _allocated(optimal_allocation, budget, *coefficients)
    _allocated(optimal_allocation, 60, 1.0, 1.0, 1.0, 1.0)  # N and D are not whole


# 12.5 Prompts


def _prompt(few_shot_prompt, want, told, instruction, examples, question, length=len, longest=10**6):
    """Ask for one prompt, and compare; `told` says what is special about it."""
    got = few_shot_prompt(instruction, examples, question, length, longest)
    assert isinstance(got, str), f"{told}: expected a string, got {shown(got)}"
    if got == want:
        return
    slips = (
        (got == want + " ", "there is a space behind the last A:"),
        (got.rstrip("\n") == want, "there is a line break behind the last A:"),
        (got.lstrip("\n") == want, "an instruction with no text left is no part, so nothing stands before the first one"),
        (got.replace("\n\n", "\n") == want.replace("\n\n", "\n"), "between two parts stands one empty line, and none elsewhere"),
        (" ".join(got.split()) == " ".join(want.split()), "spaces and line breaks differ: every run of white space in a text is one space"),
    )
    known = next((f"; {advice}" for fits, advice in slips if fits), "")
    start = next((i for i, (a, b) in enumerate(zip(got, want, strict=False)) if a != b), min(len(got), len(want)))
    mine, theirs = (one[max(0, start - 15) : start + 25] for one in (got, want))
    raise AssertionError(f"{told}: from character {start} on the prompt differs: …{mine!r}…, expected …{theirs!r}…{known}")


_COLOURS = "Name the colour.", [("grass", "green"), ("a ripe\n tomato ", "red")], "snow"
_HEAD, _GRASS, _TOMATO, _SNOW = "Name the colour.", "Q: grass\nA: green", "Q: a ripe tomato\nA: red", "Q: snow\nA:"


def _joined(*parts):
    return "\n\n".join(parts)


@visible(points=0.5)
def check_prompt_by_hand(few_shot_prompt):
    """The worked example; no instruction; no examples"""
    _prompt(few_shot_prompt, _joined(_HEAD, _GRASS, _TOMATO, _SNOW), "the worked example", *_COLOURS)
    _prompt(few_shot_prompt, _joined(_GRASS, _SNOW), "no instruction, one example", "", _COLOURS[1][:1], "snow")
    _prompt(few_shot_prompt, _joined(_HEAD, _SNOW), "no examples", _HEAD, [], "snow")


@visible(points=0.5)
def check_prompt_fits(few_shot_prompt):
    """The worked example with less room: the first examples go"""
    whole, less = _joined(_HEAD, _GRASS, _TOMATO, _SNOW), _joined(_HEAD, _TOMATO, _SNOW)
    _prompt(few_shot_prompt, whole, "longest = 72, exactly its length", *_COLOURS, len, 72)
    _prompt(few_shot_prompt, less, "longest = 71: the first example is left out", *_COLOURS, len, 71)
    _prompt(few_shot_prompt, _joined(_HEAD, _SNOW), "longest = 52: both examples are left out", *_COLOURS, len, 52)


@hidden(points=0.5)
def check_prompt_edges(few_shot_prompt):
    """White space everywhere, lengths in tokens, what cannot fit"""
    want = _joined("Say it in one word.", "Q: a b\nA: c d", "Q: e f\nA:")
    given = [["\ta \n\n b", "c\r\nd  "]]
    _prompt(few_shot_prompt, want, "white space of all kinds", " Say it \n in one word. ", given, "\ne\u00a0 f ")
    assert given == [["\ta \n\n b", "c\r\nd  "]], "the examples that were given are changed"
    _prompt(few_shot_prompt, _joined(_GRASS, _SNOW), "an instruction of spaces alone", " \n ", (("grass", "green"),), "snow")
    words = tokenizer.load()
    examples = [(f"{a} + {b}", str(a + b)) for a in (3, 14, 159) for b in (2, 71, 828)]
    parts = [f"Q: {asked}\nA: {answer}" for asked, answer in examples]

    def length(text):
        return len(words.encode(text))

    for left_out in (0, 1, 4, 9):
        want = _joined("Add.", *parts[left_out:], "Q: 4 + 4\nA:")
        for spare in (0, 3):
            told = f"nine examples and room for {9 - left_out} of them, counted in tokens"
            _prompt(few_shot_prompt, want, told, "Add.", examples, "4 + 4", length, length(want) + spare)
    whole, less = _joined(_HEAD, _GRASS, _TOMATO, _SNOW), _joined(_HEAD, _TOMATO, _SNOW)
    for longest, want in ((10, whole), (9, less)):
        told = f"length counts lines, and longest is {longest}: it is the length of the whole prompt that counts"
        _prompt(few_shot_prompt, want, told, *_COLOURS, lambda text: text.count("\n") + 1, longest)
    short = length(_joined("Add.", "Q: 4 + 4\nA:")) - 1
    _refused("no room even without examples", few_shot_prompt, "Add.", examples, "4 + 4", length, short)
    _refused("no room, and no examples", few_shot_prompt, _HEAD, [], "snow", len, 10)
    _refused("a question without text", few_shot_prompt, _HEAD, [], " \n", len, 1000)


def _parsed(parse_answer, cases, choices):
    for text, want, why in cases:
        got = parse_answer(text, choices)
        told = f"text {text!r:.80}, choices {', '.join(choices)}: got {shown(got) if got is not None else 'None'}, expected {want!r}"
        assert got is None or isinstance(got, str), f"{told}: expected a choice or None"
        turned = isinstance(got, str) and got != want and want is not None and got.lower() == want.lower()
        assert not turned, f"{told}: the choice is returned as it stands in choices"
        assert got == want, f"{told}: {why}"


@visible(points=0.5)
def check_answer_by_hand(parse_answer):
    """The worked examples: York and New York"""
    choices = ["York", "New York"]
    _parsed(parse_answer, (
        (" New York", "New York", "New York begins first, and mentions do not overlap, so this York is part of it"),
        (" new york.\nQ: next", "New York", "large and small letters are alike, and the choice is returned as it stands in choices"),
        ("It is New York, New York", "New York", "a choice that is mentioned twice is one"),
        ("York, not New York", None, "both are mentioned: no answer rather than a guess"),
        ("Yorkshire", None, "a letter stands right behind it, so York is not mentioned"),
        ("I do not know", None, "no choice is mentioned"),
    ), choices)  # fmt: skip


@visible(points=0.25)
def check_first_line(parse_answer):
    """Only the first line with any text counts"""
    _parsed(parse_answer, (
        (" yes\n\nQ: Is snow black?\nA: no", "yes", "what the model wrote behind the first line is no answer to your question"),
        ("\n \n  No!\nyes", "no", "lines without text are passed over"),
        ("well\nyes", None, "the first line with text mentions no choice; later lines do not count"),
        ("", None, "there is no text"),
        (" \n\n", None, "there is no line with text"),
    ), ["yes", "no"])  # fmt: skip


@hidden(points=0.75)
def check_answer_edges(parse_answer):
    """Signs of all kinds, digits and underscores, overlaps, tuples"""
    _parsed(parse_answer, (
        ("It is C++.", "C++", "no letter, digit or underscore stands behind it; of C and C++, which begin at one place, the longer counts"),
        ("c", "C", "large and small letters are alike"),
        ("C# I think", "C#", "of C and C#, which begin at one place, the longer counts"),
        ("C++ and C++", "C++", "mentioned twice, it is one"),
        ("C++ or C", None, "two choices are mentioned"),
        ("CC++", None, "right before C++ stands a letter"),
        ("C++x", "C", "C++ is not mentioned, since a letter stands right behind it, and C is"),
        ("C_", None, "an underscore stands right behind it"),
        ("_C", None, "an underscore stands right before it"),
        ("1C", None, "a digit stands right before it"),
        ("C.", "C", "a full stop is no letter"),
    ), ("C", "C++", "C#"))  # fmt: skip
    _parsed(parse_answer, (
        ("answer: 12", "12", "12 is mentioned, and 1 is not: a digit stands right behind it"),
        ("(1)", "1", "brackets are no letters"),
        ("1.2", None, "1 and 2 are mentioned"),
        ("112", None, "no choice stands alone"),
        ("10", None, "a digit stands right behind the 1"),
        ("a1", None, "a letter stands right before it"),
        ("12%", "12", "a percent sign is no letter"),
    ), ["1", "2", "12"])  # fmt: skip
    _parsed(parse_answer, (
        ("a.c", "a.c", "a choice is text, not a pattern"),
        ("abc", None, "a choice is text, not a pattern: its full stop is a full stop"),
        ("élan", "Élan", "letters with accents are letters"),
        ("éa.c", None, "é is a letter"),
        ("one two three", "one two", "mentions are read from left to right and do not overlap: two three has lost its two"),
        ("two three", "two three", "it stands there as it is"),
        ("one  two", None, "two spaces are not one"),
    ), ["a.c", "Élan", "one two", "two three"])  # fmt: skip
    _parsed(parse_answer, (("North", "north", "it is the only choice, and it is mentioned"),), ("north",))


# 12.6 A client

_KEY = "sk-71c0ffee4711"
_REQUEST = {"prompt": "Q: What is the capital of France?\nA:", "tokens": 5}
_PARIS = {"text": "Paris"}
_GOOD = 200, {}, json.dumps(_PARIS)


class _World:
    """A server with a script, and a clock that moves only in sleep and, if told, while a request is on its way."""

    def __init__(self, *script, travel=0.25):
        self.script, self.travel, self.now = list(script), travel, 1000.0
        self.begun, self.asked, self.slept, self.logged, self.events = [], [], [], [], []

    def send(self, request, key):
        self.begun.append(self.now)
        self.asked.append((request, key))
        self.events.append("send")
        self.now += self.travel
        reply = self.script[len(self.begun) - 1] if len(self.begun) <= len(self.script) else _GOOD
        if isinstance(reply, Exception):
            raise reply
        return reply

    def sleep(self, seconds):
        self.slept.append(float(seconds))
        self.events.append("sleep")
        self.now += max(0.0, float(seconds))

    def clock(self):
        return self.now

    def log(self, text):
        self.logged.append(text)
        self.events.append("log")

    def client(self, RateLimitedClient, seed=1, **more):
        return RateLimitedClient(self.send, _KEY, random.Random(seed), sleep=self.sleep, clock=self.clock, log=self.log, **more)


def _asks(what, world, client, want=_PARIS):
    """The answer of one request. AssertionError where it is another, or none."""
    request = dict(_REQUEST)
    try:
        got = client.ask(request)
    except NotImplementedError:  # which is a RuntimeError, too
        raise
    except (RuntimeError, TimeoutError, ConnectionError, ValueError) as error:
        kind = type(error).__name__
        told = f"after {len(world.begun)} tries ask stopped with {kind}: {str(error).replace(_KEY, '(the key)'):.100}"
        raise AssertionError(f"{what}: expected the answer {want}, but {told}") from None
    assert got == want, f"{what}: expected the answer {want}, got {shown(got)}"
    assert request == _REQUEST, f"{what}: the request that was given is changed"
    for sent, key in world.asked:
        assert sent == _REQUEST, f"{what}: send got the request {sent!r:.100}, expected {_REQUEST}"
        assert key == _KEY, f"{what}: send got another key than the client"


def _fails(what, world, client, tries, says):
    """The text of the RuntimeError that one request ends with."""
    try:
        got = client.ask(dict(_REQUEST))
    except NotImplementedError:
        raise
    except RuntimeError as error:
        text = str(error)
    except (OSError, ValueError, LookupError) as error:
        raise AssertionError(f"{what}: expected RuntimeError, got {type(error).__name__}") from None
    else:
        raise AssertionError(f"{what}: expected RuntimeError, got {shown(got)}")
    assert len(world.begun) == tries, f"{what}: send was called {len(world.begun)} times, expected {tries}"
    assert says in text.lower(), f"{what}: the error must name what the last try ended with, {says}: {text.replace(_KEY, '(the key)'):.150}"
    return text


def _assert_waits(what, waits, bounds):
    """Each wait between its two bounds."""
    assert len(waits) == len(bounds), f"{what}: slept {len(waits)} times, expected {len(bounds)}: once between two tries"
    for i, (wait, (low, high)) in enumerate(zip(waits, bounds, strict=True), 1):
        told = f"{what}: after failed try {i} it slept {wait:.3f} s, expected {low:g} to {high:g}"
        assert low - 1e-6 <= wait <= high + 1e-6, told


def _assert_logged(what, logged, words):
    """One text for each failed try, which names what that try ended with."""
    expected = f"expected one for each failed try, the last one as well: {len(words)}"
    assert len(logged) == len(words), f"{what}: log was called {len(logged)} times, {expected}"
    for i, (line, word) in enumerate(zip(logged, words, strict=True), 1):
        named = isinstance(line, str) and word in line.lower()
        assert named, f"{what}: what log got for failed try {i} must be a string that names {word}"


@visible(points=0.25)
def check_client_answers(RateLimitedClient):
    """One request, one answer: nothing slept, nothing logged"""
    world = _World()
    _asks("a server that answers at once", world, world.client(RateLimitedClient))
    assert len(world.begun) == 1, f"send was called {len(world.begun)} times, expected once"
    assert not world.slept, f"it slept {world.slept[0]:g} s, and there was no reason to"
    assert not world.logged, "log was called, and no try failed"
    world = _World()
    _asks("a client made of send, key and generator alone", world, RateLimitedClient(world.send, _KEY, random.Random(1)))


@visible(points=0.5)
def check_client_tries_again(RateLimitedClient):
    """500, then 429 with Retry-After: 7, then an answer: the worked example; four times 500: longer and longer waits"""
    world = _World((500, {}, "out of order"), (429, {"Retry-After": "7"}, "too fast"))
    what = "status 500, then 429 with Retry-After: 7, then an answer"
    _asks(what, world, world.client(RateLimitedClient))
    _assert_waits(what, world.slept, [(0.5, 1), (7, 8)])
    _assert_logged(what, world.logged, ("500", "429"))
    world = _World(*[(500, {}, "out of order")] * 4)
    _asks("four times status 500, then an answer", world, world.client(RateLimitedClient))
    _assert_waits("four times status 500, then an answer", world.slept, [(0.5, 1), (1, 2), (2, 4), (4, 8)])


@visible(points=0.25)
def check_client_gives_up(RateLimitedClient):
    """After so many tries, or at once after a status that will not pass"""
    world = _World(*[(503, {}, "")] * 9)
    what = "status 503 for ever, tries=3"
    _fails(what, world, world.client(RateLimitedClient, tries=3), 3, "503")
    assert world.events[-1] != "sleep", f"{what}: it slept after the last try: nobody waits for that"
    assert len(world.slept) == 2, f"{what}: it slept {len(world.slept)} times, expected 2"
    _assert_logged(what, world.logged, ["503"] * 3)
    world = _World(*[(500, {}, "")] * 9)
    _fails("status 500 for ever", world, world.client(RateLimitedClient), 5, "500")
    for status in (401, 400, 404, 201, 204, 301, 403, 408, 409, 422):
        world = _World(*[(status, {"Retry-After": "3"}, json.dumps(_PARIS))] * 9)  # final, whatever comes with it
        _fails(f"status {status}", world, world.client(RateLimitedClient), 1, str(status))
        assert not world.slept, f"status {status}: it slept, and there is nothing to wait for"
        _assert_logged(f"status {status}", world.logged, [str(status)])


@hidden(points=0.5)
def check_client_other_faults(RateLimitedClient):
    """Timeouts, broken connections, malformed JSON, other statuses; what Retry-After may hold"""
    for name, fault, word in (
        ("a timeout", TimeoutError("late"), "timeout"),
        ("a broken connection", ConnectionResetError("gone"), "connection"),
        ("JSON that is cut off", (200, {}, '{"text": "Par'), "malformed"),
        ("an empty text", (200, {}, ""), "malformed"),
        ("JSON that is no object", (200, {}, '["Paris"]'), "malformed"),
        ("JSON that is null", (200, {}, "null"), "malformed"),
        ("status 502", (502, {}, "<html>"), "502"),
    ):
        world = _World(fault, fault)
        _asks(f"{name}, twice, then an answer", world, world.client(RateLimitedClient))
        _assert_waits(f"{name}, twice, then an answer", world.slept, [(0.5, 1), (1, 2)])
        _assert_logged(f"{name}, twice, then an answer", world.logged, [word] * 2)
        world = _World(fault, fault)
        _fails(f"{name}, tries=1", world, world.client(RateLimitedClient, tries=1), 1, word)
    answers = {"empty": {}, "nested": {"error": None, "choices": [{"text": "ä"}]}}
    for name, answer in answers.items():
        world = _World((200, {"Retry-After": "9"}, json.dumps(answer)))
        _asks(f"an answer that is {name}", world, world.client(RateLimitedClient), answer)
        assert not world.slept, f"an answer that is {name}: it slept, and there was no reason to"
    for value, bounds in (("0", (0, 1)), ("90", (90, 91)), ("soon", (0.5, 1)), ("-5", (0.5, 1)), ("2.5", (0.5, 1)),
                          ("\u00b2", (0.5, 1)), ("Wed, 21 Oct 2026 07:28:00 GMT", (0.5, 1)), ("", (0.5, 1))):  # fmt: skip
        for status, header in ((429, "retry-after"), (503, "RETRY-AFTER")):
            world = _World((status, {"Content-Type": "text/plain", header: value}, "wait"))
            _asks(f"status {status} with {header}: {value}", world, world.client(RateLimitedClient))
            _assert_waits(f"status {status} with {header}: {value}", world.slept, [bounds])
    mixed = (429, {"Retry-After": "7"}, ""), TimeoutError("late"), (500, {}, ""), (200, {}, "?"), ConnectionError("gone")
    world, what = _World(*mixed), "status 429 with Retry-After: 7, then a timeout, status 500, malformed JSON and a broken connection"
    _fails(what, world, world.client(RateLimitedClient), 5, "connection")
    _assert_waits(what, world.slept, [(7, 8), (1, 2), (2, 4), (4, 8)])
    _assert_logged(what, world.logged, ("429", "timeout", "500", "malformed", "connection"))
    world, what = _World(*[(500, {}, "")] * 3, (503, {"Retry-After": "1"}, "")), "three times status 500, then 503 with Retry-After: 1"
    _asks(what, world, world.client(RateLimitedClient))
    _assert_waits(what, world.slept, [(0.5, 1), (1, 2), (2, 4), (1, 2)])  # what the server says, though the rule would be longer
    world = _World((200, {"Retry-After": "30"}, "?"), *[(500, {}, "")] * 8)
    _asks("malformed JSON with Retry-After: 30, then eight times 500", world, world.client(RateLimitedClient, tries=10))
    bounds = [(0.5 * w, w) for w in (1, 2, 4, 8, 16, 32, 60, 60, 60)]
    what = "status 200 with malformed JSON and Retry-After: 30 (which counts with 429, 500 and more alone), then eight times 500"
    _assert_waits(what, world.slept, bounds)


@hidden(points=0.25)
def check_client_jitter(RateLimitedClient):
    """Waits are drawn anew, from all of their range, and by the generator"""
    fault = 500, {}, ""

    def waits(seed, rounds=40):
        world = _World(*[fault, fault, fault, _GOOD] * rounds)
        client = world.client(RateLimitedClient, seed, per_minute=10**6)
        for _ in range(rounds):
            _asks("three times status 500, then an answer", world, client)
        return world.slept

    slept, again, other = waits(3), waits(3, rounds=4), waits(4, rounds=4)
    _assert_waits("40 requests in a row, each with three times status 500, then an answer", slept, [(0.5, 1), (1, 2), (2, 4)] * 40)
    drawn = [[wait / 2**k for wait in slept[k::3]] for k in range(3)]  # each as a share of its w
    for k, shares in enumerate(drawn):
        told = f"40 requests in a row: the wait after failed try {k + 1}"
        assert len(set(shares)) > 30, f"{told} takes {len(set(shares))} different values: draw each wait anew"
        low, high = min(shares) * 2**k, max(shares) * 2**k
        spread = f"{told} lies between {low:.2f} and {high:.2f} s: draw from all of {2**k / 2:g} to {2**k}"
        assert min(shares) < 0.6, spread
        assert max(shares) > 0.9, spread
    same = sum(abs(one - two) < 1e-9 for later in drawn[1:] for one, two in zip(drawn[0], later, strict=True))
    assert same < 10, "the waits of one request are all the same share of their w: draw each wait anew, not once for a request"
    told = "the waits of 4 requests in a row"
    assert slept[:12] == again, f"{told}: two clients with equal generators wait differently: all chance must come from `generator`"
    assert slept[:12] != other, f"{told}: two clients with different generators wait alike"


@hidden(points=0.5)
def check_client_rate(RateLimitedClient):
    """No more tries in 60 seconds than per_minute, over all requests, failed tries included; and no needless sleep"""
    for per_minute, travel, asked, late in ((3, 0.25, 10, 0), (1, 2.0, 4, 0), (5, 20.0, 12, 0), (60, 0.5, 62, 0), (3, 0.25, 8, 58)):
        what = f"per_minute = {per_minute}, {asked} requests in a row, each {travel:g} s on its way"
        what += f", the second {late} s after the first" if late else ""
        world = _World(travel=travel)
        client = world.client(RateLimitedClient, **({} if per_minute == 60 else {"per_minute": per_minute}))  # 60 is the default
        want = []
        for i in range(asked):
            world.now += late if i == 1 else 0
            _asks(what, world, client)
            free = (want[-1] + travel if want else 1000.0) + (late if i == 1 else 0)
            want.append(max(free, want[i - per_minute] + 60) if i >= per_minute else free)
        for i, (mine, best) in enumerate(zip(world.begun, want, strict=True)):
            told = f"{what}: try {i + 1} began {mine - 1000:.2f} s after the first"
            assert mine > best - 1e-6, f"{told}; then more than {per_minute} begin within 60 s, it may begin after {best - 1000:.2f} s"
            assert mine < best + 1e-6, f"{told}; it could begin after {best - 1000:.2f} s"
        assert all(one >= 0 for one in world.slept), f"{what}: sleep was called with a number below 0"
    world, what = _World(*[(500, {}, "")] * 3), "per_minute = 2, and three times status 500 before an answer"
    client = world.client(RateLimitedClient, per_minute=2)
    _asks(what, world, client)
    gaps = [later - earlier for earlier, later in zip(world.begun, world.begun[2:], strict=False)]
    assert min(gaps) > 60 - 1e-6, f"{what}: tries 1 and 3, or 2 and 4, began {min(gaps):.2f} s apart: tries that fail count, too"
    assert max(gaps) < 68, f"{what}: tries 1 and 3, or 2 and 4, began {max(gaps):.2f} s apart, and 60 s are enough"
    world.now += 1000
    sleeps = len(world.slept)
    _asks("a request long after the others", world, client)
    assert len(world.slept) == sleeps, "a request long after the others: it slept, and there was no reason to"
    for start in (3.0, 0.0):
        world, what = _World(), f"per_minute = 2, a clock that shows {start:g} at first"
        world.now = start
        client = world.client(RateLimitedClient, per_minute=2)
        for _ in range(3):
            _asks(what, world, client)
            late = len(world.asked) < 3 and world.slept
            assert not late, f"{what}: it slept before try {len(world.asked)}, and there was no reason to"
        third = world.begun[2] - start
        assert abs(third - 60) < 1e-6, f"{what}: try 3 began {third:.2f} s after the first, expected 60"
    twin = _World()
    _asks("another client", twin, twin.client(RateLimitedClient, per_minute=2))
    assert not twin.slept, "a second client slept before its first try: each client counts its own tries"


_SHOWS = """exec('''
import contextlib, io, traceback
def shows(client, request):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        try:
            client.ask(request)
        except Exception as error:
            return out.getvalue(), "".join(traceback.format_exception(error))
    return out.getvalue(), ""
''', made := {}) or made["shows"]"""


@hidden(points=0.75)
def check_client_keeps_its_key(RateLimitedClient):
    """The key: in no error, no traceback, no log, and not in repr and str, also where the server repeats it"""
    loud = f"Incorrect key provided: {_KEY}"
    shows = find(RateLimitedClient, "builtins.eval")(_SHOWS)  # over there, for an error crosses without its traceback
    for name, fault, tries in (
        ("status 401 whose text repeats the key", (401, {"X-Key": _KEY}, loud), 1),
        ("status 500 whose text repeats the key", (500, {"Retry-After": _KEY}, loud), 2),
        ("malformed JSON that repeats the key", (200, {}, loud), 2),
        ("a timeout whose text repeats the key", TimeoutError(loud), 2),
        ("a broken connection whose text repeats the key", ConnectionError(loud), 2),
    ):
        world = _World(*[fault] * 4)
        client = world.client(RateLimitedClient, tries=2)
        for maker in ("repr", "str"):
            assert _KEY not in find(RateLimitedClient, f"builtins.{maker}")(client), f"{maker}(client) shows the key"
        text = _fails(name, world, client, tries, "")
        assert _KEY not in text, f"{name}: the error shows the key"
        assert not any(_KEY in str(line) for line in world.logged), f"{name}: log got the key"
        world = _World(*[fault] * 4)
        printed, traceback = shows(world.client(RateLimitedClient, tries=2), dict(_REQUEST))
        assert not printed, (
            f"{name}: the client prints something{', the key in it' if _KEY in printed else ''}; it tells log, and no one else"
        )
        advice = "`raise … from None` hides the first error, but leave the `except` before you raise, or do not hold on to it"
        assert _KEY not in traceback, f"{name}: the traceback shows the key, from the error that came before yours: {advice}"


# 12.7 A prediction

_NAMES = "C", "share", "parameters", "matrices", "train_tokens"


def _split(seed=0, factor=1.0, more=0.0):
    """The recorded runs in random order, with factor · loss + more for each loss, as _apart gives them."""
    rows = [{**{name: getattr(run, name) for name in _NAMES}, "loss": factor * run.loss + more} for run in scaling.runs()]
    random.Random(seed).shuffle(rows)
    return _apart(rows, scaling.HELD_OUT)


def _apart(rows, held_out):
    """What a student gets: the runs of other sizes, and this size's without their losses; and these losses."""
    targets = [row for row in rows if row["C"] == held_out]
    asked = [{name: row[name] for name in _NAMES} for row in targets]
    return [row for row in rows if row["C"] != held_out], asked, [row["loss"] for row in targets]


def _errors(what, predict_losses, runs, targets, losses):
    """The mean error of the predictions, and that of the simple guess."""
    largest = max(run["C"] for run in runs)
    guess = {run["share"]: run["loss"] for run in runs if run["C"] == largest}
    simple = np.abs(np.array([guess[target["share"]] for target in targets]) - losses).mean()
    kept = json.dumps([runs, targets])
    told = f"{what}: the predictions"
    got = numbers(told, predict_losses(runs, targets), len(targets), f"({len(targets)},), a loss for each target")
    assert json.dumps([runs, targets]) == kept, f"{what}: the lists that were given, or their dictionaries, are changed: work on copies"
    assert np.isfinite(got).all(), f"{told} hold a number that is not finite"
    mine = np.abs(got - losses)
    worst = int(mine.argmax())
    told = f"{what}: a mean error of {mine.mean():.3f} nats, and the simple guess has {simple:.3f}; the worst, at"
    return mine.mean(), simple, f"{told} 1/{targets[worst]['share']} of the text, is {got[worst]:.3f}, measured {losses[worst]:.3f}"


@visible(points=0.5)
def check_better_than_the_simple_guess(predict_losses):
    """C = 96 from the smaller sizes: nearer than the losses of the largest of them"""
    mine, simple, told = _errors("C = 96", predict_losses, *_split())
    assert mine < simple, told


@visible(points=0.5)
def check_half_of_the_simple_guess(predict_losses):
    """C = 96: a mean error of less than half of the simple guess's"""
    mine, simple, told = _errors("C = 96", predict_losses, *_split(seed=1))
    assert mine < simple / 2, f"{told}; reach less than half of the simple guess's"


def _world_of_law(E, A, B, alpha, beta, seed):
    """Runs of the recorded sizes and amounts of text whose losses follow this law, with errors of 0.004 nats."""
    generator, rows = np.random.default_rng(seed), []
    for run in scaling.runs():
        loss = E + A / run.parameters**alpha + B / run.train_tokens**beta + 0.004 * generator.standard_normal()
        rows.append({**{name: getattr(run, name) for name in _NAMES}, "loss": float(loss)})
    random.Random(seed).shuffle(rows)
    return _apart(rows, scaling.HELD_OUT)


@hidden(points=1)
def check_other_worlds(predict_losses):
    """The same sizes with losses that follow other laws, and with the measured ones changed: predictions go by what is given"""
    for number, law in enumerate(((1.5, 60.0, 80.0, 0.3, 0.4), (2.5, 900.0, 30.0, 0.6, 0.25)), 1):
        what = f"C = 96 in a world with another law (number {number})"
        mine, simple, told = _errors(what, predict_losses, *_world_of_law(*law, seed=number))
        assert mine < simple / 2, f"{told}; go by the losses that are given, and reach less than half of the simple guess's"
    mine, simple, told = _errors("C = 96, every loss L changed to 1.02 L + 0.05", predict_losses, *_split(seed=2, factor=1.02, more=0.05))
    assert mine < simple / 2, f"{told}; go by the losses that are given, and reach less than half of the simple guess's"
