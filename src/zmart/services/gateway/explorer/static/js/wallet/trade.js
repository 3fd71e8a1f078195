// The trade form: shows what a trade costs or pays before it is signed, and why it cannot be made.
import { element } from "../dom.js";
import { cents, shares, sol, units, unitsText, whyNoAmount } from "../numbers.js";
import { balance, position } from "./account.js";
import { api, isTransient, words } from "./api.js";
import { sayRead } from "./status.js";

const REST_MS = 200;
const RETRY_MS = 2000;
const FEE_RESERVE = 10_000_000n; // for the fee and the rent of a first position
const SIGNATURE_FEE = 5_000n; // the least that the network takes
const POSITION_RENT = 2_157_600n; // which the first purchase in a market pays
const WALLET_RENT = 890_880n; // a wallet is left with this at least, or with nothing
let form = null;
let timer = 0;
let market = "";
let wallet = () => null;
let lastRequest = 0;
let quoted = { of: "", bound: {} };
let known = null; // what the wallet has of what is traded, and what a purchase costs beside its quote: {of, amount, extra}
let changes = 0; // after which `known` is another one

export function watchTrade(newForm, id, whose) {
  wallet = whose;
  market = id;
  if (!newForm || newForm === form) return;
  form = newForm;
  form.addEventListener("input", (event) => {
    if (event.target.type === "radio") suggest(event.target.name === "side");
    quoteAnew();
  });
  const asked = /^#buy-(yes|no)$/.exec(location.hash)?.[1]; // a price that was pressed in the list
  if (asked) form.elements.outcome.value = asked.toUpperCase();
  form.querySelector("[data-max]").addEventListener("click", () => takeMax());
  form.querySelector("[data-amounts]").addEventListener("click", ({ target }) => {
    if (target.dataset.add && !whyNoAmount(chosen("amount"), "")) take((units(chosen("amount")) ?? 0n) + units(target.dataset.add));
  });
  quoteAnew();
}

// Another's trade changes the quote, and not what this wallet has.
document.addEventListener("zmart:price", () => soon(REST_MS));

// Soon, once nothing has changed for a moment, with what the wallet has by then.
export function quoteAgain(restMs = REST_MS) {
  known = null;
  changes++;
  soon(restMs);
}

// The same where the quote on the page may be another one's: nothing can be sent until the new one is there, and an answer
// to an earlier request is not shown any more.
export function quoteAnew(restMs = REST_MS) {
  lastRequest++;
  sendButton().disabled = true;
  quoteAgain(restMs);
}

function soon(restMs) {
  clearTimeout(timer);
  if (form?.isConnected) timer = setTimeout(show, restMs);
}

const sendButton = () => form.querySelector("[data-send]");
const chosen = (name) => new FormData(form).get(name);
const noAmount = () => whyNoAmount(chosen("amount"), "Enter an amount, such as 0.5.");
const order = (side, outcome, amount) => `${market} ${side} ${outcome} ${amount}`;

// The call that makes the trade of the form, with the bound that was on the page.
export function bodyOf(given, id) {
  const [side, outcome, amount] = [chosen("side"), chosen("outcome"), units(chosen("amount"))];
  if (!amount) throw new Error(noAmount());
  const much = side === "buy" ? { max_cost: amount } : { shares: amount };
  const bound = quoted.of === order(side, outcome, amount) ? quoted.bound : {};
  return { path: `/api/trades/${side}`, body: { market_id: id, outcome, ...much, ...bound } };
}

// What was on the page when the button was pressed is what the transaction must bring at least.
function boundOf(quote) {
  if (quote.side === "sell") return { min_proceeds: quote.min_proceeds };
  return quote.min_shares == null ? {} : { min_shares: quote.min_shares };
}

async function suggest(isOtherSide) {
  const side = chosen("side");
  form.querySelector("[data-amount-label]").textContent = side === "buy" ? "SOL to spend" : `${chosen("outcome")} shares to sell`;
  form.querySelector("[data-amounts]").hidden = side === "sell";
  if (side === "sell") await fill((address, outcome) => (address ? held(address, outcome) : 0n), "");
  else if (isOtherSide) form.elements.amount.value = "0.5";
  quoteAnew();
}

async function takeMax() {
  const isSale = chosen("side") === "sell";
  await fill(isSale ? held : async (address) => atLeast0((await balance(address)) - FEE_RESERVE));
  quoteAnew(0);
}

const atLeast0 = (amount) => (amount > 0n ? amount : 0n);
const filledIn = () => JSON.stringify([wallet()?.address, ...["side", "outcome", "amount"].map(chosen)]);

// The amount that `read` gives for the wallet and the outcome, unless the form or the wallet is another one by then;
// `otherwise`, if given, where it cannot be read.
async function fill(read, otherwise) {
  const before = filledIn();
  const amount = await attempt(read, wallet()?.address, chosen("outcome"));
  if (filledIn() !== before) return;
  sayRead(form, amount !== null);
  const text = amount === null ? otherwise : unitsText(amount);
  if (text !== undefined) form.elements.amount.value = text;
}

async function attempt(read, address, outcome) {
  try {
    return await read(address, outcome);
  } catch {
    return null;
  }
}

function take(amount) {
  form.elements.amount.value = unitsText(amount);
  quoteAnew(0);
}

async function held(address, outcome) {
  const row = await position(address, market);
  return row?.[outcome === "YES" ? "yes" : "no"] ?? 0n;
}

async function available(side, outcome) {
  const { address } = wallet();
  const of = `${address} ${side} ${outcome}`;
  if (known?.of === of) return known;
  const before = changes;
  const read = { of, ...(await (side === "sell" ? sellable(address, outcome) : spendable(address))) };
  if (changes === before) known = read;
  return read;
}

const sellable = async (address, outcome) => ({ amount: await held(address, outcome), extra: 0n });

async function spendable(address) {
  const [amount, mine] = await Promise.all([balance(address), position(address, market)]);
  return { amount, extra: mine ? SIGNATURE_FEE : SIGNATURE_FEE + POSITION_RENT };
}

async function show() {
  const [side, outcome, amount] = [chosen("side"), chosen("outcome"), units(chosen("amount"))];
  const request = ++lastRequest;
  let lines = [];
  let has = null;
  let extra = 0n;
  let isOutage = false;
  let reason = amount ? "" : noAmount();
  try {
    if (wallet()) ({ amount: has, extra } = await available(side, outcome));
    if (side === "sell") reason = whyNotSell(amount, outcome, has ?? 0n) || reason;
    if (!reason) {
      const much = side === "buy" ? { max_cost: amount } : { shares: amount };
      const quote = await api.get("/api/markets/{key}/quote", { path: { key: market }, query: { side, outcome, ...much } });
      if (side === "buy") reason = whyNotBuy(quote, has, extra);
      lines = side === "buy" ? bought(quote) : sold(quote);
      if (request === lastRequest) quoted = { of: order(side, outcome, amount), bound: boundOf(quote) };
    }
  } catch (problem) {
    reason = words(problem);
    isOutage = isTransient(problem);
  }
  if (request !== lastRequest || !form.isConnected) return;
  if (isOutage) soon(RETRY_MS);
  showHeld(side, outcome, has);
  form.querySelector("[data-quote]").replaceChildren(...(reason ? [element("dt", { class: "whole why" }, reason)] : []), ...lines);
  sendButton().textContent = `${side === "buy" ? "Buy" : "Sell"} ${outcome}`;
  sendButton().disabled = Boolean(reason) || form.hasAttribute("aria-busy");
}

function showHeld(side, outcome, has) {
  form.querySelector("[data-held]").hidden = has === null;
  if (has === null) return;
  form.querySelector("[data-held-name]").textContent = side === "buy" ? "Balance" : "You hold";
  form.querySelector("[data-held-amount]").textContent = side === "buy" ? `${sol(has)} SOL` : `${shares(has)} ${outcome} shares`;
}

// The reason why nobody should, or this wallet cannot, make the quoted purchase. Without a wallet its balance is unknown.
function whyNotBuy(quote, has, extra) {
  if (quote.shares === 0n) return "This amount buys no shares: enter a larger one.";
  if (form.dataset.model === "reference" && quote.total >= quote.shares) {
    return "You would pay more than the most that it can pay: a share pays 1 SOL if it wins, and nothing if not.";
  }
  if (has === null) return "";
  const left = has - quote.total - extra;
  if (left === 0n || left >= WALLET_RENT) return "";
  const most = has > FEE_RESERVE ? ": Max leaves enough for it" : "";
  if (quote.total > has) return `This costs ${sol(quote.total)} SOL, and the wallet has ${sol(has)}.`;
  if (quote.total + SIGNATURE_FEE > has) return `This costs all of the wallet's ${sol(has)} SOL, and the network takes a fee${most}.`;
  return `This leaves less of the wallet's ${sol(has)} SOL than the network asks for a fee and for rent${most}.`;
}

function whyNotSell(amount, outcome, mine) {
  if (form.dataset.model === "v069") return "This program (v0.69) cannot pay for shares that are sold.";
  if (!amount || amount <= mine) return "";
  return mine > 0n ? `You hold ${shares(mine)} ${outcome} shares.` : `You hold no ${outcome} shares.`;
}

const bought = (quote) => [
  ...line("You get", `${shares(quote.shares)} ${quote.outcome} shares`),
  ...(quote.min_shares == null ? [] : line("At least", `${shares(quote.min_shares)} ${quote.outcome} shares`)),
  ...common(quote),
  ...line("Fees, included", feesOf(quote)),
  ...(form.dataset.model === "reference" ? line(`Payout if ${quote.outcome}`, payoutOf(quote)) : []),
];

const sold = (quote) => [
  ...line("You get", `${sol(quote.total)} SOL`),
  ...line("At least", `${sol(quote.min_proceeds)} SOL`),
  ...common(quote),
  ...line("Fees, deducted", feesOf(quote)),
];

const common = (quote) => [
  ...line("Average price", `${Number(quote.average_price).toFixed(3)} SOL`),
  ...line("Price impact", impact(quote.price_impact_percent)),
  ...line("YES after", `${cents(quote.price_yes_after)}%`),
];

// With the rate of the fees on the price before them, and with what a purchase gains if its outcome wins.
const feesOf = ({ fees, cost }) => `${sol(fees.total)} SOL${cost > 0n ? ` (${rate(fees.total, cost).toFixed(1)}%)` : ""}`;
const payoutOf = ({ shares: won, total }) => `${sol(won)} SOL${total > 0n ? ` (${signed(rate(won - total, total).toFixed(0))}%)` : ""}`;
const rate = (part, whole) => Number((part * 10000n) / whole) / 100;
const signed = (percent) => (Number(percent) > 0 ? `+${percent}` : Number(percent) < 0 ? percent.replace("-", "−") : "0");

const impact = (percent) => `${percent > 0 ? "+" : percent < 0 ? "−" : ""}${Math.abs(percent).toFixed(2)}%`;
const line = (name, text) => [element("dt", {}, name), element("dd", {}, text)];
