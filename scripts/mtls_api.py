"""The protected API of the examples, on a listener that asks its callers for a certificate.

ISSUER=... python mtls_api.py HOST PORT CERTIFICATE KEY
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from watchword.asgi.listeners import Listener, serve
from watchword.asgi.mutual_tls import MutualCertificate
from watchword.asgi.sockets import bind
from watchword.asgi.tls import KeyPair
from watchword.resource import FromConnection, Guard, Verifier

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "docs" / "examples"))

from protected_api import api


async def main(host: str, port: str, certificate: str, key: str) -> None:
    verifier = Verifier(issuer=os.environ["ISSUER"], audience="my-api", client_certificate=FromConnection())
    files = KeyPair(Path(certificate), Path(key))
    listener = Listener(Guard(api, verifier), bind(host, int(port)), MutualCertificate(files))
    await serve([listener], ready=lambda: print("ready", flush=True))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
