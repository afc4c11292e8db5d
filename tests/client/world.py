"""An authorization server in memory, as the world outside of ``ports.http.Transport``: it answers what it is told to."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Mapping
from urllib.parse import parse_qs

from watchword.client.retry import RetryPolicy
from watchword.ports.http import HttpRequest, HttpResponse, TransportError

ISSUER = "https://login.example.com"
METADATA_URL = f"{ISSUER}/.well-known/oauth-authorization-server"
AT_ONCE = RetryPolicy(jitter=lambda: 0.0)
"""Never waits (unless a server asks for it), and renews at 75 % of a token's life."""

Answer = HttpResponse | TransportError


def answer(status: int = 200, headers: Mapping[str, str] | None = None, **members: object) -> HttpResponse:
    return HttpResponse(status=status, headers=dict(headers or {}), body=json.dumps(members).encode())


def token_answer(value: str = "token-1", **members: object) -> HttpResponse:
    return answer(**{"access_token": value, "token_type": "Bearer", "expires_in": 600, **members})


DOWN = TransportError("http.connect", detail="refused")


class AuthorizationServer:
    """Issues ``token-1``, ``token-2`` ... unless ``script`` has an answer left. Records every request."""

    def __init__(self, issuer: str = ISSUER) -> None:
        self.issuer = issuer
        self.metadata: Answer = answer(issuer=issuer, token_endpoint=f"{issuer}/oauth/token")
        self.script: deque[Answer] = deque()
        self.is_down = False
        self.requests: list[HttpRequest] = []
        self.issued = 0
        self.issued_for: dict[str, str] = {}
        self.gate: threading.Event | None = None
        self.entered = threading.Event()
        self._lock = threading.Lock()

    @property
    def token_requests(self) -> list[HttpRequest]:
        return [request for request in self.requests if request.method == "POST"]

    @property
    def discoveries(self) -> list[HttpRequest]:
        return [request for request in self.requests if request.method == "GET"]

    def send(self, request: HttpRequest) -> HttpResponse:
        found = self._answer(request)
        if self.gate is not None and request.method == "POST":
            self.entered.set()
            assert self.gate.wait(10)
        if isinstance(found, TransportError):
            raise found
        return found

    async def asend(self, request: HttpRequest) -> HttpResponse:
        return await asyncio.to_thread(self.send, request)

    def _answer(self, request: HttpRequest) -> Answer:
        with self._lock:
            self.requests.append(request)
            if self.is_down:
                return DOWN
            if request.method == "GET":
                return self.metadata
            if self.script:
                return self.script.popleft()
            self.issued += 1
            token, scope = f"token-{self.issued}", form(request).get("scope", "")
            self.issued_for[token] = scope
            return token_answer(token, scope=scope)


def form(request: HttpRequest) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(request.body.decode(), keep_blank_values=True).items()}
