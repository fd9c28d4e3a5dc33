"""Tests of the class list."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder.errors import CourseError
from autograder.layout import course
from autograder.nbgrader_api import gradebook
from autograder.roster import Student, import_roster, read_roster, valid_id

pytestmark = pytest.mark.slow  # for who changes the grader, not for who writes a chapter


@pytest.fixture
def write(tmp_path):
    """Write a class list; returns its path."""

    def write(text, encoding="utf-8"):
        path = tmp_path / "class.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return path

    return write


def test_our_own_columns(write):
    text = 'last_name,id,first_name,email,lms_id,note\nLovelace,ada,Ada,ada@x.org,17,"a, b"\n\n"O""Neil, Jr",pat,,,,\n'
    assert read_roster(write(text)) == [Student("ada", "Ada", "Lovelace", "ada@x.org", "17"), Student("pat", last_name='O"Neil, Jr')]


def test_the_export_of_canvas(write):
    text = (
        "Student,ID,SIS User ID,SIS Login ID,Section,Homework (12)\n,,,,,Manual Posting\n    Points Possible,,,,,20\n"
        '"Lovelace, Ada",17,S001,ada42,One,3\n"Student, Test",99,,abcdef,One,\n'
    )
    assert read_roster(write(text)) == [Student("ada42", "Ada", "Lovelace", "", "17")]
    assert read_roster(write('Student,ID\n"Lovelace, Ada",17\n')) == [Student("17", "Ada", "Lovelace", "", "17")]


def test_the_export_of_moodle(write):
    text = '"First name","Last name","ID number","Email address",Groups\nAda,Lovelace,1815,ada@x.org,\n'
    assert read_roster(write(text, "utf-8-sig")) == [Student("1815", "Ada", "Lovelace", "ada@x.org")]
    assert read_roster(write("First name;Surname;Email address\nAda;Lovelace;ada@x.org\n"))[0].id == "ada@x.org"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_accents_quotes_and_emoji(write, encoding):
    names = ["Zoë", "José María", 'pat "the hat"', "李雷", "o'neil", "👩‍🔬", "محمد", "a.b@c.org", "Jr.", "x:y|z"]
    text = "id\n" + "\n".join('"' + unicodedata.normalize("NFD", name).replace('"', '""') + '"' for name in names)
    assert [student.id for student in read_roster(write(text, encoding))] == [unicodedata.normalize("NFC", name) for name in names]


def test_two_students_may_have_one_name(write):
    assert len(read_roster(write("id,first_name\na,Kim\nb,Kim\n"))) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "class.csv is empty"),
        ("\n\n", "class.csv is empty"),
        ("id\n", "class.csv names no student"),
        ("name\nAda\n", "class.csv has no column 'id'"),
        ("id,email\nada\n", "line 2 of class.csv has 1 fields where the header has 2"),
        ("id\nada,x\n", "line 2 of class.csv has 2 fields where the header has 1"),
        ("id,email\nada,x\n  ,y\n", "line 3 of class.csv: an id is empty"),
        ("id\nada\nbo\nAda\n", "line 4 of class.csv has the id 'Ada' of line 2 again"),
        ("id\nzo\u00eb\nzoe\u0308\n", "line 3 of class.csv has the id"),
        ("id\n..\n", "line 2 of class.csv: the id '..' begins with a dot"),
        ("id\n.git\n", "begins with a dot"),
        ("id\na/b\n", "holds '/'"),
        ("id\na\\b\n", "holds '\\\\\\\\'"),
        ("id\n*\n", "holds '*'"),
        ("id\na[bc]\n", "holds '['"),
        ("id\na\x00b\n", "U\\+0000"),
        ("id\na\x1bb\n", "U\\+001B"),
        ("id\n\u202egpj.exe\n", "U\\+202E"),
        ('id\n"a\nb"\n', "U\\+000A"),
        ("id\n" + "é" * 51 + "\n", "longer than 100 bytes"),
        ("id,email\nada," + "x" * 129 + "\n", "line 2 of class.csv has a field of more than 128"),
        ('id\n"ada\n', "is not CSV"),
        ('id\n"ada"x\n', "is not CSV"),
        (b"id\nzo\xeb\n", "class.csv is not text in UTF-8"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(write, text, sentence):
    with pytest.raises(CourseError, match=sentence.replace("*", "\\*").replace("[", "\\[")) as told:
        read_roster(write(text))
    assert "\n" not in str(told.value)


def test_a_list_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CourseError, match=r"nobody\.csv cannot be read"):
        read_roster(tmp_path / "nobody.csv")


def test_an_id_is_stripped_and_normalised():
    assert valid_id("  zoe\u0308 \n") == "zo\u00eb"
    assert len(valid_id("é" * 50)) == 50


@given(st.text(max_size=120))
def test_an_accepted_id_is_one_folder_name(tmp_path_factory, text):
    try:
        made = valid_id(text)
    except CourseError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert valid_id(made) == made
    folder = tmp_path_factory.getbasetemp() / "ids" / made
    folder.mkdir(parents=True, exist_ok=True)
    assert folder.resolve().parent == tmp_path_factory.getbasetemp().resolve() / "ids"
    assert [path.name for path in folder.parent.glob(f"{made}")] == [made]  # nbgrader looks folders up so


def test_the_gradebook_learns_of_students_and_forgets_nobody(toy):
    folder = course(toy.root)
    with gradebook(folder) as book:
        book.add_student("old", first_name="Olga")
        import_roster(book, [Student("ada", "Ada", "Lovelace", "", "17"), Student("old", last_name="Old")])
        import_roster(book, [Student("ada", "Ada", "King")])
    with gradebook(folder) as book:
        found = {student.id: (student.first_name, student.last_name, student.lms_user_id) for student in book.students}
    assert found == {"ada": ("Ada", "King", "17"), "old": ("Olga", "Old", None)}
