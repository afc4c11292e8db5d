"""A share of ``./scripts/flood``: real proofs into the server's own memory of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests import rule
from watchword.testing.proof_flood import ACCEPTED, Flooder


@rule("FI-7", "R9449-11.1-01", "Q7")
def test_a_flood_of_proofs_is_forgotten_in_time_and_none_works_twice(tmp_path: Path) -> None:
    flood = asyncio.run(Flooder(tmp_path, rate=25, share=0.5).run(6_000))  # four minutes of the server's time
    assert (dict(flood.first), flood.twice) == ({ACCEPTED: 6_000}, 0)
    assert flood.again["dpop.replayed"] > 4_000, "at once, and at the end of their time"
    assert flood.again.keys() == {"dpop.replayed"}
    assert flood.most < 4_000, "what is over makes room"


@rule("FI-7")
def test_a_memory_that_is_full_accepts_nothing_new_rather_than_something_twice(tmp_path: Path) -> None:
    flood = asyncio.run(Flooder(tmp_path, rate=400, capacity=1_000).run(3_000))
    assert (flood.first[ACCEPTED], flood.first["replay.full"]) == (1_000, 2_000)
    assert (flood.twice, set(flood.again)) == (0, {"dpop.replayed"})
