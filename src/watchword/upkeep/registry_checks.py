"""What can be wrong with who is registered: agents nobody answers for, secrets for ever, rights nobody uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from watchword.ports.agents import Credential, CredentialState, Operator, Registration, Role
from watchword.server.credential_rules import NO_RULES, CredentialRules
from watchword.upkeep.findings import Finding, note, warning

EXPIRES_SOON: Final = timedelta(days=14)
UNUSED: Final = timedelta(days=90)
YOUNG: Final = timedelta(days=30)
"""What is not older than this may not have been used yet."""


@dataclass(slots=True)
class RegistryFacts:
    """What was seen. ``issued`` has the agents and the resources (by identifier) that tokens were issued for."""

    place: str
    now: datetime
    registrations: list[Registration] = field(default_factory=list)
    operators: tuple[Operator, ...] = ()
    issued: set[tuple[str, str]] = field(default_factory=set)
    rules: CredentialRules = NO_RULES


def check_owners(facts: RegistryFacts) -> Iterator[Finding]:
    """Somebody answers for every agent."""
    for registration in facts.registrations:
        agent = registration.agent
        if not agent.owner:
            command = f"watchword agent update {agent.client_id} --owner TEAM --data {facts.place}"
            yield warning("agent-owner", f"nobody answers for the agent {agent.name}", command)


def check_endless(facts: RegistryFacts) -> Iterator[Finding]:
    """No secret is good for ever."""
    for registration, one in _credentials(facts):
        if one.expires_at is None:
            finding = f"the secret {one.id} of {registration.agent.name} never expires"
            yield warning("credential-endless", finding, _renew(facts, one))


def check_expiring(facts: RegistryFacts) -> Iterator[Finding]:
    """No agent is locked out by surprise."""
    for registration, one in _credentials(facts):
        if one.expires_at is not None and facts.now < one.expires_at <= facts.now + EXPIRES_SOON:
            finding = f"the secret {one.id} of {registration.agent.name} expires on {one.expires_at:%Y-%m-%d}"
            yield warning("credential-expiring", finding, _renew(facts, one))


def check_old(facts: RegistryFacts) -> Iterator[Finding]:
    """No secret is older than the settings want it."""
    for registration, one in _credentials(facts):
        if facts.rules.is_old(one, facts.now):
            becomes = "opens nothing any more" if facts.rules.refuses_old else "is to be replaced"
            finding = f"the secret {one.id} of {registration.agent.name} is of {one.created_at:%Y-%m-%d} and {becomes}"
            yield warning("credential-old", finding, _renew(facts, one))


def check_unused_credentials(facts: RegistryFacts) -> Iterator[Finding]:
    """What nobody uses is taken away before somebody else finds it."""
    for registration, one in _credentials(facts):
        used = one.last_used_at
        if (used is None and one.created_at < facts.now - YOUNG) or (used is not None and used < facts.now - UNUSED):
            since = "was never used" if used is None else f"was last used on {used:%Y-%m-%d}"
            command = f"watchword credential revoke {one.client_id} {one.id} --data {facts.place}"
            yield warning("credential-unused", f"the secret {one.id} of {registration.agent.name} {since}", command)


def check_unused_permissions(facts: RegistryFacts) -> Iterator[Finding]:
    """No agent keeps a right it has never used."""
    for registration in facts.registrations:
        for permission in registration.permissions:
            identifier = registration.resources[permission.resource].identifier
            is_used = (permission.client_id, identifier) in facts.issued
            if not is_used and permission.created_at < facts.now - YOUNG:
                finding = f"{registration.agent.name} has never had a token for {permission.resource}"
                command = f"watchword permission revoke {permission.client_id} {permission.id} --data {facts.place}"
                yield warning("permission-unused", finding, command)


def check_shared_secrets(facts: RegistryFacts) -> Iterator[Finding]:
    """Say what this version cannot do better: a secret is known on both sides, a private key on one.

    Every credential there is yet is a shared secret.
    """
    sharing = {one.client_id for _, one in _credentials(facts)}
    if sharing:
        finding = (
            f"agents that log in with a shared secret: {len(sharing)}. This version knows no keys yet: keep the lives of secrets "
            "short, and move to keys when it does"
        )
        yield note(
            "shared-secret", finding, f"watchword credential add-secret AGENT --expires 90d --data {facts.place}"
        )


def check_admins(facts: RegistryFacts) -> Iterator[Finding]:
    """Somebody can administer tomorrow, too."""
    admins = [one for one in facts.operators if one.role is Role.ADMIN and one.is_usable(facts.now)]
    lasting = [one for one in admins if one.is_usable(facts.now + EXPIRES_SOON)]
    if not lasting:
        finding = "no admin can log in" if not admins else "the last admin's credential expires within two weeks"
        command = f"watchword operator create NAME --role admin --data {facts.place}"
        yield warning("admins", finding, command)


def _credentials(facts: RegistryFacts) -> Iterator[tuple[Registration, Credential]]:
    """Give the credentials that open something now or later."""
    for registration in facts.registrations:
        for one in registration.credentials:
            if one.state is CredentialState.ACTIVE and (one.expires_at is None or facts.now < one.expires_at):
                yield registration, one


def _renew(facts: RegistryFacts, one: Credential) -> str:
    return f"watchword credential rotate {one.client_id} {one.id} --expires 90d --data {facts.place}"
