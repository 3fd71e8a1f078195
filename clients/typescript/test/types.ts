// What a front end writes: it compiles as it stands, lines that must not do so included.
import { ZmartClient, LiveFeed, type Schemas, type FeedMessage } from "@zmart/client";

const api = new ZmartClient("http://127.0.0.1:4000");
const market = await api.get("/api/markets/{key}", { path: { key: "8f" } });
export const volume: bigint = market.total_volume;
export const traders: number = market.traders;
const quote = await api.get("/api/markets/{key}/quote", { path: { key: "8f" }, query: { outcome: "YES", max_cost: 1n } });
export const total: bigint = quote.total;
for await (const page of api.pages("/api/discussions/{key}", { path: { key: "8f" } })) page.discussions satisfies Schemas["Discussion"][];
new LiveFeed("ws://127.0.0.1:4001").subscribe("trades", (message) => {
  if (message.type === "trade") message.data.cost satisfies bigint;
  // @ts-expect-error no vote comes on this channel
  if (message.type === "vote") return;
});
export const seen: FeedMessage<"votes:8f">[] = [];
// @ts-expect-error there is no such path
await api.get("/api/nothing");
// @ts-expect-error a key is needed
await api.get("/api/markets/{key}");
// @ts-expect-error a market's id is needed
await api.post("/api/trades/buy", { body: { outcome: "YES" } });
// @ts-expect-error this call does not build a transaction
api.transact({} as never, "/api/discussions", { body: { market_id: "8f", content: "x" } });
// @ts-expect-error this list has no pages
api.pages("/api/markets/categories");
const body = { question: "Will the harbour be frozen?", end_date: "2100-02-28", b_parameter: 10n ** 10n, initial_liquidity: 7n * 10n ** 9n };
export const made = await api.transact({} as never, "/api/markets", { body });
made.slot satisfies number | null;
for (const path of ["/api/trades/claim", "/api/trades/withdraw"] as const) {
  const landed = await api.transact({} as never, path, { body: { market_id: made.market_id } });
  landed.fee_lamports satisfies bigint;
}
for (const path of ["/api/markets/{key}/activate", "/api/markets/{key}/dispute"] as const)
  await api.transact({} as never, path, { path: { key: "8f" } });
await api.transact({} as never, "/api/markets/{key}/resolve", { path: { key: "8f" }, body: { outcome: true, evidence: "It froze." } });
