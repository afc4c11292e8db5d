"""One assertion, one answer to a challenge: one token, whichever worker, and after a restart too."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests import rule
from tests.processes import PLAIN
from tests.whole.server_process import Serving, initialised, serving_here, until
from watchword.client.challenge_response import ChallengeResponse
from watchword.client.private_key_jwt import PrivateKeyJwt
from watchword.ports.http import HttpResponse
from watchword.protocol import names
from watchword.protocol.private_keys import PrivateKey, generate_private_key
from watchword.testing.process import free_port

KEY = generate_private_key("ES256")
CLIENTS = 6  # who fails more often has to wait


def register(server: Serving, name: str, key: PrivateKey = KEY, *options: str) -> str:
    file = server.folder / f"{name}.pub"
    file.write_text(json.dumps(dict(key.public_jwk)))
    said = ("--auth", "private_key_jwt", "--public-key", str(file), "--resource", "my-api", "--scope", "read:data")
    return str(server.server.watchword("agent", "create", name, *said, *options)["client_id"])


def assertion(server: Serving, client_id: str, key: PrivateKey = KEY) -> dict[str, str]:
    form = {"grant_type": "client_credentials", "scope": "read:data"}
    PrivateKeyJwt(client_id, key).apply(form, {}, issuer=server.server.issuer, now=datetime.now(UTC))
    return form


def answer(server: Serving, client_id: str, key: PrivateKey = KEY) -> dict[str, str]:
    client = ChallengeResponse(client_id, key)
    given = httpx2.post(f"{server.server.issuer}/oauth/challenge", data=client.challenge_form(), verify=PLAIN)
    said = HttpResponse(status=given.status_code, headers={}, body=given.content)
    form = {"grant_type": "client_credentials", "scope": "read:data"}
    client.with_challenge(said, issuer=server.server.issuer).apply(
        form, {}, issuer=server.server.issuer, now=datetime.now(UTC)
    )
    return form


def ask(server: Serving, form: dict[str, str]) -> int:
    headers = {"connection": "close"}
    return httpx2.post(server.server.token_endpoint, data=form, headers=headers, verify=PLAIN).status_code


def settle(server: Serving) -> None:
    """Return once new agents are let in: a memory is not sure of what its nodes' clocks, which may differ, call older than it."""

    def is_sure() -> bool:
        status = ask(server, assertion(server, register(server, f"settling-{os.urandom(4).hex()}")))
        assert status in (200, 503)
        return status == 200

    until(is_sure, "a new agent is let in")


@pytest.fixture(scope="module")
def two(place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving_here(tmp_path_factory.mktemp("keys"), ["--workers", "2"]) as server:
        settle(server)
        yield server


@rule("R7523-3-07", "TRAP-04", "DR-6", "H1", "KF-45", "N1")
@pytest.mark.parametrize("make", [assertion, answer])
def test_of_many_who_show_the_same_to_all_workers_one_gets_a_token(two: Serving, make) -> None:
    client_id = register(two, f"writer-{make.__name__}")
    form = make(two, client_id)
    with ThreadPoolExecutor(CLIENTS) as pool:
        statuses = Counter(pool.map(lambda _: ask(two, form), range(CLIENTS)))
    assert statuses == {200: 1, 401: CLIENTS - 1}
    assert ask(two, make(two, client_id)) == 200


@rule("J13", "TRAP-04")
def test_two_agents_with_one_key_do_not_use_up_each_others(two: Serving) -> None:
    first, second = register(two, "first"), register(two, "second")
    assert [ask(two, assertion(two, client_id)) for client_id in (first, second)] == [200, 200]


def test_what_was_conceded_is_counted(two: Serving) -> None:
    client_id = register(two, "old", KEY, "--allow", "token_endpoint_audience")
    form = {"grant_type": "client_credentials", "scope": "read:data"}
    PrivateKeyJwt(client_id, KEY).apply(form, {}, issuer=two.server.token_endpoint, now=datetime.now(UTC))
    assert ask(two, form) == 200
    until(lambda: two.metric("watchword_deprecated_total", concession=names.TOKEN_ENDPOINT_AUDIENCE) == 1, "counting")


@rule("R7523-3-07", "DR-6", "H1", "KF-44")
def test_what_was_used_is_used_after_a_stop_and_what_is_new_works_at_once(place: str, tmp_path: Path) -> None:
    issuer = f"http://127.0.0.1:{free_port()}"
    initialised(tmp_path, issuer, has_resource=True)
    listen = ["--listen", urlsplit(issuer).netloc]
    with Serving(tmp_path, listen) as server:
        settle(server)
        client_id = register(server, "writer")
        used = [assertion(server, client_id), answer(server, client_id)]
        unused = assertion(server, client_id)
        assert [ask(server, form) for form in used] == [200, 200]
        assert server.stop() == 0
    with Serving(tmp_path, listen) as server:
        assert [ask(server, form) for form in used] == [401, 401]
        assert ask(server, unused) == 200
        assert ask(server, answer(server, client_id)) == 200


@rule("DR-6", "H1", "KF-44")
def test_what_was_used_is_used_after_a_kill(place: str, tmp_path: Path) -> None:
    issuer = f"http://127.0.0.1:{free_port()}"
    initialised(tmp_path, issuer, has_resource=True)
    listen = ["--listen", urlsplit(issuer).netloc]
    with Serving(tmp_path, listen) as server:
        settle(server)
        client_id = register(server, "writer")
        used = [assertion(server, client_id), answer(server, client_id)]
        assert [ask(server, form) for form in used] == [200, 200]
    with Serving(tmp_path, listen) as server:  # the block kills it
        assert {ask(server, form) for form in used} <= {401, 503}
        settle(server)
