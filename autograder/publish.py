"""Makes what the repository publishes for students: the branch that the Colab and Binder buttons of the book point to."""

import os
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from packaging.requirements import Requirement

from autograder.bundle import Project, student_folder, write_zip
from autograder.errors import CourseError
from autograder.layout import ROOT
from lmkit.cache import write_whole

BRANCH = "release"
VARIABLE = "COURSE_REPOSITORY"
COLAB = "colab.txt"  # what Colab installs, a line a package
COLAB_HAS = ("torch", "jupyterlab")  # it would take minutes to replace them, and the notebook runs in Colab's own
CONDA = "environment.yml"  # what Binder reads
FOR_BINDER = "      - --extra-index-url https://download.pytorch.org/whl/cpu\n"  # it has no graphics card, and little room
BUTTONS = {"colab_url": "https://colab.research.google.com", "binderhub_url": "https://mybinder.org", "notebook_interface": "jupyterlab"}
FIRST_CELL = """# Google Colab installs here what the course needs, which takes a minute or two. Everywhere else this cell does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install --quiet --requirement {files}/{packages}
    %pip install --quiet --no-deps {files}/{wheel}"""


def repository(root: Path = ROOT) -> str:
    """The address of the repository, or "": what COURSE_REPOSITORY says, else repository.url in book/_config.yml."""
    config = yaml.safe_load((root / "book" / "_config.yml").read_text(encoding="utf-8"))
    address = os.environ.get(VARIABLE, (config.get("repository") or {}).get("url") or "").strip().rstrip("/").removesuffix(".git")
    parts = urlsplit(address)
    if address and (parts.scheme not in ("http", "https") or not parts.netloc or parts.path.count("/") < 2):
        raise CourseError(f"the repository's address {address!r} is none; write it as https://github.com/OWNER/NAME")
    return address


def with_buttons(config: str, address: str) -> str:
    """The book's settings with buttons that open a page's notebook from the branch. Colab and Binder open those of GitHub."""
    if urlsplit(address).netloc != "github.com":
        return config
    own = {"repository": {"url": address, "branch": BRANCH}, "launch_buttons": BUTTONS}
    return yaml.safe_dump(yaml.safe_load(config) | own, allow_unicode=True, sort_keys=False)


def publish(folder: Path, root: Path = ROOT) -> Path:
    """Write the branch's content into an empty folder: the student bundle, open and as a zip file, with a cell for Colab.

    The release notebooks must be there. Raises CourseError where the repository's address is not known.
    """
    address = repository(root)
    if not address:
        where = f"write it as repository: url: in book/_config.yml, or set {VARIABLE}"
        raise CourseError(f"the repository's address is not known, so nothing can point to its files: {where}")
    student_folder(folder, root)
    name = Project(root).bundle
    with tempfile.TemporaryDirectory() as scratch:
        packed = write_zip(folder, name, Path(scratch) / f"{name}.zip").read_bytes()  # before Colab's cells come in
    write_whole(folder / f"{name}.zip", packed)
    asked = [line for line in Project(root).dependencies if Requirement(line).name not in COLAB_HAS]
    write_whole(folder / COLAB, "".join(f"{line}\n" for line in asked))
    write_whole(folder / CONDA, (folder / CONDA).read_text(encoding="utf-8").replace("  - pip:\n", f"  - pip:\n{FOR_BINDER}"))
    source = FIRST_CELL.format(files=f"{address}/raw/{BRANCH}", packages=COLAB, wheel=next(folder.glob("*.whl")).name)
    for path in sorted(folder.glob("*/*.ipynb")):
        write_whole(path, nbformat.writes(prepared(nbformat.read(path, as_version=4), source)) + "\n")
    return folder


def prepared(notebook: NotebookNode, source: str) -> NotebookNode:
    """A notebook with this cell before its first code cell."""
    first = next((i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"), len(notebook.cells))
    notebook.cells.insert(first, new_code_cell(source, id="install-on-colab"))
    return notebook
