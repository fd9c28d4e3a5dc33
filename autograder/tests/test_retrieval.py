"""Tests of lmkit.retrieval: the search task of the course, and how an answer to it is scored."""

import numpy as np
import pytest

from lmkit import corpus, retrieval
from lmkit.errors import LmkitError


def test_every_article_of_more_than_one_paragraph_asks_one_query():
    task, paragraphs = retrieval.task(), corpus.all_paragraphs()
    titles = [paragraph.title for paragraph in paragraphs]
    begins = {title: titles.index(title) for title in dict.fromkeys(titles)}
    assert list(task.titles) == [title for title in begins if titles.count(title) > 1]
    assert len(task.queries) == len(task.titles) == len(task.relevant) == 96
    for query, title in zip(task.queries, task.titles, strict=True):
        assert len(query) >= retrieval.SHORTEST
        assert paragraphs[begins[title]].text.startswith(query)


def test_documents_are_all_paragraphs_but_those_that_begin_an_article():
    task, paragraphs = retrieval.task(), corpus.all_paragraphs()
    begins = {paragraph.title: i for i, paragraph in reversed(list(enumerate(paragraphs)))}
    assert list(task.documents) == sorted(set(range(len(paragraphs))) - set(begins.values()))
    for title, relevant in zip(task.titles, task.relevant, strict=True):
        assert [paragraphs[task.documents[j]].title for j in relevant] == [title] * len(relevant)
    assert sorted(j for relevant in task.relevant for j in relevant) == list(range(len(task.documents)))  # each answers one query


FAR = "a" * retrieval.SHORTEST


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (f"{FAR} ends. Then more.", f"{FAR} ends."),
        (f"{FAR} ends! 1815 begins.", f"{FAR} ends!"),
        (f"{FAR} ends? “Yes.”", f"{FAR} ends?"),
        (f"{FAR} of 3.5 m, e.g. small ones. Then", f"{FAR} of 3.5 m, e.g. small ones."),
        (f"Dr. Smith {FAR}. Then", f"Dr. Smith {FAR}."),  # an abbreviation near the beginning ends nothing
        (f"{FAR} goes on", f"{FAR} goes on"),
        ("Short. It stays whole.", "Short. It stays whole."),
        ("", ""),
    ],
)
def test_first_sentence(text, want):
    assert retrieval.first_sentence(text) == want


def test_ranks_by_hand():
    scores = np.array([[0.1, 0.9, 0.5, 0.3], [0.2, 0.2, 0.2, 0.2], [-1.0, -3.0, -2.0, -4.0]])
    got = retrieval.ranks(scores, [[2, 3], [3, 2], (1,)])
    assert got.tolist() == [2, 3, 3]  # best of two; among equal scores the lower position stands first; scores below 0
    assert got.dtype == np.int64
    assert retrieval.ranks(scores[:0], []).tolist() == []


def test_ranks_say_what_does_not_fit():
    with pytest.raises(LmkitError, match="scores for 1 queries and relevant documents for 2"):
        retrieval.ranks(np.zeros((1, 3)), [[0], [1]])
    with pytest.raises(LmkitError, match="query 1 has no relevant document"):
        retrieval.ranks(np.zeros((2, 3)), [[0], []])


def test_recall_and_mean_reciprocal_rank_by_hand():
    ranks = np.array([1, 2, 4, 10])
    assert [retrieval.recall(ranks, k) for k in (1, 2, 3, 9, 10, 100)] == [0.25, 0.5, 0.5, 0.75, 1.0, 1.0]
    assert retrieval.mean_reciprocal_rank(ranks) == pytest.approx((1 + 1 / 2 + 1 / 4 + 1 / 10) / 4)
    assert retrieval.recall([3, 1], 2) == 0.5  # a list will do


def test_ranks_agree_with_counting_the_better_ones():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, (20, 30)).astype(float)  # many ties
    relevant = [rng.choice(30, size=rng.integers(1, 5), replace=False) for _ in range(20)]
    for row, wanted, rank in zip(scores, relevant, retrieval.ranks(scores, relevant), strict=True):
        places = [1 + sum((row > row[j]) | ((row == row[j]) & (np.arange(30) < j))) for j in wanted]
        assert rank == min(places)


def test_a_relevant_document_must_have_a_score():
    with pytest.raises(LmkitError, match="query 0 has a relevant document that is none of the 3"):
        retrieval.ranks(np.zeros((1, 3)), [[3]])
