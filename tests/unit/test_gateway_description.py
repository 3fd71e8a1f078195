"""The published description of the API: whole, valid, and the same in docs/api.md."""

import json
import re
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from zmart.cli import openapi as command
from zmart.services.gateway.openapi import examples, links, markdown, offline

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture(scope="module")
def schema():
    return offline.document()


def operations(schema):
    return [
        (method, path, operation)
        for path, item in schema["paths"].items()
        for method, operation in item.items()
    ]


def test_the_page_lists_the_calls_of_this_version(schema):
    written = PAGE.read_text(encoding="utf-8")
    assert markdown.with_calls(written, schema) == written, "run `zmart openapi --page docs/api.md`"


def test_the_command_prints_the_document(schema):
    import typer

    app = typer.Typer()
    command.register(app)
    said = CliRunner().invoke(app, [])
    assert said.exit_code == 0
    assert json.loads(said.stdout) == schema


def test_every_reference_leads_somewhere(schema):
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(schema)))
    assert named <= set(schema["components"]["schemas"])
    kinds = {"Problem", "Lamports", "MarketKey", "Trade", "Buy"}
    assert kinds <= set(schema["components"]["schemas"])


def test_every_call_has_its_own_name_and_says_what_it_refuses_with(schema):
    names = [operation["operationId"] for _, _, operation in operations(schema)]
    assert len(set(names)) == len(names) > 50
    for method, path, operation in operations(schema):
        assert operation["description"], path
        assert {"400", "500", "503"} <= set(operation["responses"]), path
        if method != "get":
            assert {"408", "413", "415"} <= set(operation["responses"]), path


def test_links_and_examples_belong_to_calls_that_exist(schema):
    known = {(method, path) for method, path, _ in operations(schema)}
    assert set(links.LINKS) <= known
    assert set(examples.BODIES) <= known
    names = {operation["operationId"] for _, _, operation in operations(schema)}
    assert {link["operationId"] for found in links.LINKS.values() for link in found.values()} <= names
    with_body = {
        (method, path) for method, path, operation in operations(schema) if "requestBody" in operation
    }
    assert with_body - set(examples.BODIES) <= {("post", "/api/transactions")}


def test_amounts_may_be_text_in_answers_and_are_integers_in_bodies(schema):
    kinds = schema["components"]["schemas"]
    assert kinds["Trade"]["properties"]["cost"] == {"$ref": "#/components/schemas/Lamports"}
    assert kinds["Lamports"]["type"] == ["integer", "string"]
    assert kinds["Sell"]["properties"]["shares"]["type"] == "integer"


def test_shapes_have_words_of_the_domain(schema):
    kinds = schema["components"]["schemas"]
    assert kinds["Market"]["properties"]["id"] == {"$ref": "#/components/schemas/MarketId"}
    assert kinds["Activity"]["properties"]["marketId"] == {"$ref": "#/components/schemas/MarketId"}
    assert kinds["MarketDetail"]["properties"]["resolver"]["anyOf"][0] == {
        "$ref": "#/components/schemas/Wallet"
    }
    assert msgspec.json.decode(msgspec.json.encode(schema)) == schema
