"""Variants of the reference solutions: wrong ones that the checks must fail, and other right ones that they must pass."""

from collections.abc import Callable
from dataclasses import dataclass

from autograder.errors import CourseError
from autograder.layout import Chapter, load
from autograder.sources import ModuleSource

_declared: list[tuple[str, "Declaration"]] = []  # (module, declaration), filled while a variants module is imported


@dataclass(frozen=True)
class Declaration:
    """What a variants module says of one variant."""

    name: str
    exercise: str
    fails: str | None  # the first check that must fail; None: a right variant, which must pass all
    says: str  # a phrase of that check's message, which names the mistake
    edits: tuple[tuple[str, str], ...]  # changes to the reference's text; empty where the variant is written out


@dataclass(frozen=True)
class Variant:
    """A variant and its code, which defines the exercise's name when it runs where the solutions' names are."""

    name: str
    exercise: str
    fails: str | None
    says: str
    code: str

    @property
    def right(self) -> bool:
        return self.fails is None


def wrong(of: str, fails: str, says: str) -> Callable:
    """Declare the function or class below as a wrong variant of exercise `of`: check `fails` is the first to fail, and says `says`."""
    return _declare(of, fails, says)


def right(of: str) -> Callable:
    """Declare the function or class below as another right answer to exercise `of`."""
    return _declare(of, None, "")


def _declare(of: str, fails: str | None, says: str) -> Callable:
    def remember(definition: Callable) -> Callable:
        _declared.append((definition.__module__, Declaration(definition.__name__, of, fails, says, ())))
        return definition

    return remember


def edited(module: str, name: str, of: str, edits: dict[str, str], fails: str | None = None, says: str = "") -> None:
    """Declare a variant that is the reference with some text changed; each key of `edits` stands in it exactly once.

    module: `__name__` of the variants module. Without `fails` the variant is a right one.
    """
    _declared.append((module, Declaration(name, of, fails, says, tuple(edits.items()))))


def load_variants(chapter: Chapter) -> list[Variant]:
    """All variants of a chapter, in the order of its variants module."""
    source, solutions = ModuleSource(chapter.variants), ModuleSource(chapter.solutions)
    module = load(chapter, chapter.variants)
    declared = [declaration for where, declaration in _declared if where == module.__name__]
    names = [declaration.name for declaration in declared]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise CourseError(f"{chapter.variants.name} declares {', '.join(sorted(repeated))} twice; give each variant its own name")
    codes = [_edit(solutions, one) if one.edits else _written(source, one) for one in declared]
    return [Variant(one.name, one.exercise, one.fails, one.says, code) for one, code in zip(declared, codes, strict=True)]


def _edit(solutions: ModuleSource, declaration: Declaration) -> str:
    if declaration.exercise not in solutions.definitions:
        raise CourseError(f"variant {declaration.name} is of {declaration.exercise}, which {solutions.path.name} does not define")
    text = solutions.segment(solutions.definitions[declaration.exercise])
    for old, new in declaration.edits:
        if text.count(old) != 1:
            raise CourseError(f"variant {declaration.name}: {old!r} stands {text.count(old)} times in {declaration.exercise}, not once")
        text = text.replace(old, new)
    return text


def _written(source: ModuleSource, declaration: Declaration) -> str:
    imports, names = source.needs(declaration.name)
    imports = [line for line in imports if "autograder.variant" not in line]
    parts = dict.fromkeys(source.segment(source.definitions[name], decorators=name != declaration.name) for name in names)
    return "\n\n\n".join(["\n".join(imports), *parts, f"{declaration.exercise} = {declaration.name}"]).lstrip()
