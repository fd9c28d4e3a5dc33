"""Inspects a built book: requests to other machines, broken links, images without a description, bare headings, heavy pages."""

import re
from collections import defaultdict
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HEAVIEST = 2_000_000  # bytes of a page and of all that it loads
_LOADS = {  # element: the attribute whose address a browser loads unasked
    "script": "src", "img": "src", "iframe": "src", "audio": "src", "video": "src", "source": "src", "track": "src",
    "embed": "src", "input": "src", "object": "data", "image": "href", "use": "href",
}  # fmt: skip
_RANKS = {f"h{rank}": rank for rank in range(1, 7)}
_WITHIN = {"style", "script", *_RANKS}
_LINKED = {"stylesheet", "icon", "apple-touch-icon", "preload", "prefetch", "modulepreload", "preconnect", "dns-prefetch", "manifest"}


class _Html(HTMLParser):
    """Collects what one page refers to."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: set[str] = {"", "top"}
        self.links: list[str] = []
        self.loads: list[str] = []
        self.undescribed: list[str] = []  # images without an alternative text
        self.bare: list[str] = []  # headings that a heading of the same or a higher rank follows at once
        self.heading: tuple[int, str] | None = None  # rank and text of the last one, as long as nothing stands below it
        self.article = 0  # how deep inside of <article> the parser is
        self.within: str = ""  # style, script, a heading, or the link beside one
        self.svg: list[dict[str, str]] = []  # the drawings that the parser is in
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.ids |= {attributes[name] for name in ("id", "name") if name in attributes and (name == "id" or tag == "a")}
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        self.loads += _loaded_by(tag, attributes)
        if tag == "img" and (not attributes.get("alt", "").strip() or "_images/" in attributes["alt"]) and "aria-hidden" not in attributes:
            self.undescribed.append(f"image {attributes.get('src', '')[:80]}")
        if tag == "svg":
            self.svg.append(attributes)
        if tag == "title" and self.svg:
            self.svg[-1]["aria-label"] = "its title"
        if tag in ("img", "svg", "input", "video", "iframe"):
            self.heading = None
        if tag in _WITHIN or "headerlink" in attributes.get("class", ""):
            self.within = tag
        if tag == "article":
            self.article += 1
        if tag in _RANKS and self.article:
            self._end_heading(_RANKS[tag])
            self.heading = (_RANKS[tag], "")

    def handle_endtag(self, tag: str) -> None:
        if tag == self.within:
            self.within = ""
        if tag == "article":
            self.article -= 1
            self._end_heading(0)
        if tag == "svg" and self.svg:
            drawing = self.svg.pop()
            if not drawing.keys() & {"aria-label", "aria-labelledby", "aria-hidden"} and not self.svg:
                self.undescribed.append(f"drawing {drawing.get('id') or drawing.get('class') or '<svg>'}")

    def handle_data(self, data: str) -> None:
        if self.within == "style":
            self.loads += css_loads(data)
        elif self.within in _RANKS and self.heading:
            self.heading = (self.heading[0], self.heading[1] + data)
        elif not self.within and data.strip():
            self.heading = None

    def _end_heading(self, rank: int) -> None:
        """A heading of this rank begins, or the text ends (rank 0)."""
        if self.heading and rank <= self.heading[0]:
            self.bare.append(self.heading[1].strip())
        self.heading = None


def _loaded_by(tag: str, attributes: dict[str, str]) -> Iterator[str]:
    """What an element makes a browser load."""
    if tag == "link" and _LINKED & set(attributes.get("rel", "").split()):
        yield attributes.get("href", "")
    if attribute := _LOADS.get(tag):
        yield from (attributes[name] for name in (attribute, f"xlink:{attribute}", "poster") if attributes.get(name))
    yield from (candidate.split()[0] for candidate in attributes.get("srcset", "").split(",") if candidate.strip())
    yield from css_loads(attributes.get("style", ""))
    if tag == "meta" and attributes.get("http-equiv", "").lower() == "refresh" and "url=" in attributes.get("content", "").lower():
        yield re.split("url=", attributes["content"], flags=re.IGNORECASE)[1]


def css_loads(css: str) -> list[str]:
    """What a style sheet makes a browser load: url(...) and @import."""
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    found = re.findall(r"url\(\s*[\"']?([^\"')]+)", css) + re.findall(r"@import\s+[\"']([^\"']+)", css)
    return [url.strip() for url in found]


def inspect(html: Path) -> list[str]:
    """What is wrong with a built book, a sentence each: requests, links, images without a description, bare headings, heavy pages."""
    problems: list[str] = []
    pages = {path: _Html(path.read_text(encoding="utf-8")) for path in sorted(html.rglob("*.html")) if "_static" not in path.parts}
    for path, page in pages.items():
        name = path.relative_to(html).as_posix()
        problems += _loads_wrongly(name, page.loads, path.parent)
        problems += [f"{name}: the {image} has no alternative text" for image in page.undescribed]
        problems += [f"{name}: nothing stands between the heading “{heading}” and the next; write a sentence" for heading in page.bare]
        size = weight(path, page.loads)
        if size > HEAVIEST:
            problems.append(f"{name} weighs {size / 1e6:.2f} MB with what it loads, more than {HEAVIEST / 1e6:g} MB; draw or compute less")
        problems += _links_wrongly(name, path, pages)
    for path in sorted(html.rglob("*.css")):
        problems += _loads_wrongly(path.relative_to(html).as_posix(), css_loads(path.read_text(encoding="utf-8")), path.parent)
    for path in sorted(html.rglob("*.svg")):
        problems += _loads_wrongly(path.relative_to(html).as_posix(), _Html(path.read_text(encoding="utf-8")).loads, path.parent)
    return problems


def weight(path: Path, loads: list[str]) -> int:
    """The bytes of a page and of what it names; of MathJax also what that loads. The fonts only a browser knows: see review.py."""
    files = {path} | {(path.parent / unquote(urlsplit(url).path)).resolve() for url in loads if not urlsplit(url).scheme and url[:1] != "#"}
    for folder in {file.parent for file in files if file.parent.name == "mathjax"}:
        files |= {file for file in folder.rglob("*.js") if "extensions" not in file.parts}
    return sum(file.stat().st_size for file in files if file.is_file())


def external_links(html: Path) -> dict[str, list[str]]:
    """Every address outside of the book that its pages link to, and the pages that do."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(html.rglob("*.html")):
        for address in sorted(set(re.findall(r'<a\b[^>]*\bhref="(https?://[^"]+)"', path.read_text(encoding="utf-8")))):
            found[unescape(address)].append(path.relative_to(html).with_suffix("").as_posix())
    return dict(sorted(found.items()))


def _links_wrongly(name: str, path: Path, pages: dict[Path, _Html]) -> Iterator[str]:
    for link in dict.fromkeys(pages[path].links):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
        if not target.is_file():
            yield f"{name}: the link {link} leads nowhere"
        elif target in pages and unquote(parts.fragment) not in pages[target].ids:
            yield f"{name}: the link {link} names a place that its page does not have"


def _loads_wrongly(name: str, urls: list[str], folder: Path) -> Iterator[str]:
    for url in dict.fromkeys(urls):
        parts = urlsplit(url)
        if parts.scheme == "data" or url.startswith("#"):
            continue
        if parts.scheme or parts.netloc or parts.path.startswith("/"):
            yield f"{name} loads {url}: the book must open without a network, so everything it loads has a relative address"
        elif not (folder / unquote(parts.path)).is_file():
            yield f"{name} loads {url}, which is not there"
