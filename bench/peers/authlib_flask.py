"""Authlib on Flask: an RFC 9068 token for client credentials. Clients in memory, nothing recorded. Served by gunicorn."""

from __future__ import annotations

import json
import os
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, grants
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from flask import Flask
from joserfc.jwk import ECKey, KeySet, RSAKey

SETUP = json.loads(os.environ["BENCH_PEER"])
SCOPES = tuple(SETUP["scopes"])


class Client(ClientMixin):
    client_id = SETUP["client_id"]

    def get_client_id(self) -> str:
        return str(self.client_id)

    def check_client_secret(self, client_secret: str) -> bool:
        return bool(client_secret == SETUP["client_secret"])

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return (method, endpoint) == ("client_secret_basic", "token")

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"

    def get_allowed_scope(self, scope: str) -> str:
        return " ".join(one for one in scope.split() if one in SCOPES)


class Tokens(JWTBearerTokenGenerator):
    def get_jwks(self) -> KeySet:
        return KEYS

    def get_audiences(self, client: Any, user: Any, scope: str) -> list[str]:
        return [SETUP["resource"]]


class ClientCredentials(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)


_PARAMETERS = {"kid": "key-1", "use": "sig"}
KEYS = KeySet(
    [
        RSAKey.generate_key(2048, _PARAMETERS)
        if SETUP["algorithm"] == "RS256"
        else ECKey.generate_key("P-256", _PARAMETERS)
    ]
)
CLIENTS = {Client.client_id: Client()}

app = Flask(__name__)
app.config["OAUTH2_TOKEN_EXPIRES_IN"] = {"client_credentials": 300}
server = AuthorizationServer()
server.init_app(app, query_client=CLIENTS.get, save_token=lambda _token, _request: None)
server.register_token_generator("default", Tokens(SETUP["issuer"], alg=SETUP["algorithm"]))
server.register_grant(ClientCredentials)


@app.post("/oauth/token")
def token() -> Any:
    return server.create_token_response()
