// The trade form: shows what a trade costs or pays before it is signed, and why it cannot be made.
import { element } from "../dom.js";
import { cents, shares, sol, units, unitsText } from "../numbers.js";
import { balance } from "./acts.js";
import { get } from "./api.js";

const REST_MS = 200;
const RETRY_MS = 2000;
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
    sendButton().disabled = true; // until the quote of this input is on the page
    if (event.target.type === "radio") suggest(event.target.name === "side");
    quoteAgain();
  });
  quoteAgain();
}

document.addEventListener("zmart:price", () => quoteAgain());

// Soon, once nothing has changed for a moment.
export function quoteAgain(restMs = REST_MS) {
  clearTimeout(timer);
  if (form?.isConnected) timer = setTimeout(show, restMs);
}

const sendButton = () => form.querySelector("[data-send]");

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
  if (side === "sell") field.value = unitsText(await held().catch(() => 0));
  else if (isOtherSide) field.value = "0.5";
  quoteAgain();
}

async function held() {
  const mine = wallet();
  const rows = mine ? await get(`/api/positions/${mine.address}`) : [];
  const row = rows.find((each) => each.market_id === market);
  return row?.[chosen("outcome") === "YES" ? "yes_shares" : "no_shares"] ?? 0;
}

async function show() {
  const side = chosen("side");
  const outcome = chosen("outcome");
  const amount = amountOf(form);
  const list = form.querySelector("[data-quote]");
  const request = ++lastRequest;
  let lines = [];
  let reason = amount ? "" : "Enter an amount, such as 0.5.";
  try {
    if (amount && side === "sell") reason = await whyNotSell(amount, outcome);
    if (!reason) {
      const much = side === "buy" ? `max_cost=${amount}` : `shares=${amount}`;
      const quote = await get(`/api/markets/${market}/quote?side=${side}&outcome=${outcome}&${much}`);
      if (side === "buy") reason = await whyNotBuy(quote);
      lines = side === "buy" ? bought(quote) : sold(quote);
      if (request === lastRequest) quoted = { of: order(side, outcome, amount), bound: boundOf(quote) };
    }
  } catch (problem) {
    reason = problem.message;
    if (problem.status === 0 || problem.status === 429 || problem.status >= 500) quoteAgain(RETRY_MS);
  }
  if (request !== lastRequest) return;
  list.replaceChildren(...(reason ? line("", reason) : []), ...lines);
  sendButton().textContent = `${side === "buy" ? "Buy" : "Sell"} ${outcome}`;
  sendButton().disabled = Boolean(reason);
}

// The reason why nobody should, or this wallet cannot, make the quoted purchase. Without a wallet the first click makes one.
async function whyNotBuy(quote) {
  if (quote.pricing_model === "reference" && Number(quote.total) > Number(quote.shares)) {
    return "You would pay more than the most that it can pay: a share pays one SOL if it wins, and nothing if not.";
  }
  const lamports = wallet() ? await balance(wallet()).catch(() => null) : null;
  if (lamports === null || Number(quote.total) <= lamports) return "";
  return `This costs ${sol(quote.total)} SOL, and the wallet has ${sol(lamports)}.`;
}

async function whyNotSell(amount, outcome) {
  const mine = BigInt(await held());
  if (amount <= mine) return "";
  return mine ? `You hold ${shares(mine)} ${outcome} shares.` : `You hold no ${outcome} shares.`;
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
