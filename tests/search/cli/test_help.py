"""What `--help` says of each command."""

import re
import shlex
from pathlib import Path

import pytest

from search.cli.main import app
from tests.search.command import steppe

COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]
README = (Path(__file__).resolve().parents[3] / "README.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example_of_itself(name):
    done = steppe(name, "--help")
    assert done.exit_code == 0
    (example,) = re.findall(r"Example: (python -m search .*?) *│?\n", done.stdout)
    words = shlex.split(example)[3:]
    assert words[0] == name
    options = {word for word in words if word.startswith("--")}
    assert not [option for option in options if option not in done.stdout.replace(example, "")]


def test_the_readme_names_every_command_in_the_same_order():
    table = README.split("| command | |")[1].split("\n\n")[0]
    assert re.findall(r"`python -m search (\w+)", table) == COMMANDS
