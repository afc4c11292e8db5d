"""Asks a server of its own as a known client with a wrong secret and as an unknown client, in turn, and compares the times.

Prints medians and the Mann-Whitney test. A third series, the known client again, shows what chance alone makes of it.
"""

from __future__ import annotations

import argparse
import math
import random
import secrets
import socket
import statistics
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

from watchword.testing.process import FAIL_AT_WILL, ServerProcess

WARM_UP = 500
BODY = b"grant_type=client_credentials&scope=read%3Adata"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    chosen = parser.parse_args()
    dice = random.Random(chosen.seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerProcess(Path(folder), environment=FAIL_AT_WILL) as server,
        socket.create_connection((server.host, server.port)) as connection,
    ):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        known = server.create_agent("known").client_id
        unknown = "known-" + "x" * (len(known) - 6)
        series: dict[str, list[int]] = {"known": [], "unknown": [], "known again": []}
        requests = {name: request(server, unknown if name == "unknown" else known) for name in series}
        for number in range(WARM_UP + chosen.samples):
            for name in dice.sample(list(series), k=3):
                nanoseconds = ask(connection, requests[name])
                if number >= WARM_UP:
                    series[name].append(nanoseconds)
    print(f"seed {chosen.seed}, {chosen.samples} samples of each")
    for name, values in series.items():
        low, middle, high = statistics.quantiles(values, n=4)
        print(f"{name:12} median {middle / 1000:8.2f} us, quartiles {low / 1000:.2f} and {high / 1000:.2f}")
    compare("known and unknown", series["known"], series["unknown"])
    compare("known and known again", series["known"], series["known again"])
    return 0


def request(server: ServerProcess, client_id: str) -> bytes:
    basic = b64encode(f"{client_id}:wrong".encode())
    lines = (
        b"POST /oauth/token HTTP/1.1",
        f"Host: {server.host}:{server.port}".encode(),
        b"Authorization: Basic " + basic,
    )
    more = (b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: %d" % len(BODY), b"", BODY)
    return b"\r\n".join(lines + more)


def ask(connection: socket.socket, octets: bytes) -> int:
    began = time.perf_counter_ns()
    connection.sendall(octets)
    answer = connection.recv(65_536)
    taken = time.perf_counter_ns() - began
    while not answer.endswith(b"}"):
        answer += connection.recv(65_536)
    if not answer.startswith(b"HTTP/1.1 401"):
        raise SystemExit(f"not the answer that is to be timed: {answer[:200]!r}")
    return taken


def compare(name: str, one: Sequence[int], other: Sequence[int]) -> None:
    difference = statistics.median(other) - statistics.median(one)
    share = difference / statistics.median(one)
    print(
        f"{name}: medians differ by {difference / 1000:+.2f} us ({share:+.2%}), Mann-Whitney p = {mann_whitney(one, other):.3g}"
    )


def mann_whitney(one: Sequence[int], other: Sequence[int]) -> float:
    """Return the two-sided p of the hypothesis that neither tends to be larger (normal approximation, ties halved)."""
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    total, at = 0.0, 0
    while at < len(ranked):
        end = at
        while end < len(ranked) and ranked[end][0] == ranked[at][0]:
            end += 1
        total += sum((at + end + 1) / 2 for place in range(at, end) if ranked[place][1] == 0)
        at = end
    count, others = len(one), len(other)
    statistic = total - count * (count + 1) / 2
    mean, deviation = count * others / 2, math.sqrt(count * others * (count + others + 1) / 12)
    return math.erfc(abs(statistic - mean) / deviation / math.sqrt(2))


if __name__ == "__main__":
    sys.exit(main())
