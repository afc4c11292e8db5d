"""The revocation feed, put together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from watchword.asgi.feed import FeedEndpoint, FeedParts
from watchword.asgi.overload import Slots
from watchword.asgi.peer import Proxies, read_peer
from watchword.resource.credentials import IncomingRequest
from watchword.resource.dpop import DpopRules as ResourceDpopRules
from watchword.resource.dpop import ProofCheck
from watchword.resource.possession import Possession
from watchword.server.audit import Audit
from watchword.server.feed import Feed, FeedRules, SilentWitness, Witness
from watchword.server.feed_access import FeedAccess
from watchword.server.feed_events import EventSigner
from watchword.server.limits import RequestLimits
from watchword.server.possession.dpop import DpopRules
from watchword.server.registrations import Registrations
from watchword.server.revocations import LiveRevocations
from watchword.server.signing_keys import SigningKeys
from watchword.settings import ServerSettings

if TYPE_CHECKING:
    from watchword.compose import Core


@dataclass(frozen=True, slots=True)
class Feeding:
    """How the feed is served, and who is told what happens to it."""

    rules: FeedRules = FeedRules()  # noqa: RUF009 -- frozen
    witness: Witness = SilentWitness()  # noqa: RUF009 -- it has no state


def build_feeding(settings: ServerSettings, witness: Witness) -> Feeding:
    """Say how the feed is served."""
    rules = FeedRules(
        heartbeat=timedelta(seconds=settings.feed_heartbeat),
        readers=settings.feed_connections,
        readers_per_agent=settings.feed_connections_per_agent,
    )
    return Feeding(rules, witness)


@dataclass(frozen=True, slots=True)
class _PeersCertificate:
    """The certificate of a request's peer, as it is judged everywhere on this server."""

    proxies: Proxies

    def find(self, request: IncomingRequest) -> bytes:
        """Return it, DER; empty where none was shown."""
        if not isinstance(request, dict):
            return b""
        return read_peer(request, tuple(request["headers"]), self.proxies).certificate


def build_feed(
    core: Core,
    feeding: Feeding,
    *,
    audit: Audit,
    keys: SigningKeys,
    revocations: LiveRevocations,
    limits: RequestLimits,
    slots: Slots,
    hosts: frozenset[str],
    proxies: Proxies,
    dpop: DpopRules,
) -> FeedEndpoint:
    """Return the endpoint of the feed."""
    access = FeedAccess(core.issuer, keys, Registrations(core.store), revocations)
    signer = EventSigner(core.issuer, core.default_algorithm, keys, core.signer)
    feed = Feed(core.store, signer, access, core.clock, feeding.rules, feeding.witness)
    possession = _build_possession(core, proxies, dpop)
    return FeedEndpoint(
        FeedParts(feed=feed, possession=possession, audit=audit, limits=limits, slots=slots, hosts=hosts)
    )


def _build_possession(core: Core, proxies: Proxies, dpop: DpopRules) -> Possession:
    """Say how a token that is bound to a key is taken here: as an API of ours would, that shares this server's memory."""
    rules = ResourceDpopRules(
        max_age=dpop.max_age,
        leeway=dpop.leeway,
        algorithms=core.profile.proof_algorithms,
        demand_nonce=dpop.demand_nonce,
        nonce_key=core.dpop_nonce_key,
        replay=core.replay,
    )
    return Possession(
        proofs=ProofCheck(_origin(core.issuer), rules, core.clock),
        is_required=core.profile.demands_sender_constraint,
        certificates=_PeersCertificate(proxies) if core.mutual_tls is not None else None,
    )


def _origin(issuer: str) -> str:
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}"
