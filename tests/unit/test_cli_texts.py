"""Text arguments of the command line are checked, by the API's rule, before a command connects to a server."""

import pytest
import typer
from typer.testing import CliRunner

from zmart.cli import decisions, indexer, webhook

MARKET = "ab" * 32
INTENT = "0f8fad5b-d9cb-469f-a165-70867728950e"
COMMANDS = [
    ("note", ["decisions", "release", MARKET, "--by", "ada", "--note"]),
    ("by", ["decisions", "release", MARKET, "--note", "known", "--by"]),
    ("reason", ["intents", "resolve", INTENT, "--as", "landed", "--reason"]),
    ("which", ["indexer", "dead-letters", "show"]),
    ("which", ["indexer", "dead-letters", "replay"]),
    ("which", ["indexer", "dead-letters", "drop", "--yes"]),
    ("webhook_id", ["webhook", "delete", "--yes"]),
]
BAD = ["a\u202eb", "a\x01b", "\u200b", " ", "a\udcffb", "x" * 1_001]
"""Texts that are refused. The fifth has the character that Python gets for the byte 0xff of an argument."""


@pytest.mark.parametrize("text", BAD, ids=ascii)
@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=lambda part: str(part)[:30])
def test_text_that_cannot_be_stored_ends_a_command_with_one_sentence(
    name: str, command: list[str], text: str
) -> None:
    """W28, A16: a text that cannot be stored ends the command with one sentence that names the argument."""
    app = typer.Typer()
    for module in (decisions, indexer, webhook):  # `decisions` also registers the commands of `intents`
        module.register(app)
    ended = CliRunner().invoke(
        app, [*command, text], env={"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/x"}
    )
    assert ended.exit_code == 1
    assert ended.stderr.startswith(f"{name} ")
    assert len(ended.stderr.splitlines()) == 1
    assert not isinstance(ended.exception, UnicodeError)
