"""``POST /oauth/challenge``: a challenge for whoever asks. Nothing is looked up and nothing remembered."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from watchword.errors import InvalidRequest, OAuthError
from watchword.protocol import names
from watchword.protocol.challenge_login import PURPOSE_TOKEN, PURPOSES, THUMBPRINT_SIZE, Terms, make_challenge
from watchword.protocol.form import Form, parse_form
from watchword.server.audit import Audit
from watchword.server.authentication import MAX_CLIENT_ID
from watchword.server.entry import Request
from watchword.server.limits import RequestLimits
from watchword.server.request_head import check_certificate_header, check_head

_THUMBPRINT: Final = re.compile(rf"[A-Za-z0-9_-]{{{THUMBPRINT_SIZE}}}")


@dataclass(frozen=True, slots=True)
class ChallengeEndpoint:
    """Gives challenges: the same to agents that exist and to names that are nobody's, so that nobody learns which is which."""

    issuer: str
    secret: bytes = field(repr=False)
    audit: Audit
    limits: RequestLimits
    hosts: frozenset[str]

    async def answer(self, request: Request) -> dict[str, object]:
        """Return the members of the response. What is refused is recorded; what is given is not: it opens nothing.

        Raises:
            OAuthError: refused; recorded.
            Fault: could not be recorded.
        """
        try:
            await self.limits.admit_peer(request.peer.address, request.received_at)
            check_head(request, methods=("POST",), hosts=self.hosts)
            check_certificate_header(request)
            form = parse_form(request.body, content_type=request.header_values(b"content-type"), query=request.query)
            challenge = make_challenge(self.secret, self._terms(form), request.received_at)
        except OAuthError as refusal:
            async with self.audit.trail(request, "challenge.issue"):
                raise refusal from None
        ends = int(challenge.expires_at.timestamp())
        left = int((challenge.expires_at - request.received_at).total_seconds())
        return {names.CHALLENGE: challenge.text, "expires_at": ends, names.EXPIRES_IN: left}

    def _terms(self, form: Form) -> Terms:
        """Judge the form of what is asked for, never whose it is."""
        client_id, thumbprint = form.get(names.CLIENT_ID) or "", form.get(names.KEY_THUMBPRINT) or ""
        purpose = form.get(names.PURPOSE) or PURPOSE_TOKEN
        if not 0 < len(client_id) <= MAX_CLIENT_ID:
            raise InvalidRequest("challenge.client_id")
        if not _THUMBPRINT.fullmatch(thumbprint):
            raise InvalidRequest("challenge.thumbprint")
        if purpose not in PURPOSES:
            raise InvalidRequest("challenge.purpose")
        return Terms(issuer=self.issuer, client_id=client_id, thumbprint=thumbprint, purpose=purpose)
