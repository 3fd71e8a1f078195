// What a wallet has: SOL, and its position in a market.
import { api } from "./api.js";

// In lamports.
export async function balance(wallet) {
  return (await api.get("/api/users/{wallet}/balance", { path: { wallet } })).lamports;
}

// {yes, no, value, profit} in units of 1e-9, null for a wallet that never traded in the market. The value of a position
// in a finalized market is what a claim pays, 0 once it is claimed. The profit is that of sales and claims, too.
export async function position(wallet, market) {
  const held = await api.get("/api/users/{wallet}/positions/{key}", { path: { wallet, key: market } });
  const [yes, no, value, realized] = [held.shares_yes, held.shares_no, held.current_value, held.realized_pnl];
  const isHeld = [yes, no, realized].some((amount) => amount !== 0n) || held.has_claimed;
  return isHeld ? { yes, no, value, profit: realized + held.unrealized_pnl } : null;
}
