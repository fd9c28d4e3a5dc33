"""Makes a rendered book lighter and easier to use: what its pages load and never use goes, and buttons say what they do."""

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import tinycss2
from fontTools import subset
from fontTools.ttLib import TTFont
from tinycss2 import ast

from autograder.pages import write

# The theme's icons come twice, as a font and as a script; the font is enough. The index of the search is needed where one searches.
_ICON_SCRIPT = re.compile(r'\s*<script[^>]* src="[^"]*/fontawesome\.js[^"]*"></script>')
_SEARCH = re.compile(r'\s*<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"></script>')
_NAMES = (  # what a screen reader says must hold what is seen
    ('<summary><span class="toctree-toggle"', '<summary aria-label="Exercises of this chapter"><span class="toctree-toggle"'),
    ('<summary aria-label="Toggle hidden content">', "<summary>"),
    ('<div role="list" class="citation-list">', '<div class="citation-list">'),  # what it holds are no list items
    (' title="Search" aria-label="Search" data-bs-placement="bottom"', ' title="Search" data-bs-placement="bottom"'),
)
_INLINE = re.compile(r'(<img class="lm-static"[^>]*) src="data:image/svg\+xml;base64,([^"]*)"')
_WORD = re.compile(r"-?[A-Za-z_][\w-]*")
_LONG = re.compile(r"\d+\.\d{3,}")
_ICON_FONT = "vendor/fontawesome/webfonts/fa-solid-900"


def lighten(html: Path) -> None:
    """Take out of a rendered book what no page uses. What is light already stays as it is."""
    static = html / "_static"
    for path in {*static.rglob("*.map"), *static.glob("scripts/fontawesome.*")}:
        path.unlink()
    texts = []
    for path in sorted(html.rglob("*.html")):
        texts.append(_apart(_page(path.read_text(encoding="utf-8"), path.name), path, html))
        write(path, texts[-1])
    texts += [path.read_text(encoding="utf-8") for path in static.rglob("*.js") if "mathjax" not in path.parts]
    words = set(_WORD.findall("\n".join(texts)))
    sheets = [path for path in sorted(static.rglob("*.css")) if path.name != "custom.css"]
    for path in sheets:
        write(path, _used(path.read_text(encoding="utf-8"), words))
    _cut_icons(static, "".join(path.read_text(encoding="utf-8") for path in sheets))
    for path in (html / "_images").glob("*.svg"):
        write(path, _drawing(path.read_text(encoding="utf-8")))


def _page(text: str, name: str) -> str:
    text = _ICON_SCRIPT.sub("", text)
    if name != "search.html":
        text = _SEARCH.sub("", text)
    for old, new in _NAMES:
        text = text.replace(old, new)
    return text


def _apart(text: str, page: Path, html: Path) -> str:
    """A page whose pieces have their pictures in files of their own: a browser that runs scripts then never loads them."""

    def replace(match: re.Match) -> str:
        data = base64.b64decode(match[2])
        path = html / "_images" / f"piece-{hashlib.sha256(data).hexdigest()[:16]}.svg"
        write(path, _drawing(data.decode("utf-8")))
        return f'{match[1]} loading="lazy" src="{Path(os.path.relpath(path, page.parent)).as_posix()}"'

    return _INLINE.sub(replace, text)


def _used(css: str, words: set[str]) -> str:
    """A style sheet without the rules that ask for a class of which neither a page nor a script speaks."""
    css = css.replace(f'url(../{_ICON_FONT}.woff2) format("woff2"),', "")  # the other format is the one that is cut to what is used
    rules = tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True)
    return "".join(_kept(rules, words, {word for word in words if word.endswith("-")}))


def _kept(rules: list[ast.Node], words: set[str], begun: set[str]) -> Iterator[str]:
    for rule in rules:
        if isinstance(rule, ast.QualifiedRule):
            selectors = [one for one in _selectors(rule.prelude) if all(_known(name, words, begun) for name in _classes(one))]
            if selectors:
                yield f"{','.join(tinycss2.serialize(one).strip() for one in selectors)}{{{tinycss2.serialize(rule.content)}}}"
        elif isinstance(rule, ast.AtRule) and rule.lower_at_keyword in ("media", "supports") and rule.content is not None:
            inner = "".join(_kept(tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True), words, begun))
            if inner:
                yield f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{inner}}}"
        else:
            yield rule.serialize()


def _selectors(prelude: list[ast.Node]) -> list[list[ast.Node]]:
    found: list[list[ast.Node]] = [[]]
    for token in prelude:
        if token == ",":
            found.append([])
        else:
            found[-1].append(token)
    return found


def _classes(selector: list[ast.Node]) -> Iterator[str]:
    """The classes that an element must have; what stands inside :not(…) or :is(…) is no condition of that kind."""
    for before, token in pairwise(selector):
        if before == "." and isinstance(token, ast.IdentToken):
            yield token.value


def _known(name: str, words: set[str], begun: set[str]) -> bool:
    """Whether a page or a script speaks of a class; a script may put one together of a word that ends in a hyphen and another."""
    return name in words or any(name.startswith(word) for word in begun)


def _cut_icons(static: Path, css: str) -> None:
    """Leave in the font of icons those that the style sheets still name."""
    path = static / f"{_ICON_FONT}.ttf"
    if not path.is_file():
        return
    wanted = {ord(character) for character in css if "\ue000" <= character <= "\uf8ff"}  # icons live where Unicode leaves room
    font = TTFont(path, recalcTimestamp=False)
    if set(font.getBestCmap() or ()) <= wanted:
        return
    cutter = subset.Subsetter()
    cutter.populate(unicodes=wanted)
    cutter.subset(font)
    font.save(path)


def _drawing(svg: str) -> str:
    """A figure of Matplotlib in fewer bytes: without its metadata, numbers to a hundredth of a point."""
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(?<= [dxy]=")[^"]+|(?<=translate\()[^)]+', lambda places: _LONG.sub(_short, places[0]), svg)
    return re.sub(r"\n\s*", "\n", svg)


def _short(number: re.Match) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
