"""What is issued after something was revoked lives, and never longer than what it was obtained with."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests import rule

from watchword.ports.agents import Conditions
from watchword.protocol.base64url import b64url_decode
from watchword.protocol.revocation import RevocationKind, RevocationView
from watchword.server.revocations import revoke, whole_second
from watchword.testing.answers import Answer
from watchword.testing.server import InProcessServer, Registered


def claims_of(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200
    found: dict[str, Any] = json.loads(b64url_decode(answer.json["access_token"].split(".")[1].encode()))
    return found


def kid_of(answer: Answer) -> str:
    return str(json.loads(b64url_decode(answer.json["access_token"].split(".")[0].encode()))["kid"])


def targets(reader: Registered, kid: str) -> dict[RevocationKind, str]:
    return {
        RevocationKind.AGENT: reader.client_id,
        RevocationKind.PERMISSION: f"{reader.client_id} my-api",
        RevocationKind.CREDENTIAL: reader.credential_id,
        RevocationKind.RESOURCE: "my-api",
        RevocationKind.SCOPE: "my-api read:data",
        RevocationKind.SIGNING_KEY: kid,
        RevocationKind.EVERYTHING: "",
    }


def test_a_token_names_the_credential_that_it_was_obtained_with(server: InProcessServer, reader: Registered) -> None:
    other = server.add_secret(reader.client_id)
    assert claims_of(server.token(reader))["credential_id"] == reader.credential_id
    assert claims_of(server.token(other))["credential_id"] == other.credential_id


@rule("R8", "KF-63")
@pytest.mark.parametrize("kind", [kind for kind in RevocationKind if kind is not RevocationKind.TOKEN])
def test_a_token_issued_after_a_cut_off_lives_and_one_from_the_same_second_does_not(
    server: InProcessServer, reader: Registered, kind: RevocationKind
) -> None:
    before = server.token(reader)
    change = revoke(
        kind, targets(reader, kid_of(before))[kind], cutoff=whole_second(server.clock()), now=server.clock()
    )
    server.commit(change)
    view = RevocationView()
    view.add([change.revocation])
    after = server.token(reader)
    assert view.hit(claims_of(before), kid_of(before)) is kind
    assert view.hit(claims_of(after), kid_of(after)) is None
    assert claims_of(after)["iat"] == change.revocation.cutoff.timestamp() + 1
    assert claims_of(after)["exp"] == claims_of(before)["exp"]
    server.advance(5)
    assert claims_of(server.token(reader))["iat"] == int(server.clock().timestamp())


def test_what_hits_others_leaves_the_time_of_issue_alone(server: InProcessServer, reader: Registered) -> None:
    server.commit(revoke(RevocationKind.AGENT, "another", cutoff=server.clock() + timedelta(9), now=server.clock()))
    assert claims_of(server.token(reader))["iat"] == int(server.clock().timestamp())


def soon(server: InProcessServer) -> datetime:
    return server.clock() + timedelta(seconds=90)


@pytest.mark.parametrize("what", ["agent", "credential", "permission"])
def test_a_token_ends_no_later_than_what_it_was_obtained_with(server: InProcessServer, what: str) -> None:
    if what == "agent":
        agent = server.add_agent("brief", expires_at=soon(server))
    elif what == "permission":
        agent = server.add_agent("brief", conditions=Conditions(not_after=soon(server)))
    else:
        agent = server.add_secret(server.add_agent("brief").client_id, expires_at=soon(server))
    answer = server.token(agent)
    assert claims_of(answer)["exp"] <= soon(server).timestamp()
    assert answer.json["expires_in"] in (89, 90)
