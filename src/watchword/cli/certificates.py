"""The options that say which certificates are an agent's: a file, or one name that an authority has written into it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Final

import typer

from watchword.cli.arguments import only_given
from watchword.cli.exits import usage
from watchword.protocol import names

CertificateFile = Annotated[
    Path | None,
    typer.Option(
        "--certificate", metavar="FILE", help="The certificate itself, PEM; with tls_client_auth, its subject."
    ),
]
SubjectDn = Annotated[
    str | None,
    typer.Option("--subject-dn", metavar="DN", help="The subject of its certificates, as in CN=reader,O=Example."),
]
SanDns = Annotated[str | None, typer.Option("--san-dns", metavar="NAME", help="A host name in its certificates.")]
SanUri = Annotated[str | None, typer.Option("--san-uri", metavar="URI", help="A URI in its certificates.")]
SanIp = Annotated[str | None, typer.Option("--san-ip", metavar="ADDRESS", help="An address in its certificates.")]
SanEmail = Annotated[
    str | None, typer.Option("--san-email", metavar="EMAIL", help="A mail address in its certificates.")
]

CERTIFICATE_METHODS: Final = (names.TLS_CLIENT_AUTH, names.SELF_SIGNED_TLS_CLIENT_AUTH)

MtlsBound = Annotated[
    bool | None,
    typer.Option("--mtls-bound/--no-mtls-bound", help="Give it tokens for the certificate of its connection alone."),
]

PrivateKeyFile = Annotated[
    Path | None,
    typer.Option(
        "--private-key", metavar="FILE", help="The certificate's key, for --save-profile; it stays where it is."
    ),
]


@dataclass(frozen=True, slots=True)
class CertificateOptions:
    """Which certificates are meant."""

    certificate: CertificateFile = None
    subject_dn: SubjectDn = None
    san_dns: SanDns = None
    san_uri: SanUri = None
    san_ip: SanIp = None
    san_email: SanEmail = None

    def rule(self, auth: str = names.SELF_SIGNED_TLS_CLIENT_AUTH) -> dict[str, object] | None:
        """Return the rule that was given, or nothing. Under ``tls_client_auth`` a file is an example of the subject.

        Raises:
            CommandError: usage.
        """
        given = only_given({each.name: getattr(self, each.name) for each in fields(self)})
        if len(given) > 1:
            raise usage("Give one of --certificate, --subject-dn, --san-dns, --san-uri, --san-ip and --san-email.")
        if self.certificate is None:
            return given or None
        pem = _read(self.certificate)
        return {"subject_dn": _subject_of(self.certificate, pem)} if auth == names.TLS_CLIENT_AUTH else {"pem": pem}

    def kept(self, auth: str, private_key: Path | None, save_profile: str | None) -> dict[str, str]:
        """Return what a profile says of the certificate: where its files are, which must go together.

        Raises:
            CommandError: usage
            LoginMisconfigured: credential.certificate, file.*
        """
        if auth not in CERTIFICATE_METHODS or save_profile is None:
            if private_key is not None:
                raise usage("--private-key is for agents with certificates, and goes with --save-profile.")
            return {}
        if self.certificate is None or private_key is None:
            raise usage("A profile names the certificate and its key: give --certificate FILE and --private-key FILE.")
        from watchword.client.tls_client_auth import TlsClientAuth

        files = (self.certificate.resolve(), private_key.resolve())
        TlsClientAuth("new", *files)
        return {"certificate_file": str(files[0]), "private_key_file": str(files[1])}


NO_CERTIFICATE: Final = CertificateOptions()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise usage(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeError as error:
        raise usage(f"{path} is not PEM.") from error


def _subject_of(path: Path, pem: str) -> str:
    from cryptography import x509

    try:
        subject = x509.load_pem_x509_certificate(pem.encode()).subject.rfc4514_string()
    except ValueError as error:
        raise usage(f"{path} is not a certificate, PEM.") from error
    if not subject:
        raise usage(f"The certificate in {path} has no subject: give one of the --san-... options.")
    return subject
