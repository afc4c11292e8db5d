"""The one file that knows every part: settings and a data directory in, the applications out. A new part is one line here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from watchword.adapters.local_user import local_user
from watchword.adapters.master_key import MasterKey
from watchword.asgi.app import OAuthApp, OAuthParts
from watchword.asgi.messages import App
from watchword.asgi.overload import oauth_slots
from watchword.asgi.peer import Network, Proxies
from watchword.clock import Clock, system_clock
from watchword.config import load_settings
from watchword.custodies import check_master_key, local_custody, open_custodies
from watchword.errors import MasterKeyError, NoSigningKey
from watchword.feeding import Feeding, build_feed
from watchword.fetching import open_foreign_keys
from watchword.judging import build_judging
from watchword.listing import build_status_lists, build_status_places, read_status_rules
from watchword.operations.context import ANONYMOUS, OperationContext, Peppers, Principal
from watchword.operations.key_rotation import RenewSigningKeys, renew_signing_keys
from watchword.operations.operators import LocalOperator
from watchword.operations.own_credentials import OwnCredentials
from watchword.operations.store_identity import claim_issuer
from watchword.ports.agents import Role
from watchword.ports.foreign_keys import ForeignKeys, NoForeignKeys
from watchword.ports.replay import NoReplay, Replay
from watchword.ports.store import Store
from watchword.protocol import names
from watchword.protocol.dpop_nonces import Nonces
from watchword.sealing import find_master_key
from watchword.server.audit import Audit, Observer
from watchword.server.authentication import ClientAuthenticator
from watchword.server.caller import Callers
from watchword.server.certificates import Certificates
from watchword.server.challenge_endpoint import ChallengeEndpoint
from watchword.server.credential_ends import ENDING
from watchword.server.credential_rules import NO_RULES, CredentialRules
from watchword.server.credential_warnings import CredentialWarnings, CredentialWitness
from watchword.server.custody import Custodies
from watchword.server.grants import Grants
from watchword.server.key_rotation import KeyRotation
from watchword.server.key_schedule import DEFAULT_TIMES, KeyTimes
from watchword.server.limits import RequestLimits
from watchword.server.metadata import Metadata
from watchword.server.minting import Minter
from watchword.server.nodes import Forgetting
from watchword.server.offices import Job
from watchword.server.possession.dpop import DpopRules
from watchword.server.revocations import PRUNING, LiveRevocations
from watchword.server.security_profile import DEFAULT, PROFILES, SecurityProfile
from watchword.server.signing_keys import SigningKeys
from watchword.server.status_lists import StatusRules
from watchword.server.token_endpoint import TokenEndpoint
from watchword.server.uses import Uses
from watchword.settings import ServerSettings
from watchword.stores import check_place, open_store
from watchword.ways_in import build_binder, build_clients, build_grants

if TYPE_CHECKING:
    from watchword.asgi.admin_gate import Authenticate

MASTER_KEY_FILE = "master.key"
NO_PROXIES = Proxies()


@dataclass(frozen=True, slots=True, kw_only=True)
class MutualTls:
    """That clients can show certificates, who vouches for them, and the URL where they do, if it is not the issuer."""

    certificates: Certificates
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What every face of the server works on. Only who serves has a memory of what was presented, and asks others for keys."""

    issuer: str
    store: Store
    signer: Custodies
    peppers: Peppers
    cursor_key: bytes = field(repr=False)
    dpop_nonce_key: bytes = field(repr=False)
    challenge_key: bytes = field(repr=False)
    default_algorithm: str = names.ES256
    key_times: KeyTimes = DEFAULT_TIMES
    clock: Clock = system_clock
    replay: Replay = field(default_factory=NoReplay)
    foreign_keys: ForeignKeys = field(default_factory=NoForeignKeys)
    profile: SecurityProfile = DEFAULT
    mutual_tls: MutualTls | None = None
    uses: Uses = field(default_factory=Uses)
    credential_rules: CredentialRules = NO_RULES
    status_lists: StatusRules | None = None


def build_core(
    issuer: str, store: Store, master: MasterKey, *, clock: Clock = system_clock, signer: Custodies | None = None
) -> Core:
    """Derive everything that hangs on the master key. ``signer``: whoever holds keys, if not this process alone."""
    return Core(
        issuer=issuer,
        store=store,
        signer=signer or local_custody(master),
        peppers=Peppers(master.derive("client-secret-pepper"), master.derive("operator-token-pepper")),
        cursor_key=master.derive("cursor"),
        challenge_key=master.derive("challenge"),
        dpop_nonce_key=master.derive("dpop-nonce"),
        clock=clock,
    )


def local_context(core: Core) -> OperationContext:
    """Return the context of who has the store's own files in hand: actor ``local:<user>``."""
    return OperationContext(
        store=core.store,
        clock=core.clock,
        issuer=core.issuer,
        peppers=core.peppers,
        signer=core.signer,
        default_algorithm=core.default_algorithm,
        signing_algorithms=core.profile.signing_algorithms,
        key_times=core.key_times,
        principal=Principal(f"local:{local_user()}", Role.ADMIN),
    )


def anonymous_context(core: Core) -> OperationContext:
    """Return the context of what an agent does for itself: it has no role."""
    return replace(local_context(core), principal=ANONYMOUS, foreign_keys=core.foreign_keys)


def build_jobs(core: Core, witness: CredentialWitness | None = None) -> tuple[Job, ...]:
    """Name what one node does again and again for all."""
    warnings = CredentialWarnings(core.credential_rules, witness)
    return (Forgetting().job, PRUNING, ENDING, *warnings.jobs, KeyRotation(core.signer, core.key_times).job)


def build_app(
    core: Core,
    *,
    hosts: frozenset[str],
    limits: RequestLimits,
    proxies: Proxies = NO_PROXIES,
    with_authorization_endpoint: bool = True,
    observers: tuple[Observer, ...] = (),
    admin: App | None = None,
    dpop: DpopRules = DpopRules(),  # noqa: B008 -- frozen
    feeding: Feeding = Feeding(),  # noqa: B008 -- frozen
) -> OAuthApp:
    """Return the application of the public listener: the OAuth endpoints, and the admin API where one is given."""
    clients, grants, keys = build_clients(core), build_grants(), SigningKeys(core.store)
    revocations = LiveRevocations(core.store, core.clock)
    minter = Minter(core.issuer, keys, core.signer, revocations, build_status_places(core))
    audit = Audit(core.store, core.clock, observers)
    nonces = Nonces(core.dpop_nonce_key, core.issuer, dpop.nodes_differ)
    binder = build_binder(core, nonces, dpop)
    callers = Callers(limits, clients, hosts)
    feed = partial(build_feed, core, feeding, audit=audit, keys=keys, revocations=revocations, limits=limits)
    introspection, revocation = build_judging(
        core, callers, audit=audit, keys=keys, revocations=revocations, nonces=nonces, dpop=dpop
    )
    slots = oauth_slots(limits.numbers.concurrent_requests, core.store, core.clock, limits.observe)
    return OAuthApp(
        OAuthParts(
            issuer=core.issuer,
            hosts=hosts,
            proxies=proxies,
            slots=slots,
            token=TokenEndpoint(audit, limits, clients, binder, grants, minter, hosts, core.uses),
            nonces=nonces,
            challenges=ChallengeEndpoint(core.issuer, core.challenge_key, audit, limits, hosts),
            introspection=introspection,
            revocation=revocation,
            feed=feed(slots=slots, hosts=hosts, proxies=proxies, dpop=dpop),
            own_credentials=OwnCredentials(anonymous_context(core), audit, limits, clients, hosts, core.uses),
            keys=keys,
            jwks_max_age=int(core.key_times.max_age.total_seconds()),
            status_lists=build_status_lists(core, keys),
            metadata=_build_metadata(core, clients, grants, with_authorization_endpoint=with_authorization_endpoint),
            with_authorization_endpoint=with_authorization_endpoint,
            admin=admin,
            clock=core.clock,
        )
    )


def _build_metadata(
    core: Core, clients: ClientAuthenticator, grants: Grants, *, with_authorization_endpoint: bool
) -> Metadata:
    return Metadata(
        core.store,
        core.issuer,
        clients=clients,
        grants=grants,
        profile=core.profile,
        with_authorization_endpoint=with_authorization_endpoint,
        binds_to_certificates=core.mutual_tls is not None,
        mtls_url=core.mutual_tls.url if core.mutual_tls else "",
        default_algorithm=core.default_algorithm,
        with_status_lists=core.status_lists is not None,
    )


def build_admin(
    core: Core,
    authenticate: Authenticate,
    *,
    hosts: frozenset[str] | None = None,
    trusted_proxies: tuple[Network, ...] = (),
    limits: RequestLimits | None = None,
    observers: tuple[Observer, ...] = (),
) -> App:
    """Return the admin API for whoever ``authenticate`` lets in; behind a listener, with the limits of all endpoints.

    What it is built with is heavy, and imported here.
    """
    from watchword.asgi.admin import build_admin_app

    return build_admin_app(
        store=core.store,
        signer=core.signer,
        clock=core.clock,
        issuer=core.issuer,
        peppers=core.peppers,
        cursor_key=core.cursor_key,
        default_algorithm=core.default_algorithm,
        signing_algorithms=core.profile.signing_algorithms,
        key_times=core.key_times,
        authenticate=authenticate,
        hosts=hosts,
        trusted_proxies=trusted_proxies,
        limits=limits,
        observers=observers,
        foreign_keys=core.foreign_keys,
    )


@asynccontextmanager
async def open_core(settings: ServerSettings) -> AsyncIterator[Core]:
    """Open the store of a data directory and everything that hangs on its master key.

    Raises:
        MasterKeyError: it cannot be used, or is not the one of this store: nothing hashed or sealed under it would be right.
        BadSettings: store.wrong_issuer, store.copy, and those of ``open_store``.
        StoreUnavailable
    """
    master = find_master_key(settings)
    with open_custodies(settings, master) as custodies:
        store = await open_store(settings)
        try:
            await check_place(settings)
            yield await _open_core(settings, store, master, custodies)
        finally:
            await store.close()


async def _open_core(settings: ServerSettings, store: Store, master: MasterKey, custodies: Custodies) -> Core:
    core = replace(
        build_core(settings.issuer, store, master, signer=custodies),
        default_algorithm=settings.signing_algorithm,
        profile=PROFILES[settings.security_profile],
        key_times=KeyTimes(period=timedelta(seconds=settings.signing_key_period)),
        credential_rules=settings.credential_rules,
        status_lists=read_status_rules(settings),
    )
    await claim_issuer(local_context(core), place=str(settings.data))
    try:
        await check_master_key(store, custodies)
    except NoSigningKey as error:
        detail = f"this is not the master key that the store in {settings.data} was made with ({error.detail})"
        raise MasterKeyError("master_key.wrong", detail=detail) from error
    await renew_signing_keys(local_context(core), RenewSigningKeys())
    return core


@asynccontextmanager
async def open_local_admin(data: Path) -> AsyncIterator[App]:
    """Give the admin API on a local store, in this process, to whoever can read its files: actor ``local:<user>``."""
    settings = load_settings({"data": data}).settings
    async with open_core(settings) as core, open_foreign_keys(settings) as keys:
        yield build_admin(replace(core, foreign_keys=keys), LocalOperator(local_user()))
