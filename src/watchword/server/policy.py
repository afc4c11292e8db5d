"""The one place that says yes. Default deny: what no permission covers is refused, never dropped from the request.

A verdict may be narrower than the proposal in one respect only, the lifetime, and only where a permission, the resource
or the server names a limit.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from watchword.errors import InvalidRequest, InvalidScope, InvalidTarget, OAuthError
from watchword.ports.agents import Conditions, Permission, Resource
from watchword.protocol.confirmation import Confirmation
from watchword.server.grants import Proposal

LIFETIME_CEILING = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Permit:
    """A proposal that may be minted, and for how long. Made by ``decide`` alone."""

    client_id: str
    credential_id: str
    subject: str
    resource: Resource
    scopes: tuple[str, ...]
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a condition may look at."""

    now: datetime
    source: str
    confirmation: Confirmation


def decide(proposal: Proposal, circumstances: Circumstances) -> Permit:
    """Permit the proposal as it stands, or refuse it.

    Raises:
        InvalidTarget: target.not_permitted
        InvalidScope: scope.not_permitted, permission.not_yet, permission.ended, permission.network, permission.hours
        InvalidRequest: binding.required
    """
    registration = proposal.client.registration
    here = [one for one in registration.permissions if one.resource == proposal.resource.name]
    if not here:
        raise InvalidTarget("target.not_permitted", facts={"resource": proposal.resource.identifier})
    if proposal.resource.require_pop and not circumstances.confirmation.is_bound:
        raise InvalidRequest("binding.required", facts={"resource": proposal.resource.identifier})
    used = {
        permission.id: permission for scope in proposal.scopes for permission in _covering(scope, here, circumstances)
    }
    lifetime = _lifetime(proposal, used.values(), circumstances.now)
    client = proposal.client
    return Permit(
        client.agent.client_id, client.credential.id, proposal.subject, proposal.resource, proposal.scopes, lifetime
    )


def _covering(scope: str, permissions: Iterable[Permission], circumstances: Circumstances) -> list[Permission]:
    """Return the first permission that gives this scope here and now (as a list of one), or say why none does."""
    refusal: OAuthError = InvalidScope("scope.not_permitted", facts={"scope": scope})
    for permission in permissions:
        if scope not in permission.scopes:
            continue
        objection = _objection(permission.conditions, circumstances)
        if objection is None:
            return [permission]
        refusal = objection
    raise refusal


def _objection(conditions: Conditions, circumstances: Circumstances) -> OAuthError | None:
    if conditions.not_before is not None and circumstances.now < conditions.not_before:
        return InvalidScope("permission.not_yet")
    if conditions.not_after is not None and circumstances.now >= conditions.not_after:
        return InvalidScope("permission.ended")
    if conditions.source_networks and not _is_inside(circumstances.source, conditions.source_networks):
        return InvalidScope("permission.network")
    if conditions.hours and not _is_within(circumstances.now, conditions.hours):
        return InvalidScope("permission.hours", facts={"hours": conditions.hours})
    if conditions.require_sender_constraint and not circumstances.confirmation.is_bound:
        return InvalidRequest("binding.required")
    return None


def _is_inside(source: str, networks: tuple[str, ...]) -> bool:
    """A source that is not an address is inside no network; an IPv4 address in IPv6 clothes counts as IPv4."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in ipaddress.ip_network(network) for network in networks)


def _is_within(now: datetime, hours: str) -> bool:
    """``HH:MM-HH:MM`` in UTC; the end is excluded; an end before the begin wraps past midnight."""
    begin, end = (time.fromisoformat(part) for part in hours.split("-"))
    clock = now.time()
    return begin <= clock < end if begin < end else clock >= begin or clock < end


def _lifetime(proposal: Proposal, used: Iterable[Permission], now: datetime) -> timedelta:
    """The shortest of: the server's ceiling, the resource's lifetime, the limits and ends of what permits it,
    of the agent, and of the credential it has come with."""
    client = proposal.client
    limits = [LIFETIME_CEILING, proposal.resource.token_lifetime]
    ends = (client.agent.expires_at, client.credential.expires_at)
    limits += [end - now for end in ends if end is not None]
    for permission in used:
        conditions = permission.conditions
        limits += [conditions.maximum_lifetime] if conditions.maximum_lifetime is not None else []
        limits += [conditions.not_after - now] if conditions.not_after is not None else []
    return max(min(limits), timedelta(seconds=1))
