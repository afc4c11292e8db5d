"""Settings in, a running server out: one process, or a supervisor and its workers on one store."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from watchword import __version__
from watchword.adapters.data_directory import in_use
from watchword.adapters.metrics import Metrics
from watchword.asgi.app import OAuthApp
from watchword.asgi.board import Board
from watchword.asgi.bounds import Bounds
from watchword.asgi.late import LateApp
from watchword.asgi.listeners import TICK_SECONDS, Listener, Orders
from watchword.asgi.listeners import serve as serve_listeners
from watchword.asgi.peer import Proxies
from watchword.asgi.probes import Check, build_probes
from watchword.asgi.workers import Seat, Supervisor
from watchword.compose import (
    Core,
    build_admin,
    build_app,
    build_jobs,
    open_core,
)
from watchword.custodies import sign_with_each_key
from watchword.doors import BoundAddresses, Doors, log_ready, open_doors
from watchword.errors import Fault
from watchword.feeding import build_feeding
from watchword.fetching import open_foreign_keys
from watchword.operations.operators import OperatorTokens
from watchword.ports.store import TellsEpochAtOnce
from watchword.protocol.certificate_header import Dialect
from watchword.server.key_watch import watching_keys
from watchword.server.limits import RequestLimits
from watchword.server.nodes import summary
from watchword.server.offices import Attendance
from watchword.server.replay import CountedReplay
from watchword.server.security_profile import check_resources
from watchword.server.uses import written
from watchword.settings import ServerSettings
from watchword.sharing import build_dpop, build_limits, open_cache, open_replay
from watchword.stores import tell_schema
from watchword.ways_in import build_clients, build_grants

NewLoop = Callable[[], asyncio.AbstractEventLoop]

_STALLED_SECONDS = 3.0
_PUBLISH_EVERY = round(1 / TICK_SECONDS)


async def serve(settings: ServerSettings, *, ready: Callable[[BoundAddresses], None]) -> None:
    """Serve in this process until SIGTERM or SIGINT. ``ready`` is called once all listeners accept.

    Raises:
        BadSettings: an address is occupied or open to others over plain HTTP, a certificate cannot be read.
        MasterKeyError, StoreUnavailable
    """
    doors = open_doors(settings)
    addresses = doors.addresses(settings.issuer)

    def announce() -> None:
        log_ready(addresses, 1)
        ready(addresses)

    await _work(settings, doors, _Desk(Board(1), 0), announce, _orders(settings, doors))


def supervise(settings: ServerSettings, *, new_loop: NewLoop) -> None:
    """Serve in ``settings.workers`` processes beside this one until SIGTERM or SIGINT. Call it where nothing runs yet.

    Raises:
        BadSettings, MasterKeyError, StoreUnavailable: as ``serve``.
        Fault: worker.ended
    """
    doors = open_doors(settings)
    board = Board(settings.workers)

    def work(seat: Seat) -> None:
        orders = replace(_orders(settings, doors), signals=(signal.SIGTERM,), lifeline=seat.lifeline)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(_work(settings, doors, _Desk(board, seat.place), seat.ready, orders))

    Supervisor(
        work,
        settings.workers,
        sockets=doors.sockets,
        drain_seconds=settings.drain_timeout,
        lost=lambda place: board.beat(place, 0),
        ready=lambda: log_ready(doors.addresses(settings.issuer), settings.workers),
    ).run()


def _orders(settings: ServerSettings, doors: Doors) -> Orders:
    bounds = Bounds(
        connections=settings.max_connections,
        header_timeout=settings.header_timeout,
        body_timeout=settings.body_timeout,
        keep_alive_timeout=settings.keep_alive_timeout,
    )
    watched = () if doors.authorities is None else (doors.authorities,)
    return Orders(bounds=bounds, drain_seconds=settings.drain_timeout, watched=watched)


class _Desk:
    """A worker's place on the board: what it shows of itself, what it sees of the others."""

    def __init__(self, board: Board, place: int) -> None:
        self._board = board
        self._place = place
        self._turns = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the worker that speaks for all of them."""
        return self._place == 0

    def sit_down(self, metrics: Metrics) -> None:
        """Count on from what the one before had counted."""
        self._metrics = metrics
        metrics.go_on_from(self._board.read(self._place))

    def turn(self, connections: int) -> None:
        """Show that this worker lives and, once a second, what it has counted."""
        self._board.beat(self._place, time.monotonic())
        self._metrics.show_connections(connections)
        if self._turns % _PUBLISH_EVERY == 0:
            self._board.publish(self._place, self._metrics.dump())
        self._turns += 1

    def render(self) -> tuple[bytes, str]:
        """Return the metrics of all; what was shown to anyone is never taken back, so counters only grow."""
        self._board.publish(self._place, self._metrics.dump())
        others = [place for place in range(self._board.places) if place != self._place]
        return self._metrics.render(map(self._board.read, others))

    async def check(self) -> None:
        """Return if every worker has taken a turn lately.

        Raises:
            Fault: worker.away
        """
        now = time.monotonic()
        if any(now - self._board.last_beat(place) > _STALLED_SECONDS for place in range(self._board.places)):
            raise Fault("worker.away")


async def _work(settings: ServerSettings, doors: Doors, desk: _Desk, ready: Callable[[], None], orders: Orders) -> None:
    """Serve in this process until told to stop."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(in_use(settings.data))
        core = await stack.enter_async_context(open_core(settings))
        await check_resources(core.store, core.profile)
        await stack.enter_async_context(written(core.uses, core.store, core.clock, doors.node.id))
        if desk.is_first:
            await tell_schema(core.store)
        core = replace(core, mutual_tls=doors.mutual_tls(settings))
        metrics = Metrics(__version__, grants=build_grants().names, methods=build_clients(core).method_names)
        desk.sit_down(metrics)
        core.signer.watch(metrics.custodies)
        cache = await stack.enter_async_context(open_cache(settings, metrics.show_cache))
        replay = await stack.enter_async_context(open_replay(settings, cache, core.store))
        foreign_keys = await stack.enter_async_context(open_foreign_keys(settings, metrics.count_foreign_failure))
        core = replace(core, replay=CountedReplay(replay, metrics.count_claim), foreign_keys=foreign_keys)
        limits = build_limits(settings.limits, metrics.count_limited, cache=cache, issuer=settings.issuer)
        checks: dict[str, Check] = {
            "store": core.store.check,
            "replay": replay.check,
            "signer": partial(sign_with_each_key, core.store, core.signer),
            "workers": desk.check,
        }
        public = _build_public(settings, core, metrics, limits, doors)
        version = core.store.epoch_now if isinstance(core.store, TellsEpochAtOnce) else None
        probes = build_probes(checks, desk.render, lambda: summary(core.store, now=core.clock()))
        listeners = [
            Listener(public, doors.public, doors.certificate, version=version, refusal=public.refusal),
            Listener(probes, doors.management),
        ]
        if doors.mutual is not None:
            listeners.append(
                Listener(public, doors.mutual, doors.mutual_certificate, version=version, refusal=public.refusal)
            )
        if desk.is_first:
            node = Attendance(
                core.store, doors.node, build_jobs(core, metrics.credentials), clock=core.clock, witness=metrics.witness
            )
            await stack.enter_async_context(node.attend())
            watching = watching_keys(core.store, core.key_times, clock=core.clock, witness=metrics.keys)
            await stack.enter_async_context(watching)
        await serve_listeners(
            listeners,
            ready=ready,
            orders=replace(orders, tick=desk.turn, count_refused=metrics.count_refused, leaving=public.leave),
        )
        desk.turn(0)


def _build_public(
    settings: ServerSettings, core: Core, metrics: Metrics, limits: RequestLimits, doors: Doors
) -> OAuthApp:
    hosts, observers = doors.hosts(settings), (metrics.observe,)
    trusted = tuple(ipaddress.ip_network(network) for network in settings.trusted_proxies)
    header = settings.client_certificate_header
    operators = OperatorTokens(core.store, core.clock, core.peppers.operator_token)
    return build_app(
        core,
        hosts=hosts,
        limits=limits,
        proxies=Proxies(trusted, None if header == "none" else Dialect(header)),
        with_authorization_endpoint=settings.metadata_authorization_endpoint,
        observers=observers,
        dpop=build_dpop(settings),
        feeding=build_feeding(settings, metrics.feed),
        admin=LateApp(
            partial(
                build_admin,
                core,
                operators,
                hosts=hosts,
                trusted_proxies=trusted,
                limits=limits,
                observers=observers,
            )
        ),
    )
