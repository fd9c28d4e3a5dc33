"""Words, their vocabulary, and people's judgement of pairs."""

import numpy as np
import pytest

from lmkit import corpus, words
from lmkit.errors import LmkitError


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("Lincoln's 2 sons didn't stay.", ["lincoln", "sons", "didn't", "stay"]),
        ("The people’s Brønsted-Lowry acids, 19th century", ["the", "people", "brønsted", "lowry", "acids", "th", "century"]),
        ("It's James' own", ["it", "james", "own"]),
        ("rock 'n' roll; O'Neill's", ["rock", "n", "roll", "o'neill"]),
        ("sense_of 42 — …", ["sense", "of"]),
        ("2½ km² of ①land, Ⅳ", ["km", "of", "land"]),
        ("", []),
    ],
)
def test_in_words(text, want):
    assert words.in_words(text) == want


def test_sentences_are_the_paragraphs_in_order():
    texts, sentences = corpus.texts("validation"), words.sentences("validation")
    assert len(sentences) == len(texts)
    assert all(sentence == words.in_words(text) for sentence, text in zip(sentences, texts, strict=True))
    assert all(sentence for sentence in sentences)
    with pytest.raises(LmkitError, match="'valid' is unknown"):
        words.sentences("valid")


def test_vocabulary_orders_by_count_then_alphabet():
    text = [["b", "a", "b", "c"], ["a", "d", "e", "e", "e"]]
    known = words.vocabulary(text, min_count=2)
    assert known.words == ("e", "a", "b")
    assert known.counts.tolist() == [3, 2, 2]
    assert known.counts.dtype == np.int64
    assert known.index == {"e": 0, "a": 1, "b": 2}
    assert len(known) == 3
    ids = known.ids([*text, []])
    assert [row.tolist() for row in ids] == [[2, 1, 2], [1, 0, 0, 0], []]
    assert all(row.dtype == np.int64 for row in ids)
    with pytest.raises(LmkitError, match="no word occurs 4 times"):
        words.vocabulary(text, min_count=4)


def test_vocabulary_counts_the_corpus():
    sentences = words.sentences("validation")
    known = words.vocabulary(sentences, min_count=1)
    ids = known.ids(sentences)
    assert [len(row) for row in ids] == [len(sentence) for sentence in sentences]
    assert np.array_equal(np.bincount(np.concatenate(ids)), known.counts)
    assert (np.diff(known.counts) <= 0).all()


def test_judgements_leave_out_unknown_words():
    rows, scores = words.judgements("wordsim353", {"tiger": 7, "cat": 3, "king": 1})
    assert rows.tolist() == [[7, 3], [7, 7]]
    assert scores.tolist() == [7.35, 10.0]
    rows, scores = words.judgements("simlex999", {})
    assert rows.shape == (0, 2)
    assert scores.shape == (0,)
    with pytest.raises(LmkitError, match="unknown"):
        words.judgements("wordsim", {})


@pytest.mark.parametrize("name", ["wordsim353", "simlex999"])
def test_spearman_is_gensims(name, tmp_path):
    from gensim.models import KeyedVectors
    from gensim.test.utils import datapath

    known = words.vocabulary(words.sentences("train"), min_count=20)
    vectors = np.random.default_rng(0).normal(size=(len(known), 10)).astype(np.float32)
    theirs = KeyedVectors(10)
    theirs.add_vectors(list(known.words), vectors)
    _, spearman, _ = theirs.evaluate_word_pairs(datapath(f"{name}.{'tsv' if name == 'wordsim353' else 'txt'}"))
    assert words.spearman(vectors, known.index, name) == pytest.approx(spearman.statistic, abs=1e-4)


def test_spearman_needs_pairs():
    with pytest.raises(LmkitError, match="only 1 of the pairs of wordsim353"):
        words.spearman(np.eye(2), {"tiger": 0, "king": 1}, "wordsim353")


def test_cosines():
    first = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    second = np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 2.0]])
    assert words.cosines(first, second) == pytest.approx([1, 0.5**0.5, 0])
