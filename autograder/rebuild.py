"""Rebuilds a submitted notebook from the release, with the student's sources.

Nothing of a submission is believed except the text of its cells: order, ids, metadata, points and checks are the release's.
"""

import copy
from dataclasses import dataclass
from functools import cache
from hashlib import md5

from nbformat import NotebookNode

from autograder.neutral import neutral
from autograder.parse import MAX_PARSED, Cell, names, parse, plain_source, short

MAX_NOTES = 20


@dataclass(frozen=True)
class Rebuilt:
    """The release's notebook with the student's sources."""

    notebook: NotebookNode
    notes: tuple[str, ...]  # what was mended or found, a sentence each
    tampered: str  # what was changed that only the grader may write, in a sentence; empty where nothing was


def rebuild(data: bytes, release: NotebookNode) -> Rebuilt:
    """The release with the sources of a submitted file in its solution cells, and the student's other code between them.

    Raises Refused where the bytes are no notebook of format 4, or one beyond the limits above.
    """
    cells, notes = parse(data)
    return _Rebuilder(cells, release, notes).run()


class _Rebuilder:
    def __init__(self, cells: list[Cell], release: NotebookNode, notes: list[str]):
        self.cells, self.release, self.notes, self.tampered = cells, release.cells, notes, ""
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
        self.plain = [plain_source(cell.source) for cell in cells]
        parsed = sum(len(cell.source) for cell in cells) <= MAX_PARSED
        self.names = cache(lambda k: names(cells[k].source, parsed))  # submitted cell -> what it defines

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
        self.tampered = self.tampered or note
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
                self._tamper(f"a cell claims the grade id {short(cell.mark.get('grade_id', ''))!r}, which the release does not have")
        if self.where and not carriers:
            self.notes.append("the notebook lost nbgrader's metadata; the work was found by what its cells define")
        return carriers

    def _drop_check(self, i: int, copies: list[int]) -> None:
        """Leave out what stands for a check cell, and note where it is not the release's."""
        name, ours = self.marks[i]["grade_id"], plain_source(self.release[i].source)
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
        name, blank = self.marks[i]["grade_id"], plain_source(self.release[i].source)
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
        statement, ours = plain_source(self.release[i - 1].source), {plain_source(cell.source) for cell in self.release}
        return [k for k in free if k and self.plain[k - 1] == statement and self.plain[k] not in ours]

    def _find_others(self, by_id: bool) -> None:
        """Match the release's cells for trying things out, by their text or by their id: the student's text counts."""
        for i in self.others:
            if i not in self.taken:
                wanted = self.release[i].id if by_id else plain_source(self.release[i].source)
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


def _sealed(cell: Cell) -> bool:
    """Whether a check cell is as some release made it: its checksum is the one that nbgrader computes (nbgrader.utils).

    A forged checksum takes away this flag and nothing else: the grader's own check is what runs.
    """
    flags, points = [cell.mark.get(key) for key in ("grade", "solution", "locked")], cell.mark.get("points")
    if not all(isinstance(flag, bool) for flag in flags) or not isinstance(points, int | float) or not abs(points) < 1e9:
        return False
    parts = [cell.source, cell.kind, *map(str, flags), cell.grade_id, str(float(points))]
    return md5("".join(parts).encode("utf-8", "replace"), usedforsecurity=False).hexdigest() == cell.mark.get("checksum")
