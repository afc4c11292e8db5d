"""The long run of ``watchword.testing.fuzz``: prints its seed, answers by status, the slowest, and what must not happen."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from watchword.testing.fuzz import Case, Fuzzer, Template
from watchword.testing.fuzz_driver import Driver, Report
from watchword.testing.fuzz_fields import as_cases, in_every_field
from watchword.testing.fuzz_templates import NEVER, admin_templates, token_templates
from watchword.testing.naughty import NAUGHTY
from watchword.testing.process import FAIL_AT_WILL, ServerProcess

PORTION = 20_000
"""Requests between two checks that the server still does its work."""
SLOW = 1.0
"""Seconds. A request that waited longer is printed."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--wild", type=float, default=0.1, help="the share of requests whose framing is attacked")
    parser.add_argument("--naughty", action="store_true", help="every naughty string in every field first")
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}, {chosen.requests} requests")
    with tempfile.TemporaryDirectory() as folder, ServerProcess(Path(folder), environment=FAIL_AT_WILL) as server:
        report = run(server, chosen)
    show(report)
    return 1 if report.findings else 0


def run(server: ServerProcess, chosen: argparse.Namespace) -> Report:
    caged, clay = (server.create_agent(name, conditions=NEVER) for name in ("caged", "clay"))
    templates = [*token_templates(server, caged) * 3, *admin_templates(server, clay)]
    secrets_ = [caged.client_secret.encode(), server.operator_token.encode()]
    driver = Driver(server.host, server.port, secrets=secrets_)
    for portion in portions(templates, chosen):
        before, began = driver.report.sent, time.monotonic()
        asyncio.run(driver.run(portion))
        if driver.report.sent == before or driver.report.findings:
            break
        check_sane(server)
        speed = (driver.report.sent - before) / (time.monotonic() - began)
        print(f"{driver.report.sent} sent, {speed:.0f}/s, {statuses(driver.report)}", flush=True)
    return driver.report


def portions(templates: list[Template], chosen: argparse.Namespace) -> Iterator[Iterator[Case]]:
    if chosen.naughty:
        yield as_cases(
            (new for one in templates for text in NAUGHTY for new in in_every_field(one, text)), name="naughty"
        )
    cases = itertools.islice(Fuzzer(templates, seed=chosen.seed, wild=chosen.wild), chosen.requests)
    while True:
        yield itertools.islice(cases, PORTION)


def check_sane(server: ServerProcess) -> None:
    """Sanity last: it is alive, the good request works, and nothing that was sent was a fault or a bug to it."""
    good = server.create_agent("good")
    status, answer = server.token(good)
    deleted, _ = server.admin("DELETE", f"/agents/{good.client_id}")
    wrong = [*server.logged("bug"), *server.logged("fault")]
    if (status, deleted, wrong) != (200, 200, []) or not server.is_running:
        raise SystemExit(f"NOT SANE: {status} {answer} {deleted} {wrong[:5]}")


def statuses(report: Report) -> str:
    return " ".join(f"{status}:{count}" for status, count in sorted(report.statuses.items()))


def show(report: Report) -> None:
    print(
        f"\n{report.sent} requests in {report.seconds:.0f} s; answers {statuses(report)}; {report.closed} ended without one"
    )
    print("slowest: " + ", ".join(f"{seconds:.3f} s ({case.number})" for seconds, case in report.slowest))
    for seconds, case in report.slowest:
        if seconds > SLOW:
            print(f"SLOW {seconds:.2f} s: case {case.number} {case.recipe} {case.raw[:300]!r}")
    for finding in report.findings:
        print(f"FOUND {finding}")
    print("nothing found" if not report.findings else f"{len(report.findings)} found")


if __name__ == "__main__":
    sys.exit(main())
