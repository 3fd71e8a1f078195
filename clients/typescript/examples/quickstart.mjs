// node quickstart.mjs [address of the API]; with Node.js 20: node --experimental-websocket quickstart.mjs
import { KeyPairSigner, LiveFeed, ZmartClient } from "@zmart/client";

const api = new ZmartClient(process.argv[2] ?? "http://127.0.0.1:4000");
for await (const { markets } of api.pages("/api/markets", { query: { state: "ACTIVE", limit: 50 } }))
  for (const { id, question, current_price_yes } of markets) console.log(`${id}: YES at ${current_price_yes}, ${question}`);

const signer = await KeyPairSigner.generate(); // in a browser: await connectWallet(wallet)
console.log(`${signer.address} has ${await api.faucet(signer.address)} lamports of play money`);
const session = await api.signIn(signer);
console.log(`signed in until ${session.expires_at}`);

const { websocket_url } = await api.get("/api/status");
const feed = new LiveFeed(websocket_url);
const live = feed.messages("activity");
await live.next(); // the state; from here on no change is missed

const proposed = await api.get("/api/markets", { query: { state: "PROPOSED", limit: 1 } });
for (const { id } of proposed.markets) {
  const { receipt } = await api.vote(signer, { market: id, choice: "like" });
  console.log(`voted for ${id}: number ${receipt.index} in its log`);
}

const { markets: [market] } = await api.get("/api/markets", { query: { state: "ACTIVE", limit: 1 } });
if (!market) throw new Error("No market is active: run `zmart demo`.");
const body = { market_id: market.id, outcome: /** @type {const} */ ("YES"), max_cost: 100_000_000n };
const bought = await api.transact(signer, "/api/trades/buy", { body });
console.log(`bought ${bought.quote.shares} shares (1e-9) in slot ${bought.slot}: ${bought.signature}`);
for await (const { type, offset, data } of live) {
  console.log(`live: ${type} at ${offset}`);
  if (type === "trade" && data.tx_signature === bought.signature) break;
}
feed.close();
