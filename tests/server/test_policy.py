"""Default deny: every way a permission can hold or not, and that nothing is ever widened."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import rule
from watchword.errors import OAuthError
from watchword.ports.agents import (
    Agent,
    AgentState,
    Conditions,
    Credential,
    CredentialKind,
    CredentialState,
    Permission,
    Registration,
    Resource,
)
from watchword.ports.store import Basis
from watchword.protocol.confirmation import NO_CONFIRMATION, Confirmation
from watchword.server.authentication import AuthenticatedAgent
from watchword.server.grants import Proposal
from watchword.server.policy import LIFETIME_CEILING, Circumstances, Permit, decide

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
BOUND = Confirmation(jkt="NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
SCOPES = ("read:data", "write:data", "delete:data")


def proposal(scopes: Sequence[str], permissions: Sequence[Permission], *, require_pop: bool = False) -> Proposal:
    resource = Resource(name="api", identifier="my-api", scopes=SCOPES, created_at=NOW, require_pop=require_pop)
    agent = Agent(client_id="reader-1", name="reader", state=AgentState.ACTIVE, auth_methods=(), created_at=NOW)
    credential = Credential(
        id="c", client_id="reader-1", kind=CredentialKind.CLIENT_SECRET, state=CredentialState.ACTIVE, created_at=NOW
    )
    registration = Registration(agent, (credential,), tuple(permissions), {"api": resource})
    return Proposal(
        AuthenticatedAgent(Basis(1, registration), credential, "m"), agent.client_id, resource, tuple(scopes)
    )


def permission(*scopes: str, resource: str = "api", **conditions: object) -> Permission:
    return Permission(
        id=f"p-{'-'.join(scopes)}-{len(conditions)}",
        client_id="reader-1",
        resource=resource,
        scopes=scopes,
        created_at=NOW,
        conditions=Conditions(**conditions),  # type: ignore[arg-type]  # the fields of Conditions
    )


def verdict(
    one: Proposal, *, source: str = "192.0.2.7", confirmation: Confirmation = NO_CONFIRMATION, now: datetime = NOW
) -> Permit:
    return decide(one, Circumstances(now, source, confirmation))


def refusal(one: Proposal, **circumstances: object) -> str:
    with pytest.raises(OAuthError) as refused:
        verdict(one, **circumstances)  # type: ignore[arg-type]  # passed on
    return refused.value.reason


def test_what_is_permitted_is_given_as_it_was_asked() -> None:
    permit = verdict(proposal(("write:data", "read:data"), [permission("read:data", "write:data")]))
    assert permit.scopes == ("write:data", "read:data")
    assert (permit.client_id, permit.subject, permit.resource.identifier) == ("reader-1", "reader-1", "my-api")
    assert permit.lifetime == timedelta(seconds=600)


@rule("S1", "KF-50")
def test_without_a_permission_for_the_resource_nothing_is_given() -> None:
    assert refusal(proposal(("read:data",), [])) == "target.not_permitted"
    assert refusal(proposal(("read:data",), [permission("read:data", resource="api2")])) == "target.not_permitted"


@rule("S1", "S3")
def test_one_scope_too_many_refuses_the_whole_proposal() -> None:
    assert refusal(proposal(("read:data", "write:data"), [permission("read:data")])) == "scope.not_permitted"


def test_scopes_may_come_from_several_permissions_and_the_narrowest_limit_holds() -> None:
    permissions = [
        permission("read:data", maximum_lifetime=timedelta(seconds=300)),
        permission("write:data", not_after=NOW + timedelta(seconds=60)),
    ]
    assert verdict(proposal(("read:data", "write:data"), permissions)).lifetime == timedelta(seconds=60)
    assert verdict(proposal(("read:data",), permissions)).lifetime == timedelta(seconds=300)


@pytest.mark.parametrize(
    ("moment", "hours", "holds"),
    [
        ("12:00", "12:00-13:00", True),
        ("13:00", "12:00-13:00", False),
        ("11:59", "12:00-13:00", False),
        ("23:00", "22:00-06:00", True),
        ("05:59", "22:00-06:00", True),
        ("06:00", "22:00-06:00", False),
        ("00:00", "00:00-00:00", True),
    ],
)
def test_hours_hold_from_their_begin_to_before_their_end(moment: str, hours: str, holds: bool) -> None:
    hour, minute = map(int, moment.split(":"))
    now = NOW.replace(hour=hour, minute=minute)
    one = proposal(("read:data",), [permission("read:data", hours=hours)])
    if holds:
        assert verdict(one, now=now).scopes == ("read:data",)
    else:
        assert refusal(one, now=now) == "permission.hours"


@rule("S12")
def test_a_source_that_is_no_address_is_in_no_network() -> None:
    one = proposal(("read:data",), [permission("read:data", source_networks=("0.0.0.0/0", "::/0"))])
    assert refusal(one, source="") == "permission.network"
    assert refusal(one, source="unix:") == "permission.network"
    assert verdict(one, source="203.0.113.1").scopes == ("read:data",)


@rule("R9700-2.2.1-01")
def test_a_required_sender_constraint_is_met_by_a_bound_token_only() -> None:
    for one in (
        proposal(("read:data",), [permission("read:data")], require_pop=True),
        proposal(("read:data",), [permission("read:data", require_sender_constraint=True)]),
    ):
        assert refusal(one) == "binding.required"
        assert verdict(one, confirmation=BOUND).scopes == ("read:data",)


@rule("S1", "S8")
@given(
    asked=st.lists(st.sampled_from(SCOPES), min_size=1, unique=True),
    granted=st.lists(st.lists(st.sampled_from(SCOPES), min_size=1, unique=True), max_size=3),
    lifetime=st.integers(1, 20_000),
)
def test_nothing_is_given_that_no_permission_names(asked: list[str], granted: list[list[str]], lifetime: int) -> None:
    permissions = [permission(*scopes, maximum_lifetime=timedelta(seconds=lifetime)) for scopes in granted]
    one = proposal(asked, permissions)
    covered = {scope for scopes in granted for scope in scopes}
    if set(asked) <= covered:
        permit = verdict(one)
        assert permit.scopes == tuple(asked)
        assert permit.lifetime <= min(LIFETIME_CEILING, timedelta(seconds=lifetime), one.resource.token_lifetime)
    else:
        assert refusal(one) in ("scope.not_permitted", "target.not_permitted")
