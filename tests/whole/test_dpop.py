"""DPoP between processes: one server, workers, nodes on one database, an API, and our own client and command line."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

import watchword
from tests import rule
from tests.places import SQLITE
from tests.vectors import ecdsa_key
from tests.whole.proving import KEY, ask, proof_for, protected_api, until_sure
from watchword.client.dpop_key import DPoPKey
from watchword.testing.process import FAIL_AT_WILL, AgentSecret, ServerProcess

PAIRS = 60
WORKERS = ["--workers", "2"]
alone = pytest.mark.places("sqlite", why="an API and its callers see tokens alone")


@rule("R9449-5-01", "D1", "D31", "D40")
def test_a_bound_token_from_a_fresh_server(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, environment=FAIL_AT_WILL, options=WORKERS) as server:
        agent = server.create_agent("reader")
        until_sure(server, agent)
        status, members, nonce = ask(server, agent, proof_for(server))
        assert (status, members["token_type"]) == (200, "DPoP")
        used = proof_for(server, nonce=nonce)
        assert ask(server, agent, used)[0] == 200
        assert server.admin("PATCH", f"/agents/{agent.client_id}", {"dpop_bound": True})[0] == 200
        status, refused, _ = ask(server, agent, None)
        assert (status, refused["error"]) == (400, "invalid_dpop_proof")
        assert ask(server, agent, used)[1]["error"] == "invalid_dpop_proof"
        server.stop()
        server.start()
        assert ask(server, agent, used)[1]["error"] == "invalid_dpop_proof", "an end that was clean forgets nothing"
        assert ask(server, agent, proof_for(server, nonce=nonce))[0] == 200, "a nonce is good after a restart"
        events = server.admin("GET", "/audit/events?action=token.issue&limit=100")[1]["items"]
        bound = [one["event"] for one in events if one["event"]["outcome"] == "success"]
        assert {event["details"]["jkt"] for event in bound} == {KEY.kid}
        reasons = [one["event"]["reason"] for one in events if one["event"]["outcome"] == "denied"]
        assert set(reasons) - {"dpop.replay_unsure"} == {"binding.dpop_required", "dpop.replayed"}


@rule("N1", "KF-43", "R9449-11.1-01")
def test_of_a_proof_sent_to_several_at_once_one_is_accepted(tmp_path: Path, place: str) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(ServerProcess(tmp_path, environment=FAIL_AT_WILL, options=WORKERS))
        nodes = [first]
        if place != SQLITE:
            (tmp_path / "second").mkdir()
            nodes.append(
                stack.enter_context(ServerProcess(tmp_path / "second", environment=FAIL_AT_WILL, beside=first))
            )
        agent = first.create_agent("reader")
        until_sure(first, agent)
        racers = [nodes[number % len(nodes)] for number in range(4)]
        barrier = threading.Barrier(len(racers))
        pool = stack.enter_context(ThreadPoolExecutor(len(racers)))

        def race(node: ServerProcess, proof: str) -> int:
            connection = node.connect()
            connection.connect()
            barrier.wait(30)
            status = ask(node, agent, proof, connection)[0]
            connection.close()
            return status

        for _ in range(PAIRS):
            proof = proof_for(first)
            assert sorted(pool.map(race, racers, [proof] * len(racers))) == [200, 400, 400, 400]


@rule("D29", "R9449-8-01", "R9449-8.2-01")
def test_our_client_and_a_server_that_demands_nonces(tmp_path: Path) -> None:
    environment = FAIL_AT_WILL | {"WATCHWORD_SERVER__DPOP_NONCES": "required"}
    with ServerProcess(tmp_path, environment=environment, options=WORKERS) as server:
        agent = server.create_agent("reader")
        until_sure(server, agent, with_nonce=True)
        status, members, nonce = ask(server, agent, proof_for(server))
        assert (status, members["error"], bool(nonce)) == (400, "use_dpop_nonce", True)
        for _ in range(5):
            login = login_of(server, agent, dpop=True)
            assert login.token()
            assert len(server.admin("GET", "/audit/events?action=token.issue&limit=100")[1]["items"]) > 1


def login_of(server: ServerProcess, agent: AgentSecret, dpop: bool | DPoPKey) -> watchword.Login:
    credential = watchword.ClientSecretBasic(agent.client_id, agent.client_secret)
    return watchword.Login(issuer=server.issuer, client=credential, resource="my-api", scope="read:data", dpop=dpop)


@rule("D38", "D39", "R9449-7.1-01", "R9449-7.2-01")
@alone
def test_an_api_in_a_process_of_its_own(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, environment=FAIL_AT_WILL) as server, protected_api(server, tmp_path) as api:
        agent = server.create_agent("reader")
        login = login_of(server, agent, dpop=True)
        note = f"{api}/note?x=1"
        with httpx2.Client(auth=login.auth()) as client:
            assert [client.get(note).status_code for _ in range(3)] == [200] * 3
            assert client.post(note).status_code == 403
        token = login.token()
        headers = login.headers("GET", note)
        assert httpx2.get(note, headers=headers).status_code == 200
        replayed = httpx2.get(note, headers=headers)
        assert (replayed.status_code, "invalid_dpop_proof" in replayed.headers["www-authenticate"]) == (401, True)
        stolen = httpx2.get(note, headers={"authorization": f"Bearer {token}"})
        assert (stolen.status_code, 'error="invalid_token"' in stolen.headers["www-authenticate"]) == (401, True)
        thief = DPoPKey(ecdsa_key(7, "ES256"))
        forged = login_of(server, agent, dpop=thief).dress(token, "GET", note)
        assert httpx2.get(note, headers=forged).headers["www-authenticate"].startswith("DPoP")
        assert httpx2.get(note, headers={"authorization": f"DPoP {token}"}).status_code == 401
        assert httpx2.get(note, headers={**headers, "dpop": "rubbish"}).status_code == 401
        assert httpx2.get(note, headers=login.headers("GET", note)).status_code == 200


@alone
def test_the_command_line_sends_a_request_with_a_proof(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, environment=FAIL_AT_WILL) as server, protected_api(server, tmp_path) as api:
        here = ["--data", str(server.data)]
        server.command(*here, "resource", "create", "my-api", "--scope", "read:data")
        permission = ["--resource", "my-api", "--scope", "read:data"]
        server.command(*here, "agent", "create", "courier", *permission, "--dpop-bound", "--save-profile", "courier")
        key = next((tmp_path / "config").rglob("courier.dpop.pem"))
        assert key.stat().st_mode & 0o777 == 0o600
        assert "the door is green" in server.command("--profile", "courier", "curl", f"{api}/note")
        told = json.loads(server.command("token", "courier", "-o", "json"))
        assert told["token_type"] == "DPoP"
        assert server.command("token", "courier", "-o", "header").startswith("Authorization: DPoP ey")
        for arguments, code in (
            (["--profile", "courier", "curl", f"{api}/note", "-X", "POST"], 5),
            (["--profile", "courier", "curl", f"{api}/note", "-H", "DPoP: x"], 2),
            (["--profile", "courier", "curl", "nowhere"], 2),
        ):
            with pytest.raises(AssertionError, match=f"exited {code}"):
                server.command(*arguments)
        full = server.command("--profile", "courier", "curl", f"{api}/note", "-o", "full")
        assert full.startswith("HTTP/1.1 200")
