"""The schedule of signing keys, carried out: by one node, in its term, so that of several one does it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from watchword.errors import Conflict
from watchword.ports.keys import KeyState, Signer, SigningKey
from watchword.ports.store import Change, Create, Replace
from watchword.server import key_schedule
from watchword.server.key_schedule import KeyTimes, Move, Step
from watchword.server.node_clocks import compare_clocks
from watchword.server.offices import Job, Term

ACTIONS: Final[Mapping[Move, str]] = MappingProxyType(
    {Move.PUBLISH: "key.publish", Move.ACTIVATE: "key.rotate", Move.RETIRE: "key.retire"}
)
"""What a step is called in the trail."""

_EVERY: Final = timedelta(seconds=30)
_MOST_STEPS: Final = 32  # of one run: what is left is done in the next


class KeyRotation:
    """Does what is due. It trusts no clock alone: a step that must wait waits, too, by the steady clock of this process,
    beginning when it first saw the key as it is. A clock that jumps, or another node's that is wrong, makes a step late, never
    early.
    """

    def __init__(
        self,
        signer: Signer,
        times: KeyTimes,
        *,
        every: timedelta = _EVERY,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._signer = signer
        self._times = times
        self._steady = steady
        self._seen: dict[tuple[str, KeyState], float] = {}
        self.job = Job("rotate_keys", every, self.work)

    async def work(self, term: Term) -> None:
        """Take every step that is due.

        Raises:
            Conflict: office.term
            NoSigningKey, StoreUnavailable
        """
        for _ in range(_MOST_STEPS):
            keys = await term.store.signing_keys()
            self._look(keys)
            due = (step for step in key_schedule.plan(keys, self._times) if step.at <= term.now)
            step = next((step for step in due if self._has_waited(step)), None)
            if step is None:
                return
            try:
                await self._take(term, step, keys)
            except Conflict as conflict:
                if conflict.reason == "office.term":
                    raise
                return  # somebody else has changed a key meanwhile: the next run sees what there is to do

    def _look(self, keys: Sequence[SigningKey]) -> None:
        now = self._steady()
        self._seen = {(key.kid, key.state): self._seen.get((key.kid, key.state), now) for key in keys}

    def _has_waited(self, step: Step) -> bool:
        if step.move is Move.ACTIVATE:
            return self._seen_for(step.kid, KeyState.PUBLISHED) >= self._times.notice
        if step.move is Move.RETIRE:
            return self._seen_for(step.kid, KeyState.RETIRING) >= self._times.linger
        return True

    def _seen_for(self, kid: str, state: KeyState) -> timedelta:
        return timedelta(seconds=self._steady() - self._seen[kid, state])

    async def _take(self, term: Term, step: Step, keys: Sequence[SigningKey]) -> None:
        """Store the step and its event; the store takes it only if the keys are still as they were read."""
        now, key = term.now, next((key for key in keys if key.kid == step.kid), None)
        noted = (await compare_clocks(term.store, now=now)).latest
        changes: list[Change]
        if key is None:
            key = key_schedule.introduce(await self._signer.generate(step.algorithm, now=now), now=noted)
            changes = [Create(key)]
        elif step.move is Move.PUBLISH:
            changes = [Replace(key_schedule.publish(key, now=noted))]
        elif step.move is Move.ACTIVATE:
            moved = key_schedule.activate(keys, key, times=self._times, now=now, latest=noted)
            changes = [Replace(one) for one in moved]
        else:
            changes = [Replace(key_schedule.retire(key, times=self._times, now=now))]
        action = ACTIONS[step.move]
        await term.commit("scheduled", *changes, action=action, kid=key.kid, details={"alg": step.algorithm})
