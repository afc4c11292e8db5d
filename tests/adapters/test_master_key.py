import base64
import os
import pickle
import stat
from pathlib import Path

import pytest

from tests import rule
from watchword.adapters.master_key import CREDENTIAL_NAME, MasterKey, create_master_key, load_master_key
from watchword.errors import MasterKeyError

SECRET = bytes(range(32))
TEXT = base64.b64encode(SECRET).decode()


def reason_of(path: Path | None = None, *, value: str | None = None, credentials: Path | None = None) -> str:
    with pytest.raises(MasterKeyError) as caught:
        load_master_key(path, value=value, credentials_directory=credentials)
    assert caught.value.detail
    return caught.value.reason


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "master.key"
    create_master_key(path)
    return path


def test_derived_keys_follow_rfc_5869() -> None:
    import hashlib
    import hmac

    extracted = hmac.digest(bytes(32), SECRET, "sha256")
    expanded = hmac.new(extracted, b"watchword v1 cursor\x01", hashlib.sha256).digest()
    assert MasterKey(SECRET).derive("cursor") == expanded


def test_a_created_key_is_loaded_again(key_file: Path) -> None:
    loaded = load_master_key(key_file, value=None, credentials_directory=None)
    again = load_master_key(None, value=key_file.read_text(), credentials_directory=None)
    assert loaded.derive("cursor") == again.derive("cursor")


def test_every_purpose_and_every_key_has_its_own(key_file: Path) -> None:
    keys = MasterKey(SECRET), load_master_key(key_file, value=None, credentials_directory=None)
    purposes = "signing-key-envelope", "client-secret-pepper", "operator-token-pepper", "cursor"
    assert len({key.derive(purpose) for key in keys for purpose in purposes}) == 8


@rule("K9")
def test_the_file_is_its_owners_alone(key_file: Path) -> None:
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert len(base64.b64decode(key_file.read_text().removesuffix("\n"), validate=True)) == 32


def test_two_created_keys_differ(tmp_path: Path) -> None:
    create_master_key(tmp_path / "one")
    create_master_key(tmp_path / "two")
    assert (tmp_path / "one").read_text() != (tmp_path / "two").read_text()


@rule("K9")
@pytest.mark.parametrize("existing", ["file", "symlink", "dangling"])
def test_nothing_is_written_over_or_through(tmp_path: Path, existing: str) -> None:
    path, other = tmp_path / "master.key", tmp_path / "other"
    if existing == "file":
        path.write_text("mine")
    else:
        path.symlink_to(other)
    if existing == "symlink":
        other.write_text("mine")
    with pytest.raises(MasterKeyError) as caught:
        create_master_key(path)
    assert caught.value.reason == "master_key.exists"
    assert other.exists() is (existing == "symlink")
    assert existing == "dangling" or path.read_text() == "mine"


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyError) as caught:
        create_master_key(tmp_path / "no" / "master.key")
    assert caught.value.reason == "master_key.unwritable"


@rule("K9")
def test_a_missing_key_is_refused(tmp_path: Path) -> None:
    assert reason_of(tmp_path / "master.key") == "master_key.missing"
    assert reason_of(None) == "master_key.missing"
    assert reason_of(None, credentials=tmp_path) == "master_key.missing"


@rule("K9")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o777, 0o660])
def test_a_file_open_to_others_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    assert reason_of(key_file) == "master_key.mode"
    key_file.chmod(0o400)
    load_master_key(key_file, value=None, credentials_directory=None)


@rule("K9")
def test_a_symbolic_link_is_refused(key_file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(key_file)
    assert reason_of(tmp_path / "link") == "master_key.symlink"


@rule("K9")
def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert reason_of(tmp_path) == "master_key.not_a_file"
    assert reason_of(tmp_path / "pipe") == "master_key.not_a_file"


@rule("K9")
def test_a_file_of_another_user_is_refused(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.stat_result((stat.S_IFREG | 0o600, 1, 1, 1, 4242, 4242, 45, 0, 0, 0))
    monkeypatch.setattr(os, "fstat", lambda _: found)
    assert reason_of(key_file) == "master_key.owner"


@rule("K9")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "master_key.encoding"),
        (TEXT[:-1], "master_key.encoding"),
        (TEXT[:20], "master_key.length"),
        (TEXT + TEXT, "master_key.encoding"),
        (base64.b64encode(bytes(31)).decode(), "master_key.length"),
        (base64.b64encode(bytes(33)).decode(), "master_key.length"),
        (TEXT[:10] + "\n" + TEXT[10:], "master_key.encoding"),
        (TEXT[:-2] + "9=", "master_key.encoding"),
        ("\u00fc" * 44, "master_key.encoding"),
        ("A" * 100_000, "master_key.length"),
        (SECRET.hex(), "master_key.length"),
    ],
)
def test_what_is_not_32_bytes_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "master.key"
    path.write_text(text)
    path.chmod(0o600)
    assert reason_of(path) == reason
    assert reason_of(None, value=text) in {reason, "master_key.length"}


def test_the_setting_goes_before_the_credential_and_the_file(key_file: Path, tmp_path: Path) -> None:
    (tmp_path / CREDENTIAL_NAME).write_text(base64.b64encode(bytes(32)).decode())
    (tmp_path / CREDENTIAL_NAME).chmod(0o440)
    given = load_master_key(key_file, value=TEXT, credentials_directory=tmp_path)
    assert given.derive("cursor") == MasterKey(SECRET).derive("cursor")
    credential = load_master_key(key_file, value=None, credentials_directory=tmp_path)
    assert credential.derive("cursor") == MasterKey(bytes(32)).derive("cursor")


@rule("K9")
def test_a_credential_open_to_everyone_is_refused(tmp_path: Path) -> None:
    (tmp_path / CREDENTIAL_NAME).write_text(TEXT)
    (tmp_path / CREDENTIAL_NAME).chmod(0o444)
    assert reason_of(None, credentials=tmp_path) == "master_key.mode"


def test_it_shows_nothing_of_itself() -> None:
    key = MasterKey(SECRET)
    assert repr(key) == "MasterKey()"
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_no_message_repeats_the_key(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    path.write_text(TEXT + "x")
    path.chmod(0o600)
    with pytest.raises(MasterKeyError) as caught:
        load_master_key(path, value=None, credentials_directory=None)
    assert TEXT not in str(caught.value)


def test_a_key_that_could_not_be_written_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MasterKeyError) as caught:
        create_master_key(tmp_path / "master.key")
    assert (caught.value.reason, list(tmp_path.iterdir())) == ("master_key.unwritable", [])


def loaded(path: Path) -> MasterKey:
    return load_master_key(path, value=None, credentials_directory=None)


@pytest.fixture
def replaced(tmp_path: Path) -> Path:
    path = tmp_path / "new.key"
    MasterKey(SECRET).replaced().write(path)
    return path


@rule("K9")
def test_one_that_replaces_another_derives_what_that_does_and_has_a_key_of_its_own(replaced: Path) -> None:
    new = loaded(replaced)
    assert stat.S_IMODE(replaced.stat().st_mode) == 0o600
    assert new.derive("cursor") == MasterKey(SECRET).derive("cursor")
    (own,) = new.derive_later("cursor")
    assert own != new.derive("cursor")
    assert MasterKey(SECRET).derive_later("cursor") == ()
    assert TEXT[:40] not in replaced.read_text()
    assert SECRET not in base64.b64decode(replaced.read_text())
    again = load_master_key(None, value=replaced.read_text(), credentials_directory=None)
    assert again.derive_later("cursor") == (own,)


def test_of_those_before_it_keeps_the_first_and_the_newest(tmp_path: Path) -> None:
    keys = [MasterKey(SECRET)]
    for number in range(3):
        keys[-1].replaced().write(tmp_path / str(number))
        keys.append(loaded(tmp_path / str(number)))
    assert keys[3].derive_later("cursor")[1:] == keys[2].derive_later("cursor")[:1]
    assert len(keys[3].derive_later("cursor")) == 2
    assert {key.derive("cursor") for key in keys} == {MasterKey(SECRET).derive("cursor")}
    assert [keys[3].comes_of(key) for key in keys] == [True, False, True, True]
    assert [key.comes_of(keys[3]) for key in keys] == [False, False, False, True]
    assert not keys[3].comes_of(MasterKey(bytes(32)))


@rule("K9")
@pytest.mark.parametrize("at", range(0, 92, 7))
def test_one_that_was_altered_is_refused(replaced: Path, at: int) -> None:
    """Wherever: one whose first key is another would refuse every secret, and open every signing key."""
    altered = bytearray(base64.b64decode(replaced.read_text()))
    altered[at] ^= 1
    replaced.write_bytes(base64.b64encode(altered))
    assert reason_of(replaced) == "master_key.altered"
    replaced.write_bytes(base64.b64encode(altered[:at]))
    assert at == 0 or at == 32 or reason_of(replaced) == "master_key.length"


@rule("K9")
def test_a_replacement_is_never_written_over_a_file(replaced: Path) -> None:
    before = replaced.read_text()
    with pytest.raises(MasterKeyError) as caught:
        loaded(replaced).replaced().write(replaced)
    assert (caught.value.reason, replaced.read_text()) == ("master_key.exists", before)
    assert [path.name for path in replaced.parent.iterdir()] == ["new.key"]
