"""The rules of the house: what may import what, which versions stand where, what every module begins with."""

import ast
import importlib.util
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from autograder import environment
from autograder.assemble import read_notebook
from autograder.layout import ROOT, chapters
from autograder.sources import ModuleSource
from lmkit import corpus, tokenizer

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ROOMS = ("chapters", "solutions", "autograder")
PYTHON_FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "course" not in path.parts)


NOTEBOOKS = [path for path in sorted((ROOT / "chapters").glob("*/*.md")) + sorted((ROOT / "book").glob("*.md"))
             if path.read_text(encoding="utf-8").startswith("---\njupytext:")]  # fmt: skip
WITH_THE_KERNEL = {"IPython", "matplotlib_inline"}  # a notebook that runs has them


def imported(path: Path) -> set[str]:
    """The top-level packages that a module or a notebook imports, wherever in it."""
    if path.suffix == ".md":
        code = "\n".join(cell.source for cell in read_notebook(path).cells if cell.cell_type == "code")
        return set(re.findall(r"^\s*(?:import|from)\s+(\w+)", code, re.MULTILINE))
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in names}


@cache
def declared(*extras: str) -> set[str]:
    """The packages that pyproject.toml names: the dependencies, and those of these extras."""
    project = PYPROJECT["project"]
    texts = project["dependencies"] + [text for extra in extras for text in project["optional-dependencies"][extra]]
    return {canonicalize_name(Requirement(text).name) for text in texts}


@cache
def at_hand(*extras: str) -> set[str]:
    """What is declared, and what each of these packages itself requires: a plugin of nbgrader may import traitlets."""
    found = declared(*extras)
    for name in [*found]:
        try:
            needed = map(Requirement, requires(name) or [])
        except PackageNotFoundError:  # the outside judge may be left out
            continue
        found = found | {canonicalize_name(one.name) for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})}
    return found


PACKAGES = cache(packages_distributions)  # it looks through all that is installed


def undeclared(path: Path) -> set[str]:
    """What a module or a notebook imports that the environment of its readers need not have."""
    room = path.relative_to(ROOT).parts[0]
    graders = room == "autograder" and path.parent.name not in ("checks", "variants")
    allowed = at_hand(*PYPROJECT["project"]["optional-dependencies"]) if graders else at_hand()
    modules = imported(path) - sys.stdlib_module_names - {"lmkit", "solutions", "autograder"}
    packages = {module: PACKAGES().get(module, [module]) for module in modules}
    return {module for module, names in packages.items() if not allowed & {canonicalize_name(name) for name in names}}


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    room = path.relative_to(ROOT).parts[0]
    forbidden = {"chapters": {"solutions", "autograder"}, "solutions": {"autograder"}}.get(room, set())
    if path.parent.name == "checks":
        forbidden = {"solutions", "autograder"}  # a check runs in a notebook, where there is only lmkit
    assert not imported(path) & forbidden


@pytest.mark.parametrize("path", [*PYTHON_FILES, *NOTEBOOKS], ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_imported_is_declared(path):
    """A student has the dependencies alone; whoever builds and grades has the extras, too."""
    known = WITH_THE_KERNEL if path.is_relative_to(ROOT / "chapters") else set()
    if path.name == "page.py":
        known = known | {"myst_nb"}  # where a book is built; elsewhere it does without
    if path.name == "test_scale.py":
        known = {"no_such_package"}
    assert undeclared(path) <= known


def test_what_makes_the_environment_needs_none():
    assert imported(ROOT / "autograder" / "environment.py") <= sys.stdlib_module_names


@pytest.mark.parametrize("chapter", chapters(), ids=lambda chapter: chapter.name)
def test_pages_import_neither_solutions_nor_autograder(chapter):
    for path in chapter.folder.glob("*.md"):
        assert not re.findall(r"^\s*(?:from|import) +(?:solutions|autograder)\b", path.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_module_says_what_it_is_for(path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    first = docstring.splitlines()[0].rstrip()
    assert first.endswith("."), "its first line is a whole sentence"
    assert not re.search(r"[.!?] +[A-Z`\"]", first), "one sentence; what more there is to say stands below"


def requirements() -> list[Requirement]:
    project = PYPROJECT["project"]
    texts = project["dependencies"] + [text for extra in project["optional-dependencies"].values() for text in extra]
    return [Requirement(text) for text in texts]


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def test_only_torch_is_pinned_and_everything_else_has_a_range():
    for requirement in requirements():
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators == ({"=="} if requirement.name == "torch" else {">=", "<"}), requirement


def test_the_tested_versions_lie_within_the_ranges():
    tested = constraints()
    for requirement in requirements():
        assert requirement.specifier.contains(tested[requirement.name.lower()]), requirement


def test_the_conda_door_repeats_no_version_but_pythons():
    door = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    python, pip, packages = door
    assert pip == "pip"
    assert SpecifierSet(python.removeprefix("python")) == SpecifierSet(PYPROJECT["project"]["requires-python"])
    assert packages == {"pip": ["--constraint constraints.txt", f"--editable .[{environment.EXTRAS}]"]}


def test_another_python_is_refused_in_a_sentence():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    allowed = SpecifierSet(PYPROJECT["project"]["requires-python"])
    for minor in range(6, 20):
        if allowed.contains(f"3.{minor}"):
            environment.check_python(text, (3, minor))
        else:
            with pytest.raises(environment.Problem, match=rf"Python 3\.{minor} does not fit: the course needs 3\.11 or later"):
                environment.check_python(text, (3, minor))


def test_nothing_but_the_toolkit_is_installed():
    assert PYPROJECT["tool"]["setuptools"]["packages"] == ["lmkit"]


def test_a_network_that_is_not_there_is_named(tmp_path):
    log = tmp_path / "install.log"
    log.write_text("Collecting torch\n  NewConnectionError(...): Failed to establish\nERROR: No matching distribution found for torch\n")
    assert "the package registry could not be reached" in environment.why(str(log))
    log.write_text("Collecting torch\nERROR: No space left on device\n")
    assert "No space left on device" in environment.why(str(log))


def test_the_newest_versions_are_taken_where_that_is_asked(monkeypatch):
    monkeypatch.delenv(environment.NEWEST, raising=False)
    tested = environment.fingerprint()
    assert environment.choice() == ["-c", "constraints.txt"]
    monkeypatch.setenv(environment.NEWEST, "1")
    assert "constraints.txt" not in environment.choice()
    assert environment.fingerprint() != tested


def test_changed_versions_are_listed():
    installed = "narwhals==2.29.0\nPyYAML==6.0.3\nsphinx_design==0.8.0\ntorch==2.13.0+cpu\npip==25.1\nnewcomer==1.0\n"
    tested = "# words\nnarwhals==2.28.0\npyyaml==6.0.3\nsphinx-design==0.8.0\ntorch==2.13.0\nkenlm==0.3.0\n"
    rows = environment.changes(installed, tested).splitlines()[4:]
    assert rows == ["| kenlm | 0.3.0 | none |", "| narwhals | 2.28.0 | 2.29.0 |", "| newcomer | none | 1.0 |"]


def test_body_lines_leave_the_docstring_out(tmp_path):
    path = tmp_path / "module.py"
    path.write_text('"""A module."""\n\n\ndef f(\n    x,  # :\n):\n    """Doc."""\n    # why\n    return x\n', encoding="utf-8")
    source = ModuleSource(path)
    assert [line for _, line in source.body_lines(source.definitions["f"])] == ["    return x"]
    assert "# why" in source.with_markers("f").partition("### BEGIN")[2]


def test_every_public_function_has_a_docstring():
    for path in (ROOT / "chapters" / "lmkit").glob("*.py"):
        module = ast.parse(path.read_text(encoding="utf-8"))
        for node in module.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


def test_the_package_is_found_where_it_stands():
    assert Path(importlib.util.find_spec("lmkit").origin).parent == ROOT / "chapters" / "lmkit"


def test_the_versions_that_error_messages_name_are_the_tested_ones():
    assert constraints()["gensim"] == corpus.GENSIM
    assert constraints()["tokenizers"] == tokenizer.TOKENIZERS
