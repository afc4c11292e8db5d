"""A real Redis or Valkey for a test: started on a free port of this machine, killed, emptied, started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from watchword.adapters.redis_link import RedisLink
from watchword.adapters.redis_replay import RedisReplay
from watchword.adapters.redis_url import parse_redis_url
from watchword.testing.process import free_port

SECONDS = 20


def find_program() -> str | None:
    """Return the server's program: this, or nothing where it is not installed."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


def require_redis() -> str:
    """Return the program, or skip; fail where nothing may be skipped."""
    program = find_program()
    if program is None:
        if os.environ.get("WATCHWORD_TEST_REQUIRE_ALL") == "1":
            pytest.fail("neither Redis nor Valkey is installed")
        pytest.skip("neither Redis nor Valkey is installed")
    return program


class RedisServer:
    """One server in a directory of its own; it keeps its port over restarts."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.program = require_redis()
        self.directory = directory
        self.options = options
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        command += ["--save", "", "--appendonly", "no", "--loglevel", "warning", *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + SECONDS
        try:
            while not self._answers():
                assert self.process.poll() is None, "the server has ended"
                assert time.monotonic() < deadline, f"no answer in {SECONDS} s"
                time.sleep(0.01)
        except BaseException:
            self.kill()
            raise

    def _answers(self) -> bool:
        try:
            return self.ask("PING").startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def ask(self, *command: str, password: str = "") -> bytes:
        """Return the first bytes of the answers, as they come."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS) as connection:
            if password:
                connection.sendall(_spelt("AUTH", password))
                assert connection.recv(65_536) == b"+OK\r\n"
            connection.sendall(_spelt(*command))
            return connection.recv(65_536)

    def contents(self, url: str) -> bytes:
        """Return all keys of one of its databases, and their values."""
        script = "local found = {} for _, key in ipairs(redis.call('KEYS', '*')) do found[#found + 1] = key"
        script += " found[#found + 1] = redis.call('DUMP', key) end return found"
        with socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS) as connection:
            connection.sendall(_spelt("SELECT", url.rpartition("/")[2]) + _spelt("EVAL", script, "0") + _spelt("QUIT"))
            received = b""
            while chunk := connection.recv(65_536):
                received += chunk
        assert received.startswith(b"+OK\r\n*"), received[:200]
        return received

    def config(self, name: str, value: str, *, password: str = "") -> None:
        assert self.ask("CONFIG", "SET", name, value, password=password) == b"+OK\r\n"

    def kill(self) -> None:
        """As when the machine ends."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As when somebody stops it: it saves what it is told to save."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(how)
            process.wait()


def _spelt(*command: str) -> bytes:
    lines = [f"*{len(command)}", *(line for part in command for line in (f"${len(part.encode())}", part))]
    return "\r\n".join([*lines, ""]).encode()


async def with_old_marker(url: str, name: str) -> None:
    """Let the memory of this name be one that has been whole for long."""
    link = RedisLink(parse_redis_url(url))
    await link.open()
    replay = await RedisReplay.open(link, name=name)
    life = replay.marker.rpartition(b":")[0]
    assert link.connection is not None
    await link.connection.ask("SET", replay.prefix, life + b":1", "PX", 60_000)
    await replay.close()
    await link.close()
