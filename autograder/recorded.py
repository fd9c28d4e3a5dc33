"""What the gradebook holds of a submission, in plain values, for the report, the feedback and the export."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class CellGrade:
    """What the gradebook holds of one graded cell."""

    auto: float | None  # by the checks; 0 for a written question left blank, None where nothing graded it
    manual: float | None  # by a person; it takes the place of `auto`
    extra: float  # credit by a person, added to either
    max_points: float
    needs_person: bool
    written: bool  # a written question

    @property
    def points(self) -> float:
        return (self.auto or 0.0 if self.manual is None else self.manual) + self.extra


@dataclass(frozen=True)
class Recorded:
    """What the gradebook holds of one student's submission of a chapter."""

    student: str
    first_name: str
    last_name: str
    email: str
    lms_id: str
    timestamp: datetime | None  # UTC
    late_penalty: float
    cells: dict[str, CellGrade] = field(default_factory=dict)  # by grade id
    comments: dict[str, str] = field(default_factory=dict)  # grade id of the answer -> a person's comment, else nbgrader's

    @property
    def by_cell(self) -> dict[str, float]:
        """Grade id -> points."""
        return {name: cell.points for name, cell in self.cells.items()}

    @property
    def points(self) -> float:
        """All points less the penalty, at least 0: nbgrader's `score` in its export."""
        return max(0.0, sum(self.by_cell.values()) - self.late_penalty)

    @property
    def max_points(self) -> float:
        return sum(cell.max_points for cell in self.cells.values())

    @property
    def waiting(self) -> tuple[str, ...]:
        """Grade ids of the cells that wait for a person."""
        return tuple(name for name, cell in self.cells.items() if cell.needs_person)

    @property
    def needs_person(self) -> bool:
        return bool(self.waiting)
