"""Makes a demonstration class from references, variants and blanks, with the points that each submission must get."""

from dataclasses import dataclass
from pathlib import Path

import nbformat

from autograder.assemble import assemble
from autograder.errors import CourseError
from autograder.layout import NOTEBOOK, Chapter, course
from autograder.proof import expected_points, planned_answers, submit
from autograder.submissions import Answers, fill

NAMES = ("ada", "bo", "chidi", "dilara", "emeka", "farah", "goro", "hana", "iris", "jonas", "kofi", "lena", "mira", "noor", "omar", "priya")


@dataclass(frozen=True)
class Planned:
    """One student of the demonstration class."""

    student: str
    answers: Answers
    by_cell: dict[str, float]  # grade id -> points that nbgrader must find; 0 for written answers that wait for a person

    @property
    def points(self) -> float:
        return sum(self.by_cell.values())


def plan_class(chapter: Chapter, students: int) -> list[Planned]:
    """A solved, a blank and a half-solved notebook, then notebooks of variants; the mix starts again where it is used up."""
    if students < 1:
        raise CourseError(f"a class of {students} cannot be made; give --students a number of at least 1")
    assembled = assemble(chapter)
    mix = planned_answers(chapter, assembled, every=True)
    cells: dict[str, dict[str, float]] = {}  # by the answers' name in the mix: each is worked out once
    planned = []
    for i in range(students):
        answers = mix[i % len(mix)]
        if answers.student not in cells:
            unread = Answers(answers.student, answers.codes)  # nobody has read the written answers yet
            cells[answers.student] = expected_points(chapter, assembled, unread)
        name = NAMES[i % len(NAMES)] + (str(i // len(NAMES) + 1) if i >= len(NAMES) else "")
        planned.append(Planned(f"{name}-{answers.student}", answers, cells[answers.student]))
    return planned


def make_class(chapter: Chapter, students: int, folder: Path | None = None) -> list[Planned]:
    """Write the class's submissions into the course directory. A submission that is there already is never overwritten."""
    folder = folder or course(chapter.root)
    planned = plan_class(chapter, students)
    wanted = {one.student: nbformat.writes(fill(chapter, one.answers)) for one in planned}
    paths = {student: folder / "submitted" / student / chapter.name / f"{NOTEBOOK}.ipynb" for student in wanted}
    for student, path in paths.items():
        if path.exists() and path.read_text(encoding="utf-8").strip() != wanted[student].strip():
            advice = f"move autograder/course/submitted/{student} away first"
            raise CourseError(f"{student} has another submission of {chapter.name} already; {advice}")
    for one in planned:
        if not paths[one.student].exists():
            submit(nbformat.reads(wanted[one.student], as_version=4), folder, one.student, chapter)
    return planned
