"""URLs: one strict reading, so that a look-alike host is never taken for loopback or for the host that was meant."""

import urllib.parse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from watchword.protocol.url import InvalidUrl, check_secure_url, parse_url


def reason_of(text: str) -> str:
    with pytest.raises(InvalidUrl) as caught:
        check_secure_url(text, allow_loopback_http=True)
    return caught.value.reason


def test_the_parts_of_a_url():
    url = parse_url("https://auth.example.com:8443/main/a%20b?x=1")
    assert (url.scheme, url.host, url.authority, url.path, url.query) == (
        "https",
        "auth.example.com",
        "auth.example.com:8443",
        "/main/a%20b",
        "x=1",
    )


@rule("KF-102")
@pytest.mark.parametrize(
    "text",
    [
        "http://localhost.evil.com/",
        "http://evil.com",
        "http://127.0.0.1.evil.com",
        "http://localhost-evil.com:8020",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://[::]",
        "http://[::ffff:10.0.0.1]",
        "http://169.254.169.254/latest",
    ],
)
def test_plain_http_to_anywhere_but_loopback_is_insecure(text):
    assert reason_of(text) == "url.insecure"


@rule("KF-102")
@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:80@evil.com",
        "http://localhost@evil.com",
        "http://evil.com\\@localhost",
        "http://localhost\t.evil.com",
        "http://localhost%2eevil.com",
        "http:/localhost",
        "http:localhost",
        "//localhost",
        "http://",
        "http:///x",
        "http://127.1",
        "http://0x7f.1",
        "http://0x7f000001",
        "http://2130706433",
        "http://127.0.0.01",
        "http://[127.0.0.1]",
        "http://[::1",
        "http://::1",
        "http://[fe80::1%25eth0]",
        "http://Localhost",
        "HTTP://localhost",
        "http://localhost.",
        "http://.localhost",
        "http://a..b",
        "http://locälhost",
        "http://localhost:",
        "http://localhost:0",
        "http://localhost:65536",
        "http://localhost:080",
        "http://localhost:80",
        "https://a:443",
        "https://a/b/../c",
        "https://a/b/%2e%2E/c",
        "https://a/./b",
        "https://a//b",
        "https://a/b c",
        "https://a/%zz",
        "https://a/b\n",
        "https://a/\x00",
        "https://a/\\b",
        "ftp://a",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:,x",
        "",
        " https://a",
        "https://a ",
        "https://" + "a" * 3000,
    ],
)
def test_what_two_libraries_might_read_differently_is_refused(text):
    assert reason_of(text) == "url.syntax"


@pytest.mark.parametrize("text", ["https://a#", "https://a/b#c", "https://a?x#y"])
def test_a_fragment_is_refused(text):
    assert reason_of(text) == "url.fragment"


@pytest.mark.parametrize(
    "text",
    ["http://localhost:8020", "http://127.0.0.1:8020/x", "http://127.8.8.8", "http://[::1]:8020/x", "https://10.0.0.1"],
)
def test_loopback_over_http_and_anything_over_https_is_accepted(text):
    assert check_secure_url(text, allow_loopback_http=True).text == text


def test_loopback_over_http_needs_to_be_allowed():
    with pytest.raises(InvalidUrl) as caught:
        check_secure_url("http://localhost", allow_loopback_http=False)
    assert caught.value.reason == "url.insecure"


@given(st.from_regex(r"https?://[a-z0-9.\-\[\]:@%/\\?]{0,30}", fullmatch=True))
@settings(max_examples=300)
def test_what_is_accepted_the_standard_library_reads_alike(text):
    try:
        url = parse_url(text)
    except InvalidUrl:
        return
    parts = urllib.parse.urlsplit(text)
    assert (parts.scheme, parts.hostname, parts.netloc, parts.path) == (url.scheme, url.host, url.authority, url.path)
