"""How strict the whole server is: as it comes, or by the FAPI 2.0 Security Profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from watchword.errors import BadSettings
from watchword.ports.agents import AgentStore
from watchword.protocol import client_assertion, names
from watchword.protocol.dpop import PROOF_ALGORITHMS
from watchword.protocol.jose import LEGACY_EDDSA

_PAGE: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityProfile:
    """What differs. ``admits_other_ways``: others than ``private_key_jwt`` and mutual TLS.

    ``assertion_algorithms`` and ``proof_algorithms`` (DPoP) are those that are accepted of every client;
    ``named_...`` are those of them that the metadata names.

    ``signing_algorithms`` are those that tokens may be signed with. ``demands_plain_audience``: an audience is a string, not an
    array of one. ``grants_concessions``: single agents may be allowed what is refused of others.
    """

    name: str
    admits_other_ways: bool
    assertion_algorithms: frozenset[str]
    named_algorithms: tuple[str, ...]
    proof_algorithms: frozenset[str]
    named_proof_algorithms: tuple[str, ...]
    signing_algorithms: frozenset[str]
    longest_assertion: timedelta
    demands_plain_audience: bool
    demands_sender_constraint: bool
    grants_concessions: bool


DEFAULT: Final = SecurityProfile(
    name="default",
    admits_other_ways=True,
    assertion_algorithms=client_assertion.ALGORITHMS,
    named_algorithms=names.SIGNING_ALGORITHMS,
    proof_algorithms=PROOF_ALGORITHMS,
    named_proof_algorithms=tuple(sorted(PROOF_ALGORITHMS)),
    signing_algorithms=frozenset(names.SIGNING_ALGORITHMS),
    longest_assertion=client_assertion.LONGEST_LIFETIME,
    demands_plain_audience=False,
    demands_sender_constraint=False,
    grants_concessions=True,
)

FAPI2: Final = SecurityProfile(
    name="fapi2",
    admits_other_ways=False,
    assertion_algorithms=frozenset({names.ES256, names.PS256, names.ED25519, LEGACY_EDDSA}),
    named_algorithms=(names.ES256, LEGACY_EDDSA, names.PS256),
    proof_algorithms=frozenset({names.ES256, names.PS256, names.ED25519, LEGACY_EDDSA}),
    named_proof_algorithms=(names.ES256, LEGACY_EDDSA, names.PS256),
    signing_algorithms=frozenset({names.ES256, names.PS256, names.ED25519}),
    longest_assertion=timedelta(minutes=2),
    demands_plain_audience=True,
    demands_sender_constraint=True,
    grants_concessions=False,
)
"""FAPI 2.0 Security Profile, §5.3.2 and §5.4. It says EdDSA, and means Ed25519."""

PROFILES: Final[Mapping[str, SecurityProfile]] = MappingProxyType({one.name: one for one in (DEFAULT, FAPI2)})


async def check_resources(store: AgentStore, profile: SecurityProfile) -> None:
    """Return if no resource has its tokens signed in a way that the profile excludes; asked before serving.

    Raises:
        BadSettings: settings.security_profile
        StoreUnavailable
    """
    after = ""
    while page := await store.resources(after=after, limit=_PAGE):
        after = page[-1].name
        for resource in page:
            if resource.signing_algorithm not in profile.signing_algorithms:
                detail = (
                    f"The profile {profile.name} does not sign with {resource.signing_algorithm}, which the resource "
                    f"{resource.name} has: watchword resource update {resource.name} --alg ES256."
                )
                raise BadSettings("settings.security_profile", detail=detail)
