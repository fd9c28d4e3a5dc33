"""The n-gram model that later chapters compare with and mix in: sorted arrays of counts, smoothed, a whole text at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lmkit.cache import write_whole
from lmkit.errors import LmkitError

SMOOTHING = (
    "add-k",  # (count + k) / (total + k V), at the highest order alone; k = 0 is maximum likelihood
    "interpolated",  # a fixed mixture of maximum-likelihood estimates, `weights`: uniform, order 1, 2, …; orders that never saw their
    # history are left out and the other weights scaled up to one (Jelinek and Mercer 1980)
    "absolute",  # interpolated absolute discounting with one discount (Ney, Essen and Kneser 1994)
    "kneser-ney",  # the same with continuation counts in the lower orders (Kneser and Ney 1995; interpolated: Chen and Goodman 1999)
)


@dataclass(frozen=True)
class Level:
    """The counts of one order m. Its H histories of m - 1 tokens are numbered, its N n-grams sorted by history, then by token."""

    histories: np.ndarray  # (H,) sorted: number of the history without its first token, times V, plus that first token
    ngrams: np.ndarray  # (N,) sorted: number of the history, times V, plus the next token
    counts: np.ndarray  # (N,) how often each n-gram was counted
    totals: np.ndarray  # (H,) sum of the counts of each history
    followers: np.ndarray  # (H,) how many different tokens follow each history


class NgramModel:
    """An n-gram model of any order, trained on token ids. It is a language model as `lmkit.metrics.evaluate` wants one.

    paragraphs: token ids without end tokens, each read as order - 1 end tokens, its own tokens, and one end token.
    order >= 1; V: tokens in the vocabulary; end: id of the end token; smoothing: one of SMOOTHING, whose parameters are `k`
    (at least 0), `weights` (order + 1 of them) and `discount` (above 0, at most 1). They may be set anew on a model that has
    counted: every probability is computed when it is asked for.
    Errors: LmkitError for an unknown smoothing, a parameter out of range, or an id that is not in 0 … V - 1.
    """

    def __init__(
        self,
        paragraphs: Sequence[Sequence[int]],
        order: int,
        V: int,
        end: int,
        smoothing: str = "kneser-ney",
        discount: float = 0.75,
        *,
        k: float = 0.01,
        weights: Sequence[float] | None = None,
    ):
        self.order, self.V, self.end, self.smoothing = order, V, end, smoothing
        self.discount, self.k, self.weights = discount, k, weights
        _check_settings(self)
        self.levels = _count(_laid_out(paragraphs, self), V)
        if smoothing == "kneser-ney":
            self.levels = [_continuation(self.levels[m], self.levels[m + 1], V) for m in range(order - 1)] + self.levels[-1:]

    @property
    def parameters(self) -> int:
        """How many n-gram counts the model reads: those of the highest order for add-k, those of all orders otherwise."""
        return sum(len(level.ngrams) for level in (self.levels[-1:] if self.smoothing == "add-k" else self.levels))

    def log_probs(self, ids: Sequence[int]) -> np.ndarray:
        """T ids of one paragraph -> (T + 1,) natural log-probabilities, of each token and of the end token behind the last."""
        grams = _laid_out([ids], self)
        with np.errstate(divide="ignore"):  # maximum likelihood gives probabilities of 0: their logarithm is -inf
            return np.log(self.probabilities(grams[:, :-1], grams[:, -1]))

    def next_probabilities(self, history: Sequence[int]) -> np.ndarray:
        """P of every token after `history`, the tokens of the paragraph so far (none at its start) -> (V,), sum one"""
        context = _laid_out([history], self)[-1, :-1]
        return self.probabilities(np.tile(context, (self.V, 1)), np.arange(self.V))

    def probabilities(self, contexts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """P of each token after its context.   contexts: (N, L) ids, L <= order - 1; tokens: (N,) -> (N,)

        With contexts shorter than order - 1 the result is that of the order that uses all of them.
        """
        found = list(_look_up(self.levels, contexts, tokens, self.V))
        if self.smoothing == "add-k":
            counts, totals, _ = found[-1]
            return _ratio(counts + self.k, totals + self.k * self.V)
        if self.smoothing == "interpolated":
            return _mix(found, self.weights, self.V)
        return _discounted(found, self.discount, self.V)

    def sample(self, prompt: Sequence[int], max_tokens: int, temperature: float, generator: np.random.Generator) -> list[int]:
        """Continue a paragraph that begins with `prompt`: at most max_tokens new ids, without the end token that may end it.

        temperature > 0 divides the log-probabilities; 0 takes the most likely token (the lowest id of several).
        """
        ids = list(prompt)
        while len(ids) - len(prompt) < max_tokens:
            drawn = _draw(self.next_probabilities(ids), temperature, generator)
            if drawn == self.end:
                break
            ids.append(drawn)
        return ids[len(prompt) :]

    def save_arpa(self, path: str | Path) -> None:
        """Write the model in the ARPA format that kenlm and SRILM read: words t0 … t(V - 1), base-10 logarithms.

        The end token is the word t0 if its id is 0, and so on; the format's own <s>, </s> and <unk> stand there unused, as
        readers ask for them. To score a paragraph, give order - 1 end tokens as context first. The file appears whole or not at all.
        Errors: LmkitError for add-k and interpolated models, whose probabilities this format does not hold.
        """
        if self.smoothing not in ("absolute", "kneser-ney"):
            raise LmkitError(f"an ARPA file holds back-off models: use smoothing 'absolute' or 'kneser-ney', not {self.smoothing!r}")
        write_whole(Path(path), "".join(_arpa_lines(self)))


def _check_settings(model: NgramModel) -> None:
    if model.smoothing not in SMOOTHING:
        raise LmkitError(f"smoothing {model.smoothing!r} is unknown; the kinds are {', '.join(SMOOTHING)}")
    if model.order < 1:
        raise LmkitError(f"order is {model.order}: give at least 1, the unigram model")
    if not 0 < model.discount <= 1:
        raise LmkitError(f"discount is {model.discount}: give a number above 0 and at most 1")
    if model.k < 0:
        raise LmkitError(f"k is {model.k}: give 0 (maximum likelihood) or more")
    if model.smoothing == "interpolated":
        weights = [] if model.weights is None else list(model.weights)
        if len(weights) != model.order + 1 or min(weights) < 0 or abs(sum(weights) - 1) > 1e-9:
            raise LmkitError(f"weights are {weights}: give order + 1 = {model.order + 1} numbers, at least 0, with sum 1, uniform first")


def _laid_out(paragraphs: Sequence[Sequence[int]], model: NgramModel) -> np.ndarray:
    """All n-grams of the paragraphs, one a row: (N, order), N the number of tokens and of end tokens behind them."""
    padding, end = [np.full(model.order - 1, model.end)], [np.array([model.end])]
    rows = [np.empty((0, model.order), dtype=np.int64)]
    for paragraph in paragraphs:
        tokens = np.concatenate([*padding, np.asarray(paragraph, dtype=np.int64), *end])
        rows.append(np.lib.stride_tricks.sliding_window_view(tokens, model.order))
    grams = np.concatenate(rows)
    if len(grams) and not 0 <= grams.min() <= grams.max() < model.V:
        found = f"{grams.min()} … {grams.max()}"
        raise LmkitError(f"token ids must lie in 0 … {model.V - 1}, and here they lie in {found}: check V and the tokenizer")
    return grams


def _count(grams: np.ndarray, V: int) -> list[Level]:
    """The levels of orders 1 to n.   grams: (N, n)"""
    n = grams.shape[1]
    levels, number = [], np.zeros(len(grams), dtype=np.int64)  # number of the history of each row; the empty one is number 0
    histories = np.zeros(1, dtype=np.int64)
    for m in range(n):
        if m > 0:
            histories, number = np.unique(number * V + grams[:, n - 1 - m], return_inverse=True)
        ngrams, counts = np.unique(number * V + grams[:, -1], return_counts=True)
        levels.append(_level(histories, ngrams, counts, V))
    return levels


def _level(histories: np.ndarray, ngrams: np.ndarray, counts: np.ndarray, V: int) -> Level:
    of = ngrams // V
    totals = np.bincount(of, weights=counts, minlength=len(histories))
    return Level(histories, ngrams, counts.astype(float), totals, np.bincount(of, minlength=len(histories)).astype(float))


def _continuation(level: Level, longer: Level, V: int) -> Level:
    """The level with each count replaced by the number of different tokens before its n-gram.   longer: the next order"""
    shortened = longer.histories[longer.ngrams // V] // V * V + longer.ngrams % V  # each longer n-gram without its first token
    ngrams, counts = np.unique(shortened, return_counts=True)
    return _level(level.histories, ngrams, counts, V)


def _look_up(levels: Sequence[Level], contexts: np.ndarray, tokens: np.ndarray, V: int) -> Iterator[tuple[np.ndarray, ...]]:
    """For orders 1, 2, …: count of each n-gram, total of its history, followers of its history; 0 where never seen."""
    number = np.zeros(len(tokens), dtype=np.int64)
    for m, level in enumerate(levels[: contexts.shape[1] + 1]):
        if m > 0:
            number = _find(level.histories, np.where(number >= 0, number * V + contexts[:, -m], -1))
        ngram = _find(level.ngrams, np.where(number >= 0, number * V + tokens, -1))
        yield _take(level.counts, ngram), _take(level.totals, number), _take(level.followers, number)


def _find(codes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each wanted code stands in the sorted codes; -1 for one that is not there."""
    at = np.searchsorted(codes, wanted)
    at[at == len(codes)] = 0
    return np.where(codes[at] == wanted, at, -1) if len(codes) else np.full(len(wanted), -1)


def _take(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.where(at >= 0, values[at], 0.0) if len(values) else np.zeros(len(at))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, and 0 where below is 0."""
    return np.divide(above, below, out=np.zeros(len(above)), where=below > 0)


def _discounted(found: Sequence[tuple[np.ndarray, ...]], discount: float, V: int) -> np.ndarray:
    p = np.full(len(found[0][0]), 1 / V)
    for counts, totals, followers in found:
        mixed = np.maximum(counts - discount, 0) + discount * followers * p
        p = np.where(totals > 0, _ratio(mixed, totals), p)
    return p


def _mix(found: Sequence[tuple[np.ndarray, ...]], weights: Sequence[float], V: int) -> np.ndarray:
    mixed, used = np.full(len(found[0][0]), weights[0] / V), np.full(len(found[0][0]), weights[0])
    for weight, (counts, totals, _) in zip(weights[1:], found, strict=False):
        mixed += weight * _ratio(counts, totals)
        used += weight * (totals > 0)
    return np.where(used > 0, _ratio(mixed, used), 1 / V)


def _draw(p: np.ndarray, temperature: float, generator: np.random.Generator) -> int:
    if temperature == 0:
        return int(np.argmax(p))
    with np.errstate(divide="ignore"):
        scores = np.log(p) / temperature
    heights = np.cumsum(np.exp(scores - scores.max()))
    return int(np.searchsorted(heights, generator.random() * heights[-1], side="right"))


def _arpa_lines(model: NgramModel) -> Iterator[str]:
    blocks = [_arpa_block(model, m) for m in range(1, model.order + 1)]
    yield "\\data\\\n"
    for m, block in enumerate(blocks, start=1):
        yield f"ngram {m}={len(block)}\n"
    for m, block in enumerate(blocks, start=1):
        yield f"\n\\{m}-grams:\n"
        yield from block
    yield "\n\\end\\\n"


def _arpa_block(model: NgramModel, m: int) -> list[str]:
    """The lines of order m: log10 P, the words, and log10 of the weight of the order below where the m-gram is a history."""
    V, n = model.V, model.order
    level, start = model.levels[m - 1], np.full((1, m), model.end)
    grams = np.column_stack([_tokens(model.levels, m - 1, V)[level.ngrams // V], level.ngrams % V])
    if m == 1:
        grams = np.arange(V)[:, None]  # every token has a probability, also one never seen
    elif m < n and not (grams == model.end).all(axis=1).any():
        grams = np.concatenate([grams, start])  # the history at the start of a paragraph, which nobody counts as an n-gram
    scores = np.log10(model.probabilities(grams[:, :-1], grams[:, -1]))
    words = [" ".join(f"t{i}" for i in gram) for gram in grams.tolist()]
    above = {} if m == n else _backoffs(model, m)
    lines = ["-99\t<unk>\n", "-99\t<s>\t0\n", "-99\t</s>\n"] if m == 1 else []
    return lines + [f"{score:.7f}\t{word}{above.get(word, '')}\n" for score, word in zip(scores.tolist(), words, strict=True)]


def _backoffs(model: NgramModel, m: int) -> dict[str, str]:
    level = model.levels[m]
    weights = np.log10(model.discount * level.followers / level.totals).tolist()
    histories = _tokens(model.levels, m, model.V).tolist()
    return {" ".join(f"t{i}" for i in h): f"\t{weight:.7f}" for h, weight in zip(histories, weights, strict=True)}


def _tokens(levels: Sequence[Level], length: int, V: int) -> np.ndarray:
    """The tokens of all histories of a length, in the order of their numbers: (H, length)."""
    if length == 0:
        return np.zeros((1, 0), dtype=np.int64)
    codes = levels[length].histories
    return np.column_stack([codes % V, _tokens(levels, length - 1, V)[codes // V]])
