"""The book in a real browser: what the review finds on pages made wrong on purpose, and that it finds nothing in the book."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autograder import review
from autograder.errors import CourseError
from autograder.layout import ROOT
from autograder.node import packages
from autograder.review import HTML, Seen, State, chromium, letters, look, pages, requests, unfound
from autograder.tests.postgres import missing

pytestmark = pytest.mark.slow
STATES = (State("wide", "light"), State("phone", "dark"))  # those that differ most; the command looks at six
PAGE = """<!doctype html><html lang="en"><head><title>A page</title><meta name="viewport" content="width=device-width"></head>
<body style="margin: 0; font-size: 16px"><main><article><h1>A page</h1><p>Its words.</p>{}</article></main></body></html>"""
DOT = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 40"><g transform="scale({} -0.1)"><path d="M 0 0 L 9 9"/></g></svg>'
LONG = "one_very_long_line_of_code " * 60
MATH = (
    '<div class="math" style="{}"><mjx-container style="display: block"><mjx-math style="display: block; {}">x</mjx-math>'
    "</mjx-container></div>"
)
PIECE = """<div class="lm-piece" data-piece="toy" data-title="A piece"><img class="lm-static" alt="A dot." src="dot.svg">
<script type="application/json">{{"text": "seen"}}</script></div><script src="common.js"></script><script>
lmPiece("toy", (box, data, ui) => {{
  const said = ui.live();
  const many = ui.slider("How many", {{ min: 0, max: 9, step: 1, value: 3 }}, (n) => {{ said.textContent = `${{data.text}} ${{n}}`; }});
  box.append(many.element, said{});
}});</script>"""


@pytest.fixture(scope="module")
def axe() -> str:
    try:
        return (packages() / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    except CourseError as error:
        missing(str(error))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(chromium())
        except CourseError as error:
            missing(str(error))
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for a page, with pictures beside it."""
    (tmp_path / "dot.svg").write_text(DOT.format("0.1"), encoding="utf-8")
    (tmp_path / "tiny.svg").write_text(DOT.format("0.05"), encoding="utf-8")
    (tmp_path / "heavy.js").write_text(f"// {'-' * review.HEAVIEST}", encoding="utf-8")
    (tmp_path / "common.js").write_bytes((ROOT / "book" / "_static" / "pieces" / "common.js").read_bytes())
    return tmp_path


def write(folder: Path, body: str) -> Path:
    (folder / "page.html").write_text(PAGE.format(body), encoding="utf-8")
    return folder


FINE = [
    f'<pre tabindex="0" style="overflow-x: auto">{LONG}</pre>',
    '<img alt="A dot." src="dot.svg" width="360">',
    MATH.format("overflow-x: auto", "width: 900px").replace("<div", '<div tabindex="0"'),
    '<div style="overflow-x: auto" tabindex="0"><table><tr><td style="min-width: 900px">wide</td></tr></table></div>',
]
WRONG = [
    (f"<pre>{LONG}</pre>", "page too wide", "because of pre"),
    ('<div style="width: 300px"><table><tr><td style="min-width: 900px">wide</td></tr></table></div>', "page too wide", "td"),
    (f'<div style="width: 300px"><span style="display: block; width: 320px">{LONG}</span></div>', "too wide", "div"),
    (f'<div style="overflow: hidden; height: 40px">{LONG}</div>', "cut", "of its height"),
    (MATH.format("overflow: hidden; height: 10px", "height: 40px"), "equation", "is cut above or below"),
    (MATH.format("", "width: 900px"), "equation", "out of the screen"),
    ('<mjx-container><mjx-merror title="Undefined control sequence">x</mjx-merror></mjx-container>', "equation", "Undefined control"),
    ('<img alt="A dot." src="tiny.svg" width="360">', "small text", "letters of 4.5 px"),
    ('<svg role="img" aria-label="A"><text y="9" font-size="5">abc</text></svg>', "small text", "the text abc"),
    ('<img alt="Gone." src="gone.svg">', "image", "gone.svg did not load"),
    ('<img src="dot.svg" width="360">', "axe", "image-alt"),
    ('<p style="color: #ccc; background: #fff">pale words</p>', "axe", "color-contrast"),
    ('<div class="highlight"><pre><span class="k" style="color: #777; background: #888">if</span></pre></div>', "axe", "color-contrast"),
    ("<button></button>", "axe", "button-name"),
    ("<script>throw new Error('a fault')</script>", "console", "a fault"),
    ("<script>fetch('https://api.example.org/q')</script>", "request", "https://api.example.org/q"),
    ('<script src="heavy.js"></script>', "weight", "weighs 2.00 MB"),
]


def seen(browser: Any, folder: Path, body: str, axe: str) -> Seen:
    return look(browser, write(folder, body), "page", STATES, axe)


def test_a_page_that_fits_passes(browser, axe, folder):
    assert seen(browser, folder, "".join(FINE), axe).problems == ()


@pytest.mark.parametrize(("body", "kind", "says"), WRONG)
def test_what_is_wrong_is_found(browser, axe, folder, body, kind, says):
    found = [problem for problem in seen(browser, folder, body, axe).problems if problem.kind == kind]
    assert any(says in problem.sentence for problem in found), found


def test_a_problem_stands_once_with_its_states(browser, axe, folder):
    (found,) = seen(browser, folder, '<img alt="A dot." src="tiny.svg" width="360">', axe).problems
    assert found.states == ("wide light", "phone dark")


def test_the_pages_are_those_of_the_folder(tmp_path):
    with pytest.raises(CourseError, match="the book is not built yet"):
        pages(tmp_path)
    write(tmp_path, "")
    assert pages(tmp_path) == ["page"]
    with pytest.raises(CourseError, match="no page lesson; its pages are page"):
        pages(tmp_path, ["lesson"])


def test_the_smallest_letters_of_a_picture():
    assert letters(DOT.format("0.1")) == pytest.approx(10 / 400)
    assert letters('<svg viewBox="0 0 200 90"><text font-size="8">a</text><text style="font: 12px sans">b</text></svg>') == 8 / 200
    assert letters('<svg viewBox="0 0 200 90"/>') == 0


# ------------------------------------------------------------------------------------------------------- pieces on a page

CONTROLS = "input, select, button, textarea, summary, a[href], [tabindex='0']"
STATE = """
const copy = arguments[0].querySelector(".lm-box").cloneNode(true);
copy.querySelectorAll(".lm-control, button").forEach((one) => one.replaceWith(one.getAttribute("aria-pressed") ?? ""));
return copy.innerHTML;
"""


def check_pieces(browser: Any, address: str) -> int:
    """Assert that every piece of a page works by keyboard; return how many there are."""
    browser.get_log("browser")
    browser.get(address)
    browser.execute_async_script(review.SETTLE)
    pieces = browser.find_elements("css selector", ".lm-piece")
    for piece in pieces:
        name = f"{address}: the piece {piece.get_attribute('data-piece')}"
        assert piece.get_attribute("data-ready") == "", f"{name} did not start"
        assert not piece.find_element("css selector", ".lm-static").is_displayed(), f"{name} still shows its picture"
        check_keyboard(browser, piece, name)
    errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == [], f"{address}: {errors}"
    return len(pieces)


def check_keyboard(browser: Any, piece: Any, name: str) -> None:
    """Tab reaches each control of a piece, and the keys that belong to it change what the piece shows."""
    from selenium.webdriver.common.keys import Keys

    controls = [one for one in piece.find_elements("css selector", CONTROLS) if one.is_displayed() and one.is_enabled()]
    assert controls, f"{name} has no control"
    stops = [control for control in controls if control.get_attribute("tabindex") != "-1"]
    browser.execute_script("arguments[0].focus()", stops[0])
    for control in stops[1:]:
        browser.switch_to.active_element.send_keys(Keys.TAB)
        assert browser.switch_to.active_element == control, f"{name}: Tab does not reach {control.get_attribute('outerHTML')[:80]}"
    reached = [one for stop in stops for one in by_arrow(browser, stop)]
    lost = [control.get_attribute("outerHTML")[:80] for control in controls if control not in stops and control not in reached]
    assert not lost, f"{name}: Tab does not reach {lost[0]}, nor do the arrow keys"
    idle = controls
    for order in (controls, controls[::-1], controls):  # a button may wait for another control, such as Back for Next
        changed = [control for control in order if changes(browser, piece, control)]
        idle = [control for control in idle if control not in changed]
        if not idle:
            return
    assert idle == [], f"{name}: these controls change nothing: {[control.get_attribute('outerHTML')[:80] for control in idle]}"


def by_arrow(browser: Any, stop: Any) -> list[Any]:
    """What the arrows reach from a button, in a row of buttons of which Tab reaches one."""
    from selenium.webdriver.common.keys import Keys

    row = browser.execute_script("return [...arguments[0].parentElement.querySelectorAll(':scope > [tabindex=\"-1\"]')]", stop)
    reached = []
    browser.execute_script("arguments[0].focus()", stop)
    for key in (*[Keys.ARROW_LEFT] * len(row), *[Keys.ARROW_RIGHT] * len(row)):
        browser.switch_to.active_element.send_keys(key)
        reached.append(browser.switch_to.active_element)
    return reached


def changes(browser: Any, piece: Any, control: Any) -> bool:
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.common.keys import Keys

    keys = {
        "range": (Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.PAGE_DOWN, Keys.PAGE_UP, Keys.END),  # the end limits least
        "number": (Keys.ARROW_UP, Keys.ARROW_DOWN),
        "radio": (Keys.ARROW_DOWN, Keys.ARROW_UP),
        "select": (Keys.ARROW_DOWN, Keys.ARROW_UP),
        **dict.fromkeys(("text", "search", "textarea"), ("a", "b")),
    }
    try:
        kind = control.get_attribute("type") if control.tag_name == "input" else control.tag_name
        for key in keys.get(kind, (Keys.SPACE, Keys.ENTER)):
            before = browser.execute_script(STATE, piece)
            browser.execute_script("arguments[0].focus()", control)
            control.send_keys(key)
            if browser.execute_script(STATE, piece) != before:
                return True
    except StaleElementReferenceException:  # the piece drew it anew
        return True
    return False


def test_a_piece_that_works_passes(browser, folder):
    assert check_pieces(browser, (write(folder, PIECE.format("")) / "page.html").as_uri()) == 1


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (', ui.button("Idle", () => null)', "these controls change nothing"),
        (', ui.make("button", { tabindex: "-1" }, "Out of reach")', "Tab does not reach"),
        (", missing.element", "did not start"),
    ],
)
def test_a_piece_that_does_not_work_is_found(browser, folder, more, says):
    page = write(folder, PIECE.format(more)) / "page.html"
    with pytest.raises(AssertionError, match=says):
        check_pieces(browser, page.as_uri())


# ---------------------------------------------------------------------------------------------------------- the real book


@pytest.fixture(scope="module")
def book() -> Path:
    if not HTML.is_dir():
        missing("the book is not built here: make book")
    return HTML


def test_every_page_of_the_book_fits(browser, axe, book):
    names = pages(book)
    assert len(names) > 30
    found = [problem for name in names for problem in look(browser, book, name, STATES, axe).problems]
    assert [f"{one.page} ({', '.join(one.states)}) {one.kind}: {one.sentence}" for one in found] == []


def test_the_search_finds_every_term_of_the_glossary(browser, book):
    assert unfound(browser, book) == []
    assert requests(browser)[1] == []
    assert not review.finds(browser, book, "qqzzy")


def with_pieces(book: Path) -> list[str]:
    return [name for name in pages(book) if 'class="lm-piece"' in (book / f"{name}.html").read_text(encoding="utf-8")]


def test_every_piece_of_the_book_works_by_keyboard(browser, book):
    review.show(browser, STATES[0])
    counts = {name: check_pieces(browser, (book / f"{name}.html").as_uri()) for name in with_pieces(book)}
    for part in (("01", "02", "03", "04"), ("05", "06", "07"), ("08", "09", "10", "11", "12")):
        assert sum(count for name, count in counts.items() if name[:2] in part) >= 2, counts


def test_without_scripts_a_picture_stands_for_each_piece(book):
    with chromium(scripts=False) as browser:
        for name in with_pieces(book):
            browser.get((book / f"{name}.html").as_uri())
            for picture in browser.find_elements("css selector", ".lm-piece .lm-static"):
                assert picture.is_displayed(), name
                assert picture.size["width"] > 100, name
