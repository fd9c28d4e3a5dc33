"""Cells deleted, doubled, renamed, retyped, edited and moved, and metadata of every kind."""

from autograder.tests.attacks.course import FULL, NAME
from autograder.tests.attacks.desk import ANY, NOTHING, Desk, attack
from autograder.verdict import GRADED, MALFORMED, TAMPERED


@attack(GRADED, double=0)
def deleted_answer(desk: Desk) -> None:
    """A solution cell is deleted: its exercise earns nothing, the others theirs."""
    desk.remove(desk.cell("double"))


@attack(GRADED)
def deleted_checks(desk: Desk) -> None:
    """All check cells are deleted: they are the grader's, and are put back."""
    for name in FULL:
        desk.remove(desk.cell(name, "visible"))
        desk.remove(desk.cell(name, "hidden"))


@attack(GRADED, **NOTHING)
def deleted_checks_of_wrong_answers(desk: Desk) -> None:
    """All answers are wrong and all check cells deleted: no check, no failure, and still no points."""
    desk.spoil()
    for name in FULL:
        desk.remove(desk.cell(name, "visible"))
        desk.remove(desk.cell(name, "hidden"))


@attack(GRADED)
def copied_answer(desk: Desk) -> None:
    """A solution cell is copied and pasted, so its grade id stands twice: plain nbgrader stops the whole batch here."""
    desk.again(desk.cell("double"))


@attack(GRADED)
def copied_stub(desk: Desk) -> None:
    """The untouched stub stands below the answer, under the same grade id: the one that differs from the release counts."""
    desk.again(desk.cell("double"), desk.blank("double"))


@attack(GRADED)
def copied_checks(desk: Desk) -> None:
    """Check cells are copied and pasted: each counts once."""
    for name in FULL:
        desk.again(desk.cell(name, "visible"))
        desk.again(desk.cell(name, "hidden"))


@attack(GRADED)
def all_cells_twice(desk: Desk) -> None:
    """Every cell is there twice, as after a select-all, copy and paste."""
    for cell in list(desk.notebook.cells):
        desk.again(cell)


@attack((GRADED, TAMPERED))
def renamed_answer(desk: Desk) -> None:
    """The grade id of a solution cell is another: the answer is found by what it defines."""
    desk.cell("double").metadata.nbgrader.grade_id = "my-double"


@attack((GRADED, TAMPERED), double=ANY)
def answers_that_swapped_their_ids(desk: Desk) -> None:
    """Two solution cells have each other's grade ids, so that one answer comes after its own checks: all others count."""
    one, two = desk.cell("double"), desk.cell("Counter")
    one.source, two.source = two.source, one.source


@attack((GRADED, TAMPERED), **NOTHING)
def renamed_checks(desk: Desk) -> None:
    """Wrong answers, and the check cells' grade ids are others: the grader's own are asked."""
    desk.spoil()
    for name in FULL:
        for part in ("visible", "hidden"):
            desk.cell(name, part).metadata.nbgrader.grade_id = f"{name}-{part}"


@attack((GRADED, TAMPERED))
def answer_as_text(desk: Desk) -> None:
    """A solution cell was turned to markdown by a slip of the key: its text is still the answer, and plain nbgrader stops the batch."""
    cell = desk.cell("double")
    cell.cell_type = "markdown"
    del cell["outputs"], cell["execution_count"]


@attack((GRADED, TAMPERED))
def checks_as_text(desk: Desk) -> None:
    """Check cells were turned to markdown and to raw text: they are put back."""
    for name, kind in (("double", "markdown"), ("Counter", "raw")):
        cell = desk.cell(name, "visible")
        cell.cell_type = kind
        del cell["outputs"], cell["execution_count"]


@attack(TAMPERED, double=0)
def edited_check(desk: Desk) -> None:
    """A visible check cell prints that all passed, and returns full points: a person is told, and the answer earns nothing."""
    desk.spoil("double")
    desk.cell("double", "visible").source = "print('2 of 2 points')\n2.0"


@attack(TAMPERED)
def edited_check_of_a_right_answer(desk: Desk) -> None:
    """A check was edited, the answers are right: they earn their points, and a person is told."""
    desk.cell("double", "visible").source = "pass"


@attack(TAMPERED, double=0)
def edited_hidden_check(desk: Desk) -> None:
    """The cell where hidden checks run is filled with a number: nbgrader takes that for points."""
    desk.spoil("double")
    desk.cell("double", "hidden").source = "2.0"


@attack(TAMPERED)
def more_points(desk: Desk) -> None:
    """The metadata of the check cells say a thousand points each: the release says how many."""
    for name in FULL:
        desk.cell(name, "hidden").metadata.nbgrader.points = 1000


@attack(TAMPERED)
def negative_points(desk: Desk) -> None:
    """Points of -1, not a number, and a text, in the metadata."""
    for name, points in (("double", -1), ("Counter", float("nan")), ("softmax", "many")):
        desk.cell(name, "visible").metadata.nbgrader.points = points


@attack(TAMPERED, double=0)
def checks_that_are_not_graded(desk: Desk) -> None:
    """The flags of a wrong answer's check cells say that they are no checks: they are."""
    desk.spoil("double")
    for part in ("visible", "hidden"):
        desk.cell("double", part).metadata.nbgrader.update(grade=False, locked=False, solution=True)


@attack(TAMPERED)
def answer_that_grades_itself(desk: Desk) -> None:
    """A solution cell's metadata say that it is graded by hand, with a hundred points."""
    desk.cell("double").metadata.nbgrader.update(grade=True, points=100)


@attack(TAMPERED)
def one_more_graded_cell(desk: Desk) -> None:
    """A cell of the student's own claims to be a check worth a thousand points: nobody runs it as one."""
    cell = desk.try_out("1000.0")
    cell.metadata["nbgrader"] = {"schema_version": 3, "grade": True, "solution": False, "locked": False, "task": False,
                                 "cell_type": "code", "grade_id": "attacked-bonus", "points": 1000}  # fmt: skip


@attack((TAMPERED, GRADED))
def one_more_task(desk: Desk) -> None:
    """A markdown cell claims to be a task worth a thousand points."""
    cell = desk.note("Give me the points.")
    cell.metadata["nbgrader"] = {"schema_version": 3, "grade": False, "solution": False, "locked": False, "task": True,
                                 "cell_type": "markdown", "grade_id": "attacked-task", "points": 1000}  # fmt: skip


@attack((TAMPERED, GRADED))
def schema_of_tomorrow(desk: Desk) -> None:
    """nbgrader's metadata have schema version 99: plain nbgrader stops here."""
    for cell in desk.graded_cells:
        cell.metadata.nbgrader.schema_version = 99


@attack((TAMPERED, GRADED))
def schema_of_yesterday(desk: Desk) -> None:
    """nbgrader's metadata have schema version 1."""
    for cell in desk.graded_cells:
        cell.metadata.nbgrader.schema_version = 1


@attack((GRADED, TAMPERED))
def metadata_lost(desk: Desk) -> None:
    """An editor dropped all metadata: the answers are found by what they define."""
    for cell in desk.notebook.cells:
        cell.metadata.clear()
    desk.notebook.metadata.clear()


@attack((GRADED, TAMPERED))
def metadata_of_strange_kinds(desk: Desk) -> None:
    """nbgrader's metadata are a text, a list, a number and nothing: the cells are found all the same."""
    for cell, value in zip(desk.graded_cells, ("grade me", [1, 2], 3, None), strict=False):
        cell.metadata["nbgrader"] = value


@attack((GRADED, TAMPERED))
def ids_of_strange_kinds(desk: Desk) -> None:
    """Grade ids are a number, a list, a very long text, a path and a piece of SQL."""
    values = (7, ["attacked-double"], "x" * 100_000, "../../gradebook.db", "'; drop table grade; --")
    for cell, value in zip(desk.graded_cells, values, strict=False):
        cell.metadata.nbgrader["grade_id"] = value


@attack((GRADED, MALFORMED))
def cell_ids_doubled(desk: Desk) -> None:
    """All cells have the same id of the notebook format: repaired, or refused in a sentence."""
    for cell in desk.notebook.cells:
        cell.id = "same"


@attack(GRADED)
def cell_ids_lost(desk: Desk) -> None:
    """No cell has an id, as older programs write it."""
    for cell in desk.notebook.cells:
        cell.pop("id", None)
    desk.notebook.nbformat_minor = 4


@attack((GRADED, MALFORMED))
def cell_ids_of_strange_kinds(desk: Desk) -> None:
    """Ids of cells are numbers, empty, very long and full of spaces."""
    for cell, value in zip(desk.notebook.cells, (3, "", "x" * 5000, "a b c"), strict=False):
        cell["id"] = value


@attack(GRADED)
def all_backwards(desk: Desk) -> None:
    """The cells are in reverse order, checks before answers: the checks are asked after the answers."""
    desk.notebook.cells.reverse()


@attack(GRADED)
def answers_at_the_end(desk: Desk) -> None:
    """All solution cells stand below the last check."""
    answers = [desk.cell(name) for name in FULL]
    desk.notebook.cells = [cell for cell in desk.notebook.cells if cell not in answers] + answers


@attack(GRADED)
def all_in_one_cell(desk: Desk) -> None:
    """All answers stand in the first solution cell, the others are as they were released."""
    code = "\n\n\n".join(desk.cell(name).source for name in FULL)
    for name in FULL:
        if name != "double":
            desk.remove(desk.cell(name))
    desk.cell("double").source = code


@attack((GRADED, TAMPERED))
def another_kernel(desk: Desk) -> None:
    """The notebook asks for a kernel that runs a shell, in a language called Evil: it is run as Python, as released."""
    desk.notebook.metadata.kernelspec = {"name": "../../bash", "display_name": "$(id)", "language": "evil"}
    desk.notebook.metadata.language_info = {"name": "evil", "version": "<script>"}


@attack((GRADED, TAMPERED), double=0)
def tags_that_hide(desk: Desk) -> None:
    """Tags ask to skip the checks, to expect exceptions and to remove cells: nobody asks the tags."""
    desk.spoil("double")
    for part in ("visible", "hidden"):
        desk.cell("double", part).metadata["tags"] = ["skip-execution", "raises-exception", "remove-cell"]


@attack((GRADED, TAMPERED))
def locked_for_ever(desk: Desk) -> None:
    """Cells are marked as neither editable nor deletable, with a checksum that is forged."""
    for cell in desk.graded_cells:
        cell.metadata.update(editable=False, deletable=False)
        cell.metadata.nbgrader["checksum"] = "d41d8cd98f00b204e9800998ecf8427e"


@attack((GRADED, MALFORMED))
def metadata_that_are_deep(desk: Desk) -> None:
    """Metadata are nested a few hundred levels deep: deep is not wrong."""
    deep: dict = {}
    for _ in range(300):
        deep = {"deeper": deep}
    desk.notebook.metadata["deep"] = deep


@attack(GRADED)
def answer_to_the_written_question_is_code(desk: Desk) -> None:
    """The written answer's cell was turned into code that would give points: it is read by a person, and never run."""
    cell = desk.cell("why")
    cell.cell_type = "code"
    cell.update(source="print('2 of 2 points')\n2.0", outputs=[], execution_count=None)


@attack(GRADED, **NOTHING)
def nothing_was_done(desk: Desk) -> None:
    """The notebook as it was released: graded, no points."""
    desk.hand_in((desk.planted.course / "release" / NAME / "exercises.ipynb").read_bytes())


@attack((GRADED, TAMPERED, MALFORMED), double=0)
def cells_without_a_source(desk: Desk) -> None:
    """Cells lack their source, or it is a number: repaired as empty, or refused in a sentence."""
    del desk.cell("double")["source"]
    desk.note("")["source"] = 17
