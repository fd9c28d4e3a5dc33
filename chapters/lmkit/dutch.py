"""English sentences and their Dutch translations, made by a small grammar written for this course, with the links between their words."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import torch
from torch import Tensor

from lmkit.errors import LmkitError

PAD, START, END = 0, 1, 2  # ids of the three special tokens, the same in both languages
SPECIAL = ("<pad>", "<start>", "<end>")
SIZES = {"train": 6000, "validation": 600, "test": 600}  # pairs
LENGTHS = 4, 20  # English words in a sentence
KEPT_APART = 12  # of so many combinations of two words one is kept for the validation text and one for the test text

# English singular and plural, Dutch singular and plural, the Dutch article, what it is
NOUNS = """
man men man mannen de person
woman women vrouw vrouwen de person
boy boys jongen jongens de person
girl girls meisje meisjes het person
child children kind kinderen het person
teacher teachers leraar leraren de person
friend friends vriend vrienden de person
doctor doctors dokter dokters de person
dog dogs hond honden de animal
cat cats kat katten de animal
horse horses paard paarden het animal
llama llamas lama lama's de animal
pig pigs varken varkens het animal
book books boek boeken het text
letter letters brief brieven de text
newspaper newspapers krant kranten de text
poem poems gedicht gedichten het text
car cars auto auto's de thing
glass glasses glas glazen het thing
bicycle bicycles fiets fietsen de thing
coat coats jas jassen de thing
painting paintings schilderij schilderijen het thing
"""
# English infinitive, third person, participle, preposition before the object, particle behind it;
# Dutch third person, infinitive, participle, preposition, separable prefix; what the object may be
VERBS = """
see sees seen - - ziet zien gezien - - person,animal,text,thing
find finds found - - vindt vinden gevonden - - person,animal,text,thing
draw draws drawn - - tekent tekenen getekend - - person,animal,thing
help helps helped - - helpt helpen geholpen - - person,animal
follow follows followed - - volgt volgen gevolgd - - person,animal
buy buys bought - - koopt kopen gekocht - - animal,text,thing
sell sells sold - - verkoopt verkopen verkocht - - animal,text,thing
read reads read - - leest lezen gelezen - - text
write writes written - - schrijft schrijven geschreven - - text
love loves loved - - houdt houden gehouden van - person,animal,text,thing
look looks looked at - kijkt kijken gekeken naar - person,animal,text,thing
wait waits waited for - wacht wachten gewacht op - person,animal,text
call calls called - up belt bellen opgebeld - op person
pick picks picked - up haalt halen opgehaald - op person,animal,text,thing
take takes taken - along neemt nemen meegenomen - mee person,animal,text,thing
invite invites invited - - nodigt nodigen uitgenodigd - uit person
throw throws thrown - away gooit gooien weggegooid - weg text,thing
sleep sleeps slept - - slaapt slapen geslapen - - -
laugh laughs laughed - - lacht lachen gelachen - - -
sing sings sung - - zingt zingen gezongen - - -
work works worked - - werkt werken gewerkt - - -
"""
SAYING = {"say": ("says", "zegt", "zeggen"), "think": ("thinks", "denkt", "denken"), "hope": ("hopes", "hoopt", "hopen")}
ADJECTIVES = {"old": "oud oude", "small": "klein kleine", "big": "groot grote", "beautiful": "mooi mooie", "strange": "vreemd vreemde"}
ADVERBS = {"today": "vandaag", "now": "nu", "perhaps": "misschien", "luckily": "gelukkig"}
AUXILIARIES = {"will": ("zal", "zullen"), "must": ("moet", "moeten"), "can": ("kan", "kunnen"), "have": ("heeft", "hebben")}
JOINTS = {"that": "dat", "because": "omdat", "when": "als"}


@dataclass(frozen=True)
class Pair:
    """A sentence in two languages."""

    english: tuple[str, ...]
    dutch: tuple[str, ...]
    links: tuple[tuple[int, int], ...]  # (place in english, place in dutch) of words that stand for each other, in order
    combinations: frozenset[tuple[str, str, str]]  # ("subject", "boy", "read"), ("object", "book", "read"), ("clause", "that", "read"), …


@dataclass(frozen=True)
class Noun:
    """A noun in both languages."""

    english: str
    plural: str
    dutch: str
    dutch_plural: str
    article: str  # "de" or "het"
    kind: str


@dataclass(frozen=True)
class Verb:
    """A verb in both languages; an empty string where it has no preposition, particle or prefix."""

    english: str
    third: str
    participle: str
    preposition: str
    particle: str
    dutch: str  # third person, without its prefix
    dutch_infinitive: str  # also the plural, without its prefix
    dutch_participle: str
    dutch_preposition: str
    prefix: str  # "op" of opbellen: a word of its own in a main clause
    objects: tuple[str, ...]  # the kinds of noun it may have as its object; none for a verb without one


@dataclass(frozen=True)
class Phrase:
    """A noun with its article and perhaps an adjective."""

    noun: Noun
    determiner: str  # "the", "a", "my" or "this"
    adjective: str
    plural: bool


@dataclass(frozen=True)
class Clause:
    """Who does what, without the order of the words."""

    joint: str  # "main", "adverb" (behind an adverb), "that", "because", "when", or "then" (the main clause behind one with "when")
    subject: Phrase
    verb: Verb | str  # a string for a verb of saying, which is followed by a clause with "that"
    object: Phrase | None
    auxiliary: str
    negated: bool
    adverb: str


Word = tuple[str, frozenset[tuple[int, str]]]  # a word and what it expresses: clause and unit; words that share one are linked
Words = list[Word]


@lru_cache
def pairs(split: str) -> list[Pair]:
    """The pairs of a split ("train", "validation" or "test"), always the same, each English sentence once in all three.

    A combination is a subject with its verb, a verb with its object, or a kind of clause with its verb. Some belong to the validation
    text and some to the test text: no training sentence has one of these. Each held-out sentence has at least one of its own
    and none of the other held-out text. Every word of the held-out sentences occurs in the training text.
    Errors: LmkitError for another name.
    """
    if split not in SIZES:
        raise LmkitError(f"the split {split!r} is unknown: take one of {', '.join(SIZES)}")
    return list(_all_pairs()[split])


@lru_cache
def english() -> list[str]:
    """The English vocabulary: the three special tokens, then the words of the training text in alphabetical order."""
    return [*SPECIAL, *sorted({word for pair in pairs("train") for word in pair.english})]


@lru_cache
def dutch() -> list[str]:
    """The Dutch vocabulary: the three special tokens, then the words of the training text in alphabetical order."""
    return [*SPECIAL, *sorted({word for pair in pairs("train") for word in pair.dutch})]


def encode(words: Iterable[str], vocabulary: Sequence[str]) -> list[int]:
    """The ids of the words, and END behind them. Errors: LmkitError for a word that the vocabulary lacks."""
    index = _index(tuple(vocabulary))
    words = list(words)
    if missing := [word for word in words if word not in index]:
        raise LmkitError(f"the vocabulary has no {missing[0]!r}: these sentences use only the words of the grammar, in lower case")
    return [*(index[word] for word in words), END]


def decode(ids: Iterable[int], vocabulary: Sequence[str]) -> tuple[str, ...]:
    """The words of the ids before the first END; PAD and START are left out."""
    kept = itertools.takewhile(lambda i: i != END, map(int, ids))
    return tuple(vocabulary[i] for i in kept if i not in (PAD, START))


def batch(chosen: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Pairs as ids, int64: source (B, S) and target (B, T). A row is the words of a sentence, one END, and PAD up to the longest."""
    return _padded(encode(p.english, english()) for p in chosen), _padded(encode(p.dutch, dutch()) for p in chosen)


def _padded(rows: Iterable[list[int]]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=PAD)


@lru_cache
def _index(vocabulary: tuple[str, ...]) -> dict[str, int]:
    return {word: i for i, word in enumerate(vocabulary)}


# What is said: clauses drawn at random


@lru_cache
def _nouns() -> list[Noun]:
    return [Noun(*line.split()) for line in NOUNS.strip().splitlines()]


@lru_cache
def _verbs() -> list[Verb]:
    found = []
    for line in VERBS.strip().splitlines():
        *forms, kinds = ("" if form == "-" else form for form in line.split())
        found.append(Verb(*forms, tuple(filter(None, kinds.split(",")))))
    return found


@lru_cache
def _all_pairs() -> dict[str, list[Pair]]:
    chance, seen = random.Random(6), set()
    found: dict[str, list[Pair]] = {split: [] for split in SIZES}
    while any(len(found[split]) < size for split, size in SIZES.items()):
        clauses = _draw(chance)
        combinations = frozenset(itertools.chain.from_iterable(map(_combinations, clauses)))
        owners = {_owner(combination) for combination in combinations} - {""}
        split = "train" if not owners else owners.pop() if len(owners) == 1 else None
        if split is None or len(found[split]) == SIZES[split]:
            continue
        pair = _pair(clauses, combinations)
        if LENGTHS[0] <= len(pair.english) <= LENGTHS[1] and pair.english not in seen:
            seen.add(pair.english)
            found[split].append(pair)
    return found


def _combinations(clause: Clause) -> Iterator[tuple[str, str, str]]:
    if isinstance(clause.verb, str):
        return
    yield "clause", clause.joint, clause.verb.english
    yield "subject", clause.subject.noun.english, clause.verb.english
    if clause.object:
        yield "object", clause.object.noun.english, clause.verb.english


@cache
def _owner(combination: tuple[str, str, str]) -> str:
    """The split that a combination belongs to, or an empty string where it may stand anywhere."""
    role, first, verb = combination
    j = [v.english for v in _verbs()].index(verb)
    i = CLAUSES.index(first) if role == "clause" else [n.english for n in _nouns()].index(first)
    return {0: "validation", 1: "test"}.get((5 * i + j + 3 * (role == "object")) % KEPT_APART, "")


CLAUSES = ("main", "adverb", "that", "because", "when", "then")
SHAPES = (  # the kinds of clause in a sentence; a verb of saying stands before each "that"
    ("main",), ("main",), ("adverb",),
    ("main", "that"), ("main", "because"), ("when", "then"), ("adverb", "that"), ("adverb", "because"),
    ("main", "that", "that"), ("main", "because", "that"), ("main", "that", "because"), ("when", "that", "then"), ("when", "then", "that"),
)  # fmt: skip


def _draw(chance: random.Random) -> list[Clause]:
    """The clauses of a sentence."""
    shape = chance.choice(SHAPES)
    return [_clause(chance, joint, after == "that") for joint, after in itertools.zip_longest(shape, shape[1:])]


def _clause(chance: random.Random, joint: str, saying: bool) -> Clause:
    subject = _phrase(chance, ("person",), ("the", "the", "my", "this"))
    adverb = chance.choice(list(ADVERBS)) if joint == "adverb" else ""
    if saying:
        return Clause(joint, subject, chance.choice(list(SAYING)), None, "", False, adverb)
    verb = chance.choice(_verbs())
    seen = _phrase(chance, verb.objects, ("the", "the", "a", "my", "this")) if verb.objects else None
    auxiliary = chance.choice(["", "", "", *AUXILIARIES])
    if joint == "when" and auxiliary == "will":
        auxiliary = ""  # no English clause with "when" speaks of the future like this
    negated = auxiliary != "must" and chance.random() < 0.25  # "must not" forbids, "moet niet" does not
    return Clause(joint, subject, verb, seen, auxiliary, negated, adverb)


def _phrase(chance: random.Random, kinds: Sequence[str], determiners: Sequence[str]) -> Phrase:
    noun = chance.choice([n for n in _nouns() if n.kind in kinds])
    plural = chance.random() < 0.3
    determiner = chance.choice([d for d in determiners if d != "a"] if plural else determiners)
    adjective = chance.choice(list(ADJECTIVES)) if chance.random() < 0.35 else ""
    return Phrase(noun, determiner, adjective, plural)


# How it is said


def _pair(clauses: list[Clause], combinations: frozenset[tuple[str, str, str]]) -> Pair:
    left, right = (list(itertools.chain.from_iterable(map(say, clauses, itertools.count()))) for say in (_in_english, _in_dutch))
    said = {unit: [s for s, (_, units) in enumerate(left) if unit in units] for _, units in left for unit in units}
    links = {(s, t) for t, (_, units) in enumerate(right) for unit in units for s in said[unit]}
    return Pair(tuple(word for word, _ in left), tuple(word for word, _ in right), tuple(sorted(links)), combinations)


def _in_english(clause: Clause, k: int) -> Words:
    """The words of clause k of a sentence."""
    verb, plural = clause.verb, clause.subject.plural
    words = _opening(clause, clause.joint, clause.adverb, k) + _english_phrase(clause.subject, k, "subject")
    if isinstance(verb, str):
        return [*words, _word(verb if plural else SAYING[verb][0], k, "verb")]
    if clause.auxiliary:
        finite = "has" if clause.auxiliary == "have" and not plural else clause.auxiliary
        if clause.negated and finite == "can":
            words.append(_word("cannot", k, "auxiliary", "not"))
        else:
            words.append(_word(finite, k, "auxiliary"))
            words += [_word("not", k, "not")] * clause.negated
        words.append(_word(verb.participle if clause.auxiliary == "have" else verb.english, k, "verb"))
    elif clause.negated:
        words += [_word("do" if plural else "does", k, "verb"), _word("not", k, "not"), _word(verb.english, k, "verb")]
    else:
        words.append(_word(verb.english if plural else verb.third, k, "verb"))
    if verb.preposition:
        words.append(_word(verb.preposition, k, "preposition"))
    if clause.object:
        words += _english_phrase(clause.object, k, "object")
    return words + [_word(verb.particle, k, "particle")] * bool(verb.particle)


def _in_dutch(clause: Clause, k: int) -> Words:
    """The words of clause k. The finite verb is second in a main clause, first in one behind an adverb or a comma, late behind a joint."""
    opening = _opening(clause, JOINTS.get(clause.joint, ""), ADVERBS.get(clause.adverb, ""), k)
    subject = _dutch_phrase(clause.subject, k, "subject")
    late = clause.joint in JOINTS
    finite, rest = _dutch_verbs(clause, late, k)
    middle = _dutch_middle(clause, k)
    if late:
        return [*opening, *subject, *middle, finite, *rest]
    if clause.joint == "main":
        return [*opening, *subject, finite, *middle, *rest]
    return [*opening, finite, *subject, *middle, *rest]


def _opening(clause: Clause, joint: str, adverb: str, k: int) -> Words:
    """What stands before the clause itself."""
    word = {"main": "", "adverb": adverb, "then": ","}.get(clause.joint, joint)
    return [_word(word, k, "opening")] if word else []


def _dutch_verbs(clause: Clause, late: bool, k: int) -> tuple[Word, Words]:
    """The finite verb, and what stands at the end of the clause: a prefix, an infinitive or a participle."""
    verb, plural = clause.verb, clause.subject.plural
    if isinstance(verb, str):
        return _word(SAYING[verb][1 + plural], k, "verb"), []
    # English has a particle where Dutch has a prefix (call ... up: belt ... op), or none (invite: nodigt ... uit)
    prefix = "particle" if verb.particle else "verb"
    whole = ("verb", prefix) if verb.prefix else ("verb",)
    if clause.auxiliary:
        form = verb.dutch_participle if clause.auxiliary == "have" else verb.prefix + verb.dutch_infinitive
        return _word(AUXILIARIES[clause.auxiliary][plural], k, "auxiliary"), [_word(form, k, *whole)]
    form = verb.dutch_infinitive if plural else verb.dutch
    if late:
        return _word(verb.prefix + form, k, *whole), []
    return _word(form, k, "verb"), [_word(verb.prefix, k, prefix)] * bool(verb.prefix)


def _dutch_middle(clause: Clause, k: int) -> Words:
    """The object and the negation: "niet" behind an object, but before a preposition; "geen" in place of "niet" and "een"."""
    niet = [_word("niet", k, "not")] * clause.negated
    if clause.object is None:
        return niet
    if clause.verb.dutch_preposition:
        unit = "preposition" if clause.verb.preposition else "verb"
        return [*niet, _word(clause.verb.dutch_preposition, k, unit), *_dutch_phrase(clause.object, k, "object")]
    if clause.negated and clause.object.determiner == "a":
        return _dutch_phrase(clause.object, k, "object", negated=True)
    return [*_dutch_phrase(clause.object, k, "object"), *niet]


def _english_phrase(phrase: Phrase, k: int, role: str) -> Words:
    noun = phrase.noun.plural if phrase.plural else phrase.noun.english
    determiner = phrase.determiner
    if determiner == "this" and phrase.plural:
        determiner = "these"
    if determiner == "a" and (phrase.adjective or noun)[0] in "aeiou":
        determiner = "an"
    return _phrase_words(determiner, phrase.adjective, noun, k, role)


def _dutch_phrase(phrase: Phrase, k: int, role: str, negated: bool = False) -> Words:
    """het boek, een boek, een oud boek, but: het oude boek, een oude brief, oude boeken"""
    het = phrase.noun.article == "het" and not phrase.plural
    noun = phrase.noun.dutch_plural if phrase.plural else phrase.noun.dutch
    determiner = {"the": "het" if het else "de", "a": "geen" if negated else "een", "my": "mijn", "this": "dit" if het else "deze"}
    adjective = ADJECTIVES[phrase.adjective].split()[not (het and phrase.determiner == "a")] if phrase.adjective else ""
    words = _phrase_words(determiner[phrase.determiner], adjective, noun, k, role)
    if negated:
        words[0] = _word("geen", k, f"{role} determiner", "not")
    return words


def _phrase_words(determiner: str, adjective: str, noun: str, k: int, role: str) -> Words:
    middle = [_word(adjective, k, f"{role} adjective")] if adjective else []
    return [_word(determiner, k, f"{role} determiner"), *middle, _word(noun, k, f"{role} noun")]


def _word(text: str, k: int, *units: str) -> Word:
    return text, frozenset((k, unit) for unit in units)
