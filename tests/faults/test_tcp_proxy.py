"""The fault proxy over real sockets: each fault does what it says, and no other."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from watchword.testing.tcp_proxy import Break, Fault, FaultProxy, Way

SECONDS = 20


class Echo:
    """Sends back what it gets, and ends when the other side does."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self.listener.getsockname()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while piece := connection.recv(65_536):
                connection.sendall(piece)


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.listener.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[FaultProxy]:
    with FaultProxy(*echo.address) as proxy:
        yield proxy


def connected(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection((proxy.host, proxy.port), timeout=SECONDS)


@contextlib.contextmanager
def behind_a_proxy() -> Iterator[tuple[FaultProxy, socket.socket, socket.socket]]:
    """A proxy, and both ends of a connection through it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        FaultProxy(*listener.getsockname()) as proxy,
        connected(proxy) as client,
        listener.accept()[0] as server,
    ):
        server.settimeout(SECONDS)
        yield proxy, client, server


def received(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := connection.recv(size - len(data))):
        data += piece
    return data


def turn(connection: socket.socket, data: bytes = b"hello") -> bytes:
    connection.sendall(data)
    return received(connection, len(data))


def test_without_a_fault_everything_passes_unchanged(proxy: FaultProxy) -> None:
    data = bytes(range(256)) * 4_000
    with connected(proxy) as one, connected(proxy) as other:
        sender = threading.Thread(target=one.sendall, args=(data,))
        sender.start()
        assert received(one, len(data)) == data
        sender.join()
        assert turn(other) == b"hello"
        assert proxy.open_connections == 2
        one.shutdown(socket.SHUT_WR)
        assert one.recv(1) == b""
    assert proxy.accepted == 2


def test_latency_holds_for_open_connections_and_ends_with_the_fault(proxy: FaultProxy) -> None:
    with connected(proxy) as connection:
        turn(connection)
        proxy.impose(Fault(latency=0.2))
        began = time.monotonic()
        assert turn(connection) == b"hello"
        assert time.monotonic() - began >= 0.4  # both ways
        proxy.heal()
        assert turn(connection) == b"hello"


def test_a_throttle_lets_so_many_bytes_pass_in_a_second(proxy: FaultProxy) -> None:
    proxy.impose(Fault(bytes_per_second=20_000))
    with connected(proxy) as connection:
        began = time.monotonic()
        assert turn(connection, b"x" * 10_000) == b"x" * 10_000
        assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize("way", Way)
def test_a_reset_comes_at_its_byte_and_is_no_orderly_end(proxy: FaultProxy, way: Way) -> None:
    with connected(proxy) as connection:
        turn(connection)
        proxy.impose(Fault(breaks=Break.RESET, after=3, way=way))
        connection.sendall(b"ab")
        assert received(connection, 2) == b"ab"
        connection.sendall(b"cdefgh")
        with pytest.raises(ConnectionResetError):
            received(connection, 100)


def test_a_reset_at_once_needs_no_byte(proxy: FaultProxy) -> None:
    with connected(proxy) as connection:
        turn(connection)
        proxy.impose(Fault(breaks=Break.RESET))
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_a_cut_is_an_orderly_end_after_its_bytes(proxy: FaultProxy) -> None:
    proxy.impose(Fault(breaks=Break.CLOSE, after=7))
    with connected(proxy) as connection:
        connection.sendall(b"0123456789")
        assert received(connection, 10) == b"0123456"
    proxy.heal()
    with connected(proxy) as connection:
        assert turn(connection) == b"hello"


def test_a_half_close_of_the_answers_leaves_the_way_of_the_requests_open() -> None:
    with behind_a_proxy() as (proxy, client, server):
        server.sendall(b"abcdef")
        assert received(client, 6) == b"abcdef"
        proxy.impose(Fault(breaks=Break.HALF_CLOSE, after=2))
        server.sendall(b"ghijkl")
        assert received(client, 6) == b"gh"
        client.sendall(b"still here")
        assert received(server, 10) == b"still here"


def test_a_half_close_of_the_requests_is_an_end_for_the_server_alone() -> None:
    with behind_a_proxy() as (proxy, client, server):
        client.sendall(b"a")
        assert received(server, 1) == b"a"
        proxy.impose(Fault(breaks=Break.HALF_CLOSE, way=Way.REQUEST))
        assert server.recv(1) == b""
        server.sendall(b"answer")
        assert received(client, 6) == b"answer"


def test_a_blackhole_tells_nobody_and_gives_back_what_it_took_when_it_is_healed(proxy: FaultProxy) -> None:
    with connected(proxy) as connection:
        turn(connection)
        proxy.impose(Fault(breaks=Break.BLACKHOLE))
        connection.sendall(b"hello")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        with connected(proxy) as late:  # the system still accepts
            late.sendall(b"late")
            late.settimeout(0.1)
            with pytest.raises(TimeoutError):
                late.recv(1)
            proxy.heal()
            late.settimeout(SECONDS)
            assert received(late, 4) == b"late"
        connection.settimeout(SECONDS)
        assert received(connection, 5) == b"hello"


def test_a_blackhole_in_the_middle_of_an_answer(proxy: FaultProxy) -> None:
    with connected(proxy) as connection:
        turn(connection)
        proxy.impose(Fault(breaks=Break.BLACKHOLE, after=4))
        connection.sendall(b"0123456789")
        assert received(connection, 4) == b"0123"
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        proxy.heal()
        connection.settimeout(SECONDS)
        assert received(connection, 6) == b"456789"


def test_what_is_refused_can_be_accepted_again_on_the_same_port(proxy: FaultProxy) -> None:
    with connected(proxy) as connection:
        turn(connection)
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            connected(proxy)
        assert turn(connection) == b"hello"
        proxy.listen()
    with connected(proxy) as connection:
        assert turn(connection) == b"hello"


def test_an_address_where_nobody_listens_is_a_reset_and_the_next_one_is_taken(proxy: FaultProxy, echo: Echo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = listener.getsockname()
    proxy.lead_to(*nobody)
    with pytest.raises(ConnectionResetError), connected(proxy) as connection:
        connection.recv(1)
    proxy.lead_to(*echo.address)
    with connected(proxy) as connection:
        assert turn(connection) == b"hello"


def test_a_server_that_resets_is_a_reset_for_its_client() -> None:
    with behind_a_proxy() as (_, client, server):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        server.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_stopping_cuts_off_who_is_connected_and_can_be_done_twice(echo: Echo) -> None:
    proxy = FaultProxy(*echo.address)
    proxy.start()
    with connected(proxy) as connection:
        turn(connection)
        proxy.stop()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    proxy.stop()
