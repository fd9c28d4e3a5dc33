"""The search task of the course: from the first sentence of an article to the article's other paragraphs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lmkit import corpus
from lmkit.errors import LmkitError

__all__ = ["Task", "first_sentence", "mean_reciprocal_rank", "ranks", "recall", "task"]

SHORTEST = 60  # characters of a query: what ends sooner was cut at an abbreviation, and goes on to the next full stop


@dataclass(frozen=True)
class Task:
    """Queries, and the paragraphs among which each one's answers are."""

    queries: tuple[str, ...]  # the first sentence of an article each
    titles: tuple[str, ...]  # of the queries' articles
    documents: tuple[int, ...]  # indices in `corpus.all_paragraphs()`: every paragraph but those that begin an article
    relevant: tuple[tuple[int, ...], ...]  # for each query the positions in `documents` of its article's paragraphs, at least one


@lru_cache(maxsize=1)
def task() -> Task:
    """Every article with at least two paragraphs gives one query, in the order of the corpus."""
    paragraphs = corpus.all_paragraphs()
    begins: dict[str, int] = {}
    for i, paragraph in enumerate(paragraphs):
        begins.setdefault(paragraph.title, i)
    documents = tuple(i for i, paragraph in enumerate(paragraphs) if begins[paragraph.title] != i)
    others: dict[str, list[int]] = {}
    for position, i in enumerate(documents):
        others.setdefault(paragraphs[i].title, []).append(position)
    titles = tuple(title for title in begins if title in others)
    queries = tuple(first_sentence(paragraphs[begins[title]].text) for title in titles)
    return Task(queries, titles, documents, tuple(tuple(others[title]) for title in titles))


def first_sentence(text: str) -> str:
    """The text up to the first full stop that a space and a capital letter or a digit follow, behind at least SHORTEST characters."""
    end = re.compile(r"(?<=[.!?])(?=\s+[\"“A-Z0-9])").search(text, SHORTEST)
    return text[: end.start()] if end else text


def ranks(scores: np.ndarray, relevant: Sequence[Sequence[int]]) -> np.ndarray:
    """Of each query the place of its best relevant document, the first place being 1.   (Q, N) and Q lists -> (Q,) int64

    scores: higher is more similar. Among equal scores the lower position comes first.
    Errors: LmkitError where a query has no relevant document or one without a score, or the numbers of queries differ.
    """
    if len(scores) != len(relevant):
        raise LmkitError(f"there are scores for {len(scores)} queries and relevant documents for {len(relevant)}")
    found = []
    for i, wanted in enumerate(relevant):
        if not len(wanted):
            raise LmkitError(f"query {i} has no relevant document, so that it has no rank")
        if not 0 <= min(wanted) <= max(wanted) < len(scores[i]):
            raise LmkitError(f"query {i} has a relevant document that is none of the {len(scores[i])} that have scores")
        order = np.argsort(-np.asarray(scores[i]), kind="stable")
        found.append(1 + np.flatnonzero(np.isin(order, wanted))[0])
    return np.array(found)


def recall(ranks: np.ndarray, k: int) -> float:
    """The share of queries that have a relevant document among their first k."""
    return float((np.asarray(ranks) <= k).mean())


def mean_reciprocal_rank(ranks: np.ndarray) -> float:
    """The mean of 1 / rank: 1 where every query's best relevant document stands first."""
    return float((1 / np.asarray(ranks)).mean())
