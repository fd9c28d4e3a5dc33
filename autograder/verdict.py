"""What grading one submission comes to, in plain values that travel between processes and machines as JSON."""

import json
from dataclasses import asdict, dataclass

from lmkit.check import Result

GRADED, TIMEOUT, CRASHED, MEMORY = "graded", "timeout", "crashed", "out of memory"
MALFORMED, TAMPERED, MISSING = "malformed", "tampered", "missing"
STATUSES = (GRADED, TIMEOUT, CRASHED, MEMORY, MALFORMED, TAMPERED, MISSING)


class Refused(Exception):
    """A submission that cannot be graded: its status (malformed, tampered or missing), and why, in one sentence for a person."""

    def __init__(self, status: str, message: str):
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True)
class Part:
    """One graded check cell: what its checks said."""

    grade_id: str  # ngrams-count_ngrams-hidden
    exercise: str  # count_ngrams
    hidden: bool
    results: tuple[Result, ...]

    @property
    def max_points(self) -> float:
        return float(sum(result.points for result in self.results))

    @property
    def points(self) -> float:
        """A finite Python float between 0 and `max_points`."""
        return min(float(sum(result.earned for result in self.results)), self.max_points)


@dataclass(frozen=True)
class Verdict:
    """What became of one submission of one chapter."""

    student: str
    chapter: str  # 02_ngrams
    status: str  # one of STATUSES
    message: str = ""  # why it has no points, or what stopped, in one sentence
    notes: tuple[str, ...] = ()  # what intake mended or found, a sentence each
    parts: tuple[Part, ...] = ()  # in the notebook's order; empty where nothing was graded
    notebook: str = ""  # the rebuilt notebook with the outputs of its run, as JSON; empty where nothing was graded
    seconds: float = 0.0  # wall time of the judge
    peak_bytes: int = 0  # the most memory that the student's processes had at once
    key: str = ""  # SHA-256 of all that the verdict follows from: submission, release, checks, limits

    @property
    def has_points(self) -> bool:
        return bool(self.parts)

    @property
    def by_cell(self) -> dict[str, float]:
        """Grade id -> points of the cells that checks graded."""
        return {part.grade_id: part.points for part in self.parts}

    def by_exercise(self) -> dict[str, tuple[float, float]]:
        """Exercise -> (points, most points), in the notebook's order."""
        sums: dict[str, tuple[float, float]] = {}
        for part in self.parts:
            points, most = sums.get(part.exercise, (0.0, 0.0))
            sums[part.exercise] = (points + part.points, most + part.max_points)
        return sums

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Verdict":
        """The verdict that `to_json` wrote. Raises ValueError where the text is another."""
        try:
            values = json.loads(text)
            parts = [Part(**{**part, "results": tuple(Result(**result) for result in part["results"])}) for part in values["parts"]]
            return Verdict(**{**values, "parts": tuple(parts), "notes": tuple(values["notes"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no verdict ({error})") from None


@dataclass(frozen=True)
class Limits:
    """What one submission may use. Seconds are wall time; bytes are of memory, or of a file."""

    cell_seconds: float = 60.0  # one cell of the notebook
    call_seconds: float = 60.0  # one check
    seconds: float = 600.0  # the whole submission, restarts included
    memory: int = 2 << 30  # above what an empty process with torch has
    processes: int = 64  # threads count too
    disk: int = 256 << 20  # each of /tmp and /dev/shm
    restarts: int = 5  # how often a kernel that died is started again
    message: int = 64 << 20  # bytes of one message from the student's process


@dataclass(frozen=True)
class Job:
    """All that grading one submission takes, in plain values: it travels to other processes and machines."""

    student: str
    chapter: str
    submission: str  # the file's bytes, in base64
    release: str  # the notebook that was handed out, as JSON
    checks: str  # the source of the checks' module
    checks_name: str  # its dotted name
    graded: dict[str, tuple[str, bool, list[str]]]  # grade id -> exercise, whether hidden, its checks' names
    limits: Limits
    sandboxed: bool = True
    key: str = ""
    notes: tuple[str, ...] = ()  # what was found before it came here
    modules: tuple[str, ...] = ()  # what the nursery imports first
