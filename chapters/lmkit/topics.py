"""Paragraphs of the corpus with a topic each, by a written rule from their articles' categories; articles, not paragraphs, are split."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from lmkit import corpus
from lmkit.errors import LmkitError

__all__ = ["PER_ARTICLE", "TEST_ROWS", "TOPICS", "TRAIN_ROWS", "Split", "labelled", "split", "words_of_groups"]

TOPICS = {  # topic: what one of the article's categories must contain
    "arts": (
        "Academy Awards", "Animation", "books", "compositions", "Essays", "films", "literary characters", "novels", "songs", "Visual arts"
    ),
    "life": (
        "Anatomy", "Animals described", "Endosymbiotic", "first appearances", "Mammals", "Neurological disorders", "organisms",
        "reproduction",
    ),
    "matter": (
        "Chemical", "chemistry", "Hydrocarbons", "periodic table", "Petroleum products", "Radiation", "SI base units", "Time scales"
    ),
    "numbers": ("Algorithms", "Character sets", "fallacies", "mathematics", "Means", "Statistical tests"),
    "people": (" births", "Ancient Greek philosophers"),
    "places": ("Asian countries", "Continents", "Countries in", "Oceans", "Provinces and territories", "States of the United States"),
}  # fmt: skip
PER_ARTICLE = 30  # paragraphs of an article at most, evenly over its length: no article shall be its topic
TRAIN_ROWS, TEST_ROWS = 60, 40  # paragraphs of a topic in a split, at most and at least
WORD = r"[^\W\d_]{3,}"  # what names a group: three letters or more


@dataclass(frozen=True)
class Labelled:
    """A paragraph that has a topic."""

    text: str
    title: str  # of its article
    label: int  # index in the list of TOPICS
    index: int  # which paragraph of `corpus.all_paragraphs()` it is


@dataclass(frozen=True)
class Split:
    """Paragraphs to learn from and paragraphs to be tested on; no article has paragraphs in both."""

    train: tuple[Labelled, ...]  # TRAIN_ROWS of each topic, in an order drawn by the seed
    test: tuple[Labelled, ...]  # TEST_ROWS of each topic


def topics_of(categories: Sequence[str]) -> list[str]:
    """The topics whose words stand in one of the categories, in the order of TOPICS."""
    return [topic for topic, words in TOPICS.items() if any(word in category for category in categories for word in words)]


@lru_cache(maxsize=1)
def labelled() -> tuple[Labelled, ...]:
    """Every paragraph with a topic, in the order of the corpus.

    The rule: an article has a topic where one of its categories contains one of that topic's words, written as in TOPICS. An article
    with no topic, or with more than one, is left out; of one with more than PER_ARTICLE paragraphs these many are taken, evenly spaced.
    """
    articles: dict[str, list[int]] = {}
    paragraphs = corpus.all_paragraphs()
    for i, paragraph in enumerate(paragraphs):
        articles.setdefault(paragraph.title, []).append(i)
    names, found = list(TOPICS), []
    for title, indices in articles.items():
        topics = topics_of(paragraphs[indices[0]].categories)
        if len(topics) == 1:
            kept = min(len(indices), PER_ARTICLE)
            chosen = [indices[i * len(indices) // kept] for i in range(kept)]
            found += [Labelled(paragraphs[i].text, title, names.index(topics[0]), i) for i in chosen]
    return tuple(found)


def split(seed: int) -> Split:
    """Articles drawn for the test until a topic has TEST_ROWS paragraphs there; the other articles are learned from.

    Both parts are then thinned at random to TRAIN_ROWS and TEST_ROWS paragraphs of each topic: the topics are balanced, so that
    guessing is right once in len(TOPICS) times. The same seed gives the same split on every machine.
    Errors: LmkitError where a topic has too few paragraphs.
    """
    rng = random.Random(seed)
    train, test = [], []
    for label, topic in enumerate(TOPICS):
        rows = [row for row in labelled() if row.label == label]
        titles = list(dict.fromkeys(row.title for row in rows))
        rng.shuffle(titles)
        held_out: set[str] = set()
        while sum(row.title in held_out for row in rows) < TEST_ROWS and titles:
            held_out.add(titles.pop())
        parts = [row for row in rows if row.title not in held_out], [row for row in rows if row.title in held_out]
        if len(parts[0]) < TRAIN_ROWS or len(parts[1]) < TEST_ROWS:
            raise LmkitError(f"the topic {topic!r} has too few paragraphs for a split: {len(rows)} in all")
        train += rng.sample(parts[0], TRAIN_ROWS)
        test += rng.sample(parts[1], TEST_ROWS)
    rng.shuffle(train)
    return Split(tuple(train), tuple(test))


def words_of_groups(texts: Sequence[str], groups: Sequence[int], k: int = 5, stop_words: str | None = None) -> list[list[str]]:
    """For each group of texts the k words that name it best, the best first.   N texts, N groups from 0 on -> K lists

    "Best" is by class TF-IDF: how often a word stands in the group, times the logarithm of 1 + (words of a group, on average) / (how
    often the word stands in all groups). Words have three letters or more, in lower case; of equal ones the first in the alphabet comes
    first. stop_words: what to leave out, as scikit-learn's CountVectorizer has it ("english"). Source: Grootendorst 2022, section 3.3.
    """
    import numpy as np
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(token_pattern=WORD, stop_words=stop_words)
    counts = counter.fit_transform(texts)
    groups = np.asarray(groups)
    table = np.stack([np.asarray(counts[groups == g].sum(axis=0)).ravel() for g in range(groups.max() + 1)])  # (K, V)
    weights = table * np.log1p(table.sum(axis=1).mean() / table.sum(axis=0))
    names = counter.get_feature_names_out()
    return [[str(names[i]) for i in np.argsort(-row, kind="stable")[:k] if row[i] > 0] for row in weights]
