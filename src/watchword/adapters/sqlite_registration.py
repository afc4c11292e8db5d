"""All that is registered of one client, read in one moment: by a reader, or by the writer inside its transaction."""

from __future__ import annotations

from typing import Final

import apsw

from watchword.adapters import sqlite_rows as rows
from watchword.ports.agents import Registration, Resource

# ruff: noqa: S608 -- column lists are constants of this adapter; every value is bound
ONE_AGENT: Final = f"SELECT {rows.AGENT} FROM agents WHERE client_id = ?"
ONE_RESOURCE: Final = f"SELECT {rows.RESOURCE} FROM resources WHERE name = ?"
_CREDENTIALS_OF: Final = f"SELECT {rows.CREDENTIAL} FROM credentials WHERE client_id = ? ORDER BY id"
_PERMISSIONS_OF: Final = f"SELECT {rows.PERMISSION} FROM permissions WHERE client_id = ? ORDER BY id"


def read_registration(db: apsw.Connection, client_id: str) -> Registration | None:
    """Return everything about one client. The first cursor, still open, holds the snapshot.

    Raises:
        ValueError: a row that is none.
        apsw.Error
    """
    snapshot = db.execute(ONE_AGENT, (client_id,))
    try:
        row = snapshot.fetchone()
        if row is None:
            return None
        credentials = tuple(map(rows.build_credential, db.execute(_CREDENTIALS_OF, (client_id,))))
        permissions = tuple(map(rows.build_permission, db.execute(_PERMISSIONS_OF, (client_id,))))
        resources = {name: _one_resource(db, name) for name in {found.resource for found in permissions}}
        return Registration(rows.build_agent(row), credentials, permissions, resources)
    finally:
        snapshot.close()


def _one_resource(db: apsw.Connection, name: str) -> Resource:
    row = db.execute(ONE_RESOURCE, (name,)).fetchone()
    if row is None:
        raise ValueError(f"a permission names the missing resource {name!r}")
    return rows.build_resource(row)
