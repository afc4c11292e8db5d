"""The one row that says whose store this is."""

from __future__ import annotations

from typing import Final, cast

import apsw

from watchword.adapters.sqlite_values import optional_moment, time_value
from watchword.errors import Conflict
from watchword.ports.store import StoreIdentity

_READ: Final = "SELECT issuer, generation, restored_at, version FROM identity"
_WRITE: Final = "UPDATE identity SET (issuer, generation, restored_at, version) = (?, ?, ?, ?)"


def read_identity(db: apsw.Connection) -> StoreIdentity:
    """Return the identity.

    Raises:
        TypeError: the row is gone: the file is damaged.
    """
    row = db.execute(_READ).fetchone()
    if row is None:
        raise TypeError("the identity is gone")
    return StoreIdentity(
        issuer=cast("str", row[0]),
        generation=cast("int", row[1]),
        restored_at=optional_moment(row[2]),
        version=cast("int", row[3]),
    )


def replace_identity(db: apsw.Connection, identity: StoreIdentity) -> None:
    """Write the next version.

    Raises:
        Conflict: identity.version, identity.generation
    """
    stored = read_identity(db)
    if stored.version != identity.version - 1:
        raise Conflict("identity.version")
    if stored.generation > identity.generation:
        raise Conflict("identity.generation")
    values = (identity.issuer, identity.generation, time_value(identity.restored_at), identity.version)
    db.execute(_WRITE, values)
