"""Tests of the book: a toy repository built end to end, the cache of its pages, the cards, and the inspection of what was built."""

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from rich.console import Console

from autograder import book
from autograder.errors import CourseError
from autograder.inspection import HEAVIEST, external_links, inspect
from autograder.layout import ROOT, chapters
from autograder.leaks import find_leaks
from autograder.lighten import lighten
from autograder.pages import Page, environment_digest, run_pages, write_all
from autograder.tests.conftest import HEADER
from autograder.tests.postgres import missing
from lmkit.page import piece

LESSON = (
    HEADER
    + """
# Toy n-grams

A {term}`token` follows its {term}`history`; see {ref}`the figure <fig-toy>`, {numref}`fig-toy`, {eq}`eq-toy`
and the [exercises](exercises.md).
Chapter 1 is [Tokens](../01_tokens/lesson.md). {cite:t}`shannon1951` guessed letters.

$$
P(w \\mid h) = \\frac{c(h, w)}{c(h)}
$$ (eq-toy)

```{code-cell} ipython3
:tags: [hide-input]

from types import SimpleNamespace

import matplotlib.pyplot as plt
from myst_nb import glue

from lmkit import ladder, plot

score = SimpleNamespace(bits_per_byte=2.5, perplexity=40.0)
ladder.record("toy bigram", score, parameters=12, train_seconds=0.5, made_by="lesson 2")
glue("answer", 6 * 7, display=False)
```

The answer is {glue:text}`answer`.

```{code-cell} ipython3
---
mystnb:
  figure:
    name: fig-toy
    caption: A line that rises.
  image:
    alt: A straight line from the lower left to the upper right.
tags: [hide-input]
---
plot.style()
fig, ax = plt.subplots()
ax.plot([0, 1], [0, 1]);
```
"""
)
SOLUTION = '''"""Toy."""


def probability(counts, history, token):
    """Relative frequency."""
    followers_of_this_history = counts.get(history, {})
    return followers_of_this_history.get(token, 0) / sum(followers_of_this_history.values())
'''
CARDS = """
- id: markov
  question: What does the *Markov assumption* say of $P(w \\mid h)$?
  answer: Only the last $n - 1$ tokens of $h$ count.
- id: zero
  question: "Why is a zero: bad?"
  answer: |
    It makes perplexity infinite.

    ```python
    print(0)
    ```

    :::{tip}
    Smooth.
    :::
"""


def make_repository(root: Path) -> Path:
    """A repository with the real front matter and one small chapter."""
    shutil.copytree(ROOT / "book", root / "book", ignore=shutil.ignore_patterns("_build"))
    ideas = root / "book" / "ideas.md"  # the toy chapter has sections of its own
    ideas.write_text(re.sub(r"(/lesson\.md)#[^)]+", r"\1", ideas.read_text(encoding="utf-8")), encoding="utf-8")
    chapter = root / "chapters" / "02_ngrams"
    chapter.mkdir(parents=True)
    (chapter / "lesson.md").write_text(LESSON, encoding="utf-8")
    (chapter / "exercises.md").write_text(HEADER + "# Exercises\n", encoding="utf-8")
    (chapter / "cards.yml").write_text(CARDS, encoding="utf-8")
    (root / "chapters" / "lmkit").mkdir()
    (root / "chapters" / "lmkit" / "__init__.py").write_text("", encoding="utf-8")
    for name, text in (("solutions", SOLUTION), ("autograder/checks", "")):
        (root / name).mkdir(parents=True)
        (root / name / "ngrams.py").write_text(text, encoding="utf-8")
    release = root / "autograder" / "course" / "release" / "02_ngrams"
    release.mkdir(parents=True)
    cells = [
        new_markdown_cell("# Exercises: toy n-grams\n\nDo them. Back to the [lesson](lesson.md).", id="a"),
        new_markdown_cell("## 2.1 Probability\n\n*Worth 2 points.* Let $c(h)$ be a count.", id="b"),
        new_code_cell('def probability(counts, history, token):\n    """Relative frequency."""\n    raise NotImplementedError()', id="c"),
        new_code_cell("a = 1\nb = 2\nc = 3\nrun_the_long_check()", id="d", metadata={"nbgrader": {"grade": True, "solution": False}}),
        new_code_cell("# hidden checks", id="e", metadata={"nbgrader": {"grade": True, "solution": False}}),
    ]
    nbformat.write(new_notebook(cells=cells, metadata={"language_info": {"name": "python"}}), release / "exercises.ipynb")
    return root


def quiet() -> Console:
    return Console(file=io.StringIO())


def build(root: Path) -> Path:
    """Build a toy repository; its results stay inside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMKIT_RESULTS", str(root / "results"))
        return book.build(root, console=quiet())


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A toy repository, built. Tests that change it build one of their own."""
    root = make_repository(tmp_path_factory.mktemp("toy") / "repository")
    build(root)
    return root


def page(root: Path, name: str) -> str:
    return (root / "book" / "_build" / "html" / f"{name}.html").read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------------------- the whole book


@pytest.mark.slow
class TestBuild:
    def test_pages_have_the_addresses_that_a_reader_guesses(self, built):
        for name in ("index", "ladder", "glossary", "setup", "02_ngrams/lesson", "02_ngrams/exercises"):
            assert "<h1>" in page(built, name)

    def test_numbers_figures_and_equations_by_chapter(self, built):
        lesson = page(built, "02_ngrams/lesson")
        assert "Fig. 2.1" in lesson
        assert ">(2.1)<" in lesson
        assert "Fig. 1 " in page(built, "ladder")

    def test_shows_outputs_figure_and_glued_numbers(self, built):
        lesson = page(built, "02_ngrams/lesson")
        assert re.search(r"The answer is <span class=\"pasted-text\">42</span>", lesson)
        assert 'alt="A straight line from the lower left to the upper right."' in lesson

    def test_links_terms_citations_and_neighbours(self, built):
        lesson = page(built, "02_ngrams/lesson")
        for link in ("../glossary.html#term-token", "../bibliography.html#", "exercises.html", "#fig-toy"):
            assert f'href="{link}' in lesson

    def test_a_chapter_that_is_not_there_is_no_link(self, built):
        assert "Chapter 1 is Tokens." in page(built, "02_ngrams/lesson")
        index = page(built, "index")
        assert 'href="02_ngrams/lesson.html"' in index
        assert "01_tokens" not in index
        assert index.count("to come") == 11  # every other chapter

    def test_cards_fold_out(self, built):
        lesson = page(built, "02_ngrams/lesson")
        assert lesson.count("<details") >= 2
        assert 'id="card-markov"' in lesson
        assert "Smooth." in lesson

    def test_download_is_the_release_notebook_byte_for_byte(self, built):
        release = (built / "autograder" / "course" / "release" / "02_ngrams" / "exercises.ipynb").read_bytes()
        html = built / "book" / "_build" / "html"
        href = re.search(r'href="([^"]*_downloads/[^"]*/exercises\.ipynb)"', page(built, "02_ngrams/exercises"))[1]
        assert (html / "02_ngrams" / href).read_bytes() == release
        assert (html / "_sources" / "02_ngrams" / "exercises.ipynb").read_bytes() == release
        assert ">Download</span>" in page(built, "02_ngrams/exercises")

    def test_only_the_code_of_checks_is_folded(self, built):
        cells = page(built, "02_ngrams/exercises").split('<div class="cell ')[1:]
        assert ["hide-input" in cell for cell in cells] == [False, True, False]
        assert "run_the_long_check" in cells[1]
        assert "Show the checks" in cells[1]

    def test_the_ladder_is_computed_from_the_lessons(self, built):
        assert "toy bigram" in page(built, "ladder")
        assert [json.loads(path.read_text())["model"] for path in (built / "results").glob("*.json")] == ["toy bigram"]

    def test_what_each_page_took_stands_in_a_table(self, built):
        names, *rows = list(csv.reader(io.StringIO((built / "book" / "_build" / "pages.csv").read_text(encoding="utf-8"))))
        assert names == ["page", "seconds", "peak_memory_mib"]
        assert [row[0] for row in rows] == ["02_ngrams/lesson", "ladder"]
        assert all(float(row[1]) > 0 for row in rows)

    def test_mathematics_is_set_by_files_of_the_book(self, built):
        source = re.search(r'src="([^"]*startup\.js)', page(built, "02_ngrams/lesson"))[1]
        assert (built / "book" / "_build" / "html" / "02_ngrams" / source).is_file()

    def test_what_the_book_links_to_is_listed(self, built):
        listed = (built / "book" / "_build" / "external-links.txt").read_text(encoding="utf-8")
        assert re.search(r"^https://\S+\tbibliography$", listed, re.MULTILINE)

    def test_nothing_is_wrong_with_what_was_built(self, built):
        assert inspect(built / "book" / "_build" / "html") == []
        assert find_leaks(built) == []

    def test_building_again_changes_no_page_and_restores_the_ladder(self, built):
        html = built / "book" / "_build" / "html"
        before = {path: path.stat().st_mtime_ns for path in html.rglob("*.html")}
        shutil.rmtree(built / "results")
        build(built)
        assert {path: path.stat().st_mtime_ns for path in html.rglob("*.html")} == before
        assert list((built / "results").glob("*.json"))

    def test_changed_prose_appears_without_running_the_page(self, tmp_path, built):
        root = copy(built, tmp_path)
        executed = root / "book" / "_build" / "executed" / "02_ngrams" / "lesson.ipynb"
        before = executed.stat().st_mtime_ns
        edit(root / "chapters" / "02_ngrams" / "lesson.md", "guessed letters", "guessed many letters")
        build(root)
        assert "guessed many letters" in page(root, "02_ngrams/lesson")
        assert executed.stat().st_mtime_ns == before

    def test_a_changed_style_sheet_alone_reaches_the_book(self, tmp_path, built):
        root = copy(built, tmp_path)
        edit(root / "book" / "_static" / "custom.css", ".lm-later {", ".lm-later { opacity: 0.9;")
        build(root)
        assert "opacity: 0.9" in (root / "book" / "_build" / "html" / "_static" / "custom.css").read_text(encoding="utf-8")

    def test_a_warning_fails_every_build_until_it_is_mended(self, tmp_path, built):
        root = copy(built, tmp_path)
        edit(root / "chapters" / "02_ngrams" / "lesson.md", "{term}`token`", "{term}`tokem`")
        for _ in range(2):
            with pytest.raises(CourseError, match="tokem"):
                build(root)
        edit(root / "chapters" / "02_ngrams" / "lesson.md", "{term}`tokem`", "{term}`token`")
        build(root)

    def test_a_leak_fails_the_build(self, tmp_path, built):
        root = copy(built, tmp_path)
        release = root / "autograder" / "course" / "release" / "02_ngrams" / "exercises.ipynb"
        edit(release, "raise NotImplementedError()", "followers_of_this_history = counts.get(history, {})")
        with pytest.raises(CourseError, match=r"solutions/ngrams\.py:6"):
            build(root)

    def test_a_chapter_taken_away_leaves_nothing_behind(self, tmp_path, built):
        root = copy(built, tmp_path)
        shutil.rmtree(root / "chapters" / "02_ngrams")
        edit(root / "book" / "ladder.md", "plot.ladder(rows)", "plot.ladder([{'model': 'none', 'bits_per_byte': 8.0}])")
        build(root)
        assert not list((root / "book" / "_build" / "html").rglob("*ngrams*"))


def copy(built: Path, to: Path) -> Path:
    """A copy with the same times of change, so that what was rendered there counts as rendered here."""
    return Path(shutil.copytree(built, to / "repository"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --virtual-time-budget=5000 --dump-dom"
)


@pytest.mark.slow
class TestInABrowser:
    def open(self, address: str, folder: Path) -> tuple[str, list[str]]:
        """Open a page as a reader would: (its content after scripts ran, addresses that the page asked the network for)."""
        if BROWSER is None:
            missing("no browser here: install it (Debian: chromium)")
        log = folder / "net.json"
        command = [BROWSER, *FLAGS.split(), f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", address]
        content = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        events = [event.get("params", {}) for event in json.loads(log.read_text(encoding="utf-8"))["events"]]
        own = "not an origin"  # who asked, where it was the browser itself
        by_page = [event["url"] for event in events if event.get("initiator", own) != own]
        return content, [url for url in by_page if not url.startswith(("file:", "data:"))]

    def test_a_page_that_asks_is_caught(self, tmp_path):
        page = tmp_path / "page.html"
        page.write_text("<script>fetch('https://api.example.org/q')</script>", encoding="utf-8")
        assert self.open(page.as_uri(), tmp_path)[1] == ["https://api.example.org/q"]

    @pytest.mark.parametrize("name", ["index", "ladder", "02_ngrams/lesson", "02_ngrams/exercises"])
    def test_a_page_asks_the_network_for_nothing(self, built, tmp_path, name):
        content, asked = self.open((built / "book" / "_build" / "html" / f"{name}.html").as_uri(), tmp_path)
        assert asked == []
        if name.startswith(("02_ngrams", "ladder")):
            assert "<mjx-container" in content

    def test_search_works_from_the_file_system(self, built, tmp_path):
        address = (built / "book" / "_build" / "html" / "search.html").as_uri()
        content, asked = self.open(f"{address}?q=perplexity", tmp_path)
        assert asked == []
        assert 'href="glossary.html' in content.partition('id="search-results"')[2]


# ------------------------------------------------------------------------------------------------------- running pages


def lesson_page(*cells: str, tags: tuple[str, ...] = ()) -> Page:
    code = [new_code_cell(source, metadata={"tags": list(tags)}) for source in cells]
    return Page("02_ngrams/lesson", Path("lesson.md"), new_notebook(cells=[new_markdown_cell("prose"), *code]))


def run(page: Page, made: Path, environment: str = "same", rows: dict[str, str] | None = None) -> list[str]:
    return run_pages([page], environment, rows or {}, made, 2, quiet())


def output(page: Page) -> str:
    return page.notebook.cells[1].outputs[0].text


@pytest.mark.slow
class TestRunning:
    TIME = "import time; print(time.time_ns())"

    def test_runs_once_while_code_and_environment_stay(self, tmp_path):
        first, again, other = lesson_page(self.TIME), lesson_page(self.TIME), lesson_page(self.TIME)
        again.notebook.cells[0].source = "other prose"
        assert run(first, tmp_path) == run(again, tmp_path) == run(other, tmp_path, environment="another toolkit") == []
        assert (first.cached, again.cached, other.cached) == (False, True, False)
        assert output(again) == output(first) != output(other)
        assert again.seconds == first.seconds > 0
        assert again.memory == first.memory

    def test_a_cache_from_before_memory_was_measured_still_serves(self, tmp_path):
        run(lesson_page(self.TIME), tmp_path)
        stored = tmp_path / "executed" / "02_ngrams" / "lesson.ipynb"
        stored.write_text(re.sub(r'"memory": [^,]+,', "", stored.read_text(encoding="utf-8")), encoding="utf-8")
        page = lesson_page(self.TIME)
        assert run(page, tmp_path) == []
        assert (page.cached, page.memory) == (True, None)

    @pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
    def test_memory_that_a_cell_took_and_gave_back_counts(self, tmp_path):
        page = lesson_page("taken = bytearray(b'x' * (300 << 20)); del taken", "1 + 1")
        assert run(page, tmp_path) == []
        assert 300 < page.memory < 1000

    def test_changed_code_runs_again(self, tmp_path):
        first, changed = lesson_page(self.TIME), lesson_page(self.TIME + " ")
        run(first, tmp_path)
        run(changed, tmp_path)
        assert not changed.cached

    def test_a_damaged_cache_is_made_again(self, tmp_path):
        run(lesson_page(self.TIME), tmp_path)
        (tmp_path / "executed" / "02_ngrams" / "lesson.ipynb").write_text("{", encoding="utf-8")
        page = lesson_page(self.TIME)
        assert run(page, tmp_path) == []
        assert not page.cached

    def test_a_failing_cell_is_named_and_not_cached(self, tmp_path):
        for _ in range(2):
            (told,) = run(lesson_page("x = 1", "\nx / 0"), tmp_path)
            assert told.startswith("02_ngrams/lesson: the cell that begins `x / 0` stops with ZeroDivisionError: division by zero")
        assert "Traceback" in (tmp_path / "executed" / "02_ngrams" / "lesson.error.txt").read_text(encoding="utf-8")

    def test_a_dead_kernel_is_told(self, tmp_path):
        (told,) = run(lesson_page("import os; os._exit(1)"), tmp_path)
        assert "its kernel died" in told

    def test_standard_error_fails_unless_it_is_allowed(self, tmp_path):
        code = "import warnings; warnings.warn('old function')"
        (told,) = run(lesson_page(code), tmp_path)
        assert "writes to standard error" in told
        assert "old function" in told
        assert run(lesson_page(code, tags=("allow-stderr",)), tmp_path) == []

    def test_a_page_sees_the_ladder_that_it_is_given_and_adds_its_own(self, tmp_path):
        code = (
            "import os, pathlib; folder = pathlib.Path(os.environ['LMKIT_RESULTS']);"
            "print(sorted(p.name for p in folder.iterdir())); _ = (folder / 'new.json').write_text('{}')"
        )
        page = lesson_page(code)
        assert run(page, tmp_path, rows={"old.json": "{}"}) == []
        assert output(page) == "['old.json']\n"
        assert page.rows == {"new.json": "{}"}
        again = lesson_page(code)
        run(again, tmp_path, rows={"old.json": "{}"})
        assert (again.cached, again.rows) == (True, page.rows)

    def test_a_page_can_import_neither_solutions_nor_write_into_the_repository(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        page = lesson_page("import importlib.util, os; print(importlib.util.find_spec('solutions'), os.listdir())")
        assert run(page, tmp_path) == []
        assert output(page) == "None []\n"


def test_a_folder_comes_to_hold_what_it_must_and_keeps_what_is_made_of_it(tmp_path):
    for name in ("a/same", "a/old", "b/old", "_build/made", "_builder"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"same")
    before = (tmp_path / "a" / "same").stat().st_mtime_ns
    write_all(tmp_path, {"a/same": b"same", "c/new": b"new"}, keep="_build")
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == {"a/same", "c/new", "_build/made"}
    assert not (tmp_path / "b").exists()
    assert (tmp_path / "a" / "same").stat().st_mtime_ns == before


def test_the_environment_digest_follows_the_toolkit_and_the_dependencies(tmp_path):
    toolkit = tmp_path / "chapters" / "lmkit"
    toolkit.mkdir(parents=True)
    (toolkit / "a.py").write_text("x = 1", encoding="utf-8")
    digests = [environment_digest(tmp_path)]
    (toolkit / "a.py").write_text("x = 2", encoding="utf-8")
    digests.append(environment_digest(tmp_path))
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["numpy>=1"]\n', encoding="utf-8")
    digests.append(environment_digest(tmp_path))
    assert len(set(digests)) == 3
    assert environment_digest(tmp_path) == digests[-1]


# ------------------------------------------------------------------------------------------------- cards, contents, links


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must be a list of cards"),
        ("id: a", "must be a list of cards"),
        ("- id: a\n  question: q", "card 1 must have exactly id, question and answer"),
        ("- {id: a, question: q, answer: a, hint: h}", "card 1 must have exactly"),
        ("- {id: A b, question: q, answer: a}", "lower-case words"),
        ("- {id: a, question: 3, answer: a}", "must be text"),
        ("- {id: a, question: ' ', answer: a}", "none empty"),
        ("- {id: a, question: q, answer: a}\n- {id: a, question: q, answer: a}", "the id a stands twice"),
        ("- id: a\n  question: what: this", "line 2, is not valid YAML"),
    ],
)
def test_a_bad_card_is_told_in_one_sentence(tmp_path, text, says):
    path = tmp_path / "02_ngrams" / "cards.yml"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CourseError, match=re.escape(says)) as told:
        book.read_cards(path)
    assert "02_ngrams/cards.yml" in str(told.value)


def test_a_missing_card_file_is_told(tmp_path):
    with pytest.raises(CourseError, match=r"cards\.yml is missing"):
        book.read_cards(tmp_path / "cards.yml")


@pytest.mark.parametrize("chapter", [chapter.name for chapter in chapters()])
def test_a_chapter_has_12_to_20_cards(chapter):
    assert 12 <= len(book.read_cards(ROOT / "chapters" / chapter / "cards.yml")) <= 20


def test_ids_of_cards_are_unique_in_the_book(tmp_path):
    root = make_repository(tmp_path / "repository")
    shutil.copytree(root / "chapters" / "02_ngrams", root / "chapters" / "03_ffnn")
    with pytest.raises(CourseError, match="the id markov is taken by a card of 02_ngrams"):
        build(root)


def test_a_missing_release_names_the_command(tmp_path):
    root = make_repository(tmp_path / "repository")
    shutil.rmtree(root / "autograder" / "course")
    with pytest.raises(CourseError, match="python -m autograder assemble"):
        build(root)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("    extension: .md\n", "", "lacks `extension: .md`"),
        ("```{code-cell} ipython3", "```python", "has no code cell"),
    ],
)
def test_a_lesson_whose_cells_would_vanish_is_refused(tmp_path, old, new, says):
    root = make_repository(tmp_path / "repository")
    edit(root / "chapters" / "02_ngrams" / "lesson.md", old, new)
    with pytest.raises(CourseError, match=re.escape(says)):
        build(root)


def test_the_contents_hold_what_is_there():
    path = ROOT / "book" / "_toc.yml"
    front = {entry for line in path.read_text().splitlines() if "/" not in line and "file:" in line for entry in line.split()[-1:]}
    toc = yaml.safe_load(book._toc(path, front | {"index", "02_ngrams/lesson", "02_ngrams/exercises"}))
    parts = {part["caption"]: part["chapters"] for part in toc["parts"]}
    assert parts["Part I · Counting and predicting"] == [{"file": "02_ngrams/lesson", "sections": [{"file": "02_ngrams/exercises"}]}]
    assert "Part II · Sequences" not in parts


def test_the_contents_know_every_chapter_and_page():
    with pytest.raises(CourseError, match=r"chapters/13_more/lesson\.md is not in book/_toc\.yml; add a line `- file: 13_more/lesson`"):
        book._toc(ROOT / "book" / "_toc.yml", all_pages() | {"13_more/lesson"})
    with pytest.raises(CourseError, match=r"lists glossary, but there is no book/glossary\.md"):
        book._toc(ROOT / "book" / "_toc.yml", all_pages() - {"glossary"})


def all_pages() -> set[str]:
    return {path.stem for path in (ROOT / "book").glob("*.md")}


def test_figures_are_numbered_by_chapter():
    kinds = {"figure": {"b": (9,), "a": (8,)}, "table": {"t": (3,)}}
    numbers = {"ladder": {"figure": {"l": (12,)}}, "02_ngrams/exercises": {"figure": {"e": (10,)}}, "02_ngrams/lesson": kinds}
    book.number_figures(None, SimpleNamespace(toc_fignumbers=numbers))
    assert kinds == {"figure": {"a": (2, 1), "b": (2, 2)}, "table": {"t": (2, 1)}}
    assert numbers["02_ngrams/exercises"] == {"figure": {"e": (2, 3)}}
    assert numbers["ladder"] == {"figure": {"l": (1,)}}


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("[x](exercises.md)", "[x](/02_ngrams/exercises.ipynb)"),
        ("[x](lesson.md#why)", "[x](/02_ngrams/lesson.ipynb#why)"),
        ("[x](../02_ngrams/lesson.md)", "[x](/02_ngrams/lesson.ipynb)"),
        ("[x](../01_tokens/lesson.md), then", "x?, then"),
        ("[x](setup.md)", "[x](setup.md)"),
    ],
)
def test_links_between_chapters(text, becomes):
    assert book._link(text, "02_ngrams", {"02_ngrams/lesson", "02_ngrams/exercises"}, "?") == becomes


# ----------------------------------------------------------------------------------------------------------- inspection


FINE = '<html><link rel="stylesheet" href="s.css"><img src="i.svg" alt="A dot."><p id="here"><a href="#here">x</a><a href="https://example.org">y</a></html>'


def inspected(tmp_path: Path, html: str = FINE, css: str = "p { color: red }", svg: str = "<svg/>") -> list[str]:
    for name, text in (("page.html", html), ("s.css", css), ("i.svg", svg), ("other.html", '<a id="there"></a>')):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return inspect(tmp_path)


def test_a_good_page_passes(tmp_path):
    assert inspected(tmp_path) == []


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example.org/x.js"></script>',
        '<script src="//cdn.example.org/x.js"></script>',
        '<link rel="stylesheet" href="https://fonts.example.org/css">',
        '<link rel="preconnect" href="https://fonts.example.org">',
        '<link rel="shortcut icon" href="/favicon.ico">',
        '<img alt="a" src="http://example.org/badge.svg">',
        '<img alt="a" src="i.svg" srcset="i.svg 1x, https://example.org/i.png 2x">',
        '<iframe src="https://example.org"></iframe>',
        '<video poster="https://example.org/p.png"></video>',
        '<svg aria-hidden="true"><image xlink:href="https://example.org/p.png"/></svg>',
        '<object data="https://example.org/p.pdf"></object>',
        '<p style="background: url(https://example.org/p.png)">',
        "<style>@import 'https://example.org/x.css';</style>",
        '<meta http-equiv="refresh" content="0; URL=https://example.org/">',
    ],
)
def test_a_page_that_would_ask_the_network_is_found(tmp_path, html):
    (told,) = inspected(tmp_path, html)
    assert "must open without a network" in told


@pytest.mark.parametrize("css", ["@import url(https://example.org/x.css);", "@font-face { src: url('//example.org/f.woff2') }"])
def test_a_style_sheet_that_would_ask_the_network_is_found(tmp_path, css):
    (told,) = inspected(tmp_path, css=css)
    assert told.startswith("s.css loads")


def test_a_picture_that_would_ask_the_network_is_found(tmp_path):
    (told,) = inspected(tmp_path, svg='<svg><image href="https://example.org/p.png"/></svg>')
    assert told.startswith("i.svg loads")


@pytest.mark.parametrize(
    ("html", "says"),
    [
        ('<a href="gone.html">x</a>', "the link gone.html leads nowhere"),
        ('<a href="other.html#gone">x</a>', "names a place that its page does not have"),
        ('<a href="#gone">x</a>', "names a place that its page does not have"),
        ('<script src="gone.js"></script>', "loads gone.js, which is not there"),
        ('<img src="i.svg">', "has no alternative text"),
        ('<img src="i.svg" alt="_images/i.svg">', "has no alternative text"),
        ('<svg role="img"><path/></svg>', "the drawing <svg> has no alternative text"),
        ("<article><h2>A</h2><h2>B</h2><p>words</p></article>", "between the heading “A” and the next"),
        ('<article><h1>A</h1><h3>B</h3><h2>C<a class="headerlink">#</a></h2><img src="i.svg" alt="A dot."></article>', "the heading “B”"),
        ("<article><p>words</p><h2>The <code>end</code></h2></article>", "the heading “The end”"),
    ],
)
def test_what_is_broken_is_found(tmp_path, html, says):
    (told,) = inspected(tmp_path, html)
    assert says in told


def test_what_is_whole_passes(tmp_path):
    html = '<a href="other.html#there">x</a><a href="other.html?q=1">x</a><a href="#">x</a><a href="mailto:a@example.org">x</a>'
    assert inspected(tmp_path, html + '<img src="data:image/png;base64,AA" alt="A dot.">') == []


def test_headings_and_drawings_that_are_as_they_must_be_pass(tmp_path):
    html = "<article><h1>A</h1><h2>B</h2><p>words</p><h3>C</h3><img src='i.svg' alt='A dot.'></article><h2>Contents</h2>"
    drawings = '<svg aria-hidden="true"/><svg role="img" aria-label="A dot."><g/></svg><svg role="img"><title>A dot.</title></svg>'
    assert inspected(tmp_path, html + drawings) == []


def test_a_heavy_page_is_found(tmp_path):
    (tmp_path / "mathjax" / "extensions").mkdir(parents=True)
    for name, size in (("startup.js", 10), ("core.js", HEAVIEST), ("extensions/ams.js", HEAVIEST)):
        (tmp_path / "mathjax" / name).write_bytes(b" " * size)
    (told,) = inspected(tmp_path, '<script src="mathjax/startup.js?v=1"></script>')
    assert told.startswith("page.html weighs 2.00 MB with what it loads, more than 2 MB")
    (tmp_path / "mathjax" / "core.js").unlink()
    assert inspected(tmp_path, '<script src="mathjax/startup.js?v=1"></script>') == []


def test_external_links_are_listed_with_their_pages(tmp_path):
    assert inspected(tmp_path, '<a class="x" href="https://example.org/a?b=1&amp;c=2">x</a><a href="other.html">y</a>') == []
    assert external_links(tmp_path) == {"https://example.org/a?b=1&c=2": ["page"]}


# ---------------------------------------------------------------------------------------------------------- lighter pages


LIGHT = """<script src="_static/searchtools.js"></script><script defer src="_static/scripts/fontawesome.js?d=1"></script><details>
<summary><span class="toctree-toggle"></span></summary></details><p class="used">x</p><script src="_static/page.js"></script>"""
STYLES = """.used{color:red}.unused{color:red}.used .unused,p{color:blue}@media print{.unused{color:red}}@media screen{.used{color:red}}
p:not(.unused){color:red}.begun-at-run-time{color:red}@font-face{font-family:F;src:url(f.woff2)}"""


def test_a_page_loads_only_what_it_uses(tmp_path):
    for name in ("page", "search"):
        (tmp_path / f"{name}.html").write_text(LIGHT, encoding="utf-8")
    (tmp_path / "_static" / "scripts").mkdir(parents=True)
    (tmp_path / "_images").mkdir()
    for name, text in (("s.css", STYLES), ("custom.css", STYLES), ("page.js", "x = 'begun-' + y"), ("scripts/fontawesome.js", "")):
        (tmp_path / "_static" / name).write_text(text, encoding="utf-8")
    for _ in range(2):  # what is light stays as it is
        lighten(tmp_path)
        styles = (tmp_path / "_static" / "s.css").read_text(encoding="utf-8")
        assert ".unused{" not in styles
        for kept in (".used{color:red}", "p{color:blue}", "@media screen{.used", "p:not(.unused)", ".begun-at-run-time", "@font-face"):
            assert kept in styles
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert re.findall(r'src="_static/([^"?]+)', page) == ["page.js"]
        assert '<summary aria-label="Exercises of this chapter">' in page
        assert "searchtools.js" in (tmp_path / "search.html").read_text(encoding="utf-8")
        assert (tmp_path / "_static" / "custom.css").read_text(encoding="utf-8") == STYLES
        assert not (tmp_path / "_static" / "scripts" / "fontawesome.js").exists()


def test_a_figure_is_written_in_fewer_bytes_and_looks_the_same(tmp_path):
    (tmp_path / "_images").mkdir()
    figure = tmp_path / "_images" / "f.svg"
    before = '<svg>\n <metadata>\n  <a/></metadata>\n  <path id="d" d="M 1.23456 2\nL 0.004 3.5"/>{}</svg>'
    svg = before.format('<g transform="translate(9.99999 0) scale(0.015625)"/>')
    figure.write_text(svg, encoding="utf-8")
    lighten(tmp_path)
    assert figure.read_text(encoding="utf-8") == (
        '<svg>\n<path id="d" d="M 1.23 2\nL 0 3.5"/><g transform="translate(10 0) scale(0.015625)"/></svg>'
    )


def test_the_picture_of_a_piece_becomes_a_file_that_only_a_browser_without_scripts_loads(tmp_path):
    figure = Figure()
    figure.subplots().plot([1, 2])
    shown = piece("toy", "A toy", {}, figure, "A line that rises, > 0.")._repr_mimebundle_()["text/html"]
    page = tmp_path / "02_ngrams" / "lesson.html"
    page.parent.mkdir()
    page.write_text(shown, encoding="utf-8")
    for _ in range(2):
        lighten(tmp_path)
        html = page.read_text(encoding="utf-8")
        (name,) = re.findall(r'alt="A line that rises, &gt; 0\." loading="lazy" src="\.\./_images/([^"]+)"', html)
        assert (tmp_path / "_images" / name).read_text(encoding="utf-8").startswith("<svg")
    assert inspect(tmp_path) == []


# -------------------------------------------------------------------------------------------------------------- messages


def test_a_ladder_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("LMKIT_RESULTS", str(tmp_path / "file" / "ladder"))
    with pytest.raises(CourseError, match=r"cannot be written .*: set the environment variable LMKIT_RESULTS"):
        book._keep_results({"model.json": "{}"})


def test_memory_that_is_not_known_is_a_dash():
    known, unknown = Page("a", Path("a"), None, seconds=1.0, memory=99.6), Page("b", Path("b"), None)
    out = quiet()
    out.print(book._summary([known, unknown], 2.0))
    assert [line.split("│")[3].strip() for line in out.file.getvalue().splitlines() if line.startswith("│")] == ["100", "–"]
    assert book._costs([known, unknown]).splitlines()[1:] == ["a,1.0,100", "b,0.0,"]


def test_several_problems_are_listed_before_the_sentence():
    console = quiet()
    book._refuse([], "not built", console)
    with pytest.raises(CourseError, match=r"^not built: only this$"):
        book._refuse(["only this"], "not built", console)
    assert console.file.getvalue() == ""
    with pytest.raises(CourseError, match=r"^not built: 31 problems, the first 30 of them listed above; one is: 0 \[a\]$"):
        book._refuse([f"{i} [a]" for i in range(31)], "not built", console)
    assert console.file.getvalue().splitlines() == [f"{i} [a]" for i in range(30)]
