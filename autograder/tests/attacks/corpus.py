"""All attacks, by family."""

from autograder.errors import CourseError
from autograder.tests.attacks import (  # noqa: F401  (each module adds its attacks to CORPUS)
    cells,
    files,
    floods,
    ids,
    liars,
    loops,
    network,
    oddities,
    outputs,
    patches,
    processes,
    spies,
    writers,
)
from autograder.tests.attacks.desk import CORPUS, Attack

FAMILIES = tuple(dict.fromkeys(one.family for one in CORPUS))


def choose(only: str = "") -> list[Attack]:
    """The attacks of a name or of a family; all where neither is given. A name that there is not raises CourseError."""
    chosen = [one for one in CORPUS if not only or only in (one.name, one.family)]
    if not chosen:
        raise CourseError(f"there is no attack and no family {only!r}; the families are {', '.join(FAMILIES)}")
    return chosen
