"""``client_secret_basic`` and ``client_secret_post``: a shared secret, in the header or in the body. RFC 6749 §2.3.1."""

from __future__ import annotations

from watchword.ports.agents import Credential, CredentialKind
from watchword.protocol import names
from watchword.protocol.client_secret import find_match, hash_secret, parse_basic
from watchword.protocol.form import Form
from watchword.server.authentication import Presented, Proved
from watchword.server.entry import Request


class _ClientSecret:
    def __init__(self, pepper: bytes) -> None:
        self._pepper = pepper

    async def check(self, presented: Presented, credentials: tuple[Credential, ...], request: Request) -> Proved | None:
        """Compare with every usable secret of the client, in constant time for their number."""
        usable = [
            one
            for one in credentials
            if one.kind is CredentialKind.CLIENT_SECRET and one.is_usable(request.received_at)
        ]
        presented_hash = hash_secret(str(presented.proof), pepper=self._pepper)
        index = find_match(presented_hash, [one.secret_hash for one in usable])
        return None if index is None else Proved(usable[index])


class ClientSecretBasic(_ClientSecret):
    """The secret in the ``Authorization`` header."""

    names = (names.CLIENT_SECRET_BASIC,)

    def present(self, request: Request, form: Form) -> Presented | None:  # noqa: ARG002 -- the method's signature
        """Read the header; both halves are form-decoded (RFC 6749 appendix B)."""
        values = request.header_values(b"authorization")
        if not values or values[0].partition(b" ")[0].lower() != b"basic":
            return None
        client_id, secret = parse_basic(values[0])
        return Presented(names.CLIENT_SECRET_BASIC, client_id, secret)


class ClientSecretPost(_ClientSecret):
    """The secret in the body, beside ``client_id``."""

    names = (names.CLIENT_SECRET_POST,)

    def present(self, request: Request, form: Form) -> Presented | None:  # noqa: ARG002 -- the method's signature
        """Read the two parameters."""
        secret = form.get(names.CLIENT_SECRET)
        return None if secret is None else Presented(names.CLIENT_SECRET_POST, form.get(names.CLIENT_ID) or "", secret)
