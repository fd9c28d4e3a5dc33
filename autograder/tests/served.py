"""A Jupyter server that a test starts, waits for and ends."""

import contextlib
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path


@contextlib.contextmanager
def served(program: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path, token: str = "") -> Iterator[str]:
    """The address of a server started in `folder`, on a free port of this machine, without a browser."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    where = ["--ip=127.0.0.1", f"--port={port}", "--port-retries=0", f"--IdentityProvider.token={token}"]
    command = [*program, "--no-browser", "--allow-root", *where]
    with log.open("w") as said:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(480):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{address}/api", timeout=5).read()
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.25)
        yield address
    finally:
        server.terminate()
        server.wait(30)
