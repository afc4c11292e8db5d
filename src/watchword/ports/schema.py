"""The tables of a store, and the steps that made them what they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Migration:
    """One step forward. A released one is never edited: its checksum is in people's databases."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 over number, name and SQL, in hex."""
        return hashlib.sha256(f"{self.number}\n{self.name}\n{self.sql}".encode()).hexdigest()
