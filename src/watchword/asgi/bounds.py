"""The table of what a connection may take before a request is made of its bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one connection may take. Times in seconds, sizes in bytes. ``pipelined``: about so many requests are read ahead."""

    connections: int = 4096
    header_timeout: float = 10
    body_timeout: float = 20
    write_timeout: float = 20
    keep_alive_timeout: float = 75
    url: int = 8192
    head: int = 32_768
    headers: int = 64
    pipelined: int = 16
