"""The published OpenAPI document is complete and valid, and docs/api.md says the same."""

import base64
import json
import re
from pathlib import Path

import jsonschema_rs
import msgspec
import pytest
from solders.transaction import VersionedTransaction
from typer.testing import CliRunner

from zmart.cli import openapi as command
from zmart.market.amounts import price_text
from zmart.market.pricing import FeeSchedule, Quantities, pricing_model
from zmart.market.types import Bps
from zmart.proofs import merkle
from zmart.proofs.log_documents import VoteProof
from zmart.services.gateway.api import quotes
from zmart.services.gateway.openapi import markdown, offline, samples
from zmart.services.gateway.openapi.answers import markets, scenario, vote_log

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
    answer = CliRunner().invoke(app, [])
    assert answer.exit_code == 0
    assert json.loads(answer.stdout) == schema


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


def test_links_lead_to_operations_that_exist_and_give_them_parameters_that_they_take(schema):
    taken = {
        operation["operationId"]: {item["name"] for item in operation.get("parameters", ())}
        for _, _, operation in operations(schema)
    }
    links = [
        link
        for _, _, operation in operations(schema)
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert len(links) > 20
    for link in links:
        assert set(link["parameters"]) <= taken[link["operationId"]], link


def test_every_body_but_a_signed_transaction_has_an_example(schema):
    without = [
        operation["operationId"]
        for _, _, operation in operations(schema)
        if "requestBody" in operation
        and "examples" not in operation["requestBody"]["content"]["application/json"]
    ]
    assert without == ["SendTransaction"]


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


def test_only_the_samples_of_operations_that_need_a_proof_sign_in(schema):
    signing_in = set()
    for method, path, operation in operations(schema):
        [sample] = operation["x-codeSamples"]
        assert sample["source"] == samples.typescript(method, path, operation)
        needed = bool(operation["security"]) and {} not in operation["security"]
        assert ("api.signIn(signer)" in sample["source"]) is needed, path
        assert ("$TOKEN" in samples.curl(method, path, operation)) is needed, path
        signing_in |= {operation["operationId"]} if needed else set()
    assert {"Buy", "Comment"} <= signing_in
    assert not {"ListMarkets", "GetMarket", "GetPortfolio", "SendTransaction"} & signing_in


def test_every_answer_has_an_example_that_meets_its_schema(schema):
    """No field that a struct declares is missing in an example, and each value has the form that is published."""
    for _, path, operation in operations(schema):
        answer = next(iter(operation["responses"].values()))["content"]["application/json"]
        assert answer["examples"], path
        for example in answer["examples"].values():
            wanted = {**answer["schema"], "components": schema["components"]}
            errors = list(jsonschema_rs.validator_for(wanted).iter_errors(example["value"]))
            assert not errors, (path, [error.message for error in errors])


def test_the_examples_of_a_transaction_and_of_a_proof_can_be_checked(schema):
    """The transaction decodes and names its signer; the proof's entry leads to its root."""
    unsigned = VersionedTransaction.from_bytes(base64.b64decode(scenario.TRANSACTION))
    assert str(unsigned.message.account_keys[0]) == scenario.TRADER
    [proof] = [answer for answer in vote_log.ANSWERS if isinstance(answer, VoteProof)]
    [entry] = proof.entries
    leaf = merkle.leaf_hash(entry.entry.encode())
    assert leaf.hex() == entry.leaf_hash
    assert merkle.verify_inclusion(leaf, entry.index, proof.tree_size, [], bytes.fromhex(proof.root))


def test_the_figures_of_the_examples_are_those_of_the_pricing():
    """The scenario of the examples is possible: its price, its shares and its value are what its purchase leads to."""
    fees = FeeSchedule(Bps(300), Bps(200), Bps(500))
    order = quotes.TradeOrder(side=quotes.Side.BUY, outcome=True, max_cost=10**9)
    empty = Quantities(0, 0, scenario.B)
    assert quotes.quote(pricing_model("reference"), scenario.MARKET, empty, fees, order) == markets.QUOTE
    assert {name: getattr(markets.QUOTE.fees, name) for name in scenario.FEES} == scenario.FEES
    price = round(float(scenario.PRICE_YES) * 10**9)
    assert price_text(10**9 - price) == scenario.PRICE_NO
    assert scenario.SHARES * price // 10**9 == scenario.VALUE
    assert price_text(scenario.PAID * 10**9 // scenario.SHARES) == scenario.AVERAGE_COST
