"""One commit that waits, and whether it fits what is stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from watchword.adapters import postgres_rows as rows
from watchword.adapters.postgres_changes import apply_change
from watchword.adapters.postgres_failures import Refused
from watchword.adapters.postgres_link import Connection
from watchword.adapters.postgres_registration import read_registrations
from watchword.errors import Conflict, StoreUnavailable, Superseded
from watchword.ports.agents import Registration
from watchword.ports.store import Basis, Change, moves_epoch


@dataclass(slots=True, eq=False)
class Unit:
    """One commit that waits. An empty ``payload`` only proves that the store can be written."""

    payload: str
    members: tuple[str, ...]
    changes: Sequence[Change]
    basis: Basis | None
    done: asyncio.Future[None]
    since: float = field(default_factory=time.monotonic)
    refusal: Exception | None = None
    is_given_up: bool = False

    @property
    def is_change(self) -> bool:
        """Whether it counts for the epoch."""
        return moves_epoch(self.changes)

    def give_up(self, fault: StoreUnavailable) -> None:
        """Let nobody wait for it any more; where it has not been sent, it is not to be."""
        self.is_given_up = True
        self.settle(fault)

    def settle(self, fault: StoreUnavailable | None) -> None:
        """Tell the waiter, unless it has gone."""
        if self.done.done():
            return
        if fault is not None:
            self.done.set_exception(StoreUnavailable(fault.reason, detail=fault.detail))
        elif self.refusal is not None:
            self.done.set_exception(self.refusal)
        else:
            self.done.set_result(None)


class Fitting:
    """Applies the units of a batch in their order, each wholly or not at all. Whoever uses it has locked the counters.

    ``epoch`` is the database's own before the batch; ``changed`` how far the batch has moved it.
    """

    def __init__(self, db: Connection, epoch: int, batch: Sequence[Unit], life: int) -> None:
        """``life`` is what the epochs of this process's present life have above the database's own."""
        self._db = db
        self._epoch = epoch + life
        self.changed = 0
        others = (unit.basis for unit in batch if unit.basis is not None and unit.basis.epoch != self._epoch)
        self._names = sorted({rows.held(basis.registration.agent.client_id) for basis in others})
        self._read_at = -1
        self._registered: dict[str, Registration] = {}

    async def fits(self, unit: Unit) -> bool:
        """Apply the changes of one unit, or none of them and remember why."""
        unit.refusal = None
        if not await self._stands(unit):
            unit.refusal = Superseded("store.superseded")
            return False
        if unit.changes:
            await self._apply(unit)
        if unit.refusal is None:
            self.changed += unit.is_change
        return unit.refusal is None

    async def _stands(self, unit: Unit) -> bool:
        """Tell whether what a unit was decided on is still so; all that may not be is read at once."""
        if unit.basis is None or unit.basis.epoch == self._epoch + self.changed:
            return True
        registration = unit.basis.registration
        name = rows.held(registration.agent.client_id)
        if self._read_at != self.changed:
            _, self._registered = await read_registrations(self._db, {*self._names, name})
            self._read_at = self.changed
        elif name not in self._names:
            self._registered |= (await read_registrations(self._db, [name]))[1]
        return registration.permits_as(self._registered.get(name))

    async def _apply(self, unit: Unit) -> None:
        try:
            async with self._db.transaction():
                for change in unit.changes:
                    await apply_change(self._db, change)
        except Conflict as conflict:
            unit.refusal = conflict
        except Refused as error:
            unit.refusal = Conflict("store.constraint", detail=str(error))
        except (ValueError, TypeError, OverflowError) as error:  # a value that PostgreSQL cannot hold
            unit.refusal = error
