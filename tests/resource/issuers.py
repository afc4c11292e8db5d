"""An issuer in memory: it has keys, publishes them, signs tokens, and can be made to fail or to dawdle."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from watchword.ports.http import HttpRequest, HttpResponse, TransportError
from watchword.protocol.access_token import build_claims, build_header
from watchword.protocol.jose import PrivateKey, generate_private_key
from watchword.protocol.jwks import build_jwks
from watchword.resource import Verifier
from watchword.testing import forge
from watchword.testing.clock import FrozenClock

ISSUER = "https://auth.example.com"
AUDIENCE = "my-api"
JWKS_URI = f"{ISSUER}/.well-known/jwks.json"
METADATA_URL = f"{ISSUER}/.well-known/oauth-authorization-server"
KEY = generate_private_key("ES256")


class Issuer:
    """A transport to itself. ``fetches`` are the URLs that were asked for."""

    def __init__(
        self, clock: Callable[[], datetime] | None = None, *, url: str = ISSUER, key: PrivateKey = KEY
    ) -> None:
        self.url = url
        self.clock = clock or FrozenClock()
        self.signing_key = key
        self.published: list[Mapping[str, str]] = [key.public_jwk]
        self.fetches: list[str] = []
        self.headers: dict[str, str] = {"cache-control": "public, max-age=300"}
        self.override: dict[str, HttpResponse | TransportError | Exception] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.arrived = threading.Semaphore(0)

    @property
    def jwks_fetches(self) -> int:
        return self.fetches.count(f"{self.url}/.well-known/jwks.json")

    def send(self, request: HttpRequest) -> HttpResponse:
        self.fetches.append(request.url)
        self.arrived.release()
        if not self.gate.wait(10):
            raise AssertionError("the test has forgotten to open the gate")
        answer = self.override.get(request.url)
        if isinstance(answer, Exception):
            raise answer
        return answer or self._answer(request.url)

    async def asend(self, request: HttpRequest) -> HttpResponse:
        return self.send(request)

    def fail(self, error: Exception | int | bytes = 500) -> None:
        """Answer every fetch of the keys with this: an exception, a status or a body."""
        if isinstance(error, int):
            answer: HttpResponse | Exception = HttpResponse(status=error, headers={}, body=b"{}")
        else:
            answer = HttpResponse(status=200, headers={}, body=error) if isinstance(error, bytes) else error
        self.override[f"{self.url}/.well-known/jwks.json"] = answer

    def mend(self) -> None:
        self.override.clear()

    def rotate(self, *, keep: bool = False) -> PrivateKey:
        """Sign with a new key; publish it, beside the old ones if these are kept."""
        self.signing_key = generate_private_key("ES256")
        self.published = [*(self.published if keep else ()), self.signing_key.public_jwk]
        return self.signing_key

    def token(
        self,
        *,
        key: PrivateKey | None = None,
        kid: str | None = None,
        lifetime: timedelta = timedelta(seconds=600),
        header: Mapping[str, str] | None = None,
        drop: str = "",
        audience: str = AUDIENCE,
        issuer: str | None = None,
        scopes: tuple[str, ...] = ("read:data",),
        client_id: str = "reader-1",
        jti: str = "jti-1",
        **claims: object,
    ) -> str:
        """Sign a token with these claims over the usual ones."""
        key = key or self.signing_key
        members = build_claims(
            issuer=issuer or self.url,
            client_id=client_id,
            audience=audience,
            scopes=scopes,
            issued_at=self.clock(),
            expires_at=self.clock() + lifetime,
            jti=jti,
        )
        members |= claims
        members.pop(drop, None)
        named = build_header(algorithm=key.algorithm, kid=kid or str(key.public_jwk["kid"]))
        return forge.sign(key, {**named, **(header or {})}, members)

    def verifier(self, **settings: object) -> Verifier:
        return Verifier(  # type: ignore[arg-type]  -- settings of any kind: wrong ones are tested, too
            **{"issuer": self.url, "audience": AUDIENCE, "transport": self, "clock": self.clock, **settings}
        )

    def _answer(self, url: str) -> HttpResponse:
        if url == f"{self.url}/.well-known/jwks.json":
            return HttpResponse(status=200, headers=self.headers, body=json.dumps(build_jwks(self.published)).encode())
        if url.endswith("/.well-known/oauth-authorization-server"):
            document = {
                "issuer": self.url,
                "token_endpoint": f"{self.url}/oauth/token",
                "jwks_uri": f"{self.url}/.well-known/jwks.json",
            }
            return HttpResponse(status=200, headers={}, body=json.dumps(document).encode())
        return HttpResponse(status=404, headers={}, body=b"")


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}
