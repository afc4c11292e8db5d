"""An agent's own key in a real token (SoftHSM2). How it logs in with it: ``tests/whole/test_custody.py``."""

import copy
import json
import os
import pickle
import secrets
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest

from tests import softhsm
from watchword import LoginMisconfigured, LoginUnavailable
from watchword.adapters.keys_pkcs11 import ask_and_wait, find_place
from watchword.errors import CustodyUnavailable
from watchword.protocol.jose import import_public_jwk
from watchword.protocol.names import SIGNING_ALGORITHMS

pytest.importorskip("pkcs11", reason="needs watchword[pkcs11]")

from watchword.integrations.pkcs11 import Pkcs11Key


@pytest.fixture
def library() -> Path:
    return softhsm.shared_token()


@pytest.fixture
def make(library: Path) -> Callable[..., Pkcs11Key]:
    def made(algorithm: str = "ES256", label: str = "") -> Pkcs11Key:
        name = label or secrets.token_hex(8)
        return Pkcs11Key.generate(library, softhsm.LABEL, label=name, pin=softhsm.PIN, algorithm=algorithm)

    return made


def verifies(key: Pkcs11Key) -> bool:
    public = import_public_jwk(key.public_jwk, algorithm=key.algorithm)
    token = jwt.api_jws.PyJWS()
    header = json.dumps({"alg": key.algorithm}).encode()
    message = jwt.utils.base64url_encode(header) + b"." + jwt.utils.base64url_encode(b"{}")
    whole = message + b"." + jwt.utils.base64url_encode(key.sign(message))
    name = "EdDSA" if key.algorithm == "Ed25519" else key.algorithm
    algorithm = token._algorithms[name]
    return algorithm.verify(message, public.key, jwt.utils.base64url_decode(whole.rsplit(b".", 1)[1]))


@pytest.mark.parametrize("algorithm", SIGNING_ALGORITHMS)
def test_a_key_made_in_the_token_signs_and_is_found_again_by_its_label(library: Path, make, algorithm: str) -> None:
    label = secrets.token_hex(8)
    made = make(algorithm, label)
    found = Pkcs11Key(library, softhsm.LABEL, label=label, pin=softhsm.PIN, algorithm=algorithm)
    assert (found.algorithm, found.public_jwk) == (algorithm, made.public_jwk)
    assert verifies(found)
    assert verifies(made)
    assert softhsm.PIN not in repr(found)


def test_a_key_that_another_program_made_is_used_as_it_is(library: Path) -> None:
    label = secrets.token_hex(8)
    pem = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        check=True,
        capture_output=True,
    ).stdout
    file = Path(os.environ["SOFTHSM2_CONF"]).with_name(f"{label}.pem")
    file.write_bytes(pem)
    command = ["softhsm2-util", "--import", str(file), "--token", softhsm.LABEL, "--label", label, "--id", "0a"]
    subprocess.run([*command, "--pin", softhsm.PIN], check=True, capture_output=True)
    key = Pkcs11Key(library, softhsm.LABEL, label=label, pin=softhsm.PIN)
    assert key.algorithm == "ES256"
    assert verifies(key)


def test_what_is_wrong_with_the_token_is_said_as_a_login_says_it(library: Path, make, tmp_path: Path) -> None:
    label = secrets.token_hex(8)
    make(label=label)

    def refused(**change: object) -> str:
        given = {"module": library, "token": softhsm.LABEL, "label": label, "pin": softhsm.PIN, **change}
        with pytest.raises((LoginMisconfigured, LoginUnavailable)) as caught:
            Pkcs11Key(given.pop("module"), given.pop("token"), **given)
        assert softhsm.PIN not in str(caught.value)
        return f"{type(caught.value).__name__} {caught.value.reason}"

    pin = tmp_path / "pin"
    pin.write_text(softhsm.PIN)
    pin.chmod(0o644)
    assert refused(label="nobody's") == "LoginMisconfigured keys.label"
    assert refused(algorithm="Ed25519") == "LoginMisconfigured keys.algorithm"
    assert refused(token="nowhere") == "LoginUnavailable custody.unreachable"
    assert refused(module=tmp_path / "none.so") == "LoginUnavailable custody.unreachable"
    locked = secrets.token_hex(8)
    softhsm.shared_token(locked)
    assert refused(token=locked, pin="0000") == "LoginMisconfigured custody.pin"
    assert refused(pin_file=pin) == "LoginMisconfigured file.mode"
    with pytest.raises(LoginMisconfigured) as caught:
        make(label=label)
    assert caught.value.reason == "keys.label"
    pin.chmod(0o600)
    assert Pkcs11Key(library, softhsm.LABEL, label=label, pin_file=pin).algorithm == "ES256"


def test_a_token_that_does_not_answer_is_not_waited_for_for_ever(library: Path) -> None:
    place = find_place(library, softhsm.LABEL, softhsm.PIN)
    gate = threading.Event()
    with pytest.raises(CustodyUnavailable) as caught:
        ask_and_wait(place, lambda _: gate.wait(20), seconds=0.05)
    assert caught.value.reason == "custody.timeout"
    gate.set()
    assert ask_and_wait(place, lambda _: 7, seconds=10) == 7


def test_a_key_is_not_pickled(make) -> None:
    key = make()
    for leave in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="not pickled"):
            leave(key)
