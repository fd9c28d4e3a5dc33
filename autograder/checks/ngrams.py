"""Checks of the exercises of chapter 2, n-grams."""

import copy
import math
import random
from collections import defaultdict
from functools import lru_cache
from numbers import Real

import numpy as np
from lmkit.check import hidden, visible
from lmkit.tokenizer import END_ID, VOCAB_SIZE, n_bytes, token_ids

_TOLERANCE = 1e-6  # relative: single precision passes, a wrong formula does not


def _assert_number(what, got, want, slips=()):
    """Compare a number with the right one. slips: pairs (a number that a usual mistake gives, what the mistake is)."""
    assert isinstance(got, Real) or np.ndim(got) == 0 and isinstance(got, np.ndarray), f"{what}: expected a number, got {got!r:.100}"
    got = float(got)
    if not math.isclose(got, want, rel_tol=_TOLERANCE, abs_tol=1e-12):
        found = [mistake for number, mistake in slips if math.isclose(got, number, rel_tol=_TOLERANCE, abs_tol=1e-12)]
        raise AssertionError(f"{what} is {got:.4f}, expected {want:.4f}{': ' + found[0] if found else ''}")


# 2.1 ----------------------------------------------------------------------------------------------------------------


def _assert_counts(what, got, want, n, end):
    """Compare a table of counts with the right one; the first difference is told, with the mistake that usually makes it."""
    assert isinstance(got, dict), f"{what}: expected a dictionary, history -> token -> count, got {got!r:.100}"
    for history, followers in got.items():
        place = f"{what}: after the history {history!r}"
        assert isinstance(history, tuple) and len(history) == n - 1, (
            f"{place} you count {followers!r:.100}; for n = {n} every history is a tuple of {n - 1} ids"
            f"{', the empty tuple ()' if n == 1 else ', also at the start of a paragraph' if isinstance(history, tuple) else ''}"
        )
        assert isinstance(followers, dict), f"{place} stands {followers!r:.100}, expected a dictionary, token -> count"
        zeros = [token for token, count in followers.items() if not count]
        assert followers and not zeros, f"{place} you keep {dict(followers)}: what was never seen has no entry, not even a zero"
        inside = end in history[1:] and any(token != end for token in history[: history.index(end, 1)])
        assert history in want or not inside, f"{place} you count {dict(followers)}: this n-gram crosses from one paragraph to the next"
        assert history in want, f"{place} you count {dict(followers)}; the text has no such history"
    for history, followers in want.items():
        start = f": the first tokens of a paragraph come after n - 1 = {n - 1} end tokens" if end in history else ""
        assert history in got, f"{what}: the history {history} is missing, which is followed by {followers}{start}"
        found, hint = dict(got[history]), ""
        if found.get(end, 0) < followers.get(end, 0):
            hint = f": the end token {end} behind the last token of each paragraph is counted as a next token too"
        elif found.get(end, 0) > followers.get(end, 0):
            hint = f": only one end token a paragraph is counted, the one behind it; the n - 1 = {n - 1} end tokens in front are history only"
        assert found == followers, f"{what}: after the history {history} you count {found}, expected {followers}{hint}"


@visible(points=0.5)
def check_bigrams(count_ngrams):
    """The bigrams of the worked example"""
    got = count_ngrams([[1, 2, 1], [1, 2]], 2, 0)
    _assert_counts("[[1, 2, 1], [1, 2]] with n = 2", got, {(0,): {1: 2}, (1,): {2: 2, 0: 1}, (2,): {1: 1, 0: 1}}, 2, 0)


@visible(points=0.5)
def check_unigrams_and_trigrams(count_ngrams):
    """The unigrams and trigrams of the worked example"""
    text = "[[1, 2, 1], [1, 2]] with n = "
    _assert_counts(text + "1", count_ngrams([[1, 2, 1], [1, 2]], 1, 0), {(): {1: 3, 2: 2, 0: 2}}, 1, 0)
    trigrams = {(0, 0): {1: 2}, (0, 1): {2: 2}, (1, 2): {1: 1, 0: 1}, (2, 1): {0: 1}}
    _assert_counts(text + "3", count_ngrams([[1, 2, 1], [1, 2]], 3, 0), trigrams, 3, 0)


@hidden(points=0.5)
def check_edges_of_counting(count_ngrams):
    """No paragraphs, empty and short paragraphs, another end token, input left as it was"""
    got = count_ngrams([], 3, 0)
    assert got == {}, f"no paragraphs with n = 3: expected an empty dictionary, got {got!r:.100}"
    _assert_counts("one empty paragraph, [[]], with n = 3", count_ngrams([[]], 3, 0), {(0, 0): {0: 1}}, 3, 0)
    want = {(7, 7, 7): {3: 1}, (7, 7, 3): {7: 1}}
    _assert_counts("the paragraph [3] with n = 4 and end = 7", count_ngrams([[3]], 4, 7), want, 4, 7)
    paragraphs = [[4, 5], [], [5]]
    count_ngrams(paragraphs, 3, 9)
    assert paragraphs == [[4, 5], [], [5]], f"you changed the paragraphs [[4, 5], [], [5]] into {paragraphs}: pad a copy"


@hidden(points=0.5)
def check_tables_of_real_text(count_ngrams):
    """On 60 paragraphs of real text, every order adds up to the one below"""
    paragraphs = token_ids("train")[:60]
    wanted = sum(map(len, paragraphs)) + len(paragraphs)
    shorter = None
    for n in (1, 2, 3, 4):
        table = count_ngrams([list(paragraph) for paragraph in paragraphs], n, END_ID)
        total = sum(sum(followers.values()) for followers in table.values())
        assert total == wanted, f"n = {n}: your counts add up to {total:,}; the text has {wanted:,} tokens with one end token a paragraph"
        summed = defaultdict(int)
        for history, followers in table.items():
            for token, count in followers.items():
                summed[(*history[1:], token)] += count
        for ngram, count in summed.items() if shorter else ():
            below = shorter.get(ngram[:-1], {}).get(ngram[-1], 0)
            assert count == below, f"{ngram} occurs {below} times with n = {n - 1}, but {count} times in all behind any token with n = {n}"
        shorter = table


# 2.2 ----------------------------------------------------------------------------------------------------------------


@visible(points=0.5)
def check_added_counts(add_k_probability):
    """The worked example: counts of 2 and 1, k = 0.5, V = 4"""
    for token, count, want in ((2, 2, 0.5), (0, 1, 0.3), (3, 0, 0.1)):
        got = add_k_probability({(1,): {2: 2, 0: 1}}, (1,), token, 0.5, 4)
        slips = (
            ((count + 0.5) // 5, "use / and not //"),
            (count / 3, "that is the estimate without k"),
            ((count + 0.5) / 3, "the total grows too, by k for each of the V tokens"),
            ((count + 0.5) / 3.5, "k is added to the count of each of the V tokens, so the total grows by k V, not by k"),
            ((count + 0.5) / 4, "k is added for all V tokens, not only for the two that were seen after this history"),
            (count / 5, "k is missing above the line"),
            ((count + 0.5) / 7, "the total grows by k V = 2, not by V = 4"),
            ((count + 0.5) / 4.5, "the total is the sum of the counts, 3, not the number of different followers, 2"),
        )
        _assert_number(f"counts {{(1,): {{2: 2, 0: 1}}}}, k = 0.5, V = 4: P({token} | 1)", got, want, slips)


@visible(points=0.5)
def check_without_smoothing(add_k_probability):
    """k = 0 is maximum likelihood, and a history never seen has an answer"""
    ask = "counts {(1,): {2: 2, 0: 1}}, V = 4, "
    _assert_number(ask + "k = 0: P(2 | 1)", add_k_probability({(1,): {2: 2, 0: 1}}, (1,), 2, 0, 4), 2 / 3)
    _assert_number(ask + "k = 0: P(3 | 1)", add_k_probability({(1,): {2: 2, 0: 1}}, (1,), 3, 0, 4), 0.0)
    for k, want, why in ((0.5, 0.25, "k / (k V) = 1 / V"), (0, 0.0, "0 / 0 is defined as 0.0")):
        try:
            got = add_k_probability({(1,): {2: 2, 0: 1}}, (3,), 2, k, 4)
        except (KeyError, ZeroDivisionError) as error:
            raise AssertionError(f"{ask}k = {k}: P(2 | 3) stopped with {type(error).__name__}; history 3 was never seen: {why}") from None
        _assert_number(f"{ask}k = {k}: P(2 | 3), whose history was never seen ({why}),", got, want)


@hidden(points=0.5)
def check_added_counts_sum_to_one(add_k_probability):
    """The probabilities of all V tokens sum to one after every history"""
    counts = {(): {0: 5, 3: 1}, (4, 4): {1: 7}, (4, 2): {0: 1, 1: 2, 2: 3, 3: 4, 4: 5}}
    for history in (*counts, (2, 2)):
        for k in (0.01, 1, 2.5):
            total = sum(float(add_k_probability(counts, history, token, k, 5)) for token in range(5))
            assert abs(total - 1) < _TOLERANCE, f"counts {counts}, k = {k}, V = 5: P(. | {history}) sums to {total:.4f}, expected 1"


@hidden(points=0.5)
def check_lookup_adds_nothing(add_k_probability):
    """Looking up what is not there adds nothing to the counts"""
    for counts in ({(1,): {2: 2}}, defaultdict(lambda: defaultdict(int), {(1,): defaultdict(int, {2: 2})})):
        for history, token in (((1,), 3), ((3,), 2)):
            add_k_probability(counts, history, token, 0.5, 4)
            now = {key: dict(followers) for key, followers in counts.items()}
            assert now == {(1,): {2: 2}}, (
                f"after asking for P({token} | {history[0]}), the counts {{(1,): {{2: 2}}}} have become {now}: "
                "look up with .get(key, default), which adds nothing, also to a defaultdict"
            )


# 2.3 ----------------------------------------------------------------------------------------------------------------


def _two_tables():
    return [{(): {1: 3, 2: 2, 0: 2}}, {(0,): {1: 2}, (1,): {2: 2, 0: 1}, (2,): {1: 1, 0: 1}}]


@visible(points=0.5)
def check_mixture(interpolated_probability):
    """The worked example: weights 0.2, 0.35, 0.45 after history 1, which every order knows"""
    for token, once, twice, want in ((2, 2 / 7, 2 / 3, 0.45), (0, 2 / 7, 1 / 3, 0.3), (1, 3 / 7, 0, 0.2), (3, 0, 0, 0.05)):
        got = interpolated_probability(_two_tables(), [0.2, 0.35, 0.45], (1,), token, 4)
        slips = (
            (0.45 / 4 + 0.35 * once + 0.2 * twice, "the weights are taken in the wrong order; weights[0] goes to 1 / V"),
            (0.2 * once + 0.35 * twice + 0.45 / 4, "weights[0] goes to 1 / V, weights[1] to the unigrams, weights[2] to the bigrams"),
            (0.35 * once + 0.45 * twice, "the uniform part, weights[0] / V, is missing"),
            (0.2 + 0.35 * once + 0.45 * twice, "the uniform distribution gives each token 1 / V, not 1"),
        )
        _assert_number(f"the tables of the example: P({token} | 1)", got, want, slips)


@visible(points=0.5)
def check_longer_history(interpolated_probability):
    """A longer history: each order looks at the last tokens only"""
    for history in ((2, 1), (3, 0, 1)):
        got = interpolated_probability(_two_tables(), [0.2, 0.35, 0.45], history, 2, 4)
        first = _two_tables()[1].get(history[:1], {})
        slips = (
            (0.35 / 0.65, "the unigrams were not found; history[-0:] is the whole history, not the empty one"),
            (0.05 / 0.2, "neither table knew the history that was looked up; table i wants the last i tokens, as a tuple"),
            (0.05 + 0.1 + 0.45 * first.get(2, 0) / 2, f"history[:1] is the first token; table 1 wants the last, {history[-1]}"),
            (0.15 / 0.55, f"the bigrams were not found; table 1 wants the last token only, ({history[-1]},)"),
        )
        _assert_number(f"the tables of the example: P(2 | {', '.join(map(str, history))})", got, 0.45, slips)


@hidden(points=0.5)
def check_unknown_history(interpolated_probability):
    """A history that some order has never seen"""
    slips = (
        (0.15, "the bigrams have no estimate, so divide by the weights in use, 0.2 + 0.35"),
        (0.05 + 0.8 * 2 / 7, "the weights in use are divided by their sum; the bigrams' weight does not go to the unigrams alone"),
        (0.15 + 0.45 / 4, "the weights in use are divided by their sum; the bigrams' weight does not go to 1 / V alone"),
    )
    got = interpolated_probability(_two_tables(), [0.2, 0.35, 0.45], (3,), 2, 4)
    _assert_number("the tables of the example, history 3 never seen: P(2 | 3)", got, 3 / 11, slips)
    got = interpolated_probability(_two_tables(), [0.0, 0.0, 1.0], (3,), 2, 4)
    _assert_number("weights 0, 0, 1 and history 3 never seen, so that no weight is in use: P(2 | 3)", got, 1 / 4)


@hidden(points=0.5)
def check_mixture_sums_to_one(interpolated_probability):
    """Three orders sum to one over V = 5 after every history"""
    third = {(0, 0): {1: 2}, (0, 1): {2: 2}, (1, 2): {1: 1, 0: 1}, (2, 1): {0: 1}}
    for weights in ([0.1, 0.2, 0.3, 0.4], [0.0, 0.5, 0.0, 0.5], [0.25, 0.0, 0.75, 0.0]):
        for history in ((0, 0), (1, 2), (4, 1), (1, 4), (4, 4), (2, 0, 1)):
            tables = [*_two_tables(), third]
            total = sum(float(interpolated_probability(tables, weights, history, token, 5)) for token in range(5))
            assert abs(total - 1) < _TOLERANCE, f"three orders, weights {weights}: P(. | {history}) sums to {total:.4f}, expected 1"
            assert tables == [*_two_tables(), third], f"asking for P(. | {history}) changed the tables: look up with .get(key, default)"


# 2.4 ----------------------------------------------------------------------------------------------------------------


def _york_tables():
    """new york, three times; we must; they must.   0 is the end, 1 new, 2 york, 3 we, 4 must, 5 they"""
    return [{(): {1: 3, 2: 3, 0: 5, 3: 1, 4: 2, 5: 1}}, {(0,): {1: 3, 3: 1, 5: 1}, (1,): {2: 3}, (2,): {0: 3}, (3,): {4: 1}, (4,): {0: 2}, (5,): {4: 1}}]  # fmt: skip


def _three_tables():
    """The counts of [1, 2], [1, 2], [3, 1, 2], orders 1 to 3."""
    return [
        {(): {1: 3, 2: 3, 0: 3, 3: 1}},
        {(0,): {1: 2, 3: 1}, (1,): {2: 3}, (2,): {0: 3}, (3,): {1: 1}},
        {(0, 0): {1: 2, 3: 1}, (0, 1): {2: 2}, (1, 2): {0: 3}, (0, 3): {1: 1}, (3, 1): {2: 1}},
    ]


@visible(points=1)
def check_continuation_counts(KneserNey):
    """The worked example, without a history: tokens count after how many different tokens they stand"""
    model = KneserNey(_york_tables(), 0.5, 8)
    rows = (("york", 2, 1, 3, 7 / 64), ("must", 4, 2, 2, 15 / 64), ("a token never seen", 6, 0, 0, 3 / 64))
    for word, token, different, often, want in rows:
        kept, raw = max(different - 0.5, 0), max(often - 0.5, 0)
        slips = (
            ((raw + 0.5 * 6 / 8) / 15, f"you count how often it occurs, {often} of 15; count after how many different tokens, {different} of 8"),
            (kept / 8, "the mass that the discounts set free, 0.5 times 6 tokens of 8, must come back, spread by the order below"),
            ((kept + 0.5 * 6) / 8, "below the unigrams stands the uniform distribution, 1 / V"),
            ((kept + 0.5 * 8 / 8) / 8, "6 different tokens were seen and discounted; the total, 8, is another number"),
            ((kept + 0.5 * 6 / 6) / 8, "1 / V is one eighth, for every token of the vocabulary, not for the 6 seen ones"),
            ((different - 0.5 + 0.5 * 6 / 8) / 8, "a count of 0 minus the discount is not below 0: max(count - discount, 0)"),
            ((kept + 0.5 * 6 / 8) / 6, "the total is the sum of the continuation counts, 8, not the number of different tokens, 6"),
            (different / 8, "the discount is not taken off"),
        )
        _assert_number(f"the York example with D = 0.5, V = 8: P({word}), token {token} after the history (),", model.probability((), token), want, slips)  # fmt: skip


@visible(points=1)
def check_highest_order(KneserNey):
    """The worked example, after one token: the highest order keeps its counts"""
    model = KneserNey(_york_tables(), 0.5, 8)
    rows = (("york | new", 1, 2, 3, 3, 7, 109), ("must | new", 1, 4, 0, 3, 15, 5), ("must | we", 3, 4, 1, 1, 15, 79), ("york | we", 3, 2, 0, 1, 7, 7))  # fmt: skip
    for words, history, token, count, total, lower, want in rows:
        kept, p = max(count - 0.5, 0), lower / 64
        slips = (
            (max(min(count, 1) - 0.5, 0) + 0.5 * p, "continuation counts belong to the lower orders; the highest keeps the counts that were given"),
            (kept / total, "what the discount set free must come back: add D times the number of different followers times P of the order below"),
            ((kept + 0.5 * total * p) / total, "the weight of the order below needs the number of different followers, 1, not their total, 3"),
            ((kept + 0.5 * p) / 1, "divide by the total count, 3, not by the number of different followers, 1"),
            ((count - 0.5 + 0.5 * p) / total, "a count of 0 minus the discount is not below 0: max(count - discount, 0)"),
            (kept / total + p, "P of the order below must be weighted, with D times the number of different followers over the total"),
            (p, "this is P of the order below: the history was not found among the bigrams"),
        )
        what = f"the York example with D = 0.5, V = 8: P({words}), token {token} after the history ({history},),"
        _assert_number(what, model.probability((history,), token), want / 128, slips)


@hidden(points=0.5)
def check_fall_back(KneserNey):
    """Histories that are unseen, short or longer than n - 1"""
    model = KneserNey(_york_tables(), 0.5, 8)
    got = model.probability((6,), 4)
    _assert_number("the York example: P(must | a token never seen before), which is P(must),", got, 15 / 64, ((0.0, "an order without the history passes on P of the order below"), (1 / 8, "the unigrams know must")))  # fmt: skip
    got = model.probability((5, 3, 1), 2)
    _assert_number("the York example: P(york | they we new), which is P(york | new),", got, 109 / 128, ((7 / 128, "the last token of the history counts, not the first"), (7 / 64, "only the last n - 1 tokens of a long history count")))  # fmt: skip
    model = KneserNey(_three_tables(), 0.5, 5)
    for history, want, why in (((1,), 0.795, "a history of one token stops at the bigrams"), ((), 0.18, "the empty history stops at the unigrams"), ((4, 1), 0.795, "the trigrams do not know (4, 1), the bigrams know (1,)"), ((4, 4), 0.18, "only the unigrams know it")):  # fmt: skip
        got = model.probability(history, 2)
        _assert_number(f"three orders on [1, 2], [1, 2], [3, 1, 2], D = 0.5, V = 5: P(2 | {history}) ({why})", got, want)


@hidden(points=1)
def check_three_orders(KneserNey):
    """Three orders by hand: the middle one counts continuations too"""
    model = KneserNey(_three_tables(), 0.5, 5)
    raw = (2.5 + 0.5 * 0.18) / 3  # P(2 | 1) if the bigrams kept their counts
    summed = (1.5 + 0.5 * (1.5 + 0.5 * 4 / 5) / 6) / 2  # P(2 | 1) if the unigrams summed the bigrams' continuation counts
    slips = [((2 - 0.5 + 0.5 * p) / 2, f"P of the order below, P(2 | 1), should be 0.795; yours seems to be {p:.3f}, with {why}") for p, why in ((raw, "the bigram (1, 2) counted 3 times; count the different tokens before it in the trigrams, which are 0 and 3"), (summed, "unigrams summed from continuation counts; count the different tokens before 2 in the given bigrams, which is 1"))]  # fmt: skip
    for history, token, want in (((0, 1), 2, 0.94875), ((3, 1), 2, 0.8975), ((0, 0), 1, 1.94 / 3), ((0, 0), 3, 0.28), ((1, 2), 0, 1 - 0.5 / 3 * 0.41), ((0, 0), 4, 0.08 / 6)):  # fmt: skip
        got = model.probability(history, token)
        _assert_number(f"three orders on [1, 2], [1, 2], [3, 1, 2], D = 0.5, V = 5: P({token} | {history})", got, want, slips)


@hidden(points=1)
def check_sums_to_one(KneserNey):
    """The probabilities of all V tokens sum to one, for every history, order and discount"""
    for tables in (_york_tables()[:1], _york_tables(), _three_tables()):
        for discount in (0.1, 0.75, 1.0):
            model = KneserNey(tables, discount, 7)
            for history in ((), (1,), (4,), (6,), (0, 0), (0, 1), (6, 1), (1, 6), (6, 6), (5, 3, 1)):
                p = [float(model.probability(history, token)) for token in range(7)]
                what = f"{len(tables)} table(s), D = {discount}, V = 7: P(. | {history})"
                assert min(p) >= 0, f"{what} gives token {p.index(min(p))} the probability {min(p):.4f}, below 0"
                assert abs(sum(p) - 1) < _TOLERANCE, f"{what} sums to {sum(p):.4f}, expected 1"


@hidden(points=0.5)
def check_one_table_and_input(KneserNey):
    """One table keeps its counts; the given tables stay as they are"""
    got = KneserNey(_york_tables()[:1], 0.5, 8).probability((), 2)
    slips = ((1 / 8, "the only table is the highest order: it keeps its counts"),)
    _assert_number("only the unigrams of the York example, D = 0.5, V = 8: P(york)", got, (2.5 + 0.5 * 6 / 8) / 15, slips)
    tables = [defaultdict(lambda: defaultdict(int), {h: defaultdict(int, f) for h, f in table.items()}) for table in _three_tables()]
    before = copy.deepcopy([{h: dict(f) for h, f in table.items()} for table in tables])
    model = KneserNey(tables, 0.5, 5)
    for history in ((0, 1), (4, 1), (4, 4)):
        model.probability(history, 4)
    for order, (was, table) in enumerate(zip(before, tables, strict=True), start=1):
        now = {h: dict(f) for h, f in table.items()}
        assert now == was, f"the table of order {order} was {was} and is now {now}: build new tables, and look up with .get"


# 2.5 ----------------------------------------------------------------------------------------------------------------


def _assert_measures(what, got, perplexity, bits, slips=((), ())):
    assert isinstance(got, tuple | list) and len(got) == 2, f"{what}: expected (perplexity, bits per byte), got {got!r:.100}"
    _assert_number(f"{what}: perplexity", got[0], perplexity, slips[0])
    _assert_number(f"{what}: bits per byte", got[1], bits, slips[1])


@visible(points=0.5)
def check_perplexity(perplexity_and_bits_per_byte):
    """Perplexity of the worked example: four tokens, 1/2, 1/8, 1/2, 1/8"""
    got = perplexity_and_bits_per_byte([math.log(p) for p in (0.5, 0.125, 0.5, 0.125)], 5)
    assert isinstance(got, tuple | list) and len(got) == 2, f"expected a pair, (perplexity, bits per byte), got {got!r:.100}"
    slips = (
        (1.6, "that is bits per byte; perplexity comes first"),
        (256.0, "that is e to minus the sum; take the mean over the tokens"),
        (0.25, "that is e to the mean; the sign is missing"),
        (2 ** math.log(4), "the logarithms are natural, so raise e and not 2"),
        (math.exp(math.log(256) / 5), "the mean is over the 4 tokens, not over the 5 bytes"),
        (math.log(4), "that is the mean itself; perplexity is e to its power"),
        (16 / 5, "average the logarithms, not the numbers"),
        (5.0, "average the logarithms, not the numbers: perplexity is e to minus the mean log-probability"),
    )
    _assert_number("probabilities 1/2, 1/8, 1/2, 1/8: perplexity", got[0], 4.0, slips)


@visible(points=0.5)
def check_bits_per_byte(perplexity_and_bits_per_byte):
    """Bits per byte of the worked example: 8 bits over 5 bytes"""
    got = perplexity_and_bits_per_byte([math.log(p) for p in (0.5, 0.125, 0.5, 0.125)], 5)
    assert isinstance(got, tuple | list) and len(got) == 2, f"expected a pair, (perplexity, bits per byte), got {got!r:.100}"
    slips = (
        (2.0, "that is bits per token; divide by the 5 bytes, not by the 4 tokens"),
        (8 * math.log(2) / 5, "that is in natural units; divide by ln 2 to get bits"),
        (8 * math.log(2) ** 2 / 5, "divide by ln 2, do not multiply"),
        (8.0, "that is the bits of the whole text; divide by its bytes"),
        (0.4, "that is bits per token divided by bytes; divide the sum, not the mean"),
        (-1.6, "the sign is missing"),
        (4.0, "that is the perplexity; bits per byte come second"),
    )
    _assert_number("probabilities 1/2, 1/8, 1/2, 1/8 in 5 bytes: bits per byte", got[1], 1.6, slips)


@hidden(points=0.5)
def check_measures_of_known_texts(perplexity_and_bits_per_byte):
    """Uniform models, arrays, one token, and a token cut in two"""
    for V, T in ((2048, 1), (7, 300)):
        got = perplexity_and_bits_per_byte(np.full(T, -math.log(V)), 2 * T)
        _assert_measures(f"{T} token(s) in an array, each of probability 1/{V}, {2 * T} bytes", got, V, math.log2(V) / 2)
    _assert_measures("three certain tokens", perplexity_and_bits_per_byte([0.0, 0.0, 0.0], 9), 1.0, 0.0)
    whole = perplexity_and_bits_per_byte([math.log(p) for p in (0.09, 0.2)], 6)
    parts = perplexity_and_bits_per_byte([math.log(p) for p in (0.3, 0.3, 0.2)], 6)
    _assert_measures("tokens of probability 0.09, 0.2", whole, (0.09 * 0.2) ** -0.5, -math.log2(0.018) / 6)
    _assert_measures("the same text cut into 0.3, 0.3, 0.2", parts, 0.018 ** (-1 / 3), -math.log2(0.018) / 6)


@hidden(points=0.5)
def check_impossible_token(perplexity_and_bits_per_byte):
    """A token of probability 0 makes both measures infinite"""
    for log_probs in ([-1.0, -math.inf, -2.0], np.array([-1.0, -np.inf, -2.0])):
        kind = "list" if isinstance(log_probs, list) else "array"
        _assert_measures(f"the {kind} [-1, -inf, -2]", perplexity_and_bits_per_byte(log_probs, 3), math.inf, math.inf)


# 2.6 ----------------------------------------------------------------------------------------------------------------


def _chain(then):
    """A model of six tokens that puts 0.75 on the token that `then` gives after the last one, and on the end after others."""

    def next_probabilities(history):
        p = np.full(6, 0.05)
        p[then.get(int(history[-1]) if len(history) else None, 0)] = 0.75
        return p

    return next_probabilities


def _always(*p):
    return lambda history: np.array(p)


def _assert_tokens(what, got, want, slips=()):
    assert isinstance(got, list), f"{what}: expected a list of tokens, got {got!r:.100}"
    if [int(token) for token in got] != want:
        found = [mistake for tokens, mistake in slips if got == tokens]
        raise AssertionError(f"{what}: got {got!r:.100}, expected {want}{': ' + found[0] if found else ''}")


@visible(points=0.5)
def check_most_likely_path(generate):
    """Temperature 0 follows the most likely tokens to the end token"""
    got = generate(_chain({5: 3, 3: 1, 1: 4, 4: 0}), [2, 5], 10, 0, 0, np.random.default_rng(1))
    slips = (
        ([2, 5, 3, 1, 4], "return the new tokens only, without the prompt"),
        ([3, 1, 4, 0], "the end token stops the text and is not returned"),
        ([2, 5, 3, 1, 4, 0], "return the new tokens only, without the prompt and without the end token"),
        ([3, 1, 4] + [0] * 7, "stop when the end token comes up"),
        ([], "the prompt [2, 5] must be part of the history that you ask about"),
    )
    _assert_tokens("after 5 comes 3, then 1, 4, and the end 0; prompt [2, 5], temperature 0", got, [3, 1, 4], slips)


@visible(points=0.5)
def check_whole_history(generate):
    """Each turn asks about the prompt and all new tokens, as one tuple"""
    asked = []

    def next_probabilities(history):
        asked.append(history)
        return _chain({5: 3, 3: 1, 1: 4, 4: 0})(history)

    generate(next_probabilities, [2, 5], 3, 0, 0, np.random.default_rng(1))
    for turn, want in enumerate([(2, 5), (2, 5, 3), (2, 5, 3, 1)]):
        assert len(asked) > turn, f"max_tokens = 3 and no end token: you asked {len(asked)} time(s) for the next distribution, expected 3"
        got = asked[turn]
        assert isinstance(got, tuple), f"turn {turn + 1}: next_probabilities got a {type(got).__name__}, expected a tuple, {want}"
        assert got == want, f"turn {turn + 1}: next_probabilities got the history {got}, expected {want}: the prompt and every new token"


@visible(points=0.5)
def check_temperature(generate):
    """1,000 tokens drawn from 0.8 and 0.2 at temperatures 1, 2 and 0.5"""
    for temperature, want in ((1, 1 / 5), (2, 1 / 3), (0.5, 1 / 17)):
        tokens = generate(_always(0, 0.8, 0.2), [1], 1000, temperature, 0, np.random.default_rng(5))
        what = f"probabilities 0, 0.8, 0.2 at temperature {temperature}"
        assert len(tokens) == 1000, f"{what}: got {len(tokens)} tokens, expected 1,000; the end token 0 has probability 0"
        share, margin = sum(int(token) == 2 for token in tokens) / 1000, 6 * (want * (1 - want) / 1000) ** 0.5
        other = {1: 1 / 5, 2: 1 / 17, 0.5: 1 / 3}[temperature]
        hint = ""
        if share == 0:
            hint = ": draw with the generator; the most likely token is taken at temperature 0 only"
        elif temperature != 1 and abs(share - other) < margin:
            hint = f": raise to the power 1 / temperature = {1 / temperature:g}, not to the power {temperature:g}"
        elif temperature != 1 and abs(share - 0.2) < margin:
            hint = ": the temperature has no effect"
        assert abs(share - want) < margin, f"{what}: {share:.1%} of the tokens are 2, expected {want:.1%} (give or take {margin:.1%}){hint}"


@hidden(points=0.5)
def check_limits(generate):
    """No tokens asked for, equal probabilities, an empty prompt, another end token, nothing but the end"""
    rng = np.random.default_rng
    _assert_tokens("max_tokens = 0", generate(_always(0, 1.0), [1], 0, 1, 0, rng(1)), [])
    _assert_tokens("max_tokens = 4, only token 1 possible", generate(_always(0, 1.0), [1], 4, 1, 0, rng(1)), [1] * 4)
    got = generate(_always(0.1, 0.2, 0.35, 0.35), [1], 2, 0, 0, rng(1))
    _assert_tokens("probabilities 0.1, 0.2, 0.35, 0.35 at temperature 0, the lowest of equals", got, [2, 2])
    _assert_tokens("an empty prompt", generate(_chain({None: 3, 3: 2}), [], 9, 0, 0, rng(1)), [3, 2])
    got = generate(_chain({None: 4, 4: 0, 0: 5}), [], 9, 0, 5, rng(1))
    _assert_tokens("tokens 4, 0, 5 in turn with end = 5", got, [4, 0])
    _assert_tokens("only the end token possible", generate(_always(1.0, 0), [1], 3, 1, 0, rng(1)), [])


@hidden(points=0.5)
def check_generator(generate):
    """The generator alone decides: equal seeds, equal texts; other seeds, other texts; every draw anew"""
    flat = _always(0, *[0.125] * 8)
    texts = [[int(t) for t in generate(flat, [1], 40, 1, 0, np.random.default_rng(seed))] for seed in (11, 11, 12)]
    assert texts[0] == texts[1], "two generators of the same seed gave two different texts: take every random number from `generator`"
    assert texts[0] != texts[2], "generators of two seeds gave the same 40 tokens out of 8: draw with the `generator` that is passed in"
    assert len(set(texts[0])) > 1, f"40 draws from 8 equally likely tokens gave token {texts[0][0]} every time: draw anew each turn"


@hidden(points=0.25)
def check_extreme_temperatures(generate):
    """Temperature 0.001 works, though 0.1 to the power 1000 is 0.0 in floating point; temperature 100 draws nothing impossible"""
    p = [0.0, *[0.06] * 7, 0.1, *[0.06] * 8]
    try:
        got = generate(_always(*p), [1], 20, 0.001, 0, np.random.default_rng(3))
    except (ValueError, ZeroDivisionError) as error:
        message = "16 tokens, the likeliest with 0.1, temperature 0.001: all powers underflow to 0 and their sum with them"
        raise AssertionError(f"{message} ({type(error).__name__}: {error!s:.80}); divide by the largest probability first") from None
    _assert_tokens("16 tokens, token 8 with 0.1 and the others with 0.06, temperature 0.001", got, [8] * 20)
    got = generate(_always(0, 0.7, 0.3, 0), [1], 300, 100, 0, np.random.default_rng(4))
    wrong = [int(t) for t in got if int(t) not in (1, 2)]
    assert len(got) == 300 and not wrong, f"probabilities 0, 0.7, 0.3, 0 at temperature 100: a token of probability 0 was drawn ({wrong[:1] or [0]})"  # fmt: skip


@hidden(points=0.25)
def check_nothing_changed(generate):
    """The prompt and the model's arrays stay as they were"""
    prompt, p = [2, 1], np.array([0, 0.8, 0.2])
    for temperature in (0, 0.5, 2):
        generate(lambda history: p, prompt, 5, temperature, 0, np.random.default_rng(2))
        assert prompt == [2, 1], f"the prompt was [2, 1] and is now {prompt}: collect the new tokens in a list of their own"
        assert np.array_equal(p, [0, 0.8, 0.2]), f"the model returned [0, 0.8, 0.2] and its array is now {p}: do not compute in place"


# 2.7 ----------------------------------------------------------------------------------------------------------------


def _log_probs(model, paragraph):
    """What log_probs says of a paragraph: (len(paragraph) + 1,) finite numbers."""
    values = np.asarray(model.log_probs(list(paragraph)), dtype=float)
    assert values.shape == (len(paragraph) + 1,), (
        f"log_probs of {len(paragraph)} tokens has shape {values.shape}, expected ({len(paragraph) + 1},): "
        "one number for each token and one for the end token behind the last"
    )
    for i, value in enumerate(values):
        assert math.isfinite(value) and value <= _TOLERANCE, (
            f"log_probs gives position {i} of a paragraph of {len(paragraph)} tokens the value {value:.4f}, expected a natural "
            "logarithm, finite and at most 0; held-out text always holds something never seen: smooth"
        )
    return values


def _assert_honest(model, paragraph, log_probs, positions):
    """log_probs is the logarithm of next_probabilities at each of the positions, and that sums to one."""
    for i in positions:
        history, token = tuple(paragraph[:i]), [*paragraph, END_ID][i]
        p = np.asarray(model.next_probabilities(history), dtype=float)
        assert p.shape == (VOCAB_SIZE,), f"next_probabilities has shape {p.shape}, expected (V,) = ({VOCAB_SIZE},)"
        where = f"position {i} of a paragraph, history {'(' if i < 4 else '(…, '}{', '.join(map(str, history[-3:]))})"
        assert p.min() >= 0, f"{where}: next_probabilities gives token {p.argmin()} the probability {p.min():.4f}, below 0"
        assert abs(p.sum() - 1) < 1e-4, f"{where}: next_probabilities sums to {p.sum():.4f} over the {VOCAB_SIZE} tokens, expected 1"
        said = math.log(p[token]) if p[token] > 0 else -math.inf
        hint = "; log_probs is in another base: take natural logarithms" if math.isclose(log_probs[i] * math.log(2), said, rel_tol=1e-3) else ""
        assert math.isclose(log_probs[i], said, abs_tol=1e-4), (
            f"{where}: log_probs gives token {token} {log_probs[i]:.4f}, the logarithm of next_probabilities is {said:.4f}{hint}; "
            "both must see the same history, padded alike, and no token from position i on"
        )


def _small_text():
    """250 training paragraphs to learn from and short ones to score."""
    paragraphs = token_ids("train")
    return paragraphs[:250], sorted(paragraphs[250:300], key=len)[:3]


@visible(points=0.25)
def check_scores_every_token(LanguageModel):
    """log_probs gives one finite number for each token and one for the end (trained on 250 paragraphs)"""
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
        positions = [0, 1, 2, 3, 4, len(paragraph) // 2, len(paragraph) - 1, len(paragraph)]
        _assert_honest(model, paragraph, _log_probs(model, paragraph), positions)


@lru_cache(maxsize=1)
def _bits_per_byte(LanguageModel):
    """Train on the whole training text, prove the model honest on 24 places, return its bits per byte on the validation text."""
    model = LanguageModel(token_ids("train"), VOCAB_SIZE, END_ID)
    paragraphs, rng, bits = token_ids("validation"), random.Random(2), 0.0
    sampled = set(rng.sample(range(len(paragraphs)), 24))
    for number, paragraph in enumerate(paragraphs):
        log_probs = _log_probs(model, paragraph)
        bits -= log_probs.sum() / math.log(2)
        if number in sampled:
            _assert_honest(model, paragraph, log_probs, [rng.randint(0, len(paragraph))])
            cut = rng.randint(1, len(paragraph) - 1)
            other = [*paragraph[:cut], *rng.choices(range(1, VOCAB_SIZE), k=3)]
            changed = np.abs(_log_probs(model, other)[:cut] - log_probs[:cut])
            assert changed.max() < 1e-4, (
                f"position {changed.argmax()} of a paragraph: its log-probability changes by {changed.max():.4f} when the tokens from "
                f"position {cut} on are others: it may depend on earlier tokens of its paragraph only, and on nothing scored before"
            )
    return bits / n_bytes("validation")


@hidden(points=0.5)
def check_beats_two_bits(LanguageModel):
    """Honest, and at most 2.0 bits per byte on the validation text"""
    bits = _bits_per_byte(LanguageModel)
    assert bits <= 2.0, f"your model needs {bits:.3f} bits per byte on the validation text, expected at most 2.0: use at least three orders"


@hidden(points=1)
def check_reaches_the_target(LanguageModel):
    """Honest, and at most 1.86 bits per byte on the validation text"""
    bits = _bits_per_byte(LanguageModel)
    assert bits <= 1.86, f"your model needs {bits:.3f} bits per byte on the validation text, expected at most 1.86: try Kneser-Ney at order 4, D = 0.75"  # fmt: skip
