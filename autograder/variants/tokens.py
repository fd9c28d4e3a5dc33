"""Variants of the solutions of chapter 1, tokens: the mistakes that students make, and other right answers."""

import math
import re
from collections import Counter, OrderedDict
from itertools import pairwise, zip_longest

import numpy as np
import torch

from autograder.variant import edited, right, wrong
from lmkit.tokenizer import pieces

# build_vocabulary

edited(
    __name__,
    "ties_in_the_order_of_the_text",
    of="build_vocabulary",
    edits={
        "sorted(counts.keys() - set(specials), key=lambda word: (-counts[word], word))": "[w for w, _ in counts.most_common()]",
        "[*specials, *words]": "[*specials, *(w for w in words if w not in specials)]",
    },
    fails="check_most_frequent",
    says="of equals the one that sorts first",
)
edited(
    __name__,
    "least_frequent_first",
    of="build_vocabulary",
    edits={"-counts[word]": "counts[word]"},
    fails="check_most_frequent",
    says="turn the order of the counts round",
)
edited(
    __name__,
    "in_alphabetical_order",
    of="build_vocabulary",
    edits={"(-counts[word], word)": "word"},
    fails="check_most_frequent",
    says="decides between equals only",
)
edited(
    __name__,
    "whole_key_reversed",
    of="build_vocabulary",
    edits={"key=lambda word: (-counts[word], word))": "key=lambda word: (counts[word], word), reverse=True)"},
    fails="check_most_frequent",
    says="of equals the one that sorts first",
)
edited(
    __name__,
    "size_without_specials",
    of="build_vocabulary",
    edits={"[:size]": "[: size + len(specials)]"},
    fails="check_most_frequent",
    says="the special tokens included",
)
edited(
    __name__,
    "specials_last",
    of="build_vocabulary",
    edits={"[*specials, *words][:size]": "[*words[: size - len(specials)], *specials]"},
    fails="check_most_frequent",
    says="the special tokens come first",
)
edited(
    __name__,
    "ids_from_one",
    of="build_vocabulary",
    edits={"enumerate([*specials, *words][:size])": "enumerate([*specials, *words][:size], start=1)"},
    fails="check_most_frequent",
    says="their ids are [1, 2, 3, 4, 5]",
)
edited(
    __name__,
    "ids_to_words",
    of="build_vocabulary",
    edits={"{word: i for": "{i: word for"},
    fails="check_most_frequent",
    says="the other way round",
)
edited(
    __name__,
    "compares_small_letters",
    of="build_vocabulary",
    edits={"(-counts[word], word)": "(-counts[word], word.lower(), word)"},
    fails="check_equal_counts",
    says="capitals sort before small letters",
)
edited(
    __name__,
    "special_counted_as_a_word",
    of="build_vocabulary",
    edits={"counts.keys() - set(specials)": "counts"},
    fails="check_specials_in_the_text",
    says="is not counted as a word too",
)


@wrong(of="build_vocabulary", fails="check_specials_in_the_text", says="the list of special tokens has become")
def extends_the_specials(texts, specials, size):
    counts = Counter(word for text in texts for word in text if word not in specials)
    words = specials
    words += sorted(counts, key=lambda word: (-counts[word], word))
    return {word: i for i, word in enumerate(words[:size])}


edited(
    __name__,
    "specials_sorted_by_the_alphabet",
    of="build_vocabulary",
    edits={"[*specials, *words]": "[*sorted(specials, key=lambda word: (word[0] == '<', word != '[PAD]', word)), *words]"},
    fails="check_specials_in_the_text",
    says="in the order of the ids",
)


@right(of="build_vocabulary")
def sorts_twice(texts, specials, size):
    counts = {}
    for text in texts:
        for word in text:
            if word not in specials:
                counts[word] = counts.get(word, 0) + 1
    vocabulary = OrderedDict((word, np.int64(i)) for i, word in enumerate(specials))
    for word in sorted(sorted(counts), key=counts.get, reverse=True):
        if len(vocabulary) < size:
            vocabulary[word] = np.int64(len(vocabulary))
    return vocabulary


# WordTokenizer

edited(
    __name__,
    "leaves_unknown_words_out",
    of="WordTokenizer",
    edits={"[self.ids.get(word, self.unknown) for word in split_words(text)]": "[self.ids[w] for w in split_words(text) if w in self.ids]"},
    fails="check_words_to_ids",
    says="it is not left out",
)
edited(
    __name__,
    "stops_at_unknown_words",
    of="WordTokenizer",
    edits={"self.ids.get(word, self.unknown)": "self.ids[word]"},
    fails="check_words_to_ids",
    says="stopped with KeyError",
)
edited(
    __name__,
    "splits_at_white_space",
    of="WordTokenizer",
    edits={"for word in split_words(text)": "for word in text.split()"},
    fails="check_words_to_ids",
    says="the full stop is a token of its own",
)
edited(
    __name__,
    "words_without_spaces",
    of="WordTokenizer",
    edits={'return " ".join': 'return "".join'},
    fails="check_ids_to_words",
    says="one space between each two words",
)
edited(
    __name__,
    "decodes_to_a_list",
    of="WordTokenizer",
    edits={'" ".join(self.words[i] for i in ids)': "[self.words[i] for i in ids]"},
    fails="check_ids_to_words",
    says="join the words to one text",
)
edited(
    __name__,
    "drops_unknown_when_decoding",
    of="WordTokenizer",
    edits={"self.words[i] for i in ids)": "self.words[i] for i in ids if i != self.unknown)"},
    fails="check_ids_to_words",
    says="gives the word [UNK]",
)
edited(
    __name__,
    "unknown_is_zero",
    of="WordTokenizer",
    edits={"self.unknown = self.ids[unknown]": "self.unknown = 0"},
    fails="check_any_vocabulary",
    says="the unknown word has the id 2 here",
)
edited(
    __name__,
    "ids_are_places_in_the_dictionary",
    of="WordTokenizer",
    edits={"sorted(self.ids, key=self.ids.get)": "list(self.ids)"},
    fails="check_any_vocabulary",
    says="the order of the dictionary says nothing",
)
edited(
    __name__,
    "minus_one_is_the_last_word",
    of="WordTokenizer",
    edits={"if not 0 <= i < len(self.words)": "if i >= len(self.words)"},
    fails="check_impossible_ids",
    says="a negative index counts from the end",
)


@wrong(of="WordTokenizer", fails="check_impossible_ids", says="raised KeyError, expected ValueError")
class TurnedRound:
    def __init__(self, vocabulary, unknown):
        self.ids, self.unknown = vocabulary, unknown
        self.words = {i: word for word, i in vocabulary.items()}

    def encode(self, text):
        return [self.ids[word] if word in self.ids else self.ids[self.unknown] for word in split_words(text)]  # noqa: F821

    def decode(self, ids):
        return " ".join([self.words[i] for i in ids])


@wrong(of="WordTokenizer", fails="check_any_vocabulary", says="keep what you need in `self`")
class SharesItsVocabulary:
    def __init__(self, vocabulary, unknown):
        type(self).ids, type(self).unknown = vocabulary, vocabulary[unknown]

    def encode(self, text):
        return [self.ids.get(word, self.unknown) for word in split_words(text)]  # noqa: F821

    def decode(self, ids):
        words = {i: word for word, i in self.ids.items()}
        if not words.keys() >= set(ids):
            raise ValueError("no such id")
        return " ".join(words[i] for i in ids)


@right(of="WordTokenizer")
class LooksThroughTheVocabulary:
    def __init__(self, vocabulary, unknown):
        self.vocabulary, self.unknown = vocabulary, unknown

    def encode(self, text):
        ids = []
        for word in re.findall(r"\w+|[^\w\s]", text):
            ids.append(np.int64(self.vocabulary.get(word, self.vocabulary[self.unknown])))
        return ids

    def decode(self, ids):
        text = ""
        for wanted in ids:
            found = [word for word, i in self.vocabulary.items() if i == wanted]
            if not found:
                raise ValueError("no such id")
            text += (" " if text else "") + found[0]
        return text


# train_bpe

edited(
    __name__,
    "ignores_how_often_pieces_occur",
    of="train_bpe",
    edits={"list(counts.values())": "[1] * len(counts)"},
    fails="check_example_merges",
    says="a piece that occurs 5 times counts each of its pairs 5 times",
)
edited(
    __name__,
    "ties_to_the_highest_id",
    of="train_bpe",
    edits={"(-totals[pair], ids[pair[0]], ids[pair[1]], pair)": "(-totals[pair], -ids[pair[0]], -ids[pair[1]], pair)"},
    fails="check_example_merges",
    says="h has the lower id",
)
edited(
    __name__,
    "ties_in_the_order_of_the_alphabet",
    of="train_bpe",
    edits={"(-totals[pair], ids[pair[0]], ids[pair[1]], pair)": "(-totals[pair], *pair, pair)"},
    fails="check_example_merges",
    says="its place in `tokens`",
)
edited(
    __name__,
    "never_subtracts",
    of="train_bpe",
    edits={"add(number, -1)": "add(number, 0)"},
    fails="check_example_merges",
    says="once merged, a + t must be replaced",
)
edited(
    __name__,
    "ties_by_the_right_token_first",
    of="train_bpe",
    edits={"ids[pair[0]], ids[pair[1]], pair)": "ids[pair[1]], ids[pair[0]], pair)"},
    fails="check_equal_totals",
    says="the left token decides first",
)
edited(
    __name__,
    "new_tokens_have_no_id",
    of="train_bpe",
    edits={"ids.setdefault(best[0] + best[1], len(ids))": "ids.setdefault(best[0] + best[1], -1)"},
    fails="check_equal_totals",
    says="a new token gets the next id",
)
edited(
    __name__,
    "a_pair_once_in_a_piece",
    of="train_bpe",
    edits={"for pair in pairwise(cut[number])": "for pair in set(pairwise(cut[number]))"},
    fails="check_rows_of_one_byte",
    says="aaa holds a + a twice",
)
edited(
    __name__,
    "returns_the_new_tokens",
    of="train_bpe",
    edits={"return merges": "return [left + right for left, right in merges]"},
    fails="check_example_merges",
    says="expected pairs of tokens, (bytes, bytes)",
)


@wrong(of="train_bpe", fails="check_example_merges", says="no pair reaches from one piece into another")
def one_long_row(counts, tokens, n_merges):
    ids = {token: i for i, token in enumerate(tokens)}
    row = [bytes([byte]) for piece, times in counts.items() for _ in range(times) for byte in piece]
    merges = []
    while len(merges) < n_merges and len(row) > 1:
        totals = Counter(pairwise(row))
        merges.append(min(totals, key=lambda pair: (-totals[pair], ids[pair[0]], ids[pair[1]])))
        ids[b"".join(merges[-1])] = len(ids)
        joined = []
        for token in row:
            if joined and (joined[-1], token) == merges[-1]:
                joined[-1] += token
            else:
                joined.append(token)
        row = joined
    return merges


def _recounted(counts, tokens, n_merges, join, pairs):
    """Train by counting all pairs again for each merge, with the given ways to join a pair and to list pairs."""
    ids = {token: i for i, token in enumerate(tokens)}
    cut = {piece: [bytes([byte]) for byte in piece] for piece in counts}
    merges = []
    while len(merges) < n_merges:
        totals = Counter()
        for piece, parts in cut.items():
            for pair in pairs(parts):
                totals[pair] += counts[piece]
        if not totals:
            break
        best = min(totals, key=lambda pair: (-totals[pair], ids[pair[0]], ids[pair[1]]))
        merges.append(best)
        ids.setdefault(best[0] + best[1], len(ids))
        cut = {piece: join(parts, best) if len(parts) > 1 else parts for piece, parts in cut.items()}
    return merges


def _left_to_right(parts, pair):
    """Join a pair wherever it stands."""
    i, joined = 0, []
    while i < len(parts):
        step = 2 if tuple(parts[i : i + 2]) == pair else 1
        joined.append(b"".join(parts[i : i + step]))
        i += step
    return joined


def _right_to_left(parts, pair):
    """Join a pair wherever it stands, from the end on."""
    joined = []
    for token in reversed(parts):
        if joined and (token, joined[-1]) == pair:
            joined[-1] = token + joined[-1]
        else:
            joined.append(token)
    return joined[::-1]


def _apart(parts):
    """The pairs of neighbours, none of which overlap with one of the same kind."""
    found, last = [], None
    for pair in pairwise(parts):
        if pair == last and pair[0] == pair[1]:
            last = None
            continue
        found.append(pair)
        last = pair
    return found


@wrong(of="train_bpe", fails="check_rows_of_one_byte", says="join from left to right")
def joins_from_the_right(counts, tokens, n_merges):
    return _recounted(counts, tokens, n_merges, _right_to_left, pairwise)


@wrong(of="train_bpe", fails="check_rows_of_one_byte", says="aaa holds a + a twice")
def counts_no_overlaps(counts, tokens, n_merges):
    return _recounted(counts, tokens, n_merges, _left_to_right, _apart)


edited(
    __name__,
    "asks_for_more_than_there_are",
    of="train_bpe",
    edits={"        if not queue or not queue[0][0]:\n            break\n": ""},
    fails="check_edges_of_training",
    says="stopped with IndexError",
)


edited(
    __name__,
    "known_token_takes_a_new_id",
    of="train_bpe",
    edits={"ids.setdefault(best[0] + best[1], len(ids))": "ids[best[0] + best[1]] = len(ids)"},
    fails="check_edges_of_training",
    says="keeps its id there",
)


@right(of="train_bpe")
def recounts_for_each_merge(counts, tokens, n_merges):
    return _recounted(counts, tokens, n_merges, _left_to_right, pairwise)


# BPETokenizer

edited(
    __name__,
    "first_pair_from_the_left",
    of="BPETokenizer",
    edits={"min((self.ranks.get(pair, math.inf), i)": "min((0 if pair in self.ranks else math.inf, i)"},
    fails="check_order_of_merges",
    says="n + o was learned before a + n",
)
edited(
    __name__,
    "one_merge_a_piece",
    of="BPETokenizer",
    edits={"while len(tokens) > 1:": "for _ in range(len(tokens) > 1):"},
    fails="check_order_of_merges",
    says="apply the merges again",
)
edited(
    __name__,
    "ids_from_256",
    of="BPETokenizer",
    edits={"{token: i for i, token in enumerate(self.spelled)}": "{t: i if i < len(tokens) else i - len(tokens) + 256 "
           "for i, t in enumerate(self.spelled)}"},
    fails="check_order_of_merges",
    says="next free id after those of `tokens`",
)  # fmt: skip
edited(
    __name__,
    "cuts_no_pieces",
    of="BPETokenizer",
    edits={"for piece in pieces(text):": 'for piece in filter(None, [text.encode("utf-8")]):'},
    fails="check_pieces",
    says="no merge joins the t of the first and the space of the second",
)
edited(
    __name__,
    "the_rightmost_of_equals",
    of="BPETokenizer",
    edits={
        "math.inf), i) for i, pair": "math.inf), -i) for i, pair",
        "if rank == math.inf:": "i = -i\n                    if rank == math.inf:",
    },
    fails="check_pieces",
    says="the leftmost goes first",
)
edited(
    __name__,
    "decodes_each_token",
    of="BPETokenizer",
    edits={'b"".join(self.spelled[i] for i in ids).decode("utf-8", errors="replace")': '"".join(self.spelled[i].decode("utf-8", "replace") '
           "for i in ids)"},
    fails="check_text_again",
    says="join all bytes, then decode once",
)  # fmt: skip
edited(
    __name__,
    "decodes_strictly",
    of="BPETokenizer",
    edits={'.decode("utf-8", errors="replace")': '.decode("utf-8")'},
    fails="check_text_again",
    says="stopped with",
)
edited(
    __name__,
    "drops_broken_bytes",
    of="BPETokenizer",
    edits={'errors="replace")': 'errors="ignore")'},
    fails="check_text_again",
    says="become U+FFFD",
)


@wrong(of="BPETokenizer", fails="check_order_of_merges", says="n + o was learned before a + n")
class LongestTokenFirst:
    def __init__(self, tokens, merges):
        self.spelled = [*tokens, *(left + right for left, right in merges)]
        self.ids = {token: i for i, token in enumerate(self.spelled)}

    def encode(self, text):
        ids = []
        for piece in pieces(text):
            while piece:
                end = next(end for end in range(len(piece), 0, -1) if piece[:end] in self.ids)
                ids.append(self.ids[piece[:end]])
                piece = piece[end:]
        return ids

    def decode(self, ids):
        return b"".join(self.spelled[i] for i in ids).decode("utf-8", errors="replace")


@wrong(of="BPETokenizer", fails="check_validation_text", says="stopped with KeyError")
class LettersInPlaceOfBytes:
    def __init__(self, tokens, merges):
        self.spelled = [*tokens, *(left + right for left, right in merges)]
        self.ids = {token: i for i, token in enumerate(self.spelled)}
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}

    def encode(self, text):
        ids = []
        for piece in pieces(text):
            tokens = [letter.encode("utf-8") for letter in piece.decode("utf-8")]
            while found := [pair for pair in pairwise(tokens) if pair in self.ranks]:
                best = min(found, key=self.ranks.get)
                i = list(pairwise(tokens)).index(best)
                tokens[i : i + 2] = [b"".join(best)]
            ids += [self.ids[token] for token in tokens]
        return ids

    def decode(self, ids):
        return b"".join(self.spelled[i] for i in ids).decode("utf-8", errors="replace")


@right(of="BPETokenizer")
class EachMergeInTurn:
    def __init__(self, tokens, merges):
        self.spelled, self.merges = list(tokens) + [a + b for a, b in merges], list(merges)
        self.cache = {}

    def encode(self, text):
        return [i for piece in pieces(text) for i in self.of_piece(piece)]

    def of_piece(self, piece):
        if piece in self.cache:
            return self.cache[piece]
        tokens = [bytes([byte]) for byte in piece]
        for pair in self.merges:
            if pair[0] + pair[1] in piece:
                i = 0
                while i < len(tokens) - 1:
                    if (tokens[i], tokens[i + 1]) == pair:
                        tokens[i : i + 2] = [b"".join(pair)]
                    i += 1
        self.cache[piece] = [self.spelled.index(token) for token in tokens]
        return self.cache[piece]

    def decode(self, ids):
        return str(b"".join([self.spelled[i] for i in ids]), "utf-8", "replace")


# wordpiece

edited(
    __name__,
    "shortest_piece_first",
    of="wordpiece",
    edits={"range(len(word), start, -1)": "range(start + 1, len(word) + 1)"},
    fails="check_longest_part",
    says="take the longest part that fits",
)
edited(
    __name__,
    "rest_without_the_mark",
    of="wordpiece",
    edits={'(part := "##" * (start > 0) + word[start:end])': "(part := word[start:end])", " - 2 * (start > 0)": ""},
    fails="check_longest_part",
    says="##",
)
edited(
    __name__,
    "mark_not_returned",
    of="wordpiece",
    edits={
        "parts.append(part)": "parts.append(part[2 * (start > 0) :])",
    },
    fails="check_longest_part",
    says="and is returned so",
)
edited(
    __name__,
    "pieces_before_the_unknown_rest",
    of="wordpiece",
    edits={"parts = [unknown]": "parts = [*parts, unknown]"},
    fails="check_unknown_words",
    says="the whole word becomes [UNK], not only the rest",
)
edited(
    __name__,
    "rest_is_dropped",
    of="wordpiece",
    edits={"parts = [unknown]\n": "pass\n"},
    fails="check_unknown_words",
    says="the whole word becomes [UNK]",
)
edited(
    __name__,
    "unknown_written_out",
    of="wordpiece",
    edits={"parts = [unknown]": 'parts = ["[UNK]"]'},
    fails="check_unknown_words",
    says="expected the parts ['<unk>']",
)
edited(
    __name__,
    "one_flat_list",
    of="wordpiece",
    edits={"found.append(parts)": "found += parts"},
    fails="check_longest_part",
    says="expected for each word a list of its parts",
)
edited(
    __name__,
    "long_words_have_pieces",
    of="wordpiece",
    edits={" or len(word) > 100": ""},
    fails="check_long_words",
    says="more than 100 characters make a word unknown",
)
edited(
    __name__,
    "a_hundred_is_too_long",
    of="wordpiece",
    edits={"len(word) > 100": "len(word) >= 100"},
    fails="check_long_words",
    says="a word of 100 characters",
)
edited(
    __name__,
    "pieces_of_ten_letters_at_most",
    of="wordpiece",
    edits={"range(len(word), start, -1)": "range(min(len(word), start + 10), start, -1)"},
    fails="check_words_of_the_corpus",
    says="expected the parts",
)


edited(
    __name__,
    "a_known_word_may_be_long",
    of="wordpiece",
    edits={" or len(word) > 100": " or len(word) > 100 and word not in vocabulary"},
    fails="check_long_words",
    says="whatever the vocabulary holds",
)
edited(
    __name__,
    "a_hundred_bytes",
    of="wordpiece",
    edits={"len(word) > 100": "len(word.encode()) > 100"},
    fails="check_long_words",
    says="though more bytes",
)
edited(
    __name__,
    "small_letters_alone",
    of="wordpiece",
    edits={"word[start:end])": "word[start:end].lower())"},
    fails="check_long_words",
    says="A and a are two characters",
)


@wrong(of="wordpiece", fails="check_long_words", says="no part is taken back")
def takes_parts_back(words, vocabulary, unknown):
    def cut(rest, mark):
        for end in reversed(range(1, len(rest) + 1)):
            if mark + rest[:end] in vocabulary and (behind := cut(rest[end:], "##")) is not None:
                return [mark + rest[:end], *behind]
        return None if rest else []

    return [(None if len(word) > 100 else cut(word, "")) or [unknown] for word in words]


@right(of="wordpiece")
def recursive_pieces(words, vocabulary, unknown):
    def cut(rest, mark):
        if not rest:
            return []
        for end in reversed(range(1, len(rest) + 1)):
            if mark + rest[:end] in vocabulary:
                behind = cut(rest[end:], "##")
                return None if behind is None else [mark + rest[:end], *behind]
        return None

    return [[unknown] if len(word) > 100 else cut(word, "") or [unknown] for word in words]


# make_batch

edited(
    __name__,
    "pads_in_front",
    of="make_batch",
    edits={"ids + [pad] * n for": "[pad] * n + ids for"},
    fails="check_two_pairs",
    says="the padding goes behind the row",
)
edited(
    __name__,
    "second_cls",
    of="make_batch",
    edits={"sep, *kept, sep]": "sep, cls, *kept, sep]", "[1] * (len(kept) + 1)": "[1] * (len(kept) + 2)"},
    fails="check_two_pairs",
    says="expected (B, T) = (2, 6)",
)
edited(
    __name__,
    "first_sep_to_the_second_sentence",
    of="make_batch",
    edits={"[0] * (len(first) + 2) + [1] * (len(kept) + 1)": "[0] * (len(first) + 1) + [1] * (len(kept) + 2)"},
    fails="check_two_pairs",
    says="the first sep belongs to the first sentence",
)
edited(
    __name__,
    "last_sep_of_type_zero",
    of="make_batch",
    edits={"[1] * (len(kept) + 1)": "[1] * len(kept) + [0]"},
    fails="check_two_pairs",
    says="the last sep belongs to the second sentence",
)
edited(
    __name__,
    "padding_of_type_one",
    of="make_batch",
    edits={"types + [0] * n": "types + [1] * n"},
    fails="check_two_pairs",
    says="padding has the type 0",
)
edited(
    __name__,
    "mask_the_other_way_round",
    of="make_batch",
    edits={"[1] * (T - n) + [0] * n": "[0] * (T - n) + [1] * n"},
    fails="check_two_pairs",
    says="1 for what is read, 0 for padding",
)
edited(
    __name__,
    "pads_to_max_length",
    of="make_batch",
    edits={"T = max(len(ids) for ids, _ in rows)": "T = max_length"},
    fails="check_two_pairs",
    says="the longest row of this batch has 6 ids",
)
edited(
    __name__,
    "cuts_the_whole_row",
    of="make_batch",
    edits={
        "second[: max_length - len(first) - 3]": "second[: max_length - len(first) - 2]",
        "*kept, sep], [0]": "*kept, sep][:max_length], [0]",
        "[1] * (len(kept) + 1)": "[1] * min(len(kept) + 1, max_length - len(first) - 2)",
    },
    fails="check_too_long",
    says="the last sep stays",
)
edited(
    __name__,
    "cuts_the_first_sentence",
    of="make_batch",
    edits={
        "kept = second[: max_length - len(first) - 3]": "first, kept = first[max(0, len(first) + len(second) + 3 - max_length) :], second",
    },
    fails="check_too_long",
    says="only the second sentence is cut",
)
edited(
    __name__,
    "mask_from_the_ids",
    of="make_batch",
    edits={"[[1] * (T - n) + [0] * n for n in short]": "[[int(i != pad) for i in ids] + [0] * n for (ids, _), n in zip(rows, short)]"},
    fails="check_edges_of_batches",
    says="there it is read",
)
edited(
    __name__,
    "floats",
    of="make_batch",
    edits={"torch.tensor([[1] * (T - n)": "torch.tensor([[1.0] * (T - n)"},
    fails="check_two_pairs",
    says="expected a tensor of dtype torch.long",
)
edited(
    __name__,
    "a_minus_sign_cuts_nothing",
    of="make_batch",
    edits={"second[: max_length - len(first) - 3]": "second[: max_length - len(first) - 3 or None]"},
    fails="check_edges_of_batches",
    says="has the shape (1, 8), expected (B, T) = (1, 6)",
)


@right(of="make_batch")
def fills_zeros(pairs, cls, sep, pad, max_length):
    rows = [[cls, *a, sep, *b[: max(0, max_length - 3 - len(a))], sep] for a, b in pairs]
    T = max(map(len, rows))
    ids = torch.full((len(rows), T), pad, dtype=torch.long)
    types, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for i, ((first, _), row) in enumerate(zip(pairs, rows, strict=True)):
        ids[i, : len(row)] = torch.tensor(row)
        types[i, len(first) + 2 : len(row)] = 1
        mask[i, : len(row)] = 1
    return {"attention_mask": mask, "token_type_ids": types, "input_ids": ids}


@right(of="make_batch")
def transposes(pairs, cls, sep, pad, max_length):
    rows = [[cls, *a, sep, *b[: max_length - 3 - len(a)], sep] for a, b in pairs]
    types = [[0] * (len(a) + 2) + [1] * (len(row) - len(a) - 2) for (a, _), row in zip(pairs, rows, strict=True)]
    filled = ((rows, pad), (types, 0), ([[1] * len(row) for row in rows], 0))
    columns = [[*zip_longest(*part, fillvalue=value)] for part, value in filled]
    return {name: np.array(part).T for name, part in zip(("input_ids", "token_type_ids", "attention_mask"), columns, strict=True)}


# TextModel; the first uses train_bpe: while notebooks are proved, its first variant, a fast one

edited(
    __name__,
    "too_few_merges",
    of="TextModel",
    edits={"train_bpe(counts, tokens, 2048 - len(tokens))": "train_bpe(counts, tokens, 600)"},
    fails="check_target",
    says="expected at most 3.15",
)


class _Bytes:
    """Single bytes as tokens."""

    def __init__(self, texts):
        counts = np.bincount([i for text in texts for i in (*self.encode(text), 0)], minlength=257) + 1
        self.log_p = np.log(counts / counts.sum())

    def encode(self, text):
        return [byte + 1 for byte in text.encode("utf-8")]

    def decode(self, ids):
        return bytes(i - 1 for i in ids).decode("utf-8")

    def log_probs(self):
        return self.log_p


@wrong(of="TextModel", fails="check_better_than_bytes", says="single bytes need 4.54")
class BytesAlone(_Bytes):
    pass


@wrong(of="TextModel", fails="check_every_text_comes_back", says="every text must come back as it was")
class SmallLetters(_Bytes):
    def encode(self, text):
        return super().encode(text.lower())


@wrong(of="TextModel", fails="check_probabilities_of_tokens", says="expected ids from 1 to V - 1")
class EndTokenInTheText(_Bytes):
    def encode(self, text):
        return [*super().encode(text), 0]


@wrong(of="TextModel", fails="check_every_text_comes_back", says="not in the model's memory")
class RemembersTexts(_Bytes):
    def __init__(self, texts):
        self.texts = []
        super().__init__(texts[:1])

    def encode(self, text):
        self.texts.append(text)
        return [len(self.texts)]

    def decode(self, ids):
        return self.texts[ids[0] - 1] if 0 < ids[0] <= len(self.texts) else ""


@wrong(of="TextModel", fails="check_probabilities_of_tokens", says="return their natural logarithms")
class ProbabilitiesInPlaceOfLogarithms(_Bytes):
    def log_probs(self):
        return np.exp(self.log_p)


@wrong(of="TextModel", fails="check_probabilities_of_tokens", says="divide the counts by their sum first")
class LogarithmsOfCounts(_Bytes):
    def log_probs(self):
        return self.log_p - self.log_p.min()


@wrong(of="TextModel", fails="check_probabilities_of_tokens", says="take natural logarithms, not base 2")
class BaseTwo(_Bytes):
    def log_probs(self):
        return self.log_p / math.log(2)


@wrong(of="TextModel", fails="check_probabilities_of_tokens", says="add 1 to every count")
class NothingAdded(_Bytes):
    def __init__(self, texts):
        counts = np.bincount([i for text in texts for i in (*self.encode(text), 0)], minlength=257)
        with np.errstate(divide="ignore"):
            self.log_p = np.log(counts / counts.sum())


@wrong(of="TextModel", fails="check_probabilities_of_tokens", says="log_probs has changed after a text was encoded")
class CountsWhatItEncodes(_Bytes):
    def __init__(self, texts):
        self.counts = np.ones(257)
        for text in texts:
            self.encode(text)

    def encode(self, text):
        ids = super().encode(text)
        np.add.at(self.counts, [*ids, 0], 1)
        return ids

    def log_probs(self):
        return np.log(self.counts / self.counts.sum())


@right(of="TextModel")
class WordsAndBytes:
    def __init__(self, texts):
        frequent = Counter(piece for text in texts for piece in pieces(text)).most_common(9000)
        self.spelled = [None, *(bytes([byte]) for byte in range(256)), *(piece for piece, _ in frequent if len(piece) > 1)]
        self.ids = {token: i for i, token in enumerate(self.spelled)}
        self.counts = Counter(i for text in texts for i in (*self.encode(text), 0))

    def encode(self, text):
        ids = []
        for piece in pieces(text):
            ids += [self.ids[piece]] if piece in self.ids else [self.ids[bytes([byte])] for byte in piece]
        return ids

    def decode(self, ids):
        return b"".join(self.spelled[i] for i in ids).decode()

    def log_probs(self):
        counts = torch.tensor([self.counts[i] + 0.1 for i in range(len(self.spelled))], dtype=torch.float64)
        return torch.log_softmax(counts.log(), 0)
