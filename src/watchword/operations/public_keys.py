"""Public keys as credentials: an agent's own, of which the server never sees the private half."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from watchword.errors import Invalid
from watchword.operations.checked import Checked
from watchword.operations.context import OperationContext
from watchword.protocol import names
from watchword.protocol.registered_key import MAX_REGISTERED, InvalidRegistration, from_details

_SENTENCES: Final[Mapping[str, str]] = {
    "registered_key.form": "public_key has one of jwk (a key), jwks (an object with keys) and jwks_uri (an https URL), and "
    "beside it alg and strict where wanted.",
    "registered_key.url": "jwks_uri is an https URL, in its plain spelling and without fragment.",
    "registered_key.algorithm": f"alg is one of {', '.join(names.SIGNING_ALGORITHMS)}.",
    "registered_key.too_many": f"A set has {MAX_REGISTERED} keys at most.",
    "registered_key.duplicate": "Two keys of the set have the same kid: give each a name of its own.",
    "registered_key.kid": "A kid has 256 characters at most.",
    "key.private": "This is a private or a shared key. Do not store it here; if it was sent over a network, make a new one, and "
    "register its public half.",
    "key.algorithm": "The alg does not fit the key. An RSA key needs one: PS256 or RS256.",
    "key.use": "This key is not for signatures: its use is not sig, or its key_ops lack verify.",
    "key.curve": "The curve is one of P-256, P-384 and Ed25519.",
    "key.size": "An RSA key has 2048 to 4096 bits.",
    "key.weak": "This key is weak: others can compute its private half. Make a new one.",
}
_OTHERWISE: Final = "This is no public key that can be used: an EC, OKP or RSA key as a JWK (RFC 7517)."


async def check_public_key(context: OperationContext, said: Mapping[str, object]) -> Checked:  # noqa: ARG001 -- the table's signature
    """Return what is stored of a registered key, each key with its name and its algorithm.

    Raises:
        Invalid: registered_key.*, key.*
    """
    try:
        return Checked(from_details(said).to_details())
    except InvalidRegistration as error:
        raise Invalid(error.reason, detail=_SENTENCES.get(error.reason, _OTHERWISE)) from error
