// The trade form: shows what a trade costs or pays before it is signed.
import { element } from "../dom.js";
import { cents, shares, sol, units, unitsText } from "../numbers.js";
import { get } from "./api.js";

const REST_MS = 200;
let form = null;
let timer = 0;
let market = "";
let wallet = () => null;
let lastRequest = 0;
let quoted = { of: "", bound: {} };

export function watchTrade(newForm, id, whose) {
  wallet = whose;
  market = id;
  if (!newForm || newForm === form) return quoteAgain();
  form = newForm;
  form.addEventListener("input", (event) => {
    if (event.target.type === "radio") suggest(event.target.name === "side");
    quoteAgain();
  });
  quoteAgain();
}

document.addEventListener("zmart:price", () => quoteAgain());

// Soon, once nothing has changed for a moment.
export function quoteAgain() {
  clearTimeout(timer);
  if (form?.isConnected) timer = setTimeout(show, REST_MS);
}

const chosen = (name) => new FormData(form).get(name);
export const amountOf = (given) => units(new FormData(given).get("amount"));

export function bodyOf(given, id, amount) {
  const side = new FormData(given).get("side");
  const outcome = new FormData(given).get("outcome");
  const much = side === "buy" ? { max_cost: Number(amount) } : { shares: Number(amount) };
  const bound = quoted.of === order(side, outcome, amount) ? quoted.bound : {};
  return { path: `/api/trades/${side}`, body: { market_id: id, outcome, ...much, ...bound } };
}

const order = (side, outcome, amount) => `${market} ${side} ${outcome} ${amount}`;

// What was on the page when the button was pressed is what the transaction must bring at least.
function boundOf(quote) {
  if (quote.side === "sell") return { min_proceeds: Number(quote.min_proceeds) };
  return quote.min_shares == null ? {} : { min_shares: Number(quote.min_shares) };
}

async function suggest(isOtherSide) {
  const side = chosen("side");
  form.querySelector("[data-amount-label]").textContent = side === "buy" ? "SOL to spend" : `${chosen("outcome")} shares to sell`;
  const field = form.elements.amount;
  if (side === "sell") field.value = await held();
  else if (isOtherSide) field.value = "0.5";
  quoteAgain();
}

async function held() {
  const mine = wallet();
  const rows = mine ? await get(`/api/positions/${mine.address}`).catch(() => []) : [];
  const row = rows.find((each) => each.market_id === market);
  return unitsText(row?.[chosen("outcome") === "YES" ? "yes_shares" : "no_shares"] ?? 0);
}

async function show() {
  const side = chosen("side");
  const outcome = chosen("outcome");
  const amount = amountOf(form);
  const list = form.querySelector("[data-quote]");
  form.querySelector("[data-send]").textContent = `${side === "buy" ? "Buy" : "Sell"} ${outcome}`;
  if (!amount) {
    list.replaceChildren(...line("", "Enter an amount, such as 0.5."));
    return;
  }
  const request = ++lastRequest;
  const much = side === "buy" ? `max_cost=${amount}` : `shares=${amount}`;
  let lines;
  try {
    const quote = await get(`/api/markets/${market}/quote?side=${side}&outcome=${outcome}&${much}`);
    lines = side === "buy" ? bought(quote) : sold(quote);
    if (request === lastRequest) quoted = { of: order(side, outcome, amount), bound: boundOf(quote) };
  } catch (problem) {
    lines = line("", problem.message);
  }
  if (request === lastRequest) list.replaceChildren(...lines);
}

const bought = (quote) => [
  ...line("You get", `${shares(quote.shares)} ${quote.outcome}`),
  ...(quote.min_shares == null ? [] : line("At least", `${shares(quote.min_shares)} ${quote.outcome}`)),
  ...line("Each costs", `${Number(quote.average_price).toFixed(3)} SOL`),
  ...line(`If it is ${quote.outcome}, pays`, `${sol(quote.shares)} SOL`),
  ...line("Fees, included", `${sol(quote.fees.total)} SOL`),
  ...line("YES after", `${cents(quote.price_yes_after)}%`),
];

const sold = (quote) => [
  ...line("You get", `${sol(quote.total)} SOL`),
  ...line("At least", `${sol(quote.min_proceeds)} SOL`),
  ...line("Fees, taken off", `${sol(quote.fees.total)} SOL`),
  ...line("YES after", `${cents(quote.price_yes_after)}%`),
];

const line = (name, text) => (name ? [element("dt", {}, name), element("dd", {}, text)] : [element("dt", { class: "whole" }, text)]);
