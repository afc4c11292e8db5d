"""PKCS #11: an agent's own key in a token, that never leaves it. For ``PrivateKeyJwt``, ``ChallengeResponse`` and ``DPoPKey``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Self, TypeVar

from watchword.client.errors import After, LoginMisconfigured, LoginUnavailable
from watchword.client.private_file import OTHERS, read_private_file
from watchword.errors import BadSettings, CustodyUnavailable, NoSigningKey
from watchword.protocol import names

if TYPE_CHECKING:
    from watchword.adapters.keys_pkcs11_session import TokenPlace, TokenSession

Result = TypeVar("Result")

_SECONDS: Final = 10.0
_PAUSE: Final = timedelta(seconds=1)
_REFUSED_PIN: Final = "custody.pin"


class Pkcs11Key:
    """The key with this ``label`` (CKA_LABEL) in a token, whose public half is beside it under the same CKA_ID.

    ``algorithm`` is needed for RSA keys that are to sign RS256: they sign PS256 otherwise. ``pin``, or ``pin_file``, which
    nobody else can read. It may be used by several threads; each signature waits for the token, 10 seconds at most.

    Raises:
        LoginMisconfigured: settings.custody: ``watchword[pkcs11]`` is not installed; custody.pin, keys.label, keys.algorithm,
            file.*
        LoginUnavailable: custody.unreachable, custody.failed, custody.timeout
    """

    def __init__(
        self,
        module: str | os.PathLike[str],
        token: str,
        *,
        label: str,
        pin: str = "",
        pin_file: str | os.PathLike[str] | None = None,
        algorithm: str = "",
    ) -> None:
        self._place = _find_place(module, token, pin, pin_file)
        self._label = label
        self._reference, self._jwk = _ask(self._place, lambda session: session.find(label, algorithm))

    @classmethod
    def generate(
        cls,
        module: str | os.PathLike[str],
        token: str,
        *,
        label: str,
        pin: str = "",
        pin_file: str | os.PathLike[str] | None = None,
        algorithm: str = names.ES256,
    ) -> Self:
        """Make the key in the token, not to be taken out and only to sign with, and return it.

        Raises:
            LoginMisconfigured, LoginUnavailable: as above; keys.label: there is one already.
        """
        place = _find_place(module, token, pin, pin_file)

        def make(session: TokenSession) -> None:
            from watchword.adapters.keys_pkcs11_session import check_algorithm

            check_algorithm(algorithm)
            session.generate(algorithm, label)

        _ask(place, make)
        return cls(module, token, label=label, pin=place.pin, algorithm=algorithm)

    @property
    def algorithm(self) -> str:
        """The one algorithm that it signs with."""
        return self._jwk[names.ALG]

    @property
    def public_jwk(self) -> Mapping[str, str]:
        """Its public members, ``kid`` (the RFC 7638 thumbprint), ``use`` and ``alg``: what the server is told."""
        return dict(self._jwk)

    def sign(self, message: bytes, /) -> bytes:
        """Return the JWS signature of ``message``, made in the token.

        Raises:
            LoginMisconfigured: keys.gone, custody.pin
            LoginUnavailable: custody.unreachable, custody.failed, custody.timeout
        """
        from watchword.adapters.keys_pkcs11_session import to_sign

        reference, algorithm, data = self._reference, self.algorithm, to_sign(self.algorithm, message)
        return _ask(self._place, lambda session: session.sign(reference, algorithm, data))

    def __repr__(self) -> str:
        return f"Pkcs11Key(token={self._place.token!r}, label={self._label!r}, kid={self._jwk[names.KID]!r})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a key in a token is not pickled: open it in the process that uses it")


def _find_place(
    module: str | os.PathLike[str], token: str, pin: str, pin_file: str | os.PathLike[str] | None
) -> TokenPlace:
    from watchword.adapters.keys_pkcs11 import find_place

    if pin_file is not None:
        pin = read_private_file(Path(pin_file), forbidden=OTHERS).strip()
    try:
        return find_place(Path(module), token, pin)
    except BadSettings as error:
        raise LoginMisconfigured(error.reason, detail=error.detail) from error


def _ask(place: TokenPlace, ask: Callable[[TokenSession], Result]) -> Result:
    """Return what the token is asked, or say as a login does what is wrong with it."""
    from watchword.adapters.keys_pkcs11 import ask_and_wait

    try:
        return ask_and_wait(place, ask, seconds=_SECONDS)
    except NoSigningKey as error:
        raise LoginMisconfigured(error.reason, detail=error.detail) from error
    except CustodyUnavailable as error:
        if error.reason == _REFUSED_PIN:
            raise LoginMisconfigured(error.reason, detail=error.detail) from error
        raise LoginUnavailable(error.reason, detail=error.detail, retry=After(_PAUSE)) from error
