"""The one exception that this package raises on purpose."""

from lmkit.errors import LmkitError


class CourseError(LmkitError):
    """A course's files or commands are not as they must be. The message is one sentence: what is wrong, and what to do."""
