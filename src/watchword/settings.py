"""The server's settings as one checked value: what may stand in ``watchword.toml``, section ``[server]``.

Where the values come from is ``config.py``'s business; here is what they must be. A setting that cannot be used is
refused with one sentence that says what to write instead; the sentence never holds a secret.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from watchword.adapters.postgres_url import check_url
from watchword.adapters.redis_url import RedisUrl, parse_redis_url
from watchword.custody_settings import CustodySettings
from watchword.errors import BadSettings, WatchwordError
from watchword.listening import HOST_NAME, Address, ListenAddress, default_listen
from watchword.mtls_settings import MutualTlsSettings
from watchword.ports.ratelimit import Rate
from watchword.protocol.metadata import check_issuer
from watchword.revocation_settings import RevocationSettings
from watchword.server.credential_rules import CredentialRules
from watchword.server.limits import Limits
from watchword.server.security_profile import PROFILES

_LONGEST_PERIOD = 86_400
_SHORTEST_KEY_PERIOD = 3_600


def _to_list(value: object) -> object:
    """Environment variables and flags write lists with commas."""
    return tuple(item.strip() for item in value.split(",") if item.strip()) if isinstance(value, str) else value


def _to_network(reason: str, value: object) -> object:
    try:
        return str(ipaddress.ip_network(str(value)))
    except ValueError as error:
        detail = f"{value!r} is no network; write an address or a CIDR, as in 10.0.0.0/8 ({error})."
        raise BadSettings(reason, detail=detail) from error


def _to_host(value: object) -> object:
    if not isinstance(value, str) or not (HOST_NAME.match(value) or _is_ip(value.strip("[]"))):
        detail = f"{value!r} is no host name; write it without scheme, port and wildcard, as in auth.example.com."
        raise BadSettings("settings.allowed_hosts", detail=detail)
    return value.lower()


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _to_lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _to_cache(value: object) -> object:
    return parse_redis_url(value) if isinstance(value, str) else value


_Proxy = Annotated[str, BeforeValidator(partial(_to_network, "settings.trusted_proxies"))]
_Reachable = Annotated[str, BeforeValidator(partial(_to_network, "settings.outbound_networks"))]
Proxies = Annotated[tuple[_Proxy, ...], BeforeValidator(_to_list)]
ReachableNetworks = Annotated[tuple[_Reachable, ...], BeforeValidator(_to_list)]
Ports = Annotated[tuple[Annotated[int, Field(ge=1, le=65_535)], ...], BeforeValidator(_to_list)]
Moments = Annotated[tuple[Annotated[int, Field(ge=60, le=31_536_000)], ...], BeforeValidator(_to_list)]
Hosts = Annotated[tuple[Annotated[str, BeforeValidator(_to_host)], ...], BeforeValidator(_to_list)]


class ServerSettings(MutualTlsSettings, CustodySettings, RevocationSettings):
    """Everything ``watchword serve`` can be told. ``listen`` follows a loopback issuer unless it is given."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)

    issuer: str = Field(description="The issuer: the public URL of this server, no slash at the end.")
    data: Path = Field(description="The directory that holds the store and, by default, the master key.")
    listen: ListenAddress = Field(description="Where the public listener binds, host:port.")
    management: ListenAddress = Field(
        default=Address("127.0.0.1", 8022), description="Where /livez, /readyz and /metrics are served, host:port."
    )
    tls_cert: Path | None = Field(default=None, description="Certificate chain of the public listener (PEM).")
    tls_key: Path | None = Field(default=None, description="Private key of the public listener (PEM).")
    insecure_http: bool = Field(
        default=False, description="Accept plain HTTP on a listener that others can reach, with no proxy in front."
    )
    trusted_proxies: Proxies = Field(
        default=(), description="Networks of the TLS proxies whose word on the caller's address is taken."
    )
    allowed_hosts: Hosts = Field(default=(), description="Host names this server answers to besides the issuer's.")
    master_key: SecretStr | None = Field(
        default=None, description="The master key itself. Only from the environment; prefer master_key_file."
    )
    master_key_file: Path | None = Field(default=None, description="The file that holds the master key, mode 0600.")
    database: SecretStr | None = Field(
        default=None,
        description="The PostgreSQL database that holds the store, instead of a file in the data directory.",
    )
    database_file: Path | None = Field(default=None, description="The file that holds its URL, mode 0600.")
    signing_algorithm: Literal["ES256", "ES384", "Ed25519", "PS256", "RS256"] = Field(
        default="ES256", description="The algorithm of the first signing key and of resources that name none."
    )
    security_profile: Literal["default", "fapi2"] = Field(
        default="default", description="fapi2: no secrets, no RS256, no token that is not bound to a key."
    )
    signing_key_period: int = Field(
        default=2_592_000,
        le=315_360_000,
        description="Seconds that a signing key signs, then the next one takes its place; 0: only when it is told to.",
    )
    credential_warnings: Moments = Field(
        default=(1_209_600, 259_200, 86_400), description="Seconds before its end at which a credential is warned of."
    )
    credential_max_age: int = Field(
        default=0, ge=0, le=315_360_000, description="Seconds after which a secret is too old; 0: never."
    )
    credential_max_age_action: Literal["report", "refuse"] = Field(
        default="report",
        description="What becomes of a secret that is too old: it is reported, or opens nothing any more.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_to_lower)] = Field(
        default="info", description="The least important level that is logged."
    )
    log_format: Annotated[Literal["auto", "json", "console"], BeforeValidator(_to_lower)] = Field(
        default="auto", description="json, console, or auto: console on a terminal, else json."
    )
    metadata_authorization_endpoint: bool = Field(
        default=True, description="Name an authorization_endpoint in the metadata, which MCP clients insist on."
    )
    workers: int = Field(default=1, ge=1, le=64, description="Processes that serve, all on the one store.")
    max_connections: int = Field(
        default=4096, ge=1, le=60_000, description="Open connections of one worker on one listener; more are refused."
    )
    header_timeout: int = Field(
        default=10,
        ge=1,
        le=300,
        description="Seconds in which a TLS handshake, then the head of a request, must arrive.",
    )
    body_timeout: int = Field(default=20, ge=1, le=300, description="Seconds in which its body must arrive.")
    keep_alive_timeout: int = Field(
        default=75, ge=1, le=3600, description="Seconds for which a connection is kept open for the next request."
    )
    drain_timeout: int = Field(
        default=30,
        ge=1,
        le=600,
        description="Seconds that requests under way may take when the server is told to stop.",
    )
    cache: Annotated[RedisUrl, BeforeValidator(_to_cache)] | None = Field(
        default=None,
        description="The Redis or Valkey in which nodes share their counts and the ids that work once, a URL.",
    )
    cache_file: Path | None = Field(default=None, description="The file that holds this URL, mode 0600.")
    dpop_nonces: Literal["offered", "required"] = Field(
        default="offered", description="Whether a DPoP proof must repeat a nonce of this server."
    )
    dpop_max_age: int = Field(default=60, ge=1, le=300, description="Seconds after which a DPoP proof is too old.")
    dpop_leeway: int = Field(default=30, ge=0, le=300, description="Seconds that its clock may be ahead of ours.")
    outbound_networks: ReachableNetworks = Field(
        default=(), description="Networks that are not public where key sets and issuers may be asked all the same."
    )
    outbound_ports: Ports = Field(default=(), description="Ports besides 443 where they may be asked.")
    outbound_ca_file: Path | None = Field(
        default=None, description="The file of their certificate authorities besides the system's (PEM)."
    )
    limits: Limits = Field(default=Limits(), description="How often, and how many at once: the section [limits].")

    @model_validator(mode="before")
    @classmethod
    def _fill_listen(cls, values: object) -> object:
        if isinstance(values, dict) and "listen" not in values and isinstance(values.get("issuer"), str):
            return {**values, "listen": default_listen(values["issuer"])}
        return values

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        _check_issuer(self.issuer)
        self.check_mtls(self.tls_cert, self.tls_key, self.trusted_proxies)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise BadSettings("settings.tls", detail="tls_cert and tls_key go together: give both files, or neither.")
        if self.master_key is not None and self.master_key_file is not None:
            raise BadSettings("settings.master_key", detail="master_key and master_key_file are both set: keep one.")
        if self.signing_key_period != 0 and self.signing_key_period < _SHORTEST_KEY_PERIOD:
            detail = (
                f"signing_key_period is 0, or {_SHORTEST_KEY_PERIOD} seconds at least, not {self.signing_key_period}."
            )
            raise BadSettings("settings.signing_key_period", detail=detail)
        if self.database is not None:
            check_url(self.database.get_secret_value())
        if self.database is not None and self.database_file is not None:
            raise BadSettings("settings.database", detail="database and database_file are both set: keep one.")
        if self.cache is not None and self.cache_file is not None:
            raise BadSettings("settings.cache", detail="cache and cache_file are both set: keep one.")
        self.check_custody()
        self._check_profile()
        return self

    def _check_profile(self) -> None:
        profile = PROFILES[self.security_profile]
        if self.signing_algorithm not in profile.signing_algorithms:
            allowed = ", ".join(sorted(profile.signing_algorithms))
            detail = (
                f"The profile {profile.name} does not sign with {self.signing_algorithm}: sign with one of {allowed}."
            )
            raise BadSettings("settings.security_profile", detail=detail)
        if self.insecure_http and profile.demands_sender_constraint:
            detail = f"The profile {profile.name} and insecure_http exclude each other: keep one."
            raise BadSettings("settings.security_profile", detail=detail)

    @property
    def credential_rules(self) -> CredentialRules:
        """What holds for the credentials of all agents."""
        return CredentialRules(
            warnings=tuple(timedelta(seconds=one) for one in self.credential_warnings),
            max_age=timedelta(seconds=self.credential_max_age) or None,
            refuses_old=self.credential_max_age_action == "refuse",
        )

    def check_exposure(self) -> None:
        """Return if nobody else's secrets would travel in the clear; asked before listening, not before administering.

        Raises:
            BadSettings: settings.plain_http.
        """
        is_safe = self.listen.is_loopback or self.tls_cert is not None
        if is_safe or self.insecure_http or self.trusted_proxies:
            return
        detail = (
            f"{self.listen} would take secrets over plain HTTP from other machines: give --tls-cert and --tls-key, or name "
            "the TLS proxy in front with --trusted-proxy, or listen on 127.0.0.1, or accept the risk with --insecure-http."
        )
        raise BadSettings("settings.plain_http", detail=detail)


def build_limits(values: Mapping[str, object]) -> Limits:
    """Return the table of limits with these values in it: rates as ``20/60s``, numbers of requests as whole numbers.

    Raises:
        BadSettings: settings.limits.
    """
    defaults = Limits()
    built = {
        name: _to_rate(name, value) if isinstance(getattr(defaults, name), Rate) else _to_number(name, value)
        for name, value in values.items()
    }
    return replace(defaults, **built)  # type: ignore[arg-type]  # each by the kind of its default


def _to_rate(name: str, value: object) -> Rate:
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,5})s", str(value).strip())
    if match is None or int(match[1]) == 0 or not 1 <= int(match[2]) <= _LONGEST_PERIOD:
        raise BadSettings(
            "settings.limits",
            detail=f"limits.{name}: {value!r} is no rate; write how many in how many seconds (a day at most), as in 20/60s.",
        )
    return Rate(int(match[1]), timedelta(seconds=int(match[2])))


def _to_number(name: str, value: object) -> int:
    match = re.fullmatch(r"[0-9]{1,5}", str(value).strip())
    if match is None or int(match[0]) == 0:
        raise BadSettings(
            "settings.limits",
            detail=f"limits.{name}: {value!r} is no number of requests; write a whole number from 1 to 99999.",
        )
    return int(match[0])


def _check_issuer(issuer: str) -> None:
    try:
        check_issuer(issuer, allow_loopback_http=True)
    except WatchwordError as error:
        detail = (
            f"The issuer {issuer!r} cannot be used: write an https URL without query, fragment and slash at the end, as in "
            f"https://auth.example.com; http is for loopback addresses only ({error})."
        )
        raise BadSettings("settings.issuer", detail=detail) from error
