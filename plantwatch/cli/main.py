"""`plantwatch`: gathers the commands that this installation has and runs one.

Commands register through the entry point group `plantwatch.commands`: a function that takes the Typer application. So
the installed package does not know the laptop edition or the control machine, and a checkout has all of them.
"""

from __future__ import annotations

import signal
from importlib.metadata import entry_points
from typing import Annotated, NoReturn

import typer

from plantwatch import __version__

GROUP = "plantwatch.commands"
_INTERRUPTED = 130


def _end(number: int, _: object) -> NoReturn:
    """An orderly end, in which whatever is open is closed; whoever asks twice does not want to wait for it."""
    signal.signal(number, signal.SIG_DFL)
    raise SystemExit(128 + number)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"plantwatch {__version__}")
        raise typer.Exit


def application() -> typer.Typer:
    """All commands that are installed here."""
    app = typer.Typer(
        name="plantwatch",
        help="Watches industrial machines from edge to cloud: which misbehaves, why, and how sure it is.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_show_locals=False,  # locals hold settings, and settings may hold secrets
    )

    @app.callback()
    def options(
        version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
    ) -> None:
        """Watches industrial machines from edge to cloud: which misbehaves, why, and how sure it is."""

    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            register = entry.load()
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] != entry.module.split(".")[0]:
                raise  # the command is here and broken; say so
            continue  # an installed wheel without the repository: it has no such command
        register(app)
    return app


def main() -> None:
    signal.signal(signal.SIGTERM, _end)
    try:
        application()()
    except KeyboardInterrupt:  # while the commands were being loaded: nothing has begun
        raise SystemExit(_INTERRUPTED) from None
