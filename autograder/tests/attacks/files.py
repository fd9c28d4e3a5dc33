"""Broken JSON, encodings, versions, sizes, names, missing and extra files, links and special files."""

import json
import os
import socket
import zipfile

from autograder.tests.attacks.course import NAME
from autograder.tests.attacks.desk import NOTHING, Desk, attack
from autograder.verdict import GRADED, MALFORMED, MISSING, TAMPERED

BROKEN = (MALFORMED, TAMPERED)  # no plain file: a grader may call it either


@attack(MISSING)
def nothing_at_all(desk: Desk) -> None:
    """The folder is empty."""
    desk.done = True


@attack(MISSING)
def another_kind_of_file(desk: Desk) -> None:
    """A Word document and a Python file, and no notebook."""
    desk.hand_in(b"PK\x03\x04 a document", "exercises.docx")
    desk.hand_in("def double(numbers):\n    return [2 * number for number in numbers]\n", "exercises.py")


@attack(MISSING)
def only_a_checkpoint(desk: Desk) -> None:
    """Only Jupyter's hidden copy was handed in: it is no submission, and is named to the instructor."""
    desk.hand_in(name=".ipynb_checkpoints/exercises-checkpoint.ipynb")


@attack(MALFORMED)
def empty_file(desk: Desk) -> None:
    """The file has no bytes."""
    desk.hand_in("")


@attack(MALFORMED)
def half_a_file(desk: Desk) -> None:
    """An upload broke off in the middle."""
    desk.hand_in(desk.text[: len(desk.text) // 2])


@attack(MALFORMED)
def no_json(desk: Desk) -> None:
    """A page of HTML with a notebook's name, as a browser saves it."""
    desk.hand_in("<!DOCTYPE html><html><body><script>alert(1)</script></body></html>")


@attack(MALFORMED)
def json_of_another_kind(desk: Desk) -> None:
    """A list, where a notebook is an object."""
    desk.hand_in("[1, 2, 3]")


@attack(MALFORMED)
def cells_are_a_number(desk: Desk) -> None:
    """An object whose cells are no list."""
    desk.hand_in('{"cells": 3, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')


@attack((MALFORMED, GRADED))
def cells_of_strange_kinds(desk: Desk) -> None:
    """Among the cells are a number, a text, nothing, and a cell of a kind that there is not: refused, or left out."""
    notebook = json.loads(desk.text)
    notebook["cells"][1:1] = [3, "cell", None, {"cell_type": "evil", "metadata": {}, "source": ""}]
    desk.hand_in(json.dumps(notebook))


@attack(MALFORMED)
def json_without_bottom(desk: Desk) -> None:
    """A hundred thousand brackets: a parser that recurses would overflow."""
    desk.hand_in("[" * 100_000 + "]" * 100_000)


@attack(MALFORMED)
def cells_without_bottom(desk: Desk) -> None:
    """The same within the metadata of a notebook that is right otherwise."""
    desk.hand_in(desk.text.replace('"metadata": {', '"metadata": {"deep": ' + "[" * 50_000 + "]" * 50_000 + ", ", 1))


@attack((MALFORMED, GRADED))
def number_of_a_million_digits(desk: Desk) -> None:
    """A number of a million digits in the metadata: Python takes long to read it, or refuses."""
    desk.notebook.metadata["number"] = "NUMBER"
    desk.hand_in(desk.text.replace('"NUMBER"', "9" * 1_000_000))


@attack(MALFORMED)
def too_large(desk: Desk) -> None:
    """Thirty megabytes of blanks at the end of a right notebook: refused before they are read."""
    desk.hand_in(desk.text + " " * 30_000_000)


@attack(MALFORMED)
def not_utf8(desk: Desk) -> None:
    """Latin-1, with letters that are no UTF-8."""
    desk.note("Größe")
    desk.hand_in(desk.text.encode("latin-1"))


@attack((GRADED, MALFORMED))
def utf16(desk: Desk) -> None:
    """UTF-16 with a byte-order mark, as a Windows editor saves it."""
    desk.hand_in(desk.text.encode("utf-16"))


@attack((GRADED, MALFORMED))
def half_a_character(desk: Desk) -> None:
    """A lone surrogate in a comment, which no file can hold as UTF-8: written as JSON's escape."""
    desk.try_out("# half a character: ?")
    desk.hand_in(desk.text.replace("half a character: ?", "half a character: \\ud83d"))


@attack((GRADED, MALFORMED))
def null_bytes_in_a_cell(desk: Desk) -> None:
    """A cell holds a null byte, which Python does not compile."""
    desk.try_out("text = '\0'")


@attack((GRADED, MALFORMED), **NOTHING)
def keys_twice(desk: Desk) -> None:
    """The list of cells stands twice, first right, then empty: all readers must take the same."""
    desk.hand_in(desk.text.rstrip().removesuffix("}") + ', "cells": []}')


@attack(GRADED)
def format_of_old(desk: Desk) -> None:
    """The notebook is saved in version 4.0 of the format, without ids of cells."""
    for cell in desk.notebook.cells:
        cell.pop("id", None)
    desk.notebook.nbformat_minor = 0


@attack((MALFORMED, GRADED))
def format_of_ten_years_ago(desk: Desk) -> None:
    """Version 3 of the format, with worksheets: converted, or refused in a sentence."""
    cells = [{"cell_type": "code", "language": "python", "input": cell.source, "outputs": [], "metadata": cell.metadata}
             if cell.cell_type == "code" else {"cell_type": "markdown", "source": cell.source, "metadata": cell.metadata}
             for cell in desk.notebook.cells]  # fmt: skip
    old = {"metadata": {"name": "exercises"}, "nbformat": 3, "nbformat_minor": 0, "worksheets": [{"cells": cells, "metadata": {}}]}
    desk.hand_in(json.dumps(old))


@attack(MALFORMED)
def format_of_tomorrow(desk: Desk) -> None:
    """Version 99 of the format."""
    desk.notebook.nbformat = 99


@attack((MALFORMED, GRADED))
def format_without_a_number(desk: Desk) -> None:
    """The version is a text, and the minor one is missing."""
    desk.notebook["nbformat"] = "four"
    del desk.notebook["nbformat_minor"]


@attack((MALFORMED, GRADED), **NOTHING)
def no_cells(desk: Desk) -> None:
    """A notebook without cells: refused, or graded with nothing."""
    desk.notebook.cells = []


@attack((MALFORMED, GRADED), **NOTHING)
def notebook_of_another_chapter(desk: Desk) -> None:
    """A notebook that has nothing of this chapter: refused, or graded with nothing."""
    desk.notebook.cells = desk.notebook.cells[:1]
    desk.note("# N-grams")


@attack(MALFORMED)
def archive_with_the_name_of_a_notebook(desk: Desk) -> None:
    """A zip file that was only renamed."""
    with zipfile.ZipFile(desk.folder / "exercises.ipynb", "w") as file:
        file.writestr("exercises.ipynb", desk.text)
    desk.done = True


@attack(GRADED)
def another_notebook_beside(desk: Desk) -> None:
    """A second notebook with wrong answers lies beside the right one: the one with the right name is graded."""
    desk.hand_in()
    desk.spoil()
    desk.hand_in(name="old exercises.ipynb")


@attack(MALFORMED)
def two_notebooks_of_other_names(desk: Desk) -> None:
    """Two notebooks, neither with the right name: a person must say which."""
    desk.hand_in(name="first.ipynb")
    desk.hand_in(name="second.ipynb")


@attack(BROKEN, graded=False)
def folder_with_the_name_of_a_notebook(desk: Desk) -> None:
    """exercises.ipynb is a folder."""
    desk.hand_in("{}", "exercises.ipynb/exercises.ipynb")


@attack(TAMPERED, graded=False)
def link_to_the_source(desk: Desk) -> None:
    """A symbolic link to the instructor's solved notebook: plain nbgrader follows it, and gives full marks."""
    (desk.folder / "exercises.ipynb").symlink_to(desk.planted.course / "source" / NAME / "exercises.ipynb")
    desk.done = True


@attack(TAMPERED, graded=False)
def link_to_another_student(desk: Desk) -> None:
    """A symbolic link to another student's work."""
    (desk.folder / "exercises.ipynb").symlink_to(os.path.relpath(desk.bystander, desk.folder))
    desk.done = True


@attack(TAMPERED, graded=False)
def folder_that_is_a_link(desk: Desk) -> None:
    """The whole folder of the assignment is a link to another student's."""
    desk.folder.rmdir()
    desk.folder.symlink_to(desk.bystander.parent, target_is_directory=True)
    desk.done = True


@attack((TAMPERED, MISSING), graded=False)
def link_to_nothing(desk: Desk) -> None:
    """A link to a file that is not there."""
    (desk.folder / "exercises.ipynb").symlink_to("/nowhere/at/all")
    desk.done = True


@attack(TAMPERED, graded=False)
def link_to_itself(desk: Desk) -> None:
    """A link that points to itself."""
    (desk.folder / "exercises.ipynb").symlink_to("exercises.ipynb")
    desk.done = True


@attack(TAMPERED, graded=False)
def link_to_endless_zeros(desk: Desk) -> None:
    """A link to /dev/zero, which has no end."""
    (desk.folder / "exercises.ipynb").symlink_to("/dev/zero")
    desk.done = True


@attack(TAMPERED, graded=False)
def hard_link(desk: Desk) -> None:
    """A hard link to the instructor's solved notebook looks like a plain file: its link count says what it is."""
    os.link(desk.planted.course / "source" / NAME / "exercises.ipynb", desk.folder / "exercises.ipynb")
    desk.done = True


@attack(BROKEN, graded=False)
def fifo(desk: Desk) -> None:
    """A named pipe: opening it waits for a writer for ever."""
    os.mkfifo(desk.folder / "exercises.ipynb")
    desk.done = True


@attack(BROKEN, graded=False)
def socket_file(desk: Desk) -> None:
    """A Unix socket with the notebook's name."""
    here = os.open(desk.folder, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{here}/exercises.ipynb")  # the whole path may be too long for a socket
    os.close(here)
    desk.done = True


@attack(GRADED)
def link_beside_the_notebook(desk: Desk) -> None:
    """A link to the gradebook lies beside a right notebook: extra files are neither read nor copied."""
    (desk.folder / "data.csv").symlink_to(desk.planted.course / "gradebook.db")


@attack(GRADED)
def fifo_beside_the_notebook(desk: Desk) -> None:
    """A named pipe lies beside a right notebook: plain nbgrader copies it, and waits for ever."""
    os.mkfifo(desk.folder / "data.csv")


@attack(GRADED)
def thousand_files_beside_the_notebook(desk: Desk) -> None:
    """A thousand extra files, some in deep folders: they are not needed."""
    for number in range(1000):
        desk.add_file(f"data/{number % 10}/{number}.txt", "x")


@attack(GRADED)
def forged_time(desk: Desk) -> None:
    """timestamp.txt claims that the work was handed in a year early."""
    desk.add_file("timestamp.txt", "2001-01-01 00:00:00 UTC")


@attack(GRADED)
def time_that_is_none(desk: Desk) -> None:
    """timestamp.txt holds no time: plain nbgrader stops the batch."""
    desk.add_file("timestamp.txt", "'; drop table grade; --")


@attack(GRADED)
def no_rights(desk: Desk) -> None:
    """The file's mode allows everyone everything, also to run it."""
    desk.hand_in()
    (desk.folder / "exercises.ipynb").chmod(0o777)
