"""Where a guarded fetch connects to: the host's addresses are asked for once, judged, and the connection goes to these.

So whoever owns a name cannot show one address to the judge and another to the connection (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from watchword.ports.http import TransportError
from watchword.protocol.egress import Address, EgressRules, ForbiddenDestination, port_of
from watchword.protocol.url import InvalidUrl, Url

MAX_ADDRESSES = 4
"""Addresses of a host that are tried, in the order the resolver gives them."""
MAX_LOOKUPS = 32
"""Names that are asked for at once. A resolver that does not answer holds a thread for half a minute."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What a guarded transport keeps to, and the file of further certificate authorities it trusts (PEM)."""

    rules: EgressRules
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Pinned:
    """One judged address of a host, as a URL to connect to, and what makes the other side prove that it is this host."""

    url: str
    headers: Mapping[str, str]
    extensions: Mapping[str, object]


class Pinner:
    """Asks for each name in a thread of its own: one that nobody answers for keeps neither the others nor the process's end
    waiting."""

    def __init__(self, rules: EgressRules) -> None:
        self._rules = rules
        self._lookups = threading.BoundedSemaphore(MAX_LOOKUPS)

    async def pin(self, text: str) -> list[Pinned]:
        """Return where to connect for this URL: only judged addresses, and none at all if one of them is forbidden.

        Raises:
            TransportError: http.insecure, http.port, http.name, http.address.
        """
        url = self._judge(text)
        addresses = await self._resolve(url.host, port_of(url))
        for address in addresses:
            self._check(address)
        return [_pin(url, address) for address in addresses[:MAX_ADDRESSES]]

    def _judge(self, text: str) -> Url:
        try:
            return self._rules.check_url(text)
        except ForbiddenDestination as error:
            raise _refusal(error) from None
        except InvalidUrl as error:
            raise TransportError("http.insecure", detail=error.reason) from None

    def _check(self, address: Address) -> None:
        try:
            self._rules.check_address(address)
        except ForbiddenDestination as error:
            raise _refusal(error) from None

    async def _resolve(self, host: str, port: int) -> list[Address]:
        if not self._lookups.acquire(blocking=False):
            raise TransportError("http.name", detail="too many names are being asked for")
        answer: Future[list[str]] = Future()
        thread = threading.Thread(target=self._look_up, args=(host, port, answer), name="watchword-name", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter is nearly gone
            self._lookups.release()
            raise TransportError("http.name", detail=str(error)) from None
        try:
            found = await asyncio.wrap_future(answer)
            addresses = [ipaddress.ip_address(text) for text in dict.fromkeys(found)]
        except (OSError, UnicodeError, ValueError) as error:
            raise TransportError("http.name", detail=f"{host}: {error}") from None
        if not addresses:
            raise TransportError("http.name", detail=f"{host} has no address")
        return addresses

    def _look_up(self, host: str, port: int, answer: Future[list[str]]) -> None:
        try:
            if not answer.set_running_or_notify_cancel():
                return
            answer.set_result([str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)])
        except (OSError, UnicodeError) as error:
            answer.set_exception(error)
        finally:
            self._lookups.release()


def _pin(url: Url, address: Address) -> Pinned:
    literal = f"[{address}]" if address.version == 6 else str(address)
    query = "" if url.query is None else f"?{url.query}"
    return Pinned(
        f"https://{literal}:{port_of(url)}{url.path or '/'}{query}",
        {"host": url.authority},
        {"sni_hostname": url.host},
    )


def _refusal(error: ForbiddenDestination) -> TransportError:
    reason = "http.port" if error.reason == "egress.port" else "http.address"
    return TransportError(reason, detail=error.detail)
