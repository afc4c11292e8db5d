"""A server that beats often, has a short lease, and a job that waits in the middle: ``python hasty_node.py FOLDER serve ...``.

The job waits for as long as there is a file ``gate`` in FOLDER, where it leaves the file ``waiting-TERM`` meanwhile, and then
commits ``test.tick``, even when it is broken off; a refusal leaves the file ``refused-TERM``.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from watchword import serving
from watchword.cli import main
from watchword.errors import Conflict
from watchword.server import nodes, offices
from watchword.server.offices import Job, Term

BEAT, LEASE = timedelta(seconds=0.2), timedelta(seconds=2)  # ten beats, for a machine with much to do


def tick_in(folder: Path) -> Job:
    async def work(term: Term) -> None:
        while (folder / "gate").exists():
            (folder / f"waiting-{term.number}").touch()
            await asyncio.sleep(0.01)
        try:
            await term.commit("done", action="test.tick", details={"term": str(term.number)})
        except Conflict as conflict:
            (folder / f"refused-{term.number}").write_text(conflict.reason)
            raise

    async def tick(term: Term) -> None:
        await asyncio.shield(asyncio.ensure_future(work(term)))

    return Job("tick", timedelta(seconds=0.1), tick)


if __name__ == "__main__":
    job = tick_in(Path(sys.argv.pop(1)))
    offices.BEAT, offices.LEASE, nodes.LEASE = BEAT, LEASE, LEASE
    serving.build_jobs = lambda _core, _witness: (job,)
    main()
