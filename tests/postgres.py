"""One PostgreSQL server for all tests of a process, and a new database for whoever asks for one."""

from __future__ import annotations

import atexit
import functools
import itertools
import subprocess

import asyncpg
import pytest

from watchword.adapters.postgres import PostgresStore
from watchword.adapters.postgres_schema import SCHEMA
from watchword.clock import system_clock
from watchword.testing.postgres import PostgresServer, find_programs

_BEGIN = "as_it_was"

_numbers = itertools.count(1)
_owners: dict[str, asyncpg.Connection] = {}
_emptied: list[str] = []


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
    server.sql(f"CREATE DATABASE {name}{_strategy(server)}")
    return server.url(name)


async def take_database() -> str:
    """Return the URL of a database with our tables, as they are when they are new. To be given back in the same event loop."""
    return _emptied.pop() if _emptied else await _new_tables()


async def give_back(url: str) -> None:
    """Put everything in a database back to how it was: it takes a hundredth of the time that another one would."""
    await _owners[url].execute(f"SELECT {_BEGIN}.again()")
    _emptied.append(url)


async def _new_tables() -> str:
    url = new_database()
    await (await PostgresStore.create(url, clock=system_clock)).close()
    db = await asyncpg.connect(url)
    tables = [str(row[0]) for row in await db.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", SCHEMA)]
    copies = [f"CREATE TABLE {_BEGIN}.{table} AS TABLE {SCHEMA}.{table}" for table in tables]
    steps = [f"DELETE FROM {SCHEMA}.{table}" for table in tables]
    steps += [f"INSERT INTO {SCHEMA}.{table} SELECT * FROM {_BEGIN}.{table}" for table in tables]
    body = "; ".join(["SET LOCAL session_replication_role = replica", *steps, ""])
    function = f"CREATE FUNCTION {_BEGIN}.again() RETURNS void LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
    await db.execute("; ".join([f"CREATE SCHEMA {_BEGIN}", *copies, function]))
    _owners[url] = db
    return url


def dump(url: str) -> bytes:
    """Return all that a database holds."""
    programs = find_programs()
    assert programs is not None
    return subprocess.run([programs / "pg_dump", url], capture_output=True, check=True, timeout=60).stdout


@functools.cache
def _strategy(server: PostgresServer) -> str:
    """Copying files takes half the time of writing all they hold to the log; before PostgreSQL 15 there is no other way."""
    return " STRATEGY file_copy" if int(server.sql("SHOW server_version_num")) >= 150_000 else ""
