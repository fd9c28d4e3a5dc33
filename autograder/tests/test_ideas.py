"""The page *Where each idea lives*: every link leads to a section that is there, every chapter is named, no idea stands twice."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from myst_parser.mdit_to_docutils.base import default_slugify

from autograder.layout import ROOT

BOOK = ROOT / "book"
LEVELS = 3  # headings down to this level have an anchor: myst_heading_anchors in book/_config.yml
_FENCED = re.compile(r"^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)`*$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(rf"^#{{1,{LEVELS}}} (?P<title>.+?)\s*$", re.MULTILINE)
_LINK = re.compile(r"\[(?P<text>[^\]\n]*)\]\((?P<target>[^)#\s]+)(?:#(?P<anchor>[^)\s]+))?\)")
_MARKUP = re.compile(r"\$[^$]*\$|[*`]")  # what of a heading does not get into its anchor


def lines() -> list[str]:
    """The ideas: the items of the page's lists."""
    return [line[2:] for line in (BOOK / "ideas.md").read_text(encoding="utf-8").splitlines() if line.startswith("- ")]


def links() -> list[tuple[str, str, str]]:
    """Text, file and anchor of each link of the page."""
    return [match.group("text", "target", "anchor") for line in lines() for match in _LINK.finditer(line)]


def source(target: str) -> Path:
    """The file that a link names: a page of book/, or one of a chapter, as the book is staged."""
    return (ROOT / "chapters" if "/" in target else BOOK) / target


def titles(path: Path) -> list[str]:
    return [match["title"] for match in _HEADING.finditer(_FENCED.sub("", path.read_text(encoding="utf-8")))]


def anchors(path: Path) -> dict[str, str]:
    """Anchor of each heading -> heading, as MyST makes them: what stands twice gets a number."""
    found: dict[str, str] = {}
    for title in titles(path):
        slug, again = default_slugify(_MARKUP.sub("", title)), 1
        while slug in found:
            slug, again = f"{slug}-{again}", again + 1
        found[slug] = title
    return found


def lesson_names() -> list[str]:
    """The lessons that the table of contents plans, 01_tokens/lesson to the last."""
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text(encoding="utf-8"))
    return [entry["file"] for part in toc["parts"] for entry in part["chapters"] if entry["file"].endswith("/lesson")]


def test_anchors_follow_the_book_s_setting_and_myst_s_rule(tmp_path):
    config = yaml.safe_load((BOOK / "_config.yml").read_text(encoding="utf-8"))
    assert config["sphinx"]["config"]["myst_heading_anchors"] == LEVELS
    page = tmp_path / "page.md"
    text = "# A: b\n\n```python\n# no heading\n```\n\n## Kneser–Ney: to *whom*\n### A b\n### A b\n#### too deep\n"
    page.write_text(text, encoding="utf-8")
    assert list(anchors(page)) == ["a-b", "kneserney-to-whom", "a-b-1", "a-b-1-2"]


@pytest.mark.parametrize("target", sorted({target for _, target, _ in links()}))
def test_every_link_leads_to_a_heading_that_it_names(target):
    here = anchors(source(target))
    front = next(iter(here.values()))
    for text, _, anchor in (link for link in links() if link[1] == target):
        assert anchor in here, f"{target} has no section #{anchor}; it has {', '.join(here)}"
        where = str(int(target[:2])) if "/" in target else front
        assert text == f"{where} · {re.sub(r'[][]', '', here[anchor])}", f"the link to {target}#{anchor} is called {text!r}"


def test_every_idea_has_a_link_and_every_chapter_an_idea():
    assert len(lines()) >= 150
    for line in lines():
        idea, arrow, places = line.partition(" → ")
        assert idea, line
        assert arrow, f"no link: {line}"
        assert ", ".join(match[0] for match in _LINK.finditer(places)) == places, f"behind the arrow stand links and nothing else: {line}"
    linked = {target.removesuffix(".md") for _, target, _ in links()}
    assert not set(lesson_names()) - linked


def test_no_idea_stands_twice():
    times = Counter(line.partition(" → ")[0].casefold().strip(" .") for line in lines())
    assert not [idea for idea, n in times.items() if n > 1]
    for line in lines():
        targets = [match.group("target", "anchor") for match in _LINK.finditer(line)]
        assert len(targets) == len(set(targets)), f"one section twice: {line}"
