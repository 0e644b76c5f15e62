"""A throw-away PostgreSQL for tests: Debian's own binaries, its own user, a socket in a temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
MISSING = "PostgreSQL is not installed: `make postgres` installs Debian's"
SECONDS = 60


class Cluster:
    """One server, on a socket in `folder` alone: nothing listens on the network."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        # PostgreSQL refuses to run as root.
        self._as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self._databases = 0

    def make(self) -> None:
        if self._as_user:
            shutil.chown(self.folder, "postgres", "postgres")
        self._run(
            "initdb", "--pgdata", str(self.data), "--auth", "trust", "--username", "tester", "--no-sync"
        )

    def start(self, **settings: str) -> None:
        """Waits until it answers. settings: of postgresql.conf, for this start."""
        options = {"listen_addresses": "", "unix_socket_directories": str(self.folder), **settings}
        words = " ".join(f"-c {name}='{value}'" for name, value in options.items())
        log = str(self.folder / "log")
        self._run("pg_ctl", "start", "--wait", "--pgdata", str(self.data), "--log", log, "--options", words)

    def stop(self, mode: str = "immediate") -> None:
        """immediate: as a power cut does, without saving anything first."""
        self._run("pg_ctl", "stop", "--wait", "--pgdata", str(self.data), "--mode", mode)

    def new_database(self) -> str:
        """The URL of an empty database."""
        self._databases += 1
        name = f"test{self._databases}"
        self._run("createdb", "--host", str(self.folder), "--username", "tester", name)
        return self.url(name)

    def url(self, name: str) -> str:
        return f"postgresql://tester@/{name}?host={self.folder}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, str(BINARIES[-1] / program), *arguments]
        with tempfile.TemporaryFile("w+") as said:  # not a pipe: the server would keep it open
            ran = subprocess.run(
                command,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                timeout=SECONDS,
                check=False,
            )
            said.seek(0)
            if ran.returncode != 0:
                raise RuntimeError(f"{program} failed: {said.read()}{self._log()}")

    def _log(self) -> str:
        log = self.folder / "log"
        return log.read_text()[-2000:] if log.exists() else ""


@contextmanager
def cluster(**settings: str) -> Iterator[Cluster]:
    """A running server, gone with all its data afterwards.

    Its folder is in /tmp, for a socket's path may have about 100 letters only.
    """
    with tempfile.TemporaryDirectory(prefix="surefoot-pg-", ignore_cleanup_errors=True) as name:
        server = Cluster(Path(name))
        server.make()
        server.start(**settings)
        try:
            yield server
        finally:
            server.stop()
