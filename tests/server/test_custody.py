"""Each key signs where it is, and nowhere else."""

from dataclasses import replace

import pytest

from tests import rule
from watchword.adapters.keys_file import FileSigner
from watchword.adapters.master_key import MasterKey
from watchword.errors import NoSigningKey
from watchword.ports.keys import Signer, SigningKey
from watchword.server.custody import Custodies
from watchword.testing.faulty_signer import FaultySigner
from watchword.testing.records import NOON
from watchword.testing.signer_contract import SignerContract, sign

pytestmark = pytest.mark.anyio
MARK = bytes(32)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def local() -> FaultySigner:
    return FaultySigner(FileSigner(MasterKey(bytes(range(32)))))


@pytest.fixture
def outside() -> FaultySigner:
    return FaultySigner(FileSigner(MasterKey(bytes(32))))


class TestCustodies(SignerContract):
    @pytest.fixture
    def open_signer(self):
        async def one_more() -> Signer:
            return Custodies({"local": FileSigner(MasterKey(bytes(range(32))))}, mark_key=MARK)

        return one_more


async def test_a_new_key_is_made_where_the_settings_say_and_every_key_signs_in_its_own(local, outside) -> None:
    old = await Custodies({"local": local}, mark_key=MARK).generate("ES256", now=NOON)
    both = Custodies({"local": local, "pkcs11": outside}, mark_key=MARK, default="pkcs11")
    new = await both.generate("ES256", now=NOON)
    named = await both.generate_in("local", "ES256", now=NOON)
    assert (old.custody, new.custody, named.custody) == ("local", "pkcs11", "local")
    asked = local.asked, outside.asked
    for key in (old, new, named):
        await sign(both, key)
    assert (local.asked - asked[0], outside.asked - asked[1]) == (2, 1)


@rule("K8")
@pytest.mark.parametrize("custody", ["vault", "", "LOCAL", "pkcs11 "])
async def test_a_key_of_a_custody_that_is_not_configured_signs_nowhere(local, outside, custody) -> None:
    custodies = Custodies({"local": local, "pkcs11": outside}, mark_key=MARK)
    key = await custodies.generate("ES256", now=NOON)
    asked = local.asked, outside.asked
    with pytest.raises(NoSigningKey) as caught:
        await custodies.sign(replace(key, custody=custody), b"message")
    assert caught.value.reason == "keys.custody"
    assert repr(custody) in caught.value.detail
    assert (local.asked, outside.asked) == asked
    await sign(custodies, key)


@rule("K8")
@pytest.mark.parametrize("fault", ["denied", "gone", "throttled", "down"])
async def test_where_one_custody_fails_no_other_signs(local, outside, fault) -> None:
    custodies = Custodies({"local": local, "pkcs11": outside}, mark_key=MARK, default="pkcs11")
    key: SigningKey = await custodies.generate("ES256", now=NOON)
    outside.fault = fault
    with pytest.raises(Exception) as caught:  # noqa: PT011 -- its reason is compared
        await custodies.sign(key, b"message")
    assert getattr(caught.value, "reason", "") in {f"keys.{fault}", f"custody.{fault}"}
    with pytest.raises(Exception):  # noqa: B017, PT011 -- as above
        await custodies.generate("ES256", now=NOON)
    assert local.asked == 0


async def test_the_default_must_be_configured_to_make_a_key(local) -> None:
    with pytest.raises(NoSigningKey) as caught:
        await Custodies({"local": local}, mark_key=MARK, default="vault").generate("ES256", now=NOON)
    assert caught.value.reason == "keys.custody"


@rule("K9")
async def test_a_reference_to_another_key_outside_is_found_out_without_asking(local, outside) -> None:
    """Who can write to the store must not have the custody sign with another key that it holds."""
    custodies = Custodies({"local": local, "pkcs11": outside}, mark_key=MARK, default="pkcs11")
    key, other = [await custodies.generate("ES256", now=NOON) for _ in range(2)]
    asked = outside.asked
    other_master = Custodies({"pkcs11": outside}, mark_key=bytes(range(32)))
    for where, one in (
        (custodies, replace(key, sealed=other.sealed)),
        (custodies, replace(key, kid=other.kid)),
        (custodies, replace(key, sealed=key.sealed[32:])),
        (custodies, replace(key, sealed=b"")),
        (other_master, key),
    ):
        for ask in (where.check(one), where.sign(one, b"message")):
            with pytest.raises(NoSigningKey) as caught:
                await ask
            assert caught.value.reason == "keys.sealed"
    assert outside.asked == asked
    await custodies.check(key)
    await sign(custodies, key)


async def test_what_is_local_is_checked_by_signing(local) -> None:
    custodies = Custodies({"local": local}, mark_key=MARK)
    key = await custodies.generate("ES256", now=NOON)
    await custodies.check(key)
    with pytest.raises(NoSigningKey) as caught:
        await custodies.check(replace(key, sealed=key.sealed[:-1]))
    assert caught.value.reason == "keys.sealed"
