"""The commands of the command line, by their words, as its parser has them."""

import typer

from denseclip_viz.cli.app import app

COMMAND = typer.main.get_command(app)


def below(group, words=()):
    for name, each in group.commands.items():
        if hasattr(each, "commands"):
            yield from below(each, (*words, name))
        if each.callback is not None:
            yield (*words, name), each


COMMANDS = dict(below(COMMAND))


def command_of(words):
    """The words of the command with which a line begins."""
    return max((name for name in COMMANDS if tuple(words[: len(name)]) == name), key=len)


def options_of(words):
    """The options that the command of a line has."""
    return {option for each in COMMANDS[command_of(words)].params for option in each.opts}
