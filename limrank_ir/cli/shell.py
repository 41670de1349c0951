"""How our commands behave: examples to paste, ``~`` in paths, and one line and an exit status for every failure."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import typer
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from limrank_ir.cli import console
from limrank_ir.errors import InputError, LimRankError
from limrank_ir.extras import EXTRAS, install

_EMPTY_OPTION = re.compile(r"--[\w-]+=")
_EXAMPLE = re.compile(r"\n*^For example:\n((?:\n|    .*\n)+)", re.MULTILINE)
FAILURE = 1
INPUT = 2
INTERRUPTED = 130


class Command(TyperCommand):
    """A command whose help ends with its examples exactly as written, ready to paste.

    Typer would format them as prose: join the lines and drop the backslashes.

    Attributes:
        examples: the lines below "For example:" in the command's docstring.
    """

    def __init__(self, *arguments: Any, help: str | None = None, **options: Any) -> None:
        text = f"{help or ''}\n"
        found = _EXAMPLE.search(text)
        self.examples = found[1].strip("\n") if found else ""
        super().__init__(*arguments, help=_EXAMPLE.sub("\n\n", text).strip(), **options)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. An option with an empty value, such as from an unset shell variable, is an error."""
        for option, value in pairwise([*args, "end"]):
            if option.startswith("-") and (value == "" or _EMPTY_OPTION.fullmatch(option)):
                raise InputError(f"{option.rstrip('=')}: the value is empty; fill it in, or leave the option out")
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        super().format_help(ctx, formatter)
        if self.examples:
            console.out.print(Text(f" For example:\n\n{self.examples}"), soft_wrap=True)


class Commands(TyperGroup):
    """All commands. A failure becomes one line on stderr and an exit status.

    Attributes:
        lazy: command name to its module, which is imported only when the command is used.
    """

    lazy: ClassVar[Mapping[str, str]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands' names."""
        return [*super().list_commands(ctx), *self.lazy]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command, or None."""
        if cmd_name in self.lazy:
            return _loaded(self.lazy[cmd_name])[cmd_name]
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        with console.session():
            try:
                result = super().invoke(ctx)
                sys.stdout.flush()
                return result
            except LimRankError as failure:
                console.error(str(failure))
                status = status_of(failure)
            except KeyboardInterrupt as stop:
                console.error(str(stop) or "interrupted")
                status = INTERRUPTED
            except BrokenPipeError:  # the reader of our output has closed the pipe, as `head` does
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                status = FAILURE
            except ModuleNotFoundError as failure:  # the command's own check missed it
                package = str(failure.name).partition(".")[0]
                extra = EXTRAS.get(ctx.invoked_subcommand)
                if extra is None or package == "limrank_ir":
                    raise
                console.error(f"{ctx.invoked_subcommand} needs {package}; run: {install(extra)}")
                status = INPUT
            except OSError as failure:
                if failure.errno not in console.NO_ROOM:
                    raise
                output = failure.filename or "output"
                console.error(f"{output}: {failure.strerror}; free some space, or write somewhere else")
                status = FAILURE
        raise typer.Exit(status)


class Lazy(TyperGroup):
    """A group of commands whose module is imported only when one of them is used.

    Attributes:
        module: the module's name; its `app` holds the commands.
    """

    module = ""

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands' names."""
        return list(_loaded(self.module))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command, or None."""
        return _loaded(self.module).get(cmd_name)


@functools.cache
def _loaded(module: str) -> dict[str, Any]:
    """The commands of a module, by name."""
    group: Any = typer.main.get_command(customize(import_module(module).app))
    return group.commands


def customize(app: typer.Typer) -> typer.Typer:
    """Give an app's commands our behavior: `Command`, and ``~`` in paths."""
    for command in app.registered_commands:
        assert command.callback is not None
        if command.cls is TyperCommand:
            command.cls = Command
        command.callback = _expanding_home(command.callback)
    return app


def _expanding_home(function: Callable[..., Any]) -> Callable[..., Any]:
    """Expand ``~`` in paths; the shell does not do so in ``--store=~/verdicts.db``."""

    def expanded(value: Any) -> Any:
        if isinstance(value, list):
            return [expanded(each) for each in value]
        return Path(os.path.expanduser(value)) if isinstance(value, Path) else value

    @functools.wraps(function)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, **{name: expanded(value) for name, value in options.items()})

    return wrapper


def status_of(failure: LimRankError) -> int:
    """The exit status of a failure: 2 if the user can fix it, 1 if the machine failed."""
    return INPUT if isinstance(failure, InputError) else FAILURE
