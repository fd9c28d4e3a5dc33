"""The texts of the course: Wikipedia paragraphs, news, film reviews and word pairs, all from files that gensim's wheel carries."""

import bz2
import io
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

from lmkit.cache import cache_dir, cached, sha256
from lmkit.errors import LmkitError

__all__ = [
    "SPLITS", "Paragraph", "all_paragraphs", "analogies", "cache_dir", "indices", "lee", "polarity", "texts", "wikipedia", "word_pairs",
]  # fmt: skip

SPLITS = ("train", "validation", "test")
WIKIPEDIA = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
GENSIM = "4.4.0"  # the version of gensim that these files were taken from
DATA = {  # file in the folder gensim/test/test_data, and its SHA-256
    WIKIPEDIA: "a53f4648dec40467ebdcbc7a1307eddb51fe6e28e9309f6ebde81ba0d04bea2d",
    "lee_background.cor": "5d78d6dafd953bbf65797bef09a9ffb9ec430583381be705f8fd460000f370fb",
    "pang_lee_polarity.cor": "662c1b7c3bd0612eaaaf3f0c694cbd3897e30c0d87d2940b46c9fd0d15ed70c1",
    "wordsim353.tsv": "f92a022fc2537793a15bc3a8c162ebcd74990e033a228bb6388cb71e4c0b1e1d",
    "simlex999.txt": "d5e0501971478a511430ee880bd0121e94ac701ba86d90544d83e6d2ba3db05d",
    "questions-words.txt": "8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36",
}
WORD_PAIRS = {"wordsim353": "wordsim353.tsv", "simlex999": "simlex999.txt"}
CLEANED = "c7b9bd4f830cb4c6fb7c2b2954f2e7fa4f517848f39d6da576d0017b73757401"  # SHA-256 of the cleaned Wikipedia


@dataclass(frozen=True)
class Paragraph:
    """One paragraph of a Wikipedia article."""

    text: str  # running prose without markup, at least 200 characters, on one line
    title: str  # title of its article
    categories: tuple[str, ...]  # categories of its article, in the article's order


def wikipedia(split: str) -> list[Paragraph]:
    """The paragraphs of one split ("train", "validation" or "test"), in the order of the articles.

    Source: about 100 articles of the English Wikipedia of April 2016, by its contributors, under CC BY-SA 3.0. `indices` says which
    paragraph belongs to which split.
    Errors: LmkitError where the split is unknown, gensim's file is missing or altered, or the cache cannot be used.
    """
    chosen = indices(split)
    paragraphs = all_paragraphs()
    return [paragraphs[i] for i in chosen]


def texts(split: str) -> list[str]:
    """The bare texts of one split's paragraphs."""
    return [paragraph.text for paragraph in wikipedia(split)]


def indices(split: str) -> list[int]:
    """Which of all paragraphs belong to a split: every tenth is held out, alternately for validation and for the test.

    Counted from 0, validation has the paragraphs 9, 29, 49, …, the test has 19, 39, 59, …, and train has all others.
    """
    if split not in SPLITS:
        raise LmkitError(f"the split {split!r} is unknown: ask for one of {', '.join(SPLITS)}")
    of = {9: "validation", 19: "test"}
    return [i for i in range(len(all_paragraphs())) if of.get(i % 20, "train") == split]


@lru_cache(maxsize=1)
def all_paragraphs() -> tuple[Paragraph, ...]:
    """Every paragraph of the corpus, in the order of the articles; cleaned from the markup at the first call, then read from the cache."""
    advice = "if you changed the cleaning, write the new value into lmkit/corpus.py; if not, install lmkit again"
    articles = json.loads(cached("wikipedia", ".json", CLEANED, _cleaned_wikipedia, advice))
    return tuple(Paragraph(text, a["title"], tuple(a["categories"])) for a in articles for text in a["paragraphs"])


def lee() -> list[str]:
    """300 news documents of the Australian Broadcasting Corporation, 60,000 words. Source: Lee, Pincombe and Welsh 2005."""
    return _data("lee_background.cor").decode("ascii").splitlines()


def polarity() -> list[tuple[str, int]]:
    """200 sentences of film reviews, each with its label: 1 positive, 0 negative. Source: Pang and Lee 2005."""
    labels = {"__label__neg": 0, "__label__pos": 1}
    rows = [line.split(" ", 1) for line in _data("pang_lee_polarity.cor").decode("cp1252").splitlines()]
    return [(sentence.strip(), labels[label]) for label, sentence in rows]


def word_pairs(name: str) -> list[tuple[str, str, float]]:
    """Pairs of words with the mean of people's judgements, from 0 (nothing in common) to 10.

    "wordsim353" asks how related two words are (Finkelstein et al. 2002), "simlex999" how similar (Hill, Reichart and Korhonen 2015).
    Errors: LmkitError where the name is another one.
    """
    if name not in WORD_PAIRS:
        raise LmkitError(f"the word-pair set {name!r} is unknown: ask for one of {', '.join(WORD_PAIRS)}")
    lines = [line for line in _data(WORD_PAIRS[name]).decode("ascii").splitlines() if line and not line.startswith("#")]
    return [(first, second, float(score)) for first, second, score in (line.split("\t") for line in lines)]


def analogies() -> dict[str, list[tuple[str, str, str, str]]]:
    """Questions "a is to b as c is to d", by section, such as "family". Source: Mikolov et al. 2013, questions-words.txt."""
    sections: dict[str, list[tuple[str, str, str, str]]] = {}
    for line in _data("questions-words.txt").decode("ascii").splitlines():
        if line.startswith(":"):
            section = sections.setdefault(line[1:].strip(), [])
        else:
            a, b, c, d = line.split()
            section.append((a, b, c, d))
    return sections


def _data(name: str) -> bytes:
    """One of gensim's data files, checked by its hash. The package is looked up and not imported, for that takes seconds."""
    mend = f"run `pip install --force-reinstall --no-deps gensim=={GENSIM}`"
    package = find_spec("gensim")
    if package is None or not package.submodule_search_locations:
        raise LmkitError(f"the package gensim, which carries the course's texts, is not installed: {mend}")
    path = Path(package.submodule_search_locations[0]) / "test" / "test_data" / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LmkitError(f"gensim's data file {path} cannot be read ({error.strerror}): {mend}") from None
    if sha256(data) != DATA[name]:
        raise LmkitError(f"gensim's data file {path} is not the one of gensim {GENSIM}: {mend}")
    return data


def _cleaned_wikipedia() -> bytes:
    """The corpus as JSON: a list of articles, each with its title, categories and paragraphs."""
    from lmkit.wikitext import categories, clean

    articles = [{"title": title, "categories": categories(markup), "paragraphs": clean(markup)} for title, markup in _articles()]
    return json.dumps([article for article in articles if article["paragraphs"]], ensure_ascii=False, indent=0).encode("utf-8")


def _articles() -> list[tuple[str, str]]:
    """Title and markup of every article of the dump; redirects and pages of other namespaces are left out."""
    root = ElementTree.parse(io.BytesIO(bz2.decompress(_data(WIKIPEDIA)))).getroot()
    xml = {"": root.tag[1:].partition("}")[0]}  # the namespace of the dump's elements
    pages = [page for page in root.iterfind("page", xml) if page.findtext("ns", "", xml) == "0" and page.find("redirect", xml) is None]
    return [(page.findtext("title", "", xml), page.findtext("revision/text", "", xml)) for page in pages]


def _command_line() -> None:
    """`python -m lmkit.corpus`; the imports stand here so that a lesson that only wants a text need not wait for them."""
    import random
    from typing import Annotated

    import typer
    from rich import box
    from rich.console import Console
    from rich.table import Table

    def table() -> Table:
        table = Table("text", "unit", "how many", "words", "bytes", box=box.SIMPLE_HEAD)
        for column in table.columns[2:]:
            column.justify = "right"
        parts = [(f"Wikipedia, {split}", "paragraphs", texts(split)) for split in SPLITS]
        parts += [("Lee", "news documents", lee()), ("Polarity", "review sentences", [sentence for sentence, _ in polarity()])]
        for name, unit, part in parts:
            words, size = sum(len(text.split()) for text in part), sum(len(text.encode("utf-8")) for text in part)
            table.add_row(name, unit, f"{len(part):,}", f"{words:,}", f"{size:,}")
        for name, file in (("WordSim-353", "wordsim353"), ("SimLex-999", "simlex999")):
            table.add_row(name, "word pairs", f"{len(word_pairs(file)):,}")
        table.add_row("Analogies", "questions", f"{sum(map(len, analogies().values())):,}")
        return table

    def main(
        sample: Annotated[int, typer.Option("--sample", min=0, metavar="N", help="Print N paragraphs of Wikipedia instead.")] = 0,
        split: Annotated[str, typer.Option(help=f"The split to sample from: {', '.join(SPLITS)}.")] = "train",
        seed: Annotated[int, typer.Option(help="Another seed, another sample.")] = 0,
    ) -> None:
        """Print what texts the course has, or a sample of its Wikipedia paragraphs.

        The texts come from files inside the package gensim; nothing is downloaded. The cleaned Wikipedia is kept in the cache folder:
        $LMKIT_CACHE, or else ~/.cache/lmkit. The bytes are those of UTF-8.

        Example: python -m lmkit.corpus --sample 3 --split validation
        """
        console = Console(soft_wrap=True, highlight=False)
        try:
            if sample:
                paragraphs = wikipedia(split)
                for paragraph in random.Random(seed).sample(paragraphs, min(sample, len(paragraphs))):
                    console.print(f"[bold]{paragraph.title}[/bold]")
                    console.print(paragraph.text + "\n", markup=False)
            else:
                console.print(table())
                console.print(f"cache folder: {cache_dir()}", markup=False)
        except LmkitError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from None

    typer.run(main)


if __name__ == "__main__":
    _command_line()
