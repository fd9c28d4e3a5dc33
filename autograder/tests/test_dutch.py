"""Tests of lmkit.dutch: right Dutch by hand, true links, and splits that keep combinations apart."""

import itertools

import pytest
import torch

from lmkit import dutch
from lmkit.dutch import END, PAD, START, Clause, Phrase
from lmkit.errors import LmkitError

SPLITS = ("train", "validation", "test")


def phrase(noun: str, determiner: str = "the", adjective: str = "", plural: bool = False) -> Phrase:
    return Phrase(next(n for n in dutch._nouns() if n.english == noun), determiner, adjective, plural)


def clause(verb: str, seen: Phrase | None = None, joint: str = "main", subject: Phrase | None = None, **more) -> Clause:
    said = verb if verb in dutch.SAYING else next(v for v in dutch._verbs() if v.english == verb)
    return Clause(joint, subject or phrase("woman"), said, seen, **{"auxiliary": "", "negated": False, "adverb": "", **more})


def both(*clauses: Clause) -> tuple[str, str]:
    pair = dutch._pair(list(clauses), frozenset())
    return " ".join(pair.english), " ".join(pair.dutch)


def links(*clauses: Clause) -> set[tuple[str, str]]:
    pair = dutch._pair(list(clauses), frozenset())
    return {(pair.english[s], pair.dutch[t]) for s, t in pair.links}


@pytest.mark.parametrize(
    ("clauses", "english", "wanted"),
    [
        ([clause("call", phrase("man"))], "the woman calls the man up", "de vrouw belt de man op"),
        ([clause("call", phrase("man"), auxiliary="will")], "the woman will call the man up", "de vrouw zal de man opbellen"),
        ([clause("call", phrase("man"), auxiliary="have")], "the woman has called the man up", "de vrouw heeft de man opgebeld"),
        (
            [clause("think"), clause("call", phrase("man"), "that", phrase("child"), negated=True)],
            "the woman thinks that the child does not call the man up",
            "de vrouw denkt dat het kind de man niet opbelt",
        ),
        (
            [clause("sleep", joint="when"), clause("read", phrase("book", "a", "old"), "then", phrase("girl", plural=True))],
            "when the woman sleeps , the girls read an old book",
            "als de vrouw slaapt , lezen de meisjes een oud boek",
        ),
        (
            [clause("invite", phrase("doctor"), "adverb", adverb="today")],
            "today the woman invites the doctor",
            "vandaag nodigt de vrouw de dokter uit",
        ),
        (
            [clause("read", phrase("letter", "a", "old"), negated=True)],
            "the woman does not read an old letter",
            "de vrouw leest geen oude brief",
        ),
        ([clause("read", phrase("poem", "this"), negated=True)], "the woman does not read this poem", "de vrouw leest dit gedicht niet"),
        (
            [clause("love", phrase("llama", "a"), negated=True, auxiliary="can")],
            "the woman cannot love a llama",
            "de vrouw kan niet van een lama houden",
        ),
        (
            [clause("laugh"), clause("take", phrase("book", "my", "old"), "because", phrase("child", plural=True), auxiliary="must")],
            "the woman laughs because the children must take my old book along",
            "de vrouw lacht omdat de kinderen mijn oude boek moeten meenemen",
        ),
        ([clause("see", phrase("car", "this", "old", True))], "the woman sees these old cars", "de vrouw ziet deze oude auto's"),
    ],
)  # fmt: skip
def test_sentences_by_hand(clauses, english, wanted):
    assert both(*clauses) == (english, wanted)


def test_links_by_hand():
    assert links(clause("call", phrase("man"))) == {
        ("the", "de"), ("woman", "vrouw"), ("calls", "belt"), ("man", "man"), ("up", "op"),
    }  # fmt: skip
    joined = links(clause("say"), clause("call", phrase("man"), "that", phrase("boy")))
    assert {("calls", "opbelt"), ("up", "opbelt"), ("that", "dat"), ("says", "zegt")} <= joined
    negated = links(clause("read", phrase("book", "a"), negated=True))
    assert {("does", "leest"), ("read", "leest"), ("not", "geen"), ("a", "geen")} <= negated
    assert {("loves", "houdt"), ("loves", "van")} <= links(clause("love", phrase("dog")))


@pytest.mark.parametrize("split", SPLITS)
def test_every_word_is_linked(split):
    for pair in dutch.pairs(split):
        assert {s for s, _ in pair.links} == set(range(len(pair.english)))
        assert {t for _, t in pair.links} == set(range(len(pair.dutch)))
        assert list(pair.links) == sorted(set(pair.links))


def test_splits():
    sizes = {split: len(dutch.pairs(split)) for split in SPLITS}
    assert sizes == dutch.SIZES
    everything = list(itertools.chain.from_iterable(map(dutch.pairs, SPLITS)))
    assert len({pair.english for pair in everything}) == len(everything)
    lengths = [len(pair.english) for pair in everything]
    assert (min(lengths), max(lengths)) == dutch.LENGTHS
    for split in SPLITS:
        assert sum(len(pair.english) > 15 for pair in dutch.pairs(split)) > 0.15 * sizes[split]
    assert dutch.pairs("train") == dutch.pairs("train")


def test_held_out_sentences_hold_combinations_never_trained_on():
    known = set().union(*(pair.combinations for pair in dutch.pairs("train")))
    own = {}
    for split in ("validation", "test"):
        new = [pair.combinations - known for pair in dutch.pairs(split)]
        assert all(new)
        own[split] = set().union(*new)
        assert {kind for kind, *_ in own[split]} == {"subject", "object", "clause"}
    assert not own["validation"] & own["test"]


def test_combinations_are_those_of_the_words():
    pair = next(p for p in dutch.pairs("train") if "that" in p.english and "reads" in p.english and len(p.combinations) == 3)
    assert {("clause", "that", "read")} <= pair.combinations
    for kind, word, verb in pair.combinations:
        assert verb == "read"
        assert kind == "clause" or any(form.startswith(word[:2]) for form in pair.english)


def test_held_out_words_are_known():
    for pair in [*dutch.pairs("validation"), *dutch.pairs("test")]:
        assert set(pair.english) <= set(dutch.english())
        assert set(pair.dutch) <= set(dutch.dutch())


def test_one_translation_each():
    """The Dutch depends on the English alone, so an exact match can be asked for."""
    forms = {}
    for pair in dutch.pairs("train"):
        assert forms.setdefault(pair.english, pair.dutch) == pair.dutch


def test_vocabularies_and_ids():
    assert dutch.english()[:3] == dutch.dutch()[:3] == list(dutch.SPECIAL)
    assert (PAD, START, END) == (0, 1, 2)
    for pair in dutch.pairs("test"):
        for words, vocabulary in ((pair.english, dutch.english()), (pair.dutch, dutch.dutch())):
            ids = dutch.encode(words, vocabulary)
            assert ids[-1] == END
            assert dutch.decode(ids, vocabulary) == words
    assert dutch.decode([START, 5, END, 6, PAD], dutch.dutch()) == (dutch.dutch()[5],)


def test_batch():
    chosen = dutch.pairs("test")[:5]
    source, target = dutch.batch(chosen)
    assert source.dtype == target.dtype == torch.int64
    assert source.shape == (5, max(len(p.english) for p in chosen) + 1)
    assert target.shape == (5, max(len(p.dutch) for p in chosen) + 1)
    for i, pair in enumerate(chosen):
        assert target[i, : len(pair.dutch) + 1].tolist() == dutch.encode(pair.dutch, dutch.dutch())
        assert (target[i, len(pair.dutch) + 1 :] == PAD).all()


def test_errors_say_what_to_do():
    with pytest.raises(LmkitError, match="split 'dev' is unknown"):
        dutch.pairs("dev")
    with pytest.raises(LmkitError, match="no 'computer'"):
        dutch.encode(["the", "computer"], dutch.english())
