"""Makes the review cards of the whole book a deck for Anki: a new edition of it changes a learner's cards and doubles none."""

import io
import re
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from html import escape
from pathlib import Path

import genanki
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.myst_role import myst_role_plugin

from autograder.cards import DECK, read_cards
from autograder.errors import CourseError
from autograder.layout import ROOT, Chapter, chapters

TITLE = "Language Models by Hand"
# By these numbers and by the ids of the cards Anki knows again what a learner has already: they never change.
DECK_ID, MODEL_ID = 1_763_800_000, 1_763_800_100
STYLE = """.card { font-family: sans-serif; font-size: 20px; line-height: 1.45; max-width: 40em; margin: 0 auto; padding: 1em; }
pre { text-align: left; overflow-x: auto; padding: 0.6em; border: 1px solid #8888; border-radius: 6px; }
table { border-collapse: collapse; } td, th { border: 1px solid #8888; padding: 0.2em 0.5em; }
.chapter { font-size: 14px; opacity: 0.75; }"""
QUESTION = '<div class="chapter">{{Chapter}}</div>\n{{Question}}'
_YEAR = re.compile(r"(\d{4}[a-z]?)$")


def deck(root: Path = ROOT) -> bytes:
    """The cards of all chapters as a file for Anki, with a subdeck a chapter; the same files make the same bytes."""
    model = _model()
    decks = [genanki.Deck(DECK_ID, TITLE)] + [_subdeck(chapter, model) for chapter in chapters(root)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / DECK
        genanki.Package(decks).write_to_file(str(path), timestamp=_edition(root))
        return _without_times(path)


def to_html(text: str, *, inline: bool = False) -> str:
    """Markdown of a card as HTML for Anki: mathematics in its brackets, words for roles and links, code as it is."""
    return _markdown().renderInline(text) if inline else _markdown().render(re.sub(r"^:{3,}.*\n?", "", text, flags=re.MULTILINE)).strip()


def _edition(root: Path) -> int:
    """When a card was last changed. Anki takes over what is newer than what it has, so this must grow with each edition."""
    sources = [Path(__file__), *(chapter.folder / "cards.yml" for chapter in chapters(root))]
    return max(int(path.stat().st_mtime) for path in sources)


def _model() -> genanki.Model:
    templates = [{"name": "Card", "qfmt": QUESTION, "afmt": '{{FrontSide}}\n<hr id="answer">\n{{Answer}}'}]
    fields = [{"name": name} for name in ("Question", "Answer", "Chapter")]
    return genanki.Model(MODEL_ID, TITLE, fields=fields, templates=templates, css=STYLE)


def _subdeck(chapter: Chapter, model: genanki.Model) -> genanki.Deck:
    lesson = (chapter.folder / "lesson.md").read_text(encoding="utf-8")
    heading = re.search(r"^# (.+)$", lesson, re.MULTILINE)
    if heading is None:
        raise CourseError(f"chapters/{chapter.name}/lesson.md must begin with a title, as in `# Word vectors`")
    title = f"{chapter.number:02d} {heading[1].strip()}"
    made = genanki.Deck(DECK_ID + chapter.number, f"{TITLE}::{title}")
    for place, card in enumerate(read_cards(chapter.folder / "cards.yml")):
        fields = [to_html(card.question, inline=True), to_html(card.answer), escape(title)]
        guid = genanki.guid_for("language-models-by-hand", card.id)
        made.add_note(genanki.Note(model, fields, tags=[chapter.name], guid=guid, due=100 * chapter.number + place))
    return made


def _without_times(path: Path) -> bytes:
    """The file packed again, smaller, and without the time of day of its parts."""
    packed = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in sorted(old.namelist()):
            new.writestr(zipfile.ZipInfo(name), old.read(name), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


@cache
def _markdown() -> MarkdownIt:
    """Markdown as the pages have it, as far as cards use it."""
    markdown = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin).use(myst_role_plugin)
    for name, render in _RENDERED.items():
        markdown.add_render_rule(name, lambda self, tokens, i, options, env, render=render: render(tokens[i]))
    return markdown


def _role(token: Token) -> str:
    """The words that a role stands for: its text, else its target; of a citation, author and year."""
    name = token.meta["name"]
    if name in ("code", "math"):
        return f"<code>{escape(token.content)}</code>" if name == "code" else _RENDERED["math_inline"](token)
    text, _, target = token.content.partition("<")
    words = text.strip() if target and text.strip() else token.content.strip("<>! ")
    if name == "doc":
        words = words.rpartition("/")[2]
    if name.startswith("cite"):
        words = "; ".join(_YEAR.sub(r" \1", key.strip()).capitalize() for key in words.split(","))
    return escape(words)


_RENDERED: dict[str, Callable[[Token], str]] = {
    "math_inline": lambda token: rf"\({escape(token.content, quote=False)}\)",
    "math_block": lambda token: rf"\[{escape(token.content.strip(), quote=False)}\]" + "\n",
    "math_block_label": lambda token: rf"\[{escape(token.content.strip(), quote=False)}\]" + "\n",
    "myst_role": _role,
    "link_open": lambda token: "",
    "link_close": lambda token: "",
}
