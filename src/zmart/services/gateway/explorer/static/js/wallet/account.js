// What a wallet has: SOL, and its position in a market.
import { api } from "./api.js";

const PAGE = 200;

// In lamports.
export async function balance(wallet) {
  return (await api.get("/api/users/{wallet}/balance", { path: { wallet } })).lamports;
}

// {yes, no, value, profit} in units of 1e-9, null for a wallet that never traded in the market. The value of a position
// in a finalized market is what a claim pays, 0 once it is claimed.
export async function position(wallet, market) {
  for (let offset = 0; ; offset += PAGE) {
    const rows = await api.get("/api/users/{wallet}/positions", { path: { wallet }, query: { limit: PAGE, offset } });
    const row = rows.find((each) => each.market_id === market);
    if (row) {
      const [yes, no, value, profit] = [row.shares_yes, row.shares_no, row.current_value, row.unrealized_pnl].map(BigInt);
      return { yes, no, value, profit };
    }
    if (rows.length < PAGE) return null;
  }
}
