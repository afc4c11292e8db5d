"""Clients that ask a server under test without end, and what must hold of all that they got."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from http.client import HTTPConnection

from watchword.protocol.jose import parse_compact
from watchword.testing.process import FORM, AgentSecret, ServerProcess

SECONDS = 30
DATABASE = "WATCHWORD_SERVER__DATABASE"


class Load:
    """Clients that ask until they are told to stop, and write down every answer.

    ``last_asked`` is when the question left that got the last token.
    """

    def __init__(
        self, server: ServerProcess, agent: AgentSecret, clients: int = 8, *, may_be_refused: bool = False
    ) -> None:
        self._server = server
        self._agent = agent
        self._may_be_refused = may_be_refused
        self._stop = threading.Event()
        self.tokens: list[str] = []
        self.last_asked = 0.0
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        connection = self._server.connect()
        while not self._stop.is_set():
            asked = time.monotonic()
            status, retry_after, body = ask(connection, self._agent)
            self.statuses[status] += 1
            if status == 200:
                claims = json.loads(parse_compact(json.loads(body)["access_token"], typ="at+jwt").payload)
                self.tokens.append(str(claims["jti"]))
                self.last_asked = max(self.last_asked, asked)
            elif status == 401 and self._may_be_refused:
                time.sleep(0.01)
            elif status != 503 or not retry_after.isdecimal():
                self.wrong.append(f"{status} {retry_after} {body!r}")
            else:
                time.sleep(0.02)
        connection.close()


def ask(connection: HTTPConnection, agent: AgentSecret) -> tuple[int, str, bytes]:
    headers = {"Authorization": agent.basic, "Content-Type": FORM}
    connection.request("POST", "/oauth/token", b"grant_type=client_credentials&scope=read:data", headers)
    answer = connection.getresponse()
    return answer.status, answer.getheader("Retry-After", ""), answer.read()


def until_answered(server: ServerProcess, agent: AgentSecret, wanted: int) -> float:
    """Return the seconds until this status came."""
    began = time.monotonic()
    while server.token(agent)[0] != wanted:
        assert time.monotonic() < began + SECONDS
        time.sleep(0.02)
    return time.monotonic() - began


def check_trail(server: ServerProcess, load: Load) -> None:
    """Fail unless every token that somebody got has its event, once, in chains that hold."""
    lines = server.command("--data", str(server.data), "audit", "export", "--format", "jsonl").splitlines()
    issued = Counter(json.loads(line)["event"].get("jti") for line in lines)
    assert len(load.tokens) == len(set(load.tokens))
    assert {issued[jti] for jti in load.tokens} == {1}
    assert server.admin("GET", "/audit/verify")[1]["ok"] is True
