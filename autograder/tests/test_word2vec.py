"""Skip-gram by hand beside gensim: as good on the same text with the same settings (`python -m autograder bench-word2vec`)."""

import pytest

from autograder.bench_word2vec import SETS, Settings, Trained, compare, means, tables
from autograder.checks import word2vec as checks
from autograder.layout import chapter


@pytest.fixture(scope="module")
def found():
    return compare(seeds=3)


@pytest.mark.slow
@pytest.mark.parametrize("pairs", SETS)
def test_vectors_by_hand_are_as_good_as_gensims(found, pairs):
    ours, theirs = (getattr(means(found[name]), pairs) for name in ("by hand", "gensim"))
    assert ours >= theirs - 0.03


@pytest.mark.slow
def test_the_target_of_the_exercise_lies_well_below_what_right_answers_reach(found):
    for name in ("by hand", "gensim"):
        assert min(one.wordsim353 for one in found[name]) > 0.22 + 0.02
    assert "at least 0.22" in checks.check_target.__doc__


def test_means_and_tables_of_given_results():
    one, other = Trained(0.3, 0.2, 1000.0, 2000.0), Trained(0.4, 0.1, 3000.0, 4000.0)
    assert means([one, other]) == Trained(pytest.approx(0.35), pytest.approx(0.15), 2000.0, 3000.0)
    scores, speeds = tables({"by hand": [one, other], "gensim": [one, one]})
    assert list(scores.columns[3].cells) == ["+0.000", "+0.100", "+0.050", "+0.000", "-0.100", "-0.050"]
    assert list(speeds.columns[3].cells) == ["2.00", "1.50"]


def test_the_settings_are_those_of_the_exercise():
    text, used = chapter("04_word2vec").exercises.read_text(encoding="utf-8"), Settings()
    asked = f"vector_size={used.width}, window={used.window}, negative={used.negatives}, sample=1e-3, epochs={used.epochs}"
    assert f"{asked}, alpha={used.learning_rate}, min_count={used.min_count}, workers=1" in text
    assert used.sample == 1e-3
