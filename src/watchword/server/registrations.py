"""What is registered of the clients that log in, kept while nothing changes.

The store counts its changes (``epoch``), and that count is read at every request: what is kept serves only while it stands
still, whichever process makes the change. A credential's last use is no change: read it from the store.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from watchword.ports.store import Basis, Store

CAPACITY: Final = 4096
"""Clients; some 4 KiB each."""


class Registrations:
    """A bounded view of the registry; the client that has not logged in for longest leaves first."""

    def __init__(self, store: Store, *, capacity: int = CAPACITY) -> None:
        self._store = store
        self._capacity = capacity
        self._epoch = -1
        self._kept: OrderedDict[str, Basis] = OrderedDict()

    async def find(self, client_id: str) -> Basis | None:
        """Return everything about one client as the store holds it now, last uses excepted, or nothing.

        Raises:
            StoreUnavailable: also where the answer is kept: nobody can say that it still holds.
        """
        epoch = await self._store.epoch()
        if epoch != self._epoch:
            self._kept.clear()
            self._epoch = epoch
        kept = self._kept.get(client_id)
        if kept is not None:
            self._kept.move_to_end(client_id)
            return kept
        registration = await self._store.registration(client_id)
        if registration is None:
            return None
        basis = Basis(epoch, registration)
        if epoch == self._epoch:  # else somebody has looked since, and may know better
            self._keep(client_id, basis)
        return basis

    def _keep(self, client_id: str, basis: Basis) -> None:
        self._kept[client_id] = basis
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
