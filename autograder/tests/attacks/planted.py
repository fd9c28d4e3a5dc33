"""What a spy must not find: secrets planted around the course while it is graded, each of another name in every run."""

import contextlib
import os
import re
import secrets
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PATTERN = r"open-sesame-[a-z]+-[0-9a-f]{16}"  # what spies search for; no submission of theirs holds a text like it
VARIABLE = "ATTACKED_SECRET"  # of the environment
MARK = "attack-was-here"  # the name of every file that writers try to make


@dataclass(frozen=True)
class Planted:
    """Where the secrets are. The spies are told: a wall must hold against those who know what is behind it."""

    course: Path
    temporary: Path  # a file of the machine's temporary folder
    shared: Path  # a file of the machine's shared memory
    port: int  # of a server on 127.0.0.1 that tells a secret to whoever connects
    name: str  # of an abstract Unix socket that does so


def secret(place: str) -> str:
    """A new secret. place: one word in small letters."""
    return f"open-sesame-{place}-{secrets.token_hex(8)}"


def found(text: str) -> list[str]:
    """The places of all secrets that stand in a text."""
    return sorted({hit.split("-")[2] for hit in re.findall(PATTERN, text)})


@contextlib.contextmanager
def planted(course: Path) -> Iterator[Planted]:
    """Plant secrets in the environment, in files, in shared memory and behind sockets; take them away at the end."""
    with contextlib.ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="attacked-"))) / "secret.txt"
        temporary.parent.chmod(0o755)
        temporary.write_text(secret("temporary"))
        memory = Path("/dev/shm") if Path("/dev/shm").is_dir() else temporary.parent
        shared = Path(stack.enter_context(tempfile.NamedTemporaryFile("w", dir=memory, prefix="attacked-")).name)
        shared.write_text(secret("shared"))
        shared.chmod(0o644)
        port = stack.enter_context(_telling(socket.AF_INET, ("127.0.0.1", 0), secret("loopback")))[1]
        name = f"attacked-{secrets.token_hex(4)}"
        stack.enter_context(_telling(socket.AF_UNIX, "\0" + name, secret("unix")))
        os.environ[VARIABLE] = secret("environment")
        stack.callback(os.environ.pop, VARIABLE, None)
        yield Planted(course, temporary, shared, port, name)


@contextlib.contextmanager
def _telling(family: int, address: object, text: str) -> Iterator[tuple]:
    """A server that sends a text to whoever connects; yields its address."""
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.bind(address)
        server.listen()
        thread = threading.Thread(target=_serve, args=(server, text), daemon=True)
        thread.start()
        try:
            yield server.getsockname()
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)


def _serve(server: socket.socket, text: str) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(text.encode())
