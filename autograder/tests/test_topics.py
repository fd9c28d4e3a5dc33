"""Topics from categories: the written rule, balance, and no article on both sides."""

from collections import Counter

import pytest

from lmkit import corpus, topics
from lmkit.topics import PER_ARTICLE, TEST_ROWS, TOPICS, TRAIN_ROWS, labelled, split, topics_of, words_of_groups


def test_a_topic_needs_one_of_its_words_in_a_category():
    assert topics_of(["1809 births", "Assassinated heads of state"]) == ["people"]
    assert topics_of(["Countries in Africa", "Member states of OPEC"]) == ["places"]
    assert topics_of(["Common law"]) == []
    assert topics_of(["Alkanes", "Hydrocarbons", "1997 films"]) == ["arts", "matter"]


def test_labelled_paragraphs_follow_the_rule():
    paragraphs, names = corpus.all_paragraphs(), list(TOPICS)
    rows = labelled()
    assert [row.index for row in rows] == sorted({row.index for row in rows})
    for row in rows:
        assert (paragraphs[row.index].text, paragraphs[row.index].title) == (row.text, row.title)
        assert topics_of(paragraphs[row.index].categories) == [names[row.label]]
    by_title, in_corpus = Counter(row.title for row in rows), Counter(paragraph.title for paragraph in paragraphs)
    assert all(n == min(in_corpus[title], PER_ARTICLE) for title, n in by_title.items())
    assert len(TOPICS) >= 5
    assert len(rows) >= 500


def test_paragraphs_of_a_long_article_are_spread_over_it():
    rows = [row.index for row in labelled() if row.title == "Alabama"]
    where = [i for i, paragraph in enumerate(corpus.all_paragraphs()) if paragraph.title == "Alabama"]
    assert len(where) > 2 * PER_ARTICLE
    assert rows[0] == where[0]
    assert rows[-1] > where[-1] - len(where) / PER_ARTICLE - 1


@pytest.mark.parametrize("seed", range(20))
def test_no_article_is_on_both_sides_and_topics_are_balanced(seed):
    parts = split(seed)
    assert not {row.title for row in parts.train} & {row.title for row in parts.test}
    assert Counter(row.label for row in parts.train) == dict.fromkeys(range(len(TOPICS)), TRAIN_ROWS)
    assert Counter(row.label for row in parts.test) == dict.fromkeys(range(len(TOPICS)), TEST_ROWS)
    for part in (parts.train, parts.test):
        assert len({row.index for row in part}) == len(part)


def test_a_seed_draws_the_same_split_and_another_another():
    assert split(3) == split(3)
    assert split(3) != split(4)


def test_learning_paragraphs_stand_in_a_drawn_order():
    labels = [row.label for row in topics.split(0).train]
    assert labels != sorted(labels)


def test_words_of_groups_by_hand():
    texts = ["Moon, rocket, moon!", "court rocket law", "of the law: rocket 12"]
    assert words_of_groups([*texts[:1], "court rocket law law rocket"], [0, 1]) == [["moon", "rocket"], ["law", "rocket", "court"]]
    assert words_of_groups(texts, [0, 1, 1], k=2) == [["moon", "rocket"], ["law", "rocket"]]
    assert "the" in words_of_groups(texts, (0, 1, 1))[1]
    assert "the" not in words_of_groups(texts, (0, 1, 1), stop_words="english")[1]


def test_a_word_of_every_group_needs_a_greater_count():
    dogs, seas = "dog cat dog sea", "dog sea"  # weights 2 ln 2 = ln 4 (dog, cat) and ln 2.5 (sea) in the first group
    assert words_of_groups([dogs, seas], [0, 1])[0][2] == "sea"
    assert words_of_groups([dogs, seas], [0, 1])[1] == ["sea", "dog"]
    assert words_of_groups([dogs + " dog", seas], [0, 1])[0][0] == "dog"
    assert words_of_groups([dogs, seas], [0, 2])[1] == []
