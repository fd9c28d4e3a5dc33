"""Makes the environment that every `make` command runs in: `python3 -I autograder/environment.py .venv`.

With COURSE_NEWEST=1 it takes the newest versions that the ranges allow, anew each day; `--changes` says which are not the tested ones.
Runs before anything is installed, on whatever Python there is: the standard library only, and syntax that old Pythons read.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
EXTRAS = "book,grade,scale,test"
OPTIONAL = "judge"  # compiled at installation: left out, with a word, where it cannot be
NEWEST = "COURSE_NEWEST"  # set: the newest versions that the ranges allow, and not the tested ones
UNTESTED = ("pip", "setuptools", "wheel", "language-models-by-hand")  # in every environment, and not in constraints.txt


class Problem(Exception):
    """What is wrong, and what to do, in one sentence."""


def read(name: str) -> str:
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def check_python(pyproject: str, version: tuple) -> None:
    """Refuse a Python that pyproject.toml does not allow.   version: (major, minor)"""
    low, high = re.search(r'requires-python = ">=(3\.\d+),<(3\.\d+)"', pyproject).groups()
    if not int(low[2:]) <= version[1] < int(high[2:]) or version[0] != 3:
        found = "%d.%d" % version
        message = "Python %s does not fit: the course needs %s or later, below %s; name one, as in: make book PYTHON=python%s"
        raise Problem(message % (found, low, high, low))


def fingerprint() -> str:
    """What the environment was made from: it is made again when this changes."""
    day = time.strftime("%Y-%m-%d") if os.environ.get(NEWEST) else ""
    parts = [ROOT, read("pyproject.toml"), read("constraints.txt"), read("autograder/environment.py"), sys.version, day]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def choice() -> list:
    """The options by which pip chooses versions: the tested ones, or the newest that the ranges allow."""
    return ["--upgrade", "--upgrade-strategy", "eager"] if os.environ.get(NEWEST) else ["-c", "constraints.txt"]


def versions(text: str) -> dict:
    """Package -> version, of lines such as PyYAML==6.0.3; a build's own part, as in 2.13.0+cpu, is left out."""
    found = re.findall(r"^([\w.-]+)==([^+\s]+)", text, re.MULTILINE)
    return dict((re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in found)


def changes(installed: str, tested: str) -> str:
    """A Markdown table of the packages whose version is not the tested one.   both: lines such as PyYAML==6.0.3"""
    new, old = versions(installed), versions(tested)
    names = [name for name in sorted(set(new) | set(old)) if new.get(name) != old.get(name) and name not in UNTESTED]
    rows = ["| %s | %s | %s |" % (name, old.get(name, "none"), new.get(name, "none")) for name in names]
    head = ["## Packages that differ from the tested versions: %d" % len(rows), "", "| package | tested | here |", "| --- | --- | --- |"]
    return "\n".join(head + rows)


def show_changes(folder: str) -> None:
    """Print in what the environment in a folder differs from constraints.txt."""
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python):
        raise Problem("there is no environment in %s; make it with: python3 -I autograder/environment.py %s" % (folder, folder))
    command = [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    print(changes(subprocess.check_output(command, universal_newlines=True), read("constraints.txt")))


def run(command: list, doing: str, log: str) -> bool:
    """Run a command with its output in the log; say every few seconds that it goes on."""
    sys.stderr.write("%s " % doing)
    sys.stderr.flush()
    start = time.time()
    with open(log, "ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT)
        while True:
            try:
                status = process.wait(timeout=3)
                break
            except subprocess.TimeoutExpired:
                sys.stderr.write(".")
                sys.stderr.flush()
    sys.stderr.write(" %.0f s\n" % (time.time() - start))
    return status == 0


def why(log: str) -> str:
    """The last line of the log that tells an error, for people."""
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file if line.strip()]
    unreachable = ("name resolution", "NewConnectionError", "ConnectTimeout", "Network is unreachable", "Name or service not known")
    if any(word in line for line in lines[-80:] for word in unreachable):
        return "the package registry could not be reached: connect to the network, then run the command again"
    errors = [line for line in lines if line.startswith("ERROR")]
    return "pip says: %s; all it said is in %s" % ((errors or lines or ["nothing"])[-1], log)


def make_venv(folder: str, log: str) -> None:
    """A virtual environment with pip. Debian ships the module that brings pip as a package of its own: root gets it here."""
    advice = "on Debian: apt install python3-venv, then run the command again"
    if not has_ensurepip() and shutil.which("apt-get") and os.geteuid() == 0:
        run(["apt-get", "update"], "this Python has no pip: reading Debian's list of packages", log)
        run(["apt-get", "install", "-y", "--no-install-recommends", "python3-venv"], "installing Debian's package python3-venv", log)
    if not has_ensurepip():
        raise Problem("this Python cannot make a virtual environment with pip; " + advice)
    if not run([sys.executable, "-m", "venv", folder], "making %s" % os.path.relpath(folder, ROOT), log):
        raise Problem("no virtual environment could be made in %s (%s); %s" % (folder, why(log), advice))


def has_ensurepip() -> bool:
    """Whether this Python can put pip into an environment; asked anew each time."""
    return subprocess.call([sys.executable, "-c", "import ensurepip"], stderr=subprocess.DEVNULL) == 0


def made_by(folder: str, version: tuple) -> bool:
    """Whether the environment in a folder belongs to this version of Python.   version: (major, minor)"""
    try:
        with open(os.path.join(folder, "pyvenv.cfg"), encoding="utf-8") as file:
            return re.search(r"^version = (\d+)\.(\d+)", file.read(), re.MULTILINE).groups() == tuple(map(str, version))
    except (OSError, AttributeError):
        return False


def moved(folder: str) -> bool:
    """Whether the environment was made for a folder of another name: its programs then start the Python of the old one."""
    pip = os.path.join(folder, "bin", "pip")
    if not os.path.exists(pip):
        return False
    with open(pip, encoding="utf-8") as file:
        return os.path.join(folder, "bin") not in file.readline()


def main(folder: str) -> None:
    pyproject = read("pyproject.toml")
    check_python(pyproject, sys.version_info[:2])
    folder = os.path.abspath(folder)
    stamp = os.path.join(folder, "made-from")
    wanted = fingerprint()
    if os.path.exists(stamp) and open(stamp).read() == wanted:
        return
    if not made_by(folder, sys.version_info[:2]) or moved(folder):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
    log = os.path.join(folder, "install.log")
    open(log, "w").close()
    if not os.path.exists(os.path.join(folder, "bin", "pip")):
        make_venv(folder, log)
    pip = [os.path.join(folder, "bin", "python"), "-m", "pip", "install", "--disable-pip-version-check", *choice()]
    torch = re.search(r'"(torch==[^"]+)"', pyproject).group(1)
    for what, doing in (
        ([torch], "installing %s, alone and pinned (the largest download)" % torch),
        (["-e", ".[%s]" % EXTRAS], "installing the other packages"),
    ):
        if not run([*pip, *what], doing, log):
            raise Problem("%s failed: %s" % (doing, why(log)))
    if not run([*pip, "-e", ".[%s]" % OPTIONAL], "installing the outside judge of chapter 2", log):
        sys.stderr.write("  (left out: it needs a C++ compiler, CMake and Python's headers; its one test will be skipped)\n")
    with open(stamp, "w") as file:
        file.write(wanted)


if __name__ == "__main__":
    try:
        show_changes(sys.argv[1]) if "--changes" in sys.argv else main(sys.argv[1])
    except Problem as problem:
        sys.exit("error: %s" % problem)
