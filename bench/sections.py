"""The sections of the report: what is compared with what, and how much is demanded."""

from __future__ import annotations

import asyncio
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from bench import servers
from bench.assertions import register_signer
from bench.custody import custody
from bench.feed import feed
from bench.figures import Measured, Report, Row, paired
from bench.load import Target, take_turns
from bench.mutual_tls import mutual_tls
from bench.overload import overload, workers
from bench.processes import LOAD_CORE, SERVER_CORE, Child, free_port, pinned
from bench.programs import CACHE, MissingProgram
from bench.proofs import PROOFS_PER_SECOND, make_proofs
from bench.rotation import rotation
from bench.servers import Bench, Server, decode_token, running
from bench.stores import Prepared, prepare
from watchword.adapters.sqlite_migrations import MIGRATIONS
from watchword.protocol import names
from watchword.stores import STORE_FILE
from watchword.testing.postgres import PostgresServer, find_programs
from watchword.upkeep.moving import move_to_database

FEW: Final = 10
MANY: Final = 1_000_000
MANY_QUICKLY: Final = 100_000
ASKING: Final = 20_000
"""Agents that ask, of the many."""

_STARTS = 5


def tokens(bench: Bench) -> Report:
    """ES256 tokens with a durable audit trail, beside other servers, a no-op, and the bare signature."""
    report = Report(f"tokens: ES256, 32 connections, {FEW} agents")
    prepared = prepare(bench.scratch / "few", agents=FEW)
    chosen: list[Callable[[], Server]] = [
        partial(servers.ours, prepared),
        partial(servers.ours_altered, prepared, "no-op", servers.NO_OP),
        partial(servers.oidc_provider, names.ES256),
        partial(servers.authlib_flask, names.ES256),
    ]
    if bench.other_revision is not None:
        chosen.insert(1, partial(servers.ours, _other_store(bench), source=bench.other_revision))
    _measure(bench, report, chosen, algorithm=names.ES256)
    mine = report.find(servers.OURS)
    if mine is None:
        return report
    report.add(_beside(report, mine, servers.BEFORE, None))
    report.add(_beside(report, mine, servers.OIDC_PROVIDER, 2.5))
    report.add(_beside(report, mine, servers.AUTHLIB, 5))
    report.add(_beside(report, mine, servers.NO_OP, 0.40))
    other = report.find(servers.OIDC_PROVIDER)
    if other is not None:
        ratio = paired(mine, other, lambda one: one.p99)
        report.add([Row(name=f"p99 / p99 of {other.name}", value=ratio, unit="x", at_most=0.25)])
    raw = _in_process(1)["raw ES256 signature"][0]
    report.add([Row(name="CPU of a bare ES256 signature / CPU of a token", value=raw / mine.cpu_us, unit="x")])
    return report


def authgent(bench: Bench) -> Report:
    """authgent-server, alone and with one connection: it hashes secrets with bcrypt, a quarter of a second each."""
    report = Report("authgent: ES256, 1 connection")
    prepared = prepare(bench.scratch / "few", agents=FEW)
    _measure(bench, report, [partial(servers.ours, prepared, connections=1), servers.authgent], algorithm=names.ES256)
    mine = report.find(servers.OURS)
    if mine is not None:
        report.add(_beside(report, mine, servers.AUTHGENT_SERVER, None))
    return report


def rs256(bench: Bench) -> Report:
    """RS256 tokens beside the bare RSA-2048 signature."""
    report = Report("rs256: RS256, 32 connections")
    prepared = prepare(bench.scratch / "rs256", agents=FEW, algorithm=names.RS256)
    noop = partial(servers.ours_altered, prepared, "no-op", servers.NO_OP)
    _measure(bench, report, [partial(servers.ours, prepared), noop], algorithm=names.RS256)
    mine, floor = report.find(servers.OURS), report.find(servers.NO_OP)
    raw = _in_process(1)["raw RS256 signature"][0]
    if mine is not None and floor is not None:
        report.add(
            [
                Row(
                    name="CPU of a bare RS256 signature / CPU of a token",
                    value=raw / mine.cpu_us,
                    unit="x",
                    at_least=0.85,
                )
            ]
        )
        most = raw / (raw + floor.cpu_us)
        report.add([Row(name="  the same, if all but HTTP and signature were free", value=most, unit="x")])
    return report


def audit(bench: Bench) -> Report:
    """What the durable audit trail costs."""
    report = Report("audit: durable beside nothing recorded")
    prepared = prepare(bench.scratch / "few", agents=FEW)
    for connections, least in ((32, 0.7), (128, 0.85)):
        unaudited = partial(servers.ours_altered, prepared, "unaudited", servers.UNAUDITED, connections=connections)
        audited = partial(servers.ours, prepared, connections=connections)
        _measure(bench, report, [audited, unaudited], algorithm=names.ES256)
        mine, other = report.find(servers.OURS, connections), report.find(servers.UNAUDITED, connections)
        if mine is not None and other is not None:
            ratio = paired(mine, other, lambda one: one.rate)
            name = f"audited / unaudited rate at {connections} connections"
            report.add([Row(name=name, value=ratio, unit="x", at_least=least)])
    return report


def dpop(bench: Bench) -> Report:
    """Tokens bound to a key, each proof claimed, beside bearer tokens; and requests with a proof at a protected API."""
    report = Report("dpop: ES256, a secret and a proof beside a secret alone, 32 connections")
    prepared = prepare(bench.scratch / "few", agents=FEW)
    proving = partial(servers.ours_proving, prepared, partial(make_proofs, round(bench.seconds * PROOFS_PER_SECOND)))
    _measure(bench, report, [partial(servers.ours, prepared), proving], algorithm=names.ES256)
    mine, plain = report.find(servers.PROVING), report.find(servers.OURS)
    if mine is not None and plain is not None:
        ratio = paired(mine, plain, lambda one: one.rate)
        report.add([Row(name="with a proof / without, rate", value=ratio, unit="x", at_least=0.45)])
    costs = _in_process(bench.rounds)

    def ratio_of(name: str, signatures: int) -> float:
        pairs = zip(costs["raw ES256 verification"], costs[name], strict=True)
        return statistics.median(signatures * raw / cost for raw, cost in pairs)

    for name, signatures in (("bound, remembered token", 1), ("bound, first sight", 2)):
        rate = 1e6 / statistics.median(costs[name])
        report.add([Row(name=f"{name}, requests of one core", value=rate, unit="/s", at_least=3000)])
        what = f"  bare cost of its {signatures} signature{'s' if signatures > 1 else ''} / its cost"
        report.add([Row(name=what, value=ratio_of(name, signatures), unit="x")])
    return report


def private_key_jwt(bench: Bench) -> Report:
    """Tokens for an assertion, each verified and claimed, alone and with a proof, beside tokens for a secret."""
    report = Report("private_key_jwt: ES256, an assertion beside a secret, 32 connections")
    prepared = prepare(bench.scratch / "few", agents=FEW)
    signer, number = register_signer(prepared), round(bench.seconds * PROOFS_PER_SECOND)
    chosen = [partial(servers.ours, prepared)]
    for name, with_proof in ((servers.SIGNING, False), (servers.SIGNING_AND_PROVING, True)):
        lines = partial(signer.lines, number, with_proof=with_proof)
        chosen.append(partial(servers.ours_signing, prepared, name, lines))
    _measure(bench, report, chosen, algorithm=names.ES256)
    plain = report.find(servers.OURS)
    for name, least in ((servers.SIGNING, -math.inf), (servers.SIGNING_AND_PROVING, 0.45)):
        mine = report.find(name)
        if mine is not None and plain is not None:
            ratio = paired(mine, plain, lambda one: one.rate)
            what = f"{name.partition(', ')[2]} / a secret, rate"
            report.add([Row(name=what, value=ratio, unit="x", at_least=least)])
    return report


def database(bench: Bench) -> Report:
    """The store in PostgreSQL, which shares the load's core, beside the store in a file."""
    report = Report("database: ES256, the store in PostgreSQL beside the store in a file")
    if find_programs() is None:
        report.missing.append("PostgreSQL")
        return report
    few, moved = (prepare(bench.scratch / name, agents=FEW) for name in ("few", "moved"))
    with PostgresServer() as server:
        os.sched_setaffinity(server.pid, {LOAD_CORE})
        server.sql("CREATE DATABASE bench")
        if (moved.data / STORE_FILE).exists():
            asyncio.run(move_to_database(moved.data, server.url("bench")))
        for connections in (32, 128):
            of_file = partial(servers.ours, few, connections=connections)
            of_database = partial(servers.ours_elsewhere, moved, connections=connections)
            _measure(bench, report, [of_file, of_database], algorithm=names.ES256)
            mine = report.find(servers.ON_DATABASE, connections)
            other = report.find(servers.OURS, connections)
            if mine is not None and other is not None:
                ratio = paired(mine, other, lambda one: one.rate)
                name = f"in PostgreSQL / in a file, rate at {connections} connections"
                report.add([Row(name=name, value=ratio, unit="x", at_least=0.5)])
        events = float(server.sql("SELECT count(*) FROM watchword.audit", "bench"))
        report.add([Row(name="events in the database", value=events, unit="", at_least=100)])
    return report


def jwks(bench: Bench) -> Report:
    """The key set, beside nginx that sends the same bytes from a file."""
    report = Report("jwks: GET, 32 connections")
    prepared = prepare(bench.scratch / "few", agents=FEW)
    noop = servers.ours_altered(prepared, "no-op", servers.NO_OP)
    mine = servers.ours(Prepared(prepared.data, ()))
    key_set = Server(name=servers.OURS, argv=mine.argv, path=servers.JWKS_PATH, body="")
    bare = Server(name=servers.NO_OP, argv=noop.argv, env=noop.env, path=servers.JWKS_PATH, body="")
    with running(bench, key_set) as target:
        document = servers.ask(target)
    _measure(bench, report, [lambda: key_set, partial(servers.nginx, bench, document), lambda: bare])
    found = report.find(servers.OURS)
    if found is not None:
        report.add(_beside(report, found, servers.NGINX, 0.5))
        report.add(_beside(report, found, servers.NO_OP, None))
    return report


def verify(bench: Bench) -> Report:
    """Accepting tokens at a protected API, beside the bare verification and PyJWT."""
    report = Report("verify: ES256, in process")
    costs = _in_process(bench.rounds)

    def ratio(other: str, mine: str) -> float:
        return statistics.median(a / b for a, b in zip(costs[other], costs[mine], strict=True))

    report.add(Row(name=name, value=statistics.median(each), unit="us") for name, each in costs.items())
    report.add(
        [
            Row(
                name="first-sight / bare verification rate",
                value=ratio("raw ES256 verification", "first sight"),
                unit="x",
                at_least=0.9,
            ),
            Row(name="first-sight / PyJWT decode rate", value=ratio("PyJWT decode", "first sight"), unit="x"),
            Row(
                name="cached (blocking, as PyJWT) / PyJWT decode rate",
                value=ratio("PyJWT decode", "cached, blocking"),
                unit="x",
                at_least=80,
            ),
        ]
    )
    return report


def growth(bench: Bench) -> Report:
    """The cost of a token with many registered agents beside few, no lookup answered from memory."""
    many = MANY if bench.rounds > 3 else MANY_QUICKLY
    report = Report(f"growth: {many:,} agents beside {FEW}, every lookup uncached")
    kind = f"scattered-{MIGRATIONS[-1].checksum[:12]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    stores = {
        f"{FEW} agents": prepare(bench.scratch / "few-asking", agents=FEW, asked=FEW),
        f"{many:,} agents": prepare(CACHE / f"agents-{many}-{kind}", agents=many, asked=ASKING),
    }
    _measure(
        bench, report, [partial(servers.ours_altered, prepared, "uncached", name) for name, prepared in stores.items()]
    )
    few, lot = (report.find(name) for name in stores)
    if few is not None and lot is not None:
        ratio = paired(lot, few, lambda one: one.cpu_us)
        report.add([Row(name=f"CPU per token, {lot.name} / {few.name}", value=ratio, unit="x", at_most=1.05)])
    return report


def process(bench: Bench) -> Report:
    """Memory of one worker after load, and the time from its start to its first answer."""
    report = Report("process: one worker")
    prepared = prepare(bench.scratch / "few", agents=FEW)
    server = servers.ours(prepared)
    seconds = [_start(bench, server) for _ in range(min(_STARTS, bench.rounds))]
    _measure(bench, report, [lambda: server])
    report.add([Row(name="start to ready", value=statistics.median(seconds), unit="s", at_most=1.5)])
    found = report.find(servers.OURS)
    if found is not None:
        report.add(
            [
                Row(name="resident memory of the worker after load", value=found.rss_worker, unit="MiB", at_most=90),
                Row(name="  supervisor and worker, shared pages counted once", value=found.pss, unit="MiB"),
            ]
        )
    return report


SECTIONS: Final[Mapping[str, Callable[[Bench], Report]]] = {
    "tokens": tokens,
    "authgent": authgent,
    "rs256": rs256,
    "audit": audit,
    "dpop": dpop,
    "private_key_jwt": private_key_jwt,
    "mutual_tls": mutual_tls,
    "database": database,
    "jwks": jwks,
    "verify": verify,
    "growth": growth,
    "process": process,
    "feed": feed,
    "rotation": rotation,
    "custody": custody,
    "overload": overload,
    "workers": workers,
}


def _measure(bench: Bench, report: Report, chosen: Sequence[Callable[[], Server]], *, algorithm: str = "") -> None:
    """Start what can be started, let it take turns, and add what was measured; one that is missing is named."""
    with ExitStack() as stack:
        targets: list[Target] = []
        for make in chosen:
            try:
                target = stack.enter_context(running(bench, make()))
            except MissingProgram as missing:
                report.missing.append(str(missing))
                continue
            if target.name == servers.AUTHGENT_SERVER:
                target = servers.register_at_authgent(target)
            if algorithm and target.name != servers.NO_OP:
                _check_token(target, algorithm)
            targets.append(target)
        found = take_turns(targets, rounds=bench.rounds, seconds=bench.seconds, scratch=bench.scratch)
    report.measured += found
    report.add(
        Row(name=f"failures of {one.name}", value=one.failures, at_most=0, note="its rate means nothing")
        for one in found
        if one.failures
    )


def _check_token(target: Target, algorithm: str) -> None:
    header, claims = decode_token(target)
    if header["alg"] != algorithm or not {"exp", "iat", "sub"} <= claims.keys():
        raise RuntimeError(f"{target.name} answers with another kind of token: {header} {claims}")


def _beside(report: Report, mine: Measured, name: str, least: float | None) -> list[Row]:
    other = report.find(name)
    if other is None:
        return []
    rate, cpu = paired(mine, other, lambda one: one.rate), paired(mine, other, lambda one: one.cpu_us)
    demand = {} if least is None else {"at_least": least}
    return [
        Row(name=f"rate / {name}", value=rate, unit="x", note=f"(CPU per request {cpu:.3f}x)", **demand),
    ]


def _other_store(bench: Bench) -> Prepared:
    """Both revisions are given a store of the same content, since only one may have a newer schema's."""
    return prepare(bench.scratch / "few-other", agents=FEW)


def _in_process(rounds: int) -> dict[str, list[float]]:
    command = pinned(SERVER_CORE, [sys.executable, "-m", "bench.in_process", str(rounds)])
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    costs: dict[str, list[float]] = json.loads(done.stdout)
    return costs


def _start(bench: Bench, server: Server) -> float:
    """Return the seconds from the start of the process to its first accepted connection on the public listener."""
    port = free_port()
    began = time.monotonic()
    child = Child(server.argv(port), env=server.env(port), cwd=bench.scratch, log=bench.scratch / "start.log")
    try:
        child.wait_for(port)
        return time.monotonic() - began
    finally:
        child.stop()
