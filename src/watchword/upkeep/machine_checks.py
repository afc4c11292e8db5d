"""What can be wrong with the machine and the settings: files, keys, listeners, certificates, clock, disk, limits."""

from __future__ import annotations

import os
import resource
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from watchword.adapters.certificate_file import CertificateFacts, CertificateProblem, read_certificate
from watchword.adapters.sqlite_upgrade import check_library
from watchword.config import FILE_NAME
from watchword.errors import BadSettings, MasterKeyError
from watchword.sealing import MASTER_KEY_FILE, find_master_key
from watchword.settings import ServerSettings
from watchword.upkeep.findings import Finding, error, warning

EXPIRES_SOON: Final = timedelta(days=30)
LEAST_SPACE: Final = 1 << 30
LEAST_FILES: Final = 4096
KEY_PLACE: Final = "/etc/watchword/master.key"
BUILT: Final = datetime(2026, 11, 1, tzinfo=UTC)
"""No clock that is right shows an earlier time."""


_OF_OTHER_CHECKS: Final = frozenset({MASTER_KEY_FILE, FILE_NAME})
"""The master key has a check of its own, and no secret stands in the settings."""


def check_modes(data: Path) -> Iterator[Finding]:
    """Nobody else may look into the data directory, or change what is in it."""
    for path in (data, *sorted(data.iterdir())):
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            continue
        if found.st_uid not in (0, os.geteuid()):
            finding = f"{path} belongs to another user"
            yield error("owner", finding, f"chown {os.geteuid()} {path}")
        if path.name not in _OF_OTHER_CHECKS and stat.S_IMODE(found.st_mode) & 0o077:
            mode = "700" if path.is_dir() else "600"
            finding = f"{path} is open to other users (mode {stat.S_IMODE(found.st_mode):04o})"
            yield error("mode", finding, f"chmod {mode} {path}")


def check_master_key(settings: ServerSettings, *, is_production: bool) -> Iterator[Finding]:
    """It is there, nobody else can read it, and in production a copy of the data directory does not hold it."""
    path = settings.master_key_file or settings.data / MASTER_KEY_FILE
    try:
        find_master_key(settings)
    except MasterKeyError as problem:
        mends = {"master_key.mode": f"chmod 600 {path}", "master_key.owner": f"chown {os.geteuid()} {path}"}
        yield error("master-key", problem.detail, mends.get(problem.reason, f"ls -l {path}"))
        return
    if is_production and settings.master_key is None and path.resolve().parent == settings.data.resolve():
        finding = f"the master key lies beside the database: whoever copies {settings.data} has both"
        command = f"mv {path} {KEY_PLACE} && export WATCHWORD_SERVER__MASTER_KEY_FILE={KEY_PLACE}"
        yield warning("master-key-place", finding, command)


def check_issuer(settings: ServerSettings) -> Iterator[Finding]:
    """In production agents reach it over https."""
    if urlsplit(settings.issuer).scheme != "https":
        command = f"watchword config set-issuer https://auth.example.com --data {settings.data}"
        yield error("issuer", f"the issuer {settings.issuer} is not https: secrets travel in the clear", command)


def check_exposure(settings: ServerSettings) -> Iterator[Finding]:
    """Secrets are not taken over plain HTTP from others, and probes and metrics are not shown to them."""
    serve = f"watchword serve --data {settings.data}"
    try:
        settings.check_exposure()
    except BadSettings as problem:
        yield error("exposure", problem.detail.rstrip("."), f"{serve} --tls-cert FILE --tls-key FILE")
    if settings.insecure_http and not settings.listen.is_loopback and settings.tls_cert is None:
        finding = f"{settings.listen} takes secrets over plain HTTP, because insecure_http accepts it"
        yield warning("exposure", finding, f"{serve} --tls-cert FILE --tls-key FILE")
    if not settings.management.is_loopback:
        finding = f"the probes and metrics on {settings.management} can be reached by others, without a credential"
        yield warning("management", finding, f"{serve} --management 127.0.0.1:8022")


def check_certificate(settings: ServerSettings, now: datetime) -> Iterator[Finding]:
    """The certificate can be used, for this issuer, and still for a while."""
    if settings.tls_cert is None or settings.tls_key is None:
        return
    renew = f"openssl x509 -in {settings.tls_cert} -noout -subject -dates"
    try:
        facts = read_certificate(settings.tls_cert, settings.tls_key)
    except CertificateProblem as problem:
        yield error("certificate", problem.detail, renew)
        return
    yield from _judge_certificate(facts, settings, now, renew)


def _judge_certificate(
    facts: CertificateFacts, settings: ServerSettings, now: datetime, renew: str
) -> Iterator[Finding]:
    name = settings.tls_cert
    if now >= facts.not_after:
        yield error("certificate", f"{name} expired on {facts.not_after:%Y-%m-%d}: renew it", renew)
    elif now >= facts.not_after - EXPIRES_SOON:
        yield warning("certificate", f"{name} expires on {facts.not_after:%Y-%m-%d}: renew it", renew)
    if now < facts.not_before:
        yield error("certificate", f"{name} is not valid before {facts.not_before:%Y-%m-%d}", renew)
    host = urlsplit(settings.issuer).hostname or ""
    if not facts.covers(host):
        yield error("certificate", f"{name} is not for {host}, the host of the issuer", renew)
    if settings.tls_key is not None and stat.S_IMODE(settings.tls_key.stat().st_mode) & 0o007:
        yield error("certificate", f"{settings.tls_key} is open to other users", f"chmod 600 {settings.tls_key}")


def check_clock(now: datetime, newest: datetime | None) -> Iterator[Finding]:
    """The clock does not show what cannot be: tokens are judged by it."""
    command = "timedatectl set-ntp true"
    if now < BUILT:
        yield error("clock", f"the clock shows {now:%Y-%m-%d %H:%M}, which is in the past", command)
    elif newest is not None and newest > now + timedelta(minutes=1):
        finding = f"the clock shows {now:%Y-%m-%d %H:%M:%S}, but the audit trail has reached {newest:%Y-%m-%d %H:%M:%S}"
        yield error("clock", finding, command)


def check_disk(data: Path) -> Iterator[Finding]:
    """There is room: without it nothing can be recorded, and no token is given."""
    usage = shutil.disk_usage(data)
    if usage.free < LEAST_SPACE:
        yield warning("disk", f"{usage.free >> 20} MiB are free where {data} lies", f"df -h {data}")


def check_limits() -> Iterator[Finding]:
    """There may be as many connections as a busy server has."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < LEAST_FILES:
        finding = f"a process may open {soft} files: at most as many connections are served"
        yield warning("open-files", finding, "ulimit -n 65536, or LimitNOFILE=65536 in the unit of systemd")


def check_sqlite() -> Iterator[Finding]:
    """SQLite does not corrupt what several processes write."""
    try:
        check_library()
    except BadSettings as problem:
        yield error("sqlite", problem.detail, "python -m pip install --upgrade apsw")
