"""Where and how the server listens: TLS from files, plain HTTP refused where others could hear it, clear words otherwise."""

import os
import signal
import socket
import ssl
import subprocess
import warnings
from pathlib import Path

import httpx2
import pytest
import trustme

from tests import rule
from tests.processes import environment
from tests.whole.server_process import PROGRAM, SECONDS, Serving, initialised
from watchword.testing.process import free_port


def refusal(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run ``serve``, which must end by itself; return its exit code and what it said."""
    command = [*PROGRAM, "serve", "--data", str(folder / "data"), "--management", "127.0.0.1:0", *arguments]
    ended = subprocess.run(
        command, env=environment(folder), cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert ended.stdout == ""
    return ended.returncode, ended.stderr


@rule("R9700-2.6-01", "KF-105", "R8414-2-01")
def test_tls_from_files_gives_tokens_and_no_old_protocol(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for position, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(tmp_path / "cert.pem", append=position > 0)
    port = free_port()
    initialised(tmp_path, f"https://127.0.0.1:{port}")
    with Serving(
        tmp_path,
        [
            "--listen",
            f"127.0.0.1:{port}",
            "--tls-cert",
            str(tmp_path / "cert.pem"),
            "--tls-key",
            str(tmp_path / "key.pem"),
        ],
    ):
        trusted = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        document = httpx2.get(f"https://127.0.0.1:{port}/.well-known/oauth-authorization-server", verify=trusted).json()
        assert document["token_endpoint"] == f"https://127.0.0.1:{port}/oauth/token"
        with pytest.raises(httpx2.HTTPError):
            httpx2.get(f"http://127.0.0.1:{port}/.well-known/jwks.json")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", port)) as plain, pytest.raises(ssl.SSLError):
            old.wrap_socket(plain)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--listen", "0.0.0.0:0"], "plain HTTP"),
        (["--listen", "nonsense"], "is not an address"),
        (["--tls-cert", "cert.pem"], "go together"),
        (["--workers", "0"], "workers"),
        (["--listen", "203.0.113.9:0", "--insecure-http"], "cannot listen on"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(tmp_path: Path, arguments: list[str], says: str) -> None:
    initialised(tmp_path, "https://auth.example.com")
    code, text = refusal(tmp_path, *arguments)
    assert code in (1, 2)
    assert says in text
    assert "Traceback" not in text


def test_plain_http_to_others_is_served_when_it_is_named(tmp_path: Path) -> None:
    initialised(tmp_path, "https://auth.example.com")
    for arguments in (["--insecure-http"], ["--trusted-proxy", "127.0.0.0/8"]):
        with Serving(tmp_path, ["--listen", "0.0.0.0:0", *arguments]) as serving:
            port = str(serving.logged("ready")["listen"]).rpartition(":")[2]
            url = f"http://127.0.0.1:{port}/.well-known/jwks.json"
            assert httpx2.get(url).status_code == 400
            assert httpx2.get(url, headers={"host": "auth.example.com"}).status_code == 200


def test_an_occupied_port_is_said_and_nothing_is_damaged(tmp_path: Path) -> None:
    initialised(tmp_path, "http://127.0.0.1:8020")
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        code, text = refusal(tmp_path, "--listen", f"127.0.0.1:{occupied.getsockname()[1]}")
    assert code == 2
    assert "cannot listen on" in text
    with Serving(tmp_path, ["--listen", "127.0.0.1:0"]):
        pass


@pytest.mark.parametrize("spoil", ["missing", "readable", "wrong", "short"])
@rule("K9")
def test_a_master_key_that_cannot_be_trusted_stops_the_start(tmp_path: Path, spoil: str) -> None:
    data = initialised(tmp_path, "http://127.0.0.1:8020")
    key = data / "master.key"
    if spoil == "missing":
        key.unlink()
    elif spoil == "readable":
        key.chmod(0o644)
    elif spoil == "short":
        key.write_text("AAAA\n")
    else:
        key.write_text("A" * 43 + "=\n")
    code, text = refusal(tmp_path, "--listen", "127.0.0.1:0")
    assert code == 1
    assert "master" in text
    assert "Traceback" not in text


@rule("O11")
def test_sigterm_ends_the_server_and_frees_the_store(tmp_path: Path) -> None:
    initialised(tmp_path, "http://127.0.0.1:8020")
    with Serving(tmp_path, ["--listen", "127.0.0.1:0"]) as serving:
        os.kill(serving.process.pid, signal.SIGTERM)
        assert serving.process.wait(SECONDS) == 0
    with Serving(tmp_path, ["--listen", "127.0.0.1:0"]):
        pass
