"""A PostgreSQL server of one's own, on loopback, for tests: made in a moment, restarted or killed at will, gone at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from watchword.testing.child import START_SECONDS, Child
from watchword.testing.process import free_port

_USERS: Final = ("postgres", "nobody")
STANDBY: Final = "standby"
"""The name of a standby, for ``synchronous_standby_names``."""

_PLACES: Final = "lib/postgresql/*/bin"


def find_programs() -> Path | None:
    """Return the directory of PostgreSQL's programs, the newest where there are several, or nothing."""
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr").glob(_PLACES), key=lambda path: int("0" + path.parent.name.partition(".")[0]))
    return next((path for path in reversed(found) if (path / "initdb").exists() and (path / "postgres").exists()), None)


class PostgresServer:
    """One server and its data. Everybody on this machine may log in: it listens on loopback alone, and lives for a test.

    As root it runs as another user, for PostgreSQL does not run as root.
    """

    def __init__(self, *, standby_of: PostgresServer | None = None, **settings: str) -> None:
        """Make the data directory, or that of a standby of a running server; ``settings`` are lines of ``postgresql.conf``."""
        programs = find_programs()
        if programs is None:
            raise FileNotFoundError("PostgreSQL is not installed")
        self.programs = programs
        """The directory of PostgreSQL's own programs."""
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="watchword-postgres-"))
        self._data = self._folder / "data"
        self._log = self._folder / "log"
        self._child = Child("PostgreSQL", self._log, folder=self._folder)
        self._user = next((name for name in _USERS if _exists(name)), None) if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        if standby_of is None:
            self._run("initdb", "-D", self._data, "-U", "watchword", "-A", "trust", "-E", "UTF8", "--locale", "C", "-N")
        else:
            source = f"host=127.0.0.1 port={standby_of.port} user=watchword application_name={STANDBY}"
            self._run("pg_basebackup", "-D", self._data, "-d", source, "-R", "-c", "fast", "-N")
        self.set(listen_addresses="127.0.0.1", unix_socket_directories="", **settings)

    def set(self, **settings: str) -> None:
        """Write lines to ``postgresql.conf``; they hold from the next start or reload on."""
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://watchword@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()

    @property
    def pid(self) -> int:
        """The process that ``start`` has started."""
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._child.is_running

    def start(self) -> None:
        """Start it; return when it takes connections."""
        command = [str(self.programs / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        self._child.start(command, is_ready=self._answers, cwd=self._folder, user=self._user, pause=0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT tells everybody to go (a fast shutdown), SIGQUIT does not ask (immediate)."""
        self._child.stop(how)

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it and start it again."""
        self.stop(how)
        self.start()

    def promote(self) -> None:
        """Let a standby take writes; return when it does."""
        self._run("pg_ctl", "promote", "-D", self._data, "-w")

    def destroy(self) -> None:
        """End it, and remove all it has kept."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def sql(self, command: str, database: str = "postgres") -> str:
        """Run a command as the owner of everything; return what it prints."""
        return self._run(
            "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", command
        )

    def _answers(self) -> bool:
        command = [str(self.programs / "pg_isready"), "-q", "-d", self.url()]
        return subprocess.run(command, check=False, cwd="/").returncode == 0  # noqa: S603 -- PostgreSQL's own program

    def _run(self, program: str, *arguments: object) -> str:
        done = subprocess.run(  # noqa: S603 -- PostgreSQL's own program
            [str(self.programs / program), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
            cwd=self._folder,
            user=self._user,
        )
        if done.returncode:
            raise AssertionError(f"{program} exited {done.returncode}: {done.stderr}")
        return done.stdout.strip()


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
