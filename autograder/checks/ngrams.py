"""Checks of the exercises of chapter 2, n-grams."""

import math
import random
from collections import defaultdict
from functools import lru_cache
from itertools import pairwise
from numbers import Integral, Real

import numpy as np

from lmkit.check import hidden, visible
from lmkit.compare import ask, numbers, shown
from lmkit.tokenizer import END_ID, VOCAB_SIZE, n_bytes, token_ids

HIDES = ("lmkit.ngram",)  # while work is graded: it holds what exercise 2.7 asks for

_TOLERANCE = 1e-6  # relative: single precision passes, a wrong formula does not


def _assert_number(what, got, want, slips=()):
    """Compare a number with the right one. slips: pairs (the number that a usual mistake gives, what to say of it)."""
    kind = ": make it a number with float(…)" if isinstance(got, np.ndarray) and got.size == 1 else ""
    assert isinstance(got, Real), f"{what}: expected a number, got {shown(got)}{kind}"
    if not math.isclose(got, want, rel_tol=_TOLERANCE, abs_tol=1e-12):
        known = [f": {advice}" for slip, advice in slips if math.isclose(got, slip, rel_tol=_TOLERANCE, abs_tol=1e-12)]
        digits = 7 if abs(got - want) < 1e-3 else 4
        if not known and digits == 7 and got in [round(want, places) for places in range(1, 7)]:
            known = [": do not round"]
        raise AssertionError(f"{what} is {float(got):.{digits}f}, expected {want:.{digits}f}{''.join(known[:1])}")


# 2.1 Count


def _assert_counts(what, got, want, n, end):
    """Compare a table of counts with the right one. The first difference is told, and the mistake that usually makes it."""
    assert isinstance(got, dict), f"{what}: expected a dictionary, history -> token -> count, got {shown(got)}"
    for history, followers in got.items():
        found = f"{what}: after the history {history!r} you have {followers!r:.100}"
        shape = "the result is a dictionary of dictionaries, history -> token -> count"
        assert isinstance(followers, dict), f"{what}: under {history!r} you have {followers!r:.100}, expected a dictionary; {shape}"
        assert isinstance(history, tuple), f"{found}; expected the history as a tuple{', the empty one, ()' if n == 1 else ''}"
        assert len(history) == n - 1, f"{found}; every history is a tuple of n - 1 = {n - 1} ids, also at the start of a paragraph"
        zeros = [token for token, count in followers.items() if not count]
        assert not zeros, f"{found}; token {zeros[0]} has the count 0: what was seen counts 1 at least, what was never seen has no entry"
        assert not any(isinstance(count, float) for count in followers.values()), f"{found}; expected counts, whole numbers: do not divide"
        turned = "is the order of the history reversed?" if history not in want and history[::-1] in want else ""
        crosses = any(token != end == following for token, following in pairwise(history))
        assert not crosses, f"{found}; no n-gram crosses from one paragraph to the next{f'; or {turned}' if turned else ''}"
        assert history in want, f"{found}; the text has no such history{f': {turned}' if turned else ''}"
    for history, followers in want.items():
        start = f"; the first tokens of a paragraph come after n - 1 = {n - 1} end tokens" if end in history else ""
        assert history in got, f"{what}: the history {history} is missing, expected {{{history}: {followers}}} in the result{start}"
        found = dict(got[history])
        hint = _hint_on_counts(found, followers, n, end)
        assert found == followers, f"{what}: after the history {history} you have {found}, expected {followers}{hint}"


def _hint_on_counts(found, followers, n, end):
    """The usual mistake behind wrong counts after a history; the end token is blamed only where all other counts are right."""
    others_agree = all(found.get(token, 0) == followers.get(token, 0) for token in {*found, *followers} - {end})
    if others_agree and found.get(end, 0) < followers.get(end, 0):
        return f"; the end token {end} behind each paragraph is counted as a next token too"
    if others_agree and found.get(end, 0) > followers.get(end, 0):
        return f"; the n - 1 = {n - 1} end tokens in front are history only, the one end token behind the paragraph is counted"
    if found.keys() == followers.keys() and all(found[token] == followers[token] + 1 for token in found):
        return "; each count is one too many: a token that was not seen yet has the count 0"
    if all(count <= followers.get(token, 0) for token, count in found.items()):
        return "; some are lost: is the inner dictionary made anew each time, or does `return` stand inside a loop?"
    return ""


@visible(points=0.5)
def check_bigrams(count_ngrams):
    """Bigrams of the worked example"""
    got = count_ngrams([[1, 2, 1], [1, 2]], 2, 0)
    _assert_counts("[[1, 2, 1], [1, 2]] with n = 2", got, {(0,): {1: 2}, (1,): {2: 2, 0: 1}, (2,): {1: 1, 0: 1}}, 2, 0)


@visible(points=0.5)
def check_unigrams_and_trigrams(count_ngrams):
    """Unigrams and trigrams of the worked example, and another end token"""
    trigrams = {(0, 0): {1: 2}, (0, 1): {2: 2}, (1, 2): {1: 1, 0: 1}, (2, 1): {0: 1}}
    for n, want in ((1, {(): {1: 3, 2: 2, 0: 2}}), (3, trigrams)):
        _assert_counts(f"[[1, 2, 1], [1, 2]] with n = {n}", count_ngrams([[1, 2, 1], [1, 2]], n, 0), want, n, 0)
    _assert_counts("[[3]] with n = 2 and end = 9", count_ngrams([[3]], 2, 9), {(9,): {3: 1}, (3,): {9: 1}}, 2, 9)


@hidden(points=0.5)
def check_edges_of_counting(count_ngrams):
    """No paragraphs, empty and short paragraphs, another end token, the input left as it was"""
    got = count_ngrams([], 3, 0)
    assert got == {}, f"no paragraphs with n = 3: expected an empty dictionary, got {shown(got)}"
    _assert_counts("one empty paragraph, [[]], with n = 3", count_ngrams([[]], 3, 0), {(0, 0): {0: 1}}, 3, 0)
    _assert_counts("[[3]] with n = 4 and end = 7", count_ngrams([[3]], 4, 7), {(7, 7, 7): {3: 1}, (7, 7, 3): {7: 1}}, 4, 7)
    paragraphs = [[4, 5], [], [5]]
    count_ngrams(paragraphs, 3, 9)
    assert paragraphs == [[4, 5], [], [5]], f"the paragraphs [[4, 5], [], [5]] have become {paragraphs}: pad a copy"


@hidden(points=0.5)
def check_tables_of_real_text(count_ngrams):
    """Sixty paragraphs of real text: every order adds up to the one below"""
    paragraphs = token_ids("train")[:60]
    size = sum(len(paragraph) + 1 for paragraph in paragraphs)
    below = {}
    for n in (1, 2, 3, 4):
        table = count_ngrams(paragraphs, n, END_ID)
        total = sum(sum(followers.values()) for followers in table.values())
        assert total == size, f"n = {n}: the counts add up to {total:,}; the text has {size:,} tokens, one end token a paragraph included"
        merged = defaultdict(lambda: defaultdict(int))  # the same counts without the first token of each history
        for history, followers in table.items():
            for token, count in followers.items():
                merged[history[1:]][token] += count
        for history, followers in below.items():
            longer = merged[history]
            token = next((one for one in {*longer, *followers} if longer.get(one, 0) != followers.get(one, 0)), None)
            assert token is None, (
                f"with n = {n - 1} you count the token {token} {followers.get(token, 0)} times after the history {history}, "
                f"but with n = {n} {longer.get(token, 0)} times after all histories that end so"
            )
        below = table


# 2.2 Add k


@visible(points=0.5)
def check_added_counts(add_k_probability):
    """The worked example: counts 2 and 1, k = 0.5, V = 4"""
    slips = {
        2: (
            (0.0, "divide with /, not with //"),
            (2 / 3, "this is the estimate without k"),
            (2.5 / 3, "k is added to the count of every token, so the total grows too"),
            (2.5 / 3.5, "k is added for each of the V tokens: the total grows by k V, not by k"),
            (2.5 / 4, "the total is the sum of the counts, 3, and k for each of the V = 4 tokens"),
            (2 / 5, "k is missing above the line"),
            (2.5 / 7, "the total grows by k V = 2, not by V = 4"),
            (2 + 0.5 / 5, "brackets are missing: (count + k) / total"),
            (1 / 4, "this is 1 / V, as after a history never seen; look up the whole tuple, counts.get(history, {})"),
            (2.5 / 3 + 2, "brackets are missing: the total is (sum of the counts + k V)"),
        ),
        3: ((0.0, "a token never seen after this history has the count 0 + k"),),
    }
    for token, want in ((2, 0.5), (0, 0.3), (3, 0.1)):
        got = add_k_probability({(1,): {2: 2, 0: 1}}, (1,), token, 0.5, 4)
        _assert_number(f"counts {{(1,): {{2: 2, 0: 1}}}}, k = 0.5, V = 4: P({token} | 1)", got, want, slips.get(token, ()))


@visible(points=0.5)
def check_without_smoothing(add_k_probability):
    """k = 0 is maximum likelihood, and a history never seen has an answer"""
    rows = (
        (1, 2, 0, 2 / 3, "2 of 3"),
        (1, 3, 0, 0.0, "0 of 3"),
        (3, 2, 0.05, 0.25, "history 3 was never seen: k / (k V) = 1 / V"),
        (3, 2, 0, 0.0, "history 3 was never seen: 0 / 0 is defined as 0.0"),
    )
    for history, token, k, want, why in rows:
        what = f"counts {{(1,): {{2: 2, 0: 1}}}}, k = {k}, V = 4: P({token} | {history}) ({why})"
        got = ask(what, add_k_probability, {(1,): {2: 2, 0: 1}}, (history,), token, k, 4)
        _assert_number(what, got, want)


@hidden(points=0.5)
def check_added_counts_sum_to_one(add_k_probability):
    """The probabilities of all V tokens sum to one after every history"""
    tables = {(): {0: 5, 3: 1}, (4, 4): {1: 7}, (4, 2): {0: 1, 1: 2, 2: 3, 3: 4, 4: 5}}, {(): {2: 9}, (4, 4): {0: 1, 3: 1}}
    for counts, history in ((table, history) for table in tables for history in table):
        for k in (0, 0.01, 2.5):
            total = float(sum(add_k_probability(counts, history, token, k, 5) for token in range(5)))
            message = f"counts {counts}, k = {k}, V = 5: the probabilities after {history} sum to {total:.4f}, expected 1"
            assert math.isclose(total, 1, rel_tol=_TOLERANCE), message


@hidden(points=0.5)
def check_lookup_adds_nothing(add_k_probability):
    """Looking up what is not there adds nothing to the counts"""
    counts = defaultdict(lambda: defaultdict(int), {(1,): defaultdict(int, {2: 2})})
    for history, token in ((1, 3), (3, 2)):
        add_k_probability(counts, (history,), token, 0.5, 4)
        now = {key: dict(followers) for key, followers in counts.items()}
        advice = "look up with .get(key, default), which adds nothing, not even to a defaultdict"
        assert now == {(1,): {2: 2}}, f"asked for P({token} | {history}), the counts {{(1,): {{2: 2}}}} have become {now}: {advice}"


# 2.3 Interpolate


def _two_tables():
    """The unigrams and bigrams of [1, 2, 1] and [1, 2]."""
    return [{(): {1: 3, 2: 2, 0: 2}}, {(0,): {1: 2}, (1,): {2: 2, 0: 1}, (2,): {1: 1, 0: 1}}]


@visible(points=0.5)
def check_mixture(interpolated_probability):
    """The worked example: weights 0.2, 0.35, 0.45 after history 1, which every order knows"""
    known = ((0.2 / 0.55, "the bigrams hold history 1, so they have an estimate of every token; where they have no count it is 0"),)
    slips = (
        (0.2 / 4 + 0.2 * 2 / 7 + 0.35 * 2 / 3, "tables[i] has the weight weights[i + 1]"),
        ((0.2 / 4 + 0.2 * 2 / 7 + 0.35 * 2 / 3) / 0.75, "tables[i] has the weight weights[i + 1]"),
        (0.05 + 0.35 * 2 / 3 + 0.45, "divide each count by the sum of the counts after the history, not by the number of different tokens"),
        (2 / 3, "this is the bigrams' estimate alone; mix those of all orders and 1 / V"),
        (0.3, "this is the bigrams' part alone; add those of the unigrams and of 1 / V"),
        (0.45 / 4 + 0.35 * 2 / 7 + 0.2 * 2 / 3, "the weights are in the wrong order; weights[0] goes to 1 / V, weights[2] to the bigrams"),
        (0.2 * 2 / 7 + 0.35 * 2 / 3 + 0.45 / 4, "weights[0] goes to 1 / V, weights[1] to the unigrams, weights[2] to the bigrams"),
        (0.4, "the uniform part, weights[0] / V = 0.05, is missing"),
        (0.6, "the uniform distribution gives each token 1 / V, not 1"),
        (0.45 / 0.8, "the uniform distribution always has an estimate: its weight is in use too"),
        (0.35, "the unigrams are missing; their history is ()"),
        (0.35 / 0.65, "the unigrams were not found; their history is (), and history[-0:] is the whole history"),
        (0.15 / 0.55, "the bigrams are missing; their history is (1,)"),
        (0.05 / 0.2, "this is 1 / V alone: no table was found; table i wants the last i tokens, as a tuple"),
    )
    for token, want in ((2, 0.45), (0, 0.3), (1, 0.2), (3, 0.05)):
        got = interpolated_probability(_two_tables(), [0.2, 0.35, 0.45], (1,), token, 4)
        _assert_number(f"the tables of the example: P({token} | 1)", got, want, slips if token == 2 else known)


@visible(points=0.25)
def check_longer_history(interpolated_probability):
    """A longer history: each table looks up the last tokens only"""
    slips = (
        (0.35 / 0.65, "the unigrams were not found; their history is (), the empty one"),
        (0.15 / 0.55, "the bigrams were not found; their history is the last token alone, (1,)"),
        (0.05 + 0.1, "the bigrams looked up the first token of the history; they want the last one, (1,)"),
        (0.05 / 0.2, "no table was found; table i wants the last i tokens, as a tuple"),
    )
    for history in ((2, 1), (0, 2, 1)):
        got = interpolated_probability(_two_tables(), [0.2, 0.35, 0.45], history, 2, 4)
        _assert_number(f"the tables of the example: P(2 | {history})", got, 0.45, slips)


@visible(points=0.25)
def check_unknown_history(interpolated_probability):
    """The worked example after history 3, which is in no bigram"""
    slips = (
        (0.15, "the bigrams have no estimate, so divide by the weights in use, 0.2 + 0.35"),
        (0.05 + 0.8 * 2 / 7, "divide by the weights in use; the bigrams' weight does not go to the unigrams alone"),
        (0.15 + 0.45 / 4, "divide by the weights in use; the bigrams' weight does not go to 1 / V alone"),
        (2 / 7, "this is the unigrams' estimate alone; 1 / V always has an estimate too, and its weight is in use"),
        (0.05 / 0.2, "this is 1 / V alone; the unigrams have an estimate too: their history is (), the empty one"),
    )
    for weights, want in (([0.2, 0.35, 0.45], 3 / 11), ([0.0, 0.0, 1.0], 1 / 4)):
        what = f"the tables of the example, weights {weights}, history 3 never seen: P(2 | 3)"
        _assert_number(what, ask(what, interpolated_probability, _two_tables(), weights, (3,), 2, 4), want, slips)


def _with_trigrams():
    """The unigrams, bigrams and trigrams of [1, 2, 1] and [1, 2]."""
    return [*_two_tables(), {(0, 0): {1: 2}, (0, 1): {2: 2}, (1, 2): {1: 1, 0: 1}, (2, 1): {0: 1}}]


@hidden(points=0.5)
def check_unknown_histories_of_trigrams(interpolated_probability):
    """Histories that some of three tables do not hold: sums of one, and the tables and the weights left as they were"""
    tables, weights = _with_trigrams(), [0.1, 0.2, 0.3, 0.4]
    for history in ((4, 1), (1, 4), (4, 4)):
        total = sum(interpolated_probability(tables, weights, history, token, 5) for token in range(5))
        assert math.isclose(total, 1, rel_tol=_TOLERANCE), f"three orders, V = 5: the probabilities after {history} sum to {total:.4f}"
        now = [{key: dict(followers) for key, followers in table.items()} for table in tables]
        assert now == _with_trigrams(), f"after P(. | {history}) the tables have become {now}: look up with .get(key, default)"
        advice = "leave a table out without a change to the list: the next history may be in it"
        assert weights == [0.1, 0.2, 0.3, 0.4], f"after P(. | {history}) the weights 0.1, 0.2, 0.3, 0.4 have become {weights}: {advice}"


@hidden(points=0.5)
def check_three_orders_mixed(interpolated_probability):
    """Three orders with another V: one value by hand, and sums of one"""
    got = interpolated_probability(_with_trigrams(), [0.1, 0.2, 0.3, 0.4], (1, 2), 0, 5)
    want = 0.1 / 5 + 0.2 * 2 / 7 + 0.3 / 2 + 0.4 / 2
    _assert_number("orders 1 to 3 of [1, 2, 1], [1, 2], weights 0.1, 0.2, 0.3, 0.4, V = 5: P(0 | (1, 2))", got, want)
    for weights in ([0.0, 0.5, 0.0, 0.5], [0.25, 0.0, 0.75, 0.0], [1.0, 0.0, 0.0, 0.0]):
        for history in ((0, 0), (2, 1), (2, 0, 1)):
            total = sum(interpolated_probability(_with_trigrams(), weights, history, token, 5) for token in range(5))
            message = f"three orders, V = 5, weights {weights}: the probabilities after {history} sum to {total:.4f}, expected 1"
            assert math.isclose(total, 1, rel_tol=_TOLERANCE), message


# 2.4 Kneser-Ney


def _york_tables():
    """new york, three times; we must; they must. Tokens: 0 the end, 1 new, 2 york, 3 we, 4 must, 5 they."""
    bigrams = {(0,): {1: 3, 3: 1, 5: 1}, (1,): {2: 3}, (2,): {0: 3}, (3,): {4: 1}, (4,): {0: 2}, (5,): {4: 1}}
    return [{(): {0: 5, 1: 3, 2: 3, 3: 1, 4: 2, 5: 1}}, bigrams]


@visible(points=0.75)
def check_continuation_counts(KneserNey):
    """The worked example without a history: after how many different tokens?"""
    model = KneserNey(_york_tables(), 0.5, 50)
    slips = (
        (2.56 / 15, "york counts 3 of 15, as often as it occurs; count the different tokens before it, 1 of 8"),
        (0.5 / 8, "the discounts, 0.5 from each of 6 different tokens, must come back; below the unigrams stands P_0 = 1 / V, not 0"),
        (3.5 / 8, "the order below the unigrams gives each token 1 / V = 0.02"),
        (0.58 / 8, "6 different tokens were seen, and each gave up 0.5; 8 is the total count"),
        (0.51 / 8, "6 different tokens gave up 0.5 each: P of the order below has the weight 0.5 times N = 6"),
        (1 / 8, "either 0.5 is not taken off every count, or P_0 is 1 / 6, of the tokens that were seen; it is 1 / V = 1 / 50"),
        (0.55 / 6, "the end token is a token like the others: after 2 different tokens, so the total is 8 and N = 6"),
        (0.53 / 5, "an end token in front of a paragraph is a token before the first one too; 8 different bigrams, not 5"),
        (0.56 / 6, "divide by the total of the continuation counts, 8, not by the number of different tokens, 6"),
        (0.02, "this is 1 / V: the unigrams are not used; the key of their table is (), the empty tuple"),
        (0.021, "this is P(2 | 0), as if an end token stood in front; () is a history too: do not pad it"),
    )
    others = (
        (0.56 / 8, "must stands after two different tokens, we and they; count the tokens before it, not those after it"),
        (-0.44 / 8, "a token with the count 0 keeps 0, not -0.5: max(count - discount, 0)"),
    )
    for word, token, want in (("york", 2, 0.07), ("must", 4, 0.195), ("never seen", 6, 0.0075)):
        what = f"York example, discount 0.5, V = 50: P({token}), token {token} ({word}) after the empty history ()"
        _assert_number(what, ask(what, model.probability, (), token), want, slips if token == 2 else others)


@visible(points=0.75)
def check_highest_order(KneserNey):
    """The worked example after one token: the highest order keeps its counts"""
    model = KneserNey(_york_tables(), 0.5, 50)
    slips = (
        (0.535, "york counts 1 after new; the highest order keeps the counts that were given, here 3"),
        (2.5 / 3, "the discount must come back: 0.5 times 1 different follower times P of the order below"),
        (2.605 / 3, "P of the order below is weighted by the discount times the number of different followers, 1, not by their total, 3"),
        (2.535, "divide by the total count after new, 3"),
        (2.5 / 3 + 0.07, "P of the order below has the weight discount times different followers / total, 0.5 / 3"),
        ((2.5 + 0.5 * 2.56 / 15) / 3, "P of the order below, P(york), should be 0.07, from continuation counts"),
        (2.51 / 3, "P of the order below is 1 / V here, not P(york) = 0.07: the unigrams' history is (), and history[-0:] is everything"),
        (0.07, "this is P(york), of the order below; the bigrams hold the history (1,)"),
        (3.035 / 3, "the discount is not taken off"),
    )
    negative = tuple((number, "a token with the count 0 keeps 0, not -0.5: max(count - discount, 0)") for number in (-0.4025 / 3, -0.465))
    for words, history, token, want in (
        ("york after new", 1, 2, 0.845),
        ("must after new", 1, 4, 0.0325),
        ("must after we", 3, 4, 0.5975),
        ("york after we", 3, 2, 0.035),
    ):
        what = f"York example, discount 0.5, V = 50, {words}: P({token} | {history})"
        got = ask(what, model.probability, (history,), token)
        _assert_number(what, got, want, slips if token == 2 and history == 1 else negative)


def _york_trigrams():
    """The counts of the York example, orders 1 to 3."""
    after_two = {(0, 0): {1: 3, 3: 1, 5: 1}, (0, 1): {2: 3}, (1, 2): {0: 3}, (0, 3): {4: 1}, (3, 4): {0: 1}, (0, 5): {4: 1}, (5, 4): {0: 1}}
    return [*_york_tables(), after_two]


@visible(points=0.5)
def check_trigrams_of_the_example(KneserNey):
    """The worked example with trigrams: the middle order, and histories that are short, long or never seen"""
    model = KneserNey(_york_trigrams(), 0.5, 50)
    raw = "below the highest order york counts 1 after new, for one token stands before new york; not the 3 of the given bigrams"
    summed = "york stands after one different token in the given bigrams, as with n = 2; do not add up continuation counts"
    dropped = "to count what stands before, take the first token off a history, v h -> h, not the last"
    below = "P of the order below is P(york | new) = 0.535, of the bigrams, not P(york) = 0.07"
    first = "a shorter history lacks the first tokens of the longer one, and keeps the last"
    for history, want, why, slips in (
        ((), 0.07, "no history", ((0.56 / 9, summed),)),
        ((1,), 0.535, "the middle order", ((0.845, raw), (0.035, dropped))),
        ((0, 1), 0.9225, "the highest order", ((0.845, below), (2.5175 / 3, first))),
        ((5, 1), 0.535, "never seen, so P is that of the order below, after (1,)", ((0.035, first), (0.07, below))),
        ((5, 0, 0, 1), 0.9225, "only the last two tokens count", ((0.535, "look up the last two tokens, (0, 1), not the whole history"),)),
        ((1, 6), 0.07, "neither (1, 6) nor (6,) was seen", ((0.535, first),)),
    ):
        what = f"York example with n = 3, discount 0.5, V = 50: P(2 | {history}) ({why})"
        _assert_number(what, ask(what, model.probability, history, 2), want, slips)


def _three_tables():
    """The counts of [1, 2], [1, 2] and [3, 1, 2], orders 1 to 3."""
    return [
        {(): {0: 3, 1: 3, 2: 3, 3: 1}},
        {(0,): {1: 2, 3: 1}, (1,): {2: 3}, (2,): {0: 3}, (3,): {1: 1}},
        {(0, 0): {1: 2, 3: 1}, (0, 1): {2: 2}, (1, 2): {0: 3}, (0, 3): {1: 1}, (3, 1): {2: 1}},
    ]


@hidden(points=1)
def check_long_and_unseen_histories(KneserNey):
    """Histories that are longer than n - 1, or that the highest order has never seen"""
    model = KneserNey(_york_tables(), 0.5, 50)
    for history, token, want, why in (
        ((6,), 4, 0.195, "never seen, so P is that of the order below"),
        ((0, 0), 4, 0.0585, "only the last token counts at order 2"),
        ((5, 3, 1), 2, 0.845, "only the last token counts at order 2"),
        ((1, 6), 2, 0.07, "only the last token counts at order 2; it was never seen"),
    ):
        what = f"York example, discount 0.5, V = 50: P({token} | {history}) ({why})"
        _assert_number(what, ask(what, model.probability, history, token), want)
    model = KneserNey(_three_tables(), 0.5, 7)
    for history in ((6, 1), (1, 6), (6, 6), (6, 0, 1)):
        total = sum(model.probability(history, token) for token in range(7))
        assert math.isclose(total, 1, rel_tol=_TOLERANCE), f"n = 3, V = 7: the probabilities after {history} sum to {total:.4f}, expected 1"


@hidden(points=1)
def check_three_orders(KneserNey):
    """Three orders by hand: the middle order counts continuations too; another discount, and another model made later"""
    model, other = (KneserNey(_three_tables(), discount, 5) for discount in (0.5, 0.75))
    KneserNey(_york_tables(), 0.75, 50)  # made later, it changes nothing in these two
    later = "a model made later has changed this one: keep what belongs to one model in `self`"
    slips = (
        *((number, later) for number in (0.17, 0.1375, 0.0425)),
        ((2.5 + 0.5 * 0.18) / 3, "the bigram (1, 2) counts 3; below the highest order, count the different tokens before it: 0 and 3"),
        (1.9 / 6, "one different token stands before 2 in the given bigrams; do not add up continuation counts"),
    )
    for history, token, want in (
        ((), 2, 0.18),
        ((1,), 2, 0.795),
        ((0, 1), 2, 0.94875),
        ((3, 1), 2, 0.8975),
        ((0, 0), 3, 0.28),
        ((0, 0), 4, 0.04 / 3),
    ):
        what = f"orders 1 to 3 of [1, 2], [1, 2], [3, 1, 2], discount 0.5, V = 5: P({token} | {history})"
        _assert_number(what, model.probability(history, token), want, slips)
    for history, want, half in (((), 0.17, 0.18), ((1,), 0.68875, 0.795), ((0, 1), 0.88328125, 0.94875)):
        what = f"orders 1 to 3 of [1, 2], [1, 2], [3, 1, 2], discount 0.75, V = 5: P(2 | {history})"
        given = ((half, "this is what the discount 0.5 gives; use the one that is given"),)
        _assert_number(what, other.probability(history, 2), want, given)


@hidden(points=0.5)
def check_sums_to_one(KneserNey):
    """The probabilities of all V tokens sum to one, for every order and discount"""
    for tables in (_york_tables()[:1], _york_tables(), _three_tables()):
        for discount in (0.1, 0.75, 1.0):
            model = KneserNey(tables, discount, 7)
            for history in ((), (0,), (1,), (0, 0), (0, 1), (3, 1), (1, 2)):
                p = [model.probability(history, token) for token in range(7)]
                what = f"n = {len(tables)}, discount {discount}, V = 7: after {history}"
                assert min(p) >= 0, f"{what} token {p.index(min(p))} has the probability {min(p):.4f}, below 0"
                assert math.isclose(sum(p), 1, rel_tol=_TOLERANCE), f"{what} the probabilities sum to {sum(p):.4f}, expected 1"


@hidden(points=0.5)
def check_one_order_and_input(KneserNey):
    """A single table keeps its counts; the given tables stay as they are"""
    got = KneserNey(_york_tables()[:1], 0.5, 50).probability((), 2)
    slips = ((0.07, "the only table is the highest order: it keeps its counts"),)
    _assert_number("the unigrams of the York example alone, discount 0.5, V = 50: P(york)", got, 2.56 / 15, slips)
    tables = [defaultdict(lambda: defaultdict(int), {h: defaultdict(int, f) for h, f in table.items()}) for table in _three_tables()]
    model = KneserNey(tables, 0.5, 5)
    for history in ((0, 1), (4, 1)):
        model.probability(history, 4)
    now = [{h: dict(f) for h, f in table.items()} for table in tables]
    for order, (was, is_now) in enumerate(zip(_three_tables(), now, strict=True), start=1):
        assert is_now == was, f"the table of order {order} was {was} and is now {is_now}: build new tables, look up with .get"


# 2.5 Measure


def _assert_measure(what, got, index, want, slips=()):
    """Compare one of the two numbers, perplexity (index 0) or bits per byte (1), with the right one."""
    is_pair = isinstance(got, tuple | list) or (isinstance(got, np.ndarray) and got.ndim > 0)
    assert is_pair, f"{what}: expected a pair, (perplexity, bits per byte), got {shown(got)}"
    assert len(got) == 2, f"{what}: expected a pair, (perplexity, bits per byte), got {len(got)} values"
    _assert_number(f"{what}: {('perplexity', 'bits per byte')[index]}", got[index], want, slips)


@visible(points=0.5)
def check_perplexity(perplexity_and_bits_per_byte):
    """Perplexity of the worked example, and of three other tokens"""
    got = perplexity_and_bits_per_byte([math.log(p) for p in (0.5, 0.125, 0.5, 0.125)], 5)
    slips = (
        (1.6, "this is bits per byte; perplexity comes first"),
        (256.0, "this is e to minus the sum; take the mean over the tokens"),
        (0.25, "the sign is missing: e to minus the mean"),
        (2 ** math.log(4), "the logarithms are natural, so raise e, not 2"),
        (256**0.2, "the mean is over the 4 tokens, not over the 5 bytes"),
        (math.log(4), "this is minus the mean; perplexity is e to that power"),
        (math.e**2, "this is e to the power of the bits; take 2 to the bits, or e to the natural units"),
        (2.0, "this is bits per token; perplexity is 2 to that power, or e to the mean in natural units"),
        (5.0, "average the logarithms, not the inverse probabilities"),
        (3.2, "average the logarithms, not the probabilities"),
    )
    _assert_measure("probabilities 1/2, 1/8, 1/2, 1/8", got, 0, 4.0, slips)
    got = perplexity_and_bits_per_byte([math.log(p) for p in (0.3, 0.07, 0.9)], 7)
    _assert_measure("probabilities 0.3, 0.07, 0.9", got, 0, (0.3 * 0.07 * 0.9) ** (-1 / 3))


@visible(points=0.5)
def check_bits_per_byte(perplexity_and_bits_per_byte):
    """Bits per byte of the worked example, 8 bits in 5 bytes, and of three other tokens"""
    got = perplexity_and_bits_per_byte([math.log(p) for p in (0.5, 0.125, 0.5, 0.125)], 5)
    slips = (
        (2.0, "this is bits per token; divide by the 5 bytes, not by the 4 tokens"),
        (8 * math.log(2) / 5, "these are natural units; divide by ln 2 to have bits"),
        (8 * math.log(2) ** 2 / 5, "to have bits, divide by ln 2 instead of multiplying"),
        (8.0, "this is the bits of the whole text; divide by its 5 bytes"),
        (0.4, "this is the mean over the tokens, divided by the bytes; take the sum"),
        (-1.6, "the sign is missing"),
        (4.0, "this is the perplexity; bits per byte come second"),
        (math.log2(4) / 5, "the bits of the whole text are the sum over its tokens"),
    )
    _assert_measure("probabilities 1/2, 1/8, 1/2, 1/8 in 5 bytes", got, 1, 1.6, slips)
    got = perplexity_and_bits_per_byte([math.log(p) for p in (0.3, 0.07, 0.9)], 7)
    _assert_measure("probabilities 0.3, 0.07, 0.9 in 7 bytes", got, 1, -math.log2(0.3 * 0.07 * 0.9) / 7)


@hidden(points=0.5)
def check_measures_of_known_texts(perplexity_and_bits_per_byte):
    """Uniform models, certain tokens, arrays, which stay as they are, and a token cut in two"""
    for V, T in ((2048, 1), (7, 300)):
        log_probs = np.full(T, -math.log(V))
        got = perplexity_and_bits_per_byte(log_probs, 2 * T)
        advice = "write `x = x / …`, not `x /= …`"
        assert (log_probs == -math.log(V)).all(), f"the array of logarithms {-math.log(V):.4f} holds {log_probs[0]:.4f} now: {advice}"
        _assert_measure(f"an array of {T} token(s) of probability 1/{V}, {2 * T} bytes", got, 0, V)
        _assert_measure(f"an array of {T} token(s) of probability 1/{V}, {2 * T} bytes", got, 1, math.log2(V) / 2)
    certain = perplexity_and_bits_per_byte([0.0, 0.0, 0.0], 9)
    _assert_measure("three tokens of probability 1", certain, 0, 1.0)
    _assert_measure("three tokens of probability 1", certain, 1, 0.0)
    for probabilities in ((0.09, 0.2), (0.3, 0.3, 0.2)):
        got = perplexity_and_bits_per_byte([math.log(p) for p in probabilities], 6)
        what = f"the same 6 bytes as tokens of probability {', '.join(map(str, probabilities))}"
        _assert_measure(what, got, 0, 0.018 ** (-1 / len(probabilities)))
        _assert_measure(what, got, 1, -math.log2(0.018) / 6)


@hidden(points=0.5)
def check_impossible_token(perplexity_and_bits_per_byte):
    """A token of probability 0 makes both measures infinite"""
    values = [-1.0, -math.inf, -2.0]
    for kind, log_probs in (("a list", values), ("an array", np.array(values))):
        got = perplexity_and_bits_per_byte(log_probs, 3)
        for index in (0, 1):
            _assert_measure(f"log-probabilities -1, -inf, -2 in {kind}", got, index, math.inf)


# 2.6 Generate

_COUNT_NEW = "count new tokens only, not the prompt, and stop at max_tokens"


def _chain(followers, p=1.0):
    """A model of 6 tokens: p for the follower of the last token, which is 0 where none is given, and the rest for the others."""

    def next_probabilities(history):
        distribution = np.full(6, (1 - p) / 5)
        distribution[followers.get(history[-1] if len(history) else None, 0)] = p
        return distribution

    return next_probabilities


def _always(*probabilities):
    """A model that says the same after every history; after 1,500 tokens only the end, 0, so that no answer runs for ever."""
    return lambda history: np.array(probabilities, dtype=float) if len(history) < 1500 else np.eye(len(probabilities))[0]


def _assert_tokens(what, got, want, slips=()):
    """Compare generated tokens with the only right ones. slips: pairs (tokens that a usual mistake gives, what to say of it)."""
    _assert_list(what, got)
    if got != want:
        known = [f": {advice}" for slip, advice in slips if got == slip]
        raise AssertionError(f"{what}: got {got!r:.100}, expected {want}{''.join(known[:1])}")


def _assert_list(what, got):
    """generate returns a list, whose length and tokens can then be compared."""
    kind = f"a {type(got).__name__}, {got!r:.100}" if got is not None else shown(got)
    assert isinstance(got, list), f"{what}: expected a list of tokens, got {kind}"
    strange = [token for token in got if not isinstance(token, Integral)]
    assert not strange, f"{what}: expected ids, which are whole numbers, in the list, got {strange[:1]!r:.100}"


@visible(points=0.5)
def check_most_likely_path(generate):
    """Temperature 0 follows the most likely tokens as far as the end token"""
    got = generate(_chain({5: 3, 3: 1, 1: 4}, p=0.75), [2, 5], 10, 0, 0, np.random.default_rng(1))
    slips = (
        ([2, 5, 3, 1, 4], "return the new tokens only, without the prompt"),
        ([3, 1, 4, 0], "the end token stops the text and is not returned"),
        ([2, 5, 3, 1, 4, 0], "return the new tokens only, without the prompt and the end token"),
        ([3] * 10, "ask again after each new token: new tokens belong to the history too"),
        ([3, 1, 4] + [0] * 7, "stop when the end token comes up"),
        ([], "the prompt belongs to the history that the model is asked about"),
    )
    _assert_tokens("after 5 comes 3, then 1, 4 and the end token 0; prompt [2, 5], temperature 0", got, [3, 1, 4], slips)


@visible(points=0.25)
def check_whole_history(generate):
    """Each turn asks about the prompt and all new tokens, as one tuple; max_tokens counts the new ones"""
    asked = []

    def next_probabilities(history):
        asked.append(history[:])
        return _chain({5: 3, 3: 1, 1: 4, 4: 2})(history)

    new = generate(next_probabilities, [2, 5], 3, 1, 0, np.random.default_rng(1))
    what = "after 5 comes 3, then 1, 4, 2 and the end token 0; prompt [2, 5], max_tokens = 3"
    _assert_list(what, new)
    assert len(asked) > 1 or len(new) < 2, f"next_probabilities was called {len(asked)} times for {len(new)} tokens: ask again after each"
    for turn, history in enumerate(asked):
        call = f"call {turn + 1} of next_probabilities: got the history {history}"
        assert isinstance(history, tuple), f"{call}, a {type(history).__name__}, expected a tuple"
        assert history[:2] == (2, 5), f"{call}, expected it to begin with the prompt (2, 5)"
        assert len(history) == 2 + turn, f"{call}, expected {2 + turn} tokens: the prompt (2, 5) and all {turn} new tokens"
        assert turn == 0 or history[:-1] == asked[turn - 1], f"{call}, expected {asked[turn - 1]} with the new token behind"
    assert len(new) <= 3, f"{what}: got {len(new)} tokens, {new!r:.100}, expected 3: {_COUNT_NEW}"


@visible(points=0.5)
def check_temperature(generate):
    """20 texts of 50 tokens at temperatures 1, 2 and 0.5"""
    for temperature, want, inverse in ((1, 1 / 5, 1 / 5), (2, 1 / 3, 1 / 17), (0.5, 1 / 17, 1 / 3)):
        what = f"probabilities 0, 0.8, 0.2 at temperature {temperature}"
        tokens, generator = [], np.random.default_rng(6)
        for _ in range(20):  # short ones: each turn hands over the whole history
            text = generate(_always(0, 0.8, 0.2), [1], 50, temperature, 0, generator)
            _assert_list(what, text)
            message = f"{what}: got {len(text)} tokens, expected 50"
            assert len(text) in (50, *range(49)), f"{message}: {_COUNT_NEW}"
            assert len(text) == 50, f"{message}: token 0, the end, has probability 0, and no power of 0 is above 0"
            tokens += text
        share, margin, hint = tokens.count(2) / 1000, 6 * math.sqrt(want * (1 - want) / 1000), ""  # six standard deviations
        if share in (0, 1):
            hint = ": draw with the generator (only temperature 0 always takes the most likely), or you make a new generator each turn"
        elif temperature != 1 and abs(share - inverse) < margin:
            hint = f": the power is 1 / temperature, {1 / temperature:g}"
        elif abs(share - 0.2) < margin:
            hint = ": the temperature has no effect"
        assert abs(share - want) < margin, f"{what}: {share:.1%} of the tokens are 2, expected {want:.1%}, give or take {margin:.1%}{hint}"


@visible(points=0.25)
def check_generator(generate):
    """The generator decides: equal seeds give equal texts, other seeds others"""
    texts = [generate(_always(0, *[0.125] * 8), [1], 40, 1, 0, np.random.default_rng(seed)) for seed in (11, 11, 12)]
    for text in texts:
        _assert_list("40 tokens out of 8", text)
    assert texts[0] == texts[1], "two generators with seed 11 gave two different texts: take every random number from `generator`"
    assert texts[0] != texts[2], "seeds 11 and 12 gave the same 40 tokens out of 8: draw with the `generator` that is passed in"


@hidden(points=0.5)
def check_limits(generate):
    """No tokens wanted, equal probabilities, an empty prompt, another end token, nothing but the end token"""
    for what, model, prompt, max_tokens, temperature, end, want in (
        ("max_tokens = 0", _always(0, 1), [1], 0, 1, 0, []),
        ("max_tokens = 4, only token 1 possible", _always(0, 1), [1], 4, 1, 0, [1, 1, 1, 1]),
        ("probabilities 0.1, 0.2, 0.35, 0.35, temperature 0: the lowest of equals", _always(0.1, 0.2, 0.35, 0.35), [1], 2, 0, 0, [2, 2]),
        ("an empty prompt, whose history is ()", _chain({None: 3, 3: 2}), [], 9, 1, 0, [3, 2]),
        ("tokens 4, 0, 5 in turn, end = 5", _chain({None: 4, 4: 0, 0: 5}), [], 9, 1, 5, [4, 0]),
        ("only the end token possible", _always(1, 0), [1], 3, 1, 0, []),
    ):
        _assert_tokens(what, ask(what, generate, model, prompt, max_tokens, temperature, end, np.random.default_rng(1)), want)


@hidden(points=0.5)
def check_cold(generate):
    """Temperature 0.001 works, although 0.1 to the power 1000 is 0.0 in floating point; equal probabilities stay equal"""
    p = [0.0, *[0.06] * 7, 0.1, *[0.06] * 8]
    what = "token 8 with 0.1, fifteen others with 0.06, temperature 0.001"
    try:
        got = generate(_always(*p), [1], 20, 0.001, 0, np.random.default_rng(3))
    except (ValueError, ZeroDivisionError) as error:
        advice = "every power is 0.0, and their sum too: divide by the largest probability before you raise to the power"
        raise AssertionError(f"{what}: {type(error).__name__}, {error!s:.80}; {advice}") from None
    _assert_tokens(what, got, [8] * 20)
    got = generate(_always(0, 0.5, 0.5), [1], 40, 0.001, 0, np.random.default_rng(5))
    what = "tokens 1 and 2 with 0.5 each, temperature 0.001"
    _assert_list(what, got)
    advice = "equal probabilities stay equal, so draw; only temperature 0 takes the most likely"
    assert len({*got}) > 1, f"{what}: {len(got)} tokens, all of them {got[:1]}, expected both: {advice}"


@hidden(points=0.25)
def check_impossible_tokens(generate):
    """A token of probability 0 is never drawn, at temperature 100 either"""
    got = generate(_always(0, 0.7, 0.3, 0), [1], 300, 100, 0, np.random.default_rng(4))
    what = "probabilities 0, 0.7, 0.3, 0 at temperature 100"
    _assert_list(what, got)
    assert len(got) in (300, *range(299)), f"{what}: got {len(got)} tokens, expected 300: {_COUNT_NEW}"
    assert len(got) == 300, f"{what}: the end token, whose probability is 0, was drawn after {len(got)} tokens"
    assert got.count(3) == 0, f"{what}: token 3, whose probability is 0, was drawn {got.count(3)} times in 300"


@hidden(points=0.25)
def check_nothing_changed(generate):
    """The prompt and the model's arrays stay as they were"""
    prompt, p = [2, 1], np.array([0, 0.8, 0.2])
    for temperature in (1, 2):
        generate(lambda history: p if len(history) < 50 else [1, 0, 0], prompt, 5, temperature, 0, np.random.default_rng(2))
        assert prompt == [2, 1], f"the prompt [2, 1] has become {prompt}: collect the new tokens in a list of their own"
        assert p.tolist() == [0, 0.8, 0.2], f"the model's array [0, 0.8, 0.2] has become {p}: write `p = p ** …`, not `p **= …`"


# 2.7 A language model


def _log_probs(model, paragraph):
    """What the model's log_probs says of a paragraph: (len(paragraph) + 1,) finite numbers, none above 0."""
    T = len(paragraph)
    shape = f"({T + 1},): one number for each token and one for the end token behind the last"
    values = numbers(f"log_probs of a paragraph of {T} tokens", model.log_probs(list(paragraph)), T + 1, shape)
    advice = ""
    if values.min() >= 0:
        advice = ": is it p itself? Return its logarithm" if values.max() <= 1 else ": is a minus missing, or one too many?"
    for i, value in enumerate(values):
        what = f"log_probs gives position {i} of a paragraph of {T} tokens the value {value:.4g}"
        assert value <= _TOLERANCE, f"{what}; the logarithm of a probability is never above 0, nor nan{advice}"
        assert value > -math.inf, f"{what}, so its probability is 0: every text has something that was never seen, so smooth"
    return values


def _ask_next(model, paragraph, positions):
    """What next_probabilities says at each position. Ask it before log_probs shows the model what comes next."""
    return {i: model.next_probabilities(tuple(paragraph[:i])) for i in positions}


def _assert_honest(paragraph, log_probs, asked):
    """At each position that was asked about, next_probabilities sums to one, and log_probs is its logarithm."""
    for i, said_next in asked.items():
        where = f"position {i} of a paragraph, history ({'…, ' if i > 3 else ''}{', '.join(map(str, paragraph[max(0, i - 3) : i]))})"
        what = f"{where}: next_probabilities"
        p = numbers(what, said_next, VOCAB_SIZE, f"(V,) = ({VOCAB_SIZE},)")
        advice = "return probabilities, not logarithms" if p.max() <= 0 else "give every token, seen or not, a part of 1 / V"
        assert p.min() > 0, f"{what} gives token {p.argmin()} the probability {p.min():.4g}, expected more than 0: {advice}"
        assert abs(p.sum() - 1) < 1e-4, f"{what} sums to {p.sum():.4f} over all {VOCAB_SIZE} tokens, expected 1"
        token = [*paragraph, END_ID][i]
        said, advice = math.exp(log_probs[i]), "both must see the same history, padded alike, and no token from this position on"
        if math.isclose(2 ** log_probs[i], p[token], rel_tol=1e-3):
            advice = "take natural logarithms, not base 2"
        assert math.isclose(said, p[token], rel_tol=1e-4), (
            f"{where}: token {token} has the probability {p[token]:.3g} by next_probabilities, but e^{log_probs[i]:.4f} = {said:.3g} "
            f"by log_probs; {advice}"
        )


def _small_text():
    """A small text to train on, and the three shortest of fifty other paragraphs."""
    paragraphs = token_ids("train")
    return paragraphs[:250], sorted(paragraphs[250:300], key=len)[:3]


@visible(points=0.25)
def check_scores_every_token(LanguageModel):
    """log_probs gives a finite number for each token and for the end token (trained on 250 paragraphs)"""
    train, held_out = _small_text()
    model = LanguageModel(train, VOCAB_SIZE, END_ID)
    for paragraph in (*held_out, held_out[0][:1], []):
        _log_probs(model, paragraph)


@visible(points=0.25)
def check_honest_probabilities(LanguageModel):
    """next_probabilities sums to one and agrees with log_probs (trained on 250 paragraphs)"""
    train, held_out = _small_text()
    model = LanguageModel(train, VOCAB_SIZE, END_ID)
    for paragraph in held_out:
        T = len(paragraph)
        asked = _ask_next(model, paragraph, [0, 1, 2, 3, 4, T // 2, T - 1, T])
        _assert_honest(paragraph, _log_probs(model, paragraph), asked)


@lru_cache(maxsize=1)
def _measured(LanguageModel):
    """Train and measure once for both checks; returns the bits per byte, and what is not honest, if anything is not."""
    try:
        return _bits_per_byte(LanguageModel), ""
    except AssertionError as error:
        return math.inf, str(error)


def _bits_per_byte(LanguageModel):
    """Train on the training text; return the bits per byte of the validation text, proved honest at random places."""
    model = LanguageModel(token_ids("train"), VOCAB_SIZE, END_ID)
    paragraphs, rng, bits = token_ids("validation"), random.Random(2), 0.0
    sampled = set(rng.sample(range(len(paragraphs)), 24))
    for number, paragraph in enumerate(paragraphs):
        asked = _ask_next(model, paragraph, rng.sample(range(len(paragraph) + 1), 4)) if number in sampled else {}
        log_probs = _log_probs(model, paragraph)
        bits -= log_probs.sum() / math.log(2)
        if number in sampled:
            _assert_honest(paragraph, log_probs, asked)
            cut = rng.randint(1, len(paragraph) - 1)
            other = _log_probs(model, [*paragraph[:cut], *rng.choices(range(1, VOCAB_SIZE), k=3)])
            i = int(np.abs(other[:cut] - log_probs[:cut]).argmax())
            assert math.isclose(other[i], log_probs[i], abs_tol=1e-4), (
                f"position {i} of a paragraph has the log-probability {log_probs[i]:.4f}, and {other[i]:.4f} when the tokens from position "
                f"{cut} on are others: it may depend on the tokens before it in this paragraph, and on nothing else that is scored"
            )
    bits /= n_bytes("validation")
    assert bits > 1.0, f"the model needs {bits:.3f} bits per byte, less than any that counts n-grams can: it has seen this text"
    return bits


@hidden(points=0.5)
def check_two_bits(LanguageModel):
    """Honest, and at most 2.0 bits per byte on the validation text"""
    bits, problem = _measured(LanguageModel)
    assert not problem, problem
    assert bits <= 2.0, f"the model needs {bits:.3f} bits per byte on the validation text, expected at most 2.0: use at least three orders"


@hidden(points=1)
def check_target(LanguageModel):
    """Honest, and at most 1.86 bits per byte on the validation text"""
    bits, problem = _measured(LanguageModel)
    assert not problem, problem
    advice = "Kneser-Ney of order 4 with the discount 0.75 reaches it, of order 3 it just misses"
    assert bits <= 1.86, f"the model needs {bits:.4f} bits per byte on the validation text, expected at most 1.86: {advice}"
