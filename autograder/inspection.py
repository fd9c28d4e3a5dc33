"""Inspects a built book: requests to other machines, broken links, images without a description."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADS = {  # element: the attribute whose address a browser loads unasked
    "script": "src", "img": "src", "iframe": "src", "audio": "src", "video": "src", "source": "src", "track": "src",
    "embed": "src", "input": "src", "object": "data", "image": "href", "use": "href",
}  # fmt: skip
_LINKED = {"stylesheet", "icon", "apple-touch-icon", "preload", "prefetch", "modulepreload", "preconnect", "dns-prefetch", "manifest"}


class _Html(HTMLParser):
    """Collects what one page refers to."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: set[str] = {"", "top"}
        self.links: list[str] = []
        self.loads: list[str] = []
        self.undescribed: list[str] = []  # images without an alternative text
        self.in_style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.ids |= {attributes[name] for name in ("id", "name") if name in attributes and (name == "id" or tag == "a")}
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        if tag == "link" and _LINKED & set(attributes.get("rel", "").split()):
            self.loads.append(attributes.get("href", ""))
        if attribute := _LOADS.get(tag):
            self.loads += [attributes[name] for name in (attribute, f"xlink:{attribute}", "poster") if attributes.get(name)]
        self.loads += [candidate.split()[0] for candidate in attributes.get("srcset", "").split(",") if candidate.strip()]
        self.loads += css_loads(attributes.get("style", ""))
        if tag == "meta" and attributes.get("http-equiv", "").lower() == "refresh" and "url=" in attributes.get("content", "").lower():
            self.loads.append(re.split("url=", attributes["content"], flags=re.IGNORECASE)[1])
        if tag == "img" and (not attributes.get("alt", "").strip() or "_images/" in attributes["alt"]) and "aria-hidden" not in attributes:
            self.undescribed.append(attributes.get("src", ""))
        self.in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self.in_style = False

    def handle_data(self, data: str) -> None:
        if self.in_style:
            self.loads += css_loads(data)


def css_loads(css: str) -> list[str]:
    """What a style sheet makes a browser load: url(...) and @import."""
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    found = re.findall(r"url\(\s*[\"']?([^\"')]+)", css) + re.findall(r"@import\s+[\"']([^\"']+)", css)
    return [url.strip() for url in found]


def inspect(html: Path) -> list[str]:
    """What is wrong with a built book, a sentence each: requests to other machines, broken links, images without a description."""
    problems: list[str] = []
    pages = {path: _Html(path.read_text(encoding="utf-8")) for path in sorted(html.rglob("*.html")) if "_static" not in path.parts}
    for path, page in pages.items():
        name = path.relative_to(html).as_posix()
        problems += _loads_wrongly(name, page.loads, path.parent)
        problems += [f"{name}: the image {image} has no alternative text" for image in page.undescribed]
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            if not target.is_file():
                problems.append(f"{name}: the link {link} leads nowhere")
            elif target in pages and unquote(parts.fragment) not in pages[target].ids:
                problems.append(f"{name}: the link {link} names a place that its page does not have")
    for path in sorted(html.rglob("*.css")):
        problems += _loads_wrongly(path.relative_to(html).as_posix(), css_loads(path.read_text(encoding="utf-8")), path.parent)
    for path in sorted(html.rglob("*.svg")):
        problems += _loads_wrongly(path.relative_to(html).as_posix(), _Html(path.read_text(encoding="utf-8")).loads, path.parent)
    return problems


def _loads_wrongly(name: str, urls: list[str], folder: Path) -> Iterator[str]:
    for url in dict.fromkeys(urls):
        parts = urlsplit(url)
        if parts.scheme == "data" or url.startswith("#"):
            continue
        if parts.scheme or parts.netloc or parts.path.startswith("/"):
            yield f"{name} loads {url}: the book must open without a network, so everything it loads has a relative address"
        elif not (folder / unquote(parts.path)).is_file():
            yield f"{name} loads {url}, which is not there"
