"""With what Google Cloud KMS is asked: the key of a service account, or the token that the machine's metadata server lends."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

from watchword.adapters.keys_bearer import Lent, lifetime, read_secret
from watchword.adapters.keys_http import ask, refuse, text_member
from watchword.clock import Clock
from watchword.errors import CustodyUnavailable
from watchword.ports.http import Transport
from watchword.protocol import names
from watchword.protocol.jose import InvalidKey, build_compact
from watchword.protocol.private_keys import read_private_key
from watchword.protocol.strict_json import parse_object

AUDIENCE: Final = "https://cloudkms.googleapis.com/"
_LIFETIME: Final = timedelta(hours=1)
_TOKEN: Final = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105 -- a path


def token_of_account(file: Path, clock: Clock) -> Lent:
    """Return a token that the service account signs itself (AIP-4111): nobody need be asked.

    Raises:
        CustodyUnavailable: custody.denied: the file holds no key of a service account.
    """
    text = read_secret(file, "the key of a service account")
    try:
        account = parse_object(text.encode())
        email, kid = str(account["client_email"]), str(account["private_key_id"])
        key = read_private_key(str(account["private_key"]), algorithm=names.RS256)
    except (ValueError, KeyError, InvalidKey) as error:
        detail = f"{file} holds no key of a service account: {type(error).__name__}"
        raise CustodyUnavailable("custody.denied", detail=detail) from None
    now = int(clock().timestamp())
    claims = {"iss": email, "sub": email, "aud": AUDIENCE, "iat": now, "exp": now + int(_LIFETIME.total_seconds())}
    token = build_compact({"alg": names.RS256, "kid": kid, "typ": "JWT"}, claims, key.sign)
    return Lent(token, _LIFETIME.total_seconds())


async def token_of_machine(transport: Transport, metadata_url: str) -> Lent:
    """Return the token that the metadata server lends to whoever runs here.

    Raises:
        CustodyUnavailable: it does not.
    """
    custody, reasons = "the metadata server", _REASONS
    answer = await ask(transport, custody, "GET", metadata_url + _TOKEN, {"metadata-flavor": "Google"})
    if not answer.is_good:
        raise refuse(custody, answer, reasons)
    return Lent(text_member(custody, answer.content, "access_token"), lifetime(answer.content.get("expires_in")))


_REASONS: Final[Mapping[int, str]] = {403: "custody.denied", 404: "custody.denied", 429: "custody.throttled"}
