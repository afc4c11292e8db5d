"""A flood of DPoP proofs (``watchword.testing.proof_flood``): the memory of them stays bounded, and none is accepted twice."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from watchword.adapters.sqlite_replay import CAPACITY
from watchword.testing.proof_flood import Flood, Flooder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=2_000, help="proofs in a second of the server's time")
    parser.add_argument("--capacity", type=int, default=CAPACITY, help="ids remembered at once; more are answered 503")
    chosen = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        flood = asyncio.run(flood_into(Path(folder), chosen))
    seconds = time.monotonic() - began
    print(f"{chosen.number} proofs at {chosen.rate}/s of the server's time, in {seconds:.0f} s here")
    print(f"sent once:  {_told(flood.first)}")
    print(f"sent again: {_told(flood.again)}")
    print(
        f"at most {flood.most} remembered, in {flood.largest / 1e6:.1f} MB; memory grew by {flood.memory / 1e6:.1f} MB"
    )
    print(f"accepted twice: {flood.twice}")
    return 1 if flood.twice else 0


async def flood_into(folder: Path, chosen: argparse.Namespace) -> Flood:
    return await Flooder(folder, rate=chosen.rate, capacity=chosen.capacity).run(chosen.number)


def _told(outcomes: dict[str, int]) -> str:
    return ", ".join(f"{reason} {number}" for reason, number in sorted(outcomes.items())) or "nothing"


if __name__ == "__main__":
    sys.exit(main())
