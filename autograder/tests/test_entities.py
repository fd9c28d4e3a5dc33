"""Tests of lmkit.entities: the sentences are marked rightly, the splits are apart, and answers stand where they are said to stand."""

import unicodedata
from collections import Counter

import pytest

from lmkit import entities
from lmkit.entities import KINDS, LABELS, SPLITS, Sentence, joined, questions, sentences, spans
from lmkit.errors import LmkitError

AMBIGUOUS = (
    "apple", "baker", "bath", "bill", "china", "cork", "frost", "java", "mark", "may", "mobile", "orange", "park", "penny", "reading",
    "rich", "rose", "shell", "turkey",
)  # fmt: skip


def names(split: str) -> list[tuple[str, str]]:
    """Every name of a split, with its kind."""
    return [(kind, joined(s.words[first:end])) for s in sentences(split) for kind, first, end in spans(s.labels)]


def runs(sentence: Sentence, length: int) -> set[tuple[str, ...]]:
    """Words that follow one another, with the kind of a name in place of the name."""
    first = {start: (kind, end) for kind, start, end in spans(sentence.labels)}
    words, i = [], 0
    while i < len(sentence.words):
        word, i = first.get(i, (sentence.words[i].lower(), i + 1))
        words.append(word)
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def size(sentence: Sentence) -> int:
    return sum(any(map(str.isalnum, word)) for word in sentence.words)


def answer(question: entities.Question) -> str:
    return question.context[question.start : question.end]


@pytest.mark.parametrize(("split", "least", "plain"), [("train", 100, 13), ("test", 50, 6)])
def test_counts(split, least, plain):
    named = [s for s in sentences(split) if spans(s.labels)]
    assert len(named) >= least
    assert len(sentences(split)) - len(named) >= plain
    assert len(questions(split)) == len(named)
    assert len(set(sentences(split))) == len(sentences(split))
    assert len({q.question for q in questions(split)}) == len(named)


@pytest.mark.parametrize("split", SPLITS)
def test_sentences_are_marked_rightly(split):
    for s in sentences(split):
        assert len(s.words) == len(s.labels)
        assert 8 <= size(s) <= 25, s.words
        assert set(s.labels) <= set(LABELS)
        for before, label in zip(("O", *s.labels), s.labels, strict=False):
            assert label[0] != "I" or before[2:] == label[2:], s
        assert s.words[-1] in {".", "?", '"'}
        assert all(word and word.split() == [word] and unicodedata.is_normalized("NFC", word) for word in s.words)
        assert all(len(word) == 1 or word[-1] not in ',;:?!"()' for word in s.words), f"punctuation is a word of its own: {s.words}"
        assert all(s.words[first][0].isupper() for _, first, _ in spans(s.labels))


@pytest.mark.parametrize("split", SPLITS)
def test_kinds_are_balanced(split):
    count = Counter(kind for kind, _ in names(split))
    assert set(count) == set(KINDS)
    assert min(count.values()) >= 0.25 * count.total(), count


def test_splits_are_apart():
    known = {name for _, name in names("train")}
    met = {name for _, name in names("test")}
    assert len(met - known) >= 0.5 * len(met)
    assert met & known, "and some are met again"
    learned = set().union(*(runs(s, 5) for s in sentences("train")))
    for s in sentences("test"):
        assert not runs(s, 5) & learned, f"built like a training sentence: {s.words}"
    assert not {q.question for q in questions("train")} & {q.question for q in questions("test")}


def test_one_word_many_meanings():
    meant: dict[str, set[str]] = {}
    for split in SPLITS:
        for s in sentences(split):
            for word, label in zip(s.words, s.labels, strict=True):
                meant.setdefault(word.lower(), set()).add(label[2:])
    assert meant["washington"] == set(KINDS)
    assert meant["lincoln"] == set(KINDS)
    assert meant["jordan"] == set(KINDS)
    assert meant["florence"] == {"PER", "LOC"}
    for word in AMBIGUOUS:
        assert "" in meant[word], word
        assert meant[word] - {""}, word
    assert any(label == "I-ORG" and word == "'s" for s in sentences("train") for word, label in zip(s.words, s.labels, strict=True))


@pytest.mark.parametrize("split", SPLITS)
def test_answers(split):
    contexts = {" ".join(joined(s.words) for s in sentences(split)[i : i + n]) for i in range(len(sentences(split))) for n in (1, 2, 3)}
    for q in questions(split):
        assert q.context in contexts
        assert 0 <= q.start < q.end <= len(q.context)
        assert answer(q) == answer(q).strip() != ""
        assert q.context.count(answer(q)) == 1
        assert not (q.context[q.start - 1 : q.start] + q.context[q.end : q.end + 1]).isalnum(), f"cuts a word: {q}"
        assert answer(q) not in q.question
        assert q.question[0].isupper()
        assert q.question.endswith("?")
        assert " ?" not in q.question


@pytest.mark.parametrize("split", SPLITS)
def test_questions_are_varied(split):
    asked = questions(split)
    known = {name for _, name in names(split)}
    about_names = sum(answer(q).removeprefix("the ") in known for q in asked)
    assert 0.2 * len(asked) <= about_names <= 0.5 * len(asked)
    assert len({q.question.split()[0] for q in asked}) >= 10
    assert sum(q.context.count(". ") > 0 for q in asked) >= 4, "some contexts have several sentences"


def test_names_that_split_into_word_pieces():
    from lmkit.pretrained import tokenizer

    tokenize = tokenizer().tokenize
    for split in SPLITS:
        words = [w for s in sentences(split) for w, label in zip(s.words, s.labels, strict=True) if label != "O"]
        assert sum(len(tokenize(word)) > 1 for word in words) >= 0.2 * len(words)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("Who , if not May 's sister ?", "Who, if not May's sister?"),
        ("the founders ' father ; 2.5 per cent", "the founders' father; 2.5 per cent"),
        ("She ( born in 1974 ) left .", "She (born in 1974) left."),
        ('He said : " Ask Ann , not me . "', 'He said: "Ask Ann, not me."'),
        ('" No , " she said , " not yet ! "', '"No," she said, "not yet!"'),
        ("Vane & Company won 2–2", "Vane & Company won 2–2"),
        ("word", "word"),
        ("", ""),
    ],
)
def test_joined(words, text):
    assert joined(words.split()) == text


def test_joined_keeps_every_word():
    for split in SPLITS:
        for s in sentences(split):
            text = joined(s.words)
            assert text.replace(" ", "") == "".join(s.words)
            assert not any(wrong in text for wrong in ("  ", " ,", " .", " '", "( ", " )", " ;", " :")), text
            assert text == text.strip()


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ("", []),
        ("O O", []),
        ("B-PER I-PER O B-LOC", [("PER", 0, 2), ("LOC", 3, 4)]),
        ("B-PER B-PER I-PER", [("PER", 0, 1), ("PER", 1, 3)]),
        ("I-ORG I-ORG O I-ORG", [("ORG", 0, 2), ("ORG", 3, 4)]),
        ("B-LOC I-PER I-PER", [("LOC", 0, 1), ("PER", 1, 3)]),
    ],
)
def test_spans(labels, wanted):
    assert spans(labels.split()) == wanted


def test_reading_the_file():
    text = "# remark\n\n== train\n\n[PER Ann Lee] 's dog barks .\nIt is old .\n? Whose dog barks?\n! Ann Lee's\n\n== test\n\nNobody came ."
    train, test = (entities._read(text)[split] for split in SPLITS)
    assert train[0][0] == Sentence(("Ann", "Lee", "'s", "dog", "barks", "."), ("B-PER", "I-PER", "O", "O", "O", "O"))
    assert train[1] == [entities.Question("Whose dog barks?", "Ann Lee's dog barks. It is old.", 0, 9)]
    assert test == ([Sentence(("Nobody", "came", "."), ("O",) * 3)], [])


def test_the_answer_gives_a_copy():
    sentences("train").clear()
    questions("train").clear()
    assert sentences("train")
    assert questions("train")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Nobody came .", "write it below '== train' or '== test'"),
        ("== dev\n\nNobody came .", "'dev'"),
        ("== train\n\n[PRE Ann] came .", "is not a marked name"),
        ("== train\n\n[PER Ann]'s dog came .", "is not a marked name"),
        ("== train\n\n[PER Ann] came .\n? Who came?", "must stand a line '! answer'"),
        ("== train\n\n[PER Ann] came .\n? Who came?\n! Bob", "must occur once"),
        ("== train\n\n[PER Ann] saw [PER Ann] .\n? Who saw?\n! Ann", "must occur once"),
    ],
)
def test_a_file_that_is_written_wrongly(text, says):
    with pytest.raises(LmkitError, match=r"entities\.txt") as raised:
        entities._read(text)
    assert says in str(raised.value)


def test_errors(monkeypatch, tmp_path):
    for ask in (sentences, questions):
        with pytest.raises(LmkitError, match="the split 'dev' is unknown: ask for one of train, test"):
            ask("dev")
    with pytest.raises(LmkitError, match="the label 'B-MISC' is unknown"):
        spans(["O", "B-MISC"])
    monkeypatch.setattr(entities, "FILE", tmp_path / "none.txt")
    entities._all.cache_clear()
    with pytest.raises(LmkitError, match="cannot be read"):
        sentences("train")
    entities._all.cache_clear()
