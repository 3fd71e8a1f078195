async url => {
  // what a front end does with the wallet that it finds: it signs in, trades, and sees the trade live
  const client = await import("/node_modules/@zmart/client/dist/index.js");
  const wallet = await new Promise(found => client.watchWallets(found));
  const signer = await client.connectWallet(wallet), api = new client.ZmartClient(url);
  const session = await api.signIn(signer);
  const feed = new client.LiveFeed((await api.get("/api/status")).websocket_url);
  const live = feed.messages("trades");
  await live.next();
  const query = {state: "ACTIVE", limit: 1};
  const {markets: [market]} = await api.get("/api/markets", {query});
  await api.get("/api/markets/{key}", {path: {key: market.id}});
  await api.get("/api/markets/{key}", {path: {key: market.id}});
  const body = {market_id: market.id, outcome: "NO", max_cost: 50_000_000n};
  const bought = await api.transact(signer, "/api/trades/buy", {body}), {value: {data: trade}} = await live.next();
  feed.close();
  const refused = await api.transact(signer, "/api/trades/buy", {body: {...body, max_cost: 10n ** 18n}}).catch(error => error);
  return [session.wallet, bought.signature, trade.tx_signature, typeof trade.cost, trade.cost <= body.max_cost, refused.code];
}
