"""What an operator may know of the server."""

from __future__ import annotations

from dataclasses import dataclass

import watchword
from watchword.operations.context import OperationContext
from watchword.operations.operation import operation
from watchword.protocol import names
from watchword.protocol.metadata import well_known_url


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowServer:
    """This server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """Where everything is. ``actor`` and ``role`` are the asking operator's own."""

    issuer: str
    version: str
    token_endpoint: str
    jwks_uri: str
    metadata_uri: str
    actor: str
    role: str


@operation("server.show")
async def show_server(context: OperationContext, _command: ShowServer) -> ServerInfo:
    """Return the server's addresses and version, and who the operator is to it."""
    issuer = context.issuer
    return ServerInfo(
        issuer=issuer,
        version=watchword.__version__,
        token_endpoint=issuer + names.PATH_TOKEN,
        jwks_uri=issuer + names.PATH_JWKS,
        metadata_uri=well_known_url(issuer, names.PATH_AS_METADATA.removeprefix("/.well-known/")),
        actor=context.principal.actor,
        role=str(context.principal.role),
    )
