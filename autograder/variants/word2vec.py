"""Variants of the solutions of chapter 4, word2vec: the mistakes that students make, and other right answers."""

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import svds

from autograder.variant import edited, right, wrong

# skip_gram_pairs

edited(
    __name__,
    "pairs_turned_round",
    of="skip_gram_pairs",
    edits={"(centre, words[j])": "(words[j], centre)"},
    fails="check_neighbours",
    says="each pair is (centre, context), not (context, centre)",
)
edited(
    __name__,
    "words_behind_only",
    of="skip_gram_pairs",
    edits={"range(max(0, i - window), min": "range(i, min"},
    fails="check_neighbours",
    says="the words before the centre make pairs too",
)
edited(
    __name__,
    "window_one_short",
    of="skip_gram_pairs",
    edits={"i + window + 1": "i + window"},
    fails="check_neighbours",
    says="does a `range` end one place early?",
)
edited(
    __name__,
    "paired_with_itself",
    of="skip_gram_pairs",
    edits={"if j != i:": "if True:"},
    fails="check_neighbours",
    says="the centre's own place is left out",
)
edited(
    __name__,
    "leaves_out_words_like_the_centre",
    of="skip_gram_pairs",
    edits={"if j != i:": "if words[j] != centre:"},
    fails="check_repeated_words",
    says="a word like the centre, at another place, makes a pair with it",
)
edited(
    __name__,
    "one_pair_for_repeated_words",
    of="skip_gram_pairs",
    edits={"return pairs": "return list(dict.fromkeys(pairs))"},
    fails="check_repeated_words",
    says="a word that stands twice in the window makes two pairs",
)
edited(
    __name__,
    "full_windows_only",
    of="skip_gram_pairs",
    edits={"for i, centre in enumerate(words):": "for i, centre in list(enumerate(words))[window : len(words) - window]:"},
    fails="check_neighbours",
    says="the first and the last word are centres too",
)
edited(
    __name__,
    "counts_to_a_flat_list",
    of="skip_gram_pairs",
    edits={"pairs.append((centre, words[j]))": "pairs += [centre, words[j]]"},
    fails="check_neighbours",
    says="expected a list of pairs, (centre, context), and there is 'we' in it",
)
edited(
    __name__,
    "takes_the_sentence_apart",
    of="skip_gram_pairs",
    edits={"    return pairs": "    del words[:]\n    return pairs"},
    fails="check_short_sentences",
    says="has become []: it must stay as it is",
)
edited(
    __name__,
    "first_centre_alone",
    of="skip_gram_pairs",
    edits={"    return pairs": "        return pairs"},
    fails="check_neighbours",
    says="does `return` stand inside a loop?",
)
edited(
    __name__,
    "places_in_place_of_words",
    of="skip_gram_pairs",
    edits={"(centre, words[j])": "(i, j)"},
    fails="check_neighbours",
    says="pair the words that stand there",
)
edited(
    __name__,
    "place_of_a_word_by_index",
    of="skip_gram_pairs",
    edits={"enumerate(words):\n": "enumerate(words):\n        i = list(words).index(centre)\n"},
    fails="check_repeated_words",
    says="`index` finds the first alone",
)


@wrong(of="skip_gram_pairs", fails="check_neighbours", says="order them by the centre's place, then by the context's")
def ordered_by_distance(words, window):
    pairs = []
    for d in range(1, window + 1):
        for a, b in zip(words, words[d:], strict=False):
            pairs += [(a, b), (b, a)]
    return sorted(pairs)


@right(of="skip_gram_pairs")
def pairs_by_comprehension(words, window):
    places = range(len(words))
    return [[words[i], words[j]] for i in places for j in places if 0 < abs(i - j) <= window]


@right(of="skip_gram_pairs")
def pairs_by_slices(words, window):
    words = list(words)
    pairs = []
    for i in range(len(words)):
        start = i - window if i > window else 0
        for context in words[start:i] + words[i + 1 : i + 1 + window]:
            pairs.append((words[i], context))
    return pairs


# cbow_examples

edited(
    __name__,
    "centre_comes_first",
    of="cbow_examples",
    edits={"(context, centre))": "(centre, context))"},
    fails="check_contexts",
    says="the context, a list, comes first",
)
edited(
    __name__,
    "centre_in_its_context",
    of="cbow_examples",
    edits={"*words[i + 1 : i": "*words[i : i"},
    fails="check_contexts",
    says="its place is left out of the context",
)
edited(
    __name__,
    "words_before_only",
    of="cbow_examples",
    edits={", *words[i + 1 : i + window + 1]]": "]"},
    fails="check_contexts",
    says="every word that has a context is a centre",
)
edited(
    __name__,
    "negative_start",
    of="cbow_examples",
    edits={"max(0, i - window)": "i - window"},
    fails="check_contexts",
    says="up to `window` words before and behind the centre",
)
edited(
    __name__,
    "from_the_centre_outwards",
    of="cbow_examples",
    edits={"*words[max(0, i - window) : i]": "*words[max(0, i - window) : i][::-1]"},
    fails="check_contexts",
    says="the context of 'go' runs from left to right",
)
edited(
    __name__,
    "keeps_empty_contexts",
    of="cbow_examples",
    edits={"if context:": "if True:"},
    fails="check_contexts_at_the_ends",
    says="a word without a context gives no example",
)


@wrong(of="cbow_examples", fails="check_contexts", says="CBOW predicts the centre from all words of the window together")
def one_example_for_each_pair(words, window):
    places = range(len(words))
    return [(words[j], words[i]) for i in places for j in places if 0 < abs(i - j) <= window]


@wrong(of="cbow_examples", fails="check_contexts_at_the_ends", says="it lacks the centre's own")
def removes_the_first_such_word(words, window):
    examples = []
    for i, centre in enumerate(words):
        context = list(words[max(0, i - window) : i + window + 1])
        context.remove(centre)
        if context:
            examples.append((context, centre))
    return examples


@wrong(of="cbow_examples", fails="check_contexts_at_the_ends", says="every word that has a context is a centre")
def leaves_out_words_that_look_the_same(words, window):
    examples = []
    for i, centre in enumerate(words):
        context = [word for word in words[max(0, i - window) : i + window + 1] if word != centre]
        if context:
            examples.append((context, centre))
    return examples


@right(of="cbow_examples")
def contexts_by_places(words, window):
    n = len(words)
    contexts = [[words[j] for j in range(n) if j != i and abs(i - j) <= window] for i in range(n)]
    return [[context, words[i]] for i, context in enumerate(contexts) if len(context) > 0]


# keep_probabilities

edited(
    __name__,
    "root_alone",
    of="keep_probabilities",
    edits={"np.sqrt(ratio) + ratio": "np.sqrt(ratio)"},
    fails="check_kept_shares",
    says="this is the square root alone",
)
edited(
    __name__,
    "ratio_alone",
    of="keep_probabilities",
    edits={"np.sqrt(ratio) + ratio": "ratio"},
    fails="check_kept_shares",
    says="the square root is missing",
)
edited(
    __name__,
    "probability_of_throwing_away",
    of="keep_probabilities",
    edits={"return np.minimum(np.sqrt(ratio) + ratio, 1)": "return 1 - np.minimum(np.sqrt(ratio) + ratio, 1)"},
    fails="check_kept_shares",
    says="this is the probability of throwing a word away",
)
edited(
    __name__,
    "papers_probability",
    of="keep_probabilities",
    edits={"return np.minimum(np.sqrt(ratio) + ratio, 1)": "return np.maximum(1 - np.sqrt(ratio), 0)"},
    fails="check_kept_shares",
    says="the paper's probability of throwing a word away",
)
edited(
    __name__,
    "counts_for_frequencies",
    of="keep_probabilities",
    edits={"sample * counts.sum() / counts": "sample / counts"},
    fails="check_kept_shares",
    says="f is the count divided by the sum of all counts, 1,000",
)
edited(
    __name__,
    "above_one",
    of="keep_probabilities",
    edits={"np.minimum(np.sqrt(ratio) + ratio, 1)": "np.sqrt(ratio) + ratio"},
    fails="check_never_above_one",
    says="expected at most 1",
)
edited(
    __name__,
    "threshold_of_the_example",
    of="keep_probabilities",
    edits={"sample * counts.sum()": "0.01 * counts.sum()"},
    fails="check_as_gensim_keeps",
    says="the probability of 'the' is",
)
edited(
    __name__,
    "nothing_kept_without_subsampling",
    of="keep_probabilities",
    edits={"    if sample == 0:\n        return np.ones(len(counts))\n": ""},
    fails="check_no_subsampling",
    says="expected 1.0000",
)


@wrong(of="keep_probabilities", fails="check_no_subsampling", says="stopped with ZeroDivisionError")
def divides_by_the_threshold(counts, sample):
    total = sum(int(count) for count in counts)
    kept = []
    for count in counts:
        over = int(count) / total / sample
        kept.append(min(1.0, (over**0.5 + 1) / over))
    return np.array(kept)


@wrong(of="keep_probabilities", fails="check_no_subsampling", says="the counts [5, 3, 1] have become")
def divides_floats_in_place(counts, sample):
    f = np.asarray(counts, dtype=float)
    f /= f.sum()
    return np.minimum(1, np.sqrt(sample / f) + sample / f) if sample else np.ones(len(f))


@right(of="keep_probabilities")
def one_count_at_a_time(counts, sample):
    total = sum(int(count) for count in counts)
    over = [int(count) / (sample * total) if sample > 0 else 0 for count in counts]  # how often above the threshold
    return [1.0 if x <= 1 else min(1.0, (x**0.5 + 1) / x) for x in over]


@right(of="keep_probabilities")
def kept_in_single_precision(counts, sample):
    f = (np.asarray(counts) / np.sum(counts)).astype(np.float32)
    kept = np.sqrt(np.float32(sample) / f) + np.float32(sample) / f
    return np.where((kept > 1) | (sample == 0), np.float32(1), kept)


# noise_distribution

edited(
    __name__,
    "not_divided",
    of="noise_distribution",
    edits={"weights / weights.sum()": "weights"},
    fails="check_three_quarters",
    says="divide by the sum, 36",
)
edited(
    __name__,
    "own_frequencies",
    of="noise_distribution",
    edits={" ** power": ""},
    fails="check_three_quarters",
    says="these are the words' own frequencies",
)
edited(
    __name__,
    "divided_before_the_power",
    of="noise_distribution",
    edits={
        "np.asarray(counts, dtype=float) ** power": "np.asarray(counts, dtype=float)",
        "weights / weights.sum()": "(weights / weights.sum()) ** power",
    },
    fails="check_three_quarters",
    says="divide by their sum after it",
)
edited(
    __name__,
    "softmax_of_powers",
    of="noise_distribution",
    edits={"return weights": "weights = np.exp(weights)\n    return weights"},
    fails="check_three_quarters",
    says="no softmax is needed",
)
edited(
    __name__,
    "always_three_quarters",
    of="noise_distribution",
    edits={"** power": "** 0.75"},
    fails="check_other_powers",
    says="use the argument `power`, not 3/4",
)
edited(
    __name__,
    "frequent_words_only",
    of="noise_distribution",
    edits={"** power\n": "** power\n    weights[1000:] = 0\n"},
    fails="check_as_gensim_draws",
    says="the probability of 'the' is",
)
edited(
    __name__,
    "whole_numbers_to_a_power",
    of="noise_distribution",
    edits={"np.asarray(counts, dtype=float)": "np.asarray(counts)"},
    fails="check_as_gensim_draws",
    says="Integers to negative integer powers",
)
edited(
    __name__,
    "powers_in_32_bits",
    of="noise_distribution",
    edits={"dtype=float": "dtype=np.float32"},
    fails="check_as_gensim_draws",
    says="compute in 64-bit floats",
)


@wrong(of="noise_distribution", fails="check_as_gensim_draws", says="the counts that were given have changed")
def powers_in_place(counts, power):
    weights = counts**power
    counts[:] = 0
    return weights / weights.sum()


@right(of="noise_distribution")
def powers_by_logarithms(counts, power):
    weights = np.exp(power * (np.log(counts) - np.log(np.max(counts))))
    return weights / np.sum(weights)


@right(of="noise_distribution")
def powers_as_a_list(counts, power):
    powers = [float(count) ** power for count in counts]
    return [one / sum(powers) for one in powers]


# sgns_loss_and_gradients

edited(
    __name__,
    "no_noise_in_the_loss",
    of="sgns_loss_and_gradients",
    edits={" + np.logaddexp(0, noise_scores).sum()": ""},
    fails="check_loss",
    says="the noise words are missing",
)
edited(
    __name__,
    "noise_with_the_same_sign",
    of="sgns_loss_and_gradients",
    edits={"np.logaddexp(0, noise_scores)": "np.logaddexp(0, -noise_scores)"},
    fails="check_loss",
    says="the minus before its score is missing",
)
edited(
    __name__,
    "log_likelihood",
    of="sgns_loss_and_gradients",
    edits={"float(loss)": "-float(loss)"},
    fails="check_loss",
    says="the sign is wrong",
)
edited(
    __name__,
    "mean_over_pairs",
    of="sgns_loss_and_gradients",
    edits={"float(loss)": "float(loss) / len(centres)"},
    fails="check_loss",
    says="take the sum over the pairs, not the mean",
)
edited(
    __name__,
    "noise_words_of_E",
    of="sgns_loss_and_gradients",
    edits={"U[contexts], U[noise]": "E[contexts], E[noise]"},
    fails="check_loss",
    says="context and noise words are rows of U",
)
edited(
    __name__,
    "gradients_downhill",
    of="sgns_loss_and_gradients",
    edits={"float(loss), d_E, d_U": "float(loss), -d_E, -d_U"},
    fails="check_gradients_of_one_pair",
    says="the direction in which the loss falls",
)
edited(
    __name__,
    "no_label",
    of="sgns_loss_and_gradients",
    edits={"/ 2 - 0.5": "/ 2 + 0.5"},
    fails="check_gradients_of_one_pair",
    says="the context word has the label 1",
)
edited(
    __name__,
    "noise_words_have_the_label_one",
    of="sgns_loss_and_gradients",
    edits={"/ 2 + 0.5": "/ 2 - 0.5"},
    fails="check_gradients_of_one_pair",
    says="the noise words have the label 0",
)
edited(
    __name__,
    "slope_left_in",
    of="sgns_loss_and_gradients",
    edits={
        "- 0.5  # sigmoid - 1": "- 0.5\n    errors = errors * (1 + errors)",
        "+ 0.5  # sigmoid - 0": "+ 0.5\n    noise_errors = noise_errors * (1 - noise_errors)",
    },
    fails="check_gradients_of_one_pair",
    says="no factor sigmoid (1 - sigmoid) is left",
)
edited(
    __name__,
    "repeated_rows_count_once",
    of="sgns_loss_and_gradients",
    edits={
        "np.add.at(d_E, centres, errors * u + (noise_errors * u_noise).sum(axis=1))": "d_E[centres] += errors * u"
        " + (noise_errors * u_noise).sum(axis=1)",
        "np.add.at(d_U, contexts, errors * e)": "d_U[contexts] += errors * e",
        "np.add.at(d_U, noise, noise_errors * e[:, None])": "d_U[noise] += noise_errors * e[:, None]",
    },
    fails="check_shared_rows",
    says="counts a repeated id once, see np.add.at",
)
edited(
    __name__,
    "repeated_rows_of_U_count_once",
    of="sgns_loss_and_gradients",
    edits={
        "np.add.at(d_U, contexts, errors * e)": "d_U[contexts] += errors * e",
        "np.add.at(d_U, noise, noise_errors * e[:, None])": "d_U[noise] += noise_errors * e[:, None]",
    },
    fails="check_shared_rows",
    says="counts a repeated id once, see np.add.at",
)
edited(
    __name__,
    "overflows",
    of="sgns_loss_and_gradients",
    edits={
        "np.logaddexp(0, -scores).sum() + np.logaddexp(0, noise_scores).sum()": "-np.log(1 / (1 + np.exp(-scores))).sum()"
        " - np.log(1 - 1 / (1 + np.exp(-noise_scores))).sum()",
    },
    fails="check_extreme_scores",
    says="see np.logaddexp",
)
edited(
    __name__,
    "takes_the_step",
    of="sgns_loss_and_gradients",
    edits={"    return float": "    E -= 0.05 * d_E\n    return float"},
    fails="check_arguments_stay",
    says="do not take the step",
)


@right(of="sgns_loss_and_gradients")
def one_pair_after_another(E, U, centres, contexts, noise):
    loss, d_E, d_U = 0.0, np.zeros(E.shape), np.zeros(U.shape)
    for centre, context, others in zip(centres, contexts, noise, strict=True):
        for word, label in [(context, 1), *((other, 0) for other in others)]:
            score = float(E[centre] @ U[word])
            signed = score if label else -score
            loss += max(0.0, -signed) + np.log1p(np.exp(-abs(signed)))
            chance = 1 / (1 + np.exp(-score)) if score > -500 else 0.0
            d_E[centre] += (chance - label) * U[word]
            d_U[word] += (chance - label) * E[centre]
    return loss, d_E, d_U


@right(of="sgns_loss_and_gradients")
def one_hot_matrices(E, U, centres, contexts, noise):
    B, K = noise.shape
    rows = np.concatenate([np.reshape(contexts, (B, 1)), noise], axis=1)
    scores = np.einsum("bc,bkc->bk", E[centres], U[rows])
    labels = np.zeros((B, K + 1))
    labels[:, 0] = 1
    errors = torch.sigmoid(torch.from_numpy(scores)).numpy() - labels
    loss = np.logaddexp(0, np.where(labels == 1, -scores, scores)).sum()
    picked = np.zeros((len(E), B))
    picked[centres, np.arange(B)] = 1
    spread = np.zeros((B, len(U)))  # the error of each pair with each word
    for k in range(K + 1):
        spread[np.arange(B), rows[:, k]] += errors[:, k]
    table = picked @ spread
    return [loss, table @ U, table.T @ E]


# train_sgns

edited(
    __name__,
    "context_vectors_returned",
    of="train_sgns",
    edits={"    return E": "    return U"},
    fails="check_start",
    says="is returned, not U",
)
edited(
    __name__,
    "starts_at_random_normal",
    of="train_sgns",
    edits={"generator.uniform(-1 / C, 1 / C, (V, C))": "generator.normal(size=(V, C))"},
    fails="check_start",
    says="expected at most 1/C = 0.1",
)
edited(
    __name__,
    "chance_of_its_own",
    of="train_sgns",
    edits={"    V, block": "    generator = np.random.default_rng()\n    V, block"},
    fails="check_start",
    says="take every random number from `generator`",
)
edited(
    __name__,
    "mean_of_the_pairs",
    of="train_sgns",
    edits={"* (K / B)\n": "* (K / B)\n            errors /= max(1, near.sum())\n"},
    fails="check_steps",
    says="the loss is the sum over all pairs, not their mean",
)
edited(
    __name__,
    "repeated_words_step_once",
    of="train_sgns",
    edits={
        "np.add.at(E, ids[here], -rate * (errors @ u))": "E[ids[here]] -= rate * (errors @ u)",
        "np.add.at(U, rows, -rate * (errors.T @ e))": "U[rows] -= rate * (errors.T @ e)",
    },
    fails="check_steps",
    says="see np.add.at",
)
edited(
    __name__,
    "no_noise_words",
    of="train_sgns",
    edits={"(K / B)": "0"},
    fails="check_steps",
    says="are the noise words missing?",
)
edited(
    __name__,
    "noise_drawn_evenly",
    of="train_sgns",
    edits={"np.cumsum(noise)": "np.cumsum(np.ones(V))"},
    fails="check_steps",
    says="draw the noise words from `noise`",
)
edited(
    __name__,
    "one_noise_word_for_a_pair",
    of="train_sgns",
    edits={"(K / B)": "(1 / B)"},
    fails="check_steps",
    says="each counts K / S times for each pair",
)
edited(
    __name__,
    "constant_learning_rate",
    of="train_sgns",
    edits={"learning_rate * (1 - read / to_read)": "learning_rate"},
    fails="check_steps",
    says="the learning rate falls linearly to 0",
)
edited(
    __name__,
    "second_step_with_new_vectors",
    of="train_sgns",
    edits={
        "            np.add.at(E, ids[here], -rate * (errors @ u))\n": "",
        "-rate * (errors.T @ e))\n": "-rate * (errors.T @ e))\n            np.add.at(E, ids[here], -rate * (errors @ U[rows]))\n",
    },
    fails="check_start",
    says="both steps are computed from E and U as they were",
)
edited(
    __name__,
    "sentences_run_together",
    of="train_sgns",
    edits={
        "for sentence in [np.array(sentence, dtype=np.int64) for sentence in sentences] * epochs:": "for sentence in"
        " [np.array([word for one in sentences for word in one], dtype=np.int64)] * epochs:",
        "        rate = learning_rate * (1 - read / to_read)\n        read += len(sentence)\n": "",
        "            here = slice": "            rate = learning_rate * (1 - read / to_read)\n"
        "            read += block\n            here = slice",
    },
    fails="check_topics",
    says="no pair reaches from one sentence into the next",
)
edited(
    __name__,
    "nothing_taken_out",
    of="train_sgns",
    edits={" < keep[sentence]": " < 2"},
    fails="check_words_taken_out",
    says="the vector of word 2 has the length",
)
edited(
    __name__,
    "taken_out_after_the_windows",
    of="train_sgns",
    edits={
        "ids = sentence[generator.random(len(sentence)) < keep[sentence]]": "ids = sentence\n"
        "        kept = generator.random(len(sentence)) < keep[sentence]",
        "near = (distance > 0)": "near = kept[here, None] & kept[around] & (distance > 0)",
    },
    fails="check_words_taken_out",
    says="take words out first, then look for pairs",
)
edited(
    __name__,
    "radius_never_drawn",
    of="train_sgns",
    edits={"generator.integers(1, window + 1, len(ids))": "np.full(len(ids), window)"},
    fails="check_windows_and_epochs",
    says="each centre draws a radius of its own",
)
edited(
    __name__,
    "one_epoch_only",
    of="train_sgns",
    edits={"for sentence in sentences] * epochs:": "for sentence in sentences]:"},
    fails="check_topics",
    says="does every epoch read all sentences?",
)
edited(
    __name__,
    "whole_sentence_at_once",
    of="train_sgns",
    edits={"len(keep), 32": "len(keep), 1_000_000"},
    fails="check_long_text",
    says="take steps for at most 64 centres at a time",
)
edited(
    __name__,
    "context_vectors_start_at_random",
    of="train_sgns",
    edits={"np.zeros((V, C), dtype=np.float32)": "generator.uniform(-1 / C, 1 / C, (V, C)).astype(np.float32)"},
    fails="check_start",
    says="U starts at 0",
)
edited(
    __name__,
    "noise_of_its_own_chance",
    of="train_sgns",
    edits={"generator.random(B)": "np.random.random(B)"},
    fails="check_start",
    says="take every random number from `generator`",
)
edited(
    __name__,
    "rate_by_words_that_stay",
    of="train_sgns",
    edits={"        read += len(sentence)\n": "", "        places, radius": "        read += len(ids)\n        places, radius"},
    fails="check_windows_and_epochs",
    says="falls with words taken out, too",
)
edited(
    __name__,
    "rate_falls_in_every_epoch",
    of="train_sgns",
    edits={"(1 - read / to_read)": "(1 - read * epochs % to_read / to_read)"},
    fails="check_windows_and_epochs",
    says="falls once, over all epochs together",
)
edited(
    __name__,
    "taken_out_once_for_all",
    of="train_sgns",
    edits={
        "heights = np.cumsum(noise)": "heights, once = np.cumsum(noise), {}",
        "sentence[generator.random(len(sentence)) < keep[sentence]]": "once.setdefault(id(sentence), sentence"
        "[generator.random(len(sentence)) < keep[sentence]])",
    },
    fails="check_words_taken_out",
    says="draw anew in every epoch",
)
edited(
    __name__,
    "windows_end_with_the_block",
    of="train_sgns",
    edits={"slice(max(0, start - window), start + block + window)": "slice(start, start + block)"},
    fails="check_long_text",
    says="a window reaches over the block's ends",
)
edited(__name__, "blocks_of_sixty_four", of="train_sgns", edits={"len(keep), 32": "len(keep), 64"})


@right(of="train_sgns")
def batches_of_pairs(sentences, keep, noise, C, window, K, epochs, learning_rate, generator):
    V = len(keep)
    E, U = (2 * generator.random((V, C)) - 1) / C, np.zeros((V, C))
    read, total = 0, sum(len(sentence) for sentence in sentences) * epochs
    for _ in range(epochs):
        for sentence in sentences:
            rate = learning_rate * (1 - read / max(total, 1))
            read += len(sentence)
            ids = [int(word) for word in sentence if generator.random() < keep[word]]
            centres, contexts = [], []
            for i, word in enumerate(ids):
                radius = int(generator.integers(1, window + 1))
                near = [*ids[max(0, i - radius) : i], *ids[i + 1 : i + 1 + radius]]
                centres += [word] * len(near)
                contexts += near
            for start in range(0, len(centres), 64):
                w, o = np.array(centres[start : start + 64]), np.array(contexts[start : start + 64])
                rows = np.concatenate([o[:, None], generator.choice(V, (len(w), K), p=noise)], axis=1)  # (B, 1 + K)
                e, u = E[w], U[rows]
                errors = 1 / (1 + np.exp(-np.einsum("bc,bkc->bk", e, u)))
                errors[:, 0] -= 1
                np.add.at(E, w, -rate * np.einsum("bk,bkc->bc", errors, u))
                np.add.at(U, rows, -rate * errors[:, :, None] * e[:, None])
    return E


@right(of="train_sgns")
def pair_after_pair(sentences, keep, noise, C, window, K, epochs, learning_rate, generator):
    V, heights = len(keep), np.cumsum(noise)
    E, U = generator.uniform(-1, 1, (V, C)) / C, np.zeros((V, C))
    read, total = 0, max(1, epochs * sum(len(sentence) for sentence in sentences))
    for _ in range(epochs):
        for sentence in sentences:
            kept = [int(word) for word in sentence if generator.random() < keep[word]]
            for i, w in enumerate(kept):
                rate, radius = learning_rate * (1 - (read + i) / total), generator.integers(1, window + 1)
                for j in range(max(0, i - radius), min(len(kept), i + radius + 1)):
                    if j == i:
                        continue
                    rows = [kept[j], *heights.searchsorted(heights[-1] * generator.random(K), side="right")]
                    errors = 1 / (1 + np.exp(-(U[rows] @ E[w])))
                    errors[0] -= 1
                    step = errors @ U[rows]
                    for row, error in zip(rows, errors, strict=True):
                        U[row] -= rate * error * E[w]
                    E[w] -= rate * step
            read += len(sentence)
    return E


# WordVectors

edited(
    __name__,
    "nearest_to_itself",
    of="WordVectors",
    edits={"self.units[self.index[word]], {word}, k": "self.units[self.index[word]], set(), k"},
    fails="check_nearest",
    says="the word itself is left out",
)
edited(
    __name__,
    "dot_products",
    of="WordVectors",
    edits={"np.divide(vectors, lengths, out=np.zeros(np.shape(vectors)), where=lengths > 0)": "np.asarray(vectors, dtype=float)"},
    fails="check_nearest",
    says="these have the largest dot products",
)
edited(
    __name__,
    "least_similar_first",
    of="WordVectors",
    edits={"(-cosines).argsort": "cosines.argsort"},
    fails="check_nearest",
    says="the most similar come first",
)
edited(
    __name__,
    "words_without_cosines",
    of="WordVectors",
    edits={"(self.words[i], float(cosines[i]))": "self.words[i]"},
    fails="check_nearest",
    says="expected pairs (word, cosine)",
)
edited(
    __name__,
    "one_word_too_few",
    of="WordVectors",
    edits={
        "[: k + len(without)]": "[:k]",
    },
    fails="check_nearest",
    says="the word itself is left out before you take k",
)
edited(
    __name__,
    "question_among_the_answers",
    of="WordVectors",
    edits={"{a, b, c}, k": "set(), k"},
    fails="check_analogy",
    says="leave out all three words of the question",
)
edited(
    __name__,
    "analogy_backwards",
    of="WordVectors",
    edits={
        "self.units[self.index[b]] - self.units[self.index[a]] + self": "self.units[self.index[a]] - self.units[self.index[b]] + self",
    },
    fails="check_analogy",
    says="is a sign turned round?",
)
edited(
    __name__,
    "target_of_raw_vectors",
    of="WordVectors",
    edits={
        "        self.units = np": "        self.vectors = np.asarray(vectors, dtype=float)\n        self.units = np",
        "self.units[self.index[b]] - self.units[self.index[a]] + self.units[self.index[c]]": "self.vectors[self.index[b]]"
        " - self.vectors[self.index[a]] + self.vectors[self.index[c]]",
    },
    fails="check_analogy",
    says="divide each of the three vectors by its length",
)
edited(
    __name__,
    "target_not_divided",
    of="WordVectors",
    edits={"target / length if length > 0 else target": "target"},
    fails="check_analogy",
    says="divide by the target's length too",
)
edited(
    __name__,
    "ties_from_behind",
    of="WordVectors",
    edits={'(-cosines).argsort(kind="stable")': 'cosines.argsort(kind="stable")[::-1]'},
    fails="check_ties_and_edges",
    says="first to last",
)
edited(
    __name__,
    "zeros_become_nan",
    of="WordVectors",
    edits={"np.divide(vectors, lengths, out=np.zeros(np.shape(vectors)), where=lengths > 0)": "vectors / lengths"},
    fails="check_ties_and_edges",
    says="with a vector of zeros it is 0",
)
edited(
    __name__,
    "unknown_words_are_word_zero",
    of="WordVectors",
    edits={"self._closest(self.units[self.index[word]]": "self._closest(self.units[self.index.get(word, 0)]"},
    fails="check_ties_and_edges",
    says="expected a KeyError",
)
edited(
    __name__,
    "sort_that_is_not_stable",
    of="WordVectors",
    edits={'argsort(kind="stable")': "argsort()"},
    fails="check_ties_and_edges",
    says="by a stable sort",
)
edited(
    __name__,
    "lengths_with_something_added",
    of="WordVectors",
    edits={"np.divide(vectors, lengths, out=np.zeros(np.shape(vectors)), where=lengths > 0)": "vectors / (lengths + 1e-8)"},
    fails="check_ties_and_edges",
    says="makes equal cosines unequal",
)
edited(
    __name__,
    "all_answers_for_none",
    of="WordVectors",
    edits={"if self.words[i] not in without][:k]": "if self.words[i] not in without][: k or None]"},
    fails="check_ties_and_edges",
    says="expected no word",
)


@right(of="WordVectors")
class SortedInPython:
    def __init__(self, words, vectors):
        self.words, self.vectors = tuple(words), [[float(x) for x in vector] for vector in vectors]
        self.unit = {word: self.shortened(vector) for word, vector in zip(self.words, self.vectors, strict=True)}

    @staticmethod
    def shortened(vector):
        length = sum(x * x for x in vector) ** 0.5
        return [x / length for x in vector] if length else list(vector)

    def ranked(self, target, without, k):
        found = [(word, sum(x * y for x, y in zip(self.unit[word], target, strict=True))) for word in self.words if word not in without]
        return sorted(found, key=lambda pair: -pair[1])[:k]

    def nearest(self, word, k):
        return self.ranked(self.unit[word], [word], k)

    def analogy(self, a, b, c, k):
        three = zip(self.unit[a], self.unit[b], self.unit[c], strict=True)
        return self.ranked(self.shortened([y - x + z for x, y, z in three]), (a, b, c), k)


@right(of="WordVectors")
class LibraryCosines:
    def __init__(self, words, vectors):
        self.words, self.vectors = list(words), torch.as_tensor(np.array(vectors, dtype=np.float64))
        self.row = {word: i for i, word in enumerate(words)}

    def closest(self, target, left_out, k):
        cosines = torch.nn.functional.cosine_similarity(self.vectors, target[None], dim=1, eps=1e-12)
        order = torch.argsort(cosines, descending=True, stable=True).tolist()
        return [(self.words[i], cosines[i].item()) for i in order if i not in left_out][:k]

    def nearest(self, word, k):
        i = self.row[word]
        return self.closest(self.vectors[i], {i}, k)

    def analogy(self, a, b, c, k):
        rows = [self.row[word] for word in (a, b, c)]
        units = torch.nn.functional.normalize(self.vectors[rows], dim=1)
        return self.closest(units[1] - units[0] + units[2], set(rows), k)


# learn_word_vectors

edited(
    __name__,
    "dictionary_of_vectors",
    of="learn_word_vectors",
    edits={
        "return list(vocabulary.words), vectors": "return dict(zip(vocabulary.words, vectors, strict=True))",
        "5, 5, 5, 0.05": "5, 5, 1, 0.05",
    },
    fails="check_words_and_shapes",
    says="expected a pair, (words, vectors)",
)
edited(
    __name__,
    "frequent_words_only_learned",
    of="learn_word_vectors",
    edits={"min_count=5": "min_count=20", "5, 5, 5, 0.05": "5, 5, 1, 0.05"},
    fails="check_words_and_shapes",
    says="every word that occurs five times has one",
)
edited(
    __name__,
    "a_column_for_each_word",
    of="learn_word_vectors",
    edits={"vocabulary.words), vectors": "vocabulary.words), vectors.T", "5, 5, 5, 0.05": "5, 5, 1, 0.05"},
    fails="check_words_and_shapes",
    says="so transpose it",
)
edited(
    __name__,
    "words_and_rows_in_different_order",
    of="learn_word_vectors",
    edits={"list(vocabulary.words)": "sorted(vocabulary.words)", "5, 5, 5, 0.05": "5, 5, 1, 0.05"},
    fails="check_some_meaning",
    says="is row i the vector of word i?",
)
edited(
    __name__,
    "never_trained",
    of="learn_word_vectors",
    edits={"5, 5, 5, 0.05": "5, 5, 0, 0.05"},
    fails="check_some_meaning",
    says="expected at least 0.12",
)
edited(
    __name__,
    "two_epochs",
    of="learn_word_vectors",
    edits={"5, 5, 5, 0.05": "5, 5, 2, 0.05"},
    fails="check_target",
    says="expected at least 0.22",
)


@right(of="learn_word_vectors")
def counted_and_decomposed(sentences):
    counts = {}
    for sentence in sentences:
        for word in sentence:
            counts[word] = counts.get(word, 0) + 1
    words = [word for word, count in counts.items() if count >= 5]
    index = {word: i for i, word in enumerate(words)}
    V, centres, contexts = len(words), [], []
    for sentence in sentences:
        ids = np.array([index[word] for word in sentence if word in index], dtype=np.int64)
        for distance in range(1, 6):
            centres += [ids[distance:], ids[:-distance]]
            contexts += [ids[:-distance], ids[distance:]]
    near = coo_matrix((np.ones(sum(map(len, centres))), (np.concatenate(centres), np.concatenate(contexts))), (V, V)).tocsr().tocoo()
    total = np.bincount(near.row, weights=near.data, minlength=V)
    noise = total**0.75 / (total**0.75).sum()
    information = np.log(near.data / (total[near.row] * noise[near.col]))  # pointwise mutual information with the smoothed noise
    positive = information > 0
    table = coo_matrix((information[positive], (near.row[positive], near.col[positive])), (V, V)).tocsr()
    left, sizes, _ = svds(table, k=50, v0=np.ones(V))
    return words, left * np.sqrt(sizes)
