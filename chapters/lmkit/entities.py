"""Sentences with their people, places and organisations marked, and questions whose answer is a span of the text.

They stand in `data/entities.txt`, and new ones can be written there by hand. Blocks are separated by an empty line:

    [PER Mary Anning] was twelve when she dug a fossil out of the cliffs of [LOC Lyme Regis] .
    ? How old was Mary Anning when she dug out the fossil?
    ! twelve

- The first block of a split is the line `== train` or `== test`; a line that begins with `#` is a remark.
- A sentence is one line. White space separates its words, punctuation and `'s` are words of their own, a `"` opens or closes.
- `[KIND name]` marks a name: PER for people; LOC for countries, towns, landscapes, waters, streets and buildings; ORG for firms, clubs,
  schools, authorities, newspapers and bands, and for a government or a team that bears the name of its town. A name has the kind that it
  has in this sentence. Not marked: peoples, languages, titles before a name, months, events, prizes, works and products.
- A sentence with a name is followed by a question (`?`) and its answer (`!`), written as they are read. The sentences of a block, joined,
  are the context of all its questions; an answer stands there exactly once.

Source: written for this course, by its authors; the licence is that of the repository's code. The sentences about historical people and
real places state well-known facts. Everyone else, and what is reported as news of them, is invented.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lmkit.errors import LmkitError

__all__ = ["KINDS", "LABELS", "SPLITS", "Question", "Sentence", "joined", "questions", "sentences", "spans"]

FILE = Path(__file__).parent / "data" / "entities.txt"
SPLITS = ("train", "test")
KINDS = ("PER", "LOC", "ORG")  # people, places, organisations
LABELS = ("O", *(f"{mark}-{kind}" for kind in KINDS for mark in "BI"))  # B at a name's first word, I at its others, O outside
CLOSING = {",", ".", ";", ":", "?", "!", ")", "'", "'s"}  # words with no space before them
OPENING = {"("}  # words with no space behind them


@dataclass(frozen=True)
class Sentence:
    """A sentence as words, with one of LABELS for each word."""

    words: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """A question, and a text in which its answer stands: context[start:end]."""

    question: str
    context: str  # one to three sentences
    start: int  # the answer's first character
    end: int  # one behind its last character


def sentences(split: str) -> list[Sentence]:
    """The sentences of a split ("train" or "test"), in the order of the file; some have no name in them.

    No test sentence is built like a training sentence, and more than half of the names in the test text do not occur in the training text.
    Errors: LmkitError for another split, or where the file is missing or not written as it must be.
    """
    return list(_split(split)[0])


def questions(split: str) -> list[Question]:
    """The questions of a split ("train" or "test"): one for each sentence that has a name in it, in the order of the file.

    An answer is a name or not: a number, a thing, a reason. It stands exactly once in its context.
    Errors: as `sentences`.
    """
    return list(_split(split)[1])


def joined(words: Sequence[str]) -> str:
    """Words as a text that reads as usual: no space before punctuation and 's, none inside brackets and double quotation marks."""
    text, quoted, glued = "", False, True
    for word in words:
        closes = word in CLOSING or (word == '"' and quoted)
        text += word if glued or closes else f" {word}"
        quoted = quoted != (word == '"')
        glued = word in OPENING or (word == '"' and quoted)
    return text


def spans(labels: Sequence[str]) -> list[tuple[str, int, int]]:
    """The names in a sentence's labels, from left to right: (kind, first word, one behind the last word).

    For labels that a model made, too: an I- that does not continue a name of its kind begins one, as if it were a B-.
    Errors: LmkitError for a label that is not in LABELS.
    """
    found: list[tuple[str, int, int]] = []
    before = "O"
    for i, label in enumerate(labels):
        if label not in LABELS:
            raise LmkitError(f"the label {label!r} is unknown: take one of {', '.join(LABELS)}")
        mark, _, kind = label.partition("-")
        if mark == "I" and before.endswith(kind):
            found[-1] = (kind, found[-1][1], i + 1)
        elif mark != "O":
            found.append((kind, i, i + 1))
        before = label
    return found


def _split(split: str) -> tuple[list[Sentence], list[Question]]:
    if split not in SPLITS:
        raise LmkitError(f"the split {split!r} is unknown: ask for one of {', '.join(SPLITS)}")
    return _all()[split]


@lru_cache(maxsize=1)
def _all() -> dict[str, tuple[list[Sentence], list[Question]]]:
    try:
        text = FILE.read_text(encoding="utf-8")
    except OSError as error:
        raise LmkitError(f"the data file {FILE} cannot be read ({error.strerror}): install lmkit again") from None
    return _read(text)


def _read(text: str) -> dict[str, tuple[list[Sentence], list[Question]]]:
    """The sentences and the questions of each split."""
    found: dict[str, tuple[list[Sentence], list[Question]]] = {split: ([], []) for split in SPLITS}
    current = ""
    for block in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in block.splitlines() if line.strip() and not line.startswith("#")]
        if lines and lines[0].startswith("=="):
            current = lines.pop(0)[2:].strip()
        if lines and current not in SPLITS:
            raise LmkitError(f"entities.txt: the line {lines[0]!r} stands in the split {current!r}: write it below '== train' or '== test'")
        if lines:
            here = [_sentence(line) for line in lines if line[0] not in "?!"]
            found[current][0].extend(here)
            found[current][1].extend(_questions(lines, " ".join(joined(sentence.words) for sentence in here)))
    return found


def _sentence(line: str) -> Sentence:
    """A line of the file as words and labels."""
    words: list[str] = []
    labels: list[str] = []
    for kind, name, word in re.findall(rf"\[({'|'.join(KINDS)}) ([^\[\]]+)\](?!\S)|(\S+)", line):
        if "[" in word or "]" in word:
            raise LmkitError(f"entities.txt: {word!r} in {line!r} is not a marked name: write [PER name], [LOC name] or [ORG name]")
        more = name.split() or [word]
        words += more
        labels += [f"B-{kind}", *[f"I-{kind}"] * (len(more) - 1)] if kind else ["O"]
    return Sentence(tuple(words), tuple(labels))


def _questions(lines: Sequence[str], context: str) -> list[Question]:
    """The questions of a block. Each has its answer on the line below it."""
    found = []
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("?"):
            answer = after[1:].strip() if after.startswith("!") else ""
            if not answer or context.count(answer) != 1:
                raise LmkitError(f"entities.txt: below {line!r} must stand a line '! answer', and the answer must occur once in its block")
            start = context.index(answer)
            found.append(Question(line[1:].strip(), context, start, start + len(answer)))
    return found
