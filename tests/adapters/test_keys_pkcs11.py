"""Keys in a real token (SoftHSM2): made there, never outside of it; lost sessions, a PIN that is refused, forks."""

import asyncio
import os
import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from tests import rule, softhsm
from watchword.adapters import keys_pkcs11
from watchword.adapters.keys_pkcs11 import Pkcs11Signer
from watchword.errors import CustodyUnavailable, NoSigningKey
from watchword.ports.keys import Signer
from watchword.testing.records import NOON
from watchword.testing.signer_contract import SignerContract, sign

pytest.importorskip("pkcs11", reason="needs watchword[pkcs11]")
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def library() -> Path:
    return softhsm.shared_token()


def signer_of(library: Path, label: str = softhsm.LABEL, pin: str = softhsm.PIN) -> Pkcs11Signer:
    return Pkcs11Signer(library, label, pin)


async def ask(signer: Pkcs11Signer, question):
    """Ask the session itself, in its thread."""
    return await signer.ask(question)


class TestPkcs11Signer(SignerContract):
    @pytest.fixture
    def open_signer(self, library: Path):
        async def one_more() -> Signer:
            return signer_of(library)

        return one_more


@rule("K4", "TRAP-15")
@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519", "PS256"])
async def test_a_key_cannot_leave_and_can_only_sign(library: Path, algorithm: str) -> None:
    import pkcs11
    from pkcs11 import Attribute

    signer = signer_of(library)
    key = await signer.generate(algorithm, now=NOON)

    def look(session):
        found = session._found[key.sealed]
        names = ("EXTRACTABLE", "SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL", "PRIVATE", "TOKEN")
        can = ("SIGN", "SIGN_RECOVER", "DECRYPT", "UNWRAP", "DERIVE")
        secret = ["PRIVATE_EXPONENT", "PRIME_1", "PRIME_2"] if algorithm == "PS256" else ["VALUE"]
        shown = []
        for name in secret:
            try:
                shown.append(found[getattr(Attribute, name)])
            except pkcs11.AttributeSensitive:
                continue
        return [found[getattr(Attribute, name)] for name in names + can], shown

    flags, shown = await ask(signer, look)
    assert flags == [False, *[True] * 6, True, *[False] * 4]
    assert shown == []
    assert key.sealed.startswith(b"pkcs11:")


@rule("K8")
async def test_a_session_that_is_lost_is_opened_again(library: Path) -> None:
    signer = signer_of(library)
    key = await signer.generate("ES256", now=NOON)
    await ask(signer, lambda session: session._session.close())
    await sign(signer, key)
    label = "meanwhile " + secrets.token_hex(4)
    softhsm.shared_token(label)
    await signer_of(library, label).generate("ES256", now=NOON)  # the library is begun anew to see it
    await sign(signer, key)


@rule("K8")
async def test_a_token_that_is_not_there_is_a_fault_and_found_when_it_comes(library: Path) -> None:
    label = "later " + secrets.token_hex(4)
    signer = signer_of(library, label)
    for _ in range(2):
        with pytest.raises(CustodyUnavailable) as caught:
            await signer.generate("ES256", now=NOON)
        assert caught.value.reason == "custody.unreachable"
    softhsm.shared_token(label)
    await sign(signer, await signer.generate("ES256", now=NOON))


@rule("K8")
async def test_a_key_that_was_removed_from_the_token_is_gone(library: Path) -> None:
    signer = signer_of(library)
    key, other = [await signer.generate("ES256", now=NOON) for _ in range(2)]
    await ask(signer, lambda session: session._found[key.sealed].destroy())
    with pytest.raises(NoSigningKey) as caught:
        await signer.sign(key, b"message")
    assert caught.value.reason == "keys.gone"
    await sign(signer, other)


async def test_a_key_of_another_token_is_not_found(library: Path) -> None:
    label = "other " + secrets.token_hex(4)
    softhsm.shared_token(label)
    key = await signer_of(library, label).generate("ES256", now=NOON)
    with pytest.raises(NoSigningKey) as caught:
        await signer_of(library).sign(key, b"message")
    assert caught.value.reason == "keys.gone"


@rule("K8")
async def test_a_pin_that_is_refused_is_not_tried_until_the_token_locks(library: Path, monkeypatch) -> None:
    from watchword.adapters import keys_pkcs11_session

    label = "pin " + secrets.token_hex(4)
    softhsm.shared_token(label)
    opened = []
    init = keys_pkcs11_session.TokenSession.__init__
    monkeypatch.setattr(
        keys_pkcs11_session.TokenSession, "__init__", lambda self, *a, **k: opened.append(1) or init(self, *a, **k)
    )
    wrong = "000011112222"
    for _ in range(5):
        with pytest.raises(CustodyUnavailable) as caught:
            await signer_of(library, label, wrong).generate("ES256", now=NOON)
        assert caught.value.reason == "custody.pin"
        assert wrong not in str(caught.value) + repr(caught.value.__cause__) + repr(caught.value.__context__)
    assert opened == [1]


async def test_who_has_another_pin_does_not_get_the_open_session(library: Path) -> None:
    signer = signer_of(library)
    key = await signer.generate("ES256", now=NOON)
    with pytest.raises(CustodyUnavailable) as caught:
        await signer_of(library, pin="000011112222").sign(key, b"message")
    assert caught.value.reason == "custody.pin"
    await sign(signer, key)


async def test_a_library_that_is_none_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "none.so").write_bytes(b"no library")
    for path in (tmp_path / "none.so", tmp_path / "missing.so"):
        with pytest.raises(CustodyUnavailable) as caught:
            await Pkcs11Signer(path, "token", "1234").generate("ES256", now=NOON)
        assert caught.value.reason == "custody.unreachable"


async def test_a_forked_child_opens_a_session_of_its_own_and_the_parent_goes_on(library: Path) -> None:
    signer = signer_of(library)
    key = await signer.generate("ES256", now=NOON)
    await sign(signer, key)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            asyncio.set_event_loop(None)
            asyncio.events._set_running_loop(None)
            signature = asyncio.new_event_loop().run_until_complete(
                asyncio.wait_for(signer.sign(key, b"of the child"), 20)
            )
            os.write(writer, signature)
        finally:
            os._exit(0)
    os.close(writer)
    await sign(signer, key)
    os.waitpid(child, 0)
    signature = os.read(reader, 200)
    os.close(reader)
    from watchword.protocol.jose import import_public_jwk

    import_public_jwk(key.public_jwk).verify(signature, b"of the child")
    await sign(signer, key)


async def test_all_of_a_process_share_one_thread(library: Path) -> None:
    keys = [await signer_of(library).generate("ES256", now=NOON) for _ in range(2)]
    await asyncio.gather(*(sign(signer_of(library), key) for key in keys * 10))
    assert len({id(signer_of(library)._line) for _ in range(3)}) == 1
    names = [thread.name for thread in __import__("threading").enumerate()]
    assert names.count("watchword pkcs11") <= len(keys_pkcs11._lines)


async def test_it_shows_no_pin(library: Path) -> None:
    signer = signer_of(library)
    key = await signer.generate("ES256", now=NOON)
    shown = repr(signer) + repr(signer._place) + repr(key)
    assert softhsm.PIN not in shown
    assert key.sealed.decode() not in repr(replace(key))
