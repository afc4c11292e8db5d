"""``./scripts/bench``: measure, print, and say where a figure falls short."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

from bench.sections import SECTIONS
from bench.servers import Bench

QUICK = (3, 1.0)
FULL = (7, 3.0)


def main() -> int:
    """Return 0 if everything that was measured meets its demand, else 1."""
    choices = _parse()
    rounds, seconds = QUICK if choices.quick else FULL
    documents = []
    is_met = True
    _say(f"{_machine()}; {rounds} rounds of {seconds:g} s each; server on core 0, load on core 1")
    with tempfile.TemporaryDirectory(prefix="watchword-bench-") as scratch:
        bench = Bench(Path(scratch), rounds, seconds, choices.against)
        for name in choices.only or SECTIONS:
            report = SECTIONS[name](bench)
            documents.append(report.document())
            is_met = is_met and all(row.is_met for row in report.rows)
            _say("\n".join(report.lines()))
    if choices.output:
        document = {"machine": _machine(), "rounds": rounds, "seconds": seconds, "sections": documents}
        choices.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0 if is_met else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a first look, in under two minutes")
    parser.add_argument("--only", action="append", choices=list(SECTIONS), metavar="NAME", help=", ".join(SECTIONS))
    parser.add_argument("--against", type=Path, metavar="SRC", help="also measure the watchword in this src directory")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the figures as JSON, too")
    return parser.parse_args()


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, CPython {platform.python_version()}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
