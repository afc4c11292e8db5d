"""``tls_client_auth`` and ``self_signed_tls_client_auth``: the certificate of the connection is the credential. RFC 8705 §2.

That the client holds its key was proved by the TLS handshake. Which of the two it is, the registered rule decides: a name needs
an authority that vouches for it, a pin needs none.
"""

from __future__ import annotations

from watchword.errors import InvalidClient
from watchword.ports.agents import Credential, CredentialKind
from watchword.protocol import names
from watchword.protocol.certificate import ClientCertificate, InvalidCertificate
from watchword.protocol.certificate_rule import CertificateRule
from watchword.protocol.form import Form
from watchword.server.authentication import Presented, Proved
from watchword.server.certificates import Certificates
from watchword.server.entry import Request

TLS_METHODS = frozenset({names.TLS_CLIENT_AUTH, names.SELF_SIGNED_TLS_CLIENT_AUTH})


class TlsClient:
    """Both methods: a request looks the same under either."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        chained = (names.TLS_CLIENT_AUTH,) if certificates.has_authorities else ()
        self.names: tuple[str, ...] = (*chained, names.SELF_SIGNED_TLS_CLIENT_AUTH)

    def present(self, request: Request, form: Form) -> Presented | None:
        """Take the certificate for the login if nothing else is put forward: it may be there to bind a token to (§3)."""
        others = (names.CLIENT_SECRET, names.CLIENT_ASSERTION, names.CLIENT_ASSERTION_TYPE)
        is_said_by_the_grant = form.get(names.GRANT_TYPE) == names.JWT_BEARER
        is_said_elsewhere = (
            request.header_values(b"authorization") or any(map(form.get, others)) or is_said_by_the_grant
        )
        if not request.peer.certificate or is_said_elsewhere:
            return None
        return Presented(self.names[0], form.get(names.CLIENT_ID) or "", request.peer.certificate)

    async def check(
        self,
        presented: Presented,  # noqa: ARG002 -- the method's signature
        credentials: tuple[Credential, ...],
        request: Request,
    ) -> Proved | None:
        """Return the credential whose rule holds for a certificate that is valid now.

        Raises:
            InvalidClient: certificate.*: its rule holds, or nobody could have one for it, and it is not valid.
        """
        try:
            certificate = self._certificates.parse(request.peer.certificate)
            certificate.check_time(request.received_at)
            return self._find(certificate, credentials, request)
        except InvalidCertificate as error:
            raise InvalidClient(error.reason, detail=error.detail) from error

    def _find(
        self, certificate: ClientCertificate, credentials: tuple[Credential, ...], request: Request
    ) -> Proved | None:
        """Pins first: they need nobody else's word, so nobody else can spoil them."""
        now = request.received_at
        holding = [
            (one, rule)
            for one in credentials
            if one.kind is CredentialKind.CERTIFICATE
            and one.is_usable(now)
            and (rule := CertificateRule.from_details(one.details)).holds_for(certificate)
        ]
        for credential, rule in holding:
            if rule.is_pin:
                return Proved(credential, method=names.SELF_SIGNED_TLS_CLIENT_AUTH)
        if not holding:
            return None
        self._certificates.check_chain(certificate, request.peer.chain, now)
        return Proved(holding[0][0], method=names.TLS_CLIENT_AUTH)
