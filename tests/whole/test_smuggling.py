"""Requests that two readers could read in two ways: one answer, 400, and the connection is closed. RFC 9112 §11.2."""

from urllib.parse import urlencode, urlsplit

import pytest

from tests import rule
from tests.processes import Agent, RunningServer
from tests.whole.server_process import exchange

POST = b"POST /oauth/token HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/x-www-form-urlencoded\r\n"
SMUGGLED = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: HOST\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

HEADERS = {
    "both, length first": b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    "both, coding first": b"Transfer-Encoding: chunked\r\nContent-Length: 5",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6",
    "the same length twice": b"Content-Length: 5\r\nContent-Length: 5",
    "a list of lengths": b"Content-Length: 5, 5",
    "a negative length": b"Content-Length: -1",
    "a length with a plus": b"Content-Length: +5",
    "a hexadecimal length": b"Content-Length: 0x5",
    "a length with an exponent": b"Content-Length: 1e1",
    "a length with a point": b"Content-Length: 5.0",
    "a length with an underscore": b"Content-Length: 1_0",
    "a length with a blank in it": b"Content-Length: 1 0",
    "an Arabic length": b"Content-Length: \xd9\xa5",
    "a length behind a form feed": b"Content-Length: \x0c5",
    "a length behind a vertical tab": b"Content-Length:\x0b5",
    "a length of twenty digits": b"Content-Length: 99999999999999999999",
    "no length in the header of that name": b"Content-Length:",
    "chunked, then another coding": b"Transfer-Encoding: chunked, identity",
    "another coding, then chunked": b"Transfer-Encoding: identity, chunked",
    "gzip, then chunked": b"Transfer-Encoding: gzip, chunked",
    "nearly chunked": b"Transfer-Encoding: xchunked",
    "not chunked": b"Transfer-Encoding: identity",
    "chunked in quotes": b'Transfer-Encoding: "chunked"',
    "chunked with a parameter": b"Transfer-Encoding: chunked;q=1",
    "chunked and a comma": b"Transfer-Encoding: chunked,",
    "no coding in the header of that name": b"Transfer-Encoding:",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "chunked, identity in a second header": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "chunked behind a vertical tab": b"Transfer-Encoding: \x0bchunked",
    "chunked before a zero": b"Transfer-Encoding: chunked\x00",
    "chunked before a hard space": b"Transfer-Encoding: chunked\xa0",
    "a blank before the colon of a coding": b"Transfer-Encoding : chunked",
    "a tab before the colon of a coding": b"Transfer-Encoding\t: chunked",
    "a blank before the colon of a length": b"Content-Length : 5",
    "a blank in the name": b"Content Length: 5",
    "an underscore in the name of a coding": b"Transfer_Encoding: chunked",
    "an underscore in the name of a length": b"Content_Length: 5",
    "a folded header": b"X: a\r\n Transfer-Encoding: chunked",
    "a folded coding": b"Transfer-Encoding:\r\n chunked",
    "a first header that begins with a blank": b" Transfer-Encoding: chunked",
    "a line that ends with LF alone": b"X: a\nTransfer-Encoding: chunked",
    "a line that ends with CR alone": b"X: a\rTransfer-Encoding: chunked",
    "a zero in a value": b"X: a\x00b",
    "a name outside ASCII": b"Content-L\xc3\xa9ngth: 5",
    "no name": b": 5",
    "no colon": b"Content-Length 5",
    "a proxy told to drop the coding": b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
    "a proxy told to drop the length": b"Connection: close, content-length\r\nContent-Length: 5",
    "a second host": b"Host: HOST\r\nContent-Length: 5",
}
CHUNKS = {
    "a size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a size with a plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "a negative size": b"-1\r\n\r\n0\r\n\r\n",
    "a size behind a blank": b" 5\r\nhello\r\n0\r\n\r\n",
    "a size before a blank": b"5 \r\nhello\r\n0\r\n\r\n",
    "a size with an underscore": b"1_0\r\nhello\r\n0\r\n\r\n",
    "a size that is no number": b"g\r\nhello\r\n0\r\n\r\n",
    "a size beyond 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "a size line that ends with LF alone": b"5\nhello\r\n0\r\n\r\n",
    "a size line that ends with CR alone": b"5\rhello\r\n0\r\n\r\n",
    "an extension that ends with LF alone": b"5;a\nhello\r\n0\r\n\r\n",
    "an extension with a line break in quotes": b'5;a="\r\nhello\r\n0\r\n\r\n',
    "a chunk longer than its size": b"3\r\nhello\r\n0\r\n\r\n",
    "a chunk that ends with LF alone": b"5\r\nhello\n0\r\n\r\n",
    "an end that ends with LF alone": b"0\n\n",
    "a trailer": b"0\r\nX: a\r\n\r\n",
    "a length as a trailer": b"0\r\nContent-Length: 5\r\n\r\n",
    "a credential as a trailer": b"0\r\nAuthorization: Basic YTpi\r\n\r\n",
}
WHOLE = {
    "HTTP/1.0 with chunks": b"POST /oauth/token HTTP/1.0\r\nHost: HOST\r\nConnection: keep-alive\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/0.9": b"GET /oauth/token\r\n\r\n",
    "HTTP/1.2": b"GET /oauth/token HTTP/1.2\r\nHost: HOST\r\n\r\n",
    "HTTP/2.0 in words": b"GET /oauth/token HTTP/2.0\r\nHost: HOST\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "a version in small letters": b"GET /oauth/token http/1.1\r\nHost: HOST\r\n\r\n",
    "a method in small letters": b"get /oauth/token HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "no host": b"GET /oauth/token HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /oauth/token HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n",
    "an absolute target": b"GET http://HOST/oauth/token HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "a tunnel": b"CONNECT HOST HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "a tab between method and target": b"GET\t/oauth/token HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "a blank in the target": b"GET /oauth/token x HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "a blank behind the version": b"GET /oauth/token HTTP/1.1 \r\nHost: HOST\r\n\r\n",
    "a control character in the target": b"GET /oauth/token\x01 HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "every line ends with LF alone": (POST + b"Content-Length: 0\r\n\r\n").replace(b"\r\n", b"\n"),
    "the head ends with LF alone": POST + b"Content-Length: 5\r\n\n0\r\n\r\n",
}
CORPUS = {
    **{name: POST + lines + b"\r\n\r\n0\r\n\r\n" for name, lines in HEADERS.items()},
    **{name: CHUNKED + chunks for name, chunks in CHUNKS.items()},
    **WHOLE,
}


def send(running: RunningServer, raw: bytes) -> bytes:
    parts = urlsplit(running.issuer)
    assert parts.hostname
    assert parts.port
    return exchange((parts.hostname, parts.port), raw.replace(b"HOST", parts.netloc.encode()))


@rule("T20", "KF-113")
@pytest.mark.parametrize("form", CORPUS)
def test_what_can_be_read_in_two_ways_is_refused_and_the_connection_closed(running: RunningServer, form: str) -> None:
    received = send(running, CORPUS[form] + SMUGGLED)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in received
    assert b'"keys"' not in received
    assert b"access_token" not in received


def test_the_corpus_is_large_enough() -> None:
    assert len(CORPUS) >= 80


@rule("KF-113")
def test_what_follows_a_last_request_is_not_read(running: RunningServer) -> None:
    last = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"
    received = send(running, last + SMUGGLED)
    assert received.count(b"HTTP/1.1 ") == received.count(b"HTTP/1.1 200 ") == 1


@pytest.mark.parametrize(
    "framing", [b"Content-Length: LENGTH\r\n\r\nBODY", b"Transfer-Encoding: chunked\r\n\r\nSIZE\r\nBODY\r\n0\r\n\r\n"]
)
def test_a_request_that_can_be_read_in_one_way_gives_a_token(
    running: RunningServer, reader: Agent, framing: bytes
) -> None:
    form = {"grant_type": "client_credentials", "scope": "read:data", "client_id": reader.client_id}
    body = urlencode({**form, "client_secret": reader.client_secret}).encode()
    for name, value in ((b"LENGTH", b"%d" % len(body)), (b"SIZE", b"%x" % len(body)), (b"BODY", body)):
        framing = framing.replace(name, value)
    received = send(running, POST + b"Connection: close\r\n" + framing)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"access_token" in received
