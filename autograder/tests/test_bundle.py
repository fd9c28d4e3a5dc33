"""The student bundle: what it holds, and a student who has nothing else, in an environment of its own and in JupyterLab."""

import contextlib
import importlib.metadata
import inspect
import io
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from traitlets.config import PyFileConfigLoader

from autograder import bundle
from autograder.assemble import assemble
from autograder.database import CONFIG
from autograder.errors import CourseError
from autograder.layout import ROOT, Chapter, chapter, chapters
from autograder.leaks import find_leaks
from autograder.submissions import Answers, fill, reference_codes
from autograder.tests.conftest import make_releases, write
from autograder.tests.served import served
from autograder.tests.test_formgrader import browser, shoot, until  # noqa: F401  (browser is a fixture)
from solutions import ngrams

PROJECT = bundle.Project(ROOT)
WHEEL = "language_models_by_hand-{}-py3-none-any.whl"


@pytest.fixture
def room(toy):
    """The toy course with all that a bundle is made of; lmkit is one module and one model."""
    for name in ("pyproject.toml", "constraints.txt", "LICENSE"):
        shutil.copy(ROOT / name, toy.root / name)
    write(toy.root / "chapters" / "lmkit" / "__init__.py", '"""The toolkit."""\n')
    write(toy.root / "chapters" / "lmkit" / "data" / "words.txt", "a word\n")
    write(toy.release, nbformat.writes(nbformat.v4.new_notebook()))
    return toy.root


def test_the_bundle_holds_what_a_student_needs_and_its_bytes_are_the_same_again(room, tmp_path):
    write(room / "build" / "lib" / "lmkit" / "stale.py", '"""What an older build left behind."""\n')
    first = bundle.bundle(folder=tmp_path / "folder", root=room)
    assert first == room / "build" / f"{PROJECT.bundle}.zip"
    with zipfile.ZipFile(first) as archive:
        names = archive.namelist()
        dates = {member.date_time for member in archive.infolist()}
        held = {name.partition("/")[2]: archive.read(name) for name in names}
    wheel = WHEEL.format(PROJECT.bundle.rpartition("-")[2])
    assert names == sorted(names)
    assert {name.partition("/")[0] for name in names} == {PROJECT.bundle}
    assert dates == {bundle.DATE}
    written = {"LICENSE", "README.md", "constraints.txt", "environment.yml", "nbgrader_config.py", "requirements.txt"}
    assert set(held) == {"01_toy/exercises.ipynb", wheel} | written
    assert {path.relative_to(tmp_path / "folder").as_posix(): path.read_bytes() for path in files(tmp_path / "folder")} == held
    inside = zipfile.ZipFile(io.BytesIO(held[wheel])).namelist()
    assert [name for name in inside if ".dist-info/" not in name] == ["lmkit/__init__.py", "lmkit/data/words.txt"]
    write(room / "chapters" / "lmkit" / "__init__.py", '"""The toolkit."""\n')
    (room / "chapters" / "lmkit" / "__init__.py").chmod(0o600)
    assert bundle.bundle(to=tmp_path / "again.zip", root=room).read_bytes() == first.read_bytes()


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_versions_and_ranges_are_those_of_the_course(room, tmp_path):
    folder = bundle.student_folder(tmp_path / "folder", room)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        metadata = message_from_bytes(archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))))
    needs = {Requirement(line) for line in metadata.get_all("Requires-Dist") if "extra ==" not in line}
    assert needs == {Requirement(line) for line in PROJECT._table["dependencies"]}
    assert next(need for need in needs if need.name == "torch").specifier == SpecifierSet(constraint("torch"))
    assert SpecifierSet(metadata["Requires-Python"]) == SpecifierSet(PROJECT.python)
    conda = yaml.safe_load((folder / "environment.yml").read_text(encoding="utf-8"))
    python, pip, packages = conda["dependencies"]
    assert (conda["name"], python, pip) == (PROJECT.name, f"python{PROJECT.python}", "pip")
    asked = [line for line in (folder / "requirements.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert packages["pip"] == asked
    assert asked[:2] == ["--constraint constraints.txt", f"./{wheel.name}"]
    assert {Requirement(line).name for line in asked[2:]} == {"jupyterlab", "nbgrader"}
    assert (folder / "constraints.txt").read_bytes() == (ROOT / "constraints.txt").read_bytes()


def constraint(name: str) -> str:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next(line.removeprefix(name) for line in lines if line.startswith(f"{name}=="))


def test_a_cell_may_take_as_long_for_a_student_as_for_the_grader():
    ours, theirs = (PyFileConfigLoader(path.name, path=str(path.parent)).load_config() for path in (CONFIG, bundle.VALIDATE))
    assert theirs["Execute"]["timeout"] == ours["Execute"]["timeout"]


def test_what_is_wrong_is_said_in_one_sentence(room, toy, tmp_path):
    (tmp_path / "full").mkdir()
    write(tmp_path / "full" / "mine.ipynb", "")
    with pytest.raises(CourseError, match="full is not an empty folder; name a new one"):
        bundle.student_folder(tmp_path / "full", room)
    write(toy.release, "doubled_by_reference = [2 * number for number in numbers]")
    with pytest.raises(CourseError, match=r"not made: .*holds a line of solutions/toy\.py"):
        bundle.student_folder(tmp_path / "leak", room)
    assert not (tmp_path / "leak").exists()
    write(toy.release, f"see {room}/solutions")
    with pytest.raises(CourseError, match=r"not made: exercises\.ipynb holds the path"):
        bundle.student_folder(tmp_path / "place", room)
    toy.release.unlink()
    with pytest.raises(CourseError, match="release notebook of 01_toy is missing; make it with: python -m autograder assemble"):
        bundle.student_folder(tmp_path / "none", room)
    assert not (tmp_path / "none").exists()


@dataclass(frozen=True)
class Student:
    """A person who has the bundle and nothing else."""

    folder: Path  # the unzipped bundle
    python: Path  # of the environment
    variables: dict[str, str]

    def run(self, *command: str, seconds: float = 300) -> str:
        """Run a program of the environment in the folder, as the README says; return all it said."""
        program = [str(self.python.with_name(command[0])), *command[1:]]
        done = subprocess.run(program, cwd=self.folder, env=self.variables, capture_output=True, text=True, timeout=seconds, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> Student:
    """A student with the unzipped bundle, a home of her own, and an environment made by `pip install -r requirements.txt`.

    The packages that pip would download are laid ready, as links to this environment's, and pip is kept from the network: it finds
    each package, in a version that the bundle's ranges and constraints allow, or fails. With COURSE_DOWNLOAD=1 it downloads all of them.
    """
    home = tmp_path_factory.mktemp("student")
    make_releases(*chapters())
    with zipfile.ZipFile(bundle.bundle(home / "bundle.zip")) as archive:
        archive.extractall(home)
    folder, python = home / PROJECT.bundle, home / ".venv" / "bin" / "python"
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG") or name.startswith("PIP_")}
    variables = kept | {"HOME": str(home / "home"), "LMKIT_CACHE": str(home / "cache"), "PIP_NO_COMPILE": "1"}
    found = Student(folder, python, variables)
    (home / "home").mkdir()
    download = bool(os.environ.get("COURSE_DOWNLOAD"))
    subprocess.run([sys.executable, "-m", "venv", *([] if download else ["--without-pip"]), str(home / ".venv")], check=True)
    if not download:
        variables["PIP_NO_INDEX"] = "1"
        beside = [line for line in (folder / "requirements.txt").read_text(encoding="utf-8").splitlines() if line[0] not in "#-."]
        for distribution in closure([*PROJECT._table["dependencies"], *beside, "pip"]):
            lay_ready(distribution, home / ".venv")
    start = time.monotonic()
    found.run("python", "-m", "pip", "install", "-r", "requirements.txt", seconds=1800)
    progress(f"installed in {time.monotonic() - start:.0f} s")
    return found


def progress(sentence: str) -> None:
    print(sentence, file=sys.__stderr__, flush=True)


def closure(asked: list[str]) -> list[importlib.metadata.Distribution]:
    """The distributions of this environment that these requirements need, and those that they need."""
    todo, seen, found = [(Requirement(line), "") for line in asked], set(), {}
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        distribution = importlib.metadata.distribution(requirement.name)
        for wanted in ("", *requirement.extras):
            if (distribution.name, wanted) not in seen:
                seen.add((distribution.name, wanted))
                found[distribution.name] = distribution
                todo += [(Requirement(line), wanted) for line in distribution.requires or ()]
    return list(found.values())


def lay_ready(distribution: importlib.metadata.Distribution, environment: Path) -> None:
    """Put an installed distribution into another environment: links to its modules, copies of its other files (Jupyter serves no link)."""
    site = environment / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    for file in distribution.files:
        source, target = Path(distribution.locate_file(file)), Path(os.path.normpath(site / file))
        if not source.is_file() or source.suffix == ".pyc":
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_relative_to(site):
            target.symlink_to(source)
        else:  # a program names its Python in its first line
            target.write_bytes(source.read_bytes().replace(sys.executable.encode(), str(environment / "bin" / "python").encode()))
            target.chmod(0o755)


@contextlib.contextmanager
def jupyterlab(student: Student) -> Iterator[str]:
    """JupyterLab started in the bundle's folder, as the README says, without a browser and without a token; its address."""
    program = [str(student.python.with_name("jupyter")), "lab"]
    with served(program, student.folder, student.variables, student.folder.parent / "lab.log") as address:
        yield address


class Notebook:
    """A notebook in JupyterLab, used with keyboard and mouse."""

    def __init__(self, driver, address: str, path: str):
        self.browser, self.shots = driver, 0
        driver.get(f"{address}/lab/tree/{path}")
        until(lambda: self.ask("return document.querySelectorAll('.jp-Notebook .jp-Cell').length > 3"), f"{path} in JupyterLab", 90)
        self.wait(seconds=90)

    def ask(self, script: str, *arguments):
        return self.browser.execute_script(script, *arguments)

    def wait(self, seconds: float = 60) -> None:
        """Wait until the kernel has nothing to do."""
        idle = "return document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'"
        until(lambda: self.ask(idle), "an idle kernel", seconds)

    def press(self, *keys: str, held: str | None = None) -> None:
        from selenium.webdriver import ActionChains

        chain = ActionChains(self.browser)
        if held:
            chain.key_down(held)
        for key in keys:
            chain.send_keys(key)
        if held:
            chain.key_up(held)
        chain.perform()

    def active(self) -> str:
        """The text of the cell that has the focus, with its output."""
        return self.ask("return document.querySelector('.jp-Notebook .jp-Cell.jp-mod-active')?.innerText ?? ''")

    def go_to(self, text: str, up: bool = False) -> None:
        """Move with the arrow keys to the next cell, or the one before, that holds this text."""
        from selenium.webdriver.common.keys import Keys

        self.press(Keys.ESCAPE)
        for _ in range(60):
            if text in self.active():
                return
            self.press(Keys.ARROW_UP if up else Keys.ARROW_DOWN)
            time.sleep(0.1)
        raise AssertionError(f"no cell holds {text!r}")

    def run(self) -> None:
        """Run the active cell with Shift and Enter, which goes on to the next."""
        from selenium.webdriver.common.keys import Keys

        self.press(Keys.ENTER, held=Keys.SHIFT)
        time.sleep(0.3)
        self.wait()

    def type_over(self, lines: list[str], last: int) -> None:
        """Type lines over the last ones of the active cell; JupyterLab indents them."""
        from selenium.webdriver.common.keys import Keys

        self.press(Keys.ENTER)
        self.press(Keys.END, held=Keys.CONTROL)
        self.press(*[Keys.ARROW_UP] * (last - 1), Keys.HOME, held=Keys.SHIFT)
        for line in lines[:-1]:
            self.press(line, Keys.ENTER)
        self.press(lines[-1])

    def validate(self, seconds: float = 180) -> str:
        """Press *Validate*; return what its dialog says, and close it."""
        from selenium.webdriver.common.by import By

        next(button for button in self.browser.find_elements(By.CSS_SELECTOR, ".validate-button") if button.is_displayed()).click()
        told = until(lambda: self.ask("return document.querySelector('#validation-message')?.innerText"), "Validate's answer", seconds)
        self.shoot("validated")
        self.browser.find_element(By.CSS_SELECTOR, ".jp-Dialog .jp-mod-accept").click()
        until(lambda: not self.ask("return document.querySelector('.jp-Dialog')"), "the end of the dialog")
        return told

    def return_to_cell(self) -> None:
        from selenium.webdriver.common.by import By

        self.browser.find_element(By.CSS_SELECTOR, ".jp-Cell.jp-mod-active .jp-InputPrompt").click()

    def shoot(self, name: str) -> None:
        self.shots += 1
        shoot(self.browser, f"student-{self.shots}-{name}")


BODY = [line.strip() for line in inspect.getsource(ngrams.add_k_probability).splitlines()[-3:]]
NAMED = "# Checks of add_k_probability (1 point). Run this cell as often as you like; the grader has its own copy."


@pytest.mark.slow
def test_a_student_types_a_wrong_answer_mends_it_and_validates(student, browser):  # noqa: F811
    with jupyterlab(student) as address:
        progress("JupyterLab runs")
        lab = Notebook(browser, address, "02_ngrams/exercises.ipynb")
        lab.go_to("def add_k_probability(")
        lab.type_over([line.replace("k * V", "k") for line in BODY], last=1)
        lab.shoot("wrong")
        lab.run()
        assert NAMED in lab.active()
        lab.run()
        lab.go_to(NAMED, up=True)
        lab.shoot("failed")
        assert "✘ failed  The worked example: counts 2 and 1, k = 0.5, V = 4  (0.5 points)" in lab.active()
        assert "expected 0.5000: k is added for each of the V tokens" in " ".join(lab.active().split())
        progress("a wrong answer fails with its reason")
        told = lab.validate()
        assert f"{NAMED} ✘ failed The worked example" in " ".join(told.split())
        lab.return_to_cell()
        lab.go_to("def add_k_probability(", up=True)
        lab.type_over(BODY, last=len(BODY))
        lab.run()
        lab.run()
        lab.go_to(NAMED, up=True)
        lab.shoot("mended")
        assert "1 of 1 point" in lab.active()
        progress("the right one passes")
        told = lab.validate()
        assert NAMED not in told
        assert told.count("The following cell failed") == 7  # the other six exercises, and the question
        assert "count_ngrams is not written yet" in told
        assert "You did not provide a response." in told
        progress("Validate tells them apart")
    saved = nbformat.read(student.folder / "02_ngrams" / "exercises.ipynb", 4)
    assert "\n".join(f"    {line}" for line in BODY) in next(cell.source for cell in saved.cells if "def add_k" in cell.source)


PRAISE = "Success! Your notebook passes all the tests."


def solved(student: Student, one: Chapter) -> str:
    """The path, in the bundle, of this chapter's notebook with all answers right."""
    answers = Answers("ada", reference_codes(one, assemble(one)), written=True, trying=False)
    nbformat.write(fill(one, answers), student.folder / one.name / "solved.ipynb")
    return f"{one.name}/solved.ipynb"


@pytest.mark.slow
def test_validate_praises_a_solved_notebook(student):
    assert PRAISE in student.run("nbgrader", "validate", solved(student, chapter("02_ngrams")))


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("COURSE_EVERY_NOTEBOOK"), reason="takes ten minutes; COURSE_EVERY_NOTEBOOK=1 runs it")
@pytest.mark.parametrize("one", chapters(), ids=lambda one: one.name)
def test_validate_in_jupyterlab_tells_every_solved_notebook_from_the_blank_one(student, browser, one):  # noqa: F811
    wanted = {solved(student, one): PRAISE, f"{one.name}/exercises.ipynb": "The following cell failed"}
    with jupyterlab(student) as address:
        told = {path: Notebook(browser, address, f"{path}?reset").validate(900) for path in wanted}
    assert {path: wanted[path] in said for path, said in told.items()} == dict.fromkeys(wanted, True), told


@pytest.mark.slow
def test_a_blank_notebook_finds_all_that_it_needs(student):
    """Every cell runs, of the chapter that reads gensim's texts and the encoder; what is not written yet is said by the checks alone."""
    notebook = "11_embeddings/exercises.ipynb"
    student.run("jupyter", "execute", "--inplace", "--allow-errors", notebook)
    ran = nbformat.read(student.folder / notebook, 4)
    errors = [output for cell in ran.cells for output in cell.get("outputs", ()) if output.output_type == "error"]
    assert [f"{error.ename}: {error.evalue}" for error in errors] == []
    checks = [cell for cell in ran.cells if cell.metadata.get("nbgrader", {}).get("grade_id", "").endswith("-visible")]
    assert all("is not written yet" in "".join(output.get("text", "") for output in cell.outputs) for cell in checks)


@pytest.mark.slow
def test_the_bundle_gives_no_answer_away(student, tmp_path):
    """Also what the wheel holds, and in any disguise; only the numbers of models are left out, which take long to search."""
    (wheel,) = student.folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        texts = [name for name in archive.namelist() if not name.endswith((".npy", ".safetensors"))]
        archive.extractall(tmp_path / "wheel", texts)
    for name in ("README.md", "environment.yml", "requirements.txt", "nbgrader_config.py"):
        shutil.copy(student.folder / name, tmp_path)
    assert find_leaks(ROOT, [tmp_path]) == []
    held = b"".join(path.read_bytes() for path in files(tmp_path))
    assert str(ROOT).encode() not in held
