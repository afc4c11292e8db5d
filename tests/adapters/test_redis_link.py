"""A connection is nobody's before all who watch have seen the server behind it."""

import asyncio
import subprocess
import time
from pathlib import Path

import pytest
import trustme

from tests import rule
from tests.redis import SECONDS, RedisServer, require_redis
from watchword.adapters.redis_connection import RedisConnection, RedisLost
from watchword.adapters.redis_link import RedisFacts, RedisLink
from watchword.adapters.redis_url import parse_redis_url
from watchword.errors import CacheUnavailable
from watchword.testing.process import free_port

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@rule("N7", "O7")
async def test_after_a_loss_nobody_has_a_connection_before_the_watchers_have_seen_it(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        told: list[bool] = []
        link = RedisLink(parse_redis_url(server.url), observe=told.append)
        await link.open()
        seen: list[tuple[RedisConnection, RedisConnection | None]] = []

        async def watcher(connection: RedisConnection, _: RedisFacts) -> None:
            seen.append((connection, link.connection))

        await link.watch(watcher)
        first, _ = seen[0]
        deadline = time.monotonic() + SECONDS
        while len(seen) < 3:  # until it looks now and then
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)
        server.ask("CLIENT", "KILL", "TYPE", "normal")  # it is there again at once
        while seen[-1][0] is first:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)
        (_, usable) = next(one for one in seen if one[0] is not first)
        assert usable is None
        assert told[0]
        link.unwatch(watcher)
        link.unwatch(watcher)
        await link.close()
        assert link.connection is None


async def test_who_leaves_gets_nobody_elses_answer(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        link = RedisLink(parse_redis_url(server.url))
        await link.open()
        connection = link.connection
        assert connection is not None
        asked = [connection.ask("ECHO", str(number)) for number in range(100)]
        for answer in asked[::3]:
            answer.cancel()
        got = await asyncio.gather(*asked, return_exceptions=True)
        for number, answer in enumerate(got):
            assert isinstance(answer, asyncio.CancelledError) if number % 3 == 0 else answer == str(number).encode()
        await link.close()
        with pytest.raises(RedisLost):
            await connection.ask("PING")


@rule("O7")
async def test_who_talks_no_redis_is_given_up(tmp_path: Path) -> None:
    class Talker(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            transport.close()

    server = await asyncio.get_running_loop().create_unix_server(Talker, tmp_path / "http.sock")
    link = RedisLink(parse_redis_url(f"unix://{tmp_path}/http.sock"))
    with pytest.raises(Exception, match=r"cache\.unreachable"):
        await link.open()
    server.close()
    await server.wait_closed()


def has_tls(program: str) -> bool:
    """Whether this build of the server knows the option."""
    tried = subprocess.run([program, "--port", "0", "--tls-port", "x"], capture_output=True, text=True, check=False)
    return "Bad directive" not in tried.stdout + tried.stderr


async def test_tls_needs_a_certificate_that_the_system_trusts_for_this_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_tls(require_redis()):
        pytest.skip("this Redis was built without TLS")
    authority, port = trustme.CA(), free_port()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = ("--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "ca.pem")
    with RedisServer(tmp_path, "--tls-port", str(port), "--tls-auth-clients", "no", *files):
        with pytest.raises(CacheUnavailable, match=r"CERTIFICATE_VERIFY_FAILED"):
            await RedisLink(parse_redis_url(f"rediss://127.0.0.1:{port}")).open()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        with pytest.raises(CacheUnavailable, match=r"CERTIFICATE_VERIFY_FAILED"):
            await RedisLink(parse_redis_url(f"rediss://localhost:{port}")).open()
        link = RedisLink(parse_redis_url(f"rediss://127.0.0.1:{port}"))
        await link.open()
        assert link.connection is not None
        assert await link.connection.ask("PING") == b"PONG"
        await link.close()
