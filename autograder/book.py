"""Builds the book: stages its pages, runs each notebook once, lets Jupyter Book render them, and inspects what came out."""

import csv
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nbformat
import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from rich.console import Console
from rich.table import Table

from autograder.assemble import read_notebook
from autograder.cards import DECK, Card, read_cards
from autograder.errors import CourseError
from autograder.inspection import external_links, inspect
from autograder.layout import NOTEBOOK, ROOT, Chapter, chapters
from autograder.leaks import find_leaks
from autograder.lighten import lighten
from autograder.pages import Page, environment_digest, index_fonts, package_version, run_pages, write, write_all
from autograder.publish import repository, with_buttons

CARDS_HEAD = """## Review cards

Answer each question aloud before you open it. Come back to those that you missed tomorrow, and again next week.

:::{{div}} lm-download
Or let a program plan that: {{download}}`the cards of all chapters for Anki </{deck}>`; {{doc}}`/using` tells how to import them.
:::"""
PAGES_FAIL = "the book was not built"
LISTED = 30  # problems that are listed; more would hide the first
TO_COME = " [to come]{.lm-later}"  # stands in the front matter behind the name of a chapter that is not there
ASSIGNMENTS = "_assignments"  # staged folder of what is offered for download; no page is made of it
RENDERERS = ("jupyter-book", "sphinx", "sphinx-book-theme", "pydata-sphinx-theme", "myst-nb", "sphinx-design", "sphinxcontrib-bibtex")
MATHJAX = (  # what _config.yml has it load
    "startup.js",
    "core.js",
    "input/tex.js",
    "input/tex/extensions",
    "output/chtml.js",
    "output/chtml/fonts",
    "a11y/assistive-mml.js",
)
_CHAPTER_PAGE = re.compile(r"(?P<chapter>\d\d_[a-z0-9]+)/(?P<page>lesson|exercises)")
_LINK = re.compile(r"\[(?P<text>[^\]\n]*)\]\((?:\.\./)?(?P<target>(?:\d\d_[a-z0-9]+/)?(?:lesson|exercises))\.md(?P<anchor>#[\w-]+)?\)")


def build(root: Path = ROOT, *, verbose: bool = False, workers: int = 2, console: Console | None = None) -> Path:
    """Build the whole book below book/_build and return the path of its first page.

    Runs only pages whose code, toolkit or libraries changed since they were last run, at most `workers` at once; renders only what changed.
    `verbose` shows Sphinx's output. Errors: CourseError for a page that fails, for every warning of Sphinx, for a
    broken link, an image without alternative text, a heading with nothing below it, a page that is too heavy, a request to another
    machine, and for a leak. The addresses that the book links to stand in book/_build/external-links.txt.
    """
    console = console or Console()
    started = time.monotonic()
    made = root / "book" / "_build"
    front, lessons, exercises = _front_notebooks(root), _lessons(root), _exercises(root)
    environment = environment_digest(root)
    index_fonts(made)
    _refuse(run_pages(lessons, environment, {}, made, workers, console), PAGES_FAIL, console)
    rows = {name: text for page in lessons for name, text in page.rows.items()}
    _keep_results(rows)
    _refuse(run_pages(front, environment, rows, made, workers, console), PAGES_FAIL, console)
    _stage(root, [*front, *lessons, *exercises], made / "source")
    _render(made, verbose, console)
    _copy_static(made)
    _offer_releases(exercises, made / "html")
    _drop_unused_images(made / "html")
    lighten(made / "html")
    _refuse([*inspect(made / "html"), *map(str, find_leaks(root))], "the book was built but must not be published", console)
    links = external_links(made / "html")
    write(made / "external-links.txt", "".join(f"{address}\t{', '.join(names)}\n" for address, names in links.items()))
    (made / "stamp.json").write_text(_stamp(made / "source"), encoding="utf-8")
    ran = [*lessons, *front]
    write(made / "pages.csv", _costs(ran))
    console.print(_summary(ran, time.monotonic() - started))
    return made / "html" / "index.html"


def _refuse(problems: list[str], what: str, console: Console) -> None:
    """Raise CourseError if there is a problem; where there are several, list them first."""
    if len(problems) == 1:
        raise CourseError(f"{what}: {problems[0]}")
    if problems:
        console.print("\n".join(problems[:LISTED]), markup=False, highlight=False, soft_wrap=True)
        where = "listed above" if len(problems) <= LISTED else f"the first {LISTED} of them listed above"
        raise CourseError(f"{what}: {len(problems)} problems, {where}; one is: {problems[0]}")


def _summary(pages: list[Page], total: float) -> Table:
    table = Table("page", "seconds", "peak memory, MiB", "", title="Pages that are run", title_justify="left")
    table.columns[1].justify = table.columns[2].justify = "right"
    for page in pages:
        memory = "–" if page.memory is None else f"{page.memory:.0f}"
        table.add_row(page.name, f"{page.seconds:.1f}", memory, "cached" if page.cached else "run")
    table.caption = f"the whole build took {total:.1f} s"
    return table


def _costs(pages: list[Page]) -> str:
    """What each page took when it was last run, as a CSV file; an empty field is not known."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["page", "seconds", "peak_memory_mib"])
    lines.writerows([page.name, f"{page.seconds:.1f}", "" if page.memory is None else f"{page.memory:.0f}"] for page in pages)
    return text.getvalue()


def _lessons(root: Path) -> list[Page]:
    pages: list[Page] = []
    taken: dict[str, str] = {}  # id of a card -> its chapter
    for chapter in chapters(root):
        page = _notebook_page(f"{chapter.name}/lesson", chapter.folder / "lesson.md")
        cards = read_cards(chapter.folder / "cards.yml")
        for card in cards:
            if card.id in taken:
                raise CourseError(f"{chapter.name}/cards.yml: the id {card.id} is taken by a card of {taken[card.id]}; choose another")
        taken |= {card.id: chapter.name for card in cards}
        page.notebook.cells.append(new_markdown_cell(_card_section(cards)))
        pages.append(page)
    return pages


def _notebook_page(name: str, source: Path) -> Page:
    notebook = read_notebook(source)
    if not any(cell.cell_type == "code" for cell in notebook.cells):
        where = f"{source.parent.name}/{source.name}"
        raise CourseError(f"{where} has no code cell; write one as ```{{code-cell}} ipython3, or drop the notebook's header")
    return Page(name, source, notebook)


def _front_notebooks(root: Path) -> list[Page]:
    return [_notebook_page(path.stem, path) for path in _front_pages(root) if _is_notebook(path)]


def _front_pages(root: Path) -> list[Path]:
    return sorted((root / "book").glob("*.md"))


def _is_notebook(path: Path) -> bool:
    return path.read_text(encoding="utf-8").startswith("---\njupytext:")


def _exercises(root: Path) -> list[Page]:
    pages = []
    for chapter in chapters(root):
        if not chapter.release.exists():
            raise CourseError(f"the release notebook of {chapter.name} is missing; make it with: python -m autograder assemble")
        pages.append(Page(f"{chapter.name}/{NOTEBOOK}", chapter.release, _exercise_page(chapter), runs=False))
    return pages


def _exercise_page(chapter: Chapter) -> NotebookNode:
    """The release notebook as a page: below its title stands a link to the notebook itself, and the code of checks is folded."""
    notebook = nbformat.read(chapter.release, as_version=4)
    link = f"{{download}}`Download this notebook </{ASSIGNMENTS}/{chapter.name}/{NOTEBOOK}.ipynb>`"
    note = f":::{{div}} lm-download\n{link} and work through it in JupyterLab: its check cells tell you at once what passes.\n:::"
    first = next((cell for cell in notebook.cells if cell.cell_type == "markdown"), None)
    heading = re.search(r"^# .*$", first.source, re.MULTILINE) if first is not None else None
    if heading is None:
        raise CourseError(f"chapters/{chapter.name}/exercises.md must begin with a title, as in `# Exercises`")
    first.source = f"{first.source[: heading.end()]}\n\n{note}\n{first.source[heading.end() :]}"
    for cell in notebook.cells:
        about = cell.metadata.get("nbgrader", {})
        if cell.cell_type == "code" and about.get("grade") and not about.get("solution") and cell.source.count("\n") > 2:
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
            cell.metadata["mystnb"] = {"code_prompt_show": "Show the checks", "code_prompt_hide": "Hide the checks"}
    return notebook


def _card_section(cards: list[Card]) -> str:
    parts = [CARDS_HEAD.format(deck=f"{ASSIGNMENTS}/{DECK}")]
    for card in cards:
        fence = ":" * (3 + max(map(len, re.findall(r"^:{3,}", card.answer, re.MULTILINE)), default=0))
        parts.append(f"{fence}{{dropdown}} {card.question}\n:name: card-{card.id}\n:class-container: lm-card\n\n{card.answer}\n{fence}")
    return "\n\n".join(parts)


def _keep_results(rows: dict[str, str]) -> None:
    """Put what the lessons measured on the user's own ladder, whether they ran now or earlier."""
    from lmkit.ladder import results_dir

    for name, text in rows.items():
        path = results_dir() / name
        try:
            write(path, text)
        except OSError as error:
            advice = "set the environment variable LMKIT_RESULTS to a folder that can be"
            raise CourseError(f"the result {path} cannot be written ({error.strerror}): {advice}") from None


def _stage(root: Path, pages: list[Page], folder: Path) -> None:
    """Bring `folder` to what the book is made from: its own files, notebooks with their outputs, and what is offered for download."""
    from autograder.anki import deck  # only a build needs genanki

    present = {page.name for page in pages}
    staged = _front_files(root / "book", present)
    staged["_config.yml"] = with_buttons(staged["_config.yml"].decode("utf-8"), repository(root)).encode("utf-8")
    texts = {Path(name).stem for name in staged if name.endswith(".md")}
    staged["_toc.yml"] = _toc(root / "book" / "_toc.yml", present | texts).encode("utf-8")
    for page in pages:
        for i, cell in enumerate(page.notebook.cells):
            cell.id = f"cell-{i:03d}"
            if cell.cell_type == "markdown":
                cell.source = _link(cell.source, page.name.rpartition("/")[0], present, "")
        staged[f"{page.name}.ipynb"] = nbformat.writes(page.notebook, version=4).encode("utf-8")
        if not page.runs:
            staged[f"{ASSIGNMENTS}/{page.name}.ipynb"] = page.source.read_bytes()
    staged[f"{ASSIGNMENTS}/{DECK}"] = deck(root)
    write_all(folder, staged)


def _front_files(book: Path, notebooks: set[str]) -> dict[str, bytes]:
    """All files of book/ that are staged as they are, but for links: name -> content."""
    files = {}
    for path in sorted(book.rglob("*")):
        name = path.relative_to(book).as_posix()
        if path.is_file() and not name.startswith(("_build/", ".")) and name.removesuffix(".md") not in notebooks:
            files[name] = path.read_bytes()
            if path.suffix == ".md":
                files[name] = _link(files[name].decode("utf-8"), "", notebooks, TO_COME).encode("utf-8")
    return files


def _link(text: str, folder: str, present: set[str], missing: str) -> str:
    """Point links to a chapter's lesson.md or exercises.md at the staged notebook; one to a chapter that is not there becomes its text."""

    def replace(match: re.Match) -> str:
        target = match["target"] if "/" in match["target"] else f"{folder}/{match['target']}"
        if target in present:
            return f"[{match['text']}](/{target}.ipynb{match['anchor'] or ''})"
        return match["text"] + missing

    return _LINK.sub(replace, text)


def _toc(path: Path, present: set[str]) -> str:
    """The table of contents without the chapters that are not there. Raises CourseError where a page is not listed, or not there."""
    toc = yaml.safe_load(path.read_text(encoding="utf-8"))
    listed: set[str] = {toc["root"]}

    def keep(entries: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for entry in entries:
            listed.add(entry["file"])
            if entry["file"] in present:
                sections = list(keep(entry.get("sections", [])))
                yield {**{k: v for k, v in entry.items() if k != "sections"}, **({"sections": sections} if sections else {})}
            elif not _CHAPTER_PAGE.fullmatch(entry["file"]):
                raise CourseError(f"book/_toc.yml lists {entry['file']}, but there is no book/{entry['file']}.md")

    parts = [{**part, "chapters": list(keep(part["chapters"]))} for part in toc["parts"]]
    for name in sorted(present - listed):
        where = f"chapters/{name}.md" if "/" in name else f"book/{name}.md"
        raise CourseError(f"{where} is not in book/_toc.yml; add a line `- file: {name}` to one of its parts")
    return yaml.safe_dump({**toc, "parts": [part for part in parts if part["chapters"]]}, allow_unicode=True, sort_keys=False)


def _stamp(source: Path) -> str:
    """What a rendering depends on beside the content of its pages: where this changes, everything is rendered anew."""
    pages = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.suffix in (".md", ".ipynb", ".yml"))
    own = hashlib.sha256(b"".join(Path(__file__).with_name(name).read_bytes() for name in ("book.py", "lighten.py"))).hexdigest()
    return json.dumps({"pages": pages, "renderers": {name: package_version(name) for name in RENDERERS}, "book.py": own})


def _render(made: Path, verbose: bool, console: Console) -> None:
    """Run Jupyter Book on the staged source, every warning an error.

    After a failure, or when pages went away, the next rendering starts from nothing: Sphinx warns only of pages that it reads.
    """
    stamp = made / "stamp.json"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != _stamp(made / "source"):
        shutil.rmtree(made / "html", ignore_errors=True)
        shutil.rmtree(made / ".doctrees", ignore_errors=True)
    stamp.unlink(missing_ok=True)
    _copy_mathjax(made / "html" / "_static" / "mathjax")
    with console.status("rendering the pages"):
        status, output = jupyter_book(made / "source", made.parent, "-W", "-n", "--keep-going")
    (made / "sphinx.log").write_text(output, encoding="utf-8")
    if verbose:
        console.print(output, markup=False, highlight=False)
    if status:
        told = [line.replace(f"{made / 'source'}/", "") for line in output.splitlines() if re.search(r"WARNING:|ERROR:|Error:", line)]
        _refuse(told or output.splitlines()[-5:], f"the book was not built; all that Sphinx said is in {made / 'sphinx.log'}", console)


def jupyter_book(source: Path, above: Path, *options: str) -> tuple[int, str]:
    """Run Jupyter Book on a folder of pages; what it makes is in above/_build. Returns its exit status, and all that it said."""
    main = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", main, "build", str(source), "--path-output", str(above), *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)


def _copy_mathjax(target: Path) -> None:
    """Put the part of MathJax that the pages use beside them, so that mathematics needs no network."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None:
        raise CourseError("the package sphinx-mathjax-offline is missing; install the book's dependencies: pip install -e '.[book]'")
    origin = Path(spec.submodule_search_locations[0]) / "static" / "mathjax"
    for name in MATHJAX:
        for path in [origin / name] if (origin / name).is_file() else sorted((origin / name).rglob("*.*")):
            write(target / path.relative_to(origin), path.read_bytes())


def _copy_static(made: Path) -> None:
    """Bring style sheets and pictures up to date: Sphinx copies them only where a page changed too."""
    for path in sorted((made / "source" / "_static").rglob("*.*")):
        write(made / "html" / path.relative_to(made / "source"), path.read_bytes())


def _offer_releases(exercises: list[Page], html: Path) -> None:
    """The theme's own download button, too, hands out the release notebook and not the page."""
    for page in exercises:
        write(html / "_sources" / f"{page.name}.ipynb", page.source.read_bytes())


def _drop_unused_images(html: Path) -> None:
    """Remove figures of earlier renderings, which Sphinx leaves behind."""
    pages = [path.read_text(encoding="utf-8") for path in html.rglob("*.html")]
    used = {unquote(name) for page in pages for name in re.findall(r"_images/([^\"'?#)\s]+)", page)}
    for path in (html / "_images").glob("*"):
        if path.name not in used:
            path.unlink()


def number_figures(app: Any, env: Any) -> None:
    """Number figures, tables and equations by chapter: the first of chapter 2 is 2.1, whichever other chapters there are."""
    last: dict[tuple[str, str], int] = defaultdict(int)  # (chapter or page, kind) -> the last number given
    for document in sorted(env.toc_fignumbers, key=lambda name: (name.endswith("exercises"), name)):
        page = _CHAPTER_PAGE.match(document)
        for kind, figures in env.toc_fignumbers[document].items():
            where = (page["chapter"] if page else document, kind)
            for name in sorted(figures, key=figures.get):
                last[where] += 1
                figures[name] = (int(page["chapter"][:2]), last[where]) if page else (last[where],)


def leave_pieces(app: Any, config: Any) -> None:
    """Undo that Jupyter Book has every page load every script of _static: those of pieces are loaded by the pages that hold them."""
    config.html_js_files = [entry for entry in config.html_js_files if "pieces/" not in str(entry)]


def load_pieces(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Have a page load the scripts of the pieces that it holds, and no other page."""
    names = sorted(set(re.findall(r'class="lm-piece" data-piece="([a-z-]+)"', context.get("body") or "")))
    for name in ["common", *names] if names else []:
        app.add_js_file(f"pieces/{name}.js", loading_method="defer")


def keep_launch_buttons(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Leave the buttons of Colab and Binder on the exercises, whose notebooks are published; the theme puts them on every notebook."""
    if page.rpartition("/")[2] != NOTEBOOK:
        context["header_buttons"] = [button for button in context.get("header_buttons", []) if button.get("label") != "launch-buttons"]


def setup(app: Any) -> dict[str, bool]:
    """Make this module a Sphinx extension, named in _config.yml."""
    app.connect("env-check-consistency", number_figures)
    app.connect("config-inited", leave_pieces)
    app.connect("html-page-context", load_pieces)
    app.connect("html-page-context", keep_launch_buttons, priority=502)  # behind the theme, which adds them
    return {"parallel_read_safe": True, "parallel_write_safe": True}
