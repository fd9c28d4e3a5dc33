"""A PostgreSQL server for tests: started by the test itself, of Debian's packages, as a user without rights, and thrown away."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

USER, PASSWORD = "course", "p@ss word/1"  # characters that an address must escape


def missing(reason: str) -> None:
    """Skip; or fail, where the environment says that everything must be there."""
    if os.environ.get("COURSE_REQUIRE_ALL"):
        pytest.fail(reason)
    pytest.skip(reason)


def _programs() -> Path:
    """The folder of initdb and postgres."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found += [Path(path) for path in [shutil.which("initdb")] if path]
    if not found:
        missing("no PostgreSQL server here: install it (Debian: postgresql)")
    return found[-1].parent


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The SQLAlchemy address of an empty database on a server of its own, on loopback, with a password."""
    pytest.importorskip("psycopg2")
    programs, as_user = _programs(), []
    with tempfile.TemporaryDirectory(prefix="course-pg-") as scratch:
        folder = Path(scratch)
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            shutil.chown(folder, "postgres", "postgres")
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        data = folder / "data"
        password = f"--pwfile={folder / 'password'}"
        init = [programs / "initdb", "-D", data, "-U", USER, "--auth=scram-sha-256", password, "-E", "UTF8", "--no-sync"]
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "USER": getpass.getuser()}
        subprocess.run([*as_user, *init], check=True, capture_output=True, env=environment, cwd="/")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        control = [*as_user, programs / "pg_ctl", "-D", data, "-w", "-l", data / "log"]
        settings = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off"
        subprocess.run([*control, "-o", settings, "start"], check=True, stdout=subprocess.DEVNULL, env=environment, cwd="/")
        try:
            yield f"postgresql+psycopg2://{USER}:p%40ss%20word%2F1@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=False, stdout=subprocess.DEVNULL, env=environment, cwd="/")
