"""To which key a token will be bound. DPoP (RFC 9449) and mutual TLS (RFC 8705) will meet here in one ``Confirmation``."""

from __future__ import annotations

from watchword.protocol.confirmation import NO_CONFIRMATION, Confirmation
from watchword.server.authentication import AuthenticatedAgent
from watchword.server.entry import Request


def bind(request: Request, client: AuthenticatedAgent) -> Confirmation:  # noqa: ARG001 -- what the proofs will need
    """Return what was proved of a key in this request: nothing yet, so policy refuses where proof is required."""
    return NO_CONFIRMATION
