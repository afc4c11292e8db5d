"""The tables of a store, and the steps that made them what they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Migration:
    """One step forward. A released one is never edited: its checksum is in people's databases.

    ``compatible_from`` is the number of the oldest tables whose programs go on working, rightly, on what this step leaves. Less
    than ``number``, the step only adds: tables, columns that may be left out. Equal to it, the step takes something away, or
    gives it another meaning: whoever does not know it must have left before, and is refused for ever after.
    """

    number: int
    name: str
    sql: str
    compatible_from: int

    @property
    def checksum(self) -> str:
        """SHA-256 over number, name and SQL, in hex."""
        return hashlib.sha256(f"{self.number}\n{self.name}\n{self.sql}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Schema:
    """How the tables of a store, and what this program knows of such tables, stand to each other. By numbers of steps.

    ``present`` is the last step taken, ``known`` the last that this program knows, and ``compatible_from`` what a program has to
    know, at the least, to work on these tables: the store says so itself, to programs that are older than the step.
    """

    present: int
    known: int
    compatible_from: int

    @property
    def is_newer(self) -> bool:
        """Whether the tables are those of a later program."""
        return self.present > self.known
