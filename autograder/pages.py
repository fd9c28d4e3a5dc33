"""Runs the notebooks of the book, each in a clean place, and remembers their outputs until their code changes."""

import asyncio
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path

import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from autograder.errors import CourseError
from lmkit.cache import write_whole

CELL_TIMEOUT = 600  # seconds that one cell of a page may take
_NOT_INHERITED = {"PYTHONPATH", "PYTHONSTARTUP", "PYTHONWARNINGS", "MPLBACKEND", "MATPLOTLIBRC", "JPY_SESSION_NAME", "COLAB_RELEASE_TAG"}
ALLOW_STDERR = "allow-stderr"  # the tag of a cell that may write to standard error


@dataclass
class Page:
    """One page that is a notebook."""

    name: str  # 02_ngrams/lesson, ladder: its address in the book, without .html
    source: Path
    notebook: NotebookNode
    runs: bool = True  # the release notebooks are shown, never run
    seconds: float = 0.0  # what running it took, now or when it was last run
    memory: float | None = None  # MiB that its kernel held at most, then; None: not known
    cached: bool = False
    rows: dict[str, str] = field(default_factory=dict)  # file name -> JSON of what it recorded on the ladder


class _ThisInterpreter(KernelSpecManager):
    """Offers one kernel, the interpreter that runs this code, whatever kernels the user has installed."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def environment_digest(root: Path) -> str:
    """A digest of what every page depends on: the toolkit's source, Python, and the versions of the libraries of the course."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted((root / "chapters" / "lmkit").rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    project = root / "pyproject.toml"
    needed = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"] if project.exists() else []
    for requirement in needed:
        name = re.match(r"[\w.-]+", requirement)[0]
        digest.update(f"{name}=={package_version(name)}\n".encode())
    return digest.hexdigest()


def package_version(package: str) -> str:
    """The installed version of a package, or "none"."""
    try:
        return installed(package)
    except PackageNotFoundError:
        return "none"


def _key(page: Page, environment: str, rows: dict[str, str]) -> str:
    code = [[cell.source, sorted(cell.metadata.get("tags", []))] for cell in page.notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps([code, environment, rows], sort_keys=True).encode()).hexdigest()


class _Loop(asyncio.SelectorEventLoop):
    """A loop that leaves Ctrl-C to asyncio, which cancels every page; nbclient would stop one and go on."""

    def add_signal_handler(self, sig: int, callback: Callable, *args: object) -> None:
        """Do nothing."""

    def remove_signal_handler(self, sig: int) -> bool:
        """Say that there was nothing to remove."""
        return False


def run_pages(pages: list[Page], environment: str, rows: dict[str, str], made: Path, workers: int, console: Console) -> list[str]:
    """Fill the outputs of all pages, from made/executed where their code did not change. Returns a sentence per page that fails.

    environment: the digest of what every page depends on; rows: what the ladder holds before each page (file name -> JSON).
    """
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(_run_all(pages, environment, rows, made, workers, console))


async def _run_all(pages: list[Page], environment: str, rows: dict[str, str], made: Path, workers: int, console: Console) -> list[str]:
    failures: list[str] = []
    gate = asyncio.Semaphore(workers)
    columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TextColumn("cells"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:

        async def one(page: Page) -> None:
            key = _key(page, environment, rows)
            stored = made / "executed" / f"{page.name}.ipynb"
            if _recall(page, stored, key):
                return
            async with gate:
                task = progress.add_task(page.name, total=len(page.notebook.cells))
                try:
                    await _run(page, rows, made, progress, task)
                except CourseError as error:
                    failures.append(str(error))
                    return
                page.notebook.metadata["book"] = {"key": key, "seconds": page.seconds, "memory": page.memory, "rows": page.rows}
                write(stored, nbformat.writes(page.notebook))
                del page.notebook.metadata["book"]

        await asyncio.gather(*map(one, pages))
    return failures


def _recall(page: Page, stored: Path, key: str) -> bool:
    """Take a page's outputs from the cache, if they were made by the same code. The prose may have changed meanwhile."""
    try:
        old = nbformat.read(stored, as_version=4)
        about = old.metadata["book"]
        if about["key"] != key:
            return False
    except (OSError, ValueError, KeyError, AttributeError, nbformat.reader.NotJSONError):
        return False
    code = (cell for cell in old.cells if cell.cell_type == "code")
    for cell in page.notebook.cells:
        if cell.cell_type == "code":
            kept = next(code)
            cell.outputs, cell.execution_count = kept.outputs, kept.execution_count
    page.notebook.metadata["language_info"] = old.metadata["language_info"]
    page.seconds, page.rows, page.cached = about["seconds"], dict(about["rows"]), True
    page.memory = about.get("memory")  # a cache from before it was measured holds none
    return True


async def _run(page: Page, rows: dict[str, str], made: Path, progress: Progress, task: TaskID) -> None:
    """Run a page in a folder of its own, with a ladder that holds `rows`. What it adds to the ladder becomes page.rows."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True) as temporary:
        folder, results = Path(temporary) / "work", Path(temporary) / "results"
        folder.mkdir()
        for name, text in rows.items():
            write(results / name, text)
        kernel = _kernel(temporary)

        def executed(cell: NotebookNode, cell_index: int, execute_reply: dict) -> None:
            progress.update(task, completed=cell_index + 1)
            page.memory = peak_memory(kernel.provisioner.pid)  # grows only: the last cell's counts

        client = NotebookClient(
            page.notebook,
            km=kernel,
            timeout=CELL_TIMEOUT,
            record_timing=False,
            shutdown_kernel="immediate",
            resources={"metadata": {"path": str(folder)}},
            on_cell_executed=executed,
        )
        with open(Path(temporary) / "kernel.log", "wb") as log, _in_a_sentence(page, made):
            await client.async_execute(env=_kernel_environment(temporary, results, made), stdout=log, stderr=log, cleanup_kc=True)
        recorded = {path.name: path.read_text(encoding="utf-8") for path in sorted(results.glob("*.json"))}
    page.rows = {name: text for name, text in recorded.items() if rows.get(name) != text}
    progress.update(task, completed=len(page.notebook.cells))
    _refuse_stderr(page)
    page.seconds = time.monotonic() - started


def index_fonts(made: Path) -> None:
    """Have Matplotlib list the machine's fonts once, for all pages: on a slow machine it would say on a page that it does."""
    environment = os.environ | {"MPLCONFIGDIR": str(made / "matplotlib")}
    subprocess.run([sys.executable, "-c", "import matplotlib.font_manager"], env=environment, capture_output=True, check=False)


def peak_memory(pid: int) -> float | None:
    """MiB of memory that a running process has held at most so far; None where that is not to be had, as outside Linux."""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB$", Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) / 1024 if found else None


def _kernel(temporary: str) -> AsyncKernelManager:
    connection = str(Path(temporary) / "kernel.json")
    transport = "tcp" if os.name == "nt" else "ipc"
    return AsyncKernelManager(kernel_spec_manager=_ThisInterpreter(), connection_file=connection, transport=transport)


@contextlib.contextmanager
def _in_a_sentence(page: Page, made: Path) -> Iterator[None]:
    """Turn what nbclient raises into a CourseError."""
    try:
        yield
    except CellExecutionError as error:
        log = made / "executed" / f"{page.name}.error.txt"
        write(log, re.sub(r"\x1b\[[0-9;]*m", "", str(error)))
        what = f"{_failing_cell(page.notebook)} stops with {error.ename}: {error.evalue} (traceback in {log})"
    except CellTimeoutError:
        what = f"a cell took more than {CELL_TIMEOUT} seconds; make it do less"
    except (DeadKernelError, RuntimeError) as error:
        what = f"its kernel died ({error}), as a rule for want of memory; make it do less"
    else:
        return
    raise CourseError(f"{page.name}: {what}")


def _kernel_environment(temporary: str, results: Path, made: Path) -> dict[str, str]:
    """What a page's kernel sees: nothing of the user's own settings, no repository to import from, no network."""
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return inherited | {
        "LMKIT_RESULTS": str(results),
        "IPYTHONDIR": str(Path(temporary) / "ipython"),
        "MPLCONFIGDIR": str(made / "matplotlib"),  # kept, for its index of fonts
        "PYTHONHASHSEED": "0",
        "TQDM_DISABLE": "1",  # a progress bar is of no use on a page
        "HF_HUB_OFFLINE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # else a thread that waits keeps its core busy, which another page needs; no number depends on it
    }


def _failing_cell(notebook: NotebookNode) -> str:
    for cell in notebook.cells:
        if any(output.output_type == "error" for output in cell.get("outputs", [])):
            return f"the cell that begins `{_first_line(cell)}`"
    return "a cell"


def _first_line(cell: NotebookNode) -> str:
    return next((line.strip() for line in cell.source.splitlines() if line.strip()), "")


def _refuse_stderr(page: Page) -> None:
    for cell in page.notebook.cells:
        if ALLOW_STDERR in cell.metadata.get("tags", []):
            continue
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr" and output.text.strip():
                said = output.text.strip().splitlines()[0]
                raise CourseError(
                    f"{page.name}: the cell that begins `{_first_line(cell)}` writes to standard error ({said}); "
                    f"mend the cause, or tag the cell {ALLOW_STDERR}"
                )


def write_all(folder: Path, files: dict[str, bytes], keep: str = "") -> None:
    """Bring a folder to hold these files (name -> content), and beside them only what lies in its folder `keep`."""
    for name, data in files.items():
        write(folder / name, data)
    for path in sorted(folder.rglob("*"), reverse=True):
        name = path.relative_to(folder).as_posix()
        if keep and f"{name}/".startswith(f"{keep}/"):
            continue
        if path.is_file() and name not in files:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all, and leave it alone where it already holds that: Sphinx looks at times of change."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        return
    write_whole(path, data)
