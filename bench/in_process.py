"""What needs no server, measured in one process on the server's core: ``python -m bench.in_process`` prints JSON.

Every round measures each function once; a function's figure is its CPU microseconds per call, round by round.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Final

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from bench.proofs import BoundRequests
from bench.stores import ISSUER, RESOURCE
from watchword.clock import system_clock
from watchword.ports.http import HttpRequest, HttpResponse
from watchword.protocol import names
from watchword.protocol.access_token import build_claims, build_header
from watchword.protocol.confirmation import NO_CONFIRMATION, Confirmation
from watchword.protocol.jose import PrivateKey, build_compact, generate_private_key
from watchword.protocol.jwks import build_jwks
from watchword.resource import Verifier

TURN: Final = 0.25
"""Seconds per function and round."""


class _Published:
    """A transport that answers with one key set, whatever is asked."""

    def __init__(self, document: bytes) -> None:
        self._document = document

    def send(self, request: HttpRequest) -> HttpResponse:  # noqa: ARG002 -- the port's signature
        return HttpResponse(status=200, headers={"content-type": "application/json"}, body=self._document)

    async def asend(self, request: HttpRequest) -> HttpResponse:
        return self.send(request)


def _verifier(key: PrivateKey, *, cached_tokens: int) -> Verifier:
    document = json.dumps(build_jwks([key.public_jwk])).encode()
    return Verifier(
        issuer=ISSUER,
        audience=RESOURCE,
        jwks_uri=f"{ISSUER}/jwks",
        transport=_Published(document),
        cached_tokens=cached_tokens,
    )


def _token(key: PrivateKey, confirmation: Confirmation = NO_CONFIRMATION) -> str:
    now = system_clock()
    claims = build_claims(
        issuer=ISSUER,
        client_id="agent-0000003",
        audience=RESOURCE,
        scopes=("read:data",),
        issued_at=now,
        expires_at=now + timedelta(hours=1),
        jti="0123456789abcdefghijkl",
        confirmation=confirmation,
    )
    return build_compact(build_header(algorithm=key.algorithm, kid=key.kid), claims, key.sign)


def _functions() -> Mapping[str, Callable[[], object]]:
    es256, rs256 = generate_private_key(names.ES256), generate_private_key(names.RS256)
    token = _token(es256)
    own = generate_private_key(names.ES256)
    bound = _token(es256, Confirmation(jkt=own.kid))
    message, _, signature = token.encode().rpartition(b".")
    private, rsa_private = es256.key, rs256.key
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(rsa_private, rsa.RSAPrivateKey):
        raise TypeError("keys")
    public = private.public_key()
    raw = jwt.utils.base64url_decode(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    scheme, digest, pkcs1 = ec.ECDSA(hashes.SHA256()), hashes.SHA256(), padding.PKCS1v15()
    first_sight, cached = _verifier(es256, cached_tokens=0), _verifier(es256, cached_tokens=100)
    for verifier in (first_sight, cached):
        verifier.verify_token_sync(token)
    return {
        "raw ES256 signature": lambda: private.sign(message, scheme),
        "raw RS256 signature": lambda: rsa_private.sign(message, pkcs1, digest),
        "raw ES256 verification": lambda: public.verify(der, message, scheme),
        "first sight": _stepping(lambda: first_sight.verify_token(token)),
        "PyJWT decode": lambda: jwt.decode(token, public, algorithms=["ES256"], audience=RESOURCE, issuer=ISSUER),
        "bound, first sight": BoundRequests(_verifier(es256, cached_tokens=0), own, bound),
        "bound, remembered token": BoundRequests(_verifier(es256, cached_tokens=100), own, bound),
        "cached": _stepping(lambda: cached.verify_token(token)),
        "cached, blocking": lambda: cached.verify_token_sync(token),
    }


def _stepping(make: Callable[[], Coroutine[object, object, object]]) -> Callable[[], object]:
    """Return a call of something that need not wait, without an event loop's own cost."""

    def call() -> object:
        try:
            make().send(None)
        except StopIteration as done:
            return done.value
        raise RuntimeError("it waits")

    return call


def _cost(call: Callable[[], object]) -> float:
    if isinstance(call, BoundRequests):
        call.prepare()
    calls, began = 0, time.process_time()
    while (spent := time.process_time() - began) < TURN:
        for _ in range(50):
            call()
        calls += 50
    return spent / calls * 1e6


async def main(rounds: int) -> dict[str, list[float]]:
    """Return the costs, by name, round by round."""
    functions = _functions()
    costs: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, call in functions.items():
            costs[name].append(_cost(call))
    return costs


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(int(sys.argv[1])))))
