"""How well a model predicts text: perplexity and bits per byte, from the log-probability of every token."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lmkit.errors import LmkitError
from lmkit.progress import progress

ROUNDING = 1e-6  # a log-probability may be this much above 0 by rounding alone


class LanguageModel(Protocol):
    """What `evaluate` measures: anything that gives each token of a paragraph its probability."""

    def log_probs(self, ids: list[int]) -> Sequence[float]:
        """T token ids -> T + 1 values: ln p of each token given those before it, then ln p of the end token after the last."""


@dataclass(frozen=True, repr=False)
class Score:
    """What `evaluate` returns."""

    bits_per_byte: float
    perplexity: float
    n_tokens: int  # tokens predicted, end tokens included
    n_bytes: int  # UTF-8 bytes of the text, plus one for the end of each paragraph

    def __repr__(self) -> str:
        return (
            f"Score({self.bits_per_byte:.4f} bits per byte, perplexity {self.perplexity:.2f}; "
            f"{self.n_tokens:,} tokens, {self.n_bytes:,} bytes)"
        )


def perplexity(log_probs: Sequence[float]) -> float:
    """exp(-mean(log_probs)): the number of equally likely tokens that would be as hard to guess.

    log_probs: (N,) natural logarithms, one a token, as a list, a NumPy array or a tensor; N >= 1. -inf gives inf.
    Errors: LmkitError for no value, more than one dimension, NaN, or a value above 0 by more than 1e-6.
    """
    values = _checked(log_probs)
    try:
        return math.exp(-values.mean())
    except OverflowError:
        return math.inf


def bits_per_byte(log_probs: Sequence[float], n_bytes: int) -> float:
    """-sum(log_probs) / ln 2 / n_bytes: the bits that the model needs for a byte of text, whatever the tokens are.

    log_probs: as for `perplexity`. n_bytes: the length of the same text, `text_bytes(texts)`.
    Errors: as for `perplexity`, and LmkitError where n_bytes is not a whole number of at least 1.
    """
    n_bytes = _positive_int(n_bytes)
    return float(-_checked(log_probs).sum()) / math.log(2) / n_bytes + 0.0  # + 0.0: no minus zero


def text_bytes(texts: Iterable[str]) -> int:
    """UTF-8 bytes of the texts, plus one for the end of each. Errors: LmkitError for one string in place of a list."""
    if isinstance(texts, str):
        raise LmkitError("text_bytes takes a list of texts, and got one string: write text_bytes([text])")
    return sum(len(text.encode("utf-8")) + 1 for text in texts)


def evaluate(model: LanguageModel, split: str = "validation") -> Score:
    """Measure a model on every paragraph of a split of the book's corpus ("train", "validation" or "test").

    The model sees each paragraph on its own. A neural model is measured in the mode it is in: call `model.eval()` first.
    Errors: LmkitError where `log_probs` is missing, returns a wrong number of values, or values that are no log-probabilities.
    """
    from lmkit import tokenizer  # late: it loads much that perplexity does not need

    if not callable(getattr(model, "log_probs", None)):
        raise LmkitError(f"a {type(model).__name__} has no method log_probs(ids): give it one, or wrap it in a class that has")
    paragraphs = tokenizer.token_ids(split)
    parts = []
    for i, ids in enumerate(progress(paragraphs, unit=" paragraphs")):
        name = f"paragraph {i} of the {split} text: log_probs"
        values = _checked(model.log_probs(list(ids)), name)  # a copy: the model may use its argument up
        if len(values) != len(ids) + 1:
            raise LmkitError(
                f"{name} returned {len(values)} values for {len(ids)} tokens, expected {len(ids) + 1}: "
                "one for each token and one for the end token after them"
            )
        parts.append(values)
    values = np.concatenate(parts)
    n_bytes = tokenizer.n_bytes(split)
    return Score(bits_per_byte(values, n_bytes), perplexity(values), len(values), n_bytes)


def _checked(log_probs: object, name: str = "log_probs") -> np.ndarray:
    """The values as float64, (N,), none above 0; LmkitError where they are no log-probabilities."""
    values = _as_array(log_probs, name)
    if values.ndim != 1:
        raise LmkitError(f"{name} has shape {values.shape}: give one flat sequence, one value a token")
    if not len(values):
        raise LmkitError(f"{name} is empty: there is no token to average over")
    if np.isnan(values).any():
        raise LmkitError(f"{name}[{np.isnan(values).argmax()}] is NaN: look for 0 / 0, inf - inf or the logarithm of a negative number")
    if (values > ROUNDING).any():
        i = int((values > ROUNDING).argmax())
        hint = "; all values are positive: pass log-probabilities, not probabilities or losses" if (values > 0).all() else ""
        raise LmkitError(f"{name}[{i}] is {values[i]:.4g}, above 0, so its probability is above 1{hint}")
    return np.minimum(values, 0.0)


def _as_array(values: Any, name: str) -> np.ndarray:
    if hasattr(values, "detach"):  # a tensor; torch itself is not imported here
        values = values.detach().double().cpu().numpy()
    try:
        if isinstance(values, np.ndarray):
            return values.astype(np.float64)
        return np.array([float(value.detach() if hasattr(value, "detach") else value) for value in values], dtype=np.float64)
    except (TypeError, ValueError):
        raise LmkitError(f"{name} is not a flat sequence of numbers: give one natural logarithm of a probability a token") from None


def _positive_int(n_bytes: int) -> int:
    try:
        number = operator.index(n_bytes)
    except TypeError:
        number = 0
    if number < 1 or isinstance(n_bytes, bool):
        raise LmkitError(f"n_bytes is {n_bytes!r}: give the length of the text, a whole number of at least 1 (text_bytes counts it)")
    return number
