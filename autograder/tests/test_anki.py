"""The deck for Anki, imported by Anki's own code: every card arrives, and a new edition changes cards and doubles none."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from autograder import anki
from autograder.cards import DECK, read_cards
from autograder.errors import CourseError
from autograder.layout import chapters
from autograder.tests.conftest import write
from autograder.tests.postgres import missing

if TYPE_CHECKING:
    from anki.collection import Collection

FIRST = """
- {id: one, question: "What is $a < b$?", answer: "An *inequality*."}
- {id: two, question: "Twice?", answer: "Old answer."}
"""
SECOND = """
- {id: three, question: "New?", answer: "Yes."}
- {id: two, question: "Twice?", answer: "New answer."}
- {id: one, question: "What is $a < b$?", answer: "An *inequality*."}
"""


@pytest.fixture
def collection(tmp_path: Path) -> Iterator["Collection"]:
    """An empty collection of Anki, as a learner has it who opens the program for the first time."""
    try:
        from anki.collection import Collection
    except ImportError:
        missing("the package anki is not installed; install the tests' dependencies: pip install -e '.[test]'")
    made = Collection(str(tmp_path / "collection.anki2"))
    yield made
    made.close()


def take_in(collection: "Collection", data: bytes, scratch: Path) -> dict[str, int]:
    """Import a deck as Anki does when nothing is chosen; how many notes came, and how many were changed."""
    from anki.collection import ImportAnkiPackageOptions, ImportAnkiPackageRequest

    path = scratch / DECK
    path.write_bytes(data)
    log = collection.import_anki_package(ImportAnkiPackageRequest(package_path=str(path), options=ImportAnkiPackageOptions())).log
    return {"new": len(log.new), "updated": len(log.updated)}


def edition(root: Path, cards: str, time: int) -> bytes:
    """The deck of a book of one chapter with these cards, written at this time."""
    folder = root / "chapters" / "02_ngrams"
    write(folder / "lesson.md", "# N-grams: counting\n")
    write(folder / "cards.yml", cards)
    os.utime(folder / "cards.yml", (time, time))
    return anki.deck(root)


def test_every_card_of_the_book_arrives_in_the_deck_of_its_chapter(collection, tmp_path):
    data = anki.deck()
    cards = {chapter.name: read_cards(chapter.folder / "cards.yml") for chapter in chapters()}
    assert take_in(collection, data, tmp_path)["new"] == collection.card_count() == sum(map(len, cards.values()))
    for name, expected in cards.items():
        found = collection.find_notes(f'tag:{name} deck:"{anki.TITLE}::{name[:2]} *"')
        questions = {collection.get_note(note)["Question"] for note in found}
        assert questions == {anki.to_html(card.question, inline=True) for card in expected}
    assert take_in(collection, data, tmp_path) == {"new": 0, "updated": 0}


def test_a_new_edition_changes_cards_and_keeps_what_anki_knows_of_them(collection, tmp_path):
    first = edition(tmp_path, FIRST, 2_000_000_000)
    assert take_in(collection, first, tmp_path) == {"new": 2, "updated": 0}
    learnt = collection.get_note(collection.find_notes("Question:Twice?")[0]).cards()[0]
    learnt.start_timer()
    collection.sched.answerCard(learnt, 4)
    before = collection.get_card(learnt.id)
    assert before.reps == 1
    take_in(collection, edition(tmp_path, SECOND, 2_000_000_060), tmp_path)
    assert collection.note_count() == collection.card_count() == 3
    after = collection.get_card(learnt.id)
    assert after.note()["Answer"] == "<p>New answer.</p>"
    assert (after.type, after.due, after.ivl, after.reps) == (before.type, before.due, before.ivl, 1)


def test_the_same_cards_make_the_same_bytes(tmp_path):
    first = edition(tmp_path, FIRST, 2_000_000_000)
    assert anki.deck(tmp_path) == first != edition(tmp_path, SECOND, 2_000_000_000)


def test_a_lesson_without_a_title_is_refused(tmp_path):
    edition(tmp_path, FIRST, 2_000_000_000)
    write(tmp_path / "chapters" / "02_ngrams" / "lesson.md", "words\n")
    with pytest.raises(CourseError, match=r"chapters/02_ngrams/lesson\.md must begin with a title"):
        anki.deck(tmp_path)


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("For $a < b$, *yes*.", r"<p>For \(a &lt; b\), <em>yes</em>.</p>"),
        ("$$\na & b\n$$", r"\[a &amp; b\]"),
        ("{term}`tokens <token>`, {doc}`glossary`", "<p>tokens, glossary</p>"),
        ("{doc}`the ladder </ladder>`; {cite:t}`bengio2003,ahia2023`", "<p>the ladder; Bengio 2003; Ahia 2023</p>"),
        ("[Chapter 2](../02_ngrams/lesson.md) & `a < b`", "<p>Chapter 2 &amp; <code>a &lt; b</code></p>"),
        ("```python\nif a < b:\n    $x$\n```", '<pre><code class="language-python">if a &lt; b:\n    $x$\n</code></pre>'),
        ("{term}`n/a`, {code}`a < b/c`, {math}`a < b/c`", r"<p>n/a, <code>a &lt; b/c</code>, \(a &lt; b/c\)</p>"),
        (":::{tip}\nSmooth.\n:::", "<p>Smooth.</p>"),
    ],
)
def test_text_of_cards_as_anki_shows_it(markdown, html):
    assert anki.to_html(markdown) == html


def test_no_card_of_the_book_holds_what_anki_would_not_show():
    for chapter in chapters():
        for card in read_cards(chapter.folder / "cards.yml"):
            shown = anki.to_html(f"{card.question}\n\n{card.answer}")
            assert not [part for part in ("$", "{term}", "{doc}", "<a ", ":::", "{{") if part in shown], card.id
