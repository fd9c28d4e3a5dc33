"""One progress bar for everything that takes more than a moment, shown only where somebody is watching."""

import os
import sys
from collections.abc import Iterable

from tqdm import tqdm

LIVE_NOTEBOOK = ("JPY_SESSION_NAME", "COLAB_RELEASE_TAG")  # set by JupyterLab and by Colab, not where a book is built or a class graded


def progress(iterable: Iterable | None = None, *, total: float | None = None, unit: str, bar_format: str | None = None) -> tqdm:
    """A tqdm bar around `iterable`, or one to move by hand up to `total`; it goes when it is done.

    Shown on the error stream of a terminal, and in a notebook that a person has open; silent in a pipe, a test, a build.
    """
    in_notebook = any(name in os.environ for name in LIVE_NOTEBOOK)
    file = sys.stdout if in_notebook else sys.stderr
    silent = not (in_notebook or file.isatty())
    return tqdm(iterable, total=total, unit=unit, bar_format=bar_format, file=file, disable=silent, leave=False)
