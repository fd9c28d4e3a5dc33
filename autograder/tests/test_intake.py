"""Tests of intake: which file is read, how a notebook is rebuilt, and what becomes of hostile bytes and of written answers."""

import copy
import json
import os
import socket
from html.parser import HTMLParser

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nbconvert import HTMLExporter

from autograder import intake
from autograder.assemble import make_release
from autograder.intake import read_submission
from autograder.neutral import neutral
from autograder.rebuild import MAX_NOTES, rebuild
from autograder.verdict import MALFORMED, MISSING, TAMPERED, Refused

pytestmark = pytest.mark.slow  # a minute of properties: for who changes the grader, not for who writes a chapter

DOUBLE = "def double(numbers):\n    return [2 * number for number in numbers]"
MISSING_CELL = "no cell carries the grade id toy-double"


# ---- which file is read ----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """The folder of one submission, and a course around it."""
    folder = tmp_path / "submitted" / "ada" / "01_toy"
    folder.mkdir(parents=True)
    return folder


def read(folder, **options):
    return read_submission(folder.parent.parent.parent, folder.name, folder.parent.name, **options)


def refusal(folder, **options):
    with pytest.raises(Refused) as refused:
        read(folder, **options)
    assert refused.value.message
    return refused.value.status


def test_exercises_ipynb_is_read_and_wins_over_other_notebooks(folder):
    for name in ("a.ipynb", "exercises.ipynb", "numpy.py", "timestamp.txt", "exercises (1).ipynb"):
        (folder / name).write_bytes(name.encode())
    got = read(folder)
    assert (got.data, got.name, got.notes) == (b"exercises.ipynb", "exercises.ipynb", ())


@pytest.mark.parametrize("name", ["exercises (1).ipynb", "02_ngrams_ada.ipynb", "Übung 🎲.ipynb", "EXERCISES.IPYNB"])
def test_the_only_notebook_is_read_whatever_its_name(folder, name):
    (folder / name).write_bytes(b"{}")
    (folder / ".hidden.ipynb").write_bytes(b"no")
    (folder / "._exercises.ipynb").write_bytes(b"no")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "exercises.ipynb").write_bytes(b"no")
    got = read(folder)
    assert (got.data, got.name) == (b"{}", name)
    assert name in got.notes[0]


def test_missing_work_is_missing(folder):
    (folder / "notes.txt").write_text("x")
    assert refusal(folder) == MISSING
    assert refusal(folder.parent / "02_other") == MISSING
    assert refusal(folder.parent.parent / "bo" / "01_toy") == MISSING
    assert refusal(folder.parent.parent.parent / "elsewhere" / "submitted" / "bo" / "01_toy") == MISSING


def test_several_notebooks_without_the_right_name_are_malformed(folder):
    (folder / "a.ipynb").write_bytes(b"1")
    (folder / "b.ipynb").write_bytes(b"2")
    assert refusal(folder) == MALFORMED


def test_a_file_of_the_limit_is_read_and_a_larger_one_is_not(folder):
    (folder / "exercises.ipynb").write_bytes(b"x" * 1000)
    assert len(read(folder, limit=1000).data) == 1000
    assert refusal(folder, limit=999) == MALFORMED


def test_a_sparse_giant_takes_no_memory(folder):
    with (folder / "exercises.ipynb").open("wb") as file:
        file.truncate(1 << 40)
    assert refusal(folder) == MALFORMED


def test_thousands_of_files_are_not_listed_to_the_end(folder):
    for i in range(1_050):
        (folder / f"{i}.txt").touch()
    assert refusal(folder) == MALFORMED


@pytest.mark.parametrize("kind", ["symlink", "dangling", "loop", "fifo", "socket", "hard link"])
@pytest.mark.parametrize("name", ["exercises.ipynb", "other.ipynb"])
def test_what_is_no_plain_file_is_tampered_and_never_read(folder, kind, name, monkeypatch):
    secret = folder.parent.parent.parent / "secret"
    secret.write_text("the solution")
    monkeypatch.chdir(folder)  # a socket's path is short
    if kind == "symlink":
        os.symlink(secret, name)
    elif kind == "dangling":
        os.symlink("nowhere", name)
    elif kind == "loop":
        os.symlink(name, name)
    elif kind == "fifo":
        os.mkfifo(name)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(name)
    else:
        os.link(secret, name)
    assert refusal(folder) == TAMPERED


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can make a device")
def test_a_device_is_tampered(folder):
    try:
        os.mknod(folder / "exercises.ipynb", 0o600 | 0o020000, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("devices cannot be made here")
    assert refusal(folder) == TAMPERED


def test_a_file_that_becomes_a_link_after_it_was_looked_at_is_not_read(folder, monkeypatch):
    (folder / "secret").write_text("the solution")
    (folder / "exercises.ipynb").symlink_to("secret")
    monkeypatch.setattr(intake, "_check_kind", lambda *found: None)
    assert refusal(folder) == MALFORMED


def test_folders_that_are_links_are_tampered(folder):
    (folder / "exercises.ipynb").write_bytes(b"x")
    submitted = folder.parent.parent
    (submitted / "bo").symlink_to(submitted / "ada")
    (submitted / "chi").mkdir()
    (submitted / "chi" / "01_toy").symlink_to(folder)
    assert refusal(submitted / "bo" / "01_toy") == TAMPERED
    assert refusal(submitted / "chi" / "01_toy") == TAMPERED


def test_files_where_folders_must_be_and_the_other_way_are_malformed(folder):
    (folder / "exercises.ipynb").mkdir()
    assert refusal(folder) == MALFORMED
    (folder.parent / "02_other").write_text("x")
    assert refusal(folder.parent / "02_other") == MALFORMED


@pytest.mark.parametrize("student", ["..", ".", "", "a/b", "../ada", "ada\0"])
def test_a_student_that_is_no_folder_name_is_refused(folder, student):
    with pytest.raises(Refused):
        read_submission(folder.parent.parent.parent, "01_toy", student)


def test_no_file_descriptor_is_left_open(folder):
    (folder / "exercises.ipynb").write_bytes(b"x")
    (folder.parent / "02_other").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        read(folder)
        refusal(folder, limit=0)
        refusal(folder.parent / "02_other")
    assert len(os.listdir("/proc/self/fd")) == before


# ---- the notebook ----------------------------------------------------------------------------------------------------


RELEASE = []


@pytest.fixture
def release(toy):
    """The toy chapter's release, as nbgrader makes it: once for all tests, which do not change it."""
    if not RELEASE:
        make_release([toy])
        RELEASE.append(nbformat.read(toy.release, as_version=4))
    return RELEASE[0]


def as_json(notebook):
    """The notebook as plain values, each source one text."""
    return json.loads(json.dumps(notebook))


def send(document):
    return json.dumps(document).encode("utf-8", "surrogatepass")


def cell_of(document, grade_id):
    return next(cell for cell in document["cells"] if cell["metadata"].get("nbgrader", {}).get("grade_id") == grade_id)


def source_of(rebuilt, grade_id):
    return next(c.source for c in rebuilt.notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def protected(notebook):
    """All that is the grader's in a notebook: its own cells, in order, without the sources that students write."""
    ours = [cell for cell in notebook.cells if not cell.id.startswith("student-")]
    return [
        (c.cell_type, c.id, dict(c.metadata), None if c.metadata.get("nbgrader", {}).get("solution") else c.source)
        for c in ours
        if "nbgrader" in c.metadata or c.cell_type == "markdown"
    ]


def rebuilt_from(release, change):
    """The release after `change(document)`, rebuilt; what is the grader's is always the release's."""
    document = as_json(release)
    change(document)
    rebuilt = rebuild(send(document), release)
    assert protected(rebuilt.notebook) == protected(release)
    nbformat.validate(rebuilt.notebook)
    return rebuilt


def test_the_release_itself_comes_back(release):
    rebuilt = rebuild(nbformat.writes(release).encode(), release)
    assert (rebuilt.notebook, rebuilt.notes, rebuilt.tampered) == (release, (), "")


def test_sources_are_taken_and_outputs_are_not(release):
    def work(document):
        cell = cell_of(document, "toy-double")
        cell["source"] = DOUBLE.splitlines(keepends=True)
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "forged"}]
        cell["execution_count"] = 7
        document["metadata"]["evil"] = 1

    rebuilt = rebuilt_from(release, work)
    assert source_of(rebuilt, "toy-double") == DOUBLE
    assert (rebuilt.notes, rebuilt.tampered) == ((), "")
    assert "forged" not in nbformat.writes(rebuilt.notebook)
    assert rebuilt.notebook.metadata == release.metadata


def test_the_release_is_not_changed_by_rebuilding(release):
    before = copy.deepcopy(release)
    rebuilt_from(release, lambda document: cell_of(document, "toy-double").update(source=DOUBLE))
    assert release == before


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_a_byte_order_mark_is_repaired(release, encoding):
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    rebuilt = rebuild(mark + nbformat.writes(release).encode(encoding), release)
    assert rebuilt.notebook == release
    assert len(rebuilt.notes) == 1
    assert not rebuilt.tampered


def test_line_ends_nul_and_lone_surrogates_are_mended(release):
    rebuilt = rebuilt_from(release, lambda d: cell_of(d, "toy-double").update(source="a = 1\r\nb = 2\rc = '\0\ud800'"))
    assert source_of(rebuilt, "toy-double") == "a = 1\nb = 2\nc = '\ufffd'"
    rebuilt = rebuild(nbformat.writes(release).replace("\n", "\r\n").encode(), release)
    assert (rebuilt.notebook, rebuilt.tampered) == (release, "")


def test_a_future_minor_version_and_unknown_fields_are_fine(release):
    def age(document):
        document["nbformat_minor"] = 99
        document["cells"][0]["new"] = {"x": [1]}

    assert rebuilt_from(release, age).notes == ()


def test_points_written_without_a_decimal_point_are_the_same(release):
    def save(document):
        for cell in document["cells"]:
            if "points" in cell["metadata"].get("nbgrader", {}):
                cell["metadata"]["nbgrader"]["points"] = int(cell["metadata"]["nbgrader"]["points"])

    assert not rebuilt_from(release, save).tampered


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"no json",
        b"\xff\xff",
        b"[" * 100_000,
        b'{"nbformat":4,"cells":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[]",
        b"null",
        b"{}",
        b'{"nbformat": 4}',
        b'{"nbformat": 4, "cells": 3}',
        b'{"nbformat": 3, "worksheets": [{"cells": []}]}',
        b'{"nbformat": 5, "cells": []}',
        b'{"nbformat": "4", "cells": []}',
        b'{"nbformat": true, "cells": []}',
        b'{"nbformat": 4, "cells": [3]}',
        b'{"nbformat": 4, "cells": [{"cell_type": "code"}]}',
        b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": 3}]}',
        b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": ["a", 3]}]}',
        b'{"nbformat": 4, "cells": [], "x": ' + b"9" * 5_000 + b"}",
        b'{"nbformat": 4, "cells": [' + b",".join([b'{"cell_type":"code","source":""}'] * 2_001) + b"]}",
        b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": "' + b"x" * 1_000_001 + b'"}]}',
        b'{"nbformat": 4, "cells": [' + b"[]," * 3_000_000 + b"[]]}",
        '{"nbformat": 4, "cells": []}'.encode("utf-16-le"),
    ],
    ids=range(23),
)
def test_what_is_no_notebook_is_malformed_in_one_sentence(release, broken):
    with pytest.raises(Refused) as refused:
        rebuild(broken, release)
    assert refused.value.status == MALFORMED
    assert "\n" not in refused.value.message


def test_values_that_would_fill_the_memory_are_never_made(release):
    with pytest.raises(Refused, match="too many values"):
        rebuild(b'{"nbformat": 4, "cells": [], "x": [' + b"[]," * 3_000_000 + b"[]]}", release)


def test_an_old_notebook_is_told_how_to_become_a_new_one(release):
    with pytest.raises(Refused, match="saved by Jupyter Notebook 4 or JupyterLab"):
        rebuild(b'{"nbformat": 3, "worksheets": []}', release)


def test_odd_json_is_read_as_python_reads_it(release):
    text = nbformat.writes(release).rstrip().removesuffix("}") + ', "x": NaN, "y": 1e999, "nbformat": 3, "nbformat": 4}'
    assert rebuild(text.encode(), release).notebook == release


BREAKERS = ["(" * 50_000, "-" * 500_000 + "1", "x." * 300_000 + "x", "not " * 200_000 + "x", "if 1: pass\nel" * 50_000, "\\" * 9]


@pytest.mark.parametrize("source", BREAKERS, ids=range(len(BREAKERS)))
def test_code_made_to_break_a_parser_is_taken_as_text(release, source):
    def work(document):
        document["cells"].append(copy.deepcopy(cell_of(document, "toy-double")))
        for cell in document["cells"]:
            if cell["metadata"].get("nbgrader", {}).get("grade_id") == "toy-double":
                cell["source"] = source

    assert source_of(rebuilt_from(release, work), "toy-double") == source


# ---- solution cells --------------------------------------------------------------------------------------------------


def test_a_deleted_solution_cell_counts_as_blank(release):
    rebuilt = rebuilt_from(release, lambda d: d["cells"].remove(cell_of(d, "toy-double")))
    assert rebuilt.notebook == release
    assert any(note.startswith(f"{MISSING_CELL}, so it counts as blank") for note in rebuilt.notes)
    assert not rebuilt.tampered


@pytest.mark.parametrize(
    "source",
    [
        DOUBLE,
        "double = lambda numbers: [2 * n for n in numbers]",
        "%timeit 1\n" + DOUBLE,
        "class double:\n    pass",
        "import numpy as double",
        "try:\n    pass\nfinally:\n    def double(x): return x",
        "double, other = f, g",
    ],
)
def test_work_that_lost_its_metadata_is_found_by_what_it_defines(release, source):
    def lose(document):
        cell = cell_of(document, "toy-double")
        cell.update(source=source, metadata={})
        document["cells"].insert(0, {"cell_type": "code", "source": "def double_it(): pass\ndouble == 3", "metadata": {}})

    rebuilt = rebuilt_from(release, lose)
    assert source_of(rebuilt, "toy-double") == source
    assert any("the cell that defines it was taken" in note for note in rebuilt.notes)
    assert not rebuilt.tampered
    assert sum(source in cell.source for cell in rebuilt.notebook.cells) == 1


def test_a_notebook_without_any_metadata_keeps_its_work(release):
    def lose(document):
        cell_of(document, "toy-double")["source"] = DOUBLE
        cell_of(document, "toy-why")["source"] = "Because."
        for cell in document["cells"]:
            cell["metadata"] = {}
            del cell["id"]

    rebuilt = rebuilt_from(release, lose)
    assert source_of(rebuilt, "toy-double") == DOUBLE
    assert source_of(rebuilt, "toy-why") == "Because."
    assert len(rebuilt.notebook.cells) == len(release.cells)  # the student's copies of the checks are gone
    assert "lost nbgrader's metadata" in rebuilt.notes[0]
    assert not rebuilt.tampered


def test_a_renamed_grade_id_is_tampered_and_the_work_is_found(release):
    def rename(document):
        cell = cell_of(document, "toy-double")
        cell["source"] = DOUBLE
        cell["metadata"]["nbgrader"]["grade_id"] = "toy-triple"

    rebuilt = rebuilt_from(release, rename)
    assert source_of(rebuilt, "toy-double") == DOUBLE
    assert rebuilt.tampered


def test_of_copies_the_last_that_was_worked_on_is_taken(release):
    def paste(document):
        cell = cell_of(document, "toy-double")
        at = document["cells"].index(cell)
        texts = ["helper = 1", "def double(numbers):\n    return 1", DOUBLE, cell["source"]]
        document["cells"][at : at + 1] = [{**copy.deepcopy(cell), "source": text, "id": f"n{i}"} for i, text in enumerate(texts)]

    rebuilt = rebuilt_from(release, paste)
    assert source_of(rebuilt, "toy-double") == DOUBLE
    sources = [cell.source for cell in rebuilt.notebook.cells]
    assert sources.index("helper = 1") < sources.index(DOUBLE)  # a cell that was split keeps its first half, and its metadata
    assert any("stands there 4 times" in note for note in rebuilt.notes)
    assert not rebuilt.tampered


def test_of_copies_that_define_nothing_the_first_is_taken(release):
    def paste(document):
        cell = cell_of(document, "toy-double")
        cell["source"] = "a = 1"
        document["cells"].append({**copy.deepcopy(cell), "source": "b = 1", "id": "new"})

    assert source_of(rebuilt_from(release, paste), "toy-double") == "a = 1"


def test_two_exercises_in_one_cell_are_not_undone_by_a_blank(release):
    both = DOUBLE + "\n\nclass Counter:\n    pass"

    def merge(document):
        cell_of(document, "toy-double")["source"] = both
        document["cells"].remove(cell_of(document, "toy-Counter"))

    rebuilt = rebuilt_from(release, merge)
    assert source_of(rebuilt, "toy-double") == both
    assert "class" not in source_of(rebuilt, "toy-Counter")


@pytest.mark.parametrize("kind", ["markdown", "raw", "heading", None])
def test_a_retyped_solution_counts_by_its_source(release, kind):
    rebuilt = rebuilt_from(release, lambda d: cell_of(d, "toy-double").update(cell_type=kind, source=DOUBLE))
    assert source_of(rebuilt, "toy-double") == DOUBLE
    assert len(rebuilt.notes) == 1
    assert not rebuilt.tampered


@pytest.mark.parametrize("source", ["def double(:", "%timeit double([1])", "!ls\n?double"])
def test_code_that_does_not_parse_is_taken_as_it_is(release, source):
    assert source_of(rebuilt_from(release, lambda d: cell_of(d, "toy-double").update(source=source)), "toy-double") == source


# ---- other cells -----------------------------------------------------------------------------------------------------


def test_helper_cells_stay_behind_what_they_followed(release):
    def work(document):
        cells = document["cells"]
        for name in ("toy-double", "toy-Counter"):
            at = cells.index(cell_of(document, name))
            cells.insert(at + 1, {"cell_type": "code", "source": f"after = '{name}'", "metadata": {"tags": ["x"]}, "id": f"after-{name}"})
            cells.insert(at, {"cell_type": "code", "source": f"before = '{name}'", "metadata": {}, "id": "cell-000"})
        cells.insert(0, {"cell_type": "code", "source": "first = 1", "metadata": {}})
        cells.append({"cell_type": "markdown", "source": "my notes", "metadata": {}})
        cells.append({"cell_type": "code", "source": "  \n", "metadata": {}})

    rebuilt = rebuilt_from(release, work)
    sources = [cell.source for cell in rebuilt.notebook.cells]
    assert sources[0] == "first = 1"
    for name in ("toy-double", "toy-Counter"):
        at = sources.index(source_of(rebuilt, name))
        assert sources[at + 1] == f"after = '{name}'"
        assert f"before = '{name}'" in sources[:at]
    assert "my notes" not in sources
    assert len(sources) == len(release.cells) + 5
    assert len({cell.id for cell in rebuilt.notebook.cells}) == len(sources)
    assert all(cell.metadata == {} for cell in rebuilt.notebook.cells if cell.id.startswith("student-"))
    assert rebuilt.notes == ()


def test_an_edited_cell_for_trying_things_out_is_the_students(release):
    def edit(document):
        next(cell for cell in document["cells"] if cell["source"] == "numbers = [1, 2, 3]")["source"] = "numbers = [4]"

    sources = [cell.source for cell in rebuilt_from(release, edit).notebook.cells]
    assert sources.count("numbers = [4]") == 1
    assert "numbers = [1, 2, 3]" not in sources


def test_a_deleted_cell_for_trying_things_out_comes_back(release):
    def delete(document):
        document["cells"] = [cell for cell in document["cells"] if cell["source"] != "numbers = [1, 2, 3]"]

    assert rebuilt_from(release, delete).notebook == release


def test_moved_cells_run_in_the_releases_order(release):
    def move(document):
        cell_of(document, "toy-double")["source"] = DOUBLE
        document["cells"].reverse()

    rebuilt = rebuilt_from(release, move)
    assert source_of(rebuilt, "toy-double") == DOUBLE
    assert rebuilt.notes == ("the cells of the exercises were moved; they were run in the release's order",)


# ---- what only the grader may write ----------------------------------------------------------------------------------


@pytest.mark.parametrize("check", ["toy-double-visible", "toy-double-hidden"])
@pytest.mark.parametrize("source", ["", "pass", "raise SystemExit"])
def test_an_edited_check_cell_is_tampered_and_dropped(release, check, source):
    rebuilt = rebuilt_from(release, lambda d: cell_of(d, check).update(source=source))
    assert rebuilt.tampered
    assert rebuilt.notebook == release
    assert any(check in note and "was edited" in note for note in rebuilt.notes)


def test_white_space_that_editors_change_is_no_edit(release):
    def strip(document):
        cell = cell_of(document, "toy-double-visible")
        cell["source"] = cell["source"].replace("\n", "  \r\n") + "\r\n\r\n"

    assert not rebuilt_from(release, strip).tampered


def test_a_check_cell_of_another_release_is_noted_only(release):
    """A class that holds a copy of an older release did nothing wrong."""
    from nbgrader.utils import compute_checksum

    def older(document):
        cell = nbformat.from_dict(cell_of(document, "toy-double-visible"))
        cell.source = cell.source.replace("multiply by two", "double it")
        cell.metadata.nbgrader.checksum = compute_checksum(cell)
        cell_of(document, "toy-double-visible").update(cell)

    rebuilt = rebuilt_from(release, older)
    assert not rebuilt.tampered
    assert "another release" in rebuilt.notes[0]


CHANGES = {
    "points": ("toy-double-visible", {"points": 100}),
    "points as text": ("toy-double-visible", {"points": "6"}),
    "points NaN": ("toy-double-visible", {"points": float("nan")}),
    "points of a written answer": ("toy-why", {"points": 3}),
    "points for a solution cell": ("toy-double", {"points": 3}),
    "graded solution": ("toy-double", {"grade": True}),
    "unlocked check": ("toy-double-visible", {"locked": False}),
    "ungraded check": ("toy-double-hidden", {"grade": False}),
    "check as solution": ("toy-double-hidden", {"solution": True}),
    "flag as number": ("toy-double-hidden", {"grade": 1}),
    "schema version": ("toy-double-hidden", {"schema_version": 1}),
    "cell type": ("toy-double-hidden", {"cell_type": "markdown"}),
    "task": ("toy-double", {"task": True}),
    "unknown grade id": ("toy-double-visible", {"grade_id": "toy-bonus"}),
    "grade id that is no text": ("toy-double-visible", {"grade_id": ["toy-double-visible"]}),
    "another cell's grade id": ("toy-double-visible", {"grade_id": "toy-Counter-visible"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_nbgrader_metadata_is_tampered(release, change):
    grade_id, values = CHANGES[change]
    rebuilt = rebuilt_from(release, lambda d: cell_of(d, grade_id)["metadata"]["nbgrader"].update(values))
    assert rebuilt.tampered
    assert all("\n" not in note and len(note) < 300 for note in rebuilt.notes)


def test_a_check_cell_made_text_is_tampered(release):
    assert rebuilt_from(release, lambda d: cell_of(d, "toy-double-visible").update(cell_type="raw")).tampered


def test_deleted_and_doubled_check_cells_are_noted_only(release):
    def change(document):
        document["cells"].remove(cell_of(document, "toy-double-hidden"))
        document["cells"].append({**cell_of(document, "toy-double-visible"), "id": "copy"})

    rebuilt = rebuilt_from(release, change)
    assert rebuilt.notebook == release
    assert len(rebuilt.notes) == 2
    assert not rebuilt.tampered


def test_notes_are_few_and_short(release):
    def spam(document):
        for i in range(500):
            metadata = {"nbgrader": {"grade_id": f"{i}\n\x1b[31m" + "x" * 9_999}}
            document["cells"].append({"cell_type": "code", "source": "", "metadata": metadata})

    rebuilt = rebuilt_from(release, spam)
    assert len(rebuilt.notes) == MAX_NOTES
    assert all(len(note) < 200 and note.isprintable() for note in rebuilt.notes)
    assert rebuilt.notes[-1] == "481 more notes are left out"


# ---- written answers -------------------------------------------------------------------------------------------------


class Finder(HTMLParser):
    """Collects what a page must not hold."""

    TAGS = ("script", "iframe", "object", "embed", "form", "input", "svg", "math", "style", "link", "meta", "base", "video", "audio")

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.found = []

    def handle_starttag(self, tag, attributes):
        if tag in self.TAGS:
            self.found.append(tag)
        for name, value in attributes:
            address = "".join((value or "").split()).lower()
            if name.startswith("on") or (name in ("href", "src", "action") and address.startswith(("javascript:", "vbscript:", "data:"))):
                self.found.append((tag, name, value))


EXPORTER = HTMLExporter(template_name="basic")


def dangers(answer):
    """What of an answer, as formgrader renders it, could act in the browser."""
    cell = nbformat.v4.new_markdown_cell(neutral(answer))
    html, _ = EXPORTER.from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    finder = Finder()
    finder.feed(html)
    if 'class="mermaid"' in html:
        finder.found.append("mermaid")
    return finder.found


ATTACKS = [
    "<script>alert(1)</script>",
    "<SCRIPT src=//evil>",
    "<img src=x onerror=alert(1)>",
    "a <\0script>alert(1)</script>",
    "<svg/onload=alert(1)>",
    "<!-- --><iframe src=x>",
    "<?php ?>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](<javascript:alert(1)>)",
    "[x](javascript\\:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](&#x6A;avascript&#58;alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](java&Tab;script:alert(1))",
    "[x](java&NewLine;script&colon;alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](java\x0bscript:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](vbscript:x)",
    "[x][r]\n\n[r]: javascript:alert(1)",
    "[x][r]\n\n[r]: <javascript:alert(1)> 'title'",
    "<javascript:alert(1)>",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml,<svg/onload=alert(1)>)",
    '![x" onerror="alert(1)](y)',
    '![x](y "z\\" onerror=\\"alert(1)")',
    '[x](y" onclick="alert(1))',
    "$<script>alert(1)</script>$",
    "$$<img src=x onerror=alert(1)>$$",
    "\\begin{x}<script>alert(1)</script>\\end{x}",
    "# <script>alert(1)</script>",
    "# [x](javascript:alert(1))",
    "| a |\n|---|\n| <img src=x onerror=alert(1)> |",
    "```mermaid\ngraph TD; A-->B; click A call alert(1)\n```",
    "- ~~~ mermaid\n  <img src=x onerror=alert(1)>\n  ~~~",
    "`<script>`<script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "javascript:alert(1)",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_written_answer_does_nothing_in_the_browser(attack):
    assert dangers(attack) == []


def test_the_finder_finds():
    finder = Finder()
    finder.feed("<script>1</script><img onerror=x><a href=' java\nscript:1'>")
    assert len(finder.found) == 3


PIECES = ["<", "script", ">", "javascript", ":", "&#58;", "&colon;", "\\", "[x](", ")", "(", "[r]", "[r]: ", "\n", "\n\n", " ", '"', "'"]
PIECES += ["`", "$", "![", "]", "<img src=x onerror=1>", "&lt;", "&", "#", ";", "\t", "data", "</", "onload=1", "=", "\0", "*", "|", "-"]
PIECES += ["~~~", "mermaid", "\\begin{a}", "\\end{a}", "http://", "\x01", "\ufeff"]


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(PIECES), max_size=14))
def test_no_mix_of_pieces_does_anything_in_the_browser(pieces):
    assert dangers("".join(pieces)) == []


def test_mathematics_and_prose_stay_readable():
    text = "If $a < b$ and $x \\le y$ then **held-out data: fine**, R&D, 1 < 2, a & b.\n\n"
    text += "$$\\begin{aligned} a &= b \\\\ c &= d \\end{aligned}$$"
    assert neutral(text) == text
    assert neutral("$a<b$") == "$a< b$"
    assert neutral("see [the page](https://example.org/a?b=1&c=2)") == "see [the page](https://example.org/a?b=1&c=2)"


def test_tex_that_makes_links_is_broken():
    assert neutral(r"$\href{x}{y} \style{a}{b} \def\x{1} \hrefs \begin{x}$") == r"$\ href{x}{y} \ style{a}{b} \ def\x{1} \hrefs \begin{x}$"


def test_an_answer_is_neutralised_and_a_pasted_picture_does_not_stop_the_page(release):
    answer = "<b onclick=x>Because.</b> ![picture](attachment:a.png)"
    rebuilt = rebuilt_from(release, lambda d: cell_of(d, "toy-why").update(source=answer, attachments={"a.png": {"image/png": "x"}}))
    assert "attachments" not in nbformat.writes(rebuilt.notebook)
    assert "pictures pasted into the answer toy-why" in rebuilt.notes[0]
    html, _ = EXPORTER.from_notebook_node(rebuilt.notebook)
    assert "Because." in html
    assert "<b onclick" not in html


# ---- anything at all -------------------------------------------------------------------------------------------------


def survives(data, release):
    try:
        rebuilt = rebuild(data, release)
    except Refused as refused:
        return refused.status == MALFORMED
    assert protected(rebuilt.notebook) == protected(release)
    assert len(rebuilt.notes) <= MAX_NOTES
    nbformat.validate(rebuilt.notebook)
    return True


KEYS = st.sampled_from(["cells", "nbformat", "metadata", "nbgrader", "source", "cell_type", "grade_id", "points", "id", "x"])
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["toy-double", "code", DOUBLE])
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=20)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=VALUES, whole=st.booleans())
def test_any_json_is_refused_or_rebuilt(release, value, whole):
    assert survives(json.dumps(value if whole else {"nbformat": 4, "cells": [{"source": "x", "metadata": value}, value]}).encode(), release)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=200), at=st.integers(0, 10_000))
def test_any_bytes_in_a_notebook_are_refused_or_rebuilt(release, data, at):
    text = nbformat.writes(release).encode()
    assert survives(data, release)
    assert survives(text[:at] + data + text[at + len(data) :], release)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_change_of_a_notebook_leaves_what_is_the_graders(release, data):
    document = as_json(release)
    cells = document["cells"]
    for _ in range(data.draw(st.integers(1, 5))):
        k, other = (data.draw(st.integers(0, len(cells) - 1)) for _ in range(2))
        what = data.draw(st.sampled_from(["delete", "copy", "swap", "value", "mark", "source", "type", "id"]))
        if what == "delete" and len(cells) > 1:
            del cells[k]
        elif what == "copy":
            cells.insert(other, copy.deepcopy(cells[k]))
        elif what == "swap":
            cells[k], cells[other] = cells[other], cells[k]
        elif what == "value":
            cells[k][data.draw(st.sampled_from(["source", "metadata", "cell_type", "id"]))] = data.draw(VALUES)
        elif what == "mark" and isinstance(cells[k].get("metadata"), dict) and isinstance(cells[k]["metadata"].get("nbgrader"), dict):
            mark = cells[k]["metadata"]["nbgrader"]
            mark[data.draw(st.sampled_from([*mark, "points"]) if mark else st.just("points"))] = data.draw(VALUES)
        elif what == "source":
            cells[k]["source"] = data.draw(st.sampled_from([DOUBLE, "class Counter: pass", "", "double = 1", cells[other]["source"]]))
        elif what == "type":
            cells[k]["cell_type"] = data.draw(st.sampled_from(["code", "markdown", "raw"]))
        elif what == "id":
            cells[k]["id"] = cells[other].get("id")
    assert survives(json.dumps(document).encode(), release)
