"""Keys on the command line: read from files, or made here, so that the server only ever hears of their public halves."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import typer

from watchword.cli.exits import CommandError, ExitCode, usage
from watchword.cli.output import Document
from watchword.errors import WatchwordError
from watchword.protocol import names

PRIVATE_KEY: Final = "private_key"
KEY_ALGORITHM: Final = "algorithm"

KEY_METHODS: Final = (names.PRIVATE_KEY_JWT, names.WATCHWORD_CHALLENGE)
"""What an agent does with its key: signs assertions, or challenges."""

PublicKeyFile = Annotated[
    Path | None,
    typer.Option("--public-key", metavar="FILE", help="Its public key, or keys: PEM, a JWK, or a JWK Set."),
]
JwksUri = Annotated[str | None, typer.Option("--jwks-uri", metavar="URL", help="Where it publishes its public keys.")]
KeyAlgorithm = Annotated[
    str | None, typer.Option("--alg", metavar="ALG", help="The only algorithm of its key; an RSA key in PEM needs it.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Its assertions name their type and have a plain string for audience.")
]
Allow = Annotated[
    list[str] | None,
    typer.Option("--allow", metavar="NAME", help=f"Of old clients: {', '.join(names.CONCESSIONS)}. Repeatable."),
]


@dataclass(frozen=True, slots=True)
class Way:
    """A way in: what the server is told of it, and what is kept here."""

    said: dict[str, object]
    private_key: str = field(default="", repr=False)
    algorithm: str = ""

    @property
    def kept(self) -> dict[str, str]:
        """What a profile holds of it."""
        return {PRIVATE_KEY: self.private_key, KEY_ALGORITHM: self.algorithm} if self.private_key else {}


def first_way(
    auth: str, public_key: Path | None, jwks_uri: str | None, algorithm: str | None, *, is_strict: bool
) -> Way:
    """Return how the agent will log in. A key that was asked for and not given is made.

    Raises:
        CommandError: usage; cli.public_key.
    """
    if auth not in KEY_METHODS:
        if public_key or jwks_uri or algorithm or is_strict:
            raise usage(f"A key is for agents that log in with one: --auth {names.PRIVATE_KEY_JWT}.")
        return Way({})
    if public_key and jwks_uri:
        raise usage("A key is given or published: one of --public-key and --jwks-uri.")
    settings: dict[str, object] = {"alg": algorithm} if algorithm else {}
    if is_strict:
        settings["strict"] = True
    if jwks_uri:
        return Way({"public_key": {"jwks_uri": jwks_uri, **settings}})
    if public_key:
        return Way({"public_key": {**_read(public_key), **settings}})
    return _make(algorithm or names.ES256, settings)


def conceded(agent: Document, allow: list[str], disallow: list[str]) -> list[str]:
    """Return what the agent is to be allowed, of what it was."""
    before = agent.get("concessions")
    now = {*(before if isinstance(before, list) else ()), *allow} - set(disallow)
    unknown = [name for name in disallow if name not in names.CONCESSIONS]
    if unknown:
        raise usage(f"{unknown[0]!r} cannot be allowed or not; it is one of {', '.join(names.CONCESSIONS)}.")
    return sorted(now)


def _make(algorithm: str, settings: dict[str, object]) -> Way:
    from watchword.protocol.private_keys import generate_private_key, to_pem
    from watchword.protocol.public_keys import InvalidKey

    try:
        key = generate_private_key(algorithm)
    except InvalidKey:
        raise usage(f"--alg is one of {', '.join(names.SIGNING_ALGORITHMS)}.") from None
    return Way({"public_key": {"jwk": dict(key.public_jwk), **settings}}, to_pem(key), algorithm)


def _read(path: Path) -> dict[str, object]:
    """Return the keys of a file as the admin API takes them. A private key does not leave this machine."""
    from watchword.protocol.jose import PRIVATE_MEMBERS
    from watchword.protocol.public_keys import jwk_of_pem

    try:
        text = path.read_text(encoding="utf-8")
        if "-----BEGIN" in text:
            return {"jwk": dict(jwk_of_pem(text))}
        document = json.loads(text)
    except WatchwordError as error:
        raise _unusable(path, _WHY.get(error.reason, "it is no public key")) from None
    except OSError as error:
        raise _unusable(path, error.strerror or "it cannot be read") from None
    except ValueError:
        raise _unusable(path, "it is neither PEM nor JSON") from None
    keys = document.get("keys", [document]) if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise _unusable(path, "it is neither a JWK nor a JWK Set")
    if any(not PRIVATE_MEMBERS.isdisjoint(key) for key in keys):
        raise _unusable(path, _WHY["key.private"])
    return {"jwks": document} if "keys" in document else {"jwk": document}


_WHY: Final = {
    "key.private": "there is a private key in it, which stays here: give its public half (openssl pkey -in FILE -pubout)",
    "key.encoding": "it is no public key in PEM (BEGIN PUBLIC KEY)",
    "key.type": "it is not an EC key on P-256 or P-384, an Ed25519 or an RSA key",
}


def _unusable(path: Path, why: str) -> CommandError:
    return CommandError(ExitCode.USAGE, f"{path}: {why}.", reason="cli.public_key")
