"""Where computed files live: each is made once, written whole or not at all, and checked by its SHA-256 whenever it is read."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from lmkit.errors import LmkitError

try:
    import fcntl
except ImportError:  # Windows: two processes may both make a file there, and the atomic rename still leaves it whole
    fcntl = None


def cache_dir() -> Path:
    """The folder of computed files: $LMKIT_CACHE, else $XDG_CACHE_HOME/lmkit, else ~/.cache/lmkit."""
    try:
        if own := os.environ.get("LMKIT_CACHE"):
            return Path(own).expanduser()
        if base := os.environ.get("XDG_CACHE_HOME"):
            return Path(base).expanduser() / "lmkit"
        return Path.home() / ".cache" / "lmkit"
    except RuntimeError:
        raise LmkitError("you have no home folder to keep a cache in: set the environment variable LMKIT_CACHE to a folder") from None


def sha256(data: bytes) -> str:
    """SHA-256 of some bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def cached(stem: str, suffix: str, digest: str, make: Callable[[], bytes], advice: str) -> bytes:
    """The bytes whose SHA-256 is `digest`: read from the cache, or made by `make()` and stored there for the next time.

    The file's name carries the start of the digest, so two releases of the course never read each other's files.
    A full cache is only read, and may lie in a read-only folder.
    Errors: LmkitError where the stored file is damaged, where the folder cannot be written, and where what `make()`
    returns has another digest (`advice` then says what to do); nothing is stored in these cases.
    """
    path = cache_dir() / f"{stem}-{digest[:12]}{suffix}"
    if (data := _read(path, digest)) is not None:
        return data
    with _lock(path):
        if (data := _read(path, digest)) is not None:  # another process made it while this one waited
            return data
        data = make()
        if (got := sha256(data)) != digest:
            raise LmkitError(f"making {path.name} gave the SHA-256 {got} instead of {digest}: {advice}")
        _write(path, data)
    return data


def _read(path: Path, digest: str) -> bytes | None:
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise LmkitError(f"the cache file {path} cannot be read ({error.strerror}): mend its permissions, or delete it") from None
    if sha256(data) != digest:
        raise LmkitError(f"the cache file {path} is damaged (its SHA-256 is not the expected one): delete it and run again")
    return data


def _unwritable(folder: Path, error: OSError) -> LmkitError:
    return LmkitError(
        f"the cache folder {folder} cannot be written ({error.strerror}): set the environment variable LMKIT_CACHE to a folder that can be"
    )


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the right to make `path`; a second process waits here until the first is done. The lock ends with its holder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.with_name(f".{path.name}.lock").open("ab")
    except OSError as error:
        raise _unwritable(path.parent, error) from None
    with handle:  # closing it frees the lock
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a network drive without locks: the rename below still leaves the file whole
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _write(path: Path, data: bytes) -> None:
    try:
        write_whole(path, data)
    except OSError as error:
        raise _unwritable(path.parent, error) from None


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file beside `path` and rename it: who reads sees the old file or the new one, whole. Text is written as UTF-8.

    Folders that are missing are made. Errors: OSError; then `path` is as it was, and nothing is left beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
