"""Where everything of the course lives: the rooms, the chapters, and nbgrader's folders."""

import importlib
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from autograder.errors import CourseError

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = "exercises"  # the name of the one notebook of an assignment
POINTS = 20.0  # what a chapter's exercises add up to
_CHAPTER = re.compile(r"(?P<number>\d\d)_(?P<module>[a-z][a-z0-9]*)")


@dataclass(frozen=True)
class Chapter:
    """One chapter, and where its words, code, checks and variants stand."""

    root: Path
    name: str  # 02_ngrams: the folder's name, and nbgrader's assignment

    @property
    def module(self) -> str:
        return _CHAPTER.fullmatch(self.name)["module"]

    @property
    def number(self) -> int:
        return int(_CHAPTER.fullmatch(self.name)["number"])

    @property
    def folder(self) -> Path:
        return self.root / "chapters" / self.name

    @property
    def exercises(self) -> Path:
        return self.folder / "exercises.md"

    @property
    def solutions(self) -> Path:
        return self.root / "solutions" / f"{self.module}.py"

    @property
    def written(self) -> Path:
        return self.root / "solutions" / f"{self.module}.md"

    @property
    def checks(self) -> Path:
        return self.root / "autograder" / "checks" / f"{self.module}.py"

    @property
    def variants(self) -> Path:
        return self.root / "autograder" / "variants" / f"{self.module}.py"

    @property
    def source(self) -> Path:
        return course(self.root) / "source" / self.name / f"{NOTEBOOK}.ipynb"

    @property
    def release(self) -> Path:
        return course(self.root) / "release" / self.name / f"{NOTEBOOK}.ipynb"


def course(root: Path = ROOT) -> Path:
    """nbgrader's course directory; generated."""
    return root / "autograder" / "course"


def chapters(root: Path = ROOT) -> list[Chapter]:
    """All chapters, in order: the folders of `chapters/` named like 02_ngrams."""
    folders = sorted(path.name for path in (root / "chapters").iterdir() if path.is_dir() and path.name[:1].isdigit())
    for name in folders:
        if not _CHAPTER.fullmatch(name):
            raise CourseError(f"chapters/{name} is no chapter's name: two digits, an underscore, lower-case letters, as in 02_ngrams")
    return [Chapter(root, name) for name in folders]


def chapter(name: str, root: Path = ROOT) -> Chapter:
    """The chapter of that name; a name that there is not raises CourseError."""
    known = chapters(root)
    for candidate in known:
        if candidate.name == name:
            return candidate
    listing = ", ".join(candidate.name for candidate in known)
    raise CourseError(f"chapter {name} is unknown; the chapters are {listing} (python -m autograder --help)")


def load(chapter: Chapter, path: Path) -> ModuleType:
    """Import one of a chapter's modules: its solutions, checks or variants, also where the root is not this repository."""
    dotted = ".".join(path.relative_to(chapter.root).with_suffix("").parts)
    if chapter.root == ROOT:
        return importlib.import_module(dotted)
    name = f"{dotted} of {chapter.root}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
