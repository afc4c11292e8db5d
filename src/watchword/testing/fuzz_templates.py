"""Good requests to every endpoint, to start mutation from. None of them, however it is changed, may give a token."""

from __future__ import annotations

import json
from typing import Final

from watchword.testing.fuzz import FORM, JSON, Template
from watchword.testing.process import AgentSecret, ServerProcess

NEVER: Final = {"source_networks": ["203.0.113.0/24"]}
"""Conditions that no request over loopback meets: everything is right with the agent but where it is."""


def token_templates(server: ServerProcess, caged: AgentSecret) -> list[Template]:
    """Requests to the OAuth endpoints by an agent that proves who it is and gets nothing (its permission has ``NEVER``)."""
    host = (b"Host", f"{server.host}:{server.port}".encode())
    form, basic = (b"Content-Type", FORM), (b"Authorization", caged.basic.encode())
    client = f"client_id={caged.client_id}&client_secret={caged.client_secret}".encode()
    grant = b"grant_type=client_credentials"
    exchange = b"urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange"
    assertion = b"client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
    bodies = [
        grant + b"&scope=read%3Adata",
        grant + b"&scope=read%3Adata+write%3Adata&resource=https%3A%2F%2Fmy-api.example%2Fv1",
        grant + b"&scope=read%3Adata&audience=my-api",
        b"grant_type="
        + exchange
        + b"&subject_token=x&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt",
        grant + b"&" + assertion + b"&client_assertion=e30.e30.c2ln",
    ]
    templates = [Template(b"POST", b"/oauth/token", (host, form, basic), body) for body in bodies]
    templates += [Template(b"POST", b"/oauth/token", (host, form), body + b"&" + client) for body in bodies]
    readable = (
        b"/.well-known/jwks.json",
        b"/.well-known/oauth-authorization-server",
        b"/oauth/authorize?response_type=code",
    )
    templates += [Template(b"GET", target, (host, (b"Accept", b"*/*"))) for target in readable]
    return templates


def admin_templates(server: ServerProcess, clay: AgentSecret) -> list[Template]:
    """Requests to the admin API by an operator who may do everything; ``clay`` is an agent to be formed by them."""
    bearer = (b"Authorization", f"Bearer {server.operator_token}".encode())
    headers = (
        (b"Host", f"{server.host}:{server.port}".encode()),
        bearer,
        (b"Content-Type", JSON),
        (b"If-Match", b'"1"'),
    )
    permission = {
        "resource": "clay-api",
        "scopes": ["a", "b"],
        "default_scopes": ["a"],
        "conditions": {"hours": "08:00-09:00"},
    }
    agent = {"name": "made", "owner": "o", "purpose": "p", "labels": {"k": "v"}, "expires_at": "2031-01-31T12:00:00Z"}
    conditions = {"not_before": "2030-01-01T00:00:00Z", "source_networks": ["10.0.0.0/8"], "maximum_lifetime": 60}
    one = f"/agents/{clay.client_id}"
    wanted: list[tuple[str, str, object]] = [
        (
            "POST",
            "/resources",
            {"name": "clay-api", "scopes": ["a", "b"], "identifier": "https://c.example", "token_lifetime": 60},
        ),
        ("PATCH", "/resources/clay-api", {"scopes": ["a", "b", "c"], "require_pop": False}),
        ("GET", "/resources?limit=2&cursor=x", None),
        ("POST", "/agents", {**agent, "permissions": [permission]}),
        ("PATCH", one, {"owner": "o", "labels": {"k": "v"}, "default_resource": None}),
        ("POST", one + "/suspend", {"reason": "r"}),
        ("POST", one + "/resume", {"reason": "r"}),
        ("GET", "/agents?limit=2&state=active", None),
        ("POST", one + "/credentials", {"kind": "client_secret", "label": "l", "expires_at": "2031-01-31T12:00:00Z"}),
        ("POST", one + "/permissions", {**permission, "conditions": conditions}),
        ("DELETE", one + "/permissions/x", None),
        ("GET", "/audit/events?limit=3&newest_first=true&action=token.issue", None),
        ("GET", "/server", None),
    ]
    bodies = [b"" if body is None else json.dumps(body).encode() for _, _, body in wanted]
    return [
        Template(method.encode(), b"/admin/v1" + path.encode(), headers, body)
        for (method, path, _), body in zip(wanted, bodies, strict=True)
    ]
