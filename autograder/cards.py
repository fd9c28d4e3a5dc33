"""Reads the review cards of a chapter, as its cards.yml holds them."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from autograder.errors import CourseError

DECK = "language-models-by-hand.apkg"  # the file with all cards, for Anki (autograder/anki.py)
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True)
class Card:
    """One flashcard of a chapter."""

    id: str
    question: str  # one line of Markdown
    answer: str  # Markdown


def read_cards(path: Path) -> list[Card]:
    """The flashcards of a chapter. Raises CourseError where the file or a card is not as it must be."""
    where = f"{path.parent.name}/{path.name}"
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CourseError(f"{where} is missing; every chapter has one") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise CourseError(f"{where}{f', line {mark.line + 1},' if mark else ''} is not valid YAML; quote text that holds a colon") from None
    if not isinstance(entries, list) or not entries:
        raise CourseError(f"{where} must be a list of cards, each with id, question and answer")
    cards = [_read_card(entry, f"{where}, card {number}") for number, entry in enumerate(entries, 1)]
    doubled = {card.id for card in cards if [other.id for other in cards].count(card.id) > 1}
    if doubled:
        raise CourseError(f"{where}: the id {min(doubled)} stands twice")
    return cards


def _read_card(entry: object, where: str) -> Card:
    if not isinstance(entry, dict) or set(entry) != {"id", "question", "answer"}:
        raise CourseError(f"{where} must have exactly id, question and answer")
    if not all(isinstance(value, str) and value.strip() for value in entry.values()):
        raise CourseError(f"{where}: id, question and answer must be text, none empty; quote what YAML reads as a number or a date")
    if not _SLUG.fullmatch(entry["id"]):
        raise CourseError(f"{where}: the id {entry['id']!r} must be lower-case words and digits joined by hyphens")
    return Card(entry["id"], " ".join(entry["question"].split()), entry["answer"].strip())
