"""Fetches an issuer's published keys, the way a resource server would."""

from __future__ import annotations

import json

from watchword.adapters.outbound import default_transport
from watchword.cli.exits import CommandError, ExitCode
from watchword.ports.http import HttpRequest, TransportError
from watchword.protocol import names
from watchword.protocol.jose import InvalidKey
from watchword.protocol.jwks import KeySet, parse_jwks
from watchword.protocol.metadata import InvalidMetadata, parse_server_metadata, well_known_url


async def fetch_keys(issuer: str) -> KeySet:
    """Return the keys that this issuer publishes, found through its metadata (RFC 8414).

    Raises:
        CommandError: it cannot be reached, or what it answers is not usable.
    """
    metadata_url = well_known_url(issuer, names.PATH_AS_METADATA)
    try:
        metadata = parse_server_metadata(await _fetch(metadata_url), issuer=issuer)
    except InvalidMetadata as error:
        raise _unusable(metadata_url, error.reason) from error
    if metadata.jwks_uri is None:
        raise _unusable(metadata_url, "it names no jwks_uri")
    try:
        return parse_jwks(await _fetch(metadata.jwks_uri))
    except InvalidKey as error:
        raise _unusable(metadata.jwks_uri, error.reason) from error


async def _fetch(url: str) -> object:
    request = HttpRequest(method="GET", url=url, headers={"accept": "application/json"})
    try:
        response = await default_transport().asend(request)
    except TransportError as error:
        sentence = (
            f"{url} cannot be reached ({error.detail or error.reason}): the server has to run for its keys to be had."
        )
        raise CommandError(ExitCode.UNREACHABLE, sentence, reason="cli.unreachable") from error
    if response.status != 200:
        raise _unusable(url, f"status {response.status}")
    try:
        return json.loads(response.body)
    except ValueError as error:
        raise _unusable(url, "not JSON") from error


def _unusable(url: str, why: str) -> CommandError:
    return CommandError(ExitCode.ERROR, f"{url} does not answer as an authorization server should ({why}).")
