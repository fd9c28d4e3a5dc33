"""The one exception that this toolkit raises on purpose: its message is a sentence that says what to do."""


class LmkitError(Exception):
    """Something outside the code is not as it must be. The message is one sentence: what is wrong, and what to do."""
