"""Takes a submission in: finds its one file, and rebuilds the notebook from the release with the student's sources.

Both run over strangers' bytes. Nothing of a submission is executed here, and nothing of it is believed except the text of
its cells: order, ids, metadata, points and checks are the release's own.
"""

import ast
import codecs
import contextlib
import copy
import json
import os
import re
import stat
from dataclasses import dataclass, field
from functools import cache
from hashlib import md5
from pathlib import Path

from nbformat import NotebookNode

from autograder.layout import NOTEBOOK
from autograder.verdict import MALFORMED, MISSING, TAMPERED, Refused

MAX_ENTRIES = 1_000  # of a submission's folder that are looked at
MAX_CELLS = 2_000
MAX_SOURCE = 1_000_000  # characters of one cell
MAX_BRACKETS = 2_000_000  # of the whole file: each opens a Python object of about 60 bytes
MAX_PARSED = 1_000_000  # characters of a notebook's code that are parsed; beyond that, lines are matched
MAX_NESTING = 80  # brackets in brackets of a cell that is parsed
MAX_NOTES = 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Submission:
    """The bytes of a submitted notebook, and the name of the file they stood in."""

    data: bytes
    name: str

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence where the file was renamed."""
        return () if self.name == f"{NOTEBOOK}.ipynb" else (f"the file was named {_short(self.name)} and was taken as {NOTEBOOK}.ipynb",)


@dataclass(frozen=True)
class Rebuilt:
    """The release's notebook with the student's sources."""

    notebook: NotebookNode
    notes: tuple[str, ...]  # what was mended or found, a sentence each
    tampered: bool  # something that only the grader may write was changed


def read_submission(course: Path, chapter: str, student: str, limit: int = 20 << 20) -> Submission:
    """The notebook in course/submitted/STUDENT/CHAPTER: exercises.ipynb, or the only other notebook there.

    No link is followed below `submitted`, and only a plain file with one name is read, of at most `limit` bytes.
    Raises Refused: tampered, missing or malformed.
    """
    if student in ("", ".", "..") or "/" in student or "\0" in student:
        raise Refused(TAMPERED, f"{_short(student)} cannot be the name of a student's folder; rename it")
    with contextlib.ExitStack() as stack:
        try:
            folder = os.open(course / "submitted", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise Refused(MISSING, f"the folder submitted cannot be opened ({error.strerror})") from None
        stack.callback(os.close, folder)
        for name in (student, chapter):
            folder = _open_below(folder, name, stat.S_ISDIR)
            stack.callback(os.close, folder)
        name = _choose(folder)
        file = _open_below(folder, name, stat.S_ISREG)
        stack.callback(os.close, file)
        return Submission(_read(file, name, limit), name)


def _open_below(folder: int, name: str, wanted: object) -> int:
    """A file descriptor of `name` in an open folder. It is looked at before it is opened: opening a device may do something."""
    try:
        _check_kind(os.stat(name, dir_fd=folder, follow_symlinks=False), name, wanted)
        opened = os.open(name, _OPEN, dir_fd=folder)
    except FileNotFoundError:
        raise Refused(MISSING, f"there is no {_short(name)} among the submissions; ask for the work") from None
    except OSError as error:
        raise Refused(MALFORMED, f"{_short(name)} cannot be read ({error.strerror}); ask for the file again") from None
    try:
        _check_kind(os.fstat(opened), name, wanted)  # what was opened, whatever the name meant a moment ago
    except Refused:
        os.close(opened)
        raise
    return opened


def _check_kind(found: os.stat_result, name: str, wanted: object) -> None:
    plain = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
    if not plain:
        raise Refused(TAMPERED, f"{_short(name)} is a link or a special file, which is never read; ask for a plain file")
    if not wanted(found.st_mode):
        kind, other = ("folder", "file") if wanted is stat.S_ISDIR else ("file", "folder")
        raise Refused(MALFORMED, f"{_short(name)} is a {other} where a {kind} must be; ask for the work again")
    if wanted is stat.S_ISREG and found.st_nlink > 1:
        raise Refused(TAMPERED, f"{_short(name)} is a hard link to a file that has other names too; ask for a plain file")


def _choose(folder: int) -> str:
    """The name of the notebook in an open folder."""
    names: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for i, entry in enumerate(entries):
                if entry.name == f"{NOTEBOOK}.ipynb":
                    return entry.name
                notebook = entry.name.lower().endswith(".ipynb") and not entry.name.startswith(".")
                if notebook and not entry.is_dir(follow_symlinks=False):
                    names.append(entry.name)
                if i >= MAX_ENTRIES:
                    raise Refused(MALFORMED, f"the folder holds more than {MAX_ENTRIES} files; ask for {NOTEBOOK}.ipynb alone")
    except OSError as error:
        raise Refused(MALFORMED, f"the folder of the submission cannot be read ({error.strerror}); mend its permissions") from None
    if not names:
        raise Refused(MISSING, f"there is no notebook in the folder; ask for {NOTEBOOK}.ipynb")
    if len(names) > 1:
        listing = " and ".join(_short(name) for name in sorted(names)[:2])
        found = f"{len(names)} notebooks ({listing})"
        raise Refused(MALFORMED, f"the folder holds {found}, none of them {NOTEBOOK}.ipynb; ask which one counts")
    return names[0]


def _read(file: int, name: str, limit: int) -> bytes:
    data = bytearray()
    try:
        while len(data) <= limit and (piece := os.read(file, min(1 << 20, limit + 1 - len(data)))):
            data += piece
    except OSError as error:
        raise Refused(MALFORMED, f"{_short(name)} cannot be read ({error.strerror}); ask for the file again") from None
    if len(data) > limit:
        raise Refused(MALFORMED, f"{_short(name)} is larger than {limit >> 20} MB; ask for it again with its outputs cleared")
    return bytes(data)


def _short(text: object, most: int = 60) -> str:
    """A stranger's text for a sentence: one line, printable, bounded."""
    text = text if isinstance(text, str) else f"({type(text).__name__})"
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in text[: most + 1])
    return text if len(text) <= most else text[: most - 1] + "…"


@dataclass(frozen=True)
class _Cell:
    """What is taken of a submitted cell."""

    kind: str  # code, markdown or raw
    source: str
    identity: str  # the cell's id; empty where there is none
    mark: dict = field(default_factory=dict)  # metadata.nbgrader

    @property
    def grade_id(self) -> str:
        found = self.mark.get("grade_id")
        return found if isinstance(found, str) else ""


def _parse(data: bytes) -> tuple[list[_Cell], list[str]]:
    """The cells of a submitted file, and notes on what was mended. Raises Refused."""
    text, notes = _decode(data)
    if text.count("[") + text.count("{") > MAX_BRACKETS:
        raise Refused(MALFORMED, "the notebook holds too many values; ask for it again with its outputs cleared")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError, MemoryError):
        raise Refused(MALFORMED, "the file is not JSON, so it is no notebook; ask for it again, saved by Jupyter") from None
    if not isinstance(document, dict) or type(document.get("nbformat")) is not int:
        raise Refused(MALFORMED, "the file is JSON but no notebook; ask for it again, saved by Jupyter")
    if document["nbformat"] != 4 or not isinstance(document.get("cells"), list):
        raise Refused(MALFORMED, "the notebook is not of format 4; ask for it again, saved by Jupyter Notebook 4 or JupyterLab")
    if len(document["cells"]) > MAX_CELLS:
        raise Refused(MALFORMED, f"the notebook has more than {MAX_CELLS} cells; ask for the work in a fresh copy")
    return [_parse_cell(cell) for cell in document["cells"]], notes


def _decode(data: bytes) -> tuple[str, list[str]]:
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
    marks |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # after UTF-32, whose mark begins alike
    encoding = next((name for mark, name in marks.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise Refused(MALFORMED, "the file is not text in UTF-8; ask for it again, saved by Jupyter") from None
    if encoding == "utf-8":
        return text, []
    mended = "began with a byte-order mark" if encoding == "utf-8-sig" else f"was encoded in {encoding.upper()}"
    return text, [f"the file {mended}, and was read all the same"]


def _parse_cell(cell: object) -> _Cell:
    source = cell.get("source") if isinstance(cell, dict) else None
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise Refused(MALFORMED, "a cell of the notebook has no text; ask for the file again, saved by Jupyter")
    if len(source) > MAX_SOURCE:
        raise Refused(MALFORMED, f"a cell of the notebook has more than {MAX_SOURCE:,} characters; ask for the work in a fresh copy")
    source = source.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").removeprefix("\ufeff")
    source = re.sub("[\ud800-\udfff]", "\ufffd", source)
    kind, identity, metadata = cell.get("cell_type"), cell.get("id"), cell.get("metadata")
    mark = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    return _Cell(
        kind if kind in ("code", "markdown") else "raw",
        source,
        identity if isinstance(identity, str) else "",
        mark if isinstance(mark, dict) else {},
    )


_LINES = re.compile(r"^(?:async +def|def|class) +(\w+)|^(\w+) *(?::[^=\n]*)?=(?!=)", re.MULTILINE)


def _names(source: str, parse: bool = True) -> frozenset[str]:
    """The names that code binds at top level. Where it cannot be parsed (a magic, a slip), its lines are matched instead."""
    try:
        if not parse or _nesting(source) > MAX_NESTING:
            raise ValueError
        body = list(ast.parse(source).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset(match[1] or match[2] for match in _LINES.finditer(source))
    found: set[str] = set()
    while body:
        node = body.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
        if isinstance(node, ast.Assign) or (isinstance(node, ast.AnnAssign) and node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            stored = [part for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
            found.update(part.id for part in stored if isinstance(part.ctx, ast.Store))
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            body += getattr(node, block, [])
    return frozenset(found)


def _nesting(source: str) -> int:
    depth = deepest = 0
    for letter in source:
        if letter in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in ")]}":
            depth = max(depth - 1, 0)
    return deepest


def _plain(source: str) -> str:
    """A source without trailing white space, which editors change."""
    return "\n".join(line.rstrip() for line in source.rstrip().split("\n"))


def rebuild(data: bytes, release: NotebookNode) -> Rebuilt:
    """The release with the sources of a submitted file in its solution cells, and the student's other code between them.

    Raises Refused where the bytes are no notebook of format 4, or one beyond the limits above.
    """
    cells, notes = _parse(data)
    return _Rebuilder(cells, release, notes).run()


class _Rebuilder:
    def __init__(self, cells: list[_Cell], release: NotebookNode, notes: list[str]):
        self.cells, self.release, self.notes, self.tampered = cells, release.cells, notes, False
        self.notebook = copy.deepcopy(release)
        self.marks = [dict(cell.metadata.get("nbgrader", {})) for cell in release.cells]
        self.where = {mark["grade_id"]: i for i, mark in enumerate(self.marks) if mark}
        self.solutions = [i for i, mark in enumerate(self.marks) if mark.get("solution")]
        self.checks = [i for i, mark in enumerate(self.marks) if mark and not mark.get("solution")]
        self.others = [i for i, mark in enumerate(self.marks) if not mark and release.cells[i].cell_type == "code"]
        self.defines = {i: self.marks[i]["grade_id"].partition("-")[2] for i in self.solutions}  # its grade id without the module
        self.place: dict[int, int] = {}  # submitted cell -> the release cell that it stands for
        self.taken: dict[int, int] = {}  # release cell -> the submitted cell whose source it gets
        self.dropped: set[int] = set()  # submitted cells that are left out
        self.plain = [_plain(cell.source) for cell in cells]
        parse = sum(len(cell.source) for cell in cells) <= MAX_PARSED
        self.names = cache(lambda k: _names(cells[k].source, parse))  # submitted cell -> what it defines

    def run(self) -> Rebuilt:
        carriers = self._look_at_marks()
        for i in self.checks:
            self._drop_check(i, carriers.get(i, []))
        for i in self.solutions:
            if i in carriers:
                self._choose_copy(i, carriers[i])
        self._find_others(by_id=False)
        for i in self.solutions:
            if i not in self.taken:
                self._find_lost(i)
        self._find_others(by_id=True)
        self._note_order()
        for i, k in self.taken.items():
            source, written = self.cells[k].source, self.release[i].cell_type == "markdown"
            if written and "(attachment:" in source:
                name = self.marks[i]["grade_id"]
                self.notes.append(f"pictures pasted into the answer {name} are not taken over; look at the submitted file")
            self.notebook.cells[i].source = neutral(source) if written else source
        self._insert_kept()
        notes = list(dict.fromkeys(self.notes))
        if len(notes) > MAX_NOTES:
            notes[MAX_NOTES - 1 :] = [f"{len(notes) - MAX_NOTES + 1} more notes are left out"]
        return Rebuilt(self.notebook, tuple(notes), self.tampered)

    def _tamper(self, note: str) -> None:
        self.tampered = True
        self.notes.append(note)

    def _look_at_marks(self) -> dict[int, list[int]]:
        """Release cell -> the submitted cells with its grade id. Marks other than the release's are noted."""
        carriers: dict[int, list[int]] = {}
        for k, cell in enumerate(self.cells):
            if cell.grade_id in self.where:
                i = self.where[cell.grade_id]
                carriers.setdefault(i, []).append(k)
                changed = [key for key in _GUARDED if not _same(cell.mark.get(key), self.marks[i].get(key))]
                if changed:
                    self._tamper(f"the {' and '.join(changed)} of cell {cell.grade_id} was changed; the grader used its own")
            elif "grade_id" in cell.mark or any(cell.mark.get(key) for key in ("grade", "solution", "locked")):
                self._tamper(f"a cell claims the grade id {_short(cell.mark.get('grade_id', ''))!r}, which the release does not have")
        if self.where and not carriers:
            self.notes.append("the notebook lost nbgrader's metadata; the work was found by what its cells define")
        return carriers

    def _drop_check(self, i: int, copies: list[int]) -> None:
        """Leave out what stands for a check cell, and note where it is not the release's."""
        name, ours = self.marks[i]["grade_id"], _plain(self.release[i].source)
        if not copies:
            strays = [k for k, cell in enumerate(self.cells) if cell.kind == "code" and cell.grade_id not in self.where]
            copies = [k for k in strays if self.cells[k].identity == self.release[i].id or self.plain[k] == ours]
            if any(cell.grade_id in self.where for cell in self.cells):
                self.notes.append(f"the check cell {name} was deleted or lost its metadata; the grader used its own")
        elif len(copies) > 1:
            self.notes.append(f"the check cell {name} stands there {len(copies)} times; the grader used its own once")
        for k in copies:
            cell = self.cells[k]
            self.place[k] = i
            self.dropped.add(k)
            if cell.mark and cell.kind != self.release[i].cell_type:
                self._tamper(f"the check cell {name} was made a {cell.kind} cell; the grader used its own")
            if cell.mark and self.plain[k] != ours:
                if _sealed(cell):
                    self.notes.append(f"the check cell {name} is that of another release of the exercises; the grader used its own")
                else:
                    self._tamper(f"the check cell {name} was edited; the grader used its own, so this changes no points")

    def _choose_copy(self, i: int, copies: list[int]) -> None:
        """Take the submitted cell of a grade id: of several the last that was worked on."""
        name, blank = self.marks[i]["grade_id"], _plain(self.release[i].source)
        worked = [k for k in copies if self.plain[k] != blank]
        if self.release[i].cell_type == "code" and len(copies) > 1:
            worked = [k for k in worked if self.defines[i] in self.names(k)]
        self._take(i, worked[-1] if worked else copies[0])
        if len(copies) > 1:
            which = "the last that defines it" if worked else "the first"
            self.notes.append(f"cell {name} stands there {len(copies)} times; {which} was taken")
        for k in copies:
            if self.plain[k] == blank or self.release[i].cell_type != "code":
                self.dropped.add(k)

    def _take(self, i: int, k: int) -> None:
        self.taken[i], self.place[k] = k, i
        if self.cells[k].kind != self.release[i].cell_type:
            name = self.marks[i].get("grade_id", self.release[i].id)
            self.notes.append(f"cell {name} was made a {self.cells[k].kind} cell; its text was taken all the same")

    def _free(self, kind: str) -> list[int]:
        return [k for k, cell in enumerate(self.cells) if cell.kind == kind and k not in self.place and k not in self.dropped]

    def _find_lost(self, i: int) -> None:
        """Find the work of a solution cell that lost its grade id: by its cell id where it is written, else by what it defines."""
        name, written = self.marks[i]["grade_id"], self.release[i].cell_type == "markdown"
        free = [k for k in self._free("markdown" if written else "code") if self.cells[k].grade_id not in self.where]
        if written:
            found = [k for k in free if self.cells[k].identity == self.release[i].id] or self._below_statement(i, free)
        else:
            found = [k for k in free if self.defines[i] in self.names(k)]
        if found:
            self._take(i, found[-1])
            which = "in its place" if written else "that defines it"
            self.notes.append(f"no cell carries the grade id {name}; the cell {which} was taken")
        elif not written and any(self.defines[i] in self.names(k) for k in self.taken.values() if self.cells[k].kind == "code"):
            self.notebook.cells[i].source = f"# {self.defines[i]} is defined in the cell of another exercise."
            self.notes.append(f"no cell carries the grade id {name}; another exercise's cell defines it")
        else:
            self.notes.append(f"no cell carries the grade id {name}, so it counts as blank")

    def _below_statement(self, i: int, free: list[int]) -> list[int]:
        """The free cells directly below the statement of a written question."""
        statement, ours = _plain(self.release[i - 1].source), {_plain(cell.source) for cell in self.release}
        return [k for k in free if k and self.plain[k - 1] == statement and self.plain[k] not in ours]

    def _find_others(self, by_id: bool) -> None:
        """Match the release's cells for trying things out, by their text or by their id: the student's text counts."""
        for i in self.others:
            if i not in self.taken:
                wanted = self.release[i].id if by_id else _plain(self.release[i].source)
                found = [k for k in self._free("code") if (self.cells[k].identity if by_id else self.plain[k]) == wanted]
                if found:
                    self._take(i, found[0])

    def _note_order(self) -> None:
        """A note where the work stands in another order than the release's."""
        order = [i for k, i in sorted(self.place.items()) if self.taken.get(i) == k and self.marks[i]]
        if order != sorted(order):
            self.notes.append("the cells of the exercises were moved; they were run in the release's order")

    def _insert_kept(self) -> None:
        """Put the student's other code cells behind the release cell that they followed."""
        behind: dict[int, list[NotebookNode]] = {}
        last = -1
        for k, cell in enumerate(self.cells):
            last = self.place.get(k, last)
            if k not in self.place and k not in self.dropped and cell.kind == "code" and cell.source.strip():
                behind.setdefault(last, []).append(_code_cell(f"student-{k:04d}", cell.source))
        cells = behind.get(-1, [])
        for i, ours in enumerate(self.notebook.cells):
            cells += [ours, *behind.get(i, [])]
        self.notebook.cells = cells


def _code_cell(identity: str, source: str) -> NotebookNode:
    """As nbformat makes it, without its check of the schema, which takes a millisecond."""
    return NotebookNode(id=identity, cell_type="code", metadata=NotebookNode(), execution_count=None, source=source, outputs=[])


_GUARDED = ("points", "grade", "solution", "locked", "task", "schema_version", "cell_type")


def _same(theirs: object, ours: object) -> bool:
    """Equal values; Jupyter writes 1.0 as 1, but True is not 1."""
    return theirs is ours if isinstance(theirs, bool) or isinstance(ours, bool) else theirs == ours


def _sealed(cell: _Cell) -> bool:
    """Whether a check cell is as some release made it: its checksum is the one that nbgrader computes (nbgrader.utils).

    A forged checksum takes away this flag and nothing else: the grader's own check is what runs.
    """
    flags, points = [cell.mark.get(key) for key in ("grade", "solution", "locked")], cell.mark.get("points")
    if not all(isinstance(flag, bool) for flag in flags) or not isinstance(points, int | float) or not abs(points) < 1e9:
        return False
    parts = [cell.source, cell.kind, *map(str, flags), cell.grade_id, str(float(points))]
    return md5("".join(parts).encode("utf-8", "replace"), usedforsecurity=False).hexdigest() == cell.mark.get("checksum")


_TAG = re.compile(r"<(?=[a-z/!?])", re.IGNORECASE)
_REFERENCE = re.compile(r"&(?=#|(?:colon|tab|newline)\b)", re.IGNORECASE)
_TEX = re.compile(r"\\(?=(?:href|style|class|cssId|require|def|newcommand|let)(?![a-zA-Z]))")
_SCHEME = re.compile(r"(javascript|vbscript|(?:data|file|attachment)(?=\\?:\S))(?=\\?:)", re.IGNORECASE)
_DIAGRAM = re.compile(r"(```|~~~)(?=[ \t]*mermaid)", re.IGNORECASE)


def neutral(text: str) -> str:
    """A written answer without HTML, script links, diagrams or TeX that makes links; mathematics stays as it is.

    Formgrader shows it in the instructor's browser as nbconvert renders it, which lets raw HTML and any link through, and
    stops at a link to an attachment that is not there.
    """
    text = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "", text)
    for pattern in (_TAG, _REFERENCE, _TEX, _SCHEME):
        text = pattern.sub(lambda match: match[0] + " ", text)
    return _DIAGRAM.sub(r"\1text ", text)
