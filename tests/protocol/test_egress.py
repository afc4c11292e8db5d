"""Where a server may be led by an address that others wrote down."""

from __future__ import annotations

import ipaddress

import pytest

from tests import rule
from watchword.errors import WatchwordError
from watchword.protocol.egress import EgressRules, port_of
from watchword.protocol.url import parse_url

RULES = EgressRules()

SPECIAL = [
    *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "172.16.0.1", "192.168.1.1"),
    *("169.254.169.254", "168.63.129.16", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.88.99.1"),
    *("::1", "::", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "fe80::1", "fe80::1%1", "fd00::1", "fc00::1"),
    *("ff02::1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "3fff::1", "fec0::1"),
    *("100::1", "fd00:ec2::254", "5f00::1", "2606:4700::1%eth0"),
]


@rule("KF-60", "TRAP-25")
@pytest.mark.parametrize("text", SPECIAL)
def test_an_address_that_is_not_everybodys_is_refused(text):
    with pytest.raises(WatchwordError) as refused:
        RULES.check_address(ipaddress.ip_address(text))
    assert refused.value.reason == "egress.address"


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1111", "2a00:1450::1"]
)
def test_a_public_address_is_fine(text):
    RULES.check_address(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    ("text", "network"), [("10.1.2.3", "10.1.0.0/16"), ("127.0.0.1", "127.0.0.0/8"), ("fd00::5", "fd00::/64")]
)
def test_an_address_of_a_named_network_is_fine_and_its_neighbour_is_not(text, network):
    rules = EgressRules((ipaddress.ip_network(network),))
    rules.check_address(ipaddress.ip_address(text))
    for neighbour in ("10.2.0.1", "::1", "fd00:0:0:1::1", "::ffff:127.0.0.1"):
        with pytest.raises(WatchwordError, match=r"egress\.address"):
            rules.check_address(ipaddress.ip_address(neighbour))


URLS = [
    ("http://keys.example.com/", "url.insecure"),
    ("http://127.0.0.1/", "url.insecure"),
    ("file:///etc/passwd", "url.syntax"),
    ("ftp://keys.example.com/", "url.syntax"),
    ("gopher://keys.example.com/", "url.syntax"),
    ("unix:/run/docker.sock", "url.syntax"),
    ("dict://keys.example.com:2628/", "url.syntax"),
    ("data:application/json,{}", "url.syntax"),
    ("https://keys.example.com:22/", "egress.port"),
    ("https://keys.example.com:25/", "egress.port"),
    ("https://keys.example.com:6379/", "egress.port"),
    ("https://keys.example.com:8443/", "egress.port"),
    ("https://user@keys.example.com/", "url.syntax"),
    ("https://keys.example.com@127.0.0.1/", "url.syntax"),
    ("https://keys.example.com/#f", "url.fragment"),
    ("https://127.1/", "url.syntax"),
    ("https://0/", "url.syntax"),
    ("https://0x7f000001/", "url.syntax"),
    ("https://2130706433/", "url.syntax"),
    ("https://0177.0.0.1/", "url.syntax"),
    ("https://localhost./", "url.syntax"),
    ("https://127.0.0.1/", "egress.address"),
    ("https://[::1]/", "egress.address"),
    ("https://[::ffff:127.0.0.1]/", "egress.address"),
    ("https://169.254.169.254/latest/meta-data/", "egress.address"),
    ("https://[fe80::1]/", "egress.address"),
    ("https://[64:ff9b::7f00:1]/", "egress.address"),
    ("https://[2002:7f00:1::]/", "egress.address"),
]


@rule("KF-36", "KF-56", "TRAP-25")
@pytest.mark.parametrize(("text", "reason"), URLS)
def test_a_url_that_leads_elsewhere_is_refused(text, reason):
    with pytest.raises(WatchwordError) as refused:
        RULES.check_url(text)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "text", ["https://keys.example.com/jwks?a=1", "https://8.8.8.8/jwks", "https://[2606:4700::1]/"]
)
def test_a_public_url_is_fine(text):
    assert RULES.check_url(text).text == text


def test_a_named_port_is_fine():
    rules = EgressRules(ports=frozenset({6443}))
    assert port_of(rules.check_url("https://keys.example.com:6443/")) == 6443
    assert port_of(rules.check_url("https://keys.example.com/")) == 443


@pytest.mark.parametrize(
    ("text", "port"),
    [("https://[2606:4700::1]:8443/", 8443), ("https://[2606:4700::1]/", 443), ("https://a.b:99/", 99)],
)
def test_the_port_is_read_from_the_authority(text, port):
    assert port_of(parse_url(text)) == port
