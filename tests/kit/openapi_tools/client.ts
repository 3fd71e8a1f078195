// What a front end writes against the generated types: fields that may be left out may be left out.
import type { components, operations } from "./api";

export const order: components["schemas"]["Buy"] = { market_id: "8f", outcome: "YES", max_cost: 1_000_000_000 };
export const comment: components["schemas"]["NewComment"] = { content: "It froze in 1963." };
export const market: components["schemas"]["NewMarket"] = {
  question: "Will the harbour be frozen?", end_date: "2100-02-28", b_parameter: 1, initial_liquidity: 1,
};
export const query: operations["ListMarkets"]["parameters"]["query"] = { state: "ACTIVE", sort: "volume" };
export function first(answer: operations["ListMarkets"]["responses"][200]["content"]["application/json"]): string {
  return answer.markets[0]?.question ?? answer.next_cursor ?? "";
}
// @ts-expect-error a market's id is needed
export const nowhere: components["schemas"]["Buy"] = { outcome: true };
