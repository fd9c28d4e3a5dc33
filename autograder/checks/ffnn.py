"""Checks of the exercises of chapter 3, feed-forward language models."""

import math
import random
from functools import lru_cache
from numbers import Real

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lmkit.check import hidden, visible
from lmkit.compare import assert_close, numbers, shown, tensor
from lmkit.tokenizer import END_ID, VOCAB_SIZE, n_bytes, token_ids

HIDES = ("lmkit.window",)  # while work is graded: it holds what several exercises ask for


# 3.1 Windows


def _windows(what, got, n):
    """The two tensors that windows returned, when their kinds and shapes fit each other."""
    assert isinstance(got, tuple | list), f"{what}: expected a pair, (histories, targets), got {shown(got)}"
    assert len(got) == 2, f"{what}: expected a pair, (histories, targets), got {len(got)} values"
    for name, one in zip(("histories", "targets"), got, strict=True):
        assert isinstance(one, torch.Tensor), f"{what}: expected {name} as a tensor, got {shown(one)}: use torch.tensor(…)"
        assert one.dtype == torch.int64, f"{what}: {name} have the type {one.dtype}, expected int64: torch.tensor(…, dtype=torch.int64)"
    histories, targets = got
    assert targets.ndim == 1, f"{what}: targets have the shape {tuple(targets.shape)}, expected (N,), one number a window"
    shape = (len(targets), n - 1)
    letters = f"(N, n - 1) = {shape}, as there are {len(targets)} targets"
    assert tuple(histories.shape) == shape, f"{what}: histories have the shape {tuple(histories.shape)}, expected {letters}"
    return histories, targets


def _assert_windows(paragraphs, n, end, got, rows):
    """Compare windows with the right ones. rows: pairs (history, target), in order."""
    what = f"{paragraphs} with n = {n}, end = {end}"
    histories, targets = _windows(what, got, n)
    found = list(zip(histories.tolist(), targets.tolist(), strict=True))
    for number, (have, want) in enumerate(zip(found, rows, strict=False)):
        if have != want:
            where = f"{what}: window {number} has the history {have[0]} and the target {have[1]}, expected {want[0]} and {want[1]}"
            raise AssertionError(f"{where}{_hint_on_windows(have, want, found[number + 1 :], rows[number + 1 :], end)}")
    count = "one for each token and one for the end token behind each paragraph"
    assert len(found) == len(rows), f"{what}: got {len(found)} windows, expected {len(rows)}: {count}"


def _hint_on_windows(have, want, later, later_rows, end):
    """The usual mistake behind a wrong window. later: the windows behind it; later_rows: what these should be."""
    starts, shall_start = (all(token == end for token in history) for history in (have[0], want[0]))
    if have[0] != want[0] and [history for history, _ in later[:1]] == [have[0]]:
        return ": the window behind it has the same history; each needs a list of its own, not one list that goes on changing"
    if have[0] != want[0] and have[0] == want[0][::-1]:
        return ": the oldest token stands first in a history"
    if want in later[:1] and have[1] == end:
        return ": n - 1 end tokens in front, not n; they are no targets"
    if want[1] == end and starts:
        return ": the end token behind each paragraph is a target too"
    if have[0] == want[0] and have[1] == want[0][-1]:
        return ": the target is the token behind the history, not the last one in it"
    if have[0] == want[0] and later_rows and have[1] == later_rows[0][1]:
        return ": the target is the token directly behind the history; one is left out between them"
    if have[0] == [*want[0][1:], want[1]]:
        return ": the target must not stand in its own history"
    if shall_start and not starts:
        return ": n - 1 end tokens stand before the first token of every paragraph; no window reaches into the next paragraph"
    return ""


@visible(points=0.5)
def check_windows_of_two_tokens(windows):
    """Histories of two tokens: the worked example"""
    rows = [([0, 0], 5), ([0, 5], 3), ([5, 3], 7), ([3, 7], 0), ([0, 0], 3), ([0, 3], 0)]
    _assert_windows([[5, 3, 7], [3]], 3, 0, windows([[5, 3, 7], [3]], 3, 0), rows)


@visible(points=0.5)
def check_other_windows(windows):
    """Histories of one and of three tokens, and another end token"""
    rows = [([0], 5), ([5], 3), ([3], 7), ([7], 0), ([0], 3), ([3], 0)]
    _assert_windows([[5, 3, 7], [3]], 2, 0, windows([[5, 3, 7], [3]], 2, 0), rows)
    rows = [([9, 9, 9], 4), ([9, 9, 4], 2), ([9, 4, 2], 9)]
    _assert_windows([[4, 2]], 4, 9, windows([[4, 2]], 4, 9), rows)


@hidden(points=0.5)
def check_edges_of_windows(windows):
    """Empty paragraphs, no paragraphs, the input left as it was"""
    _assert_windows([[], [6]], 3, 0, windows([[], [6]], 3, 0), [([0, 0], 0), ([0, 0], 6), ([0, 6], 0)])
    for n in (2, 5):
        histories, _ = _windows(f"no paragraphs, [], with n = {n}", windows([], n, 0), n)
        assert len(histories) == 0, f"no paragraphs, [], with n = {n}: got {len(histories)} windows, expected none"
    paragraphs = [[4, 5], [], [5]]
    windows(paragraphs, 3, 9)
    assert paragraphs == [[4, 5], [], [5]], f"the paragraphs [[4, 5], [], [5]] have become {paragraphs}: pad a copy"


@hidden(points=0.5)
def check_windows_of_real_text(windows):
    """Two hundred paragraphs of real text: the targets are the text, and each history slides on by one"""
    paragraphs = token_ids("train")[:200]
    text = [token for paragraph in paragraphs for token in (*paragraph, END_ID)]
    for n in (2, 4, 6):
        what = f"200 paragraphs of real text with n = {n}"
        histories, targets = (one.numpy() for one in _windows(what, windows(paragraphs, n, END_ID), n))
        count = f"{what}: got {len(targets):,} windows, expected {len(text):,}, one end token a paragraph included"
        assert len(targets) == len(text), count
        advice = "the targets are the tokens of the text in their order, with an end token behind each paragraph; yours are others"
        assert targets.tolist() == text, f"{what}: {advice}"
        starts = np.concatenate([[True], targets[:-1] == END_ID])
        assert (histories[starts] == END_ID).all(), f"{what}: the history at the start of a paragraph holds other tokens than the end token"
        slid = np.column_stack([histories[:-1, 1:], targets[:-1]])[~starts[1:]]
        same = histories[1:][~starts[1:]] == slid
        assert same.all(), f"{what}: a history is not the one before it, less its first token, and with the target of that one behind"


# 3.2 Log-softmax


def _assert_log_softmax(log_softmax, what, logits, slips=()):
    """log_softmax of these logits, beside torch's own."""
    want = torch.log_softmax(logits, dim=-1)
    got = tensor(f"{what}: the result", log_softmax(logits.clone()), tuple(want.shape))
    assert not got.isnan().any(), f"{what}: the result holds nan, as inf - inf, inf / inf and 0 / 0 give: what became inf or 0?"
    lost = (got.isinf() & want.isfinite()).any()
    assert not lost, f"{what}: the result holds {got[got.isinf()][0]}, expected finite numbers: a sum of exponentials became 0 or inf"
    assert_close(f"{what}: the result", got, want, slips, 1e-6 if want.dtype == torch.float64 else 1e-4)


@visible(points=0.5)
def check_three_logits(log_softmax):
    """The worked example, with probabilities 1/8, 2/8 and 5/8"""
    slips = (
        ([1 / 8, 2 / 8, 5 / 8], "these are the probabilities; return their logarithms"),
        ([-3.0, -2.0, -0.6781], "this is the logarithm to base 2; take the natural one"),
        ([2.0794, 1.3863, 0.4700], "the sign is wrong: the logarithm of a probability is below 0"),
        ([-0.9163, -0.2231, 0.6931], "this divides by something else than the sum of all three exponentials, 8"),
        ([-1.6094, -0.9163, 0.0], "the largest is subtracted; the logarithm of the sum of the exponentials is still to be"),
        ([-2.3026, -1.6094, -0.6931], "the sum is of the logits; take their exponentials first"),
        ([-8.0, -7.3069, -6.3906], "this subtracts the sum of the exponentials; subtract its logarithm"),
        ([-3.2094, -2.5163, -1.6], "this subtracts the sum of the exponentials; subtract its logarithm"),
    )
    for shift in (0.0, 3.0, -40.0):
        logits = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64).log() + shift
        _assert_log_softmax(log_softmax, f"logits ln 1, ln 2, ln 5, {shift:g} added to each", logits, slips)


@visible(points=0.25)
def check_rows_apart(log_softmax):
    """Two rows of logits: each is normalised by itself, along the last dimension"""
    logits = torch.tensor([[1.0, 2.0, 5.0], [4.0, 4.0, 8.0]], dtype=torch.float64).log()
    slips = (
        (torch.log_softmax(logits, dim=0), "this sums over the first dimension; the vocabulary is the last, dim=-1"),
        (torch.log_softmax(logits.flatten(), 0).reshape(2, 3), "this sums over all rows together; each row is a distribution: use dim=-1"),
    )
    _assert_log_softmax(log_softmax, "logits ln 1, ln 2, ln 5 and ln 4, ln 4, ln 8", logits, slips=slips)


@visible(points=0.25)
def check_far_apart(log_softmax):
    """Logits that are large, or far apart"""
    for values in ([1000.0, 1001.0, 999.0], [-2000.0, -2001.0, -1999.0], [0.0, -1000.0, 3.0], [5000.0, 0.0, -5000.0]):
        logits = torch.tensor(values, dtype=torch.float64)
        _assert_log_softmax(log_softmax, f"logits {', '.join(f'{value:g}' for value in values)}", logits)


@hidden(points=0.5)
def check_minus_infinity(log_softmax):
    """A logit of -inf gives -inf and takes nothing from the others; rows that are far from each other"""
    inf = math.inf
    rows = [[-inf, 0.0, 1.0], [5.0, -inf, -inf]], [[0.0, 1.0, 2.0], [-2000.0, -2001.0, -1999.0]]
    for values in ([1.0, -inf, 3.0], [-inf, -inf, 2.0], *rows):
        _assert_log_softmax(log_softmax, f"logits {values}", torch.tensor(values, dtype=torch.float64))


@hidden(points=0.5)
def check_matches_torch(log_softmax):
    """One, two and three dimensions, in float64 and float32, beside torch.log_softmax; the input left as it was"""
    generator = torch.Generator().manual_seed(2)
    for shape in ((7,), (1,), (5, 11), (2, 3, 4)):
        for dtype in (torch.float64, torch.float32):
            logits = (torch.randn(shape, generator=generator, dtype=torch.float64) * 20).to(dtype)
            what = f"random logits of shape {shape}, {dtype}"
            _assert_log_softmax(log_softmax, what, logits)
            given = logits.clone()
            got = log_softmax(given)
            assert got.dtype == dtype, f"{what}: the result has the type {got.dtype}, expected that of the logits"
            assert torch.equal(given, logits), f"{what}: the logits that were given are changed: subtract into a new tensor, not with -="


# 3.3 Initialise


def _shapes(V, n, C, M):
    return {"E": (V, C), "W": ((n - 1) * C, M), "b": (M,), "U": (M, V), "c": (V,)}


_LETTERS = {"E": "(V, C)", "W": "((n-1) C, M)", "b": "(M,)", "U": "(M, V)", "c": "(V,)"}


def _named(what, got, shapes):
    """The tensors of a dictionary that an answer returned, those with the names in `shapes`, which must have these shapes."""
    assert isinstance(got, dict), f"{what}: expected a dictionary, name -> tensor, got {shown(got)}"
    missing = [name for name in shapes if name not in got]
    assert not missing, f"{what}: there is no {missing[0]}; expected a tensor for each of E, W, b, U and c"
    return {name: tensor(f"{what}: {name}", got[name], shape, _LETTERS[name]) for name, shape in shapes.items()}


def _drawn(initialise, V, n, C, M, names="EWU", seed=1):
    """Parameters of this size, in float64."""
    what, shapes = f"V = {V}, n = {n}, C = {C}, M = {M}", _shapes(V, n, C, M)
    params = _named(what, initialise(V, n, C, M, torch.Generator().manual_seed(seed)), {name: shapes[name] for name in names})
    return {name: one.double() for name, one in params.items()}


def _library(params):
    """The same model out of torch's own layers, in float64."""
    E, W, U = params["E"], params["W"], params["U"]
    model = nn.Sequential(nn.Embedding(*E.shape), nn.Flatten(), nn.Linear(*W.shape), nn.Tanh(), nn.Linear(*U.shape)).double()
    values = (E, W.T, params["b"], U.T, params["c"])
    names = ("0.weight", "2.weight", "2.bias", "4.weight", "4.bias")
    model.load_state_dict({name: value.detach().double() for name, value in zip(names, values, strict=True)})
    return model


def _random_histories(V, n, B, seed):
    """Random histories (B, n - 1) and targets (B,)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(V, (B, n - 1), generator=generator), torch.randint(V, (B,), generator=generator)


_SIZES = ((300, 3, 16, 50), (700, 5, 20, 30), (200, 2, 40, 900))  # V, n, C, M


@visible(points=0.5)
def check_shapes_and_biases(initialise):
    """Names and shapes; the biases are zero, the other numbers are not"""
    for sizes in _SIZES:
        params = _drawn(initialise, *sizes, names="EWbUc")
        what = "V = {}, n = {}, C = {}, M = {}".format(*sizes)
        for name in ("b", "c"):
            assert not params[name].any(), f"{what}: {name} is not zero: its largest number is {params[name].abs().max():.4f}"
        for name in ("E", "W", "U"):
            assert params[name].any(), f"{what}: every number of {name} is 0, so nothing tells its rows apart: draw them at random"


@visible(points=0.5)
def check_first_loss(initialise):
    """Before training, with biases of zero, every token is about equally likely: the loss is within 0.1 of ln V"""
    for V, n, C, M in _SIZES:
        params = _drawn(initialise, V, n, C, M) | {"b": torch.zeros(M), "c": torch.zeros(V)}
        histories, targets = _random_histories(V, n, 500, 4)
        with torch.no_grad():
            logits = _library(params)(histories)
        loss = F.cross_entropy(logits, targets).item()
        what = f"V = {V}, n = {n}, C = {C}, M = {M}: the loss of the untrained model is {loss:.2f}"
        want = f"expected ln V = {math.log(V):.2f}, give or take 0.1"
        spread = f"its logits have the standard deviation {logits.std():.2f}, and 0.1 is the most that they should have"
        assert abs(loss - math.log(V)) < 0.1, f"{what}, {want}; {spread}: a logit is a sum of M numbers, so U must shrink as M grows"


def _assert_spread(what, values, want, advice, advices=()):
    """Compare a standard deviation with the right one, give or take a tenth. advices: pairs (a usual wrong one, what to say of it)."""
    spread = values.std().item()
    known = [more for slip, more in advices if abs(spread / slip - 1) < 0.1]
    assert abs(spread / want - 1) < 0.1, f"{what} have the standard deviation {spread:.4f}, expected {want:.4f}: {(known or [advice])[0]}"


@hidden(points=0.5)
def check_spreads(initialise):
    """The standard deviations of E, x W and U; means of zero, a normal distribution"""
    for V, n, C, M in _SIZES:
        params, width = _drawn(initialise, V, n, C, M), (n - 1) * C
        what = f"V = {V}, n = {n}, C = {C}, M = {M}: the numbers of"
        for name in ("E", "W", "U"):
            mean, error = params[name].mean(), params[name].std() / math.sqrt(params[name].numel())
            assert abs(mean) < 8 * error, f"{what} {name} have the mean {mean:.4f}, expected 0: torch.randn, not torch.rand"
        _assert_spread(f"{what} E", params["E"], 0.3, "torch.randn gives 1, so multiply by 0.3")
        advices = (
            (1.0, f"a number of x W is a sum of (n-1) C = {width} products, so it spreads more than x: divide by the root of their number"),
            (1 / width, f"variances add up, not standard deviations: divide by the root of (n-1) C = {width}"),
            (1 / math.sqrt(C), f"x holds n - 1 = {n - 1} rows of E, (n-1) C = {width} numbers"),
            (1 / math.sqrt(M), f"the number of terms counts, (n-1) C = {width}, not the number of sums, M = {M}"),
        )
        advice = f"each number of x W is a sum of {width} products, and has the variance of one number of x"
        _assert_spread(f"{what} W", params["W"], 1 / math.sqrt(width), advice, advices)
        advices = (
            (0.1 / M, f"variances add up, not standard deviations: a logit is a sum of M = {M} numbers"),
            (0.1 / math.sqrt(V), f"a logit is a sum over M = {M} numbers of h; V = {V} is the number of logits"),
        )
        advice = f"where every number of h is 1 or -1, a logit, a sum of {M}, has 0.1"
        _assert_spread(f"{what} U", params["U"], 0.1 / math.sqrt(M), advice, advices)
        for name in ("E", "W", "U"):
            outside = (params[name].abs() > 2 * params[name].std()).double().mean().item()
            told = f"{what} {name} are not normal: {outside:.1%} lie beyond two standard deviations, expected 4.6%"
            assert 0.02 < outside < 0.08, f"{told}: torch.randn, not torch.rand"


@hidden(points=0.5)
def check_generator_draws(initialise):
    """The generator decides: equal seeds give equal parameters, other seeds others; no two tensors share their numbers"""
    first, again, other = (_drawn(initialise, 40, 3, 8, 16, seed=seed) for seed in (5, 5, 6))
    for name in ("E", "W", "U"):
        advice = "pass generator=generator to every torch.randn"
        assert torch.equal(first[name], again[name]), f"two generators with seed 5 gave two different {name}: {advice}"
        assert not torch.equal(first[name], other[name]), f"generators with the seeds 5 and 6 gave the same {name}: {advice}"
    flat = {name: first[name].flatten()[:100] / first[name].flatten()[0] for name in ("E", "W", "U")}
    for one, two in (("E", "W"), ("E", "U"), ("W", "U")):
        advice = "draw on from the generator, do not seed it again"
        assert not torch.allclose(flat[one], flat[two]), f"{one} and {two} hold the same random numbers, only scaled: {advice}"


# 3.4 Forward


def _by_hand():
    """The parameters of the worked example: V = 3, n = 3, C = 1, M = 2. tanh(ln 2) = 0.6 and tanh(ln 3) = 0.8."""
    two, six = math.log(2), math.log(6)
    values = {"E": [[0], [two], [six]], "W": [[0, 1], [1, 0]], "b": [-two, 0], "U": [[1, 0, 2], [0, 5, -1]], "c": [0, 0, 1]}
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def _random_params(V, n, C, M, seed, dtype=torch.float64):
    """Random parameters, none of them small or zero."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in _shapes(V, n, C, M).items()}
    return {name: (one * 0.7).to(dtype) for name, one in drawn.items()}


def _assert_logits(forward, what, params, histories, slips=()):
    """The logits of these histories, beside those of torch's layers."""
    with torch.no_grad():
        want = _library(params)(histories)
    (B, V), dtype = want.shape, params["E"].dtype
    given = {name: one.clone() for name, one in params.items()}
    got = tensor(f"{what}: the logits", forward(given, histories.clone()), (B, V), "(B, V)")
    assert_close(f"{what}: the logits", got, want, slips, 1e-6 if dtype == torch.float64 else 1e-4)
    return got, given


@visible(points=0.5)
def check_logits_by_hand(forward):
    """The worked example: the logits after 1, 2, and after 2, 1"""
    usual = (
        ([[1.0986, 3.4657, 2.5041]], "tanh is missing"),
        ([[1.4918, 2.9730, 3.3890]], "b is missing"),
        ([[0.9459, 3.0, 2.2919]], "b is missing"),
        ([[0.8, 3.0, 1.0]], "c is missing"),
        ([[0.0, 4.7297, 0.0541]], "this is the answer for 2, 1: the oldest token, the first of the history, comes first in x"),
        ([[0.0749, 0.6763, 0.2488]], "these are probabilities; return the logits, before the softmax"),
        ([[-2.5912, -0.3912, -1.3912]], "these are log-probabilities; return the logits, before the softmax"),
        ([[0.6640, 0.9951, 0.9640]], "tanh belongs to the hidden layer only; the logits are not squashed"),
        ([[0.7500, 3.3333, 1.8333]], "h is tanh of x W + b, not its sigmoid"),
    )
    for history, slips in (([1, 2], usual), ([2, 1], ()), ([0, 0], ())):
        _assert_logits(forward, f"the worked example, history {history}", _by_hand(), torch.tensor([history]), slips)


@visible(points=0.5)
def check_batch_of_histories(forward):
    """Three histories at once: each row is what it is alone"""
    histories = torch.tensor([[1, 2], [0, 0], [2, 1]])
    together, _ = _assert_logits(forward, "the worked example, histories [[1, 2], [0, 0], [2, 1]]", _by_hand(), histories)
    for row in range(3):
        history = histories[row].tolist()
        alone, _ = _assert_logits(forward, f"the worked example, history {history} alone", _by_hand(), histories[row : row + 1])
        assert_close(f"history {history} in a batch of three, compared with alone: the logits", together[row], alone[0])


def _mixed_up(params, histories):
    """What the library gives when x is put together wrongly; pairs (logits, advice)."""
    (_, C), (B, places) = params["E"].shape, histories.shape
    after = _library(params)[2:]
    x = params["E"][histories].double()
    with torch.no_grad():
        yield after(x.flip(1).reshape(B, places * C)), "x is put together newest first; the oldest token comes first"
        yield after(x.mT.reshape(B, places * C)), "the vectors are mixed up: all C numbers of one token stand together in x"


@visible(points=0.5)
def check_logits_of_library(forward):
    """Random parameters, n = 4, C = 3: the logits of nn.Embedding, nn.Linear, nn.Tanh and nn.Linear in a row"""
    params, (histories, _) = _random_params(7, 4, 3, 5, 8), _random_histories(7, 4, 6, 9)
    _assert_logits(forward, "random parameters, V = 7, n = 4, C = 3, M = 5", params, histories, list(_mixed_up(params, histories)))


@hidden(points=0.5)
def check_logits_of_other_sizes(forward):
    """One token back, many tokens back, a batch of one, float32"""
    for V, n, C, M, B in ((5, 2, 4, 3, 4), (9, 8, 2, 6, 1), (6, 3, 1, 1, 5), (50, 5, 8, 20, 40)):
        for dtype in (torch.float64, torch.float32):
            params, (histories, _) = _random_params(V, n, C, M, V, dtype), _random_histories(V, n, B, n)
            what = f"random parameters, V = {V}, n = {n}, C = {C}, M = {M}, {B} histories, {dtype}"
            got, _ = _assert_logits(forward, what, params, histories, list(_mixed_up(params, histories)))
            assert got.dtype == dtype, f"{what}: the logits have the type {got.dtype}, expected that of the parameters"


@hidden(points=0.5)
def check_places_of_tokens(forward):
    """A place whose rows of W are zero has no say; every other place has"""
    V, n, C, M = 8, 4, 3, 5
    histories, _ = _random_histories(V, n, 6, 3)
    for silent in range(n - 1):
        params = _random_params(V, n, C, M, 11)
        params["W"][silent * C : (silent + 1) * C] = 0
        before = forward({name: one.clone() for name, one in params.items()}, histories.clone())
        for place in range(n - 1):
            other = histories.clone()
            other[:, place] = (other[:, place] + 1) % V
            change = (forward({name: one.clone() for name, one in params.items()}, other) - before).abs().max()
            what = f"rows {silent * C} to {silent * C + C - 1} of W are zero, and the tokens at place {place} of the histories are others"
            if place == silent:
                assert change < 1e-9, f"{what}: the logits change by {change:.4f}, expected no change: these rows belong to place {silent}"
            else:
                assert change > 1e-9, f"{what}: the logits do not change, expected a change: place {place} has rows of its own"


def _assert_no_names_added(given, params):
    """The dictionary that was given holds no other names than before."""
    more = [name for name in given if name not in params]
    assert not more, f"the dictionary of parameters that was given holds {more[0]!r}, too, after the call: keep it in a variable"


@hidden(points=0.5)
def check_nothing_changed_forward(forward):
    """Parameters and histories stay as they are, and a second call gives the same"""
    params, (histories, _) = _random_params(9, 3, 4, 6, 12), _random_histories(9, 3, 5, 13)
    given, same = {name: one.clone() for name, one in params.items()}, histories.clone()
    first = tensor("the logits", forward(given, same), (5, 9), "(B, V)").clone()
    second = tensor("the logits", forward(given, same), (5, 9), "(B, V)")
    for name, one in params.items():
        assert torch.equal(given[name], one), f"the parameter {name} is changed: write `x = x + …`, which makes a new tensor, not `x += …`"
    _assert_no_names_added(given, params)
    assert torch.equal(same, histories), "the histories are changed: leave them as they are"
    assert_close("the same histories a second time: the logits", second, first)


# 3.5 Gradients


def _gradients(loss_and_gradients, what, params, histories, targets, names=("c", "U", "b", "W", "E")):
    """Loss and the named gradients that an answer returned, in float64; autograd is switched off meanwhile."""
    try:
        with torch.no_grad():
            got = loss_and_gradients(params, histories, targets)
    except RuntimeError as error:
        if "grad" not in str(error):
            raise
        raise AssertionError(f"{what}: autograd is switched off here ({error!s:.80}): work the gradients out by hand") from None
    assert isinstance(got, tuple | list), f"{what}: expected a pair, (loss, gradients), got {shown(got)}"
    assert len(got) == 2, f"{what}: expected a pair, (loss, gradients), got {len(got)} values"
    loss, gradients = got
    if isinstance(loss, torch.Tensor | np.ndarray):
        shape = tuple(loss.shape)
        assert math.prod(shape) == 1, f"{what}: the loss has the shape {shape}, expected one number: the mean over the batch"
        loss = loss.item()
    assert isinstance(loss, Real), f"{what}: expected the loss as a number, got {shown(loss)}"
    found = _named(f"{what}: the gradients", gradients, {name: tuple(params[name].shape) for name in names})
    return float(loss), {name: one.double() for name, one in found.items()}


def _autograd(params, histories, targets):
    """Loss and gradients by torch's layers and autograd, in float64."""
    model = _library(params)
    with torch.enable_grad():
        loss = F.cross_entropy(model(histories), targets)
        E, W, b, U, c = torch.autograd.grad(loss, list(model.parameters()))
    return loss.item(), {"E": E, "W": W.T, "b": b, "U": U.T, "c": c}


def _last_place_only(params, histories, targets):
    """The gradient of E where a token in several places gets that of one of them alone, the last."""
    places = torch.arange(histories.numel())
    own_rows = params | {"E": params["E"][histories.flatten()]}  # every place has a row of its own
    _, gradients = _autograd(own_rows, places.reshape(histories.shape), targets)
    kept = torch.zeros_like(params["E"], dtype=torch.float64)
    for token, gradient in zip(histories.flatten().tolist(), gradients["E"], strict=True):
        kept[token] = gradient
    return kept


def _assert_loss(loss_and_gradients, what, params, histories, targets, slips=()):
    """The loss beside that of torch's layers."""
    want, B = F.cross_entropy(_library(params)(histories), targets).item(), len(targets)
    got, _ = _gradients(loss_and_gradients, what, params, histories.clone(), targets.clone(), ())
    if B > 1:
        slips = [*slips, (want * B, f"this is the sum over the {B} windows; take the mean")]
    assert_close(f"{what}: the loss", torch.tensor(got), torch.tensor(want), slips)


def _assert_gradients(loss_and_gradients, what, params, histories, targets, names, slips=None):
    """The named gradients beside autograd's. slips: name -> pairs (what a usual mistake gives, what to say of it)."""
    given, B = {name: one.clone() for name, one in params.items()}, len(targets)
    _, got = _gradients(loss_and_gradients, what, given, histories.clone(), targets.clone(), names)
    _, want = _autograd(params, histories, targets)
    summed = "a token in several places gets the sum of its gradients; `d_E[ids] += …` counts a repeated id once, see index_add_"
    for name in names:
        usual = [(-want[name], "the sign is wrong: this is the direction in which the loss falls")]
        if name == "E":
            usual.append((_last_place_only(params, histories, targets), summed))
        if name == "c":
            counts = torch.bincount(targets, minlength=len(want["c"]))
            everywhere = want["c"] + counts / B - counts.clamp(max=1)
            usual.append((everywhere, "subtract 1 in row i at targets[i] alone, not at the targets of all windows"))
        if B > 1:
            usual.append((want[name] * B, f"this is the sum over the {B} windows; the loss is their mean, so divide by {B}"))
            usual.append((want[name] / B, f"this is divided by {B} twice"))
        assert_close(f"{what}: the gradient of {name}", got[name], want[name], [*(slips or {}).get(name, ()), *usual])


_ONE = torch.tensor([[1, 2]]), torch.tensor([2])  # the window of the worked example
_TWO = torch.tensor([[1, 2], [0, 1]]), torch.tensor([2, 0])
_ONE_IN_WORDS = "the worked example, history [1, 2], target 2"
_TWO_IN_WORDS = "the worked example's parameters, histories [[1, 2], [0, 1]], targets 2, 0"


@visible(points=0.5)
def check_loss(loss_and_gradients):
    """The loss of the worked example, and of a batch of two; autograd is switched off"""
    slips = (
        (2.0071, "this is in bits; take the natural logarithm"),
        (-1.3912, "the sign is missing: -ln p is above 0"),
        (0.2488, "this is p of the target; the loss is -ln p"),
        (-2.0, "this is minus the logit of the target; the loss is minus its log-probability"),
        (1.4579, "take the log-probability of the target alone, not the mean over all tokens"),
    )
    _assert_loss(loss_and_gradients, _ONE_IN_WORDS, _by_hand(), *_ONE, slips)
    _assert_loss(loss_and_gradients, _TWO_IN_WORDS, _by_hand(), *_TWO)


def _hand_slips():
    """Gradients of the worked example as usual mistakes give them, from the end to the front."""
    return {
        "c": (
            ([0.0749, 0.6763, 0.2488], "this is p; at the target 1 is to be subtracted"),
            ([-0.9251, 0.6763, 0.2488], "1 is to be subtracted at the target, token 2, not at token 0"),
        ),
        "U": (
            ([[0.0823, 0.7430, -0.8253], [0.0519, 0.4688, -0.5207]], "the numbers of h belong here, after tanh"),
            ([[0.0600, 0.5410, 0.1990], [0.0450, 0.4058, 0.1493]], "this is made with p; at the target 1 is to be subtracted"),
        ),
        "b": (
            ([-1.4275, 4.1326], "the derivative of tanh is missing: the factor 1 - h²"),
            ([-0.2855, 1.6530], "the derivative of tanh is 1 - h², not 1 - h"),
            ([0.2955, 1.8463], "the derivative is 1 - h², of what comes out of tanh; this squares what goes in"),
            ([-0.7982, 2.9405], "h is the tanh already; the derivative is 1 - h², without another one"),
            ([-0.2284, 0.9918], "this is the derivative of the sigmoid, h (1 - h); that of tanh is 1 - h²"),
        ),
        "W": (
            ([[-0.9895, 2.8645], [-2.5578, 7.4046]], "the derivative of tanh is missing: the factor 1 - h²"),
            ([[-0.4111, 2.1159], [-0.3083, 1.5869]], "this is made with h; what W multiplies is x"),
        ),
        "E": (
            ([[0.0], [4.1326], [-1.4275]], "the derivative of tanh is missing: the factor 1 - h²"),
            ([[0.0], [-0.5139], [2.6449]], "the two tokens are exchanged, or W is: the first C rows of W belong to the oldest token"),
        ),
    }


@visible(points=0.5)
def check_output_gradients(loss_and_gradients):
    """The gradients of c and U: the worked example, and a batch of two beside autograd"""
    _assert_gradients(loss_and_gradients, _ONE_IN_WORDS, _by_hand(), *_ONE, ["c", "U"], _hand_slips())
    _assert_gradients(loss_and_gradients, _TWO_IN_WORDS, _by_hand(), *_TWO, ["c", "U"])


@visible(points=0.5)
def check_hidden_gradients(loss_and_gradients):
    """The gradients of b and W: the worked example, and random parameters beside autograd"""
    _assert_gradients(loss_and_gradients, _ONE_IN_WORDS, _by_hand(), *_ONE, ["b", "W"], _hand_slips())
    params, batch = _random_params(7, 4, 3, 5, 21), _random_histories(7, 4, 6, 22)
    _assert_gradients(loss_and_gradients, "random parameters, V = 7, n = 4, C = 3, M = 5, 6 windows", params, *batch, ["b", "W"])


@visible(points=0.5)
def check_embedding_gradients(loss_and_gradients):
    """The gradient of E: the worked example, and three different tokens beside autograd"""
    _assert_gradients(loss_and_gradients, _ONE_IN_WORDS, _by_hand(), *_ONE, ["E"], _hand_slips())
    params, batch = _random_params(7, 4, 3, 5, 23), (torch.tensor([[4, 0, 5]]), torch.tensor([0]))
    _assert_gradients(loss_and_gradients, "random parameters, V = 7, n = 4, C = 3, M = 5, history [4, 0, 5]", params, *batch, ["E"])


@visible(points=0.5)
def check_repeated_tokens(loss_and_gradients):
    """A token that stands in several places gets the sum of its gradients"""
    for histories, targets in (([[1, 1]], [2]), ([[1, 2], [1, 0]], [2, 0]), ([[2, 1], [0, 2]], [2, 0])):
        what = f"the worked example's parameters, histories {histories}"
        _assert_gradients(loss_and_gradients, what, _by_hand(), torch.tensor(histories), torch.tensor(targets), ["E"])


@hidden(points=1)
def check_matches_autograd(loss_and_gradients):
    """Loss and all gradients equal autograd's to 1e-6 in float64, for several sizes"""
    for V, n, C, M, B in ((5, 2, 4, 3, 1), (9, 6, 2, 6, 7), (6, 3, 1, 1, 30), (60, 5, 8, 20, 100)):
        params, batch = _random_params(V, n, C, M, V + 1), _random_histories(V, n, B, n + 1)
        what = f"random parameters, V = {V}, n = {n}, C = {C}, M = {M}, {B} windows"
        _assert_loss(loss_and_gradients, what, params, *batch)
        _assert_gradients(loss_and_gradients, what, params, *batch, ["c", "U", "b", "W", "E"])


@hidden(points=0.5)
def check_real_size(loss_and_gradients):
    """A batch of real text in float32, with the course's vocabulary"""
    params = {name: one * 0.3 for name, one in _random_params(VOCAB_SIZE, 4, 8, 16, 31, torch.float32).items()}
    text = token_ids("train")[0][:131]
    histories, targets = torch.tensor([text[i : i + 3] for i in range(128)]), torch.tensor(text[3:131])
    what = "128 windows of real text, float32"
    _, got = _gradients(loss_and_gradients, what, {name: one.clone() for name, one in params.items()}, histories.clone(), targets.clone())
    _, want = _autograd(params, histories, targets)
    for name, one in got.items():
        wrong = torch.nonzero(~torch.isclose(one, want[name], rtol=1e-4, atol=1e-5)).tolist()
        assert not wrong, f"{what}: the gradient of {name} differs from autograd's in {len(wrong):,} places, first at {tuple(wrong[0])}"


@hidden(points=0.5)
def check_large_logits(loss_and_gradients):
    """Logits of a thousand overflow nothing"""
    for c in ([0.0, 0.0, 2000.0], [-1500.0, 0.0, 900.0], [3000.0, 3000.0, 3000.0]):
        params = _by_hand() | {"c": torch.tensor(c, dtype=torch.float64)}
        what = f"the worked example's parameters with c = {c}"
        loss, gradients = _gradients(loss_and_gradients, what, params, *_TWO)
        advice = "exponentials of large logits overflow: use a log-softmax that subtracts the largest"
        for name, one in (("the loss", torch.tensor(loss)), *((f"the gradient of {name}", one) for name, one in gradients.items())):
            assert one.isfinite().all(), f"{what}: {name} is not finite: {advice}"
        _assert_loss(loss_and_gradients, what, params, *_TWO)
        _assert_gradients(loss_and_gradients, what, params, *_TWO, ["c", "U", "b", "W", "E"])


@hidden(points=0.5)
def check_nothing_changed_or_kept(loss_and_gradients):
    """Parameters, histories and targets stay as they are, and a second call gives the same gradients"""
    params, (histories, targets) = _random_params(9, 3, 4, 6, 41), _random_histories(9, 3, 5, 42)
    given = {name: one.clone() for name, one in params.items()}
    batch = histories.clone(), targets.clone()
    _, first = _gradients(loss_and_gradients, "a first call", given, *batch)
    first = {name: one.clone() for name, one in first.items()}
    for name, one in params.items():
        assert torch.equal(given[name], one), f"the parameter {name} is changed; a gradient is returned, the step belongs to `train`"
    _assert_no_names_added(given, params)
    assert torch.equal(batch[0], histories), "the histories are changed: leave them as they are"
    assert torch.equal(batch[1], targets), "the targets are changed: leave them as they are"
    _, second = _gradients(loss_and_gradients, "a second call", given, *batch)
    for name, one in first.items():
        slips = [(2 * one, "it adds up from call to call")]
        assert_close(f"the same batch a second time: the gradient of {name}", second[name], one, slips)


# 3.6 Train


def _recorder(asked, loss=1.0):
    """A stand-in for loss_and_gradients: it writes down what it was asked about, and its gradients are zero."""

    def loss_and_gradients(params, histories, targets):
        asked.append((histories.tolist(), targets.tolist()))
        return loss, {name: torch.zeros_like(one) for name, one in params.items()}

    return loss_and_gradients


def _numbered(N):
    """N windows that are told apart by their numbers: history (i, i + 100), target i."""
    numbers = torch.arange(N)
    return torch.stack([numbers, numbers + 100], 1), numbers


def _losses(what, got, steps):
    """The losses that train returned, one a step."""
    assert isinstance(got, list | tuple | torch.Tensor | np.ndarray), f"{what}: expected a list of losses, got {shown(got)}"
    assert len(got) == steps, f"{what}: got {len(got)} losses, expected {steps}, one for each step"
    return [float(loss) for loss in got]


@visible(points=0.5)
def check_batches(train):
    """Ten windows in batches of four: each window once an epoch, with its own target, in random order"""
    asked, (histories, targets) = [], _numbered(10)
    what = "10 windows, batch_size = 4, 2 epochs"
    got = train({"a": torch.zeros(2)}, histories, targets, _recorder(asked), 2, 4, 0.1, torch.Generator().manual_seed(1))
    sizes = [len(batch) for _, batch in asked]
    partial = ": the last batch of an epoch is smaller, and is used too" if sizes in ([4] * 4, [4] * 2) else ""
    asked_for = f"{what}: loss_and_gradients was called with batches of {sizes!s:.80} windows"
    assert sizes == [4, 4, 2] * 2, f"{asked_for}, expected {[4, 4, 2] * 2}{partial}"
    for batch in asked:
        for history, target in zip(*batch, strict=True):
            pair = f"{what}: the history of window {history[0]} came with the target of window {target}: put both in the same order"
            assert history == [target, target + 100], pair
    for epoch in (0, 1):
        seen = [target for _, batch in asked[3 * epoch : 3 * epoch + 3] for target in batch]
        twice = next((number for number in seen if seen.count(number) > 1), None)
        message = f"{what}: in epoch {epoch + 1} window {twice} came {seen.count(twice)} times, expected every window once"
        assert twice is None, f"{message}: see torch.randperm"
        assert seen != list(range(10)), f"{what}: epoch {epoch + 1} took the windows in the order of the text: shuffle them"
    _losses(what, got, 6)


def _pull(start):
    """A stand-in for loss_and_gradients: half the squared distance of `a` to the mean of the targets, with its gradient."""

    def loss_and_gradients(params, histories, targets):
        off = params["a"] - targets.double().mean()
        start.append(params["a"].tolist())
        return 0.5 * float(off @ off), {"a": off}

    return loss_and_gradients


@visible(points=0.5)
def check_steps(train):
    """The worked example: a number pulled to 4, step by step"""
    seen, params = [], {"a": torch.tensor([0.0], dtype=torch.float64)}
    histories, targets = torch.tensor([[1], [2]]), torch.tensor([3, 5])
    losses = train(params, histories, targets, _pull(seen), 3, 2, 0.5, torch.Generator().manual_seed(1))
    what = "a = 0, loss (a - 4)² / 2, learning rate 0.5, 3 steps"
    steps = [value[0] for value in seen]
    known = {
        (0, -2, -5): "the gradient is added; the step goes against it, so subtract",
        (0, 4, 4): "the learning rate is missing",
        (0, 0, 0): "no step changes it: put the new value into the dictionary, or change the tensor itself",
        (0, 2, 5): "the gradients of earlier steps are used again: take those of this step alone",
        (0, 1, 1.75): "the gradient is divided by the size of the batch; it is that of a mean already",
    }
    hint = next((f": {advice}" for slip, advice in known.items() if len(steps) == 3 and np.allclose(steps, slip)), "")
    right = len(steps) == 3 and np.allclose(steps, [0, 2, 3])
    assert right, f"{what}: a was {steps!s:.60} before the steps, expected [0, 2, 3]{hint}"
    now = params["a"].item()
    advice = "change the dictionary that was given: `params[name] = …` or `params[name] -= …`, not a copy of it"
    assert abs(now - 3.5) < 1e-6, f"{what}: afterwards the dictionary that was given holds a = {now:.4f}, expected 3.5: {advice}"
    losses = _losses(what, losses, 3)
    assert np.allclose(losses, [8, 2, 0.5]), f"{what}: got the losses {losses}, expected [8, 2, 0.5], as loss_and_gradients returned them"


@hidden(points=0.5)
def check_orders(train):
    """The generator decides the order, and every epoch has its own; the windows stay as they are"""
    orders = []
    for seed in (3, 3, 4):
        asked, (histories, targets) = [], _numbered(12)
        train({"a": torch.zeros(2)}, histories, targets, _recorder(asked), 3, 5, 0.1, torch.Generator().manual_seed(seed))
        orders.append([target for _, batch in asked for target in batch])
        kept = torch.equal(histories, _numbered(12)[0]) and torch.equal(targets, _numbered(12)[1])
        assert kept, "the windows that were given are changed: shuffle their numbers, and leave them as they are"
    assert orders[0] == orders[1], "two generators with seed 3 gave two different orders: draw the order with generator=generator"
    assert orders[0] != orders[2], "generators with the seeds 3 and 4 gave the same order: draw the order with generator=generator"
    first, second = orders[0][:12], orders[0][12:24]
    assert first != second, "12 windows: the first two epochs took them in the same order: draw a new one for every epoch"


@hidden(points=0.25)
def check_small_cases_of_training(train):
    """No epochs, a batch larger than the text, several parameters"""
    params = {"a": torch.tensor([1.0], dtype=torch.float64), "z": torch.tensor([[2.0, 3.0]], dtype=torch.float64)}
    gradients = {"z": torch.tensor([[10.0, -20.0]], dtype=torch.float64), "a": torch.tensor([4.0], dtype=torch.float64)}
    for epochs, a, z in ((0, 1.0, [2.0, 3.0]), (1, 0.6, [1.0, 5.0])):
        what = f"3 windows, batch_size = 8, {epochs} epochs"
        got = train(params, *_numbered(3), lambda *_: (7.0, gradients), epochs, 8, 0.1, torch.Generator().manual_seed(1))
        _losses(what, got, epochs)
        now = [*params["a"].tolist(), *params["z"].flatten().tolist()]
        assert np.allclose(now, [a, *z]), f"{what}: the parameters hold the numbers {np.round(now, 4).tolist()}, expected {[a, *z]}"
        assert gradients["a"].item() == 4, f"{what}: the gradients are changed: they belong to whoever returned them"


@hidden(points=0.25)
def check_learns(train):
    """A window model learns which of 12 tokens follows which"""
    params = {name: one * 0.3 for name, one in _random_params(12, 2, 6, 16, 51).items()}
    histories = torch.arange(12).repeat(8)[:, None]
    targets = (5 * histories[:, 0] + 3) % 12
    losses = train(params, histories, targets, _autograd, 40, 16, 1.0, torch.Generator().manual_seed(2))
    losses = _losses("96 windows, batch_size = 16, 40 epochs", losses, 240)
    start, end = np.mean(losses[:6]), np.mean(losses[-6:])
    what = f"each of 12 tokens has one follower, 40 epochs at learning rate 1: the loss went from {start:.2f} to {end:.2f}"
    assert end < 0.1, f"{what}, expected below 0.1"


# 3.7 A language model


def _log_probs(model, paragraph):
    """What the model's log_probs says of a paragraph: (len(paragraph) + 1,) finite numbers, none above 0."""
    T = len(paragraph)
    shape = f"({T + 1},): one number for each token and one for the end token behind the last"
    values = numbers(f"log_probs of a paragraph of {T} tokens", model.log_probs(list(paragraph)), T + 1, shape)
    for i, value in enumerate(values):
        what = f"log_probs gives position {i} of a paragraph of {T} tokens the value {value:.4g}"
        advice = "is it p itself, or is a minus missing?" if values.min() >= 0 else "did the training diverge? Try a smaller learning rate"
        assert value <= 1e-5, f"{what}; the logarithm of a probability is never above 0, nor nan: {advice}"
        assert value > -math.inf, f"{what}: a softmax gives every token some probability; take its logarithm with log_softmax"
    return values


def _trained(LanguageModel, paragraphs, seed=1):
    """A model of these paragraphs, its order and its parameters, which must have the shapes of 3.3."""
    model = LanguageModel(paragraphs, VOCAB_SIZE, END_ID, torch.Generator().manual_seed(seed))
    n, params = getattr(model, "n", None), getattr(model, "params", None)
    for name, value, meaning in (("n", n, "its order"), ("params", params, "its parameters, name -> tensor")):
        assert value is not None, f"the model has no attribute {name}: set self.{name} to {meaning}"
    assert isinstance(n, int | np.integer), f"the model's attribute n is {shown(n)}, expected its order, a whole number"
    assert 2 <= n <= 10, f"the model's attribute n is {n}, expected an order from 2 to 10"
    assert isinstance(params, dict), f"the model's attribute params is {shown(params)}, expected a dictionary, name -> tensor"
    shape = {name: tuple(params[name].shape) for name in ("E", "W") if isinstance(params.get(name), torch.Tensor)}
    for name in ("E", "W"):
        assert len(shape.get(name, ())) == 2, f"the model's params hold no matrix {name}, expected one of shape {_LETTERS[name]}"
    return model, int(n), _named("params", params, _shapes(VOCAB_SIZE, int(n), shape["E"][1], shape["W"][1]))


def _said_by(params, n, paragraph):
    """ln p of every token at every position of a paragraph and behind its end, (T + 1, V), from torch's layers."""
    padded = [*[END_ID] * (n - 1), *paragraph]
    histories = torch.tensor([padded[i : i + n - 1] for i in range(len(paragraph) + 1)])
    with torch.no_grad():
        return F.log_softmax(_library(params)(histories), dim=-1)


def _assert_honest(paragraph, log_probs, said):
    """log_probs is what a window model with the model's parameters says, at every position."""
    tokens = torch.tensor([*paragraph, END_ID])
    want = said[torch.arange(len(tokens)), tokens].numpy()
    wrong = np.flatnonzero(~np.isclose(log_probs, want, rtol=1e-3, atol=1e-3))
    if len(wrong):
        i = wrong[0]
        what = f"position {i} of a paragraph, token {tokens[i]}: log_probs gives {log_probs[i]:.3f}"
        by_params = f"a window model of order n with your params gives {want[i]:.3f}"
        advice = "look at the order of the history, at its end tokens in front, and whether anything else than params decides"
        if np.allclose(log_probs, want / math.log(2), rtol=1e-3, atol=1e-3):
            advice = "take natural logarithms, not base 2"
        raise AssertionError(f"{what}, and {by_params}: {advice}")


def _assert_agrees(model, paragraph, said, positions):
    """next_probabilities is the same distribution, at these positions."""
    for i in positions:
        where = f"position {i} of a paragraph: next_probabilities"
        try:
            got = model.next_probabilities(tuple(paragraph[:i]))
        except NotImplementedError:
            raise
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            told = f"{where}, where the history has {i} tokens, stopped with {type(error).__name__}: {error!s:.120}"
            raise AssertionError(f"{told}; put end tokens in front of a history of fewer than n - 1") from None
        p = numbers(where, got, VOCAB_SIZE, f"(V,) = ({VOCAB_SIZE},)")
        assert p.min() >= 0, f"{where} gives token {p.argmin()} {p.min():.3f}, and no probability is below 0: is it the logarithm?"
        assert abs(p.sum() - 1) < 1e-3, f"{where} sums to {p.sum():.3f}, expected 1: take the softmax over all V tokens"
        token = int(np.abs(p - said[i].exp().numpy()).argmax())
        message = f"{where} gives token {token} {p[token]:.3f}, and a window model of order n with your params {said[i, token].exp():.3f}"
        advice = "it gets all tokens so far, of which the last n - 1 count, with end tokens in front where there are fewer"
        assert math.isclose(p[token], said[i, token].exp(), abs_tol=1e-3), f"{message}: {advice}"


def _held_out():
    """The three shortest of fifty paragraphs of the training text that no small model is trained on."""
    return sorted(token_ids("train")[250:300], key=len)[:3]


@visible(points=0.25)
def check_parameters_and_scores(LanguageModel):
    """params and n are set, and log_probs scores every token and the end token with them (trained on 100 paragraphs)"""
    model, n, params = _trained(LanguageModel, token_ids("train")[:100])
    for paragraph in (*_held_out(), _held_out()[0][:1], []):
        _assert_honest(paragraph, _log_probs(model, paragraph), _said_by(params, n, paragraph))


@visible(points=0.25)
def check_next_probabilities(LanguageModel):
    """next_probabilities agrees with params, and the same seed gives the same model (trained on 30 paragraphs)"""
    model, n, params = _trained(LanguageModel, token_ids("train")[:30])
    for paragraph in _held_out():
        T = len(paragraph)
        _assert_agrees(model, paragraph, _said_by(params, n, paragraph), [0, 1, 2, 3, T // 2, T])
    _, _, again = _trained(LanguageModel, token_ids("train")[:30])
    for name, one in params.items():
        same = one.shape == again[name].shape and torch.allclose(one, again[name], atol=1e-2)
        assert same, f"two models of the same text, both with a generator of seed 1, differ in {name}: take all chance from `generator`"


@lru_cache(maxsize=1)
def _measured(LanguageModel):
    """Train and measure once for both checks; returns the bits per byte, and what is not honest, if anything is not."""
    try:
        return _bits_per_byte(LanguageModel), ""
    except AssertionError as error:
        return math.inf, str(error)


def _bits_per_byte(LanguageModel):
    """Train on the training text; return the bits per byte of the validation text, all of it compared with the parameters."""
    model, n, params = _trained(LanguageModel, token_ids("train"), 7)
    bits, rng = 0.0, random.Random(3)
    for number, paragraph in enumerate(token_ids("validation")):
        log_probs, said = _log_probs(model, paragraph), _said_by(params, n, paragraph)
        _assert_honest(paragraph, log_probs, said)
        if number % 20 == 0:
            _assert_agrees(model, paragraph, said, rng.sample(range(len(paragraph) + 1), 2))
        bits -= log_probs.sum() / math.log(2)
    bits /= n_bytes("validation")
    assert bits > 1.7, f"the model needs {bits:.1f} bits per byte, less than a window model can after a minute: it has seen this text"
    return bits


@hidden(points=0.5)
def check_better_than_single_tokens(LanguageModel):
    """Honest, and at most 2.95 bits per byte on the validation text"""
    bits, problem = _measured(LanguageModel)
    assert not problem, problem
    advice = "counting single tokens gives 3.09, so it has learned little from the history: a larger learning rate, more steps"
    assert bits <= 2.95, f"the model needs {bits:.1f} bits per byte on the validation text, expected at most 2.95: {advice}"


@hidden(points=1)
def check_target(LanguageModel):
    """Honest, and at most 2.7 bits per byte on the validation text"""
    bits, problem = _measured(LanguageModel)
    assert not problem, problem
    advice = "plain steps with a learning rate of 3 and batches of 128 reach it on a third of the text"
    assert bits <= 2.7, f"the model needs {bits:.2f} bits per byte on the validation text, expected at most 2.7: {advice}"
