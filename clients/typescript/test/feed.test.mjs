import assert from "node:assert/strict";
import { test } from "node:test";
import WebSocket from "ws";
import { LiveFeed } from "../dist/index.js";
import { queue, socketServer } from "./server.mjs";

const ID = "ab".repeat(32);
const welcome = (heartbeat_ms = 30_000) => ({ type: "welcome", channel: "", epoch: "e", offset: 0, data: { epoch: "e", heartbeat_ms } });
const subscribed = (channel, offset, outcome = "fresh", epoch = "e") => ({ type: "subscribed", channel, epoch, offset, data: { epoch, offset, outcome } });
const trade = (channel, offset, epoch = "e") => ({ type: "trade", channel, epoch, offset, data: { cost: 7, slot: 3 } });

function open(t, server, options = {}) {
  const told = Object.assign(queue(), { errors: queue(), links: queue() });
  const feed = new LiveFeed(server.url, { WebSocket, onError: told.errors.put, onConnection: told.links.put, ...options });
  t.after(() => feed.close());
  return { feed, told };
}

test("after a lost connection it goes on after the last message, and nothing comes twice", async (t) => {
  const server = await socketServer(t);
  const { feed, told } = open(t, server);
  feed.subscribe("trades", told.put);
  let connection = await server.next();
  assert.deepEqual(await connection.received(), { action: "subscribe", channel: "trades" });
  for (const message of [welcome(), subscribed("trades", 5), trade("trades", 6), trade("trades", 9)]) connection.send(message);
  assert.deepEqual([(await told.get()).offset, (await told.get()).offset, (await told.get()).offset], [5, 6, 9]);
  connection.socket.terminate();
  connection = await server.next();
  assert.deepEqual(await connection.received(), { action: "subscribe", channel: "trades", epoch: "e", offset: 9 });
  for (const message of [welcome(), subscribed("trades", 9, "replayed"), trade("trades", 9), trade("trades", 12)]) connection.send(message);
  assert.equal((await told.get()).data.outcome, "replayed");
  assert.equal((await told.get()).offset, 12);
  assert.deepEqual(feed.positions(), { trades: { epoch: "e", offset: 12 } });
  assert.deepEqual([await told.links.get(), await told.links.get(), await told.links.get()], [true, false, true]);
});

test("a later feed goes on where an earlier one was", async (t) => {
  const server = await socketServer(t);
  const { feed, told } = open(t, server, { positions: { activity: { epoch: "old", offset: 44 } } });
  feed.subscribe("activity", told.put);
  assert.deepEqual(await (await server.next()).received(), { action: "subscribe", channel: "activity", epoch: "old", offset: 44 });
});

test("a gap is told, and the position is that of the state after it", async (t) => {
  const server = await socketServer(t);
  const { feed, told } = open(t, server, { positions: { trades: { epoch: "old", offset: 44 } } });
  feed.subscribe("trades", told.put);
  const connection = await server.next();
  connection.send({ type: "gap", channel: "trades", epoch: "e", offset: 50, data: { from: 45, to: 50 } });
  assert.deepEqual((await told.get()).data, { from: 45, to: 50 });
  assert.deepEqual(feed.positions().trades, { epoch: "old", offset: 44 });
  connection.send(subscribed("trades", 3, "gap"));
  connection.send(trade("trades", 4));
  assert.equal((await told.get()).data.outcome, "gap");
  assert.equal((await told.get()).offset, 4);
  assert.deepEqual(feed.positions().trades, { epoch: "e", offset: 4 });
});

test("amounts are bigints with all their digits, in changes and in the state", async (t) => {
  const server = await socketServer(t);
  const { feed, told } = open(t, server);
  feed.subscribe("trades", told.put);
  const connection = await server.next();
  connection.send(`{"type":"subscribed","channel":"trades","epoch":"e","offset":1,"data":{"snapshot":[{"cost":5,"slot":2}]}}`);
  connection.send(`{"type":"trade","channel":"trades","epoch":"e","offset":2,"data":{"cost":9223372036854775807,"shares":1,"slot":3}}`);
  assert.deepEqual((await told.get()).data.snapshot, [{ cost: 5n, slot: 2 }]);
  assert.deepEqual((await told.get()).data, { cost: 9223372036854775807n, shares: 1n, slot: 3 });
});

test("a restart is waited for as long as the server asks, another end with growing pauses", async (t) => {
  const server = await socketServer(t);
  const { feed, told } = open(t, server);
  feed.subscribe("trades", told.put);
  let connection = await server.next();
  const asked = performance.now();
  connection.socket.close(1012, "restart retry_ms=120");
  connection = await server.next();
  const waited = performance.now() - asked;
  assert.ok(waited >= 115, `${waited} ms`);
  const pauses = [];
  for (let round = 0; round < 2; round++) {
    const ended = performance.now();
    connection.socket.terminate();
    connection = await server.next();
    pauses.push(performance.now() - ended);
  }
  assert.ok(pauses[0] >= 200, `${pauses} ms`); // half of what it is at least, by chance
  assert.ok(pauses[1] >= 400, `${pauses} ms`);
});

test("what the database could not answer is asked again on a new connection", async (t) => {
  const server = await socketServer(t);
  const { feed, told } = open(t, server);
  feed.subscribe("trades", told.put);
  const connection = await server.next();
  connection.send({ type: "error", channel: "", epoch: "e", offset: 0, data: { code: "unavailable", error: "The database is unavailable" } });
  assert.equal((await told.errors.get()).code, "unavailable");
  assert.deepEqual(await (await server.next()).received(), { action: "subscribe", channel: "trades" });
});

test("while one channel cannot be answered the pauses grow, though another one is answered", async (t) => {
  const server = await socketServer(t);
  const { feed } = open(t, server);
  feed.subscribe("trades", () => {});
  feed.subscribe("activity", () => {});
  let connection = await server.next();
  const pauses = [];
  for (let round = 0; round < 3; round++) {
    connection.send(subscribed("trades", 1));
    const ended = performance.now();
    connection.send({ type: "error", channel: "", epoch: "e", offset: 0, data: { code: "unavailable", error: "The database is unavailable" } });
    connection = await server.next();
    pauses.push(performance.now() - ended);
  }
  assert.ok(pauses[2] >= 800, `${pauses} ms`); // half of the third pause at least, by chance
});

test("a connection that answers nothing is given up", async (t) => {
  const server = await socketServer(t);
  const { feed, told } = open(t, server);
  feed.subscribe("trades", told.put);
  const connection = await server.next();
  await connection.received();
  connection.send(welcome(50));
  assert.deepEqual(await connection.received(), { action: "ping" });
  connection.send({ type: "pong", channel: "", data: {} });
  assert.deepEqual(await connection.received(), { action: "ping" });
  assert.deepEqual(await (await server.next()).received(), { action: "subscribe", channel: "trades" });
});

class SilentSocket extends EventTarget {
  static OPEN = 1;
  static made = [];
  readyState = 0;
  constructor() {
    super();
    SilentSocket.made.push(this);
  }
  open() {
    this.readyState = 1;
    this.onopen();
  }
  send() {}
  close() {
    this.readyState = 3;
  }
}

test("a connection whose server never says welcome is given up after 20 seconds, and not called one", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const told = [];
  const feed = new LiveFeed("ws://silent", { WebSocket: SilentSocket, onConnection: (isUp) => told.push(isUp) });
  t.after(() => feed.close());
  feed.subscribe("trades", () => {});
  SilentSocket.made[0].open();
  t.mock.timers.tick(19_999);
  assert.deepEqual([SilentSocket.made.length, told], [1, []]);
  t.mock.timers.tick(1);
  assert.deepEqual([SilentSocket.made[0].readyState, told], [3, [false]]);
  t.mock.timers.tick(600); // the first pause at most
  assert.equal(SilentSocket.made.length, 2);
  SilentSocket.made[1].open();
  SilentSocket.made[1].onmessage({ data: JSON.stringify(welcome()) });
  t.mock.timers.tick(20_000);
  assert.deepEqual([SilentSocket.made.length, SilentSocket.made[1].readyState, told], [2, 1, [false, true]]);
});

test("hundreds of channels are subscribed to without passing the server's limit of messages", async (t) => {
  const server = await socketServer(t);
  const { feed } = open(t, server);
  feed.subscribe("trades", () => {});
  const connection = await server.next();
  await connection.received();
  const started = performance.now();
  for (let number = 0; number < 29; number++) feed.subscribe(`trades:${number.toString(16).padStart(64, "0")}`, () => {});
  for (let number = 0; number < 14; number++) await connection.received();
  for (let number = 0; number < 15; number++) await connection.received();
  assert.ok(performance.now() - started > 900);
});

test("a page that leaves dozens of channels at once keeps its connection: the server takes 20 messages a second", async (t) => {
  const server = await socketServer(t);
  const { feed } = open(t, server);
  const channel = (number) => `trades:${number.toString(16).padStart(64, "0")}`;
  const leave = Array.from({ length: 24 }, (_, number) => feed.subscribe(channel(number), () => {}));
  const connection = await server.next();
  for (let number = 0; number < 24; number++) await connection.received();
  await new Promise((later) => setTimeout(later, 1_100)); // the second is over, and the allowance full again
  const started = performance.now();
  const times = [];
  connection.socket.on("message", () => times.push(performance.now() - started));
  leave.forEach((end) => end());
  for (let number = 0; number < 24; number++) feed.subscribe(channel(number), () => {});
  const said = [];
  for (let number = 0; number < 48; number++) said.push(await connection.received());
  assert.ok(times.filter((time) => time < 900).length <= 20, `${times} ms`);
  for (let number = 0; number < 24; number++)
    assert.deepEqual(said.filter((one) => one.channel === channel(number)).map(({ action }) => action), ["unsubscribe", "subscribe"]);
});

test("two listeners share a subscription, one that throws stops no other, and the last one ends it", async (t) => {
  const server = await socketServer(t);
  const { feed, told } = open(t, server);
  const endFirst = feed.subscribe(`votes:${ID.toUpperCase()}`, () => {
    throw new Error("a bug of the page");
  });
  const endSecond = feed.subscribe(`votes:${ID}`, told.put);
  const connection = await server.next();
  assert.deepEqual(await connection.received(), { action: "subscribe", channel: `votes:${ID}` });
  connection.send(subscribed(`votes:${ID}`, 1));
  assert.equal((await told.get()).type, "subscribed");
  assert.match(String(await told.errors.get()), /a bug of the page/);
  endFirst();
  endSecond();
  assert.deepEqual(await connection.received(), { action: "unsubscribe", channel: `votes:${ID}` });
  assert.deepEqual(feed.positions(), {});
});

test("a channel that was left and is subscribed to again begins with its state", async (t) => {
  const server = await socketServer(t);
  const { feed, told } = open(t, server);
  feed.subscribe("trades", () => {})();
  feed.subscribe("activity", () => {});
  const connection = await server.next();
  assert.deepEqual(await connection.received(), { action: "subscribe", channel: "activity" });
  feed.subscribe("trades", () => {})();
  feed.subscribe("trades", told.put);
  for (const action of ["subscribe", "unsubscribe", "subscribe"])
    assert.deepEqual(await connection.received(), { action, channel: "trades" });
  connection.send(trade("trades", 7));
  connection.send({ type: "unsubscribed", channel: "trades", epoch: "e", offset: 7, data: {} });
  connection.send(subscribed("trades", 8));
  assert.deepEqual([(await told.get()).type, told.size], ["subscribed", 0]);
});

test("messages wait for who reads them, and leaving or closing ends the reading", async (t) => {
  const server = await socketServer(t);
  const { feed } = open(t, server);
  const [trades, activity] = [feed.messages("trades"), feed.messages("activity")];
  const connection = await server.next();
  for (const channel of ["trades", "activity"]) assert.deepEqual(await connection.received(), { action: "subscribe", channel });
  for (const message of [subscribed("trades", 1), trade("trades", 2), trade("trades", 3)]) connection.send(message);
  const offsets = [];
  for await (const { offset } of trades) if (offsets.push(offset) === 3) break;
  assert.deepEqual(offsets, [1, 2, 3]);
  assert.deepEqual(await connection.received(), { action: "unsubscribe", channel: "trades" });
  const waiting = activity.next();
  feed.close();
  assert.deepEqual([(await waiting).done, (await activity.next()).done, (await trades.next()).done], [true, true, true]);
  assert.throws(() => feed.messages("trades"), { code: "FeedClosed" });
});

test("a name that is no channel is refused at once", () => {
  const feed = new LiveFeed("ws://127.0.0.1:1", { WebSocket });
  for (const channel of ["trade", "market:", "market:9wFF", "trades:xyz", "markets:" + ID]) assert.throws(() => feed.subscribe(channel, () => {}), TypeError);
});
