"""Keys in a PKCS #11 token: made there, never outside of it, and asked by one thread that this process has for its library.

The libraries of several vendors do not bear several threads, and none bears a fork: whoever asks first in a process starts the
thread, which opens the session. Signatures wait in a line; what is done is handed back to the event loop in one go.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, TypeVar

from watchword import forking
from watchword.errors import BadSettings, CustodyUnavailable, WatchwordError
from watchword.ports.keys import KeyState, SigningKey
from watchword.protocol import names

if TYPE_CHECKING:
    from watchword.adapters.keys_pkcs11_session import TokenPlace, TokenSession

Result = TypeVar("Result")
Ask = Callable[["TokenSession"], Result]
Done = Callable[[Result | None, BaseException | None], None]

_TRIES: Final = 2
_ABREAST: Final = 0.003
"""Seconds after which whoever waits is woken, though there are more in the line."""


class _Line:
    """The thread of one library, and those who wait for it. Its sessions are opened by the thread, when one is asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_forked = False
        self._left: list[object] = []  # sessions of a library that was begun anew since: never touched, never freed
        self._begin()
        forking.register(self)

    def _begin(self) -> None:
        self._waiting: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._sessions: dict[str, TokenSession] = {}
        self._refused: dict[str, WatchwordError] = {}
        self._known: dict[str, TokenPlace] = {}  # whose PIN was the right one, the last time
        self._to_ring: set[Callable[[], None]] = set()

    def renew_after_fork(self) -> None:
        """Begin anew: the thread is not here, and its sessions belong to the parent."""
        self._lock = threading.Lock()
        self._left.append((self._waiting, self._sessions))
        self._is_forked = self._is_forked or self._thread is not None
        self._thread = None
        self._begin()

    def ask(self, place: TokenPlace, ask: Ask[Result], done: Done[Result], is_left: Callable[[], bool]) -> None:
        """Have the thread ask, and call ``done`` there; not if ``is_left`` by then."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="watchword pkcs11", daemon=True)
                    self._thread.start()

        def work() -> None:
            if is_left():
                return
            try:
                result = self._answer(place, ask)
            except Exception as error:  # noqa: BLE001 -- a dead thread would leave every later signature waiting
                done(None, error)
            else:
                done(result, None)

        self._waiting.put(work)

    def _work(self) -> None:
        """Work through the line. Whoever waits is woken when it is empty, or after a moment: each waking costs both threads."""
        waiting, rung = self._waiting, 0.0
        while True:
            waiting.get()()
            if waiting.empty() or time.perf_counter() - rung >= _ABREAST:
                while self._to_ring:
                    self._to_ring.pop()()
                rung = time.perf_counter()

    def ring_soon(self, ring: Callable[[], None]) -> None:
        """Have ``ring`` called when enough is done; for the thread itself."""
        self._to_ring.add(ring)

    def _answer(self, place: TokenPlace, ask: Ask[Result]) -> Result:
        from watchword.adapters.keys_pkcs11_session import SessionLost

        for _ in range(_TRIES):
            session = self._session(place)
            try:
                return ask(session)
            except SessionLost:
                self._sessions.pop(place.token, None)
                session.close()
        raise CustodyUnavailable("custody.unreachable", detail=f"the token {place.token!r} loses its sessions")

    def _session(self, place: TokenPlace) -> TokenSession:
        """Return the session of this token. A PIN that it has refused is not tried again: after a few it locks."""
        from watchword.adapters.keys_pkcs11_session import TokenSession

        session = self._sessions.get(place.token)
        if session is not None and (self._known.get(place.token) is place or session.takes(place.pin)):
            self._known[place.token] = place
            return session
        if session is not None or place.token in self._refused:
            detail = f"the token {place.token!r} has refused the PIN; it is not tried again before the next start"
            raise CustodyUnavailable("custody.pin", detail=detail)
        try:
            session = TokenSession(place, leave_all=self._leave_all, is_forked=self._is_forked)
        except CustodyUnavailable as error:
            if error.reason == "custody.pin":
                self._refused[place.token] = error
            raise
        self._is_forked = False
        self._sessions[place.token] = session
        return session

    def _leave_all(self) -> None:
        self._left.append(self._sessions)
        self._sessions = {}


class _Mailbox:
    """What the thread has done, on its way to one event loop: however much it is, the loop is woken once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._done: deque[Callable[[], None]] = deque()

    async def ask(self, line: _Line, place: TokenPlace, ask: Ask[Result]) -> Result:
        """Return what the thread is told."""
        future: asyncio.Future[Result] = self._loop.create_future()

        def give(result: Result | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)  # type: ignore[arg-type]  # there is one where there is no error
            else:
                future.set_exception(error)

        def done(result: Result | None, error: BaseException | None) -> None:
            self._done.append(partial(give, result, error))
            line.ring_soon(self._ring)

        line.ask(place, ask, done, future.cancelled)
        return await future

    def _ring(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self._done.clear()

    def _deliver(self) -> None:
        while self._done:
            self._done.popleft()()


_lines: dict[str, _Line] = {}


def _line_of(module: Path) -> _Line:
    return _lines.setdefault(str(module), _Line())


class Pkcs11Signer:
    """Implements ``ports.keys.Signer`` on one token. ``sealed`` of its keys is their CKA_ID: a name, worth nothing elsewhere.

    Raises:
        BadSettings: settings.custody: ``watchword[pkcs11]`` is not installed.
    """

    def __init__(self, module: Path, token: str, pin: str) -> None:
        self._place = find_place(module, token, pin)
        self._line = _line_of(module)
        self._mailbox: tuple[asyncio.AbstractEventLoop, _Mailbox] | None = None

    async def generate(self, algorithm: str, *, now: datetime) -> SigningKey:
        """Make a key in the token: it cannot be read, and can only sign."""
        from watchword.adapters.keys_pkcs11_session import check_algorithm

        check_algorithm(algorithm)
        reference, jwk = await self.ask(lambda session: session.generate(algorithm))
        return SigningKey(
            kid=jwk[names.KID],
            algorithm=algorithm,
            state=KeyState.PREPARED,
            public_jwk=dict(jwk),
            created_at=now,
            custody="pkcs11",
            sealed=reference,
        )

    async def sign(self, key: SigningKey, message: bytes) -> bytes:
        """Sign in the token."""
        from watchword.adapters.keys_pkcs11_session import to_sign

        reference, algorithm, data = key.sealed, key.algorithm, to_sign(key.algorithm, message)
        return await self.ask(lambda session: session.sign(reference, algorithm, data))

    async def ask(self, ask: Ask[Result]) -> Result:
        """Have the session do what is not among the signer's own questions, in its thread."""
        loop = asyncio.get_running_loop()
        if self._mailbox is None or self._mailbox[0] is not loop:
            self._mailbox = (loop, _Mailbox(loop))
        return await self._mailbox[1].ask(self._line, self._place, ask)


def ask_and_wait(place: TokenPlace, ask: Ask[Result], *, seconds: float) -> Result:
    """Return what the thread is told, for who has no event loop to wait on.

    Raises:
        CustodyUnavailable: custody.timeout, and what the session raises.
    """
    future: Future[Result] = Future()

    def done(result: Result | None, error: BaseException | None) -> None:
        if not future.set_running_or_notify_cancel():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]  # there is one where there is no error
        else:
            future.set_exception(error)

    _line_of(place.module).ask(place, ask, done, future.cancelled)
    try:
        return future.result(seconds)
    except TimeoutError:
        future.cancel()
        raise CustodyUnavailable("custody.timeout", detail=f"the token has not answered in {seconds:g} s") from None


def find_place(module: Path, token: str, pin: str) -> TokenPlace:
    """Return the place, if there is a library to go there with.

    Raises:
        BadSettings: settings.custody
    """
    try:
        from watchword.adapters.keys_pkcs11_session import TokenPlace
    except ImportError as error:
        detail = "PKCS #11 needs a library: python -m pip install 'watchword[pkcs11]'"
        raise BadSettings("settings.custody", detail=detail) from error
    return TokenPlace(module, token, pin)
