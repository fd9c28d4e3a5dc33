"""Joins words, solutions and checks into nbgrader's source notebooks, and lets nbgrader make the release from them."""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from autograder.errors import CourseError
from autograder.layout import NOTEBOOK, POINTS, Chapter, course
from autograder.sources import BEGIN, END, ModuleSource, merge_imports
from lmkit.cache import write_whole

GIVEN = "given"  # the tag of a cell that holds what a chapter gives, and exercises below may use
_ID = re.compile(r"[A-Za-z0-9_-]+")
_HEADING = re.compile(r"^#{1,6} .*$", re.MULTILINE)


@dataclass(frozen=True)
class Exercise:
    """One exercise: a function, a class, or one method of a class, with the checks of its name."""

    name: str  # count_ngrams or MultiHeadAttention: the checks' argument
    method: str | None  # forward, where the exercise is that method alone
    visible: tuple[str, ...]  # names of its checks, in the order of the file
    hidden: tuple[str, ...]
    visible_points: float
    hidden_points: float

    @property
    def points(self) -> float:
        return self.visible_points + self.hidden_points


@dataclass
class Assembled:
    """A chapter's source notebook, and what stands in it."""

    notebook: NotebookNode
    exercises: list[Exercise] = field(default_factory=list)
    written: dict[str, float] = field(default_factory=dict)  # slug -> points

    @property
    def points(self) -> float:
        return sum(exercise.points for exercise in self.exercises) + sum(self.written.values())


def assemble(chapter: Chapter) -> Assembled:
    """Build a chapter's source notebook in memory. Raises CourseError naming the file and what is wrong in it."""
    return _Assembler(chapter).run()


def grade_id(chapter: Chapter, name: str, part: str = "") -> str:
    """The id of a cell in nbgrader's gradebook. It never changes once released, so it is made of names only."""
    made = f"{chapter.module}-{name}{'-' + part if part else ''}"
    if not _ID.fullmatch(made):
        raise CourseError(f"{chapter.name}: {made!r} cannot be a grade id; use letters, digits, underscores and hyphens only")
    return made


class _Assembler:
    def __init__(self, chapter: Chapter):
        self.chapter = chapter
        self.solutions = ModuleSource(chapter.solutions)
        self.checks = ModuleSource(chapter.checks)
        self.by_exercise = _checks_by_exercise(self.checks)
        self.written = read_written(chapter.written) if chapter.written.exists() else {}
        self.out = Assembled(new_notebook(metadata=_notebook_metadata()))
        self.available: set[str] = set()  # names that cells above define

    def run(self) -> Assembled:
        where = f"chapters/{self.chapter.name}/exercises.md"
        for cell in read_notebook(self.chapter.exercises).cells:
            known = [key for key in ("exercise", "given", "written") if key in cell.metadata]
            if cell.cell_type == "markdown":
                self._add(new_markdown_cell(cell.source))
            elif not known:
                self._add(new_code_cell(cell.source))
            elif len(known) > 1 or cell.source.strip():
                raise CourseError(f"{where}: the cell of {cell.metadata[known[0]]} must name one thing and hold no code")
            else:
                getattr(self, f"_{known[0]}")(self._local_name(str(cell.metadata[known[0]]), where))
        if not self.out.exercises:
            raise CourseError(f"{where} has no exercise; name at least one in a code cell, as in `:exercise: {self.chapter.module}.name`")
        self._check_the_whole(where)
        for i, cell in enumerate(self.out.notebook.cells):
            cell.id = f"cell-{i:03d}"
        return self.out

    def _check_the_whole(self, where: str) -> None:
        unused = set(self.by_exercise) - {exercise.name for exercise in self.out.exercises}
        if unused:
            raise CourseError(f"{self.chapter.checks.name} checks {', '.join(sorted(unused))}, which {where} does not name")
        unused = set(self.written) - set(self.out.written)
        if unused:
            raise CourseError(f"{self.chapter.written.name} answers {', '.join(sorted(unused))}, which {where} does not name")
        if self.out.points != POINTS:
            parts = [f"{exercise.name} {exercise.points:g}" for exercise in self.out.exercises]
            parts += [f"{slug} {points:g}" for slug, points in self.out.written.items()]
            raise CourseError(f"{where}: the points add up to {self.out.points:g}, not {POINTS:g} ({', '.join(parts)})")

    def _local_name(self, dotted: str, where: str) -> str:
        module, _, name = dotted.partition(".")
        if module != self.chapter.module or not name:
            raise CourseError(f"{where}: {dotted!r} must begin with the chapter's own module, as in {self.chapter.module}.name")
        return name

    def _add(self, cell: NotebookNode, **nbgrader: object) -> None:
        if nbgrader:
            cell.metadata["nbgrader"] = {"schema_version": 3, "task": False, "cell_type": cell.cell_type, **nbgrader}
        self.out.notebook.cells.append(cell)

    def _given(self, name: str) -> None:
        self._defined_in_solutions(name)
        text = self._solution_text(name, self.solutions.segment(self.solutions.definitions[name]))
        self._add(new_code_cell(text, metadata={"tags": [GIVEN]}))
        self.available.add(name)

    def _exercise(self, dotted: str) -> None:
        name, _, method = dotted.partition(".")
        node = self._defined_in_solutions(name)
        if name in self.available:
            raise CourseError(f"{self.chapter.name}: {name} stands twice in exercises.md; each exercise names another function or class")
        if method and not any(isinstance(child, ast.FunctionDef) and child.name == method for child in getattr(node, "body", [])):
            raise CourseError(f"{self.chapter.solutions.name} has no method {dotted}, which exercises.md names")
        exercise = self._make_exercise(name, method or None)
        self._announce(f"{_points(exercise.points)}: {exercise.visible_points:g} by the checks below, "
                       f"{exercise.hidden_points:g} by hidden checks that run when your work is graded.", name)  # fmt: skip
        text = self.solutions.with_markers(name, method or None)
        if BEGIN not in text:
            raise CourseError(f"{self.chapter.solutions.name}: {name} has no body that students could write")
        source = self._solution_text(name, text)
        self._add(new_code_cell(source), grade=False, solution=True, locked=False, grade_id=grade_id(self.chapter, name))
        for part, names, points in (
            ("visible", exercise.visible, exercise.visible_points),
            ("hidden", exercise.hidden, exercise.hidden_points),
        ):
            cell = new_code_cell(self._check_text(name, part, names, points))
            identity = grade_id(self.chapter, name, part)
            self._add(cell, grade=True, solution=False, locked=True, points=points, grade_id=identity)
        self.available.add(name)
        self.out.exercises.append(exercise)

    def _make_exercise(self, name: str, method: str | None) -> Exercise:
        checks = self.by_exercise.get(name, {})
        for part in ("visible", "hidden"):
            if not any(kind == part for kind, _ in checks.values()):
                raise CourseError(f"{self.chapter.checks.name} has no {part} check of {name}; every exercise has at least one")
        visible = {check: points for check, (kind, points) in checks.items() if kind == "visible"}
        hidden = {check: points for check, (kind, points) in checks.items() if kind == "hidden"}
        return Exercise(name, method, tuple(visible), tuple(hidden), sum(visible.values()), sum(hidden.values()))

    def _written(self, slug: str) -> None:
        if slug in self.out.written:
            raise CourseError(f"{self.chapter.name}: {slug} stands twice in exercises.md; each written question has its own name")
        if slug not in self.written:
            raise CourseError(f"{self.chapter.written.name} has no section {slug!r}, which exercises.md names")
        answer = self.written[slug]
        self._announce(f"{_points(answer.points)}, given by a person who reads your answer.", slug)
        cell = new_markdown_cell(f"{BEGIN}\n{answer.text}\n{END}")
        self._add(cell, grade=True, solution=True, locked=False, points=answer.points, grade_id=grade_id(self.chapter, slug))
        self.out.written[slug] = answer.points

    def _defined_in_solutions(self, name: str) -> ast.stmt:
        if name not in self.solutions.definitions:
            raise CourseError(f"{self.chapter.solutions.name} has no {name}, which chapters/{self.chapter.name}/exercises.md names")
        return self.solutions.definitions[name]

    def _solution_text(self, name: str, text: str) -> str:
        """A cell that runs by itself: the imports it uses, the assignments (type aliases) it uses, the definition."""
        imports, names = self.solutions.needs(name)
        definitions = [other for other in names if other != name and other not in self.available]
        for other in definitions:
            if isinstance(self.solutions.definitions[other], ast.FunctionDef | ast.ClassDef):
                raise CourseError(f"{self.chapter.name}: {name} uses {other}, which no cell above it defines; add a cell `:given:` for it")
        # a dict, as below: `a, b = …` stands once
        aliases = dict.fromkeys(self.solutions.segment(self.solutions.definitions[other]) for other in definitions)
        above = "\n\n".join("\n".join(part) for part in (imports, aliases) if part)
        return f"{above}\n\n\n{text}" if above else text

    def _check_text(self, exercise: str, part: str, names: tuple[str, ...], points: float) -> str:
        imports, definitions = self.checks.needs(*names)
        clash = set(definitions) & (set(self.solutions.definitions) | self.available)
        if clash:
            raise CourseError(f"{self.chapter.checks.name}: {', '.join(sorted(clash))} is a name of the solutions too; call it otherwise")
        imports = merge_imports([*imports, "from lmkit.check import run"])
        body = dict.fromkeys(self.checks.segment(self.checks.definitions[name]) for name in definitions)
        blocks = ["\n".join(imports), *body, f'run("{exercise}", globals(), [{", ".join(names)}])']
        code = "\n\n\n".join(blocks)
        if part == "visible":
            return f"# Checks of {exercise} ({_points(points)}). Run this cell as often as you like; the grader has its own copy.\n{code}"
        title = f"# Hidden checks of {exercise} ({_points(points)}) run here when your work is graded."
        return f"{title}\n### BEGIN HIDDEN TESTS\n{code}\n### END HIDDEN TESTS"

    def _announce(self, sentence: str, name: str) -> None:
        """Write the points under the heading of the statement that stands above."""
        cell = next((cell for cell in reversed(self.out.notebook.cells) if cell.cell_type == "markdown"), None)
        headings = list(_HEADING.finditer(cell.source)) if cell is not None else []
        if not headings or "nbgrader" in cell.metadata or "*Worth " in cell.source[headings[-1].end() :]:
            raise CourseError(f"{self.chapter.name}: {name} needs a statement of its own, with a heading, above it")
        end = headings[-1].end()
        cell.source = f"{cell.source[:end]}\n\n*Worth {sentence}*\n{cell.source[end:]}".rstrip()


def _points(number: float) -> str:
    return f"{number:g} point{'' if number == 1 else 's'}"


def read_notebook(path: Path) -> NotebookNode:
    """Read a MyST notebook. Raises CourseError where there is none, or where its header would make its cells vanish."""
    if not path.exists():
        raise CourseError(f"{path.parent.name}/{path.name} is missing; every chapter has one")
    text = path.read_text(encoding="utf-8")
    if "extension: .md" not in text.partition("\n---\n")[0]:
        raise CourseError(f"{path.parent.name}/{path.name}: its header lacks `extension: .md`; without it the cells are lost")
    return jupytext.reads(text, fmt="md:myst")


@dataclass(frozen=True)
class Written:
    """A written question's model answer and rubric, and what it is worth."""

    points: float
    text: str


def read_written(path: Path) -> dict[str, Written]:
    """Slug -> answer, from a file with a section `## slug (2 points)` a question."""
    sections = re.split(r"^## +", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    answers = {}
    for section in sections:
        heading, _, body = section.partition("\n")
        match = re.fullmatch(r"(?P<slug>\S+) \((?P<points>[\d.]+) points?\)\s*", heading)
        if not match or not body.strip():
            raise CourseError(f"solutions/{path.name}: '## {heading}' must read '## slug (2 points)' and have an answer below it")
        if match["slug"] in answers:
            raise CourseError(f"solutions/{path.name}: '## {match['slug']}' stands twice; each written question has its own name")
        answers[match["slug"]] = Written(float(match["points"]), body.strip())
    return answers


def _checks_by_exercise(checks: ModuleSource) -> dict[str, dict[str, tuple[str, float]]]:
    """Exercise -> check -> ("visible" or "hidden", points), read from the decorators."""
    found: dict[str, dict[str, tuple[str, float]]] = {}
    for name, node in checks.definitions.items():
        for decorator in getattr(node, "decorator_list", []):
            kind = getattr(getattr(decorator, "func", None), "id", "")
            if kind not in ("visible", "hidden"):
                continue
            arguments = [keyword.value for keyword in decorator.keywords] + decorator.args
            numbers = [argument.value for argument in arguments if isinstance(argument, ast.Constant)]
            if len(arguments) != 1 or not numbers or not isinstance(numbers[0], int | float) or len(node.args.args) != 1:
                raise CourseError(f"{checks.path.name}: {name} needs @{kind}(points=number) and one argument, named after its exercise")
            found.setdefault(node.args.args[0].arg, {})[name] = (kind, float(arguments[0].value))
    return found


def _notebook_metadata() -> dict:
    return {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def write_source(chapter: Chapter) -> bool:
    """Assemble a chapter into nbgrader's `source/`. Returns whether anything changed; a foreign file there is refused."""
    assembled = assemble(chapter)
    folder = chapter.source.parent
    foreign = sorted(path.name for path in folder.glob("*") if path.name not in (chapter.source.name, ".ipynb_checkpoints"))
    if foreign:
        raise CourseError(f"course/source/{chapter.name} holds {foreign[0]}, which would be released; move it away")
    text = nbformat.writes(assembled.notebook) + "\n"
    if chapter.source.exists() and chapter.source.read_text(encoding="utf-8") == text:
        return False
    from autograder.nbgrader_api import refuse_new_cells  # nbgrader takes more than a second to import

    cells = [cell.metadata["nbgrader"] for cell in assembled.notebook.cells if "nbgrader" in cell.metadata]
    refuse_new_cells(course(chapter.root), chapter.name, {cell["grade_id"] for cell in cells if cell["grade"]})
    write_whole(chapter.source, text)
    return True


def make_release(wanted: Iterable[Chapter], force: bool = False) -> list[str]:
    """Write the sources of the chapters and let nbgrader make their releases. Returns the names of those that changed.

    A chapter whose source is as it was, and whose release and place in the gradebook stand, is left alone unless `force` is set.
    """
    from autograder.nbgrader_api import generate  # nbgrader takes more than a second to import

    changed = []
    for chapter in wanted:
        stale = write_source(chapter)
        if stale or force or not chapter.release.exists() or not _in_gradebook(chapter):
            try:
                generate(course(chapter.root), chapter.name)
                _check_release(chapter)
            except BaseException:
                chapter.source.unlink()  # so that the next time does not take the old release for a new one
                raise
            changed.append(chapter.name)
    return changed


def _in_gradebook(chapter: Chapter) -> bool:
    """Whether the gradebook knows the chapter: it may have been moved away, or be a new one."""
    from autograder.gradebook import Records

    try:
        with Records(course(chapter.root), chapter.name):
            return True
    except CourseError:
        return False


def _check_release(chapter: Chapter) -> None:
    text = chapter.release.read_text(encoding="utf-8")
    for marker in (BEGIN, END, "BEGIN HIDDEN TESTS", "END HIDDEN TESTS"):
        if marker in text:
            chapter.release.unlink()
            raise CourseError(f"the release of {chapter.name}/{NOTEBOOK} still holds '{marker}' and was removed; report this as a bug")
