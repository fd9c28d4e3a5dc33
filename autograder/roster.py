"""Reads a class list: who is in the course, and what their folders are called.

A CSV file in UTF-8 with a header. Understood are
- our own columns: id, and if wanted first_name, last_name, email, lms_id;
- Canvas's gradebook export: Student ("Last, First"), ID (Canvas's number, our lms_id), SIS User ID, SIS Login ID (our id,
  else SIS User ID, else ID); its rows of points and its test student are left out;
- Moodle's list of participants: First name, Last name (or Surname), Username or ID number or Email address (the first of
  these that is there is our id), Email address.
"""

import csv
import io
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autograder.errors import CourseError

if TYPE_CHECKING:
    from nbgrader.api import Gradebook

MAX_BYTES = 100  # of an id in UTF-8: file names end at 255, and tools put words around them
MAX_LETTERS = 128  # of a name: nbgrader's columns are that wide
_COLUMNS = {
    "id": ("id", "student id", "username", "id number", "email address"),
    "first_name": ("first name", "given name"),
    "last_name": ("last name", "surname", "family name"),
    "email": ("email", "email address", "e-mail"),
    "lms_id": ("lms id",),
}
_CANVAS = {"id": ("sis login id", "sis user id", "id"), "name": ("student",), "email": (), "lms_id": ("id",)}


@dataclass(frozen=True)
class Student:
    """One student. The id is the name of their folders, and their key in the gradebook."""

    id: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    lms_id: str = ""  # the number that Canvas writes into the names of files

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()


def valid_id(text: str) -> str:
    """A student's id: stripped, in Unicode's form NFC. Raises CourseError where no folder could safely have that name.

    nbgrader sets two limits more: it looks folders up by pattern, so that the id `*` would be everybody, and it keeps
    128 letters.
    """
    made = unicodedata.normalize("NFC", text).strip()
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in made[:60])
    if not made:
        raise CourseError("an id is empty; give every student one")
    if made.startswith("."):
        raise CourseError(f"the id {shown!r} begins with a dot, so no folder can safely be called so; choose another")
    if bad := [letter for letter in made if letter in "/\\*?[" or _is_hidden(letter)]:
        what = repr(bad[0]) if bad[0].isprintable() else f"the invisible character U+{ord(bad[0]):04X}"
        raise CourseError(f"the id {shown!r} holds {what}, so no folder can safely be called so; choose another")
    if len(made.encode("utf-8")) > MAX_BYTES:
        raise CourseError(f"the id {shown!r} is longer than {MAX_BYTES} bytes; choose a shorter one")
    return made


def _is_hidden(letter: str) -> bool:
    """Whether a character is a control, half a surrogate pair, a line separator, or turns the direction of writing.

    The joiners of emoji and of Persian names are none of these.
    """
    turns = unicodedata.bidirectional(letter) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    return turns or letter in "\u200e\u200f\u061c\ufeff" or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")


def read_roster(path: Path) -> list[Student]:
    """The students of a class list, in its order. Raises CourseError that names the line and what is wrong in it."""
    reader = csv.reader(io.StringIO(text := _decode(path), newline=""), delimiter=_delimiter(text), strict=True)
    students: list[Student] = []
    lines: dict[str, int] = {}
    try:
        header = next((row for row in reader if any(row)), None)
        if header is None:
            raise CourseError(f"{path.name} is empty; it needs a header and a line a student")
        columns = _columns(path, header)
        for row in reader:
            student = _student(row, columns, len(header), f"line {reader.line_num} of {path.name}")
            if student is None:
                continue
            key = unicodedata.normalize("NFC", student.id.casefold())
            if key in lines:
                again = f"has the id {student.id!r} of line {lines[key]} again"
                raise CourseError(f"line {reader.line_num} of {path.name} {again}; give each student another")
            lines[key] = reader.line_num
            students.append(student)
    except csv.Error as error:
        raise CourseError(f"line {reader.line_num} of {path.name} is not CSV ({error}); save it as CSV again") from None
    if not students:
        raise CourseError(f"{path.name} names no student; it needs a line a student below the header")
    return students


def _decode(path: Path) -> str:
    try:
        data = path.read_bytes()
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise CourseError(f"{path.name} is not text in UTF-8; save it as 'CSV UTF-8'") from None
    except OSError as error:
        raise CourseError(f"the class list {path} cannot be read ({error.strerror}); name another file") from None


def _delimiter(text: str) -> str:
    """What separates the fields: a comma, or what spreadsheets write elsewhere."""
    header = text.lstrip().partition("\n")[0]
    return max(",;\t", key=header.count)


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    """What we want -> the number of its column."""
    names = [" ".join(name.replace("_", " ").casefold().split()) for name in header]
    wanted = _CANVAS if "student" in names and "id" in names else _COLUMNS
    found = {ours: [names.index(name) for name in theirs if name in names] for ours, theirs in wanted.items()}
    if not found["id"]:
        raise CourseError(f"{path.name} has no column 'id' in its header; name one so, or take the export of Canvas or Moodle as it is")
    return {ours: places[0] for ours, places in found.items() if places}


def _student(row: list[str], columns: dict[str, int], width: int, where: str) -> Student | None:
    """The student of one row; None for a row of none."""
    if not any(field.strip() for field in row):
        return None
    if "name" in columns and row[columns["name"]].strip() in ("", "Points Possible", "Student, Test", "Test Student"):
        return None  # Canvas's rows of points and of its test student
    if len(row) != width:
        raise CourseError(f"{where} has {len(row)} fields where the header has {width}; put quotes around a field that holds a comma")
    values = {ours: unicodedata.normalize("NFC", " ".join(row[place].split())) for ours, place in columns.items()}
    if name := values.pop("name", ""):
        last, _, first = name.partition(",")
        values |= {"first_name": first.strip(), "last_name": last.strip()}
    if any(len(value) > MAX_LETTERS for value in values.values()):
        raise CourseError(f"{where} has a field of more than {MAX_LETTERS} characters; shorten it")
    try:
        return Student(**{**values, "id": valid_id(row[columns["id"]])})
    except CourseError as error:
        raise CourseError(f"{where}: {error}") from None


def import_roster(book: "Gradebook", students: Iterable[Student]) -> None:
    """Add the students to the gradebook, or bring what it knows of them up to date. Nobody is removed, nothing is blanked."""
    for student in students:
        known = {"first_name": student.first_name, "last_name": student.last_name, "email": student.email, "lms_user_id": student.lms_id}
        book.update_or_create_student(student.id, **{key: value for key, value in known.items() if value})
