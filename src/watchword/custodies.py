"""Who holds the signing keys, as the settings say: always this process itself, sealed, and whoever else is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from watchword.adapters.keys_file import FileSigner
from watchword.adapters.master_key import MasterKey
from watchword.client.private_file import OTHERS, read_private_file
from watchword.clouds import open_clouds
from watchword.errors import BadSettings, WatchwordError
from watchword.ports.keys import LOCAL, KeyState, Signer, SigningKey
from watchword.ports.store import Store
from watchword.server.custody import Custodies
from watchword.server.custody_guard import Guard
from watchword.settings import ServerSettings

if TYPE_CHECKING:
    from watchword.adapters.keys_aws import AwsSigner

PKCS11 = "pkcs11"
AWS_KMS = "aws_kms"


@contextmanager
def open_custodies(settings: ServerSettings, master: MasterKey) -> Iterator[Custodies]:
    """Give every custody that is configured. None of them is asked before there is something to ask.

    Raises:
        BadSettings: settings.custody: a library is missing, or a file with a secret cannot be read.
    """
    signers: dict[str, Signer] = {LOCAL: FileSigner(master)}
    if settings.pkcs11_module is not None:
        signers[PKCS11] = Guard(PKCS11, _pkcs11(settings))
    with ExitStack() as stack:
        if settings.aws_kms_region is not None:
            aws = _aws(settings.aws_kms_region, settings.aws_kms_endpoint)
            stack.callback(aws.close)
            signers[AWS_KMS] = Guard(AWS_KMS, aws)
        clouds = stack.enter_context(open_clouds(settings))
        signers |= {name: Guard(name, signer) for name, signer in clouds.items()}
        yield build_custodies(signers, master, default=settings.custody)


def build_custodies(signers: dict[str, Signer], master: MasterKey, *, default: str = LOCAL) -> Custodies:
    """Return them under one master key."""
    return Custodies(signers, mark_key=master.derive("custody-reference"), default=default)


def local_custody(master: MasterKey) -> Custodies:
    """Return the one that needs no settings."""
    return build_custodies({LOCAL: FileSigner(master)}, master)


def _aws(region: str, endpoint: str | None) -> AwsSigner:
    from watchword.adapters.keys_aws import AwsSettings, AwsSigner  # its library takes a while to load

    return AwsSigner(AwsSettings(region=region, endpoint_url=endpoint))


def _pkcs11(settings: ServerSettings) -> Signer:
    from watchword.adapters.keys_pkcs11 import Pkcs11Signer

    if settings.pkcs11_module is None:  # asked before
        raise BadSettings("settings.custody")
    return Pkcs11Signer(settings.pkcs11_module, settings.pkcs11_token or "", _pin(settings))


def _pin(settings: ServerSettings) -> str:
    if settings.pkcs11_pin is not None:
        return settings.pkcs11_pin.get_secret_value()
    if settings.pkcs11_pin_file is None:
        return ""
    try:
        return read_private_file(settings.pkcs11_pin_file, forbidden=OTHERS).strip()
    except WatchwordError as error:
        raise BadSettings("settings.custody", detail=f"pkcs11_pin_file: {error.detail}") from error


async def sign_with_each_key(store: Store, signer: Signer) -> None:
    """Return when every active key signs.

    Raises:
        NoSigningKey, CustodyUnavailable: one does not.
        StoreUnavailable
    """
    for key in await store.signing_keys():
        if key.state is KeyState.ACTIVE:
            await signer.sign(key, b"readiness")


async def check_master_key(store: Store, custodies: Custodies) -> None:
    """Return if the active keys were sealed, or referred to, under this master key; where none is active, the last that was.

    Nobody outside is asked.

    Raises:
        NoSigningKey: they were not.
        StoreUnavailable
    """
    keys: list[SigningKey] = list(await store.signing_keys())
    active = [key for key in keys if key.state is KeyState.ACTIVE]
    for key in active or [key for key in keys if key.sealed][-1:]:
        await custodies.check(key)
