"""Tests of collecting what Canvas and Moodle export."""

import os
import stat
import zipfile

import pytest

from autograder import collect as module
from autograder.collect import DIFFERS, NEW, REFUSED, SAME, SUPERSEDED, collect, plan
from autograder.errors import CourseError
from autograder.roster import Student

pytestmark = pytest.mark.slow  # a minute of properties: for who changes the grader, not for who writes a chapter

CHAPTER = "02_ngrams"
ROSTER = [
    Student("ada", "Ada", "Lovelace", lms_id="12345"),
    Student("zoë", "Zoë", "O'Neil-Šmíd"),
    Student("kim1", "Kim", "Lee"),
    Student("kim2", "Kim", "Lee"),
]


def pack(path, files):
    """A zip of name -> content; a name may be a ZipInfo."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, content)
    return path


def spread(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.fixture(params=["zip", "folder"])
def export(request, tmp_path):
    """Make an export of name -> content, as a zip and as a folder."""
    return lambda files: pack(tmp_path / "x.zip", files) if request.param == "zip" else spread(tmp_path / "x", files)


@pytest.fixture
def course(tmp_path):
    return tmp_path / "course"


def short(items):
    return {(item.student, item.member): item.status for item in items}


def submitted(course):
    """Student -> what stands in their folder."""
    found = [path for path in (course / "submitted").rglob("*") if path.is_file()]
    assert all(path.name == "exercises.ipynb" and path.parent.name == CHAPTER for path in found)
    return {path.parent.parent.name: path.read_text() for path in found}


CANVAS = {
    "lovelaceada_LATE_12345_67890_exercises-1.ipynb": "ada",
    "oneilšmídzoë_777_67999_02_ngrams_zoe.ipynb": "zoë",
    "lovelaceada_LATE_12345_67889_exercises.ipynb": "ada before",
    "lovelaceada_LATE_12345_67891_notes.pdf": "x",
}


def test_canvas(export, course):
    items = plan(export(CANVAS), course, CHAPTER, ROSTER)
    assert short(items) == {
        ("ada", "lovelaceada_LATE_12345_67890_exercises-1.ipynb"): NEW,
        ("ada", "lovelaceada_LATE_12345_67889_exercises.ipynb"): SUPERSEDED,
        ("zoë", "oneilšmídzoë_777_67999_02_ngrams_zoe.ipynb"): NEW,
    }
    assert items[1].sentence == "handed in late"
    assert not course.exists()  # a plan writes nothing


def test_canvas_without_a_class_list(export, course):
    source = export(CANVAS)
    collect(plan(source, course, CHAPTER), source, course, CHAPTER)
    assert submitted(course) == {"lovelaceada_12345": "ada", "oneilšmídzoë_777": "zoë"}


def test_of_repeated_uploads_to_canvas_the_newest_wins(export, course):
    names = [f"lovelaceada_12345_5{suffix and 0}_exercises{suffix}.ipynb" for suffix in ("", "-9", "-10", "-2")]
    items = plan(export(dict.fromkeys(names, "x")), course, CHAPTER, ROSTER)
    assert [item.member for item in items if item.status == NEW] == ["lovelaceada_12345_50_exercises-10.ipynb"]
    assert [item.status for item in items].count(SUPERSEDED) == 3
    later = {"lovelaceada_12345_60_exercises.ipynb": "later", "lovelaceada_12345_50_exercises-3.ipynb": "before"}
    items = plan(export(later), course, CHAPTER, ROSTER)
    assert short(items)["ada", "lovelaceada_12345_60_exercises.ipynb"] == NEW


def test_an_anonymous_assignment_of_canvas_is_refused(export, course):
    (item,) = plan(export({"LATE_anon_Ab1_55_exercises.ipynb": "x"}), course, CHAPTER, ROSTER)
    assert (item.status, item.student) == (REFUSED, "")
    assert "anonymous" in item.sentence


MOODLE = {
    "Ada Lovelace_111_assignsubmission_file_/exercises.ipynb": "ada",
    "Zoë ONeil-Šmíd_222_assignsubmission_file/part/exercises.ipynb": "zoë",
    "Ada Lovelace_111_assignsubmission_onlinetext/onlinetext.html": "hello",
}
FLAT = {
    "Ada Lovelace_111_assignsubmission_file_exercises.ipynb": "ada",
    "ONeil-Šmíd Zoë_222_assignsubmission_file_my work (2).ipynb": "zoë",
    "Ada Lovelace_111_assignsubmission_onlinetext_onlinetext.html": "hello",
}


@pytest.mark.parametrize("files", [MOODLE, FLAT, {f"CS1-Homework/{name}": text for name, text in MOODLE.items()}])
def test_moodle(export, course, files):
    source = export(files)
    items = plan(source, course, CHAPTER, ROSTER)
    assert [item.status for item in items] == [NEW, NEW]
    collect(items, source, course, CHAPTER)
    assert submitted(course) == {"ada": "ada", "zoë": "zoë"}


def test_moodle_without_a_class_list(export, course):
    source = export(MOODLE)
    collect(plan(source, course, CHAPTER), source, course, CHAPTER)
    assert submitted(course) == {"Ada Lovelace": "ada", "Zoë ONeil-Šmíd": "zoë"}


@pytest.mark.parametrize("roster", [None, ROSTER])
def test_two_people_of_one_name_are_never_mixed_up(export, course, roster):
    files = {f"Kim Lee_{number}_assignsubmission_file/exercises.ipynb": str(number) for number in (1, 2)}
    items = plan(export(files), course, CHAPTER, roster)
    assert [item.status for item in items] == [REFUSED, REFUSED]
    assert all(("kim1 and kim2" if roster else "two people of the export (1 and 2)") in item.sentence for item in items)


def test_plain_folders(export, course):
    files = {
        "ada/exercises.ipynb": "ada",
        "zoë/01_toy/exercises.ipynb": "another chapter's",
        "zoë/02_ngrams/exercises.ipynb": "zoë",
        "KIM1.ipynb": "kim1",
        "ada/.ipynb_checkpoints/exercises-checkpoint.ipynb": "no",
        "__MACOSX/ada/._exercises.ipynb": "no",
    }
    source = export(files)
    collect(plan(source, course, CHAPTER, ROSTER), source, course, CHAPTER)
    assert submitted(course) == {"ada": "ada", "zoë": "zoë", "kim1": "kim1"}


def test_a_folder_around_everything_is_seen_through_with_a_class_list(export, course):
    (item,) = plan(export({"download/ada/exercises.ipynb": "x"}), course, CHAPTER, ROSTER)
    assert (item.student, item.status) == ("ada", NEW)


def test_an_unknown_student_is_refused_and_the_nearest_named(export, course):
    (item,) = plan(export({"lovelacead_9_8_exercises.ipynb": "x"}), course, CHAPTER, ROSTER, "canvas")
    assert (item.status, item.student) == (REFUSED, "")
    assert item.sentence == "nobody on the class list is 'lovelacead'; the nearest is Ada Lovelace (ada)"


def test_a_number_of_canvas_that_is_another_persons_does_not_pass_by_the_name(export, course):
    (item,) = plan(export({"lovelaceada_9_8_exercises.ipynb": "x"}), course, CHAPTER, ROSTER)
    assert item.status == REFUSED


REFUSALS = {
    "archive": ({"ada/work.zip": "x"}, "an archive inside the export"),
    "no notebook": ({"ada/work.pdf": "x"}, "it is no notebook"),
    "two notebooks": ({"ada/a.ipynb": "1", "ada/b.ipynb": "2"}, "2 notebooks (a.ipynb and b.ipynb)"),
    "twice the same name": ({"ada/x/exercises.ipynb": "1", "ada/y/exercises.ipynb": "2"}, "several files of this name"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_a_person_must_decide_is_refused(export, course, case):
    files, sentence = REFUSALS[case]
    items = plan(export(files), course, CHAPTER, ROSTER, "plain")
    assert {item.status for item in items} == {REFUSED}
    assert all(sentence in item.sentence and item.student == "ada" for item in items)


def test_the_plain_name_wins_over_a_browsers_copy(export, course):
    items = plan(export({"ada/exercises.ipynb": "1", "ada/exercises (1).ipynb": "2", "ada/scratch.ipynb": "3"}), course, CHAPTER, ROSTER)
    assert [item.member for item in items if item.status == NEW] == ["ada/exercises.ipynb"]


# ---- what is written -------------------------------------------------------------------------------------------------


def test_a_submission_is_never_overwritten_unasked_and_never_lost(export, course):
    source = export({"ada/exercises.ipynb": "new"})
    place = course / "submitted" / "ada" / CHAPTER / "exercises.ipynb"
    place.parent.mkdir(parents=True)
    place.write_text("old")
    items = plan(source, course, CHAPTER, ROSTER)
    assert [item.status for item in collect(items, source, course, CHAPTER)] == [DIFFERS]
    assert place.read_text() == "old"
    (done,) = collect(items, source, course, CHAPTER, replace=True)
    assert place.read_text() == "new"
    kept = course / "submitted-before" / "ada" / CHAPTER / "exercises-1.ipynb"
    assert kept.read_text() == "old"
    assert str(kept.relative_to(course)) in done.sentence
    assert [item.status for item in plan(source, course, CHAPTER, ROSTER)] == [SAME]
    place.write_text("other")
    collect(plan(source, course, CHAPTER, ROSTER), source, course, CHAPTER, replace=True)
    assert (kept.read_text(), kept.with_name("exercises-2.ipynb").read_text()) == ("old", "other")


def test_what_came_between_plan_and_collect_is_not_overwritten(export, course):
    source = export({"ada/exercises.ipynb": "new"})
    items = plan(source, course, CHAPTER, ROSTER)
    place = course / "submitted" / "ada" / CHAPTER / "exercises.ipynb"
    place.parent.mkdir(parents=True)
    place.write_text("came between")
    assert [item.status for item in collect(items, source, course, CHAPTER)] == [DIFFERS]
    assert place.read_text() == "came between"


def test_a_file_that_changed_after_the_plan_is_refused(course, tmp_path):
    source = spread(tmp_path / "x", {"ada/exercises.ipynb": "new"})
    items = plan(source, course, CHAPTER, ROSTER)
    (source / "ada" / "exercises.ipynb").write_text("newer")
    assert [item.status for item in collect(items, source, course, CHAPTER)] == [REFUSED]
    assert not course.exists()


@pytest.mark.parametrize("link", ["ada", "ada/02_ngrams", "ada/02_ngrams/exercises.ipynb"])
def test_nothing_is_written_through_a_link(export, course, tmp_path, link):
    elsewhere = spread(tmp_path / "elsewhere", {"exercises.ipynb": "mine"})
    path = course / "submitted" / link
    path.parent.mkdir(parents=True)
    path.symlink_to(elsewhere / "exercises.ipynb" if link.endswith("ipynb") else elsewhere)
    source = export({"ada/exercises.ipynb": "new"})
    items = plan(source, course, CHAPTER, ROSTER)
    assert [item.status for item in collect(items, source, course, CHAPTER, replace=True)] == [REFUSED]
    assert (elsewhere / "exercises.ipynb").read_text() == "mine"
    assert sorted(path.name for path in elsewhere.iterdir()) == ["exercises.ipynb"]


# ---- hostile exports -------------------------------------------------------------------------------------------------


def linked(name, target):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info, target


def special(name, kind):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (kind | 0o644) << 16
    return info, "x"


UNSAFE = {
    "absolute": ("/etc/exercises.ipynb", "x"),
    "up": ("../../ada/exercises.ipynb", "x"),
    "up inside": ("ada/../../exercises.ipynb", "x"),
    "drive": ("C:/ada/exercises.ipynb", "x"),
    "backslash": ("ada\\..\\exercises.ipynb", "x"),
    "long name": (f"ada/{'é' * 130}.ipynb", "x"),
    "control": ("ada/\x1b[31m.ipynb", "x"),
    "symlink": linked("ada/exercises.ipynb", "/etc/passwd"),
    "fifo": special("ada/exercises.ipynb", stat.S_IFIFO),
    "device": special("ada/exercises.ipynb", stat.S_IFCHR),
    "large": ("ada/exercises.ipynb", "0" * (module.MAX_FILE + 1)),
}


@pytest.mark.parametrize("case", UNSAFE)
@pytest.mark.parametrize("roster", [None, ROSTER])
def test_an_unsafe_member_is_refused_and_the_others_are_taken(course, tmp_path, case, roster):
    source = pack(tmp_path / "x.zip", [UNSAFE[case], ("zoë/exercises.ipynb", "zoë")])
    before = sorted(tmp_path.rglob("*"))
    items = plan(source, course, CHAPTER, roster)
    assert sorted(tmp_path.rglob("*")) == before
    assert sorted(item.status for item in items) == [NEW, REFUSED]
    assert all("\n" not in item.sentence and item.member.isprintable() for item in items)
    collect(items, source, course, CHAPTER)
    assert submitted(course) == {"zoë": "zoë"}
    assert {path.name for path in tmp_path.iterdir()} == {"x.zip", "course"}


def patched(path, old, new):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    return path


def test_an_encrypted_member_is_refused(course, tmp_path):
    source = pack(tmp_path / "x.zip", {"ada/exercises.ipynb": "x"})
    data = bytearray(source.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    data[6] |= 1
    source.write_bytes(data)
    (item,) = plan(source, course, CHAPTER, ROSTER)
    assert (item.status, "encrypted" in item.sentence) == (REFUSED, True)


def test_a_member_whose_size_is_a_lie_is_refused(course, tmp_path):
    content = "0" * (module.MAX_FILE + 5)
    source = pack(tmp_path / "x.zip", {"ada/exercises.ipynb": content})
    patched(source, len(content).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    (item,) = plan(source, course, CHAPTER, ROSTER)
    assert (item.status, "damaged" in item.sentence) == (REFUSED, True)


def test_a_member_that_could_unpack_without_bound_is_refused(course, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("ada/exercises.ipynb", "x")
    (item,) = plan(tmp_path / "x.zip", course, CHAPTER, ROSTER)
    assert item.status == REFUSED


def test_a_damaged_member_is_refused(course, tmp_path):
    source = pack(tmp_path / "x.zip", {"ada/exercises.ipynb": os.urandom(999), "zoë/exercises.ipynb": "zoë"})
    data = bytearray(source.read_bytes())
    data[200] ^= 0xFF
    source.write_bytes(data)
    assert sorted(item.status for item in plan(source, course, CHAPTER, ROSTER)) == [NEW, REFUSED]


def test_all_notebooks_together_are_bounded(course, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_TOTAL", 1_500)
    source = pack(tmp_path / "x.zip", {"ada/exercises.ipynb": "0" * 1_000, "zoë/exercises.ipynb": "0" * 1_000})
    assert sorted(item.status for item in plan(source, course, CHAPTER, ROSTER)) == [NEW, REFUSED]


def test_too_many_members_are_no_class(export, course, monkeypatch):
    monkeypatch.setattr(module, "MAX_MEMBERS", 3)
    assert len(plan(export({f"s{i}/exercises.ipynb": "x" for i in range(3)}), course, CHAPTER)) == 3
    with pytest.raises(CourseError, match="more than 3 files"):
        plan(export({f"s{i}/exercises.ipynb": "x" for i in range(4)}), course, CHAPTER)


def test_links_and_special_files_of_a_folder_are_refused(course, tmp_path):
    source = spread(tmp_path / "x", {"zoë/exercises.ipynb": "zoë"})
    secret = spread(tmp_path / "secret", {"exercises.ipynb": "secret"})
    (source / "ada").mkdir()
    (source / "ada" / "exercises.ipynb").symlink_to(secret / "exercises.ipynb")
    (source / "kim1").symlink_to(secret)
    (source / "kim2").mkdir()
    os.mkfifo(source / "kim2" / "exercises.ipynb")
    items = plan(source, course, CHAPTER, ROSTER)
    assert [item.status for item in items] == [REFUSED] * 3 + [NEW]
    collect(items, source, course, CHAPTER)
    assert submitted(course) == {"zoë": "zoë"}


def test_ids_that_cannot_be_folders_are_refused(export, course):
    items = plan(export({"*/exercises.ipynb": "x", "ada/exercises.ipynb": "x"}), course, CHAPTER)
    assert {item.member: item.status for item in items} == {"*/exercises.ipynb": REFUSED, "ada/exercises.ipynb": NEW}


def test_names_in_utf_8_that_the_zip_does_not_declare(course, tmp_path):
    source = pack(tmp_path / "x.zip", {"zo_/exercises.ipynb": "zoë"})
    patched(source, b"zo_/", "zë/".encode())
    assert [item.student for item in plan(source, course, CHAPTER)] == ["zë"]


@pytest.mark.parametrize("content", [None, b"", b"PK", b"no zip at all" * 99])
def test_what_is_no_export_is_told_in_a_sentence(course, tmp_path, content):
    if content is not None:
        (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(CourseError, match=r"x\.zip"):
        plan(tmp_path / "x.zip", course, CHAPTER)


def test_an_unknown_layout_is_told(export, course):
    with pytest.raises(CourseError, match="say auto, canvas, moodle, plain"):
        plan(export({"ada/exercises.ipynb": "x"}), course, CHAPTER, layout="blackboard")
