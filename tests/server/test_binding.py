"""What was proved of keys binds the token, and an agent bound to a key gets none without."""

from __future__ import annotations

from dataclasses import replace

import pytest

from watchword.errors import InvalidRequest, OAuthError
from watchword.ports.agents import Registration
from watchword.ports.store import Basis
from watchword.protocol.confirmation import NO_CONFIRMATION, Confirmation
from watchword.server.authentication import AuthenticatedAgent
from watchword.server.binding import Binder
from watchword.server.entry import Peer, Request
from watchword.testing.records import NOON, make_agent, make_credential

pytestmark = pytest.mark.anyio

KEY, CERTIFICATE = Confirmation(jkt="key"), Confirmation(x5t_s256="certificate")
REQUEST = Request(
    id="1", method="POST", path="/", query=b"", headers=(), body=b"", peer=Peer("192.0.2.1"), received_at=NOON
)


class Proves:
    def __init__(self, confirmation: Confirmation) -> None:
        self.confirmation = confirmation

    async def prove(self, request: Request, client: AuthenticatedAgent) -> Confirmation:
        if self.confirmation.jkt == "bad":
            raise InvalidRequest("binding.required")
        return self.confirmation


def client(**facts: object) -> AuthenticatedAgent:
    agent = replace(make_agent(), **facts)
    return AuthenticatedAgent(
        Basis(1, Registration(agent, (make_credential(),), (), {})), make_credential(), "client_secret_basic"
    )


@pytest.mark.parametrize(
    ("proved", "expected"),
    [
        ([], NO_CONFIRMATION),
        ([NO_CONFIRMATION, NO_CONFIRMATION], NO_CONFIRMATION),
        ([KEY, NO_CONFIRMATION], KEY),
        ([NO_CONFIRMATION, CERTIFICATE], CERTIFICATE),
        ([KEY, CERTIFICATE], Confirmation(jkt="key", x5t_s256="certificate")),
        ([CERTIFICATE, KEY], Confirmation(jkt="key", x5t_s256="certificate")),
    ],
)
async def test_everything_that_was_proved_binds(proved: list[Confirmation], expected: Confirmation) -> None:
    assert await Binder(map(Proves, proved)).bind(REQUEST, client()) == expected


@pytest.mark.parametrize(
    ("facts", "proved", "reason"),
    [
        ({"dpop_bound": True}, NO_CONFIRMATION, "binding.dpop_required"),
        ({"dpop_bound": True}, CERTIFICATE, "binding.dpop_required"),
        ({"mtls_bound": True}, NO_CONFIRMATION, "binding.certificate_required"),
        ({"mtls_bound": True}, KEY, "binding.certificate_required"),
    ],
)
async def test_an_agent_bound_to_a_key_gets_nothing_without_it(
    facts: dict[str, object], proved: Confirmation, reason: str
) -> None:
    with pytest.raises(OAuthError) as caught:
        await Binder([Proves(proved)]).bind(REQUEST, client(**facts))
    assert caught.value.reason == reason
    both = Binder([Proves(KEY), Proves(CERTIFICATE)])
    assert (await both.bind(REQUEST, client(**facts))).is_bound


async def test_a_bad_proof_is_refused_whoever_brings_it() -> None:
    with pytest.raises(InvalidRequest):
        await Binder([Proves(KEY), Proves(Confirmation(jkt="bad"))]).bind(REQUEST, client())
