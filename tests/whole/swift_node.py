"""A server whose signing keys live for seconds: ``python swift_node.py FOLDER serve ...``. Nothing else of it is different."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta

from watchword import compose, serving
from watchword.cli import main
from watchword.server import nodes, offices
from watchword.server.key_rotation import KeyRotation
from watchword.server.key_schedule import KeyTimes

SECOND = timedelta(seconds=1)
BEAT, LEASE = 0.2 * SECOND, 2 * SECOND
SWIFT = KeyTimes(period=3 * SECOND, max_age=SECOND, longest_lifetime=SECOND, skew=2 * SECOND)

if __name__ == "__main__":
    sys.argv.pop(1)
    offices.BEAT, offices.LEASE, nodes.LEASE = BEAT, LEASE, LEASE
    compose.KeyTimes = lambda *, period: replace(SWIFT, period=min(period, SWIFT.period))  # zero: none begins by itself
    serving.build_jobs = lambda core, _witness: (KeyRotation(core.signer, core.key_times, every=SECOND / 5).job,)
    main()
