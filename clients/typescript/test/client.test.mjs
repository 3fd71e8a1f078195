import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeBase58, ZmartClient, ZmartError } from "../dist/index.js";
import { httpServer } from "./server.mjs";

const problem = (status, more = {}) => ({ status, body: JSON.stringify({ error: "Busy", message: "Try again.", status, ...more }) });
const refusedAs = (facts) => (error) => {
  assert.ok(error instanceof ZmartError);
  for (const [name, value] of Object.entries(facts)) assert.deepEqual(error[name], value, name);
  return true;
};

test("amounts are bigints wherever the description has one, large or small, and counts are numbers", async (t) => {
  const market = { id: "m", b_parameter: 9223372036854775807n, total_volume: 7, traders: 3, slot: 5 };
  const body = `{"markets":[{"id":"m","b_parameter":9223372036854775807,"total_volume":7,"traders":3,"slot":5}],"count":1,"offset":0,"limit":20}`;
  const server = await httpServer(t, () => ({ body }));
  const page = await new ZmartClient(server.url).get("/api/markets", { query: { state: "ACTIVE" } });
  assert.deepEqual(page.markets[0], { ...market, total_volume: 7n });
  assert.equal(page.count, 1);
  assert.equal(server.requests[0].url, "/api/markets?state=ACTIVE");
});

test("the total of a quote is an amount, the total of a tally is a number", async (t) => {
  const server = await httpServer(t, (request) =>
    request.url.includes("quote") ? { body: '{"total":5,"fees":{"total":1}}' } : { body: '{"votes":[],"stats":{"total":5}}' },
  );
  const api = new ZmartClient(server.url);
  const quote = await api.get("/api/markets/{key}/quote", { path: { key: "a/b" }, query: { outcome: "YES", max_cost: 10n ** 18n } });
  assert.equal(quote.total, 5n);
  assert.equal(quote.fees.total, 1n);
  assert.equal(server.requests[0].url, "/api/markets/a%2Fb/quote?outcome=YES&max_cost=1000000000000000000");
  assert.equal((await api.get("/api/markets/{key}/votes", { path: { key: "m" } })).stats.total, 5);
});

test("a bigint in a body is an integer there", async (t) => {
  const server = await httpServer(t, () => ({}));
  const body = { market_id: "m", outcome: "YES", max_cost: 9007199254740993n };
  await new ZmartClient(server.url).post("/api/trades/buy", { body });
  assert.equal(server.requests[0].text, '{"market_id":"m","outcome":"YES","max_cost":9007199254740993}');
});

test("pages follow the cursor to the end and drop the offset", async (t) => {
  const server = await httpServer(t, (request) => {
    const cursor = new URL(request.url, "http://x").searchParams.get("cursor");
    const next = { null: "b", b: "c", c: null }[cursor];
    return { body: JSON.stringify({ markets: [{ id: `after ${cursor}` }], next_cursor: next }) };
  });
  const seen = [];
  for await (const page of new ZmartClient(server.url).pages("/api/markets", { query: { limit: 1, offset: 4 } }))
    seen.push(page.markets[0].id);
  assert.deepEqual(seen, ["after null", "after b", "after c"]);
  assert.deepEqual(server.requests.map(({ url }) => url), ["limit=1&offset=4", "limit=1&cursor=b", "limit=1&cursor=c"].map((query) => `/api/markets?${query}`));
});

test("an entity tag saves the body, for each session apart", async (t) => {
  const server = await httpServer(t, (request) => {
    const etag = `"${request.headers.authorization ?? "public"}"`;
    if (request.headers["if-none-match"] === etag) return { status: 304, body: "", headers: { etag } };
    return { body: JSON.stringify({ status: etag }), headers: { etag } };
  });
  const api = new ZmartClient(server.url);
  const first = await api.get("/api/status");
  first.status = "changed by the caller";
  assert.equal((await api.get("/api/status")).status, '"public"');
  assert.equal(server.requests[1].headers["if-none-match"], '"public"');
  const mine = new ZmartClient(server.url, { token: "t" });
  assert.equal((await mine.get("/api/status")).status, '"Bearer t"');
  assert.equal(server.requests[2].headers["if-none-match"], undefined);
});

test("the faucet is waited for until the whole sum is there", async (t) => {
  const balances = [5, 5, 105];
  const server = await httpServer(t, ({ method }) => ({ body: JSON.stringify({ lamports: method === "POST" ? 105 : balances.shift() }) }));
  assert.equal(await new ZmartClient(server.url).faucet("w"), 105n);
  assert.deepEqual(server.requests.map(({ method, url }) => `${method} ${url}`), ["POST /api/local/faucet", ...Array(3).fill("GET /api/local/wallets/w")]);
});

const BUILT = { transaction: "AAAA", simulation: { ok: true } };

async function sentByWallet(t, { status, send = async () => "sig", landsWithinMs = 2_000 }) {
  const server = await httpServer(t, ({ method }) => (method === "POST" ? { body: JSON.stringify(BUILT) } : status()));
  const sent = [];
  const signer = { address: "w", signMessage: assert.fail, signTransaction: assert.fail, signAndSendTransaction: (bytes) => (sent.push(bytes), send()) };
  const api = new ZmartClient(server.url, { landsWithinMs });
  const made = api.transact(signer, "/api/trades/claim", { body: { market_id: "m" } });
  return { made, sent, requests: server.requests };
}

test("what a wallet sends itself is sent once, not relayed, and followed although it is unknown at first", async (t) => {
  const answers = [problem(404), problem(404), { body: '{"status":"live"}' }, { body: '{"status":"landed","slot":9}' }];
  const { made, sent, requests } = await sentByWallet(t, { status: () => answers.shift() });
  const { signature, slot } = await made;
  assert.deepEqual([signature, slot, sent.length], ["sig", 9, 1]);
  assert.deepEqual(requests.filter(({ method }) => method === "POST").map(({ url }) => url), ["/api/trades/claim"]);
});

test("what this chain never sees of a wallet's is told with the likely cause", async (t) => {
  const { made, sent } = await sentByWallet(t, { status: () => problem(404), landsWithinMs: 900 });
  await assert.rejects(made, (error) => error.code === "TransactionNotSeen" && /set to another network/.test(error.message));
  assert.equal(sent.length, 1);
});

test("what was seen of a wallet's may still land", async (t) => {
  const { made } = await sentByWallet(t, { status: () => ({ body: '{"status":"live"}' }), landsWithinMs: 900 });
  await assert.rejects(made, refusedAs({ code: "TransactionPending" }));
});

test("what the wallet throws ends it, and nothing is asked of the chain", async (t) => {
  const declined = Object.assign(new Error("User rejected the request."), { code: 4001 });
  const { made, sent, requests } = await sentByWallet(t, { status: assert.fail, send: () => Promise.reject(declined) });
  await assert.rejects(made, (error) => error === declined);
  assert.deepEqual([sent.length, requests.length], [1, 1]);
});

test("a transaction is followed to its end, and what ended it is told", async (t) => {
  const states = { landed: { slot: 9 }, failed: { error: { code: 6007, name: "SlippageExceeded", message: "The price moved." } }, expired: {} };
  for (const [end, more] of Object.entries(states)) {
    const answers = [{ status: "live" }, { status: end, ...more }];
    const server = await httpServer(t, () => ({ body: JSON.stringify(answers.shift()) }));
    const waited = new ZmartClient(server.url).confirm("s");
    if (end === "landed") assert.equal((await waited).slot, 9);
    else await assert.rejects(waited, refusedAs({ code: end === "failed" ? "SlippageExceeded" : "TransactionExpired", status: 0 }));
  }
});

test("what the chain would refuse is told before anything is signed", async (t) => {
  const simulation = { ok: false, error: { code: 6044, name: "InvalidTimestamp", message: "It is too early." } };
  const server = await httpServer(t, () => ({ body: JSON.stringify({ transaction: "AAAA", simulation }) }));
  const signer = { address: "w", signMessage: assert.fail, signTransaction: assert.fail };
  const sent = new ZmartClient(server.url).transact(signer, "/api/trades/claim", { body: { market_id: "m" } });
  await assert.rejects(sent, refusedAs({ code: "InvalidTimestamp", message: "It is too early." }));
  assert.equal(server.requests.length, 1);
});

const down = { status: 503, headers: { "retry-after": "0" }, body: '{"error":"Unavailable","message":"Try again.","status":503}' };
const SIGNED = Uint8Array.from([1, ...Array(64).fill(7), 1, 2, 3]);
const SIGNATURE = encodeBase58(SIGNED.subarray(1, 65));

function bought(server, options) {
  const signer = { address: "w", signMessage: assert.fail, signTransaction: async () => SIGNED };
  const body = { market_id: "m", outcome: "YES", max_cost: 5n };
  return new ZmartClient(server.url, options).transact(signer, "/api/trades/buy", { body });
}

function relaying(t, relay, state) {
  const relayed = { body: JSON.stringify({ signature: SIGNATURE, status: "live" }) };
  return httpServer(t, ({ url, method }) => (method === "GET" ? state() : url === "/api/trades/buy" ? { body: JSON.stringify(BUILT) } : relay ?? relayed));
}

test("a transaction that was sent is followed through an outage of the API: a failure would make the caller send another", async (t) => {
  let asked = 0;
  const server = await relaying(t, undefined, () => (++asked <= 6 ? down : { body: '{"status":"landed","slot":9}' }));
  assert.equal((await bought(server)).slot, 9);
  const lost = await relaying(t, undefined, () => down);
  await assert.rejects(bought(lost, { landsWithinMs: 900 }), (error) => error.code === "TransactionPending" && error.message.includes(SIGNATURE));
});

test("of a transaction whose relay failed the API tells whether it was sent", async (t) => {
  const server = await relaying(t, down, () => ({ body: '{"status":"landed","slot":9}' }));
  const { signature, slot } = await bought(server);
  assert.deepEqual([signature, slot], [SIGNATURE, 9]);
  await assert.rejects(bought(await relaying(t, down, () => problem(404))), refusedAs({ status: 503, code: "Unavailable" }));
  await assert.rejects(bought(await relaying(t, problem(409), assert.fail)), refusedAs({ status: 409 }));
  let asked = 0; // behind a proxy that gave up, the API may still be about to send it
  const late = await relaying(t, problem(504), () => (++asked <= 3 ? problem(404) : { body: '{"status":"landed","slot":9}' }));
  assert.equal((await bought(late)).slot, 9);
});

test("what a wallet sent is not called absent because the API cannot tell", async (t) => {
  const { made } = await sentByWallet(t, { status: () => down, landsWithinMs: 900 });
  await assert.rejects(made, refusedAs({ code: "TransactionPending" }));
});

test("only so many answers are kept", async (t) => {
  const server = await httpServer(t, () => ({ headers: { etag: '"e"' } }));
  const api = new ZmartClient(server.url, { cacheEntries: 2 });
  for (const key of ["a", "b", "c", "a", "c"]) await api.get("/api/markets/{key}", { path: { key } });
  assert.deepEqual(server.requests.map(({ headers }) => headers["if-none-match"]), [undefined, undefined, undefined, undefined, '"e"']);
});

test("503 and 429 are tried again when Retry-After says", async (t) => {
  const server = await httpServer(t, (_request, _text, number) =>
    number < 3 ? { ...problem(number === 1 ? 503 : 429), headers: { "retry-after": "0.05" } } : { body: '{"status":"ok"}' },
  );
  assert.equal((await new ZmartClient(server.url).get("/api/status")).status, "ok");
  assert.equal(server.requests.length, 3);
});

test("a wait longer than the caller allows is told and not waited for", async (t) => {
  const server = await httpServer(t, () => ({ ...problem(503), headers: { "retry-after": "60" } }));
  const asked = new ZmartClient(server.url).get("/api/status");
  await assert.rejects(asked, refusedAs({ status: 503, code: "Busy", retryAfterMs: 60_000 }));
  assert.equal(server.requests.length, 1);
});

test("attempts end", async (t) => {
  const server = await httpServer(t, () => ({ ...problem(503), headers: { "retry-after": "0" } }));
  await assert.rejects(new ZmartClient(server.url, { attempts: 3 }).get("/api/status"), refusedAs({ status: 503 }));
  assert.equal(server.requests.length, 3);
});

for (const [status, path, body, attempts] of [
  [503, "/api/discussions", { market_id: "m", content: "c" }, 1], // nobody knows whether it was written
  [429, "/api/discussions", { market_id: "m", content: "c" }, 2],
  [503, "/api/votes/proposal", { market_id: "m", vote: true }, 1],
  [503, "/api/trades/buy", { market_id: "m", outcome: "YES", max_cost: 1 }, 2],
  [503, "/api/transactions", { transaction: "AAAA" }, 2],
  [500, "/api/trades/buy", { market_id: "m", outcome: "YES", max_cost: 1 }, 1],
  [409, "/api/trades/buy", { market_id: "m", outcome: "YES", max_cost: 1 }, 1],
])
  test(`POST ${path}: ${status} is sent ${attempts} times`, async (t) => {
    const server = await httpServer(t, () => ({ ...problem(status), headers: { "retry-after": "0" } }));
    await assert.rejects(new ZmartClient(server.url, { attempts: 2 }).post(path, { body }), refusedAs({ status }));
    assert.equal(server.requests.length, attempts);
  });

test("a deletion that ended in 503 is sent once: a second one would be 404", async (t) => {
  const server = await httpServer(t, () => ({ ...problem(503), headers: { "retry-after": "0" } }));
  const asked = new ZmartClient(server.url).delete("/api/discussions/{key}", { path: { key: "c" } });
  await assert.rejects(asked, refusedAs({ status: 503 }));
  assert.equal(server.requests.length, 1);
});

test("an error has code, message, details and the id of the request", async (t) => {
  const details = [{ field: "limit", message: "must be an integer" }];
  const server = await httpServer(t, () => problem(400, { error: "BadRequest", message: "No.", details, request_id: "r-1" }));
  const asked = new ZmartClient(server.url).get("/api/markets");
  await assert.rejects(asked, refusedAs({ code: "BadRequest", message: "No.", status: 400, details, requestId: "r-1" }));
});

test("a proxy's page is an error of its status, and no JSON is no answer", async (t) => {
  const server = await httpServer(t, (request) => ({
    status: request.url === "/api/status" ? 200 : 404,
    headers: { "x-request-id": "r-2" },
    body: "<html>",
  }));
  const api = new ZmartClient(server.url);
  await assert.rejects(api.get("/api/markets"), refusedAs({ code: "Status404", status: 404, requestId: "r-2", details: [] }));
  await assert.rejects(api.get("/api/status"), refusedAs({ code: "NotJson", status: 200 }));
});

test("no server is Unreachable, a slow one TimedOut, and the caller's abort is the caller's", async (t) => {
  await assert.rejects(new ZmartClient("http://127.0.0.1:1", { attempts: 2 }).get("/api/status"), refusedAs({ code: "Unreachable", status: 0 }));
  const server = await httpServer(t, () => new Promise(() => {}));
  await assert.rejects(new ZmartClient(server.url, { timeoutMs: 50, attempts: 1 }).get("/api/status"), refusedAs({ code: "TimedOut" }));
  const control = new AbortController();
  const asked = new ZmartClient(server.url).get("/api/status", { signal: control.signal });
  control.abort(new Error("left the page"));
  await assert.rejects(asked, /left the page/);
});
