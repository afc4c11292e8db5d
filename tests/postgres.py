"""One PostgreSQL server for all tests of a process, and a new database for whoever asks for one."""

from __future__ import annotations

import atexit
import functools
import itertools

import pytest

from watchword.testing.postgres import PostgresServer, find_programs

_numbers = itertools.count(1)


def require_postgres() -> None:
    """Skip where PostgreSQL is not installed."""
    if find_programs() is None:
        pytest.skip("PostgreSQL is not installed")


@functools.cache
def shared_server() -> PostgresServer:
    """Start the server that tests share; one that is to be stopped is not this."""
    server = PostgresServer(max_connections="200", shared_buffers="32MB", fsync="off")  # no test takes the power away
    atexit.register(server.destroy)
    server.start()
    return server


def new_database(server: PostgresServer | None = None) -> str:
    """Return the URL of a new, empty database."""
    require_postgres()
    server = server or shared_server()
    name = f"test_{next(_numbers)}"
    server.sql(f"CREATE DATABASE {name}")
    return server.url(name)
