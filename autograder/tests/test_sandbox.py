"""Tests of what a room does not hold: modules that would answer an exercise, gone from memory and from disk."""

import pytest

from autograder.kernel import Kernel
from autograder.nursery import Nursery
from autograder.tests.walls import needs_walls
from autograder.verdict import Limits

pytestmark = [pytest.mark.slow, needs_walls]
BESIDE_NUMPY = "import os, numpy\nprint(os.listdir(os.path.join(os.path.dirname(os.path.dirname(numpy.__file__)), 'gensim')))"


@pytest.fixture(scope="module")
def room():
    """A student's process in a room without gensim and lmkit.ngram, from a nursery that has imported both."""
    nursery = Nursery(("lmkit.words", "gensim.models", "lmkit.ngram"))
    kernel = Kernel(Limits(), nursery.address, True, ("gensim", "lmkit.ngram"))
    yield kernel
    kernel.close()
    nursery.close()


@pytest.mark.parametrize(
    "code",
    ["import gensim", "from gensim.models import Word2Vec", "import lmkit.ngram", "from lmkit import ngram"],
)
def test_what_is_hidden_cannot_be_imported(room, code):
    assert room.near.run_cell(code)["error"]["kind"] == "ModuleNotFoundError"


def test_what_is_hidden_is_not_on_the_disk_either(room):
    assert room.near.run_cell(BESIDE_NUMPY)["text"] == "[]\n"
    forget = "import sys\ndel sys.modules['{0}']\nimport {0}\n"
    assert room.near.run_cell(forget.format("gensim") + "print(hasattr(gensim, 'models'))")["text"] == "False\n"
    assert room.near.run_cell(forget.format("lmkit.ngram"))["error"]["text"] == "No module named 'lmkit.ngram'"


def test_the_rest_of_the_toolkit_works(room):
    assert room.near.run_cell("from lmkit import words\nprint(len(words.sentences('validation')))")["text"] == "208\n"
