"""CRC32C (RFC 3720 §12.1, appendix B.4): with it Google Cloud KMS lets both sides see that nothing was altered on the way."""

from __future__ import annotations

from typing import Final

_POLYNOMIAL: Final = 0x82F63B78


def _row(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_TABLE: Final = tuple(_row(value) for value in range(256))


def crc32c(data: bytes) -> int:
    """Return the checksum."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF
