"""What AWS KMS and the way there can say no with, as reasons of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from watchword.adapters.keys_remote import refused
from watchword.errors import CustodyUnavailable

_REASONS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "custody.throttled": (
            "LimitExceededException",
            "RequestLimitExceeded",
            "SlowDown",
            "Throttling",
            "ThrottlingException",
            "TooManyRequestsException",
        ),
        "custody.denied": (
            "AccessDenied",
            "AccessDeniedException",
            "ExpiredToken",
            "ExpiredTokenException",
            "IncompleteSignature",
            "InvalidClientTokenId",
            "InvalidSignatureException",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "NotAuthorized",
            "OptInRequired",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
        ),
        "keys.disabled": ("DisabledException", "KMSInvalidStateException"),
        "keys.gone": ("NotFoundException",),
        "keys.unfit": (
            "InvalidArnException",
            "InvalidKeyUsageException",
            "UnsupportedOperationException",
            "ValidationException",
        ),
    }
)
CODES: Final[Mapping[str, str]] = MappingProxyType(
    {code: reason for reason, codes in _REASONS.items() for code in codes}
)
"""The reason of each error code; of any other it is ``custody.failed``."""


@contextmanager
def translated(region: str) -> Iterator[None]:
    """Turn botocore's errors into ours. What it says of a request is kept as the detail: it holds no secret.

    Raises:
        NoSigningKey: keys.disabled, keys.gone, keys.unfit.
        CustodyUnavailable: custody.throttled, custody.denied, custody.failed, custody.timeout, custody.unreachable.
    """
    from botocore import exceptions  # type: ignore[import-untyped]  # it has no types

    try:
        yield
    except exceptions.ClientError as error:
        said = error.response.get("Error", {})
        code = str(said.get("Code", ""))
        detail = f"AWS KMS in {region}: {code}: {said.get('Message', '')}"
        raise refused(CODES.get(code, "custody.failed"), detail) from error
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.TokenRetrievalError) as error:
        raise CustodyUnavailable("custody.denied", detail=f"AWS KMS in {region}: {error}") from error
    except (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError) as error:
        raise CustodyUnavailable("custody.timeout", detail=f"AWS KMS in {region}: {error}") from error
    except exceptions.BotoCoreError as error:
        raise CustodyUnavailable("custody.unreachable", detail=f"AWS KMS in {region}: {error}") from error
