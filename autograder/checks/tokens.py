"""Checks of the exercises of chapter 1, tokens."""

import math
import random
from collections import Counter
from functools import lru_cache
from itertools import pairwise
from numbers import Integral

import numpy as np

from lmkit import corpus, pretrained, tokenizer
from lmkit.check import hidden, visible
from lmkit.compare import ask, shown

HIDES = ("lmkit.ngram", "lmkit.window")  # while work is graded: models that predict better than any that 1.7 asks for


def _assert_ids(what, got):
    """A list of whole numbers."""
    assert isinstance(got, list), f"{what}: expected a list of ids, got {shown(got)}"
    other = next((one for one in got if isinstance(one, bool) or not isinstance(one, Integral)), None)
    assert other is None, f"{what}: expected whole numbers, got {other!r:.40} among them"


def _assert_same(what, got, want, slips=()):
    """Compare a result with the only right one. slips: pairs (what a usual mistake gives, what to say of it)."""
    if got != want:
        known = [f": {advice}" for slip, advice in slips if got == slip]
        raise AssertionError(f"{what}: expected {want!r:.240}, got {shown(got)}{''.join(known[:1])}")


# 1.1 A vocabulary


def _assert_vocabulary(what, got, want, slips=()):
    """Compare a vocabulary with the right one. want: its words in the order of their ids; slips: as for _assert_same."""
    assert isinstance(got, dict), f"{what}: expected a dictionary, word -> id, got {shown(got)}"
    turned = got and all(isinstance(word, Integral) for word in got)
    assert not turned, f"{what}: got {got!r:.100}, expected it the other way round: word -> id"
    other = next((i for i in got.values() if isinstance(i, bool) or not isinstance(i, Integral)), None)
    assert other is None, f"{what}: got {other!r:.40} for an id, expected whole numbers"
    words = sorted(got, key=got.get)
    _assert_same(f"{what}, in the order of the ids", words, want, slips)
    ids = [int(i) for i in sorted(got.values())]
    assert ids == list(range(len(ids))), f"{what}: the words are right, but their ids are {ids!r:.80}, expected 0, 1, 2 and so on"


@visible(points=0.5)
def check_most_frequent(build_vocabulary):
    """The worked example: special tokens, then the most frequent words, five entries in all"""
    slips = (
        (["the", "cat", "sat", "dog", "on"], "the special tokens are missing; they come first"),
        (["the", "cat", "dog", "on", "sat"], "the special tokens are missing; they come first"),
        (["the", "cat", "dog", "[PAD]", "[UNK]"], "the special tokens come first"),
        (["[PAD]", "[UNK]", "the", "cat", "dog", "on", "sat"], "at most 5 entries, the special tokens included"),
        (["[PAD]", "[UNK]", "the", "cat", "sat", "dog", "on"], "at most 5 entries, the special tokens included"),
        (["[PAD]", "[UNK]", "dog", "on", "sat"], "most frequent first, so turn the order of the counts round"),
        (["[PAD]", "[UNK]", "on", "sat", "dog"], "most frequent first, so turn the order of the counts round"),
        (["[PAD]", "[UNK]", "cat", "dog", "on"], "most frequent first; the order of the alphabet decides between equals only"),
        (["[PAD]", "[UNK]", "the", "cat", "sat"], "dog, on and sat occur once each: of equals the one that sorts first"),
        (["[PAD]", "[UNK]", "the", "cat", "on"], "dog, on and sat occur once each: of equals the one that sorts first"),
    )
    texts = [["the", "cat", "sat"], ["the", "dog"], ["on", "the", "cat"]]
    got = build_vocabulary(texts, ["[PAD]", "[UNK]"], 5)
    _assert_vocabulary("the example, size 5", got, ["[PAD]", "[UNK]", "the", "cat", "dog"], slips)


@visible(points=0.5)
def check_equal_counts(build_vocabulary):
    """Of equally frequent words the one that sorts first as Python sorts strings"""
    texts = [["b", "é", "a"], ["B", "ab", "2"], ["b", "A"]]
    slips = (
        (["b", "é", "a", "B", "ab", "2", "A"], "this is the order of the text; sort the words that occur equally often"),
        (["b", "é", "ab", "a", "B", "A", "2"], "of words equally frequent the one that sorts first: sort by (-count, word)"),
        (["b", "2", "a", "A", "ab", "B", "é"], "compare the words as they are: capitals sort before small letters"),
        (["b", "2", "A", "a", "ab", "B", "é"], "compare the words as they are: capitals sort before small letters"),
        (["a", "b", "ab", "2", "é"], "do not change the words: b and B are two"),
    )
    got = build_vocabulary(texts, [], 9)
    _assert_vocabulary(f"{texts}, no special tokens, size 9", got, ["b", "2", "A", "B", "a", "ab", "é"], slips)


@hidden(points=0.5)
def check_specials_in_the_text(build_vocabulary):
    """A special token that occurs in the texts, a vocabulary of special tokens alone, and the input left as it was"""
    texts, specials = [["b", "<s>", "a"], ["<s>", "b", "c"], []], ["</s>", "<s>"]
    for size, want in ((9, ["</s>", "<s>", "b", "a", "c"]), (4, ["</s>", "<s>", "b", "a"]), (2, ["</s>", "<s>"])):
        what = f"{texts}, special tokens {specials}, size {size}"
        got = ask(what, build_vocabulary, texts, specials, size)
        place = got.get("<s>", 1) if isinstance(got, dict) else 1
        assert place == 1, f"{what}: <s> has the id {place}, expected 1: a special token in the texts is not counted as a word too"
        slips = ((["</s>", "<s>", "b"], "<s> is in the vocabulary already: do not count it as a word too"),)
        _assert_vocabulary(what, got, want, slips)
    assert texts == [["b", "<s>", "a"], ["<s>", "b", "c"], []], f"the texts have become {texts}: leave them as they are"
    assert specials == ["</s>", "<s>"], f"the list of special tokens has become {specials}: leave it as it is"
    several = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "</s>", "<eos>"]
    for texts, specials, want in (([], ["[UNK]"], ["[UNK]"]), ([[]], [], []), ([[], []], several, several)):
        what = f"the texts {texts}, special tokens {specials}, size 8"
        _assert_vocabulary(what, ask(what, build_vocabulary, texts, list(specials), 8), want)


@hidden(points=0.5)
def check_vocabulary_of_real_text(build_vocabulary):
    """Four hundred paragraphs: 3,000 entries in order, and nothing better left out"""
    texts = [text.split() for text in corpus.texts("train")[:400]]
    got = build_vocabulary(texts, ["[UNK]"], 3000)
    counts = Counter(word for text in texts for word in text)
    assert isinstance(got, dict), f"400 paragraphs: expected a dictionary, word -> id, got {shown(got)}"
    assert len(got) == 3000, f"400 paragraphs, size 3,000: expected 3,000 entries, got {len(got):,}"
    words = sorted(got, key=got.get)[1:]
    strange = next((word for word in words if word not in counts), None)
    assert strange is None, f"400 paragraphs: {strange!r:.40} is in the vocabulary, but not in the texts"
    rest = min((-counts[word], word) for word in counts if word not in got)
    for i, (first, second) in enumerate(pairwise([*words, rest[1]]), start=1):
        message = f"400 paragraphs: {first!r} ({counts[first]} times) has the id {i}, before {second!r} ({counts[second]} times)"
        assert (-counts[first], first) < (-counts[second], second), f"{message}: more frequent first, of equals the one that sorts first"


# 1.2 Words to ids and back


def _cat_words():
    """The vocabulary of the worked example."""
    return {"[UNK]": 0, "the": 1, "cat": 2, "sat": 3, ".": 4}


@visible(points=0.5)
def check_words_to_ids(WordTokenizer):
    """The worked example: a text as ids, the words it does not know among them"""
    words = WordTokenizer(_cat_words(), "[UNK]")
    what = "encode('the cat sat on the mat.')"
    got = ask(what, words.encode, "the cat sat on the mat.")
    _assert_ids(what, got)
    slips = (
        ([1, 2, 3, 1, 4], "a word that is not in the vocabulary gets the id of [UNK], it is not left out"),
        ([1, 2, 3, 0, 1, 0], "the full stop is a token of its own: use split_words"),
        ([0, 1, 2, 3, 4], "keep the order of the text"),
    )
    _assert_same(what, got, [1, 2, 3, 0, 1, 0, 4], slips)


@visible(points=0.5)
def check_ids_to_words(WordTokenizer):
    """The worked example: ids as text, one space between each two words"""
    words = WordTokenizer(_cat_words(), "[UNK]")
    what = "decode([1, 2, 3, 0, 1, 0, 4])"
    slips = (
        ("the cat sat the .", "the id of [UNK] gives the word [UNK]"),
        ("thecatsat[UNK]the[UNK].", "one space between each two words"),
        ("the cat sat [UNK] the [UNK].", "one space between each two words, also before a sign"),
        ("the cat sat [UNK] the [UNK] . ", "a space between each two words, none at the end"),
        (" the cat sat [UNK] the [UNK] .", "a space between each two words, none at the start"),
        (["the", "cat", "sat", "[UNK]", "the", "[UNK]", "."], "join the words to one text"),
    )
    _assert_same(what, ask(what, words.decode, [1, 2, 3, 0, 1, 0, 4]), "the cat sat [UNK] the [UNK] .", slips)


@hidden(points=0.5)
def check_any_vocabulary(WordTokenizer):
    """A vocabulary whose ids are in another order, another unknown word, nothing to encode or decode"""
    ids = {"mat": 3, "The": 0, "<unk>": 2, "cat": 4, "mats": 1}
    words = WordTokenizer(dict(ids), "<unk>")
    for text, want in (("The cat", [0, 4]), ("the  mat,\nmats", [2, 3, 2, 1]), ("", []), (" \n", [])):
        what = f"vocabulary {ids}, unknown '<unk>': encode({text!r})"
        got = ask(what, words.encode, text)
        _assert_ids(what, got)
        slips = (([0, 3, 0, 1], "the unknown word has the id 2 here"), ([0, 3, 2, 1], "the and The are two words"))
        _assert_same(what, got, want, slips)
    for given, want in (([0, 4, 3], "The cat mat"), ([2], "<unk>"), ([], "")):
        what = f"vocabulary {ids}: decode({given})"
        slips = (("mat mats cat", "look for the word that has the id; the order of the dictionary says nothing"),)
        _assert_same(what, ask(what, words.decode, given), want, slips)
    other = WordTokenizer(_cat_words(), "[UNK]")
    what = f"two tokenizers at once, the first with the vocabulary {ids}"
    advice = "this is what the second one would give: keep what you need in `self`, where each tokenizer has its own"
    for name, function, given, want, second in (
        ("encode('cat')", words.encode, "cat", [4], [2]),
        ("decode([4, 3])", words.decode, [4, 3], "cat mat", ". sat"),
    ):
        _assert_same(f"{what}: its {name}", ask(what, function, given), want, ((second, advice),))
    _assert_same(f"{what}: encode('cat') of the second", ask(what, other.encode, "cat"), [2])


@hidden(points=0.5)
def check_impossible_ids(WordTokenizer):
    """decode raises ValueError for ids that the vocabulary does not have"""
    words = WordTokenizer(_cat_words(), "[UNK]")
    for given in ([1, 5], [-1], [2, -5, 1]):
        what = f"five words, ids 0 to 4: decode({given})"
        try:
            got = words.decode(given)
        except ValueError:
            continue
        except LookupError as error:
            raise AssertionError(f"{what} raised {type(error).__name__}, expected ValueError: test the id, then raise ValueError") from None
        advice = ": a negative index counts from the end of a list" if min(given) < 0 else ""
        raise AssertionError(f"{what} gave {got!r:.60}, expected ValueError: there is no such id{advice}")


# 1.3 Learning merges


def _shown_pair(pair):
    """A pair of tokens as a message shows it."""
    is_pair = isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(token, bytes) for token in pair)
    return " + ".join(token.decode("utf-8", errors="backslashreplace") or "''" for token in pair) if is_pair else f"{pair!r:.60}"


def _assert_merges(what, got, want, slips=()):
    """Compare merges with the right ones. slips: (place, pair that a usual mistake takes there, what to say of it)."""
    assert isinstance(got, list), f"{what}: expected a list of pairs, got {shown(got)}"
    other = next((pair for pair in got if not (isinstance(pair, tuple) and list(map(type, pair)) == [bytes, bytes])), None)
    advice = ""
    if isinstance(other, bytes):
        advice = ": note the pair, not what it spells"
    elif isinstance(other, tuple) and all(isinstance(token, Integral) for token in other):
        advice = ": a token is a bytes object; piece[i] is a number, piece[i : i + 1] a token"
    assert other is None, f"{what}: expected pairs of tokens, (bytes, bytes), got {other!r:.60} among them{advice}"
    for i, (found, right) in enumerate(zip(got, want, strict=False)):
        if found != right:
            known = [f": {advice}" for place, pair, advice in slips if (place, pair) == (i, found)]
            before = f" after {', '.join(map(_shown_pair, got[max(0, i - 2) : i]))}" if i else ""
            message = f"{what}: merge {i + 1}{before} is '{_shown_pair(found)}', expected '{_shown_pair(right)}'{''.join(known[:1])}"
            raise AssertionError(message)
    after = f"; the last is '{_shown_pair(got[-1])}'" if got else ""
    assert len(got) == len(want), f"{what}: got {len(got)} merges, expected {len(want)}{after}"


@visible(points=0.75)
def check_example_merges(train_bpe):
    """The worked example, one merge after the other"""
    what = "counts ab 1, cab 1, bc 5; tokens a, b, c; n_merges = 1"
    slips = ((0, (b"a", b"b"), "a piece that occurs 5 times counts each of its pairs 5 times"),)
    got = ask(what, train_bpe, {b"ab": 1, b"cab": 1, b"bc": 5}, [b"a", b"b", b"c"], 1)
    _assert_merges(what, got, [(b"b", b"c")], slips)
    counts, tokens = {b"cat": 4, b"cats": 2, b"hat": 6, b"at": 1}, [b"h", b"c", b"a", b"t", b"s"]
    want = [(b"a", b"t"), (b"h", b"at"), (b"c", b"at"), (b"cat", b"s")]
    slips = (
        (0, (b"h", b"a"), "take the pair with the highest total"),
        (0, (b"t", b"s"), "take the pair with the highest total, 13"),
        (1, (b"h", b"a"), "count again after each merge: after a + t there is no a beside h any more, only at"),
        (1, (b"c", b"a"), "count again after each merge: after a + t there is no a beside c any more, only at"),
        (1, (b"c", b"at"), "h + at and c + at both occur 6 times; h has the lower id, 0, its place in `tokens`"),
        (1, (b"a", b"t"), "once merged, a + t must be replaced by at in every piece"),
        (3, (b"hat", b"hat"), "no pair reaches from one piece into another"),
        (3, (b"hat", b"at"), "no pair reaches from one piece into another"),
    )
    for n_merges in (1, 2, 4):
        what = f"counts cat 4, cats 2, hat 6, at 1; tokens h, c, a, t, s; n_merges = {n_merges}"
        _assert_merges(what, ask(what, train_bpe, dict(counts), list(tokens), n_merges), want[:n_merges], slips)


@visible(points=0.5)
def check_equal_totals(train_bpe):
    """Of pairs with the same total: the lowest id of the left token, then of the right one"""
    last = "a new token gets the next id, so those of `tokens` come before it"
    for counts, tokens, want, slips in (
        ({b"xz": 2, b"yx": 2, b"yz": 2}, [b"z", b"y", b"x"], [(b"y", b"z"), (b"y", b"x"), (b"x", b"z")], ()),
        ({b"abab": 3, b"cd": 3}, [b"a", b"b", b"c", b"d"], [(b"a", b"b"), (b"c", b"d"), (b"ab", b"ab")], ((1, (b"ab", b"ab"), last),)),
    ):
        counted = ", ".join(f"{piece.decode()} {times}" for piece, times in counts.items())
        what = f"counts {counted}; tokens {', '.join(token.decode() for token in tokens)}"
        known = (
            (0, (b"x", b"z"), "all three occur twice; y has a lower id than x, 1, its place in `tokens`"),
            (0, (b"y", b"x"), "all three occur twice; y is the lowest left token of two, and of these z has the lower id, 0"),
            (1, (b"x", b"z"), "both occur twice; the left token decides first, and y has a lower id than x"),
            *slips,
        )
        _assert_merges(what, ask(what, train_bpe, counts, tokens, 3), want, known)


@visible(points=0.75)
def check_rows_of_one_byte(train_bpe):
    """Rows of one byte: every pair of neighbours counts, and tokens are joined from left to right"""
    for counts, tokens, want, slips in (
        ({b"aaa": 2, b"ba": 3}, [b"b", b"a"], [(b"a", b"a"), (b"b", b"a"), (b"aa", b"a")],
         ((0, (b"b", b"a"), "aaa holds a + a twice, so its total is 4 against 3"),
          (2, (b"a", b"aa"), "join from left to right: aaa becomes aa a"))),
        ({b"aaaab": 2}, [b"a", b"b"], [(b"a", b"a"), (b"aa", b"b"), (b"aa", b"aab")],
         ((1, (b"aa", b"a"), "join wherever the pair stands: aaaab becomes aa aa b"),
          (1, (b"a", b"b"), "join wherever the pair stands: aaaab becomes aa aa b"),
          (1, (b"aa", b"aa"), "aa + aa and aa + b both occur twice; b has the id 1, the new token aa the next free one, 2"))),
    ):  # fmt: skip
        counted = ", ".join(f"{piece.decode()} {times}" for piece, times in counts.items())
        what = f"counts {counted}; tokens {', '.join(token.decode() for token in tokens)}"
        _assert_merges(what, ask(what, train_bpe, counts, tokens, 3), want, slips)


@hidden(points=0.5)
def check_edges_of_training(train_bpe):
    """No merges wanted, nothing to merge, fewer than wanted, a merge that spells a token of the list; the arguments as they were"""
    for counts, n_merges, want in (
        ({b"ab": 1}, 0, []),
        ({}, 5, []),
        ({b"a": 3, b"b": 2}, 5, []),
        ({b"ab": 1, b"c": 9}, 5, [(b"a", b"b")]),
        ({b"abc": 1}, 9, [(b"a", b"b"), (b"ab", b"c")]),
    ):
        tokens = [b"a", b"b", b"c"]
        counted = ", ".join(f"{piece.decode()} {times}" for piece, times in counts.items()) or "{}"
        what = f"counts {counted}; n_merges = {n_merges}"
        given = dict(counts)
        try:
            got = ask(what, train_bpe, given, tokens, n_merges)
        except ValueError as error:
            raise AssertionError(f"{what} stopped with ValueError: {error!s:.80}; stop when no pair is left") from None
        _assert_merges(what, got, want)
        assert given == counts, f"{what}: the counts have become {given!r:.100}: leave them as they are"
        assert tokens == [b"a", b"b", b"c"], f"{what}: the tokens have become {tokens!r:.100}: leave them as they are"
    what = "counts ab 5, cx 2, abx 2; tokens a, b, ab, c, x"
    advice = "ab + x and c + x both occur twice; ab stands in `tokens` and keeps its id there, 2, lower than that of c"
    slips = ((1, (b"c", b"x"), advice),)
    got = ask(what, train_bpe, {b"ab": 5, b"cx": 2, b"abx": 2}, [b"a", b"b", b"ab", b"c", b"x"], 3)
    _assert_merges(what, got, [(b"a", b"b"), (b"ab", b"x"), (b"c", b"x")], slips)


def _counted(texts):
    """Piece -> how often it occurs."""
    return dict(Counter(piece for text in texts for piece in tokenizer.pieces(text)))


def _as_bytes(merges):
    """Merges as the library writes them -> pairs of bytes."""
    return [(tokenizer.spelling(left), tokenizer.spelling(right)) for left, right in merges]


@hidden(points=1.5)
def check_like_the_library(train_bpe):
    """Three hundred merges of thirty paragraphs equal those of the library tokenizers"""
    texts = corpus.texts("train")[:30]
    want = _as_bytes(tokenizer.train(texts, 257 + 300))
    _assert_merges("30 paragraphs, 300 merges", train_bpe(_counted(texts), tokenizer.vocabulary()[:257], 300), want)


@hidden(points=1)
def check_merges_of_the_course(train_bpe):
    """The first twenty merges of the whole training text are those of the course's tokenizer"""
    got = train_bpe(_counted(corpus.texts("train")), tokenizer.vocabulary()[:257], 20)
    _assert_merges("the training text, 20 merges", got, tokenizer.merges()[:20])


# 1.4 Encoding with merges


def _assert_encoded(what, got, want, spelled, slips=()):
    """Compare ids with the right ones, and show the tokens."""
    _assert_ids(what, got)
    if got != want:
        known = [f": {advice}" for slip, advice in slips if got == slip]
        i = next((i for i, (found, right) in enumerate(zip(got, want, strict=False)) if found != right), min(len(got), len(want)))
        start, rows = max(0, i - 2), []
        for ids in (want, got):
            part = ids[start : i + 4]
            names = [spelled[j].decode("utf-8", errors="backslashreplace") if 0 <= j < len(spelled) else "?" for j in part]
            rows.append(f"{part} ({' '.join(map(repr, names))}){' and so on' if len(ids) > i + 4 else ''}")
        where = f" from position {start} on" if start else ""
        raise AssertionError(f"{what}:{where} expected {rows[0]}, got {rows[1]}{''.join(known[:1])}")


def _small_bpe():
    """The tokens and merges of the worked example, and what each id spells."""
    tokens, merges = [b" ", b"a", b"n", b"o", b"t"], [(b"n", b"o"), (b"a", b"n"), (b"no", b"t")]
    return tokens, merges, [*tokens, b"no", b"an", b"not"]


@visible(points=0.5)
def check_order_of_merges(BPETokenizer):
    """The worked example: the merge that was learned first goes first"""
    tokens, merges, spelled = _small_bpe()
    bpe = BPETokenizer(tokens, merges)
    slips = (
        ([6, 3, 2], "n + o was learned before a + n, so it goes first, wherever it stands"),
        ([1, 2, 3, 2], "join the pairs that are merges"),
        ([1, 7], "go on only while a pair is a merge"),
        ([5], "keep what is not merged"),
        ([2], "keep what is not merged"),
        ([5, 2], "keep what is not merged"),
        ([7], "apply the merges again, to what the first ones have made"),
        ([5, 4], "apply the merges again, to what the first ones have made: no + t is a merge"),
        ([5, 2, 3, 2, 3], "the same pair may stand in a piece more than once"),
        ([0], "a new token has the next free id after those of `tokens`: no has 5"),
        ([1, 0, 2], "a new token has the next free id after those of `tokens`: no has 5"),
        ([1, 256, 2], "a new token has the next free id after those of `tokens`: no has 5"),
    )
    for text, want in (("anon", [1, 5, 2]), ("not", [7]), ("nonono", [5, 5, 5]), ("", [])):
        what = f"tokens ' ', a, n, o, t; merges n + o, a + n, no + t: encode({text!r})"
        _assert_encoded(what, ask(what, bpe.encode, text), want, spelled, slips)


@visible(points=0.5)
def check_pieces(BPETokenizer):
    """Pieces are encoded one by one: no merge reaches from one into the next"""
    tokens, merges, spelled = _small_bpe()
    what = "tokens ' ', a, n, o, t; merges n + o, a + n, no + t: encode('not an ant')"
    slips = (([7, 6, 6, 4], "the spaces are gone; cut the text with `pieces`, which keeps them: 'not', ' an', ' ant'"),)
    _assert_encoded(what, ask(what, BPETokenizer(tokens, merges).encode, "not an ant"), [7, 0, 6, 0, 6, 4], spelled, slips)
    tokens, merges = [b" ", b"a", b"t"], [(b"t", b" "), (b" ", b"a")]
    slips = (([1, 3, 1, 2], "the pieces are 'at' and ' at': no merge joins the t of the first and the space of the second"),)
    what = "tokens ' ', a, t; merges t + ' ', ' ' + a: encode('at at')"
    _assert_encoded(what, ask(what, BPETokenizer(tokens, merges).encode, "at at"), [1, 2, 4, 2], [*tokens, b"t ", b" a"], slips)
    tokens, merges = [b"b", b"a"], [(b"a", b"a")]
    slips = (([1, 2], "of the same pair the leftmost goes first"),)
    what = "tokens b, a; merge a + a: encode('aaa')"
    _assert_encoded(what, ask(what, BPETokenizer(tokens, merges).encode, "aaa"), [2, 1], [*tokens, b"aa"], slips)


@visible(points=0.5)
def check_text_again(BPETokenizer):
    """decode joins the bytes first, and reads them as UTF-8 then"""
    tokens, merges, _ = _small_bpe()
    what = "tokens ' ', a, n, o, t; merges n + o, a + n, no + t: decode([7, 0, 6])"
    slips = (("notan", "a space is a token too"), (b"not an", "decode the bytes to text"))
    _assert_same(what, ask(what, BPETokenizer(tokens, merges).decode, [7, 0, 6]), "not an", slips)
    slips = (
        ("\ufffd\ufffd", "the two bytes of é stand in two tokens: join all bytes, then decode once"),
        ("Ã©", "read the bytes as UTF-8, not as Latin-1"),
        ("", "bytes that are no UTF-8 become U+FFFD, they do not vanish"),
    )
    for ids, want in (([0, 1], "é"), ([0], "\ufffd"), ([], "")):
        what = f"tokens b'\\xc3', b'\\xa9', no merges: decode({ids})"
        try:
            got = ask(what, BPETokenizer([b"\xc3", b"\xa9"], []).decode, ids)
        except ValueError as error:
            raise AssertionError(f"{what} stopped with ValueError: {error!s:.80}") from None
        _assert_same(what, got, want, slips if ids else ())


@hidden(points=1)
def check_validation_text(BPETokenizer):
    """The whole validation text, encoded as the library tokenizers does with the same merges"""
    spelled = tokenizer.vocabulary()
    bpe = BPETokenizer(spelled[:257], tokenizer.merges())
    for number, (text, want) in enumerate(zip(corpus.texts("validation"), tokenizer.token_ids("validation"), strict=True)):
        what = f"the course's merges, paragraph {number} of the validation text"
        _assert_encoded(what, ask(what, bpe.encode, text), want, spelled)
        back = ask(what, bpe.decode, want)
        assert back == text, f"{what}: decode gave another text than the one that was encoded: {back!r:.60}"


@hidden(points=0.5)
def check_any_text(BPETokenizer):
    """Other merges and texts in other scripts, as the library tokenizers encodes them; they come back as they were"""
    merges = tokenizer.train(corpus.texts("train")[-40:], 257 + 300)
    library, spelled = tokenizer.build(merges), tokenizer.vocabulary()[:257]
    pairs = _as_bytes(merges)
    bpe = BPETokenizer(spelled, pairs)
    spelled = [*spelled, *(left + right for left, right in pairs)]
    texts = ("naïve café – “déjà vu”", "Ελλάδα и Москва 東京", "🚀🚀 👩🏽‍🚀!", "  two  spaces\n\n\ttabs ", "it's we'll DON'T")
    for text in (*texts, "0.5 % of 1,234", " "):
        what = f"300 merges of other text: encode({text!r})"
        want = library.encode(text).ids
        _assert_encoded(what, ask(what, bpe.encode, text), want, spelled)
        _assert_same(f"300 merges of other text: decode({want!r:.60})", ask(what, bpe.decode, want), text)


# 1.5 WordPiece


def _assert_parts(words, got, want, slips=()):
    """Compare the parts of words with the right ones; slips: (parts, what to say of them)."""
    what = f"words {words!r:.60}"
    assert isinstance(got, list), f"{what}: expected a list with a list of parts for each word, got {shown(got)}"
    flat = next((parts for parts in got if not isinstance(parts, list)), None)
    assert flat is None, f"{what}: expected for each word a list of its parts, got {flat!r:.60} among them"
    for word, found, right in zip(words, got, want, strict=False):
        known = [f": {advice}" for slip, advice in slips if found == slip]
        message = f"{word!r:.40}: expected the parts {right!r:.200}, got {found!r:.200}"
        assert found == right, f"{message}{''.join(known[:1])}"
    assert len(got) == len(want), f"{what}: got the parts of {len(got)} words, expected those of {len(want)}"


@visible(points=0.5)
def check_longest_part(wordpiece):
    """The worked example: the longest part from the start, then the longest that goes on"""
    known_parts = {"un", "u", "##a", "##n", "##able", "##ble", "able", "break", "##break", "##s", "##t", "[UNK]"}
    slips = (
        (["u", "##n", "##break", "##able"], "un is longer than u: take the longest part that fits"),
        (["u", "##n", "##break", "##a", "##ble"], "un is longer than u: take the longest part that fits"),
        (["un", "##break", "##a", "##ble"], "##able is longer than ##a: take the longest part that fits"),
        (["un", "break", "able"], "a part that goes on a word stands in the vocabulary with ## in front, and is returned so"),
        (["un", "break", "##able"], "a part that goes on a word stands in the vocabulary with ## in front"),
        (["[UNK]"], "its parts are in the vocabulary; one that goes on a word is looked up with ## in front, and may be one letter"),
        (["break"], "the parts are taken from the start of the word on, and together they are the whole word"),
    )
    words = ["unbreakable", "breaks", "able"]
    want = [["un", "##break", "##able"], ["break", "##s"], ["able"]]
    _assert_parts(words, ask(f"words {words}", wordpiece, words, known_parts, "[UNK]"), want, slips)


@visible(points=0.5)
def check_unknown_words(wordpiece):
    """The worked example: where no part fits, the whole word is unknown"""
    known_parts = {"un", "u", "##a", "##n", "##able", "##ble", "able", "break", "##break", "##s", "##t", "[UNK]"}
    slips = (
        (["un", "[UNK]"], "the whole word becomes [UNK], not only the rest"),
        (["un"], "the whole word becomes [UNK]"),
        (["un", "[UNK]", "able"], "the whole word becomes [UNK], and nothing is skipped"),
        (["un", "[UNK]", "##able"], "the whole word becomes [UNK], and nothing is skipped"),
        (["un", "##able"], "no part begins with x, so the whole word becomes [UNK]: nothing is skipped"),
        (["s"], "only ##s is in the vocabulary, which goes on a word; at its start s is needed"),
        (["##s"], "only ##s is in the vocabulary, which goes on a word; at its start s is needed"),
        ([], "a word that no part fits becomes [UNK]"),
    )
    for unknown in ("[UNK]", "<unk>"):
        words = ["unxable", "s", "un"]
        got = ask(f"words {words}, unknown {unknown!r}", wordpiece, words, known_parts, unknown)
        _assert_parts(words, got, [[unknown], [unknown], ["un"]], slips)


@hidden(points=0.25)
def check_long_words(wordpiece):
    """Words of 100 and of 101 characters, capitals, a longest part that leads nowhere; a dictionary as the vocabulary; no words"""
    known_parts = {"a": 5, "##a": 6, "[UNK]": 0}
    words = ["a" * 100, "a" * 101, "a"]
    want = [["a", *["##a"] * 99], ["[UNK]"], ["a"]]
    got = ask("words of one letter", wordpiece, words, known_parts, "[UNK]")
    _assert_parts(words[2:], got[2:], want[2:])
    for found, right, length in zip(got, want, (100, 101), strict=False):
        what = f"a word of {length} characters, all of them a: expected {len(right)} of the parts {sorted(set(right))}"
        assert found == right, f"{what}, got {len(found)} of {sorted(set(found))}; more than 100 characters make a word unknown"
    _assert_parts([], ask("no words", wordpiece, [], known_parts, "[UNK]"), [])
    for word, vocabulary, parts, mistake, advice in (
        ("abc", ("ab", "a", "##bc"), ["[UNK]"], ["a", "##bc"], "ab is the longest part, nothing goes on with c, and no part is taken back"),
        ("Able", ("able", "A", "##ble"), ["A", "##ble"], ["able"], "take the word as it is: A and a are two characters"),
        ("é" * 100, ("é", "##é"), ["é", *["##é"] * 99], ["[UNK]"], "it has 100 characters, though more bytes"),
        ("b" * 101, ("b" * 101,), ["[UNK]"], ["b" * 101], "more than 100 characters make a word unknown, whatever the vocabulary holds"),
    ):
        got = ask(f"the word {word!r:.20}", wordpiece, [word], set(vocabulary), "[UNK]")
        _assert_parts([word], got, [parts], ((mistake, f"the vocabulary is {', '.join(vocabulary):.20}; {advice}"),))


@lru_cache(maxsize=1)
def _corpus_words():
    """Every distinct word of the corpus as the pretrained tokenizer reads it, its parts, and the tokenizer's vocabulary."""
    library = pretrained.tokenizer().backend_tokenizer
    texts = [library.normalizer.normalize_str(paragraph.text) for paragraph in corpus.all_paragraphs()]
    words = sorted({word for text in texts for word, _ in library.pre_tokenizer.pre_tokenize_str(text)})
    return words, [[part.value for part in library.model.tokenize(word)] for word in words], library.get_vocab()


@hidden(points=0.75)
def check_words_of_the_corpus(wordpiece):
    """Every distinct word of the corpus, cut as the pretrained encoder's tokenizer cuts it"""
    words, want, known_parts = _corpus_words()
    _assert_parts(words, ask("the words of the corpus", wordpiece, words, known_parts, "[UNK]"), want)


# 1.6 A batch


def _assert_batch(what, got, want, slips=()):
    """Compare a batch with the right one, name by name. slips: (name, rows that a usual mistake gives, what to say of it)."""
    assert isinstance(got, dict), f"{what}: expected a dictionary of three tensors, got {shown(got)}"
    for name, right in want.items():
        assert name in got, f"{what}: {name!r} is missing; the batch has {sorted(map(str, got))}"
        kind = getattr(got[name], "dtype", None)
        found = f"is a {type(got[name]).__name__}" if kind is None else f"has the dtype {kind}"
        assert str(kind) in ("torch.int64", "int64"), f"{what}: {name} {found}, expected a tensor of dtype torch.long"
        shape, expected = tuple(got[name].shape), np.shape(right)
        hint = ""
        if len(shape) == 2 and shape[0] == expected[0]:
            hint = f"; the longest row of this batch has {expected[1]} ids"
        assert shape == expected, f"{what}: {name} has the shape {shape}, expected (B, T) = {expected}{hint}"
        rows = got[name].tolist()
        known = [f": {advice}" for at, slip, advice in slips if at == name and rows == slip]
        for i, (found, row) in enumerate(zip(rows, right, strict=True)):
            if found != row:
                at = next(at for at, (one, other) in enumerate(zip(found, row, strict=True)) if one != other)
                filling = ", which is filling" if not want["attention_mask"][i][at] else ""
                rows = f"expected {row}, got {found}" if len(row) < 16 else f"expected {row[at]} at position {at}{filling}, got {found[at]}"
                raise AssertionError(f"{what}: row {i} of {name}: {rows}{''.join(known[:1])}")


@visible(points=0.5)
def check_two_pairs(make_batch):
    """The worked example: two pairs of different length"""
    want = {
        "input_ids": [[101, 7, 8, 102, 9, 102], [101, 6, 102, 5, 102, 0]],
        "token_type_ids": [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0]],
        "attention_mask": [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0]],
    }
    slips = (
        ("input_ids", [[101, 7, 8, 102, 9, 102], [0, 101, 6, 102, 5, 102]], "the padding goes behind the row"),
        ("input_ids", [[101, 7, 8, 102, 101, 9, 102], [101, 6, 102, 101, 5, 102, 0]], "cls stands at the start of the row only"),
        ("token_type_ids", [[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 0]], "the first sep belongs to the first sentence"),
        ("token_type_ids", [[0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0]], "the last sep belongs to the second sentence"),
        ("token_type_ids", [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]], "padding has the type 0"),
        ("token_type_ids", [[1, 1, 1, 1, 2, 2], [1, 1, 1, 2, 2, 0]], "the types are 0 and 1"),
        ("attention_mask", [[0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]], "1 for what is read, 0 for padding"),
        ("attention_mask", [[0, 1, 1, 0, 1, 0], [0, 1, 0, 1, 0, 0]], "cls and sep are read too: only padding has 0"),
    )
    got = make_batch([([7, 8], [9]), ([6], [5])], 101, 102, 0, 16)
    _assert_batch("pairs ([7, 8], [9]) and ([6], [5]), cls 101, sep 102, pad 0, max_length 16", got, want, slips)


@visible(points=0.5)
def check_too_long(make_batch):
    """The worked example: the second sentence is cut from its end, and the last sep stays"""
    want = {
        "input_ids": [[101, 1, 2, 3, 102, 4, 5, 102]],
        "token_type_ids": [[0, 0, 0, 0, 0, 1, 1, 1]],
        "attention_mask": [[1, 1, 1, 1, 1, 1, 1, 1]],
    }
    slips = (
        ("input_ids", [[101, 1, 2, 3, 102, 4, 5, 6]], "the last sep stays: cut the second sentence before you add it"),
        ("input_ids", [[101, 3, 102, 4, 5, 6, 7, 102]], "only the second sentence is cut"),
        ("input_ids", [[101, 1, 102, 4, 5, 6, 7, 102]], "only the second sentence is cut"),
        ("input_ids", [[101, 1, 2, 3, 102, 6, 7, 102]], "ids are lost from the end of the second sentence, not from its start"),
    )
    got = make_batch([([1, 2, 3], [4, 5, 6, 7])], 101, 102, 0, 8)
    _assert_batch("the pair ([1, 2, 3], [4, 5, 6, 7]), cls 101, sep 102, pad 0, max_length 8", got, want, slips)


@hidden(points=0.25)
def check_edges_of_batches(make_batch):
    """Empty sentences, no room for the second, other special ids, the id of padding inside a sentence, input unchanged"""
    for pairs, special, max_length, want in (
        ([([], []), ([4], [])], (1, 2, 9), 12, [[[1, 2, 2, 9], [1, 4, 2, 2]], [[0, 0, 1, 0], [0, 0, 0, 1]], [[1, 1, 1, 0], [1, 1, 1, 1]]]),
        ([([5, 6, 7], [8, 9])], (1, 2, 0), 6, [[[1, 5, 6, 7, 2, 2]], [[0, 0, 0, 0, 0, 1]], [[1, 1, 1, 1, 1, 1]]]),
        ([([5, 0], [0]), ([5], [])], (1, 2, 0), 9,
         [[[1, 5, 0, 2, 0, 2], [1, 5, 2, 2, 0, 0]], [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 0, 0]], [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]]),
    ):  # fmt: skip
        given = [(list(first), list(second)) for first, second in pairs]
        what = f"pairs {pairs}, (cls, sep, pad) = {special}, max_length {max_length}"
        got = ask(what, make_batch, given, *special, max_length)
        advice = "the id of padding may stand in a sentence: there it is read"
        slips = (("attention_mask", [[1, 1, 0, 1, 0, 1], [1, 1, 1, 1, 0, 0]], advice),)
        _assert_batch(what, got, dict(zip(("input_ids", "token_type_ids", "attention_mask"), want, strict=True)), slips)
        assert given == pairs, f"{what}: the pairs have become {given!r:.120}: leave them as they are"


@hidden(points=0.75)
def check_like_the_fast_tokenizer(make_batch):
    """Batches of real sentences equal those of the pretrained encoder's tokenizer"""
    library = pretrained.tokenizer()
    sentences = [sentence for text in corpus.texts("validation")[:12] for sentence in text.split(". ")][:24]
    ids = library(sentences, add_special_tokens=False)["input_ids"]
    room = max(len(first) for first in ids[::2]) + 12
    for max_length, size in ((512, 12), (room, 12), (room, 5), (512, 1)):
        pairs = list(zip(ids[::2], ids[1::2], strict=True))[:size]
        texts = sentences[::2][:size], sentences[1::2][:size]
        want = dict(library(*texts, padding=True, truncation="only_second", max_length=max_length))
        what = f"{size} pairs of real sentences, max_length {max_length}"
        got = make_batch(pairs, library.cls_token_id, library.sep_token_id, library.pad_token_id, max_length)
        _assert_batch(what, got, {name: want[name] for name in ("input_ids", "token_type_ids", "attention_mask")})


# 1.7 A tokenizer, measured


def _encoded(model, text, V):
    """The ids that a model gives a text: whole numbers from 1 to V - 1."""
    what = f"encode({text!r:.40})"
    got = ask(what, model.encode, text)
    got = got.tolist() if isinstance(got, np.ndarray) else got
    _assert_ids(what, got)
    wrong = next((i for i in got if not 0 < i < V), None)
    advice = "0 is the end token, which the check adds itself" if wrong == 0 else f"log_probs has {V:,} values"
    assert wrong is None, f"{what} gave the id {wrong}, expected ids from 1 to V - 1: {advice}"
    return got


def _assert_back(text, back):
    """What decode gave is the text that was encoded."""
    if back != text:
        assert isinstance(back, str), f"decode(encode({text!r:.40})) gave {shown(back)}, expected the text"
        i = next((i for i, (found, right) in enumerate(zip(back, text, strict=False)) if found != right), min(len(back), len(text)))
        start = max(0, i - 10)
        what = f"decode(encode(text)) is another text: from character {start} on it has {back[start : start + 30]!r}"
        raise AssertionError(f"{what}, expected {text[start : start + 30]!r}; every text must come back as it was")


def _log_probs(model):
    """The log-probabilities of a model's tokens: (V,), each finite, whose probabilities sum to one."""
    got = model.log_probs()
    assert got is not None, f"log_probs: expected an array of shape (V,), got {shown(got)}"
    try:
        values = np.asarray(got, dtype=float)
    except (TypeError, ValueError):
        raise AssertionError(f"log_probs: expected an array of shape (V,), got a {type(got).__name__}") from None
    assert len(values.shape) == 1 < values.size, f"log_probs has the shape {values.shape}, expected (V,), one number for each token"
    what = f"log_probs of {len(values):,} tokens"
    assert not np.isnan(values).any(), f"{what}: that of token {np.isnan(values).argmax()} is nan"
    advice = ""
    if values.min() >= 0:
        small = values.max() <= 1
        advice = ": these are probabilities; return their natural logarithms" if small else ": divide the counts by their sum first"
    assert values.max() <= 1e-6, f"{what}: that of token {values.argmax()} is {values.max():.4g}, above 0{advice}"
    token = int(values.argmin())
    end = ": the end token stands behind every text, so count it" if token == 0 else ": add 1 to every count"
    assert values.min() > -math.inf, f"{what}: that of token {token} is -inf, so its probability is 0{end}"
    total = np.exp(values).sum()
    advice = ": take natural logarithms, not base 2" if math.isclose(np.exp2(values).sum(), 1, rel_tol=1e-3) else ""
    assert abs(total - 1) < 1e-4, f"{what}: the probabilities sum to {total:.4f}, expected 1{advice}"
    return values


@lru_cache(maxsize=1)
def _small_model(TextModel):
    """A model trained on ten paragraphs, once for both checks."""
    return TextModel(corpus.texts("train")[:10])


@visible(points=0.25)
def check_probabilities_of_tokens(TextModel):
    """The probabilities of all V tokens sum to one, and none is 0 (trained on ten paragraphs)"""
    model = _small_model(TextModel)
    before = _log_probs(model)
    for text in corpus.texts("validation")[:3]:
        _encoded(model, text, len(before))
    after = _log_probs(model)
    assert np.array_equal(before, after), "log_probs has changed after a text was encoded: it comes from the training texts alone"


@visible(points=0.25)
def check_every_text_comes_back(TextModel):
    """decode(encode(text)) is the text, whatever it is (trained on ten paragraphs)"""
    model, other = _small_model(TextModel), TextModel(corpus.texts("train")[:10])
    V = len(_log_probs(model))
    texts = ("The cat sat.", "", "Cats purr", " two  spaces\n\ttabs\r\n ", "naïve – “café” 東京 ȣ 🚀 \x00")
    for text in (*texts, corpus.texts("validation")[7]):
        ids = _encoded(model, text, V)
        _assert_back(text, model.decode(list(ids)))
        again = other.decode(list(ids))
        message = f"the ids of {text!r:.40} give another text when a second model decodes them, trained on the same texts: {again!r:.40}"
        assert again == text, f"{message}; a text must be in its ids, not in the model's memory"


@lru_cache(maxsize=1)
def _measured(TextModel):
    """Train and measure once for both checks; returns the bits per byte, and what is not honest, if anything is not."""
    try:
        return _bits_per_byte(TextModel), ""
    except AssertionError as error:
        return math.inf, str(error)


def _bits_per_byte(TextModel):
    """Train on the training text; return the bits per byte of the validation text, every paragraph of which must come back."""
    model = TextModel(corpus.texts("train"))
    log_probs = _log_probs(model)
    texts = corpus.texts("validation")
    encoded = [_encoded(model, text, len(log_probs)) for text in texts]
    for i in random.Random(1).sample(range(len(texts)), len(texts)):
        _assert_back(texts[i], model.decode(list(encoded[i])))
    assert np.array_equal(log_probs, _log_probs(model)), "log_probs has changed while texts were encoded: it comes from the training alone"
    bits = -sum(log_probs[ids].sum() + log_probs[0] for ids in encoded) / math.log(2) / tokenizer.n_bytes("validation")
    assert bits > 2.0, f"the model needs {bits:.3f} bits per byte, less than any count of single tokens can reach: it has seen this text"
    return bits


@hidden(points=0.5)
def check_better_than_bytes(TextModel):
    """Honest, and at most 3.6 bits per byte on the validation text"""
    bits, problem = _measured(TextModel)
    assert not problem, problem
    advice = "single bytes need 4.54, and five hundred merges bring that to 3.58"
    assert bits <= 3.6, f"the model needs {bits:.3f} bits per byte on the validation text, expected at most 3.6: {advice}"


@hidden(points=1)
def check_target(TextModel):
    """Honest, and at most 3.15 bits per byte on the validation text"""
    bits, problem = _measured(TextModel)
    assert not problem, problem
    advice = "2,048 tokens of byte-pair encoding, counted with 1 added to each, need 3.09"
    assert bits <= 3.15, f"the model needs {bits:.3f} bits per byte on the validation text, expected at most 3.15: {advice}"
