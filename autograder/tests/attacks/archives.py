"""Exports of Canvas and Moodle that are attacks: what must be refused, in which words, and who is taken in all the same."""

import stat
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from autograder.collect import NEW, REFUSED, collect, plan
from autograder.errors import CourseError
from autograder.tests.attacks.course import NAME

NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
HONEST = "ada/exercises.ipynb"  # in every export, and always taken
ARCHIVES: list["Archive"] = []


@dataclass(frozen=True)
class Archive:
    """An export, and what collecting must make of it."""

    name: str
    sentence: str
    prepare: Callable[[zipfile.ZipFile], None]
    refuses: str  # part of the sentence that refuses it
    whole: bool  # whether the whole export is refused
    takes: tuple[str, ...]  # the students who are taken in


def archive(refuses: str, whole: bool = False, takes: tuple[str, ...] = ("ada",)) -> Callable:
    """Put the function below among the archives; it writes what is hostile into a zip that holds one honest file already."""

    def remember(prepare: Callable[[zipfile.ZipFile], None]) -> Callable[[zipfile.ZipFile], None]:
        ARCHIVES.append(Archive(prepare.__name__, prepare.__doc__ or "", prepare, refuses, whole, takes))
        return prepare

    return remember


def special(name: str, kind: int) -> zipfile.ZipInfo:
    """A member that says it is a link, a pipe or a device."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    return info


@archive("leads out of the export's folder")
def climbs_out(file: zipfile.ZipFile) -> None:
    """A name that leads upwards, into the release."""
    file.writestr("bo/../../../release/01_attacked/exercises.ipynb", NOTEBOOK)


@archive("leads out of the export's folder")
def climbs_out_as_on_windows(file: zipfile.ZipFile) -> None:
    """The same with the other slash."""
    file.writestr("bo\\..\\..\\exercises.ipynb", NOTEBOOK)


@archive("leads out of the export's folder")
def begins_at_the_root(file: zipfile.ZipFile) -> None:
    """A name that begins at the root of the file system."""
    file.writestr("/tmp/attack-was-here/exercises.ipynb", NOTEBOOK)


@archive("leads out of the export's folder")
def begins_at_a_drive(file: zipfile.ZipFile) -> None:
    """A name that begins at a drive of Windows."""
    file.writestr("C:/attack-was-here/exercises.ipynb", NOTEBOOK)


@archive("leads out of the export's folder")
def parent_as_a_student(file: zipfile.ZipFile) -> None:
    """A student called `..`."""
    file.writestr("../exercises.ipynb", NOTEBOOK)


@archive("a link or a special file")
def link_in_a_zip(file: zipfile.ZipFile) -> None:
    """A symbolic link to the gradebook."""
    file.writestr(special("bo/exercises.ipynb", stat.S_IFLNK), "../../gradebook.db")


@archive("a link or a special file", takes=("ada", "bo"))
def link_and_then_a_file_through_it(file: zipfile.ZipFile) -> None:
    """A folder that is a link upwards, and a file written through it: the file is put where bo's belongs."""
    file.writestr(special("bo", stat.S_IFLNK), "../../..")
    file.writestr("bo/release.ipynb", NOTEBOOK)


@archive("a link or a special file")
def pipe_in_a_zip(file: zipfile.ZipFile) -> None:
    """A named pipe."""
    file.writestr(special("bo/exercises.ipynb", stat.S_IFIFO), "")


@archive("larger than 20 MB")
def bomb(file: zipfile.ZipFile) -> None:
    """Thirty megabytes of nothing, packed in a few kilobytes."""
    file.writestr("bo/exercises.ipynb", bytes(30 << 20), zipfile.ZIP_DEFLATED)


@archive("cannot be read, because the export is damaged")
def bomb_that_lies(file: zipfile.ZipFile) -> None:
    """The same, and its header says that it is small."""
    file.writestr("bo/exercises.ipynb", bytes(30 << 20), zipfile.ZIP_DEFLATED)
    file.getinfo("bo/exercises.ipynb").file_size = 1000


@archive("more than 5000 files", whole=True)
def members_without_number(file: zipfile.ZipFile) -> None:
    """Six thousand files."""
    for number in range(6000):
        file.writestr(f"student-{number}/exercises.ipynb", "")


@archive("encrypted")
def encrypted(file: zipfile.ZipFile) -> None:
    """A member that needs a password."""
    file.writestr("bo/exercises.ipynb", NOTEBOOK)
    file.getinfo("bo/exercises.ipynb").flag_bits |= 0x1


@archive("packed as neither Canvas nor Moodle does")
def other_compression(file: zipfile.ZipFile) -> None:
    """A compression whose size is not known before it is unpacked."""
    file.writestr("bo/exercises.ipynb", NOTEBOOK * 10, zipfile.ZIP_LZMA)


@archive("damaged")
def damaged(file: zipfile.ZipFile) -> None:
    """A member whose checksum is wrong."""
    file.writestr("bo/exercises.ipynb", NOTEBOOK)
    file.getinfo("bo/exercises.ipynb").CRC = zlib.crc32(b"another file")


@archive("several files of this name")
def same_name_twice(file: zipfile.ZipFile) -> None:
    """Two members of one name: which one counts is a person's question."""
    file.writestr("bo/exercises.ipynb", NOTEBOOK)
    file.writestr("bo/exercises.ipynb", NOTEBOOK + " ")


@archive("not opened")
def zip_in_a_zip(file: zipfile.ZipFile) -> None:
    """An archive within the archive, as a student may hand in."""
    file.writestr("bo/exercises.zip", b"PK\x05\x06" + bytes(18))


@archive("holds characters that no name should")
def codes_in_a_name(file: zipfile.ZipFile) -> None:
    """Codes of the terminal in a name."""
    file.writestr("bo\x1b[2J/exercises.ipynb", NOTEBOOK)


@archive("longer than 255 bytes")
def name_too_long(file: zipfile.ZipFile) -> None:
    """A name that no file can have."""
    file.writestr("b" * 300 + "/exercises.ipynb", NOTEBOOK)


@archive("so no folder can safely be called so")
def pattern_in_a_name(file: zipfile.ZipFile) -> None:
    """A student called `*`, whom nbgrader takes for all."""
    file.writestr("*/exercises.ipynb", NOTEBOOK)


@archive("no notebook")
def program_in_an_export(file: zipfile.ZipFile) -> None:
    """A program instead of a notebook."""
    file.writestr("bo/exercises.exe", b"MZ")


def problem_of(one: Archive) -> str:
    """Collect an export into an empty course; what is not as it must be, in words, or nothing."""
    with TemporaryDirectory() as scratch:
        course = Path(scratch) / "repository" / "course"
        course.mkdir(parents=True)
        with zipfile.ZipFile(Path(scratch) / "export.zip", "w") as file:
            file.writestr(HONEST, NOTEBOOK)
            one.prepare(file)
        try:
            items = collect(plan(Path(scratch) / "export.zip", course, NAME), Path(scratch) / "export.zip", course, NAME)
        except CourseError as error:
            return "" if one.whole and one.refuses in str(error) else f"the whole export was refused: {error}"
        written = sorted(str(path.relative_to(scratch)) for path in Path(scratch).rglob("*") if path.is_file())
        refused = [item for item in items if item.status == REFUSED]
        wanted = ["export.zip", *(f"repository/course/submitted/{student}/{NAME}/exercises.ipynb" for student in one.takes)]
        problems = [
            "" if any(one.refuses in item.sentence for item in refused) else f"nothing was refused as {one.refuses!r}: {items}",
            "" if [item.student for item in items if item.status == NEW] == list(one.takes) else f"taken were not {one.takes}: {items}",
            "" if written == wanted else f"files were written: {written}",
        ]
        return "; ".join(filter(None, problems))
