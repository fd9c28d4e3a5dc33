"""The npm packages of the tests: installed once, also by tests side by side, and again only where others are wanted."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autograder import node
from autograder.errors import CourseError
from autograder.tests.conftest import write

NPM = """\
#!/bin/sh
echo "$@" >> "{log}"
sleep 0.2
{then}
"""


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Put a program in npm's place that notes each call; returns a function that makes it, and the file of its notes."""
    monkeypatch.setattr(node, "WANTED", tmp_path / "wanted.json")
    write(node.WANTED, "{}\n")
    log, program = tmp_path / "calls", tmp_path / "npm"
    monkeypatch.setattr(node.shutil, "which", lambda name: str(program) if program.exists() else None)

    def make(then: str = "") -> Path:
        write(program, NPM.format(log=log, then=then))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return log

    return make


def test_two_at_once_install_once_and_other_packages_are_installed_anew(npm, tmp_path):
    calls, folder = npm(), tmp_path / "node"
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(node.packages, [folder] * 2)) == [folder / "node_modules"] * 2
    assert len(calls.read_text().splitlines()) == 1
    write(node.WANTED, '{"dependencies": {}}\n')
    node.packages(folder)
    node.packages(folder)
    assert len(calls.read_text().splitlines()) == 2
    assert (folder / "package.json").read_text() == '{"dependencies": {}}\n'


def test_what_failed_is_said_and_tried_again(npm, tmp_path):
    with pytest.raises(CourseError, match="npm is missing; install Node"):
        node.packages(tmp_path / "node")
    calls = npm(then="echo no network here >&2; exit 1")
    for _ in range(2):
        with pytest.raises(CourseError, match=r"connect to the network and try again \(npm says: no network here\)"):
            node.packages(tmp_path / "node")
    assert len(calls.read_text().splitlines()) == 2
