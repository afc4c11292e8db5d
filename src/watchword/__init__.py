"""watchword: log in AI agents, bots and services; check what they may do.

Importing this package loads the standard library only; every public name is resolved on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchword.client.chain import default
    from watchword.client.challenge_response import ChallengeResponse
    from watchword.client.credentials import ClientSecretBasic, ClientSecretPost
    from watchword.client.dpop_key import DPoPKey
    from watchword.client.errors import LoginError, LoginMisconfigured, LoginRefused, LoginUnavailable
    from watchword.client.federated_token import FederatedToken, GitHubActionsToken
    from watchword.client.login import Login
    from watchword.client.private_key_jwt import PrivateKeyJwt
    from watchword.client.tls_client_auth import ClientCertificate, TlsClientAuth

__version__ = "0.1.0"

_HOMES = {
    "ChallengeResponse": "watchword.client.challenge_response",
    "ClientCertificate": "watchword.client.tls_client_auth",
    "ClientSecretBasic": "watchword.client.credentials",
    "ClientSecretPost": "watchword.client.credentials",
    "DPoPKey": "watchword.client.dpop_key",
    "FederatedToken": "watchword.client.federated_token",
    "GitHubActionsToken": "watchword.client.federated_token",
    "Login": "watchword.client.login",
    "LoginError": "watchword.client.errors",
    "LoginMisconfigured": "watchword.client.errors",
    "LoginRefused": "watchword.client.errors",
    "LoginUnavailable": "watchword.client.errors",
    "PrivateKeyJwt": "watchword.client.private_key_jwt",
    "TlsClientAuth": "watchword.client.tls_client_auth",
    "default": "watchword.client.chain",
}

__all__ = [
    "ChallengeResponse",
    "ClientCertificate",
    "ClientSecretBasic",
    "ClientSecretPost",
    "DPoPKey",
    "FederatedToken",
    "GitHubActionsToken",
    "Login",
    "LoginError",
    "LoginMisconfigured",
    "LoginRefused",
    "LoginUnavailable",
    "PrivateKeyJwt",
    "TlsClientAuth",
    "__version__",
    "default",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'watchword' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
