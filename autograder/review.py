"""Opens every page of the built book in a browser, on three screens, light and dark, and says what a reader would stumble over."""

import base64
import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from autograder.errors import CourseError
from autograder.inspection import HEAVIEST
from autograder.layout import ROOT
from autograder.node import packages
from autograder.plain import one_line

HTML = ROOT / "book" / "_build" / "html"
SCREENS = {"wide": (1400, 900), "tablet": (768, 1024), "phone": (360, 740)}  # CSS pixels
THEMES = ("light", "dark")
SLOWEST = 2.0  # seconds until something shows
SMALLEST = 7.0  # CSS pixels: the size of the smallest letters of a figure
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync --allow-file-access-from-files=false"
)
LOOK = ROOT / "autograder" / "browser" / "look.js"
# Whatever folds is opened, and MathJax and every image are waited for; then the page is as tall as it will be, and nothing moves.
SETTLE = """
const done = arguments[arguments.length - 1];
document.querySelectorAll("details").forEach((one) => { one.open = true; });
const seen = [...document.images].filter((one) => !one.hidden); // a piece hides its picture, which is then never loaded
seen.forEach((one) => { one.loading = "eager"; });
(async () => {
  await (window.MathJax?.startup?.promise ?? null);
  await document.fonts.ready;
  await Promise.all(seen.map((one) => one.decode().catch(() => null)));
  document.head.insertAdjacentHTML("beforeend", "<style>*, ::before, ::after { transition: none !important; }</style>");
  const painted = () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null;
  for (let i = 0; i < 20 && painted() === null; i++) await new Promise((next) => requestAnimationFrame(() => setTimeout(next, 20)));
  return painted();
})().then(done, () => done(null));
"""
SHOW = """
const [theme, done] = arguments;
Object.assign(document.documentElement.dataset, { mode: theme, theme });
const after = (frames) => (frames ? requestAnimationFrame(() => after(frames - 1)) : setTimeout(done, 50)); // what moves has arrived
after(4);
"""
# axe-core takes longest over code and formulas. Of the words of code it is left one of each colour in each kind of block.
SIMPLIFY = """
document.querySelectorAll("mjx-container").forEach((one) => one.replaceWith("x"));
const kept = new Set();
for (const word of document.querySelectorAll(".highlight span")) {
  const key = `${word.closest(".highlight").parentElement.className} ${word.className}`;
  if (kept.has(key)) word.replaceWith(...word.childNodes);
  kept.add(key);
}
document.body.normalize();
"""
AXE = """
const done = arguments[arguments.length - 1];
const colours = arguments[0] ? { runOnly: ["color-contrast"] } : {};
axe.run(document, { resultTypes: ["violations"], preload: false, ...colours }).then((found) => done(found.violations
  .filter((one) => ["serious", "critical"].includes(one.impact))
  .map((one) => [one.id, one.help, one.nodes.length, one.nodes[0].target.join(" "), one.nodes[0].any[0]?.message ?? ""])));
"""


UNFOUND = """
return arguments[0].filter((term) => !Search._performSearch(...Search._parseQuery(term)).some(([page]) => page === "glossary"));
"""


@dataclass(frozen=True)
class State:
    """How a page is shown: on which screen, in which theme."""

    screen: str
    theme: str

    def __str__(self) -> str:
        return f"{self.screen} {self.theme}"


@dataclass(frozen=True)
class Problem:
    """What is wrong with a page, and in which states."""

    page: str
    kind: str
    sentence: str
    states: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """A page that was looked at: what is wrong, what it weighs, when it first showed something."""

    page: str
    problems: tuple[Problem, ...]
    size: int  # bytes of all that it loads
    paint: float  # seconds


STATES = tuple(State(screen, theme) for screen in SCREENS for theme in THEMES)


def pages(html: Path = HTML, wanted: Sequence[str] = ()) -> list[str]:
    """The names of the pages of a built book, as `02_ngrams/lesson`; those `wanted`, or all."""
    there = [path.relative_to(html).with_suffix("").as_posix() for path in sorted(html.rglob("*.html")) if "_static" not in path.parts]
    if not there:
        raise CourseError("the book is not built yet; build it with: python -m autograder book")
    for name in wanted:
        if name.removesuffix(".html") not in there:
            raise CourseError(f"the book has no page {name}; its pages are {', '.join(there)}")
    return [name.removesuffix(".html") for name in wanted] or there


@contextlib.contextmanager
def chromium(*, scripts: bool = True) -> Iterator[Any]:
    """A browser without a window, with a profile of its own that is thrown away; without `scripts` it runs none of a page.

    Raises CourseError where there is none.
    """
    from selenium import webdriver

    driver = shutil.which("chromedriver")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not driver or not program:
        raise CourseError("there is no chromium with its chromedriver here; install both (Debian: apt install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    with tempfile.TemporaryDirectory(prefix="course-browser-") as profile:
        for flag in [*FLAGS.split(), f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        if not scripts:
            options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            made.set_script_timeout(120)
            yield made
        finally:
            made.quit()


def show(browser: Any, state: State) -> None:
    """Give the page the screen and the theme of a state."""
    width, height = SCREENS[state.screen]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_async_script(SHOW, state.theme)


def review(
    html: Path,
    names: Sequence[str],
    states: Sequence[State] = STATES,
    shots: Path | None = None,
    report: Callable[[Seen], None] = lambda seen: None,
) -> list[Seen]:
    """Look at the pages `names` in each of the states; `report` is called after each, screenshots go to the folder `shots`."""
    axe = (packages() / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    seen = []
    with chromium() as browser:
        for name in names:
            seen.append(look(browser, html, name, states, axe, shots))
            report(seen[-1])
    return seen


def look(browser: Any, html: Path, name: str, states: Sequence[State], axe: str, shots: Path | None = None) -> Seen:
    """Look at one page in each of the states."""
    problems, size, paint = _open(browser, html, name, states[0])
    for state in states:
        show(browser, state)
        problems += [_at(problem, state) for problem in _fits(browser, html, name)]
        if shots:
            shoot(browser, shots / f"{name.replace('/', '-')}-{state.screen}-{state.theme}.png")
    browser.execute_script(axe + SIMPLIFY)
    tried: set[str] = set()  # screens on which every rule was tried: in another theme only the colours differ
    for state in states:
        show(browser, state)
        problems += [_at(problem, state) for problem in _accessible(browser, name, state.screen in tried)]
        tried.add(state.screen)
    return Seen(name, tuple(_merged(problems)), size, paint)


def _open(browser: Any, html: Path, name: str, state: State) -> tuple[list[Problem], int, float]:
    """Open a page: what its log complains of, the bytes that it loaded, and when it first showed something."""
    show(browser, state)
    for log in ("performance", "browser"):
        browser.get_log(log)  # of the page before
    browser.get((html / f"{name}.html").as_uri())
    paint = browser.execute_async_script(SETTLE) or inf
    loaded, away = requests(browser)
    problems = [Problem(name, "request", f"asks another machine for {url}") for url in away]
    errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    problems += [Problem(name, "console", one_line(message, 200)) for message in errors]
    size = sum(path.stat().st_size for path in loaded if path.is_file())
    if size > HEAVIEST:
        problems.append(Problem(name, "weight", f"weighs {size / 1e6:.2f} MB, more than {HEAVIEST / 1e6:g} MB"))
    for _ in range(3):  # a busy machine is not the page's fault
        if paint > 1000 * SLOWEST:
            browser.refresh()
            paint = min(paint, browser.execute_async_script(SETTLE) or inf)
    if paint > 1000 * SLOWEST:
        problems.append(Problem(name, "slow", f"shows nothing for {paint / 1000:.1f} s"))
    return problems, size, paint / 1000


def requests(browser: Any) -> tuple[set[Path], list[str]]:
    """What pages asked for since the log was last read: files of this machine, and addresses elsewhere."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    files = {Path(unquote(urlsplit(url).path)) for url in urls if url.startswith("file:")}
    return files, sorted({url for url in urls if not url.startswith(("file:", "data:", "blob:", "about:", "chrome"))})


def _fits(browser: Any, html: Path, name: str) -> list[Problem]:
    found, pictures = browser.execute_script(f"const SMALLEST = {SMALLEST};\n{LOOK.read_text(encoding='utf-8')}")
    problems = [Problem(name, kind, sentence) for kind, sentence in found]
    for source, alt, width in pictures:
        text = picture(source, (html / name).parent)
        size = letters(text) * width if text else None
        if size and size < SMALLEST:
            problems.append(Problem(name, "small text", f"the figure ({one_line(alt, 60)}) has letters of {size:.1f} px"))
    return problems


def picture(source: str, folder: Path) -> str:
    """The text of an SVG picture that a page shows."""
    if source.startswith("data:"):
        head, _, data = source.partition(",")
        return base64.b64decode(data).decode("utf-8") if head.endswith("base64") else unquote(data)
    path = folder / unquote(urlsplit(source).path)
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def letters(svg: str) -> float:
    """The size of a picture's smallest letters, as a share of its width; 0 where it has none.

    Matplotlib draws letters as outlines of 100 units, each line of text in a group that scales them; other programs name a size.
    """
    width = re.search(r'viewBox="[\d.-]+[ ,]+[\d.-]+[ ,]+([\d.]+)', svg)
    outlines = [100 * float(scale) for scale in re.findall(r"scale\(([\d.]+) -[\d.]+\)", svg)]
    named = [float(size) for size in re.findall(r"font(?:-size)?[:=]\s*\"?(?:\w+ )*([\d.]+)(?:px)?", svg)]
    sizes = [size for size in outlines + named if size > 0]
    return min(sizes) / float(width[1]) if sizes and width else 0.0


def _accessible(browser: Any, name: str, only_colours: bool) -> list[Problem]:
    found = browser.execute_async_script(AXE, only_colours)
    return [
        Problem(name, "axe", one_line(f"{rule}: {says}, {count}×, first {where} {why}", 300)) for rule, says, count, where, why in found
    ]


def _at(problem: Problem, state: State) -> Problem:
    return Problem(problem.page, problem.kind, problem.sentence, (str(state),))


def _merged(problems: list[Problem]) -> list[Problem]:
    """Each problem once, with all states in which it was found."""
    states: dict[tuple[str, str, str], list[str]] = {}
    for one in problems:
        states.setdefault((one.page, one.kind, one.sentence), []).extend(one.states)
    return [Problem(*key, tuple(dict.fromkeys(found))) for key, found in states.items()]


def shoot(browser: Any, path: Path) -> None:
    """A picture of the whole page, as it is shown now."""
    size = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 16000), "scale": 1}
    taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64decode(taken["data"]))


def unfound(browser: Any, html: Path) -> list[str]:
    """The terms of the glossary for which the book's search does not show the glossary."""
    text = (html / "glossary.html").read_text(encoding="utf-8")
    terms = [
        unescape(re.sub(r"<[^>]+>", "", term)) for term in re.findall(r'<dt id="term-[^"]*">(.*?)<a class="headerlink"', text, re.DOTALL)
    ]
    if not finds(browser, html, terms[0]):
        return terms
    return browser.execute_script(UNFOUND, terms)  # in the page that is open: quicker than a page for each


def finds(browser: Any, html: Path, term: str, seconds: float = 20) -> bool:
    """Whether the book's search, opened from the file system, shows the glossary for a term."""
    from selenium.webdriver.support.wait import WebDriverWait

    browser.get(f"{(html / 'search.html').as_uri()}?q={quote(term)}")
    over = "return Boolean(document.querySelector('#search-results .search-summary')?.innerText)"
    WebDriverWait(browser, seconds, 0.02).until(lambda browser: browser.execute_script(over))
    return browser.execute_script("return document.querySelector('#search-results a[href^=\"glossary.html\"]') !== null")
