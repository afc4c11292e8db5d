"""Listening sockets: bound once, and closed so that nobody who was let in is turned away."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import resource
import socket
import struct

from watchword.errors import BadSettings

BACKLOG = 2048
_SO_ATTACH_FILTER = 26  # Linux; unknown to the socket module
_DROP_NEWCOMERS = (
    (0x30, 0, 0, 13),  # load the byte that holds the flags of the TCP header
    (0x54, 0, 0, 0x12),  # of these, SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # take all else
)
"""Classic BPF, as in <linux/filter.h>: code, jump if true, jump if false, constant."""


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket. ``host`` without brackets; ``port`` 0 lets the system choose.

    Raises:
        BadSettings: listen.occupied, listen.address
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        reason = "listen.occupied" if error.errno == errno.EADDRINUSE else "listen.address"
        place = f"{host}:{port}"
        raise BadSettings(
            reason, detail=f"cannot listen on {place}: {error.strerror}; choose another address or port"
        ) from error
    bound.setblocking(False)
    return bound


def let_nobody_in(listening: socket.socket) -> None:
    """Have the system ignore new connections, for all processes that hold the socket; those already made can be accepted.

    Closing alone would reset connections that were made but not accepted yet, with the request already in them. Where the
    system cannot do this, nothing is changed.
    """
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _DROP_NEWCOMERS))
    program = struct.pack("HL", len(_DROP_NEWCOMERS), ctypes.addressof(code))
    with contextlib.suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def raise_file_limit(wanted: int = 65_536) -> int:
    """Allow this process, and those it forks, as many open files as the system lets it, at most ``wanted``; return that many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        return allowed
    return soft
