"""The corpus: how markup becomes prose, what the texts hold, and what the cache does when something goes wrong."""

import collections
import errno
import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lmkit import cache, corpus
from lmkit.errors import LmkitError
from lmkit.wikitext import HOLE, PRONUNCIATION, categories, clean


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)


def message(call, *arguments) -> str:
    """What an LmkitError says; it is one line, without a traceback in it."""
    with pytest.raises(LmkitError) as caught:
        call(*arguments)
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return text


# ---- cleaning -------------------------------------------------------------------------------------------------------------------

RULES = {
    "links": ("A [[cat]] and [[dog|two dogs]] and [[mouse|m]]ice.", "A cat and two dogs and mice."),
    "link with brackets": ("The [[[ISO]]] standard [[a|b]].", "The [ISO] standard b."),
    "link to a category": ("See [[:Category:Cats]] and [[wikt:cat]].", "See Cats and cat."),
    "link to another language": ("Cats.[[nl:Kat]][[be-x-old:Kot]]", "Cats."),
    "link never closed": ("A [[cat. {{cite web|x}}", None),
    "link out": ("A [http://example.org good page].[https://example.org/x] Yes.", "A good page. Yes."),
    "emphasis": ("The ''cat'' is '''bold''' and '''''both'''''.", "The cat is bold and both."),
    "apostrophes beside emphasis":
        ("''Eagle''''s wing, ''Rand''{{'}}s book.\n\n''Iliad'''s hero.", ("Eagle's wing, Rand's book.", "Iliad's hero.")),
    "emphasis and apostrophe": ("They read l'''Aurore'' daily.", "They read l'Aurore daily."),
    "file": ("[[File:Cat.jpg|thumb|200px|A [[cat]] of ''mine''{{cite web|x}} [now]]]Cats purr.", "Cats purr."),
    "image": ("[[Image:Cat.jpg|left|A cat]]\nCats purr.", "Cats purr."),
    "category": ("Cats purr.\n[[Category:Cats|*]]", "Cats purr."),
    "comment": ("Cats<!-- and\n{{dogs}} --> purr.", "Cats purr."),
    "reference": ('Cats purr.<ref name="a/b">Smith, [[x]]</ref> They<ref name=b /> sleep<ref>y</ref>.', "Cats purr. They sleep."),
    "space before a reference": ("Cats purr <ref>x</ref>. So {{citation needed|date=May 2014}}, yes.", "Cats purr. So, yes."),
    "footnote typed by hand": ("Cats purr.[3] Dogs do not.", "Cats purr. Dogs do not."),
    "infobox": ("{{Infobox cat\n| name = Tom {{flag|x}}\n| {{!}}\n}}\n'''Tom''' is a cat.", "Tom is a cat."),
    "infobox glued to the text": ("{{Taxobox|a={{b}}}}'''Tom''' is a cat.", "Tom is a cat."),
    "hatnote": ("{{Main|Cats}}\n{{see also|Dogs|Mice}}\nCats purr.", "Cats purr."),
    "table": ('{| class="x"\n! a !! b\n|-\n| c\n{|\n| inner\n|}\n| d\n|}\nCats purr.', "Cats purr."),
    "indented table": ("Cats.\n:{|\n| A long cell.\n|}\nDogs.", ("Cats.", "Dogs.")),
    "heading": ("== Cats ==\nCats purr.\n=== Dogs ===\nDogs bark.", ("Cats purr.", "Dogs bark.")),
    "lists": ("Cats:\n* Tom.\n# Felix.\n: Garfield.\n; Kitty: a cat.\nDogs bark.", ("Cats:", "Dogs bark.")),
    "line break in a paragraph": ("Cats\npurr.\n\nDogs\nbark.", ("Cats purr.", "Dogs bark.")),
    "file with a link at its end": ("[[File:Cat.jpg|A [[cat]]]]Cats [[purr]].", "Cats purr."),
    "gallery": ("Cats.\n<gallery>\nCat.jpg\nA cat.\n</gallery>\nDogs.<source>\nI = 1.\n</source>", ("Cats.", "Dogs.")),
    "tags": ('Cats<br />purr <span id="x">and</span> <small>sleep</small>.', "Cats purr and sleep."),
    "block quotation": ("He says: <blockquote>Cats purr.</blockquote>\nYes.", ("He says:", "Cats purr.", "Yes.")),
    "quotation template": ("He says:\n{{quote|text=Cats purr.|author=He}}\nYes.", ("He says:", "Cats purr.", "Yes.")),
    "less than": ("Fewer than <10 cats purr.", "Fewer than <10 cats purr."),
    "entities": ("Tom&nbsp;&amp; Felix &ndash; &quot;cats&quot;, 5&nbsp;kg&thinsp;each.", 'Tom & Felix – "cats", 5 kg each.'),
    "nowiki": ("Write <nowiki>[http://x y]</nowiki> or <nowiki>[</nowiki>.", "Write [http://x y] or [."),
    "characters of no width": ("Cats\u200b pu\u00adrr\ufeff.", "Cats purr."),
    "magic word": ("__TOC__Cats purr.", "Cats purr."),
    "superscript": ("A 10<sup>6</sup>, 5 m<sup>−2</sup>, the 19<sup>th</sup>, e<sup>x</sup>.", "A 10⁶, 5 m⁻², the 19th, e^x."),
    "subscript": ("Water is H<sub>2</sub>O.", "Water is H2O."),
    "measure": ("It is {{convert|30|cm|in}} long, a {{convert|5|ft|m|adj=on}} cat.", "It is 30 centimetres long, a 5-foot cat."),
    "measure with a symbol": ("It covers {{convert|652230|km2|sqmi|abbr=on}} at {{convert|-3|C|0}}.", "It covers 652,230 km² at −3 °C."),
    "range of measures": ("From {{convert|8|-|12|km|mi}}, {{convert|10|to|1300|mi|0}}.", "From 8–12 kilometres, 10 to 1,300 miles."),
    "feet and inches": ("He is {{convert|6|ft|4|in|cm|0}} tall.", "He is 6 feet 4 inches tall."),
    "American spelling": ("It is {{convert|1.5|m|sp=us}} and {{convert|1|mi}}.", "It is 1.5 meters and 1 mile."),
    "as of": ("{{As of|2013|6|8}}, cats purr, {{as of|2010|May|lc=y}}.", "As of 8 June 2013, cats purr, as of May 2010."),
    "foreign words": ("Greek {{lang|grc|{{linktext|Μούσα}}}} ({{lang-la|Opus}}), {{transl|ar|alif}}.", "Greek Μούσα (Latin: Opus), alif."),
    "Japanese": ("Called {{nihongo|''health''|元気|genki}}.", "Called health (元気, genki)."),
    "chemistry": ("The ion {{chem|Si|4|4-}} and {{chem|M|+}}.", "The ion Si4⁴⁻ and M⁺."),
    "values": ("About {{val|6.24|e=18|u=C}}, 5{{e|-20}} g.", "About 6.24 × 10¹⁸ C, 5 × 10⁻²⁰ g."),
    "signs": ("1775{{ndash}}1783{{snd}}a war, ''Eagle''{{'s}} end{{mdashb}}so{{nbsp}}it {{nowrap|1=was = {{frac|3}}}}.",
              "1775–1783 – a war, Eagle's end—so it was = 1/3."),
    "words": ("In {{sc|ad}} 5 {{circa|9}} {{nowrap|[[x|y]]}}, {{USS|Hornet|CV-12|6}}, {{HMS|Ajax}}, {{MV|Tom}}, {{US$|2 billion}}.",
              "In AD 5 c. 9 y, USS Hornet, HMS Ajax, MV Tom, US$2 billion."),
    "numbers and dates": ("At {{formatnum:3003}} m, {{OldStyleDate|February 2|1905|January 20}}, {{bibleref|Mark|3:25|9}}, a {{frac|2|3}}.",
                          "At 3,003 m, February 2, 1905, Mark 3:25, a 2/3."),
    "signs in letters": ("So {{angbr|aa}} or {{vr|ae}}, HA {{eqm}} H, {{small|x {{=}} 1}}.", "So ⟨aa⟩ or ⟨ae⟩, HA ⇌ H, x = 1."),
    "signs in quotes": ('He "said \'no{{\' "}}, {{Harvtxt|Boolos|Jeffrey|1974}} said.{{-"}}',
                        'He "said \'no\'", Boolos and Jeffrey (1974) said."'),
    "pronunciation": ("'''Achilles''' ({{IPAc-en|ə|k}} {{respell|ə|KIL}}; {{lang-grc|Ἀχ}}, {{IPA-el|akʰ|pron}} in Attic) won.",
                      "Achilles (Ancient Greek: Ἀχ) won."),
    "nothing but pronunciation": ("'''Angola''' ({{IPAc-en|æ}} or {{IPAc-en|a}}), or {{IPA-pt|a}} Ngola.", "Angola, or Ngola."),
    "empty parentheses": ("Cats ({{citation needed|date=x}}; {{sfn|x}}) purr ( , often ) and ([ ]) sleep.", "Cats purr (often) and sleep."),
    "ellipsis": ("Cats . . . purr ... and sleep .", "Cats ... purr ... and sleep."),
    "spaces": ("Cats  purr ,  often ; yes !", "Cats purr, often; yes!"),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_markup_becomes_prose(rule):
    markup, prose = RULES[rule]
    assert clean(markup, shortest=1) == ([] if prose is None else [prose] if isinstance(prose, str) else list(prose))


@pytest.mark.parametrize(
    "markup",
    [
        "The values <math>x_1</math> are even.",
        "Write <code>x = 1</code> here.",
        "It has a {{strange template|5}} in it.",
        "It is {{convert|5|smoots}} long.",
        "A gauge of {{convert|5}}.",
        "It costs {{formatnum:{{Inflation|US|5}}}} dollars.",
        "The name {{lang-xx|y}} is strange.",
        "Cats are",
        "which purr.",
        "Markup {x} is left.",
        "Markup is left | here.",
    ],
)
def test_a_block_with_a_hole_or_half_a_sentence_is_left_out(markup):
    assert clean("Before it.\n\n" + markup + "\n\nAfter it.", shortest=1) == ["Before it.", "After it."]


def test_preformatted_lines_are_no_prose():
    assert clean("Cats purr in the afternoon.\n 10 GOTO 20.\n 20 END.", shortest=20) == ["Cats purr in the afternoon."]


def test_a_paragraph_has_at_least_200_characters():
    assert clean("Cats purr. " * 18 + "Ends.") == ["Cats purr. " * 18 + "Ends."]  # 203 characters
    assert clean("Cats purr. " * 17 + "Ends.") == []


def test_categories_come_without_sort_keys():
    markup = "Text.\n[[Category:Big cats|*]]\n[[ category : Cats_of_Rome ]]<!-- [[Category:Dogs]] -->[[:Category:Mice]]"
    assert categories(markup) == ["Big cats", "Cats of Rome"]


def test_unbalanced_braces_do_not_swallow_the_article():
    assert clean("{{Infobox\n|a=[[b}}\nCats purr.\n\n}} ]]\n\nDogs [[bark.\n\nBirds sing.", shortest=1) == ["Cats purr.", "Birds sing."]


# ---- what the texts hold --------------------------------------------------------------------------------------------------------

MARKUP = {
    "braces or bars": r"[{}|]",
    "double brackets": r"\[\[|\]\]",
    "quotes of emphasis": r"''",
    "headings": r"==",
    "tags": r"</?[a-zA-Z!]",
    "entities": r"&#?\w+;",
    "addresses": r"https?:|www\.",
    "files and categories": r"(?i)\b(category|image|file):|\b\d+px\b|\bthumb\|",
    "list marks": r"^[*#:;]",
    "empty brackets": r"\(\s*\)|\[\s*\]",
    "punctuation after a bracket": r"\(\s*[,;:]|\(\s|\s\)|[,;]\)",
    "hanging punctuation": r"\w [,;:!?](\s|$)|\w \.(\s|$)",
    "doubled punctuation": r",\s*,|;\s*;|,\.(\s|$)",
    "a hole after an article": r"\b(?:[Ii]s|[Aa]re|[Ww]as) (?:an? \(|(?:an?|the) (?:[,.;]|is\b|of\b))",
    "doubled or strange spaces": r"\s\s|[^\S ]|^\s|\s$",
    "control characters and stand-ins": rf"[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\ufeff\ufffd{HOLE}{PRONUNCIATION}]",
}


@pytest.fixture(scope="module")
def paragraphs() -> tuple[corpus.Paragraph, ...]:
    return corpus.all_paragraphs()


@pytest.mark.parametrize("kind", MARKUP)
def test_no_markup_is_left(paragraphs, kind):
    found = [p.text[max(0, hit.start() - 30) : hit.end() + 30] for p in paragraphs for hit in re.finditer(MARKUP[kind], p.text)]
    assert not found, f"{len(found)} places with {kind}: {found[:5]}"


def test_size_of_wikipedia(paragraphs):
    assert 4_100 <= len(paragraphs) <= 4_300
    assert 2_400_000 <= sum(len(p.text) for p in paragraphs) <= 2_500_000
    assert 380_000 <= sum(len(p.text.split()) for p in paragraphs) <= 395_000
    assert min(len(p.text) for p in paragraphs) >= 200
    assert len({p.text for p in paragraphs}) == len(paragraphs), "a paragraph stands twice in the corpus"


def test_titles_and_categories(paragraphs):
    titles = list(dict.fromkeys(p.title for p in paragraphs))
    assert 90 <= len(titles) <= 107
    assert titles[:3] == ["Anarchism", "Autism", "Albedo"]
    assert "Wikipedia:Adding Wikipedia articles to Nupedia" not in titles  # another namespace
    assert "AccessibleComputing" not in titles  # a redirect
    of = {p.title: p.categories for p in paragraphs}
    assert of["Anarchism"][:2] == ("Anarchism", "Political culture")
    assert all(of.values()), "every article with prose has a category"
    assert not any(re.search(r"[\[\]|_<>]|^\s|\s$|^$", name) for names in of.values() for name in names)


def test_every_tenth_paragraph_is_held_out(paragraphs):
    parts = {split: corpus.indices(split) for split in corpus.SPLITS}
    assert parts["validation"][:3] == [9, 29, 49]
    assert parts["test"][:3] == [19, 39, 59]
    assert sorted(i for part in parts.values() for i in part) == list(range(len(paragraphs)))
    for split, part in parts.items():
        assert corpus.wikipedia(split) == [paragraphs[i] for i in part]
        assert corpus.texts(split) == [paragraphs[i].text for i in part]


def test_a_caller_may_change_what_it_gets():
    corpus.wikipedia("test").clear()
    corpus.texts("test").clear()
    assert len(corpus.wikipedia("test")) == len(corpus.texts("test")) > 200


def test_lee():
    documents = corpus.lee()
    assert len(documents) == 300
    assert 59_000 < sum(len(document.split()) for document in documents) < 61_000
    assert documents[0].startswith("Hundreds of people have been forced to vacate their homes in the Southern Highlands")


def test_polarity():
    rows = corpus.polarity()
    assert collections.Counter(label for _, label in rows) == {0: 100, 1: 100}
    assert rows[0] == ("simplistic , silly and tedious .", 0)
    assert not any("__label__" in sentence or sentence != sentence.strip() for sentence, _ in rows)
    strange = {c for sentence, _ in rows for c in sentence if ord(c) > 126}
    assert strange
    assert all(c.isalpha() or c in "–—‘’“”…" for c in strange), f"read in a wrong encoding: {strange}"


def test_word_pairs():
    wordsim, simlex = corpus.word_pairs("wordsim353"), corpus.word_pairs("simlex999")
    assert (len(wordsim), len(simlex)) == (353, 999)
    assert wordsim[0] == ("love", "sex", 6.77)
    assert simlex[0] == ("old", "new", 1.58)
    assert all(0 <= score <= 10 for _, _, score in wordsim + simlex)


def test_analogies():
    sections = corpus.analogies()
    assert len(sections) == 14
    assert sum(map(len, sections.values())) == 19_544
    assert sections["family"][0] == ("boy", "girl", "brother", "sister")


@pytest.mark.parametrize(("call", "name", "right"), [(corpus.wikipedia, "dev", "validation"), (corpus.texts, "", "train"),
                                                    (corpus.word_pairs, "wordsim", "wordsim353, simlex999")])  # fmt: skip
def test_unknown_names_are_answered_with_the_right_ones(call, name, right):
    text = message(call, name)
    assert repr(name) in text
    assert right in text


# ---- gensim's files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [corpus.lee, corpus.polarity, corpus.analogies, corpus._articles, lambda: corpus.word_pairs("simlex999")])
@pytest.mark.parametrize("state", ["missing", "altered", "no package"])
def test_files_of_gensim_are_missing_or_altered(monkeypatch, tmp_path, call, state):
    if state == "altered":
        (tmp_path / "test" / "test_data").mkdir(parents=True)
        for name in corpus.DATA:
            (tmp_path / "test" / "test_data" / name).write_bytes(b"something else")
    package = None if state == "no package" else SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(corpus, "find_spec", lambda name: package)
    text = message(call)
    assert f"pip install --force-reinstall --no-deps gensim=={corpus.GENSIM}" in text
    assert {"missing": "cannot be read", "altered": "is not the one of gensim", "no package": "not installed"}[state] in text


# ---- the cache ------------------------------------------------------------------------------------------------------------------

DATA = b"what was computed"
DIGEST = hashlib.sha256(DATA).hexdigest()
NAME = f"thing-{DIGEST[:12]}.txt"


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Path:
    """An empty cache folder, which does not exist yet."""
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def stored(make=lambda: DATA) -> bytes:
    return cache.cached("thing", ".txt", DIGEST, make, "do this")


def left_in(folder: Path) -> list[str]:
    """The files in a cache folder, without the empty lock files."""
    return sorted(path.name for path in folder.glob("**/*") if not path.name.endswith(".lock")) if folder.is_dir() else []


def never() -> bytes:
    raise AssertionError("made again, though it was in the cache")


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("LMKIT_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_dir() == tmp_path / ".cache" / "lmkit"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache.cache_dir() == tmp_path / "x" / "lmkit"
    monkeypatch.setenv("LMKIT_CACHE", "~/mine")
    assert cache.cache_dir() == corpus.cache_dir() == tmp_path / "mine"


def test_no_home_folder(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("LMKIT_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert "LMKIT_CACHE" in message(cache.cache_dir)


def test_made_once_then_read(folder):
    assert stored() == DATA
    assert left_in(folder) == [NAME]
    assert stored(never) == DATA


def test_damaged_file(folder):
    stored()
    path = folder / NAME
    for damage in (b"", DATA[:-1], DATA + b"\n"):
        path.write_bytes(damage)
        text = message(stored)
        assert str(path) in text
        assert "delete it" in text
        assert path.read_bytes() == damage, "a damaged file is the user's to delete"
    path.unlink()
    assert stored() == DATA


def test_a_folder_where_the_file_should_be(folder):
    (folder / NAME).mkdir(parents=True)
    assert str(folder / NAME) in message(stored)


def test_something_else_was_made(folder):
    text = message(stored, lambda: b"something else")
    assert "do this" in text
    assert DIGEST in text
    assert left_in(folder) == []


def test_making_fails(folder):
    with pytest.raises(ZeroDivisionError):
        stored(lambda: bytes(1 // 0))
    assert left_in(folder) == []
    assert stored() == DATA, "the lock is free again"


def test_folder_cannot_be_made(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("a file is no folder")
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path / "file" / "cache"))
    text = message(stored, never)
    assert str(tmp_path / "file" / "cache") in text
    assert "LMKIT_CACHE" in text


@pytest.mark.parametrize(("step", "error"), [("open", errno.EROFS), ("replace", errno.ENOSPC), ("chmod", errno.EPERM)])
def test_folder_cannot_be_written(monkeypatch, folder, step, error):
    real = getattr(Path, step)

    def refuse(path, *arguments, **named):
        if "rb" in arguments or named.get("mode") == "rb":
            return real(path, *arguments, **named)
        raise OSError(error, os.strerror(error))

    folder.mkdir()
    monkeypatch.setattr(Path, step, refuse)
    text = message(stored)
    assert os.strerror(error) in text
    assert "LMKIT_CACHE" in text
    assert left_in(folder) == []


def test_a_full_cache_is_only_read(monkeypatch, folder):
    stored()
    (folder / f".{NAME}.lock").unlink()  # a cache that was copied has no lock files
    folder.chmod(0o555)
    for change in ("_lock", "_write"):
        monkeypatch.setattr(cache, change, lambda *arguments: pytest.fail("a full cache was written to"))
    assert stored(never) == DATA
    assert [path.name for path in folder.iterdir()] == [NAME]


def test_two_processes_at_once_make_it_once(folder, tmp_path):
    program = f"""
import time
from pathlib import Path
from lmkit.cache import cached

def make():
    with Path({str(tmp_path / "log")!r}).open("a") as log:
        log.write("made\\n")
    time.sleep(1)
    return {DATA!r}

assert cached("thing", ".txt", {DIGEST!r}, make, "") == {DATA!r}
"""
    processes = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [process.wait(timeout=30) for process in processes] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "made\n"
    assert left_in(folder) == [NAME]


def test_two_processes_load_the_corpus_at_once(folder):
    program = "from lmkit import corpus; print(len(corpus.texts('train')))"
    processes = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=60)[0] for process in processes]
    assert answers == [f"{len(corpus.texts('train'))}\n"] * 2
    assert left_in(folder) == [f"wikipedia-{corpus.CLEANED[:12]}.json"]


def test_import_and_loading_are_fast():
    corpus.all_paragraphs()  # the cache is full now
    program = """
import sys, time
start = time.perf_counter()
from lmkit import corpus
corpus.wikipedia("train")
slow = {"torch", "transformers", "tokenizers", "gensim", "numpy", "typer", "rich", "lmkit.wikitext"} & set(sys.modules)
print(time.perf_counter() - start, *slow)
"""
    seconds, *slow = min((run("-c", program).stdout.split() for _ in range(3)), key=lambda answer: float(answer[0]))
    assert not slow, f"loading the corpus imports {slow}"
    assert float(seconds) < 0.3


def test_cleaning_is_fast(monkeypatch):
    """Under two seconds, so that it needs no progress bar."""
    start = time.process_time()
    data = corpus._cleaned_wikipedia()
    assert time.process_time() - start < 4  # twice what is meant, for a busy machine
    assert hashlib.sha256(data).hexdigest() == corpus.CLEANED


# ---- the command line -----------------------------------------------------------------------------------------------------------


def test_command_prints_what_there_is():
    done = run("-m", "lmkit.corpus")
    assert done.returncode == 0
    assert done.stderr == ""
    for row in ("Wikipedia, train", "Wikipedia, validation", "Wikipedia, test", "Lee", "Polarity", "WordSim-353", "SimLex-999", "19,544"):
        assert row in done.stdout
    assert f"{len(corpus.texts('validation')):,}" in done.stdout


def test_command_prints_a_sample():
    done = run("-m", "lmkit.corpus", "--sample", "3", "--split", "test", "--seed", "1", COLUMNS="60")
    blocks = done.stdout.strip().split("\n\n")
    assert len(blocks) == 3
    of = {p.text: p.title for p in corpus.wikipedia("test")}
    for block in blocks:
        title, text = block.split("\n")
        assert of[text] == title
    assert done.stdout != run("-m", "lmkit.corpus", "--sample", "3", "--split", "test", "--seed", "2").stdout


def test_command_explains_itself():
    done = run("-m", "lmkit.corpus", "--help")
    assert done.returncode == 0
    for word in ("--sample", "--split", "LMKIT_CACHE", "Example"):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("arguments", "word"), [(["--sample", "2", "--split", "dev"], "validation"), (["--sample", "-1"], "--sample"), ([], "LMKIT_CACHE")]
)
def test_command_fails_in_one_sentence(tmp_path, arguments, word):
    (tmp_path / "file").write_text("a file is no folder")
    environment = {} if arguments else {"LMKIT_CACHE": str(tmp_path / "file" / "cache")}
    done = run("-m", "lmkit.corpus", *arguments, **environment)
    assert done.returncode == 2
    assert "rror" in done.stderr
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
