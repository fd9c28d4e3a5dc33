"""Tests of the printed book: what its staging leaves out and changes, and a small book typeset with LuaLaTeX."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from docutils import nodes
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from autograder import print_book
from autograder.errors import CourseError
from autograder.layout import ROOT
from autograder.tests.postgres import missing
from autograder.tests.test_book import quiet
from lmkit import page

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="90pt" height="60pt"><rect width="40" height="30" fill="#3448ff"/></svg>'
GRADED = {"grade": True, "solution": False}
MISSING = [name for name in print_book.PROGRAMS if shutil.which(name) is None]


def need(*programs: str) -> None:
    """Skip the test where a program is missing; fail where every test must run."""
    for name in programs:
        if name in MISSING:
            missing(f"{name} is missing: {print_book.INSTALL}")


def shown(data: dict, tags: tuple[str, ...] = (), **metadata: dict) -> nbformat.NotebookNode:
    """A code cell with one output."""
    output = new_output("execute_result", data)
    return new_code_cell("code = 1", outputs=[output], metadata={"tags": list(tags), **metadata})


def lesson() -> nbformat.NotebookNode:
    figure = {"caption": "A blue box.", "name": "fig-box"}
    head = "# A lesson: boxes\n\nSee {numref}`fig-box`, {doc}`/ladder`, {cite:t}`shannon1951` and a {term}`box`."
    signs = "$$a = b$$ (eq-a)\n\nSo {eq}`eq-a` θ → ✓ ␣ 道 한 ภ 🚀."
    card = ":::{dropdown} What is a box?\n:name: card-box\n:class-container: lm-card\n\nA rectangle.\n:::"
    table = page.table(["word | pipe", "count"], [["*a*_b", 12], ["$c$", 7]]).data
    cells = [
        new_markdown_cell(f"{head}\n\n{signs}"),
        shown({"image/svg+xml": SVG, "text/plain": "<Figure>"}, ("hide-input",), mystnb={"figure": figure, "image": {"alt": "A box."}}),
        shown({"text/html": table, "text/plain": "<HTML>"}),
        shown({"text/plain": "a long line, " * 30 + "�"}),
        new_markdown_cell(f"## Review cards\n\n{card}"),
    ]
    return new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})


def exercises() -> nbformat.NotebookNode:
    cells = [
        new_markdown_cell("# Exercises: boxes\n\n:::{div} lm-download\n{download}`this </_assignments/x.ipynb>`\n:::\n\nDo them."),
        new_code_cell("def area(box): ...", metadata={"nbgrader": {"grade": False, "solution": True}}),
        new_code_cell("the_visible_checks()", metadata={"nbgrader": GRADED}),
        new_markdown_cell("YOUR ANSWER HERE", metadata={"nbgrader": {"grade": True, "solution": True}}),
        new_markdown_cell("The end."),
    ]
    return new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})


def staged_book(folder: Path) -> Path:
    """What the build of a book of five pages would leave behind."""
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    chapter = {"file": "03_ffnn/lesson", "sections": [{"file": "03_ffnn/exercises"}]}
    parts = [
        {"caption": "Part II · Boxes", "chapters": [chapter]},
        {"caption": "About", "chapters": [{"file": "ladder"}, {"file": "bibliography"}]},
    ]
    pages = {
        "_toc.yml": yaml.safe_dump({**toc, "parts": parts}, allow_unicode=True),
        "_config.yml": (ROOT / "book" / "_config.yml").read_text(encoding="utf-8"),
        "references.bib": (ROOT / "book" / "references.bib").read_text(encoding="utf-8"),
        "bibliography.md": (ROOT / "book" / "bibliography.md").read_text(encoding="utf-8"),
        "index.md": "# Boxes by Hand\n\nAll about boxes.\n\n## The chapters\n\n[Boxes](03_ffnn/lesson.ipynb)\n",
        "ladder.md": "# The ladder\n\n:::{glossary}\nbox\n  A rectangle.\n:::\n",
        "03_ffnn/lesson.ipynb": nbformat.writes(lesson()),
        "03_ffnn/exercises.ipynb": nbformat.writes(exercises()),
        "_assignments/03_ffnn/exercises.ipynb": "{}",
    }
    for name, text in pages.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_folded_code_checks_answers_and_downloads_stay_on_the_screen():
    made = print_book.printed(exercises())
    text = "\n".join(cell.source for cell in made.cells)
    assert [word for word in ("Do them.", "def area", "The end.") if word not in text] == []
    assert not any(word in text for word in ("download", "visible_checks", "YOUR ANSWER", ":::"))
    folded = print_book.printed(
        new_notebook(cells=[shown({"text/plain": "1"}, ("hide-input",)), shown({"text/plain": "1"}, ("remove-cell",))])
    )
    assert [cell.metadata["tags"] for cell in folded.cells] == [["remove-input"], ["remove-cell"]]


def test_a_table_of_a_page_becomes_markdown():
    html = page.table(["word | pipe", "count"], [["*a*_b", 12], ["$c$", 7]]).data
    made = print_book.printed_output({"text/html": html, "text/plain": "<HTML>"})
    assert made["text/markdown"].splitlines() == [r"| word \| pipe | count |", "| :--- | ---: |", r"| \*a\*\_b | 12 |", r"| \$c\$ | 7 |"]
    captioned = BeautifulSoup("<table><caption>All of it</caption><tr><th>a</th></tr></table>", "html.parser").table
    assert print_book.markdown_table(captioned) == "*All of it*\n\n| a |\n| :--- |\n"
    assert print_book.printed_output({"text/plain": "1"}) == {"text/plain": "1"}


def test_a_picture_becomes_pdf_and_a_piece_its_picture():
    need("rsvg-convert")
    made = print_book.printed_output({"image/svg+xml": SVG, "text/html": "<div class='lm-piece'></div>", "text/plain": "a box"})
    assert set(made) == {"application/pdf", "text/plain"}
    assert print_book.pdf_of(SVG).startswith(b"%PDF")
    with pytest.raises(CourseError, match="could not be turned into PDF"):
        print_book.pdf_of("no picture")


def test_the_first_page_becomes_a_chapter():
    card = ":::{grid-item-card} Reader\n:link: x\n:link-type: ref\n\nRead\nit.\n:::"
    text = f"# Title\n\nWords.\n\n## Doors\n\n::::{{grid}} 1 3\n:gutter: 3\n\n{card}\n::::\n"
    made = print_book.printed_index(text, "1.2")
    assert made.startswith("# Title\n\n## About this book\n")
    assert [part for part in ("version 1.2", "### Doors", "**Reader.** Read\nit.") if part not in made] == []
    assert ":::" not in made
    assert ":::" not in print_book.printed_index((ROOT / "book" / "index.md").read_text(encoding="utf-8"), "1")


def test_parts_and_chapters_are_numbered_as_on_the_screen(tmp_path):
    counting = {"caption": "Part I · Counting", "chapters": [{"file": "02_a/lesson"}, {"file": "05_b/lesson"}]}
    toc = {"parts": [counting, {"caption": "About", "chapters": [{"file": "x"}]}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    parts = print_book._first_pages(tmp_path / "_toc.yml")
    assert print_book._commands("02_a/lesson", parts) == r"\lmpart{I}{Counting}\lmchapter{1}"
    assert print_book._commands("05_b/lesson", parts) == r"\lmchapter{4}"
    assert print_book._commands("x", parts) == r"\lmpart{}{About}\lmunnumbered"
    assert print_book._commands("05_b/exercises", parts) == r"\clearpage"


@pytest.mark.parametrize(("rows", "text", "types"), [(2, "word", "LR"), (40, "word", "lr"), (40, "word " * 20, "Y")])
def test_columns_of_a_table(rows, text, types):
    made = nodes.table()
    for _ in range(rows):
        made += nodes.row(
            "", nodes.entry("", nodes.paragraph(text=text)), nodes.entry("", nodes.paragraph(text="7"), classes=["text-right"])
        )
    found = print_book.column_types(made)
    assert found == types or (types == "Y" and re.findall(r"ragged(\w+)\\arraybackslash\}\\Y", found) == ["right", "left"])
    assert ("longtable" in made["classes"]) == (rows > 30)


def test_missing_programs_and_books_are_told(monkeypatch, tmp_path):
    with pytest.raises(CourseError, match="no built book"):
        print_book._look_at_book(tmp_path, tmp_path / "_build", quiet())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CourseError, match=r"lualatex, latexmk, rsvg-convert; on Debian, as root: apt-get install .*texlive-luatex"):
        print_book.print_book(tmp_path)


def test_clean_checkouts_install_what_the_command_names():
    installed = (ROOT / ".ci" / "run").read_text(encoding="utf-8").split("paper=(")[1].split(")")[0].split()
    assert installed == print_book.PACKAGES.split()


def test_what_latex_noted_is_removed_where_it_is_broken_off(tmp_path):
    for suffix in ("aux", "out", "tex"):
        (tmp_path / f"{print_book.NAME}.{suffix}").write_text("half a li", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt), print_book._whole(tmp_path):
        raise KeyboardInterrupt
    assert [path.suffix for path in tmp_path.iterdir()] == [".tex"]


def test_the_log_names_characters_without_glyphs():
    log = "Missing character: There is no ☃ (U+2603) in font x!\nother\nMissing character: There is no ☃ (U+2603) in font y!\n"
    assert print_book.missing_characters(log) == ["☃"]


@pytest.mark.slow
def test_a_small_book_is_typeset(tmp_path):
    need(*print_book.PROGRAMS)
    target = tmp_path / "print"
    print_book.stage(staged_book(tmp_path / "source"), target, "1.2.3")
    print_book._write_latex(target, False, quiet())
    said: list[str] = []
    pdf = print_book._typeset(target / "_build" / "latex", said.append)
    assert pdf.read_bytes().startswith(b"%PDF")
    assert any(line.startswith("typesetting, run 1: page") for line in said)
    contents, labels, log, latex = (
        pdf.with_suffix(suffix).read_text(encoding="utf-8", errors="replace") for suffix in (".toc", ".aux", ".log", ".tex")
    )
    wanted = (
        "About this book",
        r"{part}{II\hspace {1em}Boxes}",
        r"{\numberline {3}A lesson: boxes}",
        "{part}{About}",
        "The ladder",
        "Bibliography",
        "Index",
    )
    places = [contents.find(entry) for entry in wanted]
    assert places == sorted(places), contents
    assert min(places) >= 0, contents
    assert contents.count("Bibliography") == 1
    assert re.search(r"newlabel\{[^\n]*fig-box[^\n]*\{\{3\.1\}", labels)
    assert re.search(r"newlabel\{equation:[^\n]*eq-a[^\n]*\{\{3\.1\}", labels)
    assert print_book.missing_characters(log) == []
    assert not re.findall(r"Overfull \\hbox \((?:[2-9]\d|\d{3,})", log)
    assert [part for part in ("Shannon", r"{tabulary}{\linewidth}[t]{LR}", "A rectangle.", "area") if part not in latex] == []
    assert "checks" not in latex.partition("Exercises: boxes")[2]
