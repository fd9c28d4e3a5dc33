"""Skips what needs a sandbox where there is none, and says so; with COURSE_REQUIRE_ALL set, as in CI, it fails instead."""

import os

import pytest

from autograder.errors import CourseError
from autograder.sandbox import require


def _missing() -> str:
    try:
        require()
    except CourseError as error:
        return str(error)
    return ""


_why = "" if os.environ.get("COURSE_REQUIRE_ALL") else _missing()
needs_walls = pytest.mark.skipif(bool(_why), reason=_why)
