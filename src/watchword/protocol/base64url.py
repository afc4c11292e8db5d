"""Base64url without padding, in its one canonical spelling. RFC 7515 §2, RFC 4648 §5 and §3.5."""

from __future__ import annotations

import binascii
from typing import Final

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_+/=", b"+/!!!")
_ENDS: Final = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")
"""What may stand last in a group that is not full, by its length: the bits that belong to no octet are zero."""
_PADDING: Final = (b"", b"", b"==", b"=")


def b64url_encode(data: bytes) -> bytes:
    """Return the text of ``data`` as ASCII bytes."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL, b"=")


def b64url_decode(text: bytes) -> bytes:
    """Return what ``text`` spells, if no other text spells the same.

    Padding, white space, the plain alphabet's ``+`` and ``/``, and non-zero trailing bits are refused: encoding the
    result again gives ``text``.

    Raises:
        ValueError: ``text`` is not canonical.
    """
    rest = len(text) % 4
    if rest and text[-1] not in _ENDS[rest]:
        raise ValueError("not canonical base64url")
    return binascii.a2b_base64(text.translate(_FROM_URL) + _PADDING[rest], strict_mode=True)
