"""Takes in what Canvas and Moodle export: finds whose notebook each file is, and puts it into course/submitted.

How the two name files, read in their sources:
- Canvas, "Download Submissions" (instructure/canvas-lms, lib/content_zipper.rb, `get_filename` and `add_upload_submission`):
  `lovelaceada_LATE_12345_67890_exercises-1.ipynb`, that is the name as Canvas sorts it, in lower case and without
  what is no letter, digit or underscore; LATE where it was; the number of the person; the number of the upload; the file's
  name, to which Canvas adds -1, -2 where the student uploaded that name before (instructure/canvas-lms issue 606).
  An anonymous assignment has `anon_AbC12_67890_exercises.ipynb` and names nobody.
- Moodle, "Download all submissions" (moodle/moodle, mod/assign/classes/downloader.php, `get_student_prefix` and
  `load_submissionplugin_filelist`): `Ada Lovelace_123456_assignsubmission_file/exercises.ipynb` in folders (with one more
  underscore before Moodle 4.1), or flat `Ada Lovelace_123456_assignsubmission_file_exercises.ipynb`. The number is the
  participant's in this assignment alone, so only the name says who it is.
- plain: `STUDENT/exercises.ipynb`, `STUDENT/CHAPTER/exercises.ipynb` as nbgrader has it, or `STUDENT.ipynb`.
"""

import dataclasses
import difflib
import os
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from autograder.errors import CourseError
from autograder.layout import NOTEBOOK
from autograder.roster import Student, valid_id
from lmkit.cache import sha256, write_whole

MAX_FILE = 20 << 20  # bytes of one notebook
MAX_TOTAL = 2 << 30  # bytes of all notebooks of one export
MAX_MEMBERS = 5_000
LAYOUTS = ("auto", "canvas", "moodle", "plain")
NEW, SAME, DIFFERS, REFUSED, SUPERSEDED = "new", "same", "differs", "refused", "superseded"
_CANVAS = re.compile(r"(?P<name>[^/]+?)(?P<late>_LATE)?_(?P<person>\d+)_(?P<upload>\d+)_(?P<file>[^/]+)")
_ANONYMOUS = re.compile(r"(?:LATE_)?anon_\w+_\d+_[^/]+")
_MOODLE = re.compile(r"(?P<name>[^/]+)_(?P<person>\d+)_assignsubmission_file(?:_?/(?:.*/)?|_)(?P<file>[^/]+)", re.DOTALL)
_MOODLE_OTHER = re.compile(r"[^/]+_assignsubmission_(?!file)[^/]*(?:/.*)?", re.DOTALL)
_SUFFIX = re.compile(r"(?:-(\d{1,9})| ?\((\d{1,9})\))$")
_CHAPTER = re.compile(r"\d\d_[a-z][a-z0-9]*")
_ARCHIVES = (".zip", ".gz", ".tgz", ".tar", ".7z", ".rar", ".bz2", ".xz")


@dataclass(frozen=True)
class Item:
    """What becomes of one file of an export."""

    student: str  # the id; empty where nobody could be found
    member: str  # the file's name in the export
    size: int  # bytes
    status: str  # new, same, differs, refused or superseded
    sentence: str = ""
    digest: str = ""  # SHA-256 of the content, where it was read


@dataclass(frozen=True)
class _Member:
    """One file of a zip or a folder."""

    name: str
    size: int
    problem: str  # why it is never read; empty where it may be
    read: Callable[[], bytes]  # at most MAX_FILE + 1 bytes. Raises OSError or ValueError


@dataclass(frozen=True)
class _Found:
    """Whose file a member is, as its name says."""

    member: _Member
    layout: str
    name: str  # the student's, as the export writes it
    person: str  # the export's number of the student
    upload: int  # a later upload has a larger number; 0 where there is none
    file: str  # the file's own name
    late: bool = False


def plan(source: Path, course: Path, chapter: str, roster: list[Student] | None = None, layout: str = "auto") -> list[Item]:
    """What `collect` would do with an export, a zip or a folder: an item a file, by name. Nothing is written.

    roster: the class list; with it a file is taken only where its student is on the list. Without one, ids are made of the
    names: Canvas's `lovelaceada_12345`, Moodle's `Ada Lovelace`.
    Raises CourseError where the source cannot be read.
    """
    if layout not in LAYOUTS:
        raise CourseError(f"the layout {layout} is unknown; say {', '.join(LAYOUTS)}")
    members = _members(source)
    items = [Item("", _shown(one.name), one.size, REFUSED, one.problem) for one in members if one.problem]
    members = [one for one in members if not one.problem and not _is_clutter(one.name)]
    layout = _layout(members) if layout == "auto" else layout
    by_student: dict[str, list[_Found]] = {}
    for member in members:
        found = _read_name(member, layout, chapter, roster)
        if isinstance(found, _Found):
            student = _student(found, roster)
            if isinstance(student, Student):
                by_student.setdefault(student.id, []).append(found)
                continue
            found = student
        if found:
            items.append(Item("", _shown(member.name), member.size, REFUSED, found))
    total = 0
    for student, files in by_student.items():
        chosen, others = _choose(student, files)
        items += others
        if chosen:
            total += chosen.member.size
            items.append(_item(student, chosen, _target(course, student, chapter), total))
    return sorted(items, key=lambda item: (item.student, item.member))


def collect(items: Iterable[Item], source: Path, course: Path, chapter: str, replace: bool = False) -> list[Item]:
    """Write what was planned, and return the items as they ended. A file is written whole or not at all.

    A submission that differs from the one that stands there is taken only with `replace`; the old one is then kept in
    course/submitted-before. Raises OSError where the disk is full or cannot be written; what was written stays.
    """
    members = {_shown(one.name): one for one in _members(source)}
    done = []
    for item in items:
        if item.status == NEW or (item.status == DIFFERS and replace):
            item = _write(item, members.get(item.member), course, chapter, replace)
        done.append(item)
    return done


def _write(item: Item, member: _Member | None, course: Path, chapter: str, replace: bool) -> Item:
    try:
        data = member.read() if member else b""
    except (OSError, ValueError, *_BROKEN):
        data = b""
    if sha256(data) != item.digest:
        return dataclasses.replace(item, status=REFUSED, sentence="the file changed while it was collected; collect again")
    target = _target(course, item.student, chapter)
    status, sentence = _standing(target, data)  # it may have changed since
    if status == DIFFERS and replace:
        sentence = f"the submission before it is kept as {_keep(course, target, chapter)}"
    elif status != NEW:
        return dataclasses.replace(item, status=status, sentence=sentence)
    write_whole(target, data)
    return dataclasses.replace(item, status=status, sentence=sentence or item.sentence)


def _target(course: Path, student: str, chapter: str) -> Path:
    return course / "submitted" / student / chapter / f"{NOTEBOOK}.ipynb"


def _keep(course: Path, target: Path, chapter: str) -> str:
    """Copy a submission out of the way; returns where to."""
    old = target.read_bytes()
    folder = course / "submitted-before" / target.parent.parent.name / chapter
    number = 1
    while (kept := folder / f"{NOTEBOOK}-{number}.ipynb").exists() and kept.read_bytes() != old:
        number += 1
    write_whole(kept, old)
    return str(kept.relative_to(course))


# ---- what is in the export -------------------------------------------------------------------------------------------

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def _members(source: Path) -> list[_Member]:
    if source.is_dir():
        members = _files_of(source)
    else:
        try:
            members = _members_of(zipfile.ZipFile(source))
        except (*_BROKEN, ValueError):
            raise CourseError(f"{source} is no zip file and no folder; name the file that Canvas or Moodle gave you") from None
        except OSError as error:
            raise CourseError(f"{source} cannot be read ({error.strerror or error}); name the export of Canvas or Moodle") from None
    found = []
    for member in members:
        if len(found) == MAX_MEMBERS:
            raise CourseError(f"{source} holds more than {MAX_MEMBERS} files, which is no class's work; name the right folder or file")
        found.append(member)
    return sorted(found, key=lambda member: member.name)


def _members_of(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        name = info.orig_filename
        if not info.flag_bits & 0x800 and not name.isascii():
            name = _utf8(name)
        kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0  # 3: made on Unix
        if name.endswith("/") and kind in (0, stat.S_IFDIR):
            continue
        problem = _problem(name)
        if kind not in (0, stat.S_IFREG):
            problem = "it is a link or a special file, which is never read; ask for a plain file"
        elif info.flag_bits & 0x1:
            problem = "it is encrypted; ask for a file without a password"
        elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            problem = "it is packed as neither Canvas nor Moodle does, so that its size cannot be bounded; pack it again as a plain zip"
        elif info.file_size > MAX_FILE:
            problem = f"it is larger than {MAX_FILE >> 20} MB; ask for it with the outputs cleared"

        def read(info: zipfile.ZipInfo = info) -> bytes:
            with archive.open(info) as file:
                return file.read(MAX_FILE + 1)

        yield _Member(name, info.file_size, problem, read)


def _utf8(name: str) -> str:
    """A name that the zip calls CP437, as UTF-8 where it is that: many programs forget to say so."""
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def _files_of(folder: Path) -> Iterator[_Member]:
    for place, folders, files in os.walk(folder):  # follows no links
        folders.sort()
        for name in [*files, *(one for one in folders if (Path(place) / one).is_symlink())]:
            path = Path(place) / name
            found = path.lstat()
            member = path.relative_to(folder).as_posix()
            problem = _problem(member)
            if not stat.S_ISREG(found.st_mode):
                problem = "it is a link or a special file, which is never read; ask for a plain file"
            elif found.st_size > MAX_FILE:
                problem = f"it is larger than {MAX_FILE >> 20} MB; ask for it with the outputs cleared"

            def read(path: Path = path) -> bytes:
                descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
                with open(descriptor, "rb") as file:
                    return file.read(MAX_FILE + 1)

            yield _Member(member, found.st_size, problem, read)


def _problem(name: str) -> str:
    """Why a file of this name is refused, whatever is in it; empty where it is not."""
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or re.match(r"[A-Za-z]:", name) or ".." in parts:
        return "its name leads out of the export's folder; it is refused, ask who made this file"
    if any(letter < " " or "\ud800" <= letter <= "\udfff" for letter in name):
        return "its name holds characters that no name should; ask for it under a plain name"
    if any(len(part.encode("utf-8")) > 255 for part in parts):
        return "its name is longer than 255 bytes; ask for it under a shorter name"
    return ""


def _is_clutter(name: str) -> bool:
    """Whether a file is what operating systems and Jupyter leave behind."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _shown(name: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in name)


# ---- whose is it -----------------------------------------------------------------------------------------------------


def _layout(members: list[_Member]) -> str:
    """What most names follow."""
    moodle = sum(bool(_within(_MOODLE, one.name) or _within(_MOODLE_OTHER, one.name)) for one in members)
    canvas = sum(bool(re.fullmatch(_CANVAS, _last(one.name)) or re.fullmatch(_ANONYMOUS, _last(one.name))) for one in members)
    if not moodle + canvas or 2 * max(moodle, canvas) < len(members):
        return "plain"
    return "moodle" if moodle >= canvas else "canvas"


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _within(pattern: re.Pattern[str], name: str) -> re.Match[str] | None:
    """The match of a name, or of what is left of it without the folder that all of an export may lie in."""
    return pattern.fullmatch(name) or pattern.fullmatch(name.partition("/")[2])


def _read_name(member: _Member, layout: str, chapter: str, roster: list[Student] | None) -> _Found | str:
    """What a member's name says; a sentence where it says nothing, empty where the file is of no interest."""
    if layout == "plain":
        return _read_plain(member, chapter, roster)
    if layout == "canvas":
        if re.fullmatch(_ANONYMOUS, _last(member.name)):
            return "the assignment was anonymous, so the file names nobody; switch that off in Canvas and download again"
        match = re.fullmatch(_CANVAS, _last(member.name))
        if match:
            return _Found(member, layout, match["name"], match["person"], int(match["upload"]), match["file"], bool(match["late"]))
        return "its name is not as Canvas writes it (name_12345_67890_file.ipynb); put it in place by hand"
    if _within(_MOODLE_OTHER, member.name):
        return ""  # a text typed into Moodle
    match = _within(_MOODLE, member.name)
    if match:
        return _Found(member, layout, match["name"], match["person"], 0, match["file"])
    return "its name is not as Moodle writes it (Full Name_123456_assignsubmission_file/…); put it in place by hand"


def _read_plain(member: _Member, chapter: str, roster: list[Student] | None) -> _Found | str:
    parts = member.name.split("/")
    names = parts[:-1] or [parts[0].rpartition(".")[0]]
    if any(_CHAPTER.fullmatch(part) and part != chapter for part in names[1:]):
        return ""  # another chapter's
    known = {_folded(student.id) for student in roster or ()}
    name = next((part for part in names if _folded(part) in known), names[0])
    return _Found(member, "plain", name, "", 0, parts[-1])


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _squashed(text: str) -> str:
    """Letters and digits only, as both systems leave of a name."""
    return re.sub(r"[\W_]", "", _folded(text))


def _student(found: _Found, roster: list[Student] | None) -> Student | str:
    """Whose file it is, or a sentence on why nobody can say."""
    if roster is None:
        name = f"{found.name}_{found.person}" if found.layout == "canvas" else found.name
        try:
            return Student(valid_id(name))
        except CourseError as error:
            return str(error)
    known = [one for one in roster if found.layout == "canvas" and one.lms_id and one.lms_id == found.person]
    known = known or [one for one in roster if found.layout == "plain" and _folded(one.id) == _folded(found.name)]
    if not known and found.layout != "plain":
        wanted = _squashed(found.name)
        known = [one for one in roster if wanted in _spellings(one) and not (found.layout == "canvas" and one.lms_id)]
    if len(known) == 1:
        return known[0]
    if known:
        ids = " and ".join(one.id for one in known[:3])
        return f"{len(known)} students of the class list are called {_shown(found.name)!r} ({ids}); put the file in place by hand"
    near = difflib.get_close_matches(_squashed(found.name), {key: None for one in roster for key in _spellings(one)}, 1, 0.0)
    nearest = next((one for one in roster if near and near[0] in _spellings(one)), None)
    hint = f"; the nearest is {nearest.name or nearest.id} ({nearest.id})" if nearest else ""
    return f"nobody on the class list is {_shown(found.name)!r}{hint}"


def _spellings(student: Student) -> set[str]:
    """How an export may write a student: first name first, last name first, or the id."""
    both = {_squashed(student.first_name + student.last_name), _squashed(student.last_name + student.first_name)}
    return (both | {_squashed(student.id)}) - {""}


def _choose(student: str, files: list[_Found]) -> tuple[_Found | None, list[Item]]:
    """The one file of a student that counts, and items for the others."""

    def refuse(sentence: str, some: list[_Found] = files) -> tuple[None, list[Item]]:
        return None, [Item(student, _shown(one.member.name), one.member.size, REFUSED, sentence) for one in some]

    notebooks = [one for one in files if one.file.lower().endswith(".ipynb")]
    if not notebooks:
        if any(one.file.lower().endswith(_ARCHIVES) for one in files):
            return refuse("it is an archive inside the export, which is not opened; ask for the notebook itself")
        return refuse("it is no notebook; ask for the file that ends in .ipynb")
    if len({one.person for one in notebooks}) > 1:
        numbers = " and ".join(sorted({one.person for one in notebooks})[:3])
        return refuse(f"two people of the export ({numbers}) have this name; put their files in place by hand")
    right = [one for one in notebooks if _stem(one)[0] == NOTEBOOK] or notebooks
    if len({_stem(one)[0] for one in right}) > 1:
        names = " and ".join(sorted(_shown(one.file)[:60] for one in right)[:2])
        return refuse(f"the student handed in {len(right)} notebooks ({names}); keep the one that counts", right)
    newest = max(right, key=_rank)
    if sum(_rank(one) == _rank(newest) for one in right) > 1:
        return refuse("the student handed in several files of this name; keep the one that counts", right)
    why = f"{_shown(newest.file)[:60]} is taken"
    return newest, [Item(student, _shown(one.member.name), one.member.size, SUPERSEDED, why) for one in notebooks if one is not newest]


def _stem(found: _Found) -> tuple[str, int]:
    """A file's name without its ending and without the number of a repeated upload, and that number."""
    stem = found.file[: -len(".ipynb")]
    match = _SUFFIX.search(stem)
    return (stem[: match.start()], int(match[1] or match[2])) if match else (stem, 0)


def _rank(found: _Found) -> tuple[int, int]:
    """What is larger counts. Only Canvas numbers repeated uploads; elsewhere the plain name wins over a browser's (1)."""
    number = _stem(found)[1]
    return (found.upload, number) if found.layout == "canvas" else (0, -number)


def _item(student: str, found: _Found, target: Path, total: int) -> Item:
    """The item of a file that counts: read, and compared with what stands in its place."""
    item = Item(student, _shown(found.member.name), found.member.size, REFUSED)
    if total > MAX_TOTAL:
        too_much = f"the export's notebooks are larger than {MAX_TOTAL >> 30} GB in all; collect them in parts"
        return dataclasses.replace(item, sentence=too_much)
    try:
        data = found.member.read()
    except (OSError, ValueError, *_BROKEN):
        return dataclasses.replace(item, sentence="it cannot be read, because the export is damaged there; download it again")
    if len(data) > MAX_FILE:
        return dataclasses.replace(item, sentence=f"it is larger than {MAX_FILE >> 20} MB; ask for it with the outputs cleared")
    status, sentence = _standing(target, data)
    sentence = sentence or ("handed in late" if found.late else "")
    return dataclasses.replace(item, size=len(data), digest=sha256(data), status=status, sentence=sentence)


def _standing(target: Path, data: bytes) -> tuple[str, str]:
    """How a submission compares with what stands in its place: a status, and a sentence where there is something to say."""
    if any(path.is_symlink() for path in (target, target.parent, target.parent.parent)):
        return REFUSED, "its place in course/submitted is a link; take that away"
    if not target.exists():
        return NEW, ""
    if not target.is_file():
        return REFUSED, "its place in course/submitted is taken by something else; take that away"
    if target.read_bytes() == data:
        return SAME, ""
    return DIFFERS, "another submission stands in its place; it is kept unless you say --replace"
