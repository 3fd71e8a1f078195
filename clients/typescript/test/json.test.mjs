import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { parseJson, stringifyJson } from "../dist/index.js";

test("integers beyond 2^53 keep every digit, both ways", () => {
  const text = '{"cost":9223372036854775807,"low":-9007199254740993,"safe":9007199254740991,"list":[18446744073709551615]}';
  const value = parseJson(text);
  assert.deepEqual(value, { cost: 9223372036854775807n, low: -9007199254740993n, safe: 9007199254740991, list: [18446744073709551615n] });
  assert.equal(stringifyJson(value), text);
});

test("a bigint of any size is written as an integer", () => {
  for (let bits = 8; bits < 300; bits += 7) {
    const number = BigInt(`0x${randomBytes(Math.ceil(bits / 8)).toString("hex")}`);
    for (const each of [number, -number]) {
      assert.equal(stringifyJson({ each }), `{"each":${each}}`);
      assert.equal(BigInt(parseJson(`[${each}]`)[0]), each);
    }
  }
});

test("a bigint is an integer even where the page taught JSON to write it as text", () => {
  BigInt.prototype.toJSON = function () {
    return String(this);
  };
  try {
    assert.equal(stringifyJson([12n]), "[12]");
  } finally {
    delete BigInt.prototype.toJSON;
  }
});

test("text stays text, whatever digits, quotes and escapes it has", () => {
  const texts = ['"', "\\", '\\"12345678901234567890', "12345678901234567890", '":12345678901234567890,"', "i:99999999999999999999", "\u2028é🙂"];
  const value = { texts, [texts[3]]: texts[2], amount: 12345678901234567890n };
  assert.deepEqual(parseJson(stringifyJson(value)), value);
});

test("what is no integer is a number, and no JSON is a SyntaxError", () => {
  assert.deepEqual(parseJson("[1e30,12345678901234567890.5,-0,0,1.5e-7,true,null]"), [1e30, 12345678901234567890.5, -0, 0, 1.5e-7, true, null]);
  for (const text of ["", "{", "[01]", '{"a":12345678901234567890x}', "<html>"]) assert.throws(() => parseJson(text), SyntaxError);
});

test("a text of megabytes is read", () => {
  const text = JSON.stringify({ text: '\\"9'.repeat(1_000_000) });
  assert.deepEqual(parseJson(text), JSON.parse(text));
});
