"""Secrets that are too old: reported, or refused, as the settings say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from watchword.server.credential_rules import CredentialRules
from watchword.testing.server import InProcessServer

DAY = timedelta(days=1)


@pytest.mark.parametrize("refuses", [True, False])
def test_a_secret_that_is_too_old_opens_nothing_if_it_is_to_be_refused(refuses: bool) -> None:
    server = InProcessServer(credential_rules=CredentialRules(max_age=30 * DAY, refuses_old=refuses))
    server.add_resource()
    reader = server.add_agent("reader")
    server.clock.advance(30 * DAY)
    assert server.token(reader).status == 200
    server.clock.advance(timedelta(seconds=1))
    answer = server.token(reader)
    if refuses:
        assert (answer.status, answer.json["error"]) == (401, "invalid_client")
        assert server.last_event()["reason"] == "client.credential_age"
        assert "age" not in answer.json["error_description"], "one sentence for every refusal"
    else:
        assert answer.status == 200


def test_a_wrong_secret_is_not_told_its_age() -> None:
    server = InProcessServer(credential_rules=CredentialRules(max_age=30 * DAY, refuses_old=True))
    server.add_resource()
    reader = server.add_agent("reader")
    server.clock.advance(31 * DAY)
    assert server.token(replace(reader, secret="wws_wrong")).status == 401
    assert server.last_event()["reason"] == "client.credential"
