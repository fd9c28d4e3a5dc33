"""formgrader on a course that our own grader recorded: a person grades the written answer in a browser, and nothing is lost."""

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from traitlets.config import PyFileConfigLoader

from autograder.assemble import make_release
from autograder.database import CONFIG
from autograder.gradebook import Records, read_grades, submitted_at
from autograder.layout import course
from autograder.tests.postgres import missing
from autograder.tests.served import served
from autograder.tests.test_gradebook import hand_in, verdict_on

pytestmark = pytest.mark.slow
TOKEN = "a-token-of-this-test"
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --window-size=1300,1700 --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)
SHOTS = os.environ.get("COURSE_SCREENSHOTS")  # a folder: the pages are kept there, for a person to look at
HOSTILE = """Because <script>document.title = 'script ran'</script> it doubles < once, and `a < b`.

<img src=x onerror="document.title = 'handler ran'"><iframe srcdoc="x"></iframe><style>body { display: none }</style>

[a link](javascript:document.title='link')

```mermaid
</pre><img id="planted" src=x onerror="document.title = 'mermaid ran'"><script>document.title = 'mermaid'</script>
```
"""
MATHJAX = "https://cdnjs.cloudflare.com/ajax/libs/mathjax/"  # formulas; the pages work without it


@contextlib.contextmanager
def jupyter(folder: Path, scratch: Path) -> Iterator[str]:
    """A Jupyter server started in a course directory, as a person starts it, with settings of nobody else; its address."""
    own = {f"JUPYTER_{name}_DIR": str(scratch / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")} | {"HOME": str(scratch)}
    program = [sys.executable, "-m", "jupyter_server"]
    with served(program, folder, os.environ | own, scratch / "server.log", TOKEN) as address:
        yield address


@pytest.fixture
def browser(tmp_path):
    from selenium import webdriver

    driver = shutil.which("chromedriver")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not driver or not program:
        missing("no chromium with its chromedriver here: install both (Debian: chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield made
    made.quit()


def until(condition, what: str, seconds: float = 30):
    """Wait for something on a page; return what it gave."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come within {seconds} s")


def shoot(browser, name: str) -> None:
    if SHOTS:
        browser.save_screenshot(str(Path(SHOTS) / f"{name}.png"))


def rows(browser) -> list[str]:
    """The table of a formgrader page, a line a row, once it is filled."""
    read = "return [...document.querySelectorAll('tbody tr')].map(row => row.innerText.replace(/\\s+/g, ' ').trim())"
    return until(lambda: [row for row in browser.execute_script(read) if row and "Loading" not in row], "a table")


@pytest.fixture
def graded(toy):
    """A class of two, recorded by our grader: one with a hostile written answer, and one that was not graded."""
    make_release([toy])
    folder = course(toy.root)
    verdict = verdict_on(toy, "ada", written=HOSTILE)
    for student in ("ada", "zoe"):
        hand_in(toy, verdict, student)
        (folder / "submitted" / student / toy.name / "timestamp.txt").write_text("2026-03-01 10:00:00.000000 UTC\n")
    with Records(folder, toy.name) as records:
        records.record(verdict, submitted_at(folder, "ada", toy.name))
    return folder, verdict


def test_a_person_grades_the_written_answer_and_a_regrade_keeps_it(toy, graded, browser, tmp_path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    folder, verdict = graded
    scratch = tmp_path / "jupyter"
    scratch.mkdir()
    with jupyter(folder, scratch) as address:
        browser.get(f"{address}/formgrader?token={TOKEN}")
        counts = "return [...document.querySelectorAll('td.num-submissions')].map(cell => cell.innerText)"
        assert "01_toy" in rows(browser)[0]
        assert browser.execute_script(counts) == ["2"]
        shoot(browser, "1-manage")
        browser.get(f"{address}/formgrader/manage_submissions/01_toy")
        ada, zoe = sorted(rows(browser))
        shoot(browser, "2-submissions")
        assert ada.endswith("ada 2026-03-01 10:00:00 UTC needs manual grading 18 / 20")
        assert zoe.endswith("zoe 2026-03-01 10:00:00 UTC needs autograding")
        browser.get(f"{address}/formgrader/gradebook/01_toy/exercises")
        assert len(rows(browser)) == 1
        shoot(browser, "3-notebook")
        browser.execute_script("document.querySelector('tbody a').click()")
        until(lambda: browser.find_elements(By.CSS_SELECTOR, "#toy-why"), "the score of the written answer")
        visible = browser.find_element(By.CSS_SELECTOR, "#toy-double-visible")
        until(lambda: visible.get_attribute("placeholder") == "6", "the automatic scores")
        shoot(browser, "4-submission")
        assert_harmless(browser)
        browser.find_element(By.CSS_SELECTOR, "#toy-why").send_keys("1.5", Keys.TAB)
        browser.find_element(By.CSS_SELECTOR, "#toy-why-comment").send_keys("Good, but why once?", Keys.TAB)
        until(lambda: read_grades(folder, toy.name)["ada"].comments.get("toy-why"), "the comment in the gradebook")
        shoot(browser, "5-graded")
        before = read_grades(folder, toy.name)["ada"]
        assert (before.cells["toy-why"].manual, before.points, before.needs_person) == (1.5, 19.5, False)
        assert before.comments["toy-why"] == "Good, but why once?"
        with Records(folder, toy.name) as records:
            records.record(verdict, submitted_at(folder, "ada", toy.name))
        assert read_grades(folder, toy.name)["ada"] == before
        browser.get(f"{address}/formgrader/manage_submissions/01_toy")
        assert sorted(rows(browser))[0].endswith("graded 19.5 / 20")
        assert [url for url in asked(browser) if not url.startswith(MATHJAX)] == []
    assert before.timestamp == datetime(2026, 3, 1, 10)


def assert_harmless(browser) -> None:
    """Nothing of the hostile answer works: it is text, and the title is formgrader's."""
    assert browser.title == "exercises"
    planted = "return document.querySelectorAll('#planted, iframe, [onerror], a[href^=javascript], .text_cell_render script').length"
    assert browser.execute_script(planted) == 0
    answer = browser.execute_script("return document.querySelector('#toy-why').closest('.nbgrader_cell').innerText")
    assert "<script>document.title = 'script ran'</script> it doubles < once" in answer


def asked(browser) -> set[str]:
    """Hosts other than this machine that the pages asked for something."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return {url for url in urls if not url.startswith(("http://127.0.0.1", "data:", "chrome", "about:", "blob:"))}


@pytest.mark.parametrize(
    ("answer", "page"),
    [
        ("*so* `a < b` and $a < b$", "<p><em>so</em> <code>a &lt; b</code> and $a &lt; b$</p>"),
        ("<b onclick=x>bold</b>", "<p>&lt;b onclick=x&gt;bold&lt;/b&gt;</p>"),
        (
            "[link](javascript:x) [page](https://example.org)",
            '<p><a href="#harmful-link">link</a> <a href="https://example.org">page</a></p>',
        ),
        ("![beacon](https://example.org/x.png)", '<p><img alt="beacon"></p>'),
        ("```mermaid\n<iframe src=x>\n```", '<div class="jp-Mermaid"><pre class="mermaid">&lt;iframe src=x&gt;\n</pre></div>'),
        ("![lost](attachment:lost.png) <script>", "<pre>![lost](attachment:lost.png) &lt;script&gt;</pre>"),
    ],
)
def test_a_written_answer_is_shown_and_never_run(answer, page):
    settings = PyFileConfigLoader(CONFIG.name, path=str(CONFIG.parent)).load_config()
    assert settings.HTMLExporter.filters["markdown2html"](answer).strip() == page
