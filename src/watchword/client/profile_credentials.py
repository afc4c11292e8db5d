"""What a profile's ``auth_method`` makes of its members."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from watchword.client.credentials import ClientCredential, ClientSecretBasic, ClientSecretPost
from watchword.client.errors import LoginMisconfigured
from watchword.client.profiles import AgentProfile
from watchword.protocol import names


def build_credential(profile: AgentProfile) -> ClientCredential:
    """Return how this profile's agent shows who it is.

    Raises:
        LoginMisconfigured: credentials.unsupported, and what the credential itself raises.
    """
    build = _METHODS.get(profile.auth_method)
    if build is None:
        raise LoginMisconfigured(
            "credentials.unsupported",
            detail=f"auth_method is {profile.auth_method!r}; this release can: {', '.join(_METHODS)}",
        )
    return build(profile)


def _basic(profile: AgentProfile) -> ClientCredential:
    return ClientSecretBasic(profile.client_id, profile.client_secret)


def _post(profile: AgentProfile) -> ClientCredential:
    return ClientSecretPost(profile.client_id, profile.client_secret)


def _private_key(profile: AgentProfile) -> ClientCredential:
    from watchword.client.private_key_jwt import PrivateKeyJwt  # it loads cryptography

    return PrivateKeyJwt(profile.client_id, _key(profile), algorithm=profile.algorithm, kid=profile.key_id)


def _challenge(profile: AgentProfile) -> ClientCredential:
    from watchword.client.challenge_response import ChallengeResponse

    return ChallengeResponse(profile.client_id, _key(profile), algorithm=profile.algorithm, kid=profile.key_id)


def _certificate(profile: AgentProfile) -> ClientCredential:
    from watchword.client.tls_client_auth import TlsClientAuth

    if not profile.certificate_file or not profile.private_key_file:
        raise LoginMisconfigured("credential.certificate", detail="set certificate_file and private_key_file, both PEM")
    return TlsClientAuth(profile.client_id, profile.certificate_file, profile.private_key_file)


def _federated(profile: AgentProfile) -> ClientCredential:
    from watchword.client.federated_token import FederatedToken

    if not profile.federated_token_file:
        raise LoginMisconfigured(
            "federated.token", detail="set federated_token_file: where the platform puts the token"
        )
    return FederatedToken(profile.federated_token_file, profile.client_id)


def _key(profile: AgentProfile) -> str | Path:
    if bool(profile.private_key) == bool(profile.private_key_file):
        raise LoginMisconfigured(
            "credential.private_key", detail="set private_key (PEM or JWK) or private_key_file, one of them"
        )
    return profile.private_key or Path(profile.private_key_file)


IN_PROFILE: Final = frozenset(
    {names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST, names.PRIVATE_KEY_JWT, names.WATCHWORD_CHALLENGE}
)
"""The methods whose secret or key a profile holds, or names the file of."""

_METHODS: Final[Mapping[str, Callable[[AgentProfile], ClientCredential]]] = {
    names.CLIENT_SECRET_BASIC: _basic,
    names.CLIENT_SECRET_POST: _post,
    names.PRIVATE_KEY_JWT: _private_key,
    names.WATCHWORD_CHALLENGE: _challenge,
    names.TLS_CLIENT_AUTH: _certificate,
    names.SELF_SIGNED_TLS_CLIENT_AUTH: _certificate,
    names.FEDERATED: _federated,
}
