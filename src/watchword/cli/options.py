"""The options every command takes, before or after its name, and the wrapping that hands a command its ``Session``."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Final, TypeVar, get_type_hints

import typer
from typer.core import TyperGroup

from watchword.cli.exits import usage
from watchword.cli.output import FORMATS
from watchword.cli.session import Choices, Session

C = TypeVar("C", bound=Callable[..., Coroutine[object, object, None] | None])

_PANEL: Final = "Options of every command"

Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="Use the server at this issuer URL.")]
Data = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Use the store in this directory.")]
Output = Annotated[str | None, typer.Option("--output", "-o", metavar="FORM", help="table, json, yaml, name.")]
ProfileName = Annotated[str | None, typer.Option("--profile", metavar="NAME", help="Use this profile.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, do it.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No talk on stderr; errors are still told.")]


def remember(
    context: typer.Context,
    *,
    url: Url = None,
    data: Data = None,
    output: Output = None,
    profile: ProfileName = None,
    yes: Yes = False,
    quiet: Quiet = False,
) -> None:
    """Keep what was said for the command that follows. What is written later, nearer to the command, wins."""
    told: dict[str, object] = {
        "url": url,
        "data": data,
        "output": output,
        "profile": profile,
        "yes": yes,
        "quiet": quiet,
    }
    before = context.obj if isinstance(context.obj, Choices) else Choices()
    given = {name: value for name, value in told.items() if value is not None and value is not False}
    context.obj = replace(before, **given)  # type: ignore[arg-type]  # the parameters above are the fields of Choices


_COMMON: Final = [
    item.replace(annotation=get_type_hints(remember, include_extras=True)[name])
    for name, item in inspect.signature(remember).parameters.items()
]


@dataclass(frozen=True, slots=True)
class Group:
    """A group of commands; ``command`` adds one."""

    app: typer.Typer

    def command(self, name: str, *, forms: tuple[str, ...] = FORMATS, serves: bool = False) -> Callable[[C], C]:
        """Add a command. Its first parameter is the ``Session``, one that is a dataclass stands for its members; ``forms`` are
        the values of ``-o``, the first the default.

        A command that ``serves`` runs on the quicker event loop, which is not worth its import to others.
        """

        def register(function: C) -> C:
            self.app.command(name)(_with_session(function, forms, fast_loop if serves else None))
            return function

        return register


def new_group(help_text: str, *, cls: type[TyperGroup] = TyperGroup) -> Group:
    """Return an empty group whose own options are those of every command."""
    app = typer.Typer(help=help_text, cls=cls, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
    app.callback(help=help_text)(remember)
    return Group(app)


def fast_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop that servers run on."""
    try:
        import uvloop
    except ImportError:  # not made for this system
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _with_session(
    function: Callable[..., Coroutine[object, object, None] | None],
    forms: tuple[str, ...],
    new_loop: Callable[[], asyncio.AbstractEventLoop] | None,
) -> Callable[..., None]:
    hints = get_type_hints(function, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if isinstance(kind, type) and _is_group(kind)}
    own = [
        each
        for name, item in list(inspect.signature(function).parameters.items())[1:]
        for each in (_members(groups[name]) if name in groups else [item.replace(annotation=hints[name])])
    ]
    common = {item.name for item in _COMMON[1:]}

    def run(context: typer.Context, **given: object) -> None:
        remember(context, **{name: given.pop(name) for name in common})  # type: ignore[arg-type]  # names of _COMMON
        choices: Choices = context.obj
        form = choices.output or forms[0]
        if form not in forms:
            raise usage(f"{form!r} is no form of output here: write -o {' or -o '.join(forms)}.")
        session = Session(choices, form)
        for name, kind in groups.items():
            given[name] = kind(**{each.name: given.pop(each.name) for each in fields(kind)})
        work = function(session, **given)
        if work is not None:  # else the command has begun and ended its own event loops
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(work)

    parameters = [
        _COMMON[0],
        *(item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in own),
        *(_for_forms(item, forms) for item in _COMMON[1:]),
    ]
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__annotations__ = {item.name: item.annotation for item in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # PEP 362; typeshed does not know it
    return run


def _is_group(kind: type) -> bool:
    return kind is not Session and is_dataclass(kind)


def _members(group: type) -> list[inspect.Parameter]:
    """Return the options that are the members of a dataclass: several commands take them together."""
    hints, keyword = get_type_hints(group, include_extras=True), inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(each.name, keyword, default=each.default, annotation=hints[each.name])
        for each in fields(group)
    ]


def _for_forms(item: inspect.Parameter, forms: tuple[str, ...]) -> inspect.Parameter:
    """Return the parameter; ``--output`` with the forms this command knows in its help."""
    if item.name != "output":
        return item
    option = typer.Option("--output", "-o", metavar="FORM", help=f"{', '.join(forms)}.")
    return item.replace(annotation=Annotated[str | None, option])
