"""The table of commands, and the application for one call.

Only the command that is called is imported, so that ``tlx --help`` stays fast.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App
from cyclopts.config import Toml

from tlx import host
from tlx.cli.common import peek
from tlx.cli.screen import Screen
from tlx.errors import UsageError, nearest

COMMANDS = {
    "ingest": "Read labelled images from where they are into a dataset.",
    "split": "Give every image a split that no clip crosses.",
    "relabel": "Rename, merge or drop classes.",
    "convert": "Write a dataset, or a foreign folder, in another format.",
    "draw": "Draw labels into their images, to look before training.",
    "train": "Fine-tune a pre-trained network on a dataset.",
    "eval": "Judge a run: COCO AP, AP by pixel height, precision and recall.",
    "predict": "Detect in a dataset, a folder, or single images.",
    "inspect": "Open the viewer on the mistakes of a run.",
    "export": "Write a checkpoint in another form.",
    "plugins": "List what is installed, with its origin and state, or make a new one.",
    "models": "List the networks of the backends.",
    "backends": "List the backends; install, check or remove the environment of one.",
}
"""Name and one line of each command; its module is ``tlx.cli.NAME``."""

HELP = "From labelled road images to a fine-tuned detector and its mistakes."
CONFIG = "tlx.toml"


def build(arguments: Sequence[str], screen: Screen) -> tuple[App, list[str]]:
    """The application for these arguments, and the arguments without those it has used up.

    Raises:
        UsageError: For an unknown command (with the nearest) or an absent ``--config`` file.
    """
    import tlx

    rest = list(arguments)
    config = _config(rest)
    app = App(
        # Its own way would end the command without a word; `boundary` has one.
        suppress_keyboard_interrupt=False,
        name="tlx",
        help=HELP,
        version=lambda: tlx.__version__,
        config=Toml(config, must_exist=False, search_parents=False, allow_unknown=True),
        result_action="return_value",
        # Markdown would import two more libraries for text that has none.
        help_format="plaintext",
    )
    plugged = {entry.name: entry for entry in host.installed().all("command")}
    called = next((a for a in rest if not a.startswith("-")), None)
    if called is not None and called not in COMMANDS and called not in plugged:
        raise UsageError(
            f"there is no command {called!r}.", hint=nearest(called, [*COMMANDS, *plugged])
        )
    for name, summary in COMMANDS.items():
        if name == called:
            importlib.import_module(f"tlx.cli.{name}").register(app, rest, screen)
        else:
            app.command(App(name=name, help=summary))
    for name, entry in plugged.items():
        if name == called:
            from tlx.cli.plugged import register

            register(app, entry, screen)
        else:
            app.command(App(name=name, help=entry.value.summary))
    return app, rest


def _config(arguments: list[str]) -> str:
    """Take ``--config FILE`` out of the arguments; ``tlx.toml`` beside the user by default."""
    given = peek(arguments, "--config")
    if given is None:
        return CONFIG
    if not Path(given).is_file():
        raise UsageError(f"the configuration file {given} does not exist.")
    if "--config" in arguments:
        place = arguments.index("--config")
        del arguments[place : place + 2]
    else:
        arguments.remove(f"--config={given}")
    return given
