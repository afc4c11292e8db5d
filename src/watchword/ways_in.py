"""Who is let in and for what: the client-authentication methods, the ways to prove a key, and the grants that are on.

A new one is a file of its own and one line here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from watchword.protocol import names
from watchword.protocol.dpop_nonces import Nonces
from watchword.server.authentication import AuthenticationMethod, ClientAuthenticator
from watchword.server.authentication.certificate_signers import CertificateSigners
from watchword.server.authentication.challenge import ChallengeResponse
from watchword.server.authentication.client_secret import ClientSecretBasic, ClientSecretPost
from watchword.server.authentication.federated import federated_methods
from watchword.server.authentication.private_key_jwt import PrivateKeyJwt
from watchword.server.authentication.registered_keys import RegisteredKeys
from watchword.server.authentication.tls_client import TlsClient
from watchword.server.binding import Binder, Possession
from watchword.server.certificates import Certificates
from watchword.server.federation import Federation
from watchword.server.grants import Grants
from watchword.server.grants.client_credentials import CLIENT_CREDENTIALS
from watchword.server.grants.jwt_bearer import JWT_BEARER
from watchword.server.possession.certificate import CertificatePossession
from watchword.server.possession.dpop import DpopPossession, DpopRules
from watchword.server.registrations import Registrations
from watchword.server.single_use import SingleUse

if TYPE_CHECKING:
    from watchword.compose import Core


def build_clients(core: Core) -> ClientAuthenticator:
    """Name the client-authentication methods that are on."""
    pepper, profile = core.peppers.client_secret, core.profile
    single_use, keys = SingleUse(core.replay), RegisteredKeys(core.foreign_keys)
    signers = CertificateSigners(Certificates() if core.mutual_tls is None else core.mutual_tls.certificates)
    methods: tuple[AuthenticationMethod, ...] = (PrivateKeyJwt(core.issuer, single_use, keys, profile),)
    if profile.admits_other_ways:
        methods += (
            ChallengeResponse(core.issuer, core.challenge_key, single_use, keys, signers, profile),
            *federated_methods(Federation(core.issuer, core.store, core.foreign_keys, single_use)),
            ClientSecretBasic(pepper),
            ClientSecretPost(pepper),
        )
    if core.mutual_tls is not None:
        methods += (TlsClient(core.mutual_tls.certificates),)
    return ClientAuthenticator(methods, core.store, Registrations(core.store), core.credential_rules)


def build_binder(
    core: Core,
    nonces: Nonces,
    dpop: DpopRules,
    *,
    paths: tuple[str, ...] = (names.PATH_TOKEN,),
    is_demanded: bool | None = None,
) -> Binder:
    """Name the ways to prove that one holds a key, at the endpoints at these paths; who must, the profile says unless told."""
    mutual_tls = core.mutual_tls
    bases = (core.issuer, *([mutual_tls.url] if mutual_tls and mutual_tls.url else []))
    endpoints = tuple(base + path for base in bases for path in paths)
    rules = replace(dpop, algorithms=core.profile.proof_algorithms)
    possessions: tuple[Possession, ...] = (DpopPossession(endpoints, SingleUse(core.replay), nonces, rules),)
    if mutual_tls is not None:
        possessions += (CertificatePossession(mutual_tls.certificates),)
    return Binder(
        possessions, is_demanded=core.profile.demands_sender_constraint if is_demanded is None else is_demanded
    )


def build_grants() -> Grants:
    """Name the grants that are on."""
    return Grants((CLIENT_CREDENTIALS, JWT_BEARER))
