"""A signing key that is kept elsewhere is nowhere here: not in a file of the server, and not in the memory of its processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from tests import rule
from tests.openbao import OpenBao
from watchword.protocol.base64url import b64url_encode
from watchword.testing.process import ServerProcess

pytestmark = pytest.mark.places("sqlite", why="what a process holds, whatever the store; its files are searched too")


def memory_of(pid: int) -> Iterator[bytes]:
    """Give everything that a process has in memory and could have written."""
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            begin, end = (int(one, 16) for one in span.split("-"))
            if rights.startswith("rw"):
                try:
                    memory.seek(begin)
                    yield memory.read(end - begin)
                except (OSError, OverflowError):
                    continue


def spellings(key: EllipticCurvePrivateKey) -> list[bytes]:
    """Return what the private value could stand there as: big-endian, little-endian, in a JWK, in a PEM file."""
    value = key.private_numbers().private_value.to_bytes(32, "big")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return [value, value[::-1], b64url_encode(value), value.hex().encode(), pem.split(b"\n")[1]]


@rule("TRAP-15", "K4")
@pytest.mark.skipif(os.geteuid() != 0, reason="reading the memory of another process needs root")
def test_the_private_key_is_in_no_file_and_in_no_memory(place: str, tmp_path: Path) -> None:
    with OpenBao(tmp_path) as bao:
        environment = {
            "WATCHWORD_SERVER__CUSTODY": "vault",
            "WATCHWORD_SERVER__VAULT_URL": bao.url,
            "WATCHWORD_SERVER__VAULT_TOKEN_FILE": str(bao.token_file),
        }
        folder = tmp_path / "server"
        folder.mkdir()
        with ServerProcess(folder, environment=environment) as server:
            agent = server.create_agent("reader")
            tokens = [str(server.token(agent)[1]["access_token"]) for _ in range(20)]
            (name,) = bao.ask("LIST", "transit/keys")["data"]["keys"]
            bao.ask("POST", f"transit/keys/{name}/config", exportable=True)
            (pem,) = bao.ask("GET", f"transit/export/signing-key/{name}")["data"]["keys"].values()
            key = load_pem_private_key(pem.encode(), None)
            assert isinstance(key, EllipticCurvePrivateKey)
            public = b64url_encode(key.public_key().public_numbers().x.to_bytes(32, "big"))
            held = [part for pid in server.pids for part in memory_of(pid)]
        files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert len(set(tokens)) == 20
    for places in (held, files):
        assert any(public in part for part in places), "the search finds what is there"
        assert [one for one in spellings(key) if any(one in part for part in places)] == []
