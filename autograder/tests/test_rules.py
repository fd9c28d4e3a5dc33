"""The rules of the house: what may import what, which versions stand where, what every module begins with."""

import ast
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from autograder import environment
from autograder.layout import ROOT, chapters
from autograder.sources import ModuleSource
from lmkit import corpus, tokenizer

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ROOMS = ("chapters", "solutions", "autograder")
PYTHON_FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "course" not in path.parts)


def imported(path: Path) -> set[str]:
    """The top-level packages that a module imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    room = path.relative_to(ROOT).parts[0]
    forbidden = {"chapters": {"solutions", "autograder"}, "solutions": {"autograder"}}.get(room, set())
    if path.parent.name == "checks":
        forbidden = {"solutions", "autograder"}  # a check runs in a notebook, where there is only lmkit
    assert not imported(path) & forbidden


@pytest.mark.parametrize("chapter", chapters(), ids=lambda chapter: chapter.name)
def test_pages_import_neither_solutions_nor_autograder(chapter):
    for path in chapter.folder.glob("*.md"):
        assert not re.findall(r"^\s*(?:from|import) +(?:solutions|autograder)\b", path.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_module_says_what_it_is_for(path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    assert docstring.splitlines()[0].rstrip().endswith((".", ":", ","))


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
