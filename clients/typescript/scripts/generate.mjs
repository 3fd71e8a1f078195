// Types of the published descriptions, and where amounts stand in them: node scripts/generate.mjs openapi.json asyncapi.json
import { mkdir, readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const HEADER = "// Generated from the published description by scripts/generate.mjs; not edited by hand.\n";
const INT64_MAX = 2 ** 63;
const AMOUNTS = ["Lamports", "Shares", "Amount"].map((name) => `#/components/schemas/${name}`);
const METHODS = ["get", "post", "put", "delete"];

const bigint = ts.factory.createKeywordTypeNode(ts.SyntaxKind.BigIntKeyword);
const number = ts.factory.createKeywordTypeNode(ts.SyntaxKind.NumberKeyword);

// An amount in an answer is a bigint; one in a request may be a number, too.
function transform(schema, { path }) {
  if (AMOUNTS.some((amount) => path?.endsWith(amount))) return bigint;
  if (schema.type !== "integer") return undefined;
  return schema.maximum === INT64_MAX ? ts.factory.createUnionTypeNode([number, bigint]) : undefined;
}

const isAmount = (schema) => AMOUNTS.includes(schema.$ref);
const named = (ref) => ref.slice(ref.lastIndexOf("/") + 1);

// What a value of this schema may be: "amount", or the names of the objects that hold some further down. Lists and null
// are seen through.
function kinds(schema) {
  if (isAmount(schema)) return ["amount"];
  if (schema.$ref) return [named(schema.$ref)];
  const parts = [...(schema.anyOf ?? []), ...(schema.oneOf ?? []), ...(schema.items ? [schema.items] : [])];
  return [...new Set(parts.flatMap(kinds))];
}

// For each object, its properties that hold amounts, themselves or further down.
function amountFields(schemas) {
  const all = Object.entries(schemas).map(([name, schema]) => {
    const properties = Object.entries(schema.properties ?? {}).map(([key, value]) => [key, kinds(value)]);
    return [name, new Map(properties)];
  });
  const table = new Map(all);
  const holds = new Set(["amount"]);
  for (let before = -1; before !== holds.size; ) {
    before = holds.size;
    for (const [name, properties] of table)
      if ([...properties.values()].flat().some((kind) => holds.has(kind))) holds.add(name);
  }
  const kept = [...table].filter(([name]) => holds.has(name)).map(([name, properties]) => {
    const some = [...properties].map(([key, value]) => [key, value.filter((kind) => holds.has(kind))]);
    return [name, Object.fromEntries(some.filter(([, value]) => value.length > 0))];
  });
  return Object.fromEntries(kept);
}

function results(paths) {
  const found = {};
  for (const [path, operations] of Object.entries(paths))
    for (const method of METHODS)
      for (const [status, response] of Object.entries(operations[method]?.responses ?? {})) {
        const schema = response.content?.["application/json"]?.schema;
        if (status < 300 && schema) found[`${method.toUpperCase()} ${path}`] = kinds(schema);
      }
  return found;
}

// Where two messages of one type have a place in common they must agree on it.
function messagesByType(document) {
  const found = {};
  for (const name of Object.keys(document.components.messages)) {
    const type = document.components.schemas[name].properties?.type?.enum?.[0];
    if (type) (found[type] ??= []).push(name);
  }
  return found;
}

const [apiFile, feedFile] = process.argv.slice(2);
const api = JSON.parse(await readFile(apiFile, "utf8"));
const feed = JSON.parse(await readFile(feedFile, "utf8"));
const feedTypes = { openapi: "3.1.0", info: feed.info, paths: {}, components: { schemas: feed.components.schemas } };
const apiAmounts = amountFields(api.components.schemas);
const feedAmounts = amountFields(feed.components.schemas);
if (!apiAmounts.Market?.total_volume || !feedAmounts.TradeData?.cost) throw new Error("The descriptions hold no amounts.");

const tables = [
  "export type AmountFields = Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;",
  `export const API_AMOUNTS: AmountFields = ${JSON.stringify(apiAmounts, null, 1)};`,
  `export const RESULTS: Readonly<Record<string, readonly string[]>> = ${JSON.stringify(results(api.paths), null, 1)};`,
  `export const FEED_AMOUNTS: AmountFields = ${JSON.stringify(feedAmounts, null, 1)};`,
  `export const MESSAGE_TYPES: Readonly<Record<string, readonly string[]>> = ${JSON.stringify(messagesByType(feed), null, 1)};`,
];
const into = new URL("../src/generated/", import.meta.url);
await mkdir(into, { recursive: true });
const options = { transform, silent: true, immutable: false };
await writeFile(new URL("api.ts", into), HEADER + astToString(await openapiTS(api, options)));
await writeFile(new URL("feed.ts", into), HEADER + astToString(await openapiTS(feedTypes, options)));
await writeFile(new URL("amounts.ts", into), `${HEADER}${tables.join("\n")}\n`);
