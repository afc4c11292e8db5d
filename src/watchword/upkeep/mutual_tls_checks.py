"""What can be wrong with mutual TLS: the listener's certificate, the authorities of clients, their lists of revoked ones."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from watchword.adapters.certificate_file import CertificateProblem, read_certificate
from watchword.asgi.client_authorities import ClientAuthorities
from watchword.errors import BadSettings
from watchword.settings import ServerSettings
from watchword.upkeep.findings import Finding, error, warning
from watchword.upkeep.machine_checks import EXPIRES_SOON


def check_mutual_tls(settings: ServerSettings, now: datetime) -> Iterator[Finding]:
    """Clients with certificates can log in, and still for a while."""
    if settings.mtls_cert is not None and settings.mtls_key is not None:
        yield from _check_own(settings, settings.mtls_cert, settings.mtls_key, now)
    if settings.client_ca is not None:
        yield from _check_authorities(settings.client_ca, settings.client_crl, now)


def _check_own(settings: ServerSettings, certificate: Path, key: Path, now: datetime) -> Iterator[Finding]:
    command = f"openssl x509 -in {certificate} -noout -subject -dates"
    try:
        facts = read_certificate(certificate, key)
    except CertificateProblem as problem:
        yield error("mtls", problem.detail, command)
        return
    yield from _check_times(f"{certificate}", facts.not_before, facts.not_after, now, command)
    host = urlsplit(settings.mtls_url or settings.issuer).hostname or ""
    if not facts.covers(host):
        yield error("mtls", f"{certificate} is not for {host}, where clients with certificates are sent", command)
    if stat.S_IMODE(key.stat().st_mode) & 0o007:
        yield error("mtls", f"{key} is open to other users", f"chmod 600 {key}")


def _check_authorities(anchors: Path, lists: Path | None, now: datetime) -> Iterator[Finding]:
    command = f"openssl x509 -in {anchors} -noout -subject -dates"
    try:
        trusted = ClientAuthorities(anchors, lists).current
    except BadSettings as problem:
        yield error("client-ca", problem.detail, command)
        return
    for one in trusted.anchors:
        name = f"the authority {one.subject.rfc4514_string()} in {anchors}"
        yield from _check_times(name, one.not_valid_before_utc, one.not_valid_after_utc, now, command, "client-ca")
    if lists is None:
        return
    listed = {one.issuer: one for one in sorted(trusted.lists, key=lambda one: one.next_update_utc or now)}
    for one in trusted.anchors:
        if one.subject not in listed:
            finding = f"{lists} has no list of {one.subject.rfc4514_string()}: nobody with its certificates logs in"
            yield error("client-crl", finding, f"openssl crl -in {lists} -noout -issuer -nextupdate")
    for issuer, revoked in listed.items():
        until, name = revoked.next_update_utc, issuer.rfc4514_string()
        renew = f"openssl crl -in {lists} -noout -issuer -nextupdate"
        if until is not None and now > until:
            finding = (
                f"the list of {name} in {lists} ended on {until:%Y-%m-%d %H:%M}: nobody with its certificates logs in"
            )
            yield error("client-crl", finding, renew)
        elif until is not None and (until - now) * 4 < until - revoked.last_update_utc:
            finding = f"the list of {name} in {lists} ends on {until:%Y-%m-%d %H:%M}: fetch the next one"
            yield warning("client-crl", finding, renew)


def _check_times(
    name: str, begins: datetime, ends: datetime, now: datetime, command: str, check: str = "mtls"
) -> Iterator[Finding]:
    if now >= ends:
        yield error(check, f"{name} expired on {ends:%Y-%m-%d}: renew it", command)
    elif now >= ends - EXPIRES_SOON:
        yield warning(check, f"{name} expires on {ends:%Y-%m-%d}: renew it", command)
    if now < begins:
        yield error(check, f"{name} is not valid before {begins:%Y-%m-%d}", command)
