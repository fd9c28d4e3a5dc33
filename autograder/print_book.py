"""Makes the printed book: stages the built pages for paper, lets Sphinx write LaTeX, and typesets it with LuaLaTeX to one PDF."""

import base64
import contextlib
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import yaml
from bs4 import BeautifulSoup, Tag
from docutils import nodes
from nbformat import NotebookNode
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from sphinx import addnodes
from sphinx.builders.latex.nodes import thebibliography
from sphinx.transforms.post_transforms import SphinxPostTransform

from autograder.book import ASSIGNMENTS, jupyter_book
from autograder.errors import CourseError
from autograder.layout import ROOT
from autograder.pages import write, write_all

NAME = "language-models-by-hand"
PROGRAMS = ("lualatex", "latexmk", "rsvg-convert")
PACKAGES = (
    "texlive-luatex texlive-latex-extra latexmk librsvg2-bin fonts-texgyre fonts-texgyre-math fonts-dejavu-core fonts-dejavu-extra "
    "fonts-noto-core fonts-wqy-zenhei fonts-symbola"
)
INSTALL = f"apt-get install --no-install-recommends {PACKAGES}"
SETUP = (  # of Sphinx's LaTeX
    "hmargin={22mm,22mm}, vmargin={24mm,24mm}, VerbatimColor={HTML}{F5F5F5}, VerbatimBorderColor={HTML}{CCCCCC}, pre_border-radius=2pt, "
    "verbatimforcewraps=true"
)
PREAMBLE = Path(__file__).with_suffix(".tex")
ABOUT = """## About this book

This is the printed form of the book, version {version}. It holds every page: the lessons with their review cards, the statements of all
exercises, and the pages for instructors. Three things stay on the screen. The code that makes a figure or a table, which the web pages fold
away, is left out; so are the checks of the exercises, which their notebooks bring. And where a page has a piece to work with, here stands a
picture of one of its states.
"""
LONG_TABLE = 24  # lines; a longer table may go on over the next page
LINE = 80  # characters that fit on a line of the page
ZOOM = 0.8  # of pictures, whose lettering is made for a screen
_DOWNLOAD = re.compile(r"^:::\{div\} lm-download\n.*?^:::\n", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"\{download\}`([^`<]*?) ?<[^`]*>`")  # a link to a file, within a sentence
_CARD = re.compile(r"^:::\{grid-item-card\} (.*)\n(?::.*\n)*\n(.*(?:\n.+)*)\n:::$", re.MULTILINE)
_GRID = re.compile(r"^::::(?:\{grid\}.*(?:\n:.*)*)?$", re.MULTILINE)
_UNSEEN = str.maketrans("", "", "{}_^")
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_CHAPTER = re.compile(r"(\d\d)_[a-z0-9]+/lesson")


def print_book(root: Path = ROOT, *, verbose: bool = False, console: Console | None = None) -> Path:
    """Typeset the book that was built below book/_build, and return the path of the PDF.

    Errors: CourseError where a program is missing, where no book was built, and where Sphinx or LaTeX fail.
    """
    console = console or Console()
    require_programs()
    made = root / "book" / "_build"
    _look_at_book(root, made, console)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("staging the pages", total=None)

        def say(what: str) -> None:
            progress.update(task, description=what)

        stage(made / "source", made / "print", _version(root))
        say("writing LaTeX")
        _write_latex(made / "print", verbose, console)
        pdf = _typeset(made / "print" / "_build" / "latex", say)
    missing = missing_characters(pdf.with_suffix(".log").read_text(encoding="utf-8", errors="replace"))
    if missing:
        console.print(f"no font has these characters, which are blank in the PDF: {' '.join(missing)}", markup=False, soft_wrap=True)
    target = made / f"{NAME}.pdf"
    shutil.copyfile(pdf, target)
    return target


def _look_at_book(root: Path, made: Path, console: Console) -> None:
    """Refuse where no book was built; say so where a page changed since."""
    try:
        built = (made / "stamp.json").stat().st_mtime
    except FileNotFoundError:
        raise CourseError("there is no built book to print, or its last build failed; run: python -m autograder book") from None
    pages = [*(root / "book").glob("*.md"), *(root / "chapters").glob("*_*/*.md"), *(root / "chapters").glob("*_*/*.yml")]
    changed = [path.relative_to(root).as_posix() for path in sorted(pages) if path.stat().st_mtime > built]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        console.print(f"{changed[0]}{more} changed since the book was built; the PDF shows it as it was built", soft_wrap=True)


def require_programs() -> None:
    """Raise CourseError where a program that the printed book needs is missing."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise CourseError(f"the PDF needs {', '.join(missing)}; on Debian, as root: {INSTALL}")


def _version(root: Path) -> str:
    project = root / "pyproject.toml" if (root / "pyproject.toml").exists() else ROOT / "pyproject.toml"
    return tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]


def stage(source: Path, target: Path, version: str) -> None:
    """Copy the staged pages of the book to `target`, made fit for paper. What is there already and still fits stays as it is."""
    staged = {}
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if path.is_file() and not name.startswith((f"{ASSIGNMENTS}/", "_static/")):
            staged[name] = path.read_bytes()
    notebooks = [name for name in staged if name.endswith(".ipynb")]
    with ThreadPoolExecutor(2) as pool:
        read = {name: nbformat.reads(staged[name].decode("utf-8"), as_version=4) for name in notebooks}
        for name, notebook in zip(notebooks, pool.map(printed, read.values()), strict=True):
            staged[name] = nbformat.writes(notebook, version=4).encode("utf-8")
    for name in [name for name in staged if name.endswith(".md")]:
        staged[name] = without_files(staged[name].decode("utf-8")).encode("utf-8")
    staged["index.md"] = printed_index(staged["index.md"].decode("utf-8"), version).encode("utf-8")
    staged["_config.yml"] = printed_config(staged["_config.yml"].decode("utf-8"), version).encode("utf-8")
    write_all(target, staged, keep="_build")


def without_files(text: str) -> str:
    """Markdown without its links to files: paper hands out none."""
    return _FILE.sub(r"\1", _DOWNLOAD.sub("", text))


def printed(notebook: NotebookNode) -> NotebookNode:
    """A page's notebook for paper: without folded code, checks and downloads; its pictures as PDF, its tables as Markdown."""
    notebook.cells = [cell for cell in notebook.cells if not _stays_on_screen(cell)]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = without_files(cell.source)
            continue
        tags = cell.metadata.get("tags", [])
        cell.metadata["tags"] = ["remove-input" if tag == "hide-input" else tag for tag in tags]
        for output in cell.get("outputs", []):
            if "data" in output:
                output.data = printed_output(output.data)
    return notebook


def _stays_on_screen(cell: NotebookNode) -> bool:
    """Whether a cell holds checks, or waits for a written answer."""
    about = cell.metadata.get("nbgrader", {})
    return bool(about.get("grade")) and (not about.get("solution") or cell.cell_type == "markdown")


def printed_output(data: dict[str, str]) -> dict[str, str]:
    """One output in the form that paper can show: a picture as PDF, a table as Markdown; others as they are."""
    if "image/svg+xml" in data:
        return {
            "application/pdf": base64.b64encode(pdf_of(data["image/svg+xml"])).decode("ascii"),
            "text/plain": data.get("text/plain", ""),
        }
    table = BeautifulSoup(data.get("text/html", ""), "html.parser").find("table")
    if table is not None:
        return {"text/markdown": markdown_table(table), "text/plain": data.get("text/plain", "")}
    return data


def pdf_of(svg: str) -> bytes:
    """A picture as PDF, drawn by rsvg-convert."""
    done = subprocess.run(["rsvg-convert", "--format=pdf", f"--zoom={ZOOM}"], input=svg.encode("utf-8"), capture_output=True, check=False)
    if done.returncode:
        raise CourseError(f"a figure could not be turned into PDF: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def markdown_table(table: Tag) -> str:
    """An HTML table as a Markdown table, with its alignments; its caption stands above it."""
    rows = [row.find_all(["th", "td"]) for row in table.find_all("tr")]
    rules = ["---:" if "text-align:right" in str(cell.get("style", "")).replace(" ", "") else ":---" for cell in rows[0]]
    lines = [[_escaped(cell) for cell in row] for row in rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rules, *lines[1:]])
    return f"*{_escaped(table.caption)}*\n\n{text}\n" if table.caption else f"{text}\n"


def _escaped(cell: Tag) -> str:
    return _PUNCTUATION.sub(r"\\\1", " ".join(cell.get_text().split()))


def printed_index(text: str, version: str) -> str:
    """The first page as a chapter of its own: its sections go one level down, below a word on the printed book."""
    title, _, body = _GRID.sub("", _CARD.sub(r"**\1.** \2", text)).partition("\n")
    return f"{title}\n\n{ABOUT.format(version=version)}\n{re.sub(r'^#', '##', body, flags=re.MULTILINE)}"


def printed_config(text: str, version: str) -> str:
    """The book's own configuration, with what LaTeX needs added."""
    config = yaml.safe_load(text)
    config.pop("logo", None)
    licence = BeautifulSoup(config["html"].pop("extra_footer", ""), "html.parser").get_text().strip()
    config["html"].pop("favicon", None)
    config["latex"] |= {"latex_engine": "lualatex", "latex_documents": {"targetname": f"{NAME}.tex"}}
    fonts, preamble = PREAMBLE.read_text(encoding="utf-8").split("%% preamble\n")
    settings = config["sphinx"]["config"]
    settings["extensions"].append("autograder.print_book")
    settings |= {
        "release": version,
        "nb_render_markdown_format": "myst",
        "latex_use_xindy": False,
        "pygments_style": "tango",
        "latex_elements": {
            "papersize": "a4paper",
            "pointsize": "10pt",
            "classoptions": ",openany,oneside",
            "sphinxsetup": SETUP,
            "fncychap": "",
            "fontpkg": fonts,
            "preamble": preamble,
            "maketitle": rf"\lmtitlepage{{{config['title']}}}{{Version {version}, {config['copyright']}}}{{{licence}}}",
            "fvset": r"\fvset{fontsize=\small}",
        },
    }
    return yaml.safe_dump(config, allow_unicode=True, sort_keys=False)


def _write_latex(folder: Path, verbose: bool, console: Console) -> None:
    """Have Jupyter Book write folder/_build/latex."""
    done, output = jupyter_book(folder, folder, "--builder", "latex", "-W", "--keep-going")
    write(folder / "sphinx.log", output)
    if verbose:
        console.print(output, markup=False, highlight=False)
    if done:
        raise CourseError(f"the LaTeX of the book was not written; all that Sphinx said is in {folder / 'sphinx.log'}")
    path = folder / "_build" / "latex" / f"{NAME}.tex"
    write(path, mended(path.read_text(encoding="utf-8")))


def mended(latex: str) -> str:
    """LaTeX without the replacement character, which LuaTeX takes for a broken byte; a command of the preamble prints it."""
    return latex.replace("\ufffd", r"\lmreplaced{}")


def _typeset(folder: Path, say: Callable[[str], None]) -> Path:
    """Run LuaLaTeX as often as the references need, and return the path of the PDF."""
    command = ["latexmk", "-lualatex", "-interaction=nonstopmode", "-halt-on-error", f"{NAME}.tex"]
    run, page = 0, "0"
    with (
        _whole(folder),
        open(folder / "latexmk.log", "w", encoding="utf-8") as log,
        subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as process,
    ):
        for line in process.stdout or ():
            log.write(line)
            run += "Run number" in line and "lualatex" in line
            page = (re.findall(r"\[(\d+)", line) or [page])[-1]
            say(f"typesetting, run {run}: page {page}")
        if process.wait():
            log.flush()
            told = re.search(r"^! .*$", (folder / "latexmk.log").read_text(encoding="utf-8"), re.MULTILINE)
            raise CourseError(f"LaTeX stopped ({told[0] if told else 'no reason told'}); all that it said is in {folder / 'latexmk.log'}")
    return folder / f"{NAME}.pdf"


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[None]:
    """Remove what LaTeX noted for its next run if this one is broken off: half a note would stop that one too."""
    try:
        yield
    except BaseException:
        for path in folder.glob(f"{NAME}.*"):
            if path.suffix != ".tex":
                path.unlink()
        raise


def missing_characters(log: str) -> list[str]:
    """The characters of which LuaLaTeX's log says that no font has them."""
    return sorted(set(re.findall(r"^Missing character: There is no (\S+)", log, re.MULTILINE)))


class PrintTransform(SphinxPostTransform):
    """Fits the tree of the whole book for LaTeX: parts and numbers of chapters, aligned tables, one bibliography, an index of terms."""

    default_priority = 900
    formats = ("latex",)

    def run(self, **kwargs: Any) -> None:
        """Change the tree."""
        parts = _first_pages(Path(self.app.srcdir) / "_toc.yml")
        for file in list(self.document.findall(addnodes.start_of_file)):
            file.insert(0, nodes.raw("", _commands(file["docname"], parts), format="latex"))
            if file["docname"] == "bibliography":
                for works in list(self.document.findall(thebibliography)):
                    works.parent.remove(works)
                    file.append(works)
        for card in self.document.findall(_is_card):
            card["classes"].append("lm-card")
        for table in list(self.document.findall(nodes.table)):
            table.parent.insert(table.parent.index(table), addnodes.tabular_col_spec(spec=column_types(table)))
        _index_terms(self.document)


def _is_card(node: nodes.Node) -> bool:
    return isinstance(node, nodes.container) and "lm-card" in node.get("container_classes", [])


def _index_terms(document: nodes.document) -> None:
    """Let the index name every paragraph that links a term, and in bold where the glossary explains it."""
    terms = {name: term.astext() for term in document.findall(nodes.term) for name in term["ids"]}
    for own in [own for term in document.findall(nodes.term) for own in term.findall(addnodes.index)]:
        explained = own.parent.parent.next_node(nodes.paragraph)
        own.parent.remove(own)
        if explained is not None:
            explained.insert(0, addnodes.index(entries=own["entries"]))
    for link in list(document.findall(nodes.reference)):
        term = terms.get(link.get("refuri", "").rpartition("#")[2])
        place: nodes.Node = link
        while term and place.parent is not None and not isinstance(place.parent, nodes.paragraph):
            place = place.parent
        if term and isinstance(place.parent, nodes.paragraph):
            place.parent.insert(place.parent.index(place), addnodes.index(entries=[("single", term, "", "", None)]))


def _first_pages(toc: Path) -> dict[str, str]:
    """The name of each part, by its first page; an empty name for the other pages that begin a chapter."""
    parts = yaml.safe_load(toc.read_text(encoding="utf-8"))["parts"]
    return {entry["file"]: part["caption"] if i == 0 else "" for part in parts for i, entry in enumerate(part["chapters"])}


def _commands(page: str, parts: dict[str, str]) -> str:
    """What LaTeX has to do before a page: begin a part, number the chapter as its folder is, or leave its number out."""
    if page not in parts:
        return r"\clearpage"
    number, _, name = parts[page].rpartition(" · ")
    part = rf"\lmpart{{{number.removeprefix('Part ')}}}{{{name}}}" if name else ""
    lesson = _CHAPTER.fullmatch(page)
    return part + (rf"\lmchapter{{{int(lesson[1]) - 1}}}" if lesson else r"\lmunnumbered")


def column_types(table: nodes.table) -> str:
    """The columns of a table for LaTeX: numbers to the right, as its cells say, text to the left; wide columns break their lines.

    A table that may not fit on the rest of a page becomes one that goes on over the next.
    """
    rows = [[_width(entry) for entry in row.children] for row in table.findall(nodes.row)]
    sides = ["left" if "text-right" in entry["classes"] else "right" for entry in next(table.findall(nodes.row)).children]
    if len(rows) + sum(map(sum, rows)) / LINE <= LONG_TABLE:
        return "".join("R" if side == "left" else "L" for side in sides)
    table["classes"].append("longtable")
    widths = [max(column) for column in zip(*rows, strict=True)]
    if sum(widths) + 2 * len(widths) < LINE:
        return "".join("r" if side == "left" else "l" for side in sides)
    weights = [min(max(width, 10), 60) for width in widths]
    shares = [weight / sum(weights) for weight in weights]
    return "".join(rf">{{\ragged{side}\arraybackslash}}\Y{{{share:.3f}}}" for side, share in zip(sides, shares, strict=True))


def _width(entry: nodes.entry) -> int:
    """About how many characters wide a cell is; a command of a formula counts as one."""
    return len(re.sub(r"\\[a-z]+", "x", entry.astext()).translate(_UNSEEN))


def setup(app: Any) -> dict[str, bool]:
    """Make this module a Sphinx extension, named in the configuration of the printed book."""
    app.add_post_transform(PrintTransform)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
