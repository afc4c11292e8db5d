"""What one run of the command line knows: what was asked for, and which server it is meant for."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watchword.cli.exits import CommandError, ExitCode, usage
from watchword.cli.output import Document, View, print_list, print_record, talk
from watchword.cli.profiles import OperatorProfile, find_profile, operator_profiles
from watchword.client.errors import LoginMisconfigured
from watchword.client.private_file import OTHERS, read_private_file
from watchword.client.profiles import DEFAULT, profile_path
from watchword.protocol.url import InvalidUrl, parse_url

if TYPE_CHECKING:
    from watchword.cli.admin_client import AdminClient

DEV_DIRECTORY: Final = Path("watchword-dev")
TOKEN_VARIABLE: Final = "WATCHWORD_OPERATOR_TOKEN"  # noqa: S105 -- a variable's name
_DATABASE: Final = ("database", "database_file")
_TOKEN68: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")


@dataclass(frozen=True, slots=True)
class Choices:
    """The options of every command, as they were written."""

    url: str | None = None
    data: Path | None = None
    output: str | None = None
    profile: str | None = None
    yes: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """The server a command is meant for: one URL or one data directory, and who said so."""

    origin: str
    url: str = ""
    data: Path | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """Handed to every command. ``form`` is the checked form of output."""

    choices: Choices
    form: str

    def admin(self) -> AbstractAsyncContextManager[AdminClient]:
        """Give the admin API of the server this command is meant for.

        Raises:
            CommandError: no server is named, or there is no operator's credential for it.
        """
        from watchword.cli.admin_client import open_local, open_remote

        target = choose_target(self.choices)
        if target.origin.startswith("./"):
            self.talk(f"Using {target.origin} in this directory.")
        if target.data is not None:
            return open_local(target.data)
        return open_remote(target.url, operator_token(target.url, self.choices.profile))

    def local_data(self, command: str) -> Path:
        """Return the data directory for a command that works on the files themselves.

        Raises:
            CommandError: usage; a URL is meant, or nothing. There is no store.
        """
        target = choose_target(self.choices)
        if target.data is None:
            raise usage(f"`{command}` works on the machine itself, not over {target.url}: give --data DIR.")
        check_store(target.data)
        return target.data

    def talk(self, line: str) -> None:
        """Tell the person at the terminal something, unless they want it quiet."""
        if not self.choices.quiet:
            talk(line)

    def show(self, record: Document, view: View) -> None:
        """Print one object in the form asked for."""
        print_record(record, view, self.form)

    def show_list(self, items: Sequence[Document], view: View) -> None:
        """Print objects in the form asked for."""
        print_list(items, view, self.form)

    def confirm(self, question: str) -> None:
        """Ask before what cannot be undone: a person at a terminal; a script has said what it wants.

        Raises:
            CommandError: the answer is no.
        """
        if sys.stdin.isatty() and sys.stderr.isatty():
            self.demand(question)

    def demand(self, question: str) -> None:
        """Ask before what hits others: only a person at a terminal, or ``--yes``, will do.

        Raises:
            CommandError: usage, where nobody can be asked. The answer is no.
        """
        if self.choices.yes:
            return
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise usage(f"{question} Nobody can be asked here: add --yes.")
        sys.stderr.write(f"{question} [y/N] ")
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise CommandError(ExitCode.ERROR, "Nothing was changed.", reason="cli.declined")


def check_store(data: Path) -> None:
    """Return if something stands where the store should.

    Raises:
        CommandError: there is nothing.
    """
    if not os.path.lexists(data / "watchword.db") and not names_database(data):
        sentence = (
            f"There is no store in {data}: make one with `watchword init --data {data}`, or name another directory."
        )
        raise CommandError(ExitCode.MISSING, sentence, reason="cli.no_store")


def names_database(data: Path, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the settings name a database in place of the file in this directory."""
    if any(environ.get(f"WATCHWORD_SERVER__{name.upper()}") for name in _DATABASE):
        return True
    from watchword.config import FILE_NAME, read_file

    return any(
        name in read_file(directory / FILE_NAME).values for directory in (data, Path.cwd()) for name in _DATABASE
    )


def choose_target(choices: Choices, environ: Mapping[str, str] = os.environ) -> Target:
    """Return the server meant: flags, then the environment, then ``./watchword-dev``, then the profile ``default``.

    Raises:
        CommandError: usage, with what was looked for.
    """
    target = (
        _of_flags(choices)
        or _of_environment(environ)
        or _of_profile(environ.get("WATCHWORD_PROFILE"), "WATCHWORD_PROFILE")
        or _of_dev_directory()
        or _of_profile(DEFAULT, "profile default")
    )
    if target is None:
        raise usage(
            "Which server? There is no --url or --data, no WATCHWORD_URL or WATCHWORD_DATA, no operator profile (--profile, "
            "WATCHWORD_PROFILE, or one named default) and no ./watchword-dev of yours: give --url URL or --data DIR, or start "
            "one with `watchword dev`."
        )
    if target.url:
        _check_url(target.url)
    return target


def operator_token(url: str, profile: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """Return the operator's credential for a server: from the environment, else from the profile with this very URL.

    Raises:
        CommandError: there is none, or it is none. It is never taken from the command line, where every process can read it.
    """
    token = secret_from(environ, TOKEN_VARIABLE)
    if token:
        return _checked(token, TOKEN_VARIABLE)
    known = operator_profiles()
    named = known.get(profile or environ.get("WATCHWORD_PROFILE") or DEFAULT)
    for candidate in (*([named] if named else []), *known.values()):
        if candidate.url.rstrip("/") == url.rstrip("/"):
            return _checked(candidate.token, "the profile")
    sentence = f"No operator's credential for {url}: set {TOKEN_VARIABLE}_FILE, or use a profile that holds one."
    raise CommandError(ExitCode.UNAUTHENTICATED, sentence, reason="cli.no_credential")


def _checked(token: str, origin: str) -> str:
    """What cannot stand in a header would be quoted by the error of whoever tries to put it there."""
    if _TOKEN68.fullmatch(token) is None:
        sentence = (
            f"The operator's credential of {origin} has characters that none has: copy it anew; it begins with wwo_."
        )
        raise CommandError(ExitCode.UNAUTHENTICATED, sentence, reason="cli.no_credential")
    return token


def secret_from(environ: Mapping[str, str], variable: str) -> str:
    """Return a secret from ``variable`` or the file that ``variable_FILE`` names, without white space around it.

    Empty when neither is set.

    Raises:
        CommandError: usage; both are set, or the file cannot be read, or others can read it.
    """
    plain, file = environ.get(variable, ""), environ.get(f"{variable}_FILE", "")
    if plain and file:
        raise usage(f"{variable} and {variable}_FILE are both set: keep one.")
    if not file:
        return plain.strip()
    try:
        return read_private_file(Path(file), forbidden=OTHERS).strip()
    except LoginMisconfigured as error:
        raise usage(f"{variable}_FILE: {error.detail}.") from error


def _of_flags(choices: Choices) -> Target | None:
    if choices.url and choices.data:
        raise usage("--url and --data name two servers: give one of them.")
    if choices.url:
        return Target("--url", url=choices.url)
    if choices.data:
        return Target("--data", data=choices.data)
    if choices.profile:
        target = _of_profile(choices.profile, "--profile")
        if target is None:
            path = profile_path(choices.profile, os.environ)
            raise CommandError(ExitCode.MISSING, f"There is no operator profile {choices.profile} ({path}).")
        return target
    return None


def _of_environment(environ: Mapping[str, str]) -> Target | None:
    url, data = environ.get("WATCHWORD_URL"), environ.get("WATCHWORD_DATA")
    if url and data:
        raise usage("WATCHWORD_URL and WATCHWORD_DATA name two servers: unset one of them.")
    if url:
        return Target("WATCHWORD_URL", url=url)
    return Target("WATCHWORD_DATA", data=Path(data)) if data else None


def _of_profile(name: str | None, origin: str) -> Target | None:
    profile = find_profile(name) if name else None
    return Target(origin, url=profile.url) if isinstance(profile, OperatorProfile) else None


def _of_dev_directory() -> Target | None:
    """Only one's own: a directory somebody else has put there must not become one's server."""
    try:
        is_own = DEV_DIRECTORY.is_dir() and DEV_DIRECTORY.lstat().st_uid == os.geteuid()
    except OSError:
        return None
    return Target(f"./{DEV_DIRECTORY}", data=DEV_DIRECTORY) if is_own else None


def _check_url(text: str) -> None:
    try:
        url = parse_url(text.rstrip("/"))
    except InvalidUrl:
        url = None
    if url is None or url.query is not None:
        raise usage(f"{text!r} is not the URL of a server: write its issuer, as in https://auth.example.com.")
    if url.scheme != "https" and not url.is_loopback:
        raise usage(
            f"{text} would carry an operator's credential over plain HTTP: use https, or --data on that machine."
        )
