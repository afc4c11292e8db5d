"""What can be wrong with a PostgreSQL database: what it promises of durability, and who hears what is said to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from watchword.adapters.postgres_url import is_on_the_wire, masked
from watchword.errors import Fault
from watchword.stores import engine
from watchword.upkeep.findings import Finding, error, note, warning

_DURABLE: Final[Mapping[str, str]] = {
    "fsync": "what it has acknowledged is lost with the power, and the database with it",
    "full_page_writes": "a page that was half written when the power went cannot be repaired",
    "synchronous_commit": "what it has acknowledged is lost with a crash",
}


async def check_database(url: str, data: Path, *, is_production: bool) -> list[Finding]:
    """It writes through to the disk, the way to it is closed to others, and it was not put back without a word.

    That it opens is another check's.
    """
    findings = []
    if is_on_the_wire(url):
        finding = (
            f"the way to {masked(url)} is not proved by TLS: passwords, names and keys' envelopes can be read on it"
        )
        findings.append(warning("database", finding, "add ?sslmode=verify-full&sslrootcert=FILE to the URL"))
    try:
        engine()
        from watchword.adapters.postgres import read_settings, was_put_back

        found = await read_settings(url, tuple(_DURABLE))
        is_back = await was_put_back(url)
    except Fault:
        return findings  # the check of the store says so
    for name, what in _DURABLE.items():
        if found[name] == "off":
            command = f'psql -c "ALTER SYSTEM SET {name} = on" -c "SELECT pg_reload_conf()"'
            findings.append(error("database", f"{name} of the database is off: {what}", command))
    if is_back:
        finding = (
            "the database is not where its store was: it was put back from a copy, and what is newer is not known to it"
        )
        findings.append(error("restored", finding, f"watchword store restored --data {data}"))
    if is_production:
        findings.append(
            note("backup", "nobody tells this server of backups of the database", "pg_dump --schema watchword")
        )
    return findings
