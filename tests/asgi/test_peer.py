"""Whose word on the caller's address is taken: ABUSE B3, KF-121."""

from ipaddress import ip_network

import pytest

from tests import rule
from watchword.asgi.peer import peer_address

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@rule("B3", "KF-121")
@pytest.mark.parametrize(
    ("tcp", "forwarded", "expected"),
    [
        ("192.0.2.1", [b"198.51.100.1"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [b"198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [b"6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [b"6.6.6.6", b"198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", [b"198.51.100.1, junk"], "10.0.0.1"),
        ("10.0.0.1", [b""], "10.0.0.1"),
        ("fd00::1", [b"2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", [b"198.51.100.1"], "198.51.100.1"),
        ("", [b"198.51.100.1"], ""),
    ],
)
def test_only_a_trusted_proxy_speaks_for_others(tcp: str, forwarded: list[bytes], expected: str) -> None:
    assert peer_address(tcp, forwarded, TRUSTED) == expected


@rule("B3")
def test_without_a_trusted_proxy_no_header_is_looked_at() -> None:
    assert peer_address("10.0.0.1", [b"198.51.100.1"], ()) == "10.0.0.1"
