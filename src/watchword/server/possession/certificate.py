"""The certificate of the connection, as what a token is bound to. RFC 8705 §3."""

from __future__ import annotations

from watchword.errors import InvalidRequest
from watchword.protocol.certificate import InvalidCertificate
from watchword.protocol.confirmation import NO_CONFIRMATION, Confirmation
from watchword.server.authentication import AuthenticatedAgent
from watchword.server.authentication.tls_client import TLS_METHODS
from watchword.server.certificates import Certificates
from watchword.server.entry import Request


class CertificatePossession:
    """Binds the tokens of agents that log in with a certificate, and of those that are ``mtls_bound`` however they log in.

    To others a certificate on the connection means nothing: it may be shown to everybody, as in a service mesh.
    """

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates

    async def prove(self, request: Request, client: AuthenticatedAgent) -> Confirmation:
        """Return the thumbprint of the certificate, if this agent is to be bound to it.

        Raises:
            InvalidRequest: binding.certificate_invalid
        """
        der = request.peer.certificate
        if not der or not (client.agent.mtls_bound or client.method in TLS_METHODS):
            return NO_CONFIRMATION
        try:
            certificate = self._certificates.parse(der)
            certificate.check_time(request.received_at)
        except InvalidCertificate as error:
            raise InvalidRequest("binding.certificate_invalid", detail=error.reason) from error
        return Confirmation(x5t_s256=certificate.thumbprint)
