"""Chapter 2, n-grams: counting, smoothing, measuring and sampling."""

import math
from collections.abc import Callable, Sequence

import numpy as np

History = tuple[int, ...]
Counts = dict[History, dict[int, int]]  # history -> token -> count


def count_ngrams(paragraphs: list[list[int]], n: int, end: int) -> Counts:
    """Count how often each token follows each history of n - 1 tokens.

    n >= 1 -> history -> token -> count

    A paragraph is a list of token ids without its end token; it may be empty. It is read as
    n - 1 end tokens, its own tokens, and one end token: every token of the paragraph, and
    the end token behind it, is counted once as a next token; the end tokens in front are
    not. N-grams never cross from one paragraph to the next. No paragraphs give {}. Only
    what was seen is in the result: no zeros, no empty inner dictionaries. Outer and inner
    dictionaries may be of any kind (dict, Counter, defaultdict); every history is a tuple,
    for n = 1 the empty one. The paragraphs are not changed.
    """
    counts: Counts = {}
    for paragraph in paragraphs:
        tokens = [end] * (n - 1) + list(paragraph) + [end]
        for i in range(n - 1, len(tokens)):
            followers = counts.setdefault(tuple(tokens[i - n + 1 : i]), {})
            followers[tokens[i]] = followers.get(tokens[i], 0) + 1
    return counts


def add_k_probability(counts: Counts, history: History, token: int, k: float, V: int) -> float:
    """Probability of a token after a history, with k added to every count.

    k >= 0; V tokens in the vocabulary -> float

    (count of the token after the history + k) / (count of all tokens after it + k V).
    With k = 0 this is the maximum-likelihood estimate. A history never seen then leaves 0
    divided by 0, which we define as 0.0. The history is a key of the table as it stands,
    neither cut nor padded; the end token is one of the V tokens. `counts` stays as it is:
    looking up what is not there adds nothing. Source: Jurafsky and Martin, chapter 3.
    """
    followers = counts.get(history, {})
    total = sum(followers.values()) + k * V
    return (followers.get(token, 0) + k) / total if total > 0 else 0.0


def interpolated_probability(
    tables: Sequence[Counts], weights: Sequence[float], history: History, token: int, V: int
) -> float:
    """Mix the maximum-likelihood estimates of all orders and the uniform distribution.

    len(weights) = len(tables) + 1

    tables[i] holds the counts of order i + 1, whose histories have i tokens: there we look
    up the last i tokens of `history`, in tables[0] the empty history (). `history` has at
    least len(tables) - 1 tokens. weights[0] goes to the uniform distribution 1 / V,
    weights[i + 1] to tables[i]; they are at least 0 and sum to one. A table that does not
    hold its history has no estimate: it is left out, and the weights of the others (the
    uniform one among them) are divided by their sum, so that the result is a distribution
    for every history. If that sum is 0, the result is 1 / V. Nothing given is changed.
    Returns a float. Source: Jelinek and Mercer 1980.
    """
    mixed, weight_in_use = weights[0] / V, weights[0]
    for i, counts in enumerate(tables):
        followers = counts.get(tuple(history[len(history) - i :]), {})
        if followers:
            mixed += weights[i + 1] * followers.get(token, 0) / sum(followers.values())
            weight_in_use += weights[i + 1]
    return mixed / weight_in_use if weight_in_use > 0 else 1 / V


class KneserNey:
    """Interpolated Kneser-Ney smoothing with one discount.

    tables[i] holds the counts of order i + 1 (see count_ngrams), of which there are
    n = len(tables) >= 1; 0 < discount <= 1; V tokens in the vocabulary. The highest order keeps its counts. Each lower
    order, i + 1 < n, replaces them by continuation counts: the count of a token after a
    history becomes the number of different tokens that stand directly before (history,
    token) in tables[i + 1] as it was given, end tokens included; how often they stand there
    does not matter. What was given is not changed.
    Source: Kneser and Ney 1995; Chen and Goodman 1999.
    """

    def __init__(self, tables: Sequence[Counts], discount: float, V: int):
        """Build the n tables of counts that `probability` reads."""
        self.discount, self.V = discount, V
        self.tables: list[Counts] = []
        for counts in tables[1:]:
            continuation: Counts = {}
            for history, followers in counts.items():
                shorter = continuation.setdefault(history[1:], {})
                for token in followers:
                    shorter[token] = shorter.get(token, 0) + 1
            self.tables.append(continuation)
        self.tables.append(tables[-1])
        self.totals = [{history: sum(f.values()) for history, f in table.items()} for table in self.tables]

    def probability(self, history: History, token: int) -> float:
        """P(token | history), a float.

        `history` is a tuple of any length, also (); only its last n - 1 tokens count.

        Start below the unigrams with 1 / V. Then, from the shortest history to the longest:
        (max(count - discount, 0) + discount * distinct followers * P of the order below)
        / total count, all of them counted after that history.
        An order that has never seen its history passes on the P of the order below. A
        history of fewer than n - 1 tokens stops at the order that uses all of it.
        """
        p = 1 / self.V
        for i in range(min(len(self.tables), len(history) + 1)):
            context = tuple(history[len(history) - i :])
            followers = self.tables[i].get(context)
            if followers:
                kept = max(followers.get(token, 0) - self.discount, 0.0)
                p = (kept + self.discount * len(followers) * p) / self.totals[i][context]
        return p


def perplexity_and_bits_per_byte(log_probs: Sequence[float], n_bytes: int) -> tuple[float, float]:
    """Both measures of a text.

    log_probs: list or array of natural logarithms, one a token, at least one; n_bytes >= 1

    Returns (perplexity, bits per byte), two floats. Perplexity: e to the power of minus the
    mean log-probability of a token. Bits per byte: minus the sum of the base-2 logarithms,
    divided by the bytes of the text. A token of probability 0 (log-probability -inf) makes
    both infinite; a perplexity too large for a float may be inf too.
    """
    total = -float(sum(log_probs))
    per_token = total / len(log_probs)
    perplexity = math.exp(per_token) if per_token < 700 else math.inf  # e ** 710 is no float any more
    return perplexity, total / math.log(2) / n_bytes


def generate(
    next_probabilities: Callable[[History], np.ndarray],
    prompt: list[int],
    max_tokens: int,
    temperature: float,
    end: int,
    generator: np.random.Generator,
) -> list[int]:
    """Continue a prompt token by token; return the new tokens only.

    next_probabilities: history -> (V,), sums to one

    Each turn asks for the distribution after everything so far (the prompt and the new
    tokens, as one tuple of ints), raises it to the power 1 / temperature, divides by the
    sum, and draws one token with `generator`. The temperature is 0 or at least 0.001; at 0
    the most likely token is taken, of equally likely ones the lowest id. Stops after
    max_tokens new tokens (0 gives []), or when the end token comes up; the end token is not
    returned. A token of probability 0 is never drawn, at any temperature. The prompt may be
    empty; it and the arrays that next_probabilities returns are not changed. Returns a list
    of ints; NumPy's integers will do as well as Python's, here and in the histories.
    """
    new: list[int] = []
    while len(new) < max_tokens:
        p = np.asarray(next_probabilities((*prompt, *new)), dtype=float)
        if temperature == 0:
            token = int(p.argmax())
        else:
            sharpened = (p / p.max()) ** (1 / temperature)  # the largest is 1: low temperatures do not underflow to 0 / 0
            token = int(generator.choice(len(p), p=sharpened / sharpened.sum()))
        if token == end:
            break
        new.append(token)
    return new


class LanguageModel:
    """A language model trained on text and measured on held-out text: reach 1.86 bits per byte or less.

    Any model will do that you wrote yourself and whose probabilities are honest: those of
    all V tokens after a history sum to one, and a token's probability depends on the
    training text and on the tokens before it in its own paragraph only, never on those
    after it, nor on what was scored before. No token has probability 0.
    """

    def __init__(self, paragraphs: list[list[int]], V: int, end: int):
        """Train, in at most 60 seconds.   paragraphs: token ids without end tokens"""
        self.V, self.end, self.n = V, end, 4
        tables = [count_ngrams(paragraphs, order, end) for order in range(1, self.n + 1)]
        self.model = KneserNey(tables, discount=0.75, V=V)

    def log_probs(self, paragraph: list[int]) -> list[float]:
        """Natural log-probability of each token and of the end token behind the last.

        len(paragraph) + 1 floats, list or array
        """
        padding = [self.end] * (self.n - 1)
        tokens = [*padding, *paragraph, self.end]
        positions = range(len(padding), len(tokens))
        return [math.log(self.model.probability(tuple(tokens[i - self.n + 1 : i]), tokens[i])) for i in positions]

    def next_probabilities(self, history: History) -> np.ndarray:
        """P of every token after the history.

        history: all tokens of the paragraph so far, () at its start -> (V,), sums to one
        """
        padded = (*[self.end] * (self.n - 1), *history)
        return np.array([self.model.probability(padded, token) for token in range(self.V)])
