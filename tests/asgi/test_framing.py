"""Heads that every reader reads in one way."""

import pytest

from tests import rule
from watchword.asgi.framing import is_plain

HOST = (b"host", b"h")
CHUNKED = (b"transfer-encoding", b"chunked")
LENGTH = (b"content-length", b"5")


@pytest.mark.parametrize(
    ("version", "headers"),
    [
        ("1.1", [HOST]),
        ("1.1", [HOST, LENGTH]),
        ("1.1", [HOST, CHUNKED]),
        ("1.1", [HOST, (b"transfer-encoding", b"Chunked")]),
        ("1.1", [HOST, (b"connection", b"keep-alive, Upgrade")]),
        ("1.0", []),
        ("1.0", [HOST, LENGTH]),
    ],
)
def test_a_plain_head_is_plain(version: str, headers: list[tuple[bytes, bytes]]) -> None:
    assert is_plain(version, b"/oauth/token?a=b", headers)


@rule("T20", "KF-113")
@pytest.mark.parametrize(
    ("version", "target", "headers"),
    [
        ("1.1", b"/", []),
        ("1.1", b"/", [HOST, HOST]),
        ("1.0", b"/", [HOST, HOST]),
        ("1.2", b"/", [HOST]),
        ("2.0", b"/", [HOST]),
        ("0.9", b"/", []),
        ("1.1", b"http://h/", [HOST]),
        ("1.1", b"h:80", [HOST]),
        ("1.1", b"*", [HOST]),
        ("1.1", b"", [HOST]),
        ("1.1", b"/#a", [HOST]),
        ("1.1", b"/", [HOST, LENGTH, LENGTH]),
        ("1.1", b"/", [HOST, LENGTH, CHUNKED]),
        ("1.1", b"/", [HOST, CHUNKED, CHUNKED]),
        ("1.0", b"/", [HOST, CHUNKED]),
        ("1.1", b"/", [HOST, (b"content_length", b"5")]),
        ("1.1", b"/", [HOST, (b"transfer_encoding", b"chunked")]),
        *(
            ("1.1", b"/", [HOST, (b"content-length", value)])
            for value in (b"", b"+5", b"-5", b"5 ", b"0x5", b"5,5", b"9" * 19)
        ),
        *(
            ("1.1", b"/", [HOST, (b"transfer-encoding", value)])
            for value in (
                b"",
                b"identity",
                b"gzip, chunked",
                b"chunked, gzip",
                b'"chunked"',
                b"chunked ",
                b"\x0bchunked",
            )
        ),
        *(
            ("1.1", b"/", [HOST, (b"connection", value)])
            for value in (b"content-length", b"close, Transfer-Encoding", b"HOST", b"connection")
        ),
    ],
)
def test_a_head_that_can_be_read_in_two_ways_is_not(
    version: str, target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    assert not is_plain(version, target, headers)
