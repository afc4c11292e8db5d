"""Revocations in the memory store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from watchword.ports.revocations import PruneRevocations, Revoke
from watchword.protocol.revocation import Revocation, RevocationKind


@dataclass(slots=True)
class RevocationTable:
    """The rows by kind and target, and what was given out last."""

    rows: dict[tuple[RevocationKind, str], Revocation] = field(default_factory=dict)
    sequence: int = 0

    def copy(self) -> RevocationTable:
        """Return a table that may be changed without changing this one."""
        return RevocationTable(dict(self.rows), self.sequence)

    def apply(self, change: Revoke | PruneRevocations) -> None:
        """Store a revocation whose cut-off is later than that of the one before it, or remove those that are over."""
        if isinstance(change, PruneRevocations):
            self.rows = {key: row for key, row in self.rows.items() if row.expires_at > change.now}
            return
        new = change.revocation
        old = self.rows.get((new.kind, new.target))
        if old is not None and new.cutoff <= old.cutoff:
            return
        self.sequence += 1
        end = new.expires_at if old is None else max(new.expires_at, old.expires_at)
        self.rows[new.kind, new.target] = replace(new, sequence=self.sequence, expires_at=end)

    def page(self, *, after: int, limit: int) -> Sequence[Revocation]:
        """Return revocations by sequence."""
        found = sorted((row for row in self.rows.values() if row.sequence > after), key=lambda row: row.sequence)
        return found[: max(limit, 0)]
