"""nbgrader's settings where a student works, for the button *Validate* and `nbgrader validate`: how long a cell may take, what is shown."""

from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.utils import compute_checksum, determine_grade, is_grade

c = get_config()  # noqa: F821  (nbgrader defines it)

c.Execute.timeout = 180  # seconds for one cell: the measuring exercises train a model
c.Validator.width = 160  # of the lines that `nbgrader validate` prints

_cells: list[NotebookNode] = []


def _remember(notebook: NotebookNode) -> None:
    _cells[:] = notebook.cells


def _say_why(cell: NotebookNode, cell_index: int) -> None:
    """Let the results show what the check cell before this one printed, and of its source the first line, which names it.

    nbgrader alone would show the whole source, and say that some of the tests did not pass.
    """
    before = _cells[cell_index - 1] if cell_index else cell
    if before.cell_type != "code" or not is_grade(before):
        return
    earned, points = determine_grade(before)
    printed = "".join(output.text for output in before.outputs if output.output_type == "stream")
    if earned < points and printed and not any(output.output_type == "error" for output in before.outputs):
        before.outputs.append(new_output("error", ename="NotAllPoints", evalue="", traceback=[printed.rstrip()]))
    if before.metadata.nbgrader.get("checksum") == compute_checksum(before):  # a changed cell is shown whole
        before.source = before.source.partition("\n")[0]
        before.metadata.nbgrader.checksum = compute_checksum(before)


c.Execute.on_notebook_start = _remember
c.Execute.on_cell_start = _say_why  # a hook after a cell would be better, but nbgrader has taken it for itself
