"""How the server asks others: for the keys that they publish. Where it may go, the settings say."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from watchword.adapters.outbound import OutboundTransport
from watchword.adapters.outbound_guard import Guard
from watchword.ports.foreign_keys import ForeignKeys, KeySource
from watchword.protocol.egress import EgressRules
from watchword.protocol.foreign_keys import MAX_DOCUMENT
from watchword.server.foreign_keys import PATIENCE, FetchedForeignKeys, name_source
from watchword.settings import ServerSettings

log = structlog.get_logger("watchword.server")


def egress_rules(settings: ServerSettings) -> EgressRules:
    """Return where this server may be led by an address that others wrote down."""
    networks = tuple(ipaddress.ip_network(network) for network in settings.outbound_networks)
    return EgressRules(networks, frozenset(settings.outbound_ports))


@asynccontextmanager
async def open_foreign_keys(
    settings: ServerSettings, count: Callable[[str], None] = lambda _reason: None
) -> AsyncIterator[ForeignKeys]:
    """Give the keys of others: nothing is asked before somebody needs one. ``count`` is told each failure's reason."""

    def observe(source: KeySource, reason: str) -> None:
        count(reason)
        log.warning("foreign_keys_failed", source=name_source(source), reason=reason)

    transport = OutboundTransport(
        connect_timeout=PATIENCE,
        total_timeout=PATIENCE,
        max_size=MAX_DOCUMENT,
        guard=Guard(egress_rules(settings), settings.outbound_ca_file),
    )
    keys = FetchedForeignKeys(transport, observe=observe)
    try:
        yield keys
    finally:
        await keys.aclose()
        transport.close()
