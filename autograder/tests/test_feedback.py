"""The feedback page: what a student reads, whatever strangers wrote into it."""

import base64
import json
import struct
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from autograder.errors import CourseError
from autograder.feedback import MOST_BYTES, STATUS, feedback_page, write_feedback
from autograder.outcome import png
from autograder.plain import bounded, one_line, plain
from autograder.recorded import CellGrade, Recorded
from autograder.verdict import GRADED, MALFORMED, MISSING, STATUSES, TAMPERED, TIMEOUT, Part, Verdict
from lmkit.check import Result

pytestmark = pytest.mark.slow  # for who changes the grader, not for who writes a chapter

ANSWER = CellGrade(None, None, 0.0, 2.0, True, True)


def record(comments=None, names=("Anna", "Löwe"), late=0.0, **cells):
    """What the gradebook holds of the toy submission below; cells by their grade id's end."""
    visible, hidden = CellGrade(4.0, None, 0.0, 4.0, False, False), CellGrade(3.0, None, 0.0, 6.0, False, False)
    held = {"double_visible": visible, "double_hidden": hidden, "why": ANSWER}
    by_id = {f"toy-{name.replace('_', '-')}": cell for name, cell in (held | cells).items()}
    return Recorded("anna", *names, "", "", None, late, by_id, comments or {})


class Page(HTMLParser):
    """Collects a page's tags, attributes and text. Every tag must be closed, but for the void ones."""

    VOID = ("meta", "img", "br", "hr", "link", "input")

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.open += [] if tag in self.VOID else [tag]
        self.texts += [" "] if tag in ("td", "th") else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append("" if self.open[-1:] == ["style"] else data)

    @property
    def text(self):
        return " ".join("".join(self.texts).split())

    def values(self, tag, name):
        return [value for one, attribute, value in self.attributes if (one, attribute) == (tag, name)]


def image(width=2, height=2, filler=b""):
    """A PNG of one colour, as base64."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"".join(b"\0" + b"\0" * 3 * width for _ in range(min(height, 10))))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"tEXt", filler) + chunk(b"IEND", b"")).decode()


def cell(source, kind="code", outputs=(), **mark):
    metadata = {"nbgrader": mark} if mark else {}
    return {"cell_type": kind, "source": source, "metadata": metadata} | ({"outputs": list(outputs)} if kind == "code" else {})


def notebook(code="def double(x): return 2 * x", outputs=(), answer="Because.", other_outputs=(), other="double(3)"):
    return json.dumps({"cells": [
        cell("# Toy\n\n## 1.1 Double", "markdown"),
        cell(code, outputs=outputs, grade_id="toy-double", solution=True, grade=False),
        cell("VISIBLE CHECK SOURCE", outputs=[stream("CHECK OUTPUT")], grade_id="toy-double-visible", solution=False, grade=True, points=4),
        cell("HIDDEN CHECK SOURCE", outputs=[stream("CHECK OUTPUT")], grade_id="toy-double-hidden", solution=False, grade=True, points=6),
        cell(other, outputs=other_outputs),
        cell("## 1.2 Why", "markdown"),
        cell(answer, "markdown", grade_id="toy-why", solution=True, grade=True, points=2),
    ]})  # fmt: skip


def stream(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def picture(data, kind="image/png", **more):
    return {"output_type": "display_data", "data": {kind: data, **more}}


def verdict(message="", title="Many numbers", failed="some numbers are not doubled", status=GRADED, notes=(), **of_notebook):
    parts = (
        Part("toy-double-visible", "double", False, (Result("check_two", "Two numbers", 4.0, True, ""),)),
        Part("toy-double-hidden", "double", True, (Result("check_many", title, 3.0, False, failed), Result("c", "Zero", 3.0, True, ""))),
    )
    return Verdict("anna", "01_toy", status, message, tuple(notes), parts, notebook(**of_notebook))


def test_the_page_says_points_checks_messages_code_and_output():
    text = Page(feedback_page(verdict(outputs=[stream("seen 3\n")]), record())).text
    for expected in ("Anna Löwe (anna)", "So far 7 of 12", "1.1 Double", "7 of 10 points", "✔passed Two numbers (4 points)",
                     "✘failed Many numbers (3 points, hidden check)", "some numbers are not doubled", "def double(x): return 2 * x",
                     "seen 3", "Waits for a person · worth 2 points", "Because."):  # fmt: skip
        assert expected in text


def test_a_persons_points_and_comments_stand_in_the_page():
    why, hidden = CellGrade(None, 1.5, 0.0, 2.0, False, True), CellGrade(3.0, 5.0, 0.0, 6.0, False, False)
    graded = record({"toy-why": "Say why.", "toy-double": "A good try."}, why=why, double_hidden=hidden)
    text = Page(feedback_page(verdict(), graded)).text
    for expected in ("1.5 of 2 points, given by a person", "Say why.", "9 of 10 points", "A good try.",
                     "gave 5 points for the hidden checks, instead of 3", "Total 10.5 of 12"):  # fmt: skip
        assert expected in text
    assert "waits for a person" not in text.lower()


def test_an_answer_left_blank_was_not_read_by_a_person():
    text = Page(feedback_page(verdict(), record(why=CellGrade(0.0, None, 0.0, 2.0, False, True)))).text
    assert "0 of 2 points: there was nothing to read" in text
    assert "by a person" not in text


def test_points_lost_for_being_late_are_told():
    text = Page(feedback_page(verdict(), record(late=2.5))).text
    assert "So far 4.5 of 12" in text
    assert "2.5 points less, as the work was handed in late" in text


def test_without_a_gradebook_the_points_are_those_of_the_checks():
    assert "Total 7 of 10" in Page(feedback_page(verdict())).text


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_is_told_in_words_with_what_to_do(status):
    label, meaning = STATUS[status]
    text = Page(feedback_page(verdict("cell 3 was stopped", status=status), record())).text
    assert f"{label}. {meaning} cell 3 was stopped" in text


@pytest.mark.parametrize("status", [MALFORMED, MISSING])
def test_a_submission_that_was_not_graded_has_no_points_rather_than_0(status):
    text = Page(feedback_page(Verdict("ben", "01_toy", status, "the file is not JSON"))).text
    assert "the file is not JSON" in text
    assert "not 0 points" in text
    assert "hand" in text
    assert "Total" not in text
    assert " of 0" not in text


def test_nothing_of_a_check_cell_is_shown():
    page = feedback_page(verdict(), record())
    assert "CHECK SOURCE" not in page
    assert "CHECK OUTPUT" not in page


def test_other_cells_are_shown_where_they_have_output():
    assert "Output of your other cells" in Page(feedback_page(verdict(other_outputs=[stream("6")]))).text
    assert "Output of your other cells" not in Page(feedback_page(verdict())).text


def test_a_page_has_headings_in_order_a_language_and_a_policy_that_forbids_all_loading():
    page = Page(feedback_page(verdict(other_outputs=[stream("6")]), record()))
    levels = [int(tag[1]) for tag in page.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.values("html", "lang") == ["en"]
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page.values("meta", "content")
    assert set(page.values("a", "href")) <= {f"#{name}" for tag in ("h2",) for name in page.values(tag, "id")}


HOSTILE = {
    "a script": "<script>alert(1)</script>",
    "an attribute": "\"'><img src=x onerror=alert(1)>",
    "the end of what it stands in": "</code></pre></style></title></textarea>--><iframe src=//x></iframe>",
    "a link": '<a href="javascript:alert(1)">here</a><svg onload=alert(1)>',
    "a template": "{{7*7}}{% raw %}{{ self._TemplateReference__context }}",
    "CDATA": "]]><![CDATA[<script>]]>",
    "NULs": "\0<scr\0ipt>\0",
    "bidi": "\u202egnp.exe\u2066\u2069\u200f",
    "half a surrogate pair": "\ud800\udfff",
    "colours": "\x1b[31m<b>red</b>\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07",
    "5 MB": "<\"'&" * 1_250_000,
    "100,000 lines": "<\n" * 100_000,
    "wide characters": "\U0001f600" * 1_000_000,
    "escapes without an end": "\x1b[" * 200_000 + "\x1b]" * 200_000,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_in_every_place_stays_text(kind):
    text = HOSTILE[kind]
    one = verdict(text, text, text, TIMEOUT, [text] * 100, code=text, answer=text, other=text,
                  outputs=[stream(text), picture(text), {"output_type": "error", "ename": text, "evalue": text, "traceback": [text]}],
                  other_outputs=[picture(text, "text/html"), picture(text, "image/svg+xml"), stream(text)])  # fmt: skip
    named = replace(one, student=text, chapter=text, parts=tuple(replace(part, exercise=text) for part in one.parts))
    html = feedback_page(named, record({"toy-why": text, "toy-double": text}, (text, text)))
    assert len(html.encode("utf-8")) <= MOST_BYTES
    page = Page(html)
    harmless = {"html", "head", "meta", "title", "style", "body", "header", "main", "section", "div", "h1", "h2", "h3", "p", "span",
                "strong", "bdi", "code", "pre", "table", "thead", "tbody", "tfoot", "tr", "th", "td", "ul", "li", "a"}  # fmt: skip
    assert set(page.tags) <= harmless
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name in ("style", "src", "srcdoc", "action")]
    assert all(value.startswith("#") for value in page.values("a", "href"))
    assert not [letter for letter in html if letter in "\0\x1b\u202e\u2066\u200f"]
    assert kind != "a template" or "{{7*7}}" in page.text


def test_a_page_full_of_everything_stays_within_the_bound():
    text = '"' * 100_000
    results = tuple(Result(f"check_{i}", text, 1.0, False, text) for i in range(1_000))
    parts = tuple(Part(f"toy-e{i}-hidden", f"e{i}", True, results) for i in range(20))
    pictures = [picture(image(filler=bytes(100_000)))] * 3
    cells = [cell(text, outputs=[stream(text), *pictures], grade_id=f"toy-e{i}", solution=True) for i in range(20)]
    cells += [cell(text, outputs=[stream(text)] * 3) for _ in range(300)]
    full = Verdict(text, text, GRADED, text, (text,) * 5_000, parts, json.dumps({"cells": cells}))
    size = len(feedback_page(full, record({f"toy-e{i}": text for i in range(20)})).encode("utf-8"))
    assert 300_000 < size <= MOST_BYTES


def test_a_flood_of_output_pushes_out_no_message_and_no_answer():
    html = feedback_page(verdict(outputs=[stream("flood\n" * 1_000_000)] * 3, answer="my whole answer"), record())
    text = Page(html).text
    for kept in ("some numbers are not doubled", "my whole answer", "def double(x)"):
        assert kept in text
    assert "characters more" in text


def test_a_cut_text_says_how_much_is_left_out():
    assert bounded("abcdef", 4) == "abcd\n… 2 characters more"
    assert bounded("a\n" * 10, 100, lines=3) == "a\na\na\n… 15 characters more"
    assert bounded("a" * 1_000_000, 10).endswith("… 999,990 characters more")
    assert bounded("abc", 3) == "abc"


def test_text_of_strangers_loses_colours_and_shows_its_control_characters():
    assert plain("\x1b[1;31mred\x1b[0m\r\nnext\rlast") == "red\nnext\nlast"
    assert plain("a\u202eb\0") == "a⟨U+202E⟩b⟨U+0000⟩"
    assert plain("שלום 👩\u200d💻\tx") == "שלום 👩\u200d💻\tx"
    assert one_line(" a\n b " + "c" * 10, 8) == "a b ccc…"


def test_a_real_image_is_shown_and_only_that():
    good = image()
    shown = Page(feedback_page(verdict(outputs=[picture(base64.encodebytes(base64.b64decode(good)).decode())]))).values("img", "src")
    assert shown == [f"data:image/png;base64,{good}"]


NO_IMAGES = {
    "no base64": "?" * 40,
    "svg": base64.b64encode(b"<svg onload='alert(1)'/>" * 3).decode(),
    "HTML": "<img src=x>",
    "a PNG in base64 with other signs in it": image()[:40] + "!" * 4 + image()[40:],
    "no header": base64.b64encode(base64.b64decode(image()).replace(b"IHDR", b"tEXt")).decode(),
    "a start alone": base64.b64encode(b"\x89PNG\r\n\x1a\n").decode(),
    "too many bytes": image(filler=bytes(200_000)),
    "far too many bytes": "A" * 5_000_000,
    "too many pixels": image(width=5_000, height=5),
    "no pixels": image(width=0),
    "letters beyond ASCII": "é" * 40,
    "nothing": "",
}


@pytest.mark.parametrize("kind", NO_IMAGES)
def test_what_is_no_small_png_is_left_out(kind):
    assert png(NO_IMAGES[kind]) == ""
    assert "img" not in Page(feedback_page(verdict(outputs=[picture(NO_IMAGES[kind])]))).tags


ODD_NOTEBOOKS = ["", "{", "[]", "null", '{"cells": 3}', '{"cells": [3, null, {}]}', "[" * 100_000,
                 json.dumps({"cells": [cell("x", outputs=[3, None, {"data": 3}, {"text": {"a": 1}}], grade_id=["x"], solution=True)]}),
                 json.dumps({"cells": [{"cell_type": "code", "source": 3, "metadata": [], "outputs": {"a": 1}}]})]  # fmt: skip


@pytest.mark.parametrize("text", ODD_NOTEBOOKS)
def test_an_odd_notebook_leaves_the_checks_on_the_page(text):
    assert "Many numbers" in Page(feedback_page(replace(verdict(), notebook=text), record())).text


def test_feedback_is_written_whole_where_nbgrader_puts_it(tmp_path):
    path = write_feedback(tmp_path, "01_toy", verdict(), record())
    assert path == tmp_path / "feedback" / "anna" / "01_toy" / "exercises.html"
    assert path.read_text(encoding="utf-8") == feedback_page(verdict(), record())
    assert [one.name for one in path.parent.iterdir()] == ["exercises.html"]


def test_feedback_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "feedback").write_text("a file")
    with pytest.raises(CourseError, match="cannot be written"):
        write_feedback(tmp_path, "01_toy", verdict(status=TAMPERED))
