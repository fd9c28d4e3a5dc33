"""The corpus as lower-case words, a vocabulary of them, and people's judgement of pairs of words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmkit import corpus
from lmkit.errors import LmkitError

LETTERS = r"[^\W\d_²³¹¼-¾⁰-₟⅐-↋①-⓿]+"  # Python also calls superscripts and fractions word characters
WORD = re.compile(rf"({LETTERS}(?:['’](?!s\b){LETTERS})*)(?:['’]s\b)?")  # apostrophes stay between letters; a final 's is cut off


@dataclass(frozen=True)
class Vocabulary:
    """The words that get a vector, the most frequent first; words of one count stand in alphabetical order."""

    words: tuple[str, ...]  # V of them; the place of a word is its id
    counts: np.ndarray  # (V,) int64, how often each occurs

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def index(self) -> dict[str, int]:
        """From each word to its id."""
        return {word: i for i, word in enumerate(self.words)}

    def ids(self, sentences: Iterable[Sequence[str]]) -> list[np.ndarray]:
        """The ids of each sentence's words, int64. Words outside the vocabulary are left out, so their neighbours move together."""
        index = self.index
        return [np.array([index[word] for word in sentence if word in index], dtype=np.int64) for sentence in sentences]


def in_words(text: str) -> list[str]:
    """The words of a text in lower case, without numbers and punctuation: "Lincoln's 2 sons didn't" -> lincoln, sons, didn't."""
    return WORD.findall(text.lower())


def sentences(split: str = "train") -> list[list[str]]:
    """The words of each paragraph of a split ("train", "validation" or "test"): one list a paragraph, in the order of the corpus.

    A "sentence" is what gensim calls the text that a window may not leave; here that is a paragraph. Errors: as `corpus.texts`.
    """
    return [in_words(text) for text in corpus.texts(split)]


def vocabulary(sentences: Iterable[Sequence[str]], min_count: int = 5) -> Vocabulary:
    """The words that occur at least min_count times. Errors: LmkitError where there is none."""
    counts = Counter(word for sentence in sentences for word in sentence)
    kept = sorted((word for word, n in counts.items() if n >= min_count), key=lambda word: (-counts[word], word))
    if not kept:
        raise LmkitError(f"no word occurs {min_count} times or more: give more text, or a lower min_count")
    return Vocabulary(tuple(kept), np.array([counts[word] for word in kept], dtype=np.int64))


def judgements(name: str, index: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of "wordsim353" or "simlex999" of which both words are in the vocabulary, and people's mean judgement of each.

    index: from lower-case words to rows, such as Vocabulary.index or gensim's key_to_index -> rows (N, 2) int64, scores (N,).
    Errors: LmkitError where the name is another one.
    """
    pairs = [(first.lower(), second.lower(), score) for first, second, score in corpus.word_pairs(name)]
    known = [(index[first], index[second], score) for first, second, score in pairs if first in index and second in index]
    return np.array([row[:2] for row in known], dtype=np.int64).reshape(-1, 2), np.array([row[2] for row in known])


def spearman(vectors: np.ndarray, index: Mapping[str, int], name: str) -> float:
    """Spearman's rank correlation of the cosines of pairs of vectors with people's judgement of the same pairs.

    vectors: (V, C); index and name: as `judgements`. A pair with a word outside the index is left out, as gensim does by default.
    Errors: LmkitError where fewer than two pairs are left.
    """
    from scipy.stats import spearmanr  # late: it takes a second to import

    pairs, scores = judgements(name, index)
    if len(pairs) < 2:
        raise LmkitError(f"only {len(pairs)} of the pairs of {name} have both words in the vocabulary: no ranks can be compared")
    return float(spearmanr(cosines(vectors[pairs[:, 0]], vectors[pairs[:, 1]]), scores).statistic)


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The cosine of each row of `first` with the same row of `second`.   both (N, C) -> (N,); 0 where a vector is all zeros"""
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    dots = (first * second).sum(axis=1)
    return np.divide(dots, lengths, out=np.zeros(len(dots)), where=lengths > 0)
