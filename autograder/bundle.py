"""Makes the student bundle: all that a student needs to do the exercises, and nothing that gives one away."""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import Template

from packaging.requirements import Requirement

from autograder.errors import CourseError
from autograder.layout import ROOT, chapters
from autograder.leaks import find_leaks
from autograder.plain import one_line
from lmkit.cache import write_whole

README = Path(__file__).with_suffix(".md")
VALIDATE = Path(__file__).with_name("bundle_validate.py")  # nbgrader's settings in the bundle
WITH_THE_WHEEL = ("jupyterlab", "nbgrader")  # what a student needs beside the packages that a notebook imports
DATE = (2026, 1, 1, 0, 0, 0)  # of every file: the same commit makes the same bytes
_EPOCH = "1767225600"  # the same moment, in seconds since 1970


@dataclass(frozen=True)
class Project:
    """What pyproject.toml says: no name, version or range is written anywhere else."""

    root: Path

    @cached_property
    def _table(self) -> dict:
        return tomllib.loads((self.root / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    @property
    def name(self) -> str:
        return self._table["name"]

    @property
    def bundle(self) -> str:
        """The name of the zip file without its ending, and of the one folder in it."""
        return f"{self.name}-{self._table['version']}"

    @property
    def python(self) -> str:
        return self._table["requires-python"]

    @property
    def dependencies(self) -> list[str]:
        """What a lesson or an exercise imports, a line a package."""
        return self._table["dependencies"]

    def requirement(self, name: str) -> str:
        """The line that asks for a package, from the dependencies or from any of the extras."""
        lines = self._table["dependencies"] + [line for extra in self._table["optional-dependencies"].values() for line in extra]
        return next(line for line in lines if Requirement(line).name == name)


def student_folder(target: Path, root: Path = ROOT) -> Path:
    """Write the bundle's content into the empty folder `target`, which is made where it is not; return it.

    The release notebooks must be there. Raises CourseError where one is missing, and where something would give an answer away.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CourseError(f"{target} is not an empty folder; name a new one")
    missing = [chapter.name for chapter in chapters(root) if not chapter.release.exists()]
    if missing:
        raise CourseError(f"the release notebook of {missing[0]} is missing; make it with: python -m autograder assemble")
    with tempfile.TemporaryDirectory() as scratch:  # what cannot be finished leaves no half-filled folder
        made = Path(scratch) / "folder"
        made.mkdir()
        for name in ("LICENSE", "constraints.txt"):
            write_whole(made / name, (root / name).read_bytes())
        for chapter in chapters(root):
            write_whole(made / chapter.name / chapter.release.name, chapter.release.read_bytes())
        _refuse_secrets(made, root)  # before the wheel, which takes long to search and holds chapters/lmkit alone, which is public
        wheel = build_wheel(made, root)
        for name, text in _texts(Project(root), wheel.name).items():
            write_whole(made / name, text)
        shutil.copytree(made, target, dirs_exist_ok=True)
    return target


def _texts(project: Project, wheel: str) -> dict[str, str]:
    """The files that are written for the bundle, by name."""
    asked = ["--constraint constraints.txt", f"./{wheel}", *map(project.requirement, WITH_THE_WHEEL)]
    pip = "".join(f"      - {line}\n" for line in asked)
    conda = f"name: {project.name}\nchannels:\n  - conda-forge\ndependencies:\n  - python{project.python}\n  - pip\n  - pip:\n{pip}"
    words = {"name": project.name, "python": project.python, "wheel": wheel}
    return {
        "README.md": Template(README.read_text(encoding="utf-8")).substitute(words),
        "environment.yml": f"# For conda. The packages of the pip part are those of requirements.txt.\n{conda}",
        "requirements.txt": "# For pip, in this folder: pip install -r requirements.txt\n" + "".join(f"{line}\n" for line in asked),
        "nbgrader_config.py": VALIDATE.read_text(encoding="utf-8"),
    }


def build_wheel(target: Path, root: Path = ROOT) -> Path:
    """Build the wheel of lmkit into a folder, from a copy of its sources alone: what an older build left behind stays out."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "course"
        for name in ("pyproject.toml", "LICENSE", "chapters/lmkit"):
            _copy(root / name, copy / name)
        pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet"]
        command = [*pip, "--wheel-dir", str(target.resolve()), str(copy)]
        environment = os.environ | {"SOURCE_DATE_EPOCH": _EPOCH}
        done = subprocess.run(command, cwd=scratch, env=environment, umask=0o022, capture_output=True, text=True, check=False)
    built = sorted(target.glob("*.whl"))
    if done.returncode or not built:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
        raise CourseError(f"pip could not build the wheel of lmkit; it says: {one_line(said[-1], 300)}")
    return built[-1]


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder with fixed modes, without what Python compiled."""
    files = [source] if source.is_file() else [path for path in sorted(source.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    for file in files:
        place = target / file.relative_to(source) if source.is_dir() else target
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
        place.chmod(0o644)


def _refuse_secrets(folder: Path, root: Path) -> None:
    """Raise CourseError, and remove the folder, where a file gives an answer away or names a place on this machine."""
    found = [str(leak) for leak in find_leaks(root, [folder])]
    places = [str(place).encode() for place in (root, Path.home()) if len(place.parts) > 1]
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found += [f"{path.name} holds the path {place.decode()}" for place in places if place in path.read_bytes()]
    if found:
        shutil.rmtree(folder)
        raise CourseError(f"the bundle was not made: {found[0]}")


def write_zip(folder: Path, name: str, to: Path) -> Path:
    """Zip a folder's files below one folder `name`, with sorted names, one date and one mode; return the file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            member = zipfile.ZipInfo(f"{name}/{path.relative_to(folder).as_posix()}", DATE)
            member.external_attr, member.create_system, member.compress_type = 0o100644 << 16, 3, zipfile.ZIP_DEFLATED
            archive.writestr(member, path.read_bytes())
    write_whole(to, buffer.getvalue())
    return to


def bundle(to: Path | None = None, folder: Path | None = None, root: Path = ROOT) -> Path:
    """Make the student bundle as a zip file, build/NAME-VERSION.zip unless `to` says where; also as a folder, where one is named."""
    name = Project(root).bundle
    with tempfile.TemporaryDirectory() as scratch:
        made = student_folder(folder or Path(scratch) / name, root)
        return write_zip(made, name, to or root / "build" / f"{name}.zip")
