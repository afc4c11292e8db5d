"""Proving the audit trail: every chain is followed from its beginning, and the first place where it is wrong is named.

What this cannot see: a trail rewritten from some place to its end, heads included, by somebody who may write the store.
Compare the heads with a copy kept elsewhere for that (``heads`` may be an older copy: each must lie on its chain).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from watchword.ports.audit import GENESIS, ChainHead, StoredEvent, link


class Flaw(StrEnum):
    """What is wrong at a place."""

    ALTERED = "altered"
    """The event, its hash, or the hash before it is not what was written."""
    MISSING = "missing"
    """An event that stood here is gone."""
    MOVED = "moved"
    """The event of this place stands later in the trail."""
    REPEATED = "repeated"
    """A place that was passed already comes again."""
    TRUNCATED = "truncated"
    """The chain ends before this place, which its head says it had reached."""
    ADDED = "added"
    """The chain goes on here, behind its head."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The first bad place of one chain."""

    chain: str
    position: int
    problem: Flaw


@dataclass(frozen=True, slots=True)
class ChainState:
    """How far one chain was followed and found right."""

    chain: str
    events: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Findings:
    """``events`` is the number of events seen; ``chains`` and ``findings`` are ordered by chain."""

    events: int
    chains: tuple[ChainState, ...]
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Nothing is wrong."""
        return not self.findings


@dataclass(slots=True)
class _Chain:
    position: int = 0
    hash: bytes = GENESIS
    finding: Finding | None = None


class ChainVerifier:
    """Follows chains event by event, in the order of their cursors, in constant space.

    For a store that is being written to: take ``heads``, then read the events to whatever end, then take the heads again for
    ``finish``. What is committed meanwhile is then no finding.
    """

    def __init__(self, heads: Sequence[ChainHead]) -> None:
        self._expected = {head.chain: head for head in heads}
        self._chains = {head.chain: _Chain() for head in heads}
        self._events = 0

    def add(self, event: StoredEvent) -> None:
        """Follow one step."""
        self._events += 1
        chain = self._chains.setdefault(event.chain, _Chain())
        if chain.finding is not None:
            if chain.finding.problem is Flaw.MISSING and event.position == chain.finding.position:
                chain.finding = Finding(event.chain, event.position, Flaw.MOVED)
            return
        problem = self._judge(chain, event)
        if problem is None:
            chain.position, chain.hash = event.position, event.hash
        else:
            chain.finding = Finding(event.chain, min(event.position, chain.position + 1), problem)

    def _judge(self, chain: _Chain, event: StoredEvent) -> Flaw | None:
        expected = self._expected.get(event.chain)
        if event.position <= chain.position:
            return Flaw.REPEATED
        if event.position > chain.position + 1:
            return Flaw.MISSING
        is_linked = event.hash == link(chain.hash, event.payload)
        is_expected = expected is None or expected.position != event.position or expected.hash == event.hash
        return None if is_linked and is_expected else Flaw.ALTERED

    def finish(self, heads: Sequence[ChainHead]) -> Findings:
        """Compare the ends with the heads, as they are now that all events were read."""
        last = {head.chain: head.position for head in heads}
        for name, chain in self._chains.items():
            if chain.finding is None:
                chain.finding = self._judge_end(name, chain, last.get(name, 0))
        ordered = sorted(self._chains.items())
        return Findings(
            events=self._events,
            chains=tuple(ChainState(name, chain.position, chain.hash) for name, chain in ordered),
            findings=tuple(chain.finding for _, chain in ordered if chain.finding is not None),
        )

    def _judge_end(self, name: str, chain: _Chain, last: int) -> Finding | None:
        expected = self._expected.get(name)
        if expected is not None and chain.position < expected.position:
            return Finding(name, chain.position + 1, Flaw.TRUNCATED)
        if chain.position > last:
            return Finding(name, last + 1, Flaw.ADDED)
        return None


def verify_chain(events: Iterable[StoredEvent], heads: Sequence[ChainHead]) -> Findings:
    """Return what is wrong with a trail that nobody writes to meanwhile; ``events`` in the order of their cursors."""
    verifier = ChainVerifier(heads)
    for event in events:
        verifier.add(event)
    return verifier.finish(heads)
