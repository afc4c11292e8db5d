"""One client's login at one issuer: tokens on demand, cached, renewed early, one request at a time for each.

    login = Login(issuer="https://login.example.com", client=ClientSecretBasic(client_id, secret), resource="my-api")
    login.token()            # in a thread
    await login.atoken()     # in an asyncio task

A Login may be shared between threads, tasks and event loops, and survives a fork.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

from watchword.client.binding import Binding
from watchword.client.cache import CacheKey, Freshness, Token, TokenCache
from watchword.client.credential_file import ask_with
from watchword.client.credentials import ClientCredential, ShowsCertificate
from watchword.client.discovery import KnownMetadata, check_issuer
from watchword.client.dpop import challenges_nonce, origin_of
from watchword.client.errors import After, LoginRefused, LoginUnavailable
from watchword.client.flow import Asking, Flow, adrive, discover, drive, request_token
from watchword.client.origins import OriginRule
from watchword.client.retry import RetryPolicy
from watchword.client.scopes import Scope, parse_scopes
from watchword.client.server_time import ServerTime
from watchword.client.single_flight import SingleFlight
from watchword.clock import Clock, system_clock
from watchword.ports.http import Transport
from watchword.protocol.metadata import ServerMetadata
from watchword.protocol.names import BEARER, DPOP, DPOP_HEADER

if TYPE_CHECKING:
    from watchword.client.dpop_key import DPoPKey
    from watchword.integrations.httpx2 import BearerAuth

_RENEWAL_PAUSE = timedelta(seconds=10)


class Login:
    """Gets tokens for one client from one issuer, whose metadata alone says where the credential goes.

    ``resource`` is the identifier of the API the tokens are for: an absolute URI is sent as ``resource`` (RFC 8707), a plain
    name such as ``my-api`` as ``audience``. ``audience`` is sent as it is, beside it. ``scope`` is a string with spaces or
    the names one by one.

    With ``dpop`` the tokens are bound to a key (RFC 9449): ``True`` makes one in memory, a ``DPoPKey`` may be in a file. So they
    are, unless it is ``False``, for a ``client`` that logs in with a key, where the issuer offers it. Such a token is worth
    nothing without a proof for each request: use ``auth()``, or ``headers()``. ``certificate``, a ``ClientCertificate``, is shown
    beside a ``client`` that logs in with something else: an agent that is ``mtls_bound`` has its tokens bound to it.

    Raises:
        LoginMisconfigured: issuer.syntax, issuer.insecure, scope.syntax.
    """

    def __init__(
        self,
        *,
        issuer: str,
        client: ClientCredential,
        resource: str | None = None,
        scope: Scope = None,
        audience: str | None = None,
        dpop: bool | DPoPKey | None = None,
        certificate: ShowsCertificate | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.issuer = check_issuer(issuer)
        self._client = client
        self._shown = client if certificate is None and isinstance(client, ShowsCertificate) else certificate
        self._resource, self._audience = resource, audience
        self._scopes = parse_scopes(scope)
        self._transport = transport
        self._clock = clock
        self._asking = Asking(clock=clock, server_time=ServerTime(), policy=retry or RetryPolicy())
        self._binding = Binding(dpop, client, lambda: self._clock() + self.clock_offset)
        self._metadata = KnownMetadata(self.issuer)
        self._cache = TokenCache()
        self._token_flights: SingleFlight[Token] = SingleFlight()
        self._discovery_flights: SingleFlight[ServerMetadata] = SingleFlight()

    def __repr__(self) -> str:
        return f"Login(issuer={self.issuer!r}, client_id={self._client.client_id!r})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a login is not pickled: build it in the process that uses it")

    @property
    def client_id(self) -> str:
        """The name under which the issuer knows this client."""
        return self._client.client_id

    @property
    def clock_offset(self) -> timedelta:
        """How far the issuer's clock is ahead of ours, as far as its answers have told."""
        return self._asking.server_time.offset

    @property
    def dpop_key(self) -> DPoPKey | None:
        """The key that tokens are bound to; nothing where they are bearer tokens, or before the issuer was first asked."""
        proofs = self._binding.proofs
        return proofs.key if proofs is not None else None

    def token(self, *, scope: Scope = None, resource: str | None = None) -> str:
        """Return an access token that has not expired, from the cache where possible; may block on the network.

        ``scope`` and ``resource`` override those of the login for this call.

        Raises:
            LoginRefused: the issuer said no; what was cached for this is forgotten.
            LoginUnavailable: no answer, and nothing in the cache to tide over.
            LoginMisconfigured: the set-up must be changed.
        """
        want = self._want(scope, resource)
        ready = self._ready(want)
        if ready is not None:
            return ready.value
        try:
            return self._token_flights.run(want, lambda: self._obtain(want)).value
        except LoginUnavailable as failure:
            return self._tide_over(want, failure).value

    async def atoken(self, *, scope: Scope = None, resource: str | None = None) -> str:
        """Return what ``token`` returns, for a task of an asyncio event loop."""
        want = self._want(scope, resource)
        ready = self._ready(want)
        if ready is not None:
            return ready.value
        try:
            return (await self._token_flights.arun(want, lambda: self._aobtain(want))).value
        except LoginUnavailable as failure:
            return self._tide_over(want, failure).value

    def invalidate(self, token: str) -> None:
        """Never serve this token again: an API has refused it. One that has replaced it already is kept."""
        self._cache.forget(token)

    def headers(self, method: str, url: str, *, scope: Scope = None, resource: str | None = None) -> dict[str, str]:
        """Return the headers of one request to an API, for a client library of your own: never for a second request.

        ``authorization`` and, of a bound token, ``dpop``. Tell ``heed`` what came back.

        Raises:
            LoginRefused, LoginUnavailable, LoginMisconfigured: as ``token``.
        """
        return self.dress(self.token(scope=scope, resource=resource), method, url)

    async def aheaders(
        self, method: str, url: str, *, scope: Scope = None, resource: str | None = None
    ) -> dict[str, str]:
        """Return what ``headers`` returns, for a task of an asyncio event loop."""
        return self.dress(await self.atoken(scope=scope, resource=resource), method, url)

    def heed(self, url: str, status: int, headers: Mapping[str, str]) -> bool:
        """Learn from the answer of an API (header names in lower case); say whether the request should be sent again.

        It should, once, with headers made anew, where the API wants its nonce repeated. RFC 9449 §9.
        """
        proofs, origin, challenges = self._binding.proofs, origin_of(url), headers.get("www-authenticate")
        if proofs is None:
            return False
        proofs.of_resources.learn(origin, headers)
        self._binding.advise(origin, status, challenges)
        return challenges_nonce(status, challenges)

    def auth(self, *, origins: Iterable[str] = (), scope: Scope = None, resource: str | None = None) -> BearerAuth:
        """Return the ``auth=`` of an ``httpx2`` client: the token on every request, renewed once where it is refused.

        The token goes to ``origins`` only, by default to the origin of the resource. A resource that is a plain name has
        none: then the origin of the first request is taken, and it alone from then on. Requests to others are not sent.

        Raises:
            LoginMisconfigured: origin.syntax, origin.insecure.
        """
        from watchword.integrations.httpx2 import BearerAuth

        named = tuple(origins)
        rule = OriginRule(named) if named else OriginRule.of_resource(resource or self._resource or self._audience)
        return BearerAuth(self, rule, scope=scope, resource=resource)

    def _want(self, scope: Scope, resource: str | None) -> CacheKey:
        named, audience = (self._resource, self._audience) if resource is None else (resource, None)
        if named is not None and ":" not in named:
            named, audience = None, audience or named
        return CacheKey(
            issuer=self.issuer,
            client_id=self._client.client_id,
            resource=named,
            audience=audience,
            scopes=self._scopes if scope is None else parse_scopes(scope),
        )

    def _ready(self, want: CacheKey) -> Token | None:
        """Return a token that needs no renewal, or whose renewal somebody is seeing to."""
        now = self._clock()
        token = self._cache.find(want, now)
        if token is None:
            return None
        return token if token.freshness(now) is Freshness.FRESH or self._token_flights.is_flying(want) else None

    def _obtain(self, want: CacheKey) -> Token:
        # Somebody may have landed between our look into the cache and our taking the lead.
        ready = self._fresh(want)
        if ready is not None:
            return ready
        transport = self.transport()
        if self._metadata.fresh(self._clock()) is None:
            self._discovery_flights.run(self.issuer, lambda: drive(self._discover(self._patience(want)), transport))
        return drive(self._renew(want), transport)

    async def _aobtain(self, want: CacheKey) -> Token:
        ready = self._fresh(want)
        if ready is not None:
            return ready
        transport = self.transport()
        if self._metadata.fresh(self._clock()) is None:
            await self._discovery_flights.arun(
                self.issuer, lambda: adrive(self._discover(self._patience(want)), transport)
            )
        return await adrive(self._renew(want), transport)

    def _fresh(self, want: CacheKey) -> Token | None:
        now = self._clock()
        token = self._cache.find(want, now)
        return token if token is not None and token.freshness(now) is Freshness.FRESH else None

    def _discover(self, asking: Asking) -> Flow[ServerMetadata]:
        known = self._metadata.fresh(self._clock())
        if known is not None:
            return known
        try:
            metadata = yield from discover(self.issuer, asking)
        except LoginUnavailable:
            last = self._metadata.last()
            if last is None:
                raise
            return last
        self._metadata.keep(metadata, self._clock())
        return metadata

    def _renew(self, want: CacheKey) -> Flow[Token]:
        asking = self._patience(want)
        metadata = self._metadata.last() or (yield from self._discover(asking))
        try:
            proofs = self._binding.settle(metadata)
            token = yield from ask_with(
                self._client,
                lambda client: request_token(metadata, want, client, asking, proofs, self._shown),
            )
        except LoginRefused:
            self._cache.drop(want)
            raise
        except LoginUnavailable as failure:
            if failure.reason == "response.missing":
                self._metadata.forget()
            raise
        self._cache.keep(want, token, self._clock())
        return token

    def dress(self, token: str, method: str, url: str) -> dict[str, str]:
        """Return the headers of one request with this token of ours: of a bound one with a new proof."""
        proofs = self._binding.proofs
        if proofs is None:
            return {"authorization": f"{BEARER} {token}"}
        return {"authorization": f"{DPOP} {token}", DPOP_HEADER: proofs.for_resource(method, url, token)}

    def _patience(self, want: CacheKey) -> Asking:
        """Return how to ask: only once while there is a token to fall back on, since somebody is waiting for it."""
        if self._cache.find(want, self._clock()) is None:
            return self._asking
        return replace(self._asking, policy=replace(self._asking.policy, attempts=1))

    def _tide_over(self, want: CacheKey, failure: LoginUnavailable) -> Token:
        """Return the cached token in place of one that could not be got, and leave the issuer alone for a while."""
        now = self._clock()
        token = self._cache.find(want, now)
        if token is None:
            raise failure
        asked = failure.retry.delay if isinstance(failure.retry, After) else timedelta(0)
        self._cache.postpone(want, token, until=now + max(asked, _RENEWAL_PAUSE * (0.5 + self._asking.policy.jitter())))
        return token

    def transport(self) -> Transport:
        """Return the way that its requests go: it shows the certificate of a login that has one."""
        if self._transport is None and self._shown is not None:
            self._transport = self._shown.transport()
        if self._transport is None:
            from watchword.adapters.outbound import default_transport

            self._transport = default_transport()
        return self._transport
