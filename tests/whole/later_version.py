"""watchword of tomorrow, which is today's with more steps of the tables: ``python later_version.py STEPS serve ...``.

Its first step adds a column and a table; the second takes the table away, which only programs that know of it are to bear.
"""

from __future__ import annotations

import sys

from watchword.adapters import postgres_migrations, sqlite_migrations
from watchword.ports.schema import Migration

ADDS = "ALTER TABLE agents ADD COLUMN remark TEXT NOT NULL DEFAULT ''; CREATE TABLE remarks (id TEXT PRIMARY KEY)"
TAKES = "DROP TABLE remarks"


def more_steps(known: int, number: int) -> tuple[Migration, ...]:
    adds = Migration(known + 1, "remarks", ADDS, compatible_from=known)
    takes = Migration(known + 2, "no remarks", TAKES, compatible_from=known + 2)
    return (adds, takes)[:number]


if __name__ == "__main__":
    wanted = int(sys.argv.pop(1))
    for steps in (sqlite_migrations, postgres_migrations):  # before anybody has read them
        steps.MIGRATIONS = (*steps.MIGRATIONS, *more_steps(steps.KNOWN, wanted))  # type: ignore[misc]  # another version's
        steps.KNOWN = len(steps.MIGRATIONS)  # type: ignore[misc]  # another version's
    from watchword.cli import main

    main()
