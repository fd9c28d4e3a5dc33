"""The leak gate: searches everything that students and readers receive for solutions, hidden checks and model answers."""

import ast
import html
import io
import re
import tokenize
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autograder.errors import CourseError
from autograder.layout import chapters, course
from autograder.sources import Definition, ModuleSource

SHORTEST_CODE = 20  # characters without white space: a shorter line of code proves nothing
SHORTEST_PROSE = 32  # letters and digits: a shorter sentence may stand anywhere
WHOLE = 3  # so many lines of one function, all in one chapter file, are the function and not a likeness
_SPACE = b" \t\r\n\f\v"
_LOWER = bytes(range(256)).lower()
_NOT_ALNUM = bytes(i for i in range(256) if not (i < 128 and chr(i).isalnum()))
_TAG = re.compile(r"<[^<>]*>")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_CONTROL = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_GIVEN = re.compile(r"^:given:[ \t]*(\w+)\.([\w.]+)[ \t]*$", re.MULTILINE)
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s")


@dataclass(frozen=True)
class Secret:
    """One line of a solution or a hidden check, or one sentence of a model answer, that nobody but the grader may see."""

    origin: str  # solutions/ngrams.py:42
    function: str  # what the line belongs to; empty for prose
    line: str  # as it is written
    pattern: bytes  # as it is searched for: code without white space, prose without anything but letters and digits
    prose: bool


@dataclass(frozen=True)
class Leak:
    """A secret, and the file in which it was found."""

    file: str  # relative to the repository; a member of a zip file stands behind an exclamation mark
    origin: str
    line: str

    def __str__(self) -> str:
        return f"{self.file} holds a line of {self.origin}: {self.line}"


def find_leaks(root: Path, folders: Iterable[Path] | None = None) -> list[Leak]:
    """Every secret that stands in a file below `folders`, as a rule the release and the built book.

    Secrets are the bodies of all functions in solutions/*.py, of all hidden checks in autograder/checks/*.py, and the
    sentences of solutions/*.md. No secret is what also stands in public sources: chapters/**/*.md, chapters/lmkit/*.py, the
    other parts of these modules, and code that an exercise gives (`:given: module.Name`). But a chapter file that holds
    every line of a solution is a leak. Each file is read raw, with escapes of JSON undone, without HTML tags, and inside zip files.
    """
    secrets, public = _collect(root)
    leaks = dict.fromkeys(_solutions_in_chapters(root, secrets))
    everything = _Scanners(secrets)
    shown = {secret.pattern for text in public for secret in everything.search(text)}
    scanners = _Scanners([secret for secret in secrets if secret.pattern not in shown])
    for folder in folders if folders is not None else (course(root) / "release", root / "book" / "_build" / "html"):
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
            for member, data in _members(name, path.read_bytes()):
                found = {secret for text in _readings(data) for secret in scanners.search(text)}
                leaks |= dict.fromkeys(Leak(member, secret.origin, secret.line) for secret in sorted(found, key=lambda s: s.origin))
    return list(leaks)


def _collect(root: Path) -> tuple[list[Secret], list[str]]:
    """All secrets of a repository, and the texts that are public."""
    public = [path.read_text(encoding="utf-8") for path in _chapter_files(root)]
    public += [path.read_text(encoding="utf-8") for path in sorted((root / "chapters" / "lmkit").rglob("*.py"))]
    exercises = [chapter.exercises.read_text(encoding="utf-8") for chapter in chapters(root) if chapter.exercises.exists()]
    given = {name for text in exercises for name in _GIVEN.findall(text)}
    secrets: list[Secret] = []
    for folder, is_secret in ((root / "solutions", None), (root / "autograder" / "checks", _is_hidden)):
        for path in sorted(folder.glob("*.py")):
            module = ModuleSource(path)
            own = {name for stem, name in given if stem == path.stem} if is_secret is None else set()
            numbers = _secret_lines(module, own, is_secret)
            code = _without_comments(module)
            origin = path.relative_to(root).as_posix()
            secrets += [_code(f"{origin}:{n}", f"{origin}:{function}", code[n - 1]) for n, function in sorted(numbers.items())]
            public.append("\n".join(line for n, line in enumerate(module.lines, 1) if n not in numbers))
    for path in sorted((root / "solutions").glob("*.md")):
        origin = path.relative_to(root).as_posix()
        for n, sentence in _sentences(path.read_text(encoding="utf-8")):
            secrets.append(Secret(f"{origin}:{n}", "", sentence, _normalise(sentence, prose=True), prose=True))
    return [secret for secret in secrets if len(secret.pattern) >= (SHORTEST_PROSE if secret.prose else SHORTEST_CODE)], public


def _chapter_files(root: Path) -> list[Path]:
    return sorted((root / "chapters").rglob("*.md"))


def _code(origin: str, function: str, line: str) -> Secret:
    return Secret(origin, function, line.strip(), _normalise(line, prose=False), prose=False)


def _is_hidden(function: ast.FunctionDef) -> bool:
    names = [getattr(decorator, "func", decorator) for decorator in function.decorator_list]
    return any("hidden" in (getattr(name, "id", ""), getattr(name, "attr", "")) for name in names)


def _secret_lines(module: ModuleSource, given: set[str], is_secret: Callable | None) -> dict[int, str]:
    """Line number -> function, for the bodies of a module's functions; `is_secret` chooses among them, None takes all but the given."""
    numbers: dict[int, str] = {}

    def visit(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            own = f"{name}.{child.name}".lstrip(".") if isinstance(child, Definition) else name
            if isinstance(child, Definition) and own in given:
                continue
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and (is_secret is None or is_secret(child)):
                numbers.update({n: own for n, _ in module.body_lines(child)})
            else:
                visit(child, own)

    visit(module.tree, "")
    return numbers


def _without_comments(module: ModuleSource) -> list[str]:
    lines = list(module.lines)
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return lines


def _sentences(text: str) -> Iterator[tuple[int, str]]:
    """(line number of its paragraph, sentence), headings left out; a list item is a paragraph."""
    start, paragraph = 1, []
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if not line.strip() or line.startswith("#") or _ITEM.match(line):
            yield from ((start, sentence) for sentence in re.split(r"(?<=[.!?])\s+", " ".join(paragraph)) if sentence)
            paragraph = []
        if line.strip() and not line.startswith("#"):
            start = start if paragraph else number
            paragraph.append(_ITEM.sub("", line, count=1).strip())


def _solutions_in_chapters(root: Path, secrets: list[Secret]) -> list[Leak]:
    """Chapter files that hold all lines of a solution: being public makes a line no secret, but not a whole solution."""
    functions: dict[str, list[Secret]] = defaultdict(list)
    for secret in secrets:
        if secret.function.startswith("solutions/"):
            functions[secret.function].append(secret)
    scanners, leaks = _Scanners(secrets), []
    for path in _chapter_files(root):
        shown = {secret.pattern for secret in scanners.search(path.read_text(encoding="utf-8"))}
        for lines in functions.values():
            if len({secret.pattern for secret in lines}) >= WHOLE and all(secret.pattern in shown for secret in lines):
                leaks.append(Leak(path.relative_to(root).as_posix(), lines[0].origin, lines[0].line))
    return leaks


def _normalise(text: str, prose: bool) -> bytes:
    data = text.replace("\u00a0", "").replace("\u200b", "").encode("utf-8", "replace")
    return data.translate(_LOWER, _NOT_ALNUM) if prose else data.translate(None, _SPACE)


def _members(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """A file and, where it is a zip file, everything in it, to any depth."""
    yield name, data
    if data.startswith(b"PK"):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for member in archive.infolist():
                    if not member.is_dir():
                        yield from _members(f"{name}!{member.filename}", archive.read(member))
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise CourseError(f"{name} cannot be searched for leaks ({error}); take it out of what is released") from None


def _readings(data: bytes) -> Iterator[str]:
    """A file's text as it stands, as the strings in it read (JSON in JSON too), and each of these as a browser shows it."""
    text = data.decode("utf-8", "replace")
    for _ in range(3):
        yield text
        if b"\0" in data:  # a model, a font, a database: its text has no escapes
            return
        if "&" in text:
            yield html.unescape(text)  # with the tags: an attribute can hold text too
        if "<" in text:
            yield html.unescape(_TAG.sub("", text))
        if "\\" not in text:
            return
        text = _ESCAPE.sub(_unescaped, text)


def _unescaped(match: re.Match) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else _CONTROL.get(match[3], match[3])


class _Scanner:
    """Finds which of many patterns stand in a text, in one pass: an eight-byte piece of each is looked up at every position."""

    STEP = 1 << 20

    def __init__(self, secrets: list[Secret]):
        """The patterns must have at least eight bytes."""
        self.by_piece: dict[int, list[tuple[int, Secret]]] = defaultdict(list)
        self.marked = np.zeros(1 << 20, dtype=bool)
        for secret in secrets:
            middle = len(secret.pattern) // 2 - 4
            piece = np.frombuffer(secret.pattern[middle : middle + 8], "<u8")
            self.by_piece[int(piece[0])].append((middle, secret))
            self.marked[self._slot(piece)] = True

    @staticmethod
    def _slot(pieces: np.ndarray) -> np.ndarray:
        return (pieces * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(44)

    def search(self, text: bytes) -> set[Secret]:
        """The secrets whose pattern stands in `text`."""
        found: set[Secret] = set()
        for start in range(0, max(len(text) - 7, 0), self.STEP):
            size = min(self.STEP, len(text) - 7 - start)
            pieces = np.ndarray((size,), "<u8", text, offset=start, strides=(1,))
            for i in np.flatnonzero(self.marked[self._slot(pieces)]).tolist():
                for middle, secret in self.by_piece.get(int(pieces[i]), ()):
                    first = start + i - middle
                    if first >= 0 and text[first : first + len(secret.pattern)] == secret.pattern:
                        found.add(secret)
        return found


class _Scanners:
    """Searches a text for code and for prose, each in its own spelling."""

    def __init__(self, secrets: list[Secret]):
        self.scanners = [(prose, _Scanner([secret for secret in secrets if secret.prose == prose])) for prose in (False, True)]

    def search(self, text: str) -> set[Secret]:
        """The secrets that stand in `text`."""
        return {secret for prose, scanner in self.scanners for secret in scanner.search(_normalise(text, prose))}
