"""Variants of the solutions of chapter 2, n-grams: the mistakes that students make, and other right answers."""

import math
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np

from autograder.variant import edited, right, wrong


def _counted(paragraphs, n, end):
    """The counts that a language model written out below needs."""
    table = defaultdict(Counter)
    for paragraph in paragraphs:
        tokens = (*[end] * (n - 1), *paragraph, end)
        for start in range(len(tokens) - n + 1):
            table[tokens[start : start + n - 1]][tokens[start + n - 1]] += 1
    return dict(table)


# count_ngrams

edited(
    __name__,
    "no_end_token",
    of="count_ngrams",
    edits={"list(paragraph) + [end]": "list(paragraph)"},
    fails="check_bigrams",
    says="the end token 0 behind each paragraph is counted",
)
edited(
    __name__,
    "pads_with_n_end_tokens",
    of="count_ngrams",
    edits={"[end] * (n - 1)": "[end] * n"},
    fails="check_bigrams",
    says="the n - 1 = 1 end tokens in front are history only",
)
edited(
    __name__,
    "no_end_tokens_in_front",
    of="count_ngrams",
    edits={"[end] * (n - 1) + list(paragraph)": "list(paragraph)"},
    fails="check_bigrams",
    says="the history (0,) is missing",
)
edited(
    __name__,
    "keeps_zeros",
    of="count_ngrams",
    edits={".setdefault(tuple(tokens[i - n + 1 : i]), {})": ".setdefault(tuple(tokens[i - n + 1 : i]), dict.fromkeys(range(3), 0))"},
    fails="check_bigrams",
    says="what was never seen has no entry",
)
edited(
    __name__,
    "history_is_one_short",
    of="count_ngrams",
    edits={"tokens[i - n + 1 : i]": "tokens[i - n + 2 : i]"},
    fails="check_bigrams",
    says="every history is a tuple of n - 1 = 1 ids",
)
edited(
    __name__,
    "history_as_text",
    of="count_ngrams",
    edits={"tuple(tokens[i - n + 1 : i])": "str(tokens[i - n + 1 : i])"},
    fails="check_bigrams",
    says="expected the history as a tuple",
)
edited(
    __name__,
    "end_is_always_zero",
    of="count_ngrams",
    edits={"list(paragraph) + [end]": "list(paragraph) + [0]"},
    fails="check_unigrams_and_trigrams",
    says="[[3]] with n = 2 and end = 9",
)


edited(
    __name__,
    "counts_begin_at_one",
    of="count_ngrams",
    edits={"followers.get(tokens[i], 0)": "followers.get(tokens[i], 1)"},
    fails="check_bigrams",
    says="each count is one too many",
)
edited(
    __name__,
    "counts_begin_below_zero",
    of="count_ngrams",
    edits={"followers.get(tokens[i], 0)": "followers.get(tokens[i], -1)"},
    fails="check_bigrams",
    says="token 0 has the count 0",
)
edited(
    __name__,
    "makes_the_inner_dictionary_anew",
    of="count_ngrams",
    edits={"followers = counts.setdefault(tuple(tokens[i - n + 1 : i]), {})": "followers = counts[tuple(tokens[i - n + 1 : i])] = {}"},
    fails="check_bigrams",
    says="is the inner dictionary made anew each time",
)
edited(
    __name__,
    "returns_after_one_paragraph",
    of="count_ngrams",
    edits={"\n    return counts": "\n        return counts"},
    fails="check_bigrams",
    says="does `return` stand inside a loop",
)
edited(
    __name__,
    "probabilities_in_place_of_counts",
    of="count_ngrams",
    edits={"return counts": "return {h: {w: c / sum(f.values()) for w, c in f.items()} for h, f in counts.items()}"},
    fails="check_bigrams",
    says="expected counts, whole numbers",
)
edited(
    __name__,
    "one_flat_dictionary",
    of="count_ngrams",
    edits={"return counts": "return {(*h, w): c for h, f in counts.items() for w, c in f.items()}"},
    fails="check_bigrams",
    says="dictionary of dictionaries",
)
edited(
    __name__,
    "prints_the_counts",
    of="count_ngrams",
    edits={"return counts": "print(counts)"},
    fails="check_bigrams",
    says="got None: `return` the result, do not print it",
)
edited(
    __name__,
    "history_reversed",
    of="count_ngrams",
    edits={"tuple(tokens[i - n + 1 : i])": "tuple(tokens[i - n + 1 : i][::-1])"},
    fails="check_unigrams_and_trigrams",
    says="is the order of the history reversed?",
)


@wrong(of="count_ngrams", fails="check_bigrams", says="expected the history as a tuple")
def bare_tokens_as_histories(paragraphs, n, end):
    counts = {}
    for paragraph in paragraphs:
        for before, token in pairwise([end, *paragraph, end]):
            followers = counts.setdefault(before, {})
            followers[token] = followers.get(token, 0) + 1
    return counts


@wrong(of="count_ngrams", fails="check_unigrams_and_trigrams", says="no n-gram crosses from one paragraph to the next")
def one_long_text(paragraphs, n, end):
    tokens = [end] * (n - 1)
    for paragraph in paragraphs:
        tokens += [*paragraph, end]
    counts = {}
    for i in range(n - 1, len(tokens)):
        counts.setdefault(tuple(tokens[i - n + 1 : i]), Counter())[tokens[i]] += 1
    return counts


@wrong(of="count_ngrams", fails="check_unigrams_and_trigrams", says="n - 1 = 2 ids, also at the start of a paragraph")
def one_end_token_in_front(paragraphs, n, end):
    counts = {}
    for paragraph in paragraphs:
        tokens = [end, *paragraph, end]
        for i in range(1, len(tokens)):
            followers = counts.setdefault(tuple(tokens[max(0, i - n + 1) : i]), {})
            followers[tokens[i]] = followers.get(tokens[i], 0) + 1
    return counts


@wrong(of="count_ngrams", fails="check_edges_of_counting", says="have become [[4, 5, 9], [9], [5, 9]]")
def appends_to_the_paragraphs(paragraphs, n, end):
    counts = {}
    for paragraph in paragraphs:
        paragraph.append(end)
        tokens = [end] * (n - 1) + paragraph
        for i in range(n - 1, len(tokens)):
            counts.setdefault(tuple(tokens[i - n + 1 : i]), Counter())[tokens[i]] += 1
    return counts


edited(
    __name__,
    "skips_empty_paragraphs",
    of="count_ngrams",
    edits={"for paragraph in paragraphs:": "for paragraph in filter(None, paragraphs):"},
    fails="check_edges_of_counting",
    says="the history (0, 0) is missing",
)
edited(
    __name__,
    "cuts_long_paragraphs",
    of="count_ngrams",
    edits={"list(paragraph)": "list(paragraph)[:100]"},
    fails="check_tables_of_real_text",
    says="the counts add up to",
)


@right(of="count_ngrams")
def counters_over_shifted_lists(paragraphs, n, end):
    table = defaultdict(Counter)
    for paragraph in paragraphs:
        padded = [end] * (n - 1) + list(paragraph) + [end]
        for *history, token in zip(*(padded[shift:] for shift in range(n)), strict=False):
            table[tuple(history)][token] += 1
    return table


@right(of="count_ngrams")
def sliding_history(paragraphs, n, end):
    counts = defaultdict(lambda: defaultdict(int))
    for paragraph in paragraphs:
        history = (end,) * (n - 1)
        for token in (*paragraph, end):
            counts[history][token] += 1
            history = (*history, token)[1:]
    return counts


@right(of="count_ngrams")
def counts_of_arrays(paragraphs, n, end):
    counts = {}
    for paragraph in paragraphs:
        padded = np.concatenate([np.full(n - 1, end), np.array(paragraph, dtype=int), [end]]).astype(int)
        for window in np.lib.stride_tricks.sliding_window_view(padded, n):
            *history, token = (int(x) for x in window)
            counts.setdefault(tuple(history), Counter())[token] += 1
    return counts


# add_k_probability

edited(
    __name__,
    "total_without_k",
    of="add_k_probability",
    edits={" + k * V": ""},
    fails="check_added_counts",
    says="the total grows too",
)
edited(
    __name__,
    "k_added_to_the_total_once",
    of="add_k_probability",
    edits={" + k * V": " + k"},
    fails="check_added_counts",
    says="the total grows by k V, not by k",
)
edited(
    __name__,
    "k_for_the_seen_tokens_only",
    of="add_k_probability",
    edits={"k * V": "k * len(followers)"},
    fails="check_added_counts",
    says="k for each of the V = 4 tokens",
)
edited(
    __name__,
    "total_grows_by_V",
    of="add_k_probability",
    edits={"k * V": "V"},
    fails="check_added_counts",
    says="the total grows by k V = 2, not by V = 4",
)
edited(
    __name__,
    "k_missing_above_the_line",
    of="add_k_probability",
    edits={"(followers.get(token, 0) + k)": "followers.get(token, 0)"},
    fails="check_added_counts",
    says="k is missing above the line",
)
edited(
    __name__,
    "looks_up_the_last_token",
    of="add_k_probability",
    edits={"counts.get(history, {})": "counts.get(history[-1], {})"},
    fails="check_added_counts",
    says="this is 1 / V, as after a history never seen",
)
edited(
    __name__,
    "integer_division",
    of="add_k_probability",
    edits={"+ k) / total": "+ k) // total"},
    fails="check_added_counts",
    says="divide with /, not with //",
)
edited(
    __name__,
    "zero_for_unseen_tokens",
    of="add_k_probability",
    edits={"if total > 0 else": "if token in followers else"},
    fails="check_added_counts",
    says="has the count 0 + k",
)
edited(
    __name__,
    "unseen_history_raises",
    of="add_k_probability",
    edits={"counts.get(history, {})": "counts[history]"},
    fails="check_without_smoothing",
    says="stopped with KeyError",
)
edited(
    __name__,
    "divides_by_zero",
    of="add_k_probability",
    edits={" if total > 0 else 0.0": ""},
    fails="check_without_smoothing",
    says="0 / 0 is defined as 0.0",
)
edited(
    __name__,
    "unseen_history_is_uniform_without_k",
    of="add_k_probability",
    edits={" else 0.0": " else 1 / V"},
    fails="check_without_smoothing",
    says="0 / 0 is defined as 0.0",
)
edited(
    __name__,
    "unseen_history_is_zero_with_k",
    of="add_k_probability",
    edits={"if total > 0": "if followers"},
    fails="check_without_smoothing",
    says="k / (k V) = 1 / V",
)
edited(
    __name__,
    "adds_the_history",
    of="add_k_probability",
    edits={"counts.get(history, {})": "counts.setdefault(history, {})"},
    fails="check_lookup_adds_nothing",
    says="look up with .get",
)


edited(
    __name__,
    "total_of_one_at_least",
    of="add_k_probability",
    edits={" / total if total > 0 else 0.0": " / max(total, 1)"},
    fails="check_without_smoothing",
    says="k / (k V) = 1 / V) is 0.0500",
)
edited(
    __name__,
    "V_of_the_example",
    of="add_k_probability",
    edits={"k * V": "k * 4"},
    fails="check_added_counts_sum_to_one",
    says="V = 5: the probabilities after () sum to",
)


@wrong(of="add_k_probability", fails="check_lookup_adds_nothing", says="look up with .get")
def reads_a_defaultdict(counts, history, token, k, V):
    followers = counts[history] if isinstance(counts, defaultdict) or history in counts else {}
    count = followers[token] if isinstance(followers, defaultdict) or token in followers else 0
    total = sum(followers.values()) + k * V
    return (count + k) / total if total else 0.0


_totals = {}


@wrong(of="add_k_probability", fails="check_added_counts_sum_to_one", says="sum to")
def remembers_totals_of_histories(counts, history, token, k, V):
    if history not in _totals:
        _totals[history] = sum(counts.get(history, {}).values())
    total = _totals[history] + k * V
    return (counts.get(history, {}).get(token, 0) + k) / total if total else 0.0


@right(of="add_k_probability")
def looks_before_it_asks(counts, history, token, k, V):
    if history not in counts:
        return np.float64(1 / V) if k > 0 else 0
    count = counts[history].get(token, 0)
    return np.float64(count + k) / (sum(counts[history].values()) + k * V)


@right(of="add_k_probability")
def adds_up_a_dense_row(counts, history, token, k, V):
    row = np.full(V, float(k))
    for other, count in counts.get(history, {}).items():
        row[other] += count
    return row[token] / row.sum() if row.sum() > 0 else 0.0


# interpolated_probability

edited(
    __name__,
    "weights_from_long_to_short",
    of="interpolated_probability",
    edits={
        "mixed, weight_in_use =": "weights = weights[::-1]\n    mixed, weight_in_use =",
    },
    fails="check_mixture",
    says="the weights are in the wrong order",
)
edited(
    __name__,
    "weight_of_the_order_below",
    of="interpolated_probability",
    edits={
        "= weights[0] / V, weights[0]": "= weights[-1] / V, weights[-1]",
        "mixed += weights[i + 1]": "mixed += weights[i]",
        "weight_in_use += weights[i + 1]": "weight_in_use += weights[i]",
    },
    fails="check_mixture",
    says="weights[1] to the unigrams",
)
edited(
    __name__,
    "weight_of_the_order_below_twice",
    of="interpolated_probability",
    edits={"mixed += weights[i + 1]": "mixed += weights[i]"},
    fails="check_mixture",
    says="tables[i] has the weight weights[i + 1]",
)
edited(
    __name__,
    "different_tokens_in_place_of_total",
    of="interpolated_probability",
    edits={"sum(followers.values())": "len(followers)"},
    fails="check_mixture",
    says="not by the number of different tokens",
)
edited(
    __name__,
    "backs_off",
    of="interpolated_probability",
    edits={
        "mixed += weights[i + 1] * followers.get(token, 0)": "mixed = followers.get(token, 0)",
        "mixed / weight_in_use if weight_in_use > 0 else 1 / V": "mixed",
    },
    fails="check_mixture",
    says="this is the bigrams' estimate alone",
)
edited(
    __name__,
    "unknown_history_stops",
    of="interpolated_probability",
    edits={"counts.get(tuple(history[len(history) - i :]), {})": "counts[tuple(history[len(history) - i :])]"},
    fails="check_unknown_history",
    says="stopped with KeyError",
)
edited(
    __name__,
    "no_uniform_part",
    of="interpolated_probability",
    edits={"weights[0] / V, weights[0]": "0, weights[0]"},
    fails="check_mixture",
    says="the uniform part, weights[0] / V = 0.05, is missing",
)
edited(
    __name__,
    "uniform_part_not_divided",
    of="interpolated_probability",
    edits={"weights[0] / V, weights[0]": "weights[0], weights[0]"},
    fails="check_mixture",
    says="gives each token 1 / V, not 1",
)
edited(
    __name__,
    "first_tokens_of_the_history",
    of="interpolated_probability",
    edits={"history[len(history) - i :]": "history[:i]"},
    fails="check_longer_history",
    says="looked up the first token of the history",
)
edited(
    __name__,
    "minus_zero_is_everything",
    of="interpolated_probability",
    edits={"history[len(history) - i :]": "history[-i:]"},
    fails="check_mixture",
    says="history[-0:] is the whole history",
)
edited(
    __name__,
    "whole_history_at_every_order",
    of="interpolated_probability",
    edits={"tuple(history[len(history) - i :])": "tuple(history) if i else ()"},
    fails="check_longer_history",
    says="their history is the last token alone",
)
edited(
    __name__,
    "weights_not_divided",
    of="interpolated_probability",
    edits={"mixed / weight_in_use if weight_in_use > 0 else 1 / V": "mixed"},
    fails="check_unknown_history",
    says="divide by the weights in use, 0.2 + 0.35",
)
edited(
    __name__,
    "no_weight_in_use",
    of="interpolated_probability",
    edits={" if weight_in_use > 0 else 1 / V": ""},
    fails="check_unknown_history",
    says="history 3 never seen: P(2 | 3) stopped with ZeroDivisionError",
)
edited(
    __name__,
    "uniform_weight_not_in_use",
    of="interpolated_probability",
    edits={"mixed, weight_in_use = weights[0] / V, weights[0]": "mixed, weight_in_use = weights[0] / V, 0"},
    fails="check_mixture",
    says="its weight is in use too",
)
edited(
    __name__,
    "lost_weight_to_the_uniform_part",
    of="interpolated_probability",
    edits={
        "weight_in_use += weights[i + 1]\n": "weight_in_use += weights[i + 1]\n        else:\n            mixed += weights[i + 1] / V\n",
        "mixed / weight_in_use if weight_in_use > 0 else 1 / V": "mixed",
    },
    fails="check_unknown_history",
    says="does not go to 1 / V alone",
)


edited(
    __name__,
    "unseen_token_is_an_unseen_history",
    of="interpolated_probability",
    edits={"if followers:": "if token in followers:"},
    fails="check_mixture",
    says="the bigrams hold history 1",
)


edited(
    __name__,
    "two_tables_only",
    of="interpolated_probability",
    edits={"enumerate(tables)": "enumerate(tables[:2])"},
    fails="check_three_orders_mixed",
    says="P(0 | (1, 2)) is",
)


@wrong(of="interpolated_probability", fails="check_unknown_histories_of_trigrams", says="look up with .get")
def adds_histories_to_the_tables(tables, weights, history, token, V):
    parts, in_use = [weights[0] / V], weights[0]
    for i, counts in enumerate(tables):
        followers = counts.setdefault(tuple(history[len(history) - i :]), {})
        if followers:
            parts.append(weights[i + 1] * followers.get(token, 0) / sum(followers.values()))
            in_use += weights[i + 1]
    return sum(parts) / in_use if in_use else 1 / V


@wrong(of="interpolated_probability", fails="check_unknown_histories_of_trigrams", says="the weights 0.1, 0.2, 0.3, 0.4 have become")
def sets_weights_to_zero(tables, weights, history, token, V):
    mixed = weights[0] / V
    for i, counts in enumerate(tables):
        context = tuple(history[len(history) - i :])
        if context in counts:
            mixed += weights[i + 1] * counts[context].get(token, 0) / sum(counts[context].values())
        else:
            weights[i + 1] = 0
    return mixed / sum(weights) if sum(weights) else 1 / V


@right(of="interpolated_probability")
def estimates_in_arrays(tables, weights, history, token, V):
    estimates, known = np.zeros(len(weights)), np.zeros(len(weights), dtype=bool)
    estimates[0], known[0] = 1 / V, True
    for i, counts in enumerate(tables, start=1):
        context = tuple(history)[-(i - 1) :] if i > 1 else ()
        if context in counts:
            estimates[i], known[i] = counts[context].get(token, 0) / sum(counts[context].values()), True
    in_use = np.array(weights) * known
    return (in_use @ estimates) / in_use.sum() if in_use.sum() else 1 / V


edited(
    __name__,
    "longer_histories_of_an_unknown_one_are_unknown",
    of="interpolated_probability",
    edits={"weight_in_use += weights[i + 1]\n": "weight_in_use += weights[i + 1]\n        else:\n            break\n"},
)


@right(of="interpolated_probability")
def shortens_the_history(tables, weights, history, token, V):
    pairs = [(weights[0], 1 / V)]
    context = history[len(history) - len(tables) + 1 :]
    for counts, weight in zip(reversed(tables), reversed(weights), strict=False):
        if context in counts:
            pairs.append((weight, counts[context].get(token, 0) / sum(counts[context].values())))
        context = context[1:]
    total = sum(weight for weight, _ in pairs)
    return 1 / V if total == 0 else sum(weight * p for weight, p in pairs) / total


# KneserNey

edited(
    __name__,
    "raw_counts_everywhere",
    of="KneserNey",
    edits={"self.tables.append(continuation)": "self.tables.append(tables[len(self.tables)])"},
    fails="check_continuation_counts",
    says="york counts 3 of 15",
)
edited(
    __name__,
    "tokens_after_in_place_of_before",
    of="KneserNey",
    edits={"                for token in followers:": "                for token in history[-1:] * len(followers):"},
    fails="check_continuation_counts",
    says="count the tokens before it, not those after it",
)
edited(
    __name__,
    "nothing_stands_before_a_paragraph",
    of="KneserNey",
    edits={
        "            for history, followers in counts.items():\n": "            for history, followers in counts.items():\n"
        "                if history[0] == 0:\n                    continue\n"
    },
    fails="check_continuation_counts",
    says="8 different bigrams, not 5",
)
edited(
    __name__,
    "nothing_below_the_unigrams",
    of="KneserNey",
    edits={"p = 1 / self.V": "p = 0.0"},
    fails="check_continuation_counts",
    says="below the unigrams stands P_0 = 1 / V, not 0",
)
edited(
    __name__,
    "one_below_the_unigrams",
    of="KneserNey",
    edits={"p = 1 / self.V": "p = 1.0"},
    fails="check_continuation_counts",
    says="gives each token 1 / V = 0.02",
)
edited(
    __name__,
    "total_in_place_of_followers",
    of="KneserNey",
    edits={"len(followers) * p": "self.totals[i][context] * p"},
    fails="check_continuation_counts",
    says="8 is the total count",
)
edited(
    __name__,
    "no_discount",
    of="KneserNey",
    edits={"followers.get(token, 0) - self.discount": "followers.get(token, 0)", " + self.discount * len(followers) * p": ""},
    fails="check_continuation_counts",
    says="either 0.5 is not taken off every count",
)
edited(
    __name__,
    "end_token_not_counted",
    of="KneserNey",
    edits={"                for token in followers:": "                for token in filter(None, followers):"},
    fails="check_continuation_counts",
    says="the end token is a token like the others",
)
edited(
    __name__,
    "different_tokens_forgotten",
    of="KneserNey",
    edits={"self.discount * len(followers) * p": "self.discount * p"},
    fails="check_continuation_counts",
    says="the weight 0.5 times N = 6",
)
edited(
    __name__,
    "history_from_minus_zero",
    of="KneserNey",
    edits={"history[len(history) - i :]": "history[-i:]"},
    fails="check_highest_order",
    says="history[-0:] is everything",
)
edited(
    __name__,
    "drops_the_last_token",
    of="KneserNey",
    edits={"history[1:]": "history[:-1]"},
    fails="check_trigrams_of_the_example",
    says="take the first token off a history",
)
edited(
    __name__,
    "V_of_the_York_example",
    of="KneserNey",
    edits={"p = 1 / self.V": "p = 1 / 50"},
    fails="check_long_and_unseen_histories",
    says="the probabilities after (6, 1) sum to",
)
edited(
    __name__,
    "counts_below_zero",
    of="KneserNey",
    edits={"max(followers.get(token, 0) - self.discount, 0.0)": "followers.get(token, 0) - self.discount"},
    fails="check_continuation_counts",
    says="a token with the count 0 keeps 0",
)
edited(
    __name__,
    "highest_order_counts_once",
    of="KneserNey",
    edits={"self.tables.append(tables[-1])": "self.tables.append({h: dict.fromkeys(f, 1) for h, f in tables[-1].items()})"},
    fails="check_highest_order",
    says="the highest order keeps the counts that were given",
)
edited(
    __name__,
    "unseen_history_stops",
    of="KneserNey",
    edits={"self.tables[i].get(context)": "self.tables[i][context]"},
    fails="check_trigrams_of_the_example",
    says="stopped with KeyError",
)
edited(
    __name__,
    "first_tokens_count",
    of="KneserNey",
    edits={"history[len(history) - i :]": "history[:i]"},
    fails="check_trigrams_of_the_example",
    says="and keeps the last",
)
edited(
    __name__,
    "raw_counts_in_the_middle",
    of="KneserNey",
    edits={"self.tables.append(continuation)": "self.tables.append(tables[len(self.tables)] if self.tables else continuation)"},
    fails="check_trigrams_of_the_example",
    says="not the 3 of the given bigrams",
)
edited(
    __name__,
    "continuations_of_continuations",
    of="KneserNey",
    edits={
        "for counts in tables[1:]:": "for counts in reversed(tables[1:]):\n            counts = self.tables[0] if self.tables else counts",
        "for token in followers:": "for token, count in followers.items():",
        "shorter.get(token, 0) + 1": "shorter.get(token, 0) + (count if self.tables else 1)",
        "self.tables.append(continuation)": "self.tables.insert(0, continuation)",
    },
    fails="check_trigrams_of_the_example",
    says="do not add up continuation counts",
)
edited(
    __name__,
    "discount_at_least_one_half",
    of="KneserNey",
    edits={"followers.get(token, 0) - self.discount": "followers.get(token, 0) - max(self.discount, 0.5)"},
    fails="check_sums_to_one",
    says="the probabilities sum to",
)
edited(
    __name__,
    "single_table_is_a_lower_order",
    of="KneserNey",
    edits={"self.tables.append(tables[-1])": "self.tables.append(tables[-1] if self.tables else {(): dict.fromkeys(tables[0][()], 1)})"},
    fails="check_one_order_and_input",
    says="is 0.0933, expected 0.1707",
)
edited(
    __name__,
    "builds_in_the_given_tables",
    of="KneserNey",
    edits={
        "self.totals = [": "for given, made in zip(tables, self.tables, strict=True):\n            made = dict(made)\n"
        "            given.clear()\n            given.update(made)\n        self.totals = [",
    },
    fails="check_one_order_and_input",
    says="the table of order 1 was",
)


edited(
    __name__,
    "looks_up_in_the_given_table",
    of="KneserNey",
    edits={
        "followers = self.tables[i].get(context)": "followers = self.tables[i]\n"
        "            followers = followers[context] if hasattr(followers, 'default_factory') else followers.get(context)"
    },
    fails="check_one_order_and_input",
    says="look up with .get",
)


edited(
    __name__,
    "discount_always_a_half",
    of="KneserNey",
    edits={"self.discount, self.V = discount, V": "self.discount, self.V = 0.5, V"},
    fails="check_three_orders",
    says="this is what the discount 0.5 gives",
)
edited(
    __name__,
    "discount_of_the_class",
    of="KneserNey",
    edits={"self.discount, self.V = discount, V": "KneserNey.discount, self.V = discount, V"},
    fails="check_three_orders",
    says="0.1700, expected 0.1800: a model made later has changed this one",
)
edited(
    __name__,
    "tables_of_the_class",
    of="KneserNey",
    edits={
        "self.tables: list[Counts] = []": "tables_given, KneserNey.tables = tables, []",
        "in tables[1:]": "in tables_given[1:]",
        "self.totals =": "KneserNey.totals =",
    },
    fails="check_three_orders",
    says="keep what belongs to one model in `self`",
)
edited(
    __name__,
    "pads_short_histories",
    of="KneserNey",
    edits={"p = 1 / self.V\n": "p = 1 / self.V\n        history = (0,) * (len(self.tables) - 1 - len(history)) + tuple(history)\n"},
    fails="check_continuation_counts",
    says="as if an end token stood in front",
)


@right(of="KneserNey")
class RecursiveKneserNey:
    def __init__(self, tables, discount, V):
        self.D, self.V, self.n = discount, V, len(tables)
        self.rows = [defaultdict(Counter) for _ in tables]
        for order, table in enumerate(tables):
            for history, followers in table.items():
                for token, count in followers.items():
                    if order == self.n - 1:
                        self.rows[order][history][token] = count
                    if order > 0:
                        self.rows[order - 1][history[1:]][token] += 1

    def probability(self, history, token):
        history = tuple(history)
        return self._p(history[-(self.n - 1) :] if self.n > 1 else (), token)

    def _p(self, history, token):
        below = self._p(history[1:], token) if history else 1 / self.V
        row = self.rows[len(history)]
        if history not in row:
            return below
        total = sum(row[history].values())
        backoff = self.D * len(row[history]) / total
        return max(row[history][token] - self.D, 0) / total + backoff * below if token in row[history] else backoff * below


@right(of="KneserNey")
class KneserNeyOfSets:
    def __init__(self, tables, discount, V):
        self.D, self.V, self.n = discount, V, len(tables)
        self.counts = {(*h, w): c for h, followers in tables[-1].items() for w, c in followers.items()}
        for order in range(self.n - 1, 0, -1):
            before = defaultdict(set)
            for h, followers in tables[order].items():
                for w in followers:
                    before[(*h[1:], w)].add(h[0])
            self.counts.update({ngram: len(tokens) for ngram, tokens in before.items()})
        self.total, self.different = Counter(), Counter()
        for ngram, count in self.counts.items():
            self.total[ngram[:-1]] += count
            self.different[ngram[:-1]] += 1

    def probability(self, history, token):
        p = np.float64(1 / self.V)
        for i in range(min(self.n, len(history) + 1)):
            h = history[len(history) - i :]
            if self.total[h] > 0:
                p = (np.maximum(self.counts.get((*h, token), 0) - self.D, 0) + self.D * self.different[h] * p) / self.total[h]
        return p


# perplexity_and_bits_per_byte

edited(
    __name__,
    "sum_in_place_of_mean",
    of="perplexity_and_bits_per_byte",
    edits={"per_token = total / len(log_probs)": "per_token = total"},
    fails="check_perplexity",
    says="take the mean over the tokens",
)
edited(
    __name__,
    "sign_missing",
    of="perplexity_and_bits_per_byte",
    edits={"total = -float(": "total = float("},
    fails="check_perplexity",
    says="the sign is missing",
)
edited(
    __name__,
    "two_to_natural_power",
    of="perplexity_and_bits_per_byte",
    edits={"math.exp(per_token)": "2**per_token"},
    fails="check_perplexity",
    says="raise e, not 2",
)
edited(
    __name__,
    "mean_over_bytes",
    of="perplexity_and_bits_per_byte",
    edits={"total / len(log_probs)": "total / n_bytes"},
    fails="check_perplexity",
    says="over the 4 tokens, not over the 5 bytes",
)
edited(
    __name__,
    "bits_come_first",
    of="perplexity_and_bits_per_byte",
    edits={"return perplexity, total / math.log(2) / n_bytes": "return total / math.log(2) / n_bytes, perplexity"},
    fails="check_perplexity",
    says="perplexity comes first",
)
edited(
    __name__,
    "bits_per_token",
    of="perplexity_and_bits_per_byte",
    edits={"/ math.log(2) / n_bytes": "/ math.log(2) / len(log_probs)"},
    fails="check_bits_per_byte",
    says="not by the 4 tokens",
)
edited(
    __name__,
    "natural_units",
    of="perplexity_and_bits_per_byte",
    edits={"total / math.log(2) / n_bytes": "total / n_bytes"},
    fails="check_bits_per_byte",
    says="divide by ln 2 to have bits",
)
edited(
    __name__,
    "times_ln_2",
    of="perplexity_and_bits_per_byte",
    edits={"total / math.log(2)": "total * math.log(2)"},
    fails="check_bits_per_byte",
    says="instead of multiplying",
)
edited(
    __name__,
    "mean_per_byte",
    of="perplexity_and_bits_per_byte",
    edits={"return perplexity, total /": "return perplexity, per_token /"},
    fails="check_bits_per_byte",
    says="take the sum",
)
edited(
    __name__,
    "takes_lists_only",
    of="perplexity_and_bits_per_byte",
    edits={"sum(log_probs)": "sum(log_probs or [0.0])"},
    fails="check_measures_of_known_texts",
    says="truth value of an array",
)
edited(
    __name__,
    "leaves_out_impossible_tokens",
    of="perplexity_and_bits_per_byte",
    edits={"sum(log_probs)": "sum(x for x in log_probs if x > -math.inf)"},
    fails="check_impossible_token",
    says="expected inf",
)


edited(
    __name__,
    "e_to_the_bits",
    of="perplexity_and_bits_per_byte",
    edits={"math.exp(per_token) if per_token < 700 else math.inf": "math.exp(per_token / math.log(2))"},
    fails="check_perplexity",
    says="take 2 to the bits, or e to the natural units",
)
edited(
    __name__,
    "rounds",
    of="perplexity_and_bits_per_byte",
    edits={"return perplexity, total / math.log(2) / n_bytes": "return round(perplexity, 4), total / math.log(2) / n_bytes"},
    fails="check_perplexity",
    says="do not round",
)
edited(
    __name__,
    "arrays_of_one_number",
    of="perplexity_and_bits_per_byte",
    edits={"return perplexity, total / math.log(2) / n_bytes": "return np.array([perplexity]), total / math.log(2) / n_bytes"},
    fails="check_perplexity",
    says="make it a number with float(…)",
)


@wrong(of="perplexity_and_bits_per_byte", fails="check_measures_of_known_texts", says="the array of logarithms -7.6246 holds -11.0000 now")
def divides_in_place(log_probs, n_bytes):
    bits = np.asarray(log_probs, dtype=float)
    bits /= math.log(2)
    return float(np.exp2(-bits.mean())), float(-bits.sum() / n_bytes)


@right(of="perplexity_and_bits_per_byte")
def measures_with_numpy(log_probs, n_bytes):
    log_probs = np.asarray(log_probs)
    return np.exp(-log_probs.mean()), -(log_probs / np.log(2)).sum() / n_bytes


@right(of="perplexity_and_bits_per_byte")
def product_of_powers(log_probs, n_bytes):
    bits = sum(-x / math.log(2) for x in log_probs)
    return [2 ** (bits / len(log_probs)), bits / n_bytes]


@right(of="perplexity_and_bits_per_byte")
def an_array_of_two(log_probs, n_bytes):
    bits = -np.sum(log_probs) / np.log(2)
    return np.array([np.exp2(bits / len(log_probs)), bits / n_bytes])


# generate

edited(
    __name__,
    "returns_the_prompt",
    of="generate",
    edits={"return new": "return [*prompt, *new]"},
    fails="check_most_likely_path",
    says="without the prompt",
)
edited(
    __name__,
    "returns_the_end_token",
    of="generate",
    edits={"        if token == end:\n": "        if token == end:\n            new.append(token)\n"},
    fails="check_most_likely_path",
    says="the end token stops the text and is not returned",
)
edited(
    __name__,
    "never_stops",
    of="generate",
    edits={"        if token == end:\n            break\n": ""},
    fails="check_most_likely_path",
    says="stop when the end token comes up",
)
edited(
    __name__,
    "forgets_the_prompt",
    of="generate",
    edits={"(*prompt, *new)": "tuple(new)"},
    fails="check_most_likely_path",
    says="the prompt belongs to the history",
)
edited(
    __name__,
    "asks_about_the_prompt_only",
    of="generate",
    edits={"(*prompt, *new)": "tuple(prompt)"},
    fails="check_most_likely_path",
    says="new tokens belong to the history too",
)
edited(
    __name__,
    "returns_an_array",
    of="generate",
    edits={"return new": "return np.array(new)"},
    fails="check_most_likely_path",
    says="expected a list of tokens, got a ndarray",
)
edited(
    __name__,
    "no_limit",
    of="generate",
    edits={"while len(new) < max_tokens:": "while True:"},
    fails="check_whole_history",
    says="stop at max_tokens",
)
edited(
    __name__,
    "new_generator_each_turn",
    of="generate",
    edits={"int(generator.choice(": "int(np.random.default_rng(0).choice("},
    fails="check_temperature",
    says="you make a new generator each turn",
)
edited(
    __name__,
    "history_is_a_list",
    of="generate",
    edits={"(*prompt, *new)": "[*prompt, *new]"},
    fails="check_whole_history",
    says="got the history [2, 5], a list, expected a tuple",
)
edited(
    __name__,
    "last_new_token_only",
    of="generate",
    edits={"(*prompt, *new)": "(*prompt, *new[-1:])"},
    fails="check_whole_history",
    says="expected 4 tokens: the prompt (2, 5) and all 2 new tokens",
)
edited(
    __name__,
    "power_is_the_temperature",
    of="generate",
    edits={"** (1 / temperature)": "** temperature"},
    fails="check_temperature",
    says="the power is 1 / temperature, 0.5",
)
edited(
    __name__,
    "always_the_most_likely",
    of="generate",
    edits={"if temperature == 0:": "if True:"},
    fails="check_temperature",
    says="draw with the generator",
)
edited(
    __name__,
    "temperature_has_no_effect",
    of="generate",
    edits={" ** (1 / temperature)": ""},
    fails="check_temperature",
    says="the temperature has no effect",
)
edited(
    __name__,
    "softmax_of_probabilities",
    of="generate",
    edits={"(p / p.max()) ** (1 / temperature)": "np.exp(p / temperature)"},
    fails="check_temperature",
    says="no power of 0 is above 0",
)
edited(
    __name__,
    "highest_of_equals",
    of="generate",
    edits={"int(p.argmax())": "int(len(p) - 1 - p[::-1].argmax())"},
    fails="check_limits",
    says="the lowest of equals",
)
edited(
    __name__,
    "end_is_zero",
    of="generate",
    edits={"if token == end:": "if token == 0:"},
    fails="check_limits",
    says="end = 5",
)
edited(
    __name__,
    "generator_of_its_own",
    of="generate",
    edits={"new: list[int] = []": "new: list[int] = []\n    generator = np.random.default_rng(0)"},
    fails="check_generator",
    says="draw with the `generator` that is passed in",
)
edited(
    __name__,
    "global_chance",
    of="generate",
    edits={"generator.choice": "np.random.choice"},
    fails="check_generator",
    says="take every random number from `generator`",
)
edited(
    __name__,
    "underflows",
    of="generate",
    edits={"(p / p.max()) ** (1 / temperature)": "p ** (1 / temperature)"},
    fails="check_cold",
    says="divide by the largest probability before you raise to the power",
)
edited(
    __name__,
    "nothing_is_impossible",
    of="generate",
    edits={"(p / p.max()) ** (1 / temperature)": "np.exp((np.log(p + 1e-10) - np.log(p.max())) / temperature)"},
    fails="check_impossible_tokens",
    says="whose probability is 0",
)
edited(
    __name__,
    "computes_in_place",
    of="generate",
    edits={"sharpened = (p / p.max()) ** (1 / temperature)": "p /= p.max()\n            p **= 1 / temperature\n            sharpened = p"},
    fails="check_nothing_changed",
    says="the model's array",
)


edited(
    __name__,
    "greedy_when_cold",
    of="generate",
    edits={"if temperature == 0": "if temperature < 0.01"},
    fails="check_cold",
    says="equal probabilities stay equal",
)
edited(
    __name__,
    "tokens_are_floats",
    of="generate",
    edits={"new.append(token)": "new.append(float(token))"},
    fails="check_most_likely_path",
    says="expected ids, which are whole numbers, in the list, got [3.0]",
)


@wrong(of="generate", fails="check_nothing_changed", says="the prompt [2, 1] has become [2, 1,")
def appends_to_the_prompt(next_probabilities, prompt, max_tokens, temperature, end, generator):
    new = []
    while len(new) < max_tokens:
        p = next_probabilities(tuple(prompt))
        sharpened = p == p.max() if temperature == 0 else (p / p.max()) ** (1 / temperature)
        token = int(sharpened.argmax()) if temperature == 0 else int(generator.choice(len(p), p=sharpened / sharpened.sum()))
        if token == end:
            break
        prompt.append(token)
        new.append(token)
    return new


@right(of="generate")
def draws_by_inverse_cdf(next_probabilities, prompt, max_tokens, temperature, end, generator):
    history, new = tuple(prompt), []
    for _ in range(max_tokens):
        p = np.array(next_probabilities(history))
        if temperature > 0:
            p = (p / p.max()) ** (1 / temperature)
            cumulative = np.cumsum(p)
            token = np.searchsorted(cumulative, generator.random() * cumulative[-1], side="right")
        else:
            token = np.argmax(p)
        if token == end:
            return new
        history += (token,)
        new.append(token)
    return new


@right(of="generate")
def draws_with_gumbel_noise(next_probabilities, prompt, max_tokens, temperature, end, generator):
    new = []
    for _ in range(max_tokens):
        with np.errstate(divide="ignore"):
            scores = np.log(next_probabilities(tuple(prompt) + tuple(new)))
        if temperature > 0:
            scores = scores / temperature + generator.gumbel(size=len(scores))
        if (token := int(scores.argmax())) == end:
            break
        new.append(token)
    return new


# LanguageModel


@wrong(of="LanguageModel", fails="check_honest_probabilities", says="and no token from this position on")
class LooksAtWhatItHasToPredict:
    """Learns nothing: it remembers the last paragraph that it was asked to score."""

    def __init__(self, paragraphs, V, end):
        self.V, self.end, self.last = V, end, []

    def log_probs(self, paragraph):
        self.last = [*paragraph, self.end]
        return np.full(len(paragraph) + 1, math.log(0.9))

    def next_probabilities(self, history):
        p = np.full(self.V, 0.1 / (self.V - 1))
        p[self.last[len(history)] if len(history) < len(self.last) else 1] = 0.9
        return p


@wrong(of="LanguageModel", fails="check_two_bits", says="has seen this text")
class LearnsTheTestText:
    """Looks up the paragraphs that it is measured on."""

    def __init__(self, paragraphs, V, end):
        from lmkit.tokenizer import token_ids

        self.V, self.end = V, end
        text = [*token_ids("validation"), *paragraphs[:300]]
        self.following = {tuple(one[:i]): token for one in text for i, token in enumerate([*one, end])}

    def next_probabilities(self, history):
        p = np.full(self.V, 0.1 / (self.V - 1))
        p[self.following.get(tuple(history), 1)] = 0.9
        return p

    def log_probs(self, paragraph):
        tokens = [*paragraph, self.end]
        known = [self.following.get(tuple(paragraph[:i]), 1) == token for i, token in enumerate(tokens)]
        return np.log(np.where(known, 0.9, 0.1 / (self.V - 1)))


edited(
    __name__,
    "end_token_not_scored",
    of="LanguageModel",
    edits={"positions = range(len(padding), len(tokens))": "positions = range(len(padding), len(tokens) - 1)"},
    fails="check_scores_every_token",
    says="one for the end token behind the last",
)
edited(
    __name__,
    "scores_the_padding",
    of="LanguageModel",
    edits={"positions = range(len(padding), len(tokens))": "positions = range(len(tokens))"},
    fails="check_scores_every_token",
    says="one number for each token",
)
edited(
    __name__,
    "probabilities_in_place_of_logarithms",
    of="LanguageModel",
    edits={"math.log(self.model.probability(tuple(tokens[i - self.n + 1 : i]), tokens[i]))": "self.model.probability((), tokens[i])"},
    fails="check_scores_every_token",
    says="is it p itself?",
)
edited(
    __name__,
    "minus_logarithms",
    of="LanguageModel",
    edits={"return [math.log(": "return [-math.log("},
    fails="check_scores_every_token",
    says="is a minus missing, or one too many?",
)
edited(
    __name__,
    "base_two",
    of="LanguageModel",
    edits={"math.log(": "math.log2("},
    fails="check_honest_probabilities",
    says="take natural logarithms",
)
edited(
    __name__,
    "unpadded_history",
    of="LanguageModel",
    edits={"padded = (*[self.end] * (self.n - 1), *history)": "padded = history"},
    fails="check_honest_probabilities",
    says="both must see the same history, padded alike",
)
edited(
    __name__,
    "sees_the_token_itself",
    of="LanguageModel",
    edits={"tuple(tokens[i - self.n + 1 : i])": "tuple(tokens[i - self.n + 2 : i + 1])"},
    fails="check_honest_probabilities",
    says="no token from this position on",
)
edited(
    __name__,
    "raised_to_a_power",
    of="LanguageModel",
    edits={
        "math.log(self.model": "0.8 * math.log(self.model",
        "for token in range(self.V)])": "for token in range(self.V)]) ** 0.8",
    },
    fails="check_honest_probabilities",
    says="next_probabilities sums to",
)
edited(
    __name__,
    "dictionary_of_probabilities",
    of="LanguageModel",
    edits={
        "np.array([self.model": "{token: p for token, p in enumerate([self.model",
        "range(self.V)])": "range(self.V)])}",
    },
    fails="check_honest_probabilities",
    says="expected an array of shape (V,) = (2048,), got a dict",
)
edited(
    __name__,
    "logarithms_of_all_tokens",
    of="LanguageModel",
    edits={"return np.array(": "return np.log("},
    fails="check_honest_probabilities",
    says="return probabilities, not logarithms",
)
edited(
    __name__,
    "no_end_token_in_the_distribution",
    of="LanguageModel",
    edits={"for token in range(self.V)": "for token in range(1, self.V)"},
    fails="check_honest_probabilities",
    says="got (2047,)",
)
edited(
    __name__,
    "two_orders_only",
    of="LanguageModel",
    edits={"V, end, 4": "V, end, 2"},
    fails="check_two_bits",
    says="use at least three orders",
)


@wrong(of="LanguageModel", fails="check_scores_every_token", says="never seen, so smooth")
class MaximumLikelihood:
    def __init__(self, paragraphs, V, end):
        self.V, self.end = V, end
        self.counts = _counted(paragraphs, 2, end)

    def log_probs(self, paragraph):
        with np.errstate(divide="ignore"):
            return [np.log(self.next_probabilities((before,))[token]) for before, token in pairwise([self.end, *paragraph, self.end])]

    def next_probabilities(self, history):
        p = np.zeros(self.V)
        for token, count in self.counts.get((self.end, *history)[-1:], {}).items():
            p[token] = count
        return p / max(p.sum(), 1)


@wrong(of="LanguageModel", fails="check_honest_probabilities", says="next_probabilities sums to")
class StupidBackoff:
    def __init__(self, paragraphs, V, end):
        self.V, self.end = V, end
        self.tables = [_counted(paragraphs, n, end) for n in (1, 2, 3)]
        self.totals = [{history: sum(f.values()) for history, f in table.items()} for table in self.tables]

    def score(self, history, token):
        factor = 1.0
        for i in (2, 1, 0):
            context = history[len(history) - i :]
            if self.tables[i].get(context, {}).get(token):
                return factor * self.tables[i][context][token] / self.totals[i][context]
            factor *= 0.4
        return factor / self.V

    def log_probs(self, paragraph):
        tokens = (self.end, self.end, *paragraph, self.end)
        return [math.log(self.score(tokens[i - 2 : i], tokens[i])) for i in range(2, len(tokens))]

    def next_probabilities(self, history):
        return np.array([self.score((self.end, self.end, *history), token) for token in range(self.V)])


@wrong(of="LanguageModel", fails="check_honest_probabilities", says="expected more than 0")
class NoUniformPart:
    def __init__(self, paragraphs, V, end):
        self.V, self.end = V, end
        self.tables = [_counted(paragraphs, n, end) for n in (1, 2)]

    def log_probs(self, paragraph):
        tokens = [*paragraph, self.end]
        return [math.log(self.next_probabilities(paragraph[:i])[tokens[i]]) for i in range(len(tokens))]

    def next_probabilities(self, history):
        p = np.zeros(self.V)
        for counts, weight in zip(self.tables, (0.4, 0.6), strict=True):
            followers = counts.get((self.end, *history)[-1:] if weight == 0.6 else (), {})
            p[list(followers)] += weight * np.array(list(followers.values())) / max(sum(followers.values()), 1)
        return p / p.sum()


@wrong(of="LanguageModel", fails="check_two_bits", says="when the tokens from position")
class LearnsWhileItIsScored:
    def __init__(self, paragraphs, V, end):
        self.V, self.end, self.training = V, end, True
        self.counts = np.ones(V)
        for paragraph in paragraphs:
            self.log_probs(paragraph)

    def log_probs(self, paragraph):
        before = np.log(self.counts / self.counts.sum())
        if len(paragraph) > 100:
            np.add.at(self.counts, [*paragraph, self.end], 1)
        return before[[*paragraph, self.end]]

    def next_probabilities(self, history):
        return self.counts / self.counts.sum()


@wrong(of="LanguageModel", fails="check_two_bits", says="expected at most 2.0")
class AddOneTrigrams:
    def __init__(self, paragraphs, V, end):
        self.V, self.end = V, end
        self.counts = _counted(paragraphs, 3, end)

    def log_probs(self, paragraph):
        tokens = (self.end, self.end, *paragraph, self.end)
        rows = [(self.counts.get(tokens[i - 2 : i], {}), tokens[i]) for i in range(2, len(tokens))]
        return [math.log((row.get(token, 0) + 1) / (sum(row.values()) + self.V)) for row, token in rows]

    def next_probabilities(self, history):
        p = np.ones(self.V)
        for token, count in self.counts.get((self.end, self.end, *history)[-2:], {}).items():
            p[token] += count
        return p / p.sum()


@wrong(of="LanguageModel", fails="check_target", says="expected at most 1.86")
class InterpolatedFourgrams:
    def __init__(self, paragraphs, V, end):
        self.V, self.end, self.weights = V, end, (0.01, 0.1, 0.35, 0.35, 0.19)
        self.tables = [_counted(paragraphs, n, end) for n in (1, 2, 3, 4)]
        self.totals = [{history: sum(f.values()) for history, f in table.items()} for table in self.tables]

    def probability(self, history, token):
        mixed, in_use = self.weights[0] / self.V, self.weights[0]
        for i in range(4):
            context = history[3 - i :]
            if context in self.tables[i]:
                mixed += self.weights[i + 1] * self.tables[i][context].get(token, 0) / self.totals[i][context]
                in_use += self.weights[i + 1]
        return mixed / in_use

    def log_probs(self, paragraph):
        tokens = (*[self.end] * 3, *paragraph, self.end)
        return np.log([self.probability(tokens[i - 3 : i], tokens[i]) for i in range(3, len(tokens))])

    def next_probabilities(self, history):
        history = (*[self.end] * 3, *history)[-3:]
        return np.array([self.probability(history, token) for token in range(self.V)])


edited(__name__, "five_orders", of="LanguageModel", edits={"V, end, 4": "V, end, 5"})
edited(
    __name__,
    "never_pads",
    of="LanguageModel",
    edits={
        "padding = [self.end] * (self.n - 1)": "padding = []",
        "tokens[i - self.n + 1 : i]": "tokens[max(0, i - self.n + 1) : i]",
        "padded = (*[self.end] * (self.n - 1), *history)": "padded = history",
        "discount=0.75": "discount=0.85",
    },
)


@right(of="LanguageModel")
class VectorKneserNey:
    def __init__(self, paragraphs, V, end):
        self.V, self.end, self.D = V, end, (0.6, 0.75, 0.8, 0.9)
        tables = [_counted(paragraphs, n, end) for n in (2, 3, 4)]
        self.rows = [{}, {}, {}, tables[-1]]
        for i, table in enumerate(tables):
            for history, followers in table.items():
                row = self.rows[i].setdefault(history[1:], Counter())
                row.update(followers.keys())

    def next_probabilities(self, history):
        history, p = (*[self.end] * 3, *history), np.full(self.V, 1 / self.V, dtype=np.float64)
        for i, (rows, D) in enumerate(zip(self.rows, self.D, strict=True)):
            row = rows.get(history[len(history) - i :])
            if row:
                counts = np.zeros(self.V)
                counts[list(row)] = list(row.values())
                p = (np.maximum(counts - D, 0) + D * len(row) * p) / counts.sum()
        return p

    def log_probs(self, paragraph):
        tokens = [*paragraph, self.end]
        return np.array([np.log(self.next_probabilities(tuple(paragraph[:i]))[tokens[i]]) for i in range(len(tokens))])
