"""Installs the npm packages that tests use: those of autograder/browser/package.json, into .venv/node."""

import shutil
import subprocess
from pathlib import Path

from autograder.errors import CourseError
from autograder.layout import ROOT
from autograder.plain import one_line
from lmkit.cache import write_whole

WANTED = ROOT / "autograder" / "browser" / "package.json"
FOLDER = ROOT / ".venv" / "node"
QUIET = ("--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error")


def packages(folder: Path = FOLDER) -> Path:
    """The folder node_modules with the packages; they are installed where they are missing or other ones are wanted now.

    Raises CourseError where there is no npm, or where it cannot install them.
    """
    stamp, wanted = folder / "made-from.json", WANTED.read_bytes()
    if stamp.is_file() and stamp.read_bytes() == wanted:
        return folder / "node_modules"
    npm = shutil.which("npm")
    if npm is None:
        raise CourseError("npm is missing; install Node.js with it (Debian: apt install npm)")
    write_whole(folder / "package.json", wanted)
    done = subprocess.run([npm, "install", "--prefix", str(folder), *QUIET], capture_output=True, text=True, check=False)
    if done.returncode:
        said = one_line(done.stderr, 200)
        raise CourseError(f"npm could not install what the tests use; connect to the network and try again (npm says: {said})")
    write_whole(stamp, wanted)
    return folder / "node_modules"
