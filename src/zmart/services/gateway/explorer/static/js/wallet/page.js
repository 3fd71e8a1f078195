// The demo wallet in the page: shows itself, and executes the forms of the market and of the proposal.
import { element } from "../dom.js";
import { short, sol } from "../numbers.js";
import * as acts from "./acts.js";
import { Refused, get } from "./api.js";
import * as keys from "./keys.js";
import { amountOf, bodyOf, quoteAgain, watchTrade } from "./trade.js";

const REFILL_BELOW = 5e9;
const { program } = document.querySelector('meta[name="zmart-local"]').dataset;
let wallet = null;

const part = () => document.querySelector("[data-part]");
const market = () => document.querySelector("[data-market]")?.dataset.market;

// The wallet of this browser; the first click that needs one makes it and fills it.
async function ready(say) {
  if (wallet) return wallet;
  say("Making a wallet in this browser…");
  const made = await keys.make();
  say("Asking the local chain for play money…");
  await acts.fund(made);
  wallet = made;
  return wallet;
}

async function showBalance() {
  for (const spot of document.querySelectorAll("[data-no-wallet]")) spot.hidden = Boolean(wallet);
  for (const spot of document.querySelectorAll("[data-has-wallet]")) spot.hidden = !wallet;
  if (!wallet) return;
  const lamports = await acts.balance(wallet).catch(() => null);
  const amount = lamports === null ? "?" : sol(lamports);
  const balanceLink = document.querySelector("[data-wallet-link]");
  balanceLink.hidden = false;
  balanceLink.href = `/wallets/${wallet.address}`;
  balanceLink.title = `Demo wallet ${wallet.address}`;
  balanceLink.replaceChildren(element("span", {}, short(wallet.address)), ` ${amount} SOL`);
  for (const link of document.querySelectorAll("[data-address]")) {
    link.href = balanceLink.href;
    link.textContent = short(wallet.address);
  }
  for (const spot of document.querySelectorAll("[data-balance]")) spot.textContent = amount;
  for (const button of document.querySelectorAll("[data-refill]")) button.hidden = lamports === null || lamports >= REFILL_BELOW;
}

function mount() {
  for (const spot of document.querySelectorAll("[data-needs-script], [data-comment]")) spot.hidden = false;
  watchTrade(document.querySelector("[data-trade]"), market(), () => wallet);
  showBalance();
}

// Shows a message beside the form, also to screen readers, with a link to the transaction.
function sayer(form) {
  const spot = (form.closest("[data-part], [data-comment], [data-propose]") ?? form).querySelector("[data-status]");
  return (text, { bad = false, signature } = {}) => {
    spot.classList.toggle("bad", bad);
    spot.replaceChildren(text);
    if (signature) spot.append(" ", element("a", { href: `/transactions/${signature}` }, "See the transaction"));
  };
}

async function execute(form, button) {
  const say = sayer(form);
  const act = ACTS.find(([attribute]) => attribute in form.dataset)?.[1];
  const buttons = form.querySelectorAll("button");
  buttons.forEach((each) => (each.disabled = true));
  form.setAttribute("aria-busy", "true");
  try {
    await act(form, await ready(say), say, button);
    document.dispatchEvent(new CustomEvent("zmart:acted"));
  } catch (problem) {
    say(problem.message, { bad: true });
  } finally {
    buttons.forEach((each) => (each.disabled = false));
    form.removeAttribute("aria-busy");
    quoteAgain(); // which says whether another trade can be made
    showBalance();
  }
}

async function vote(form, mine, say, button) {
  say("Signing your vote…");
  const { receipt } = await acts.vote(mine, program, market(), form.dataset.vote, button.value);
  say(`Your vote counts. It is number ${receipt.index + 1} in the market's log.`);
}

async function trade(form, mine, say) {
  const amount = amountOf(form);
  if (!amount) throw new Error("Enter an amount, such as 0.5.");
  const { path, body } = bodyOf(form, market(), amount);
  say("Signing and sending…");
  const { quote, signature } = await acts.transact(mine, path, body);
  const did = quote.side === "buy" ? "Bought" : "Sold";
  say(`${did} ${(quote.shares / 1e9).toFixed(2)} ${quote.outcome} for ${sol(quote.total)} SOL.`, { signature });
}

async function transact(form, mine, say) {
  if ("creatorsOnly" in form.dataset && part().dataset.creator !== mine.address) {
    throw new Error("Only the creator of this market can do that, and this demo wallet is not.");
  }
  say("Signing and sending…");
  const { signature, payout } = await acts.transact(mine, form.dataset.transact, "claim" in form.dataset ? { market_id: market() } : {});
  say(payout ? `${sol(payout)} SOL are yours.` : "Done.", { signature });
}

async function comment(form, mine, say) {
  const content = new FormData(form).get("content").trim();
  if (!content) throw new Error("The comment is empty.");
  say("Signing in and sending…");
  await acts.comment(mine, market(), content);
  form.reset();
  say("Comment posted.");
}

async function propose(form, mine, say) {
  const given = new FormData(form);
  const ends = new Date(Date.now() + Number(given.get("days")) * 86400000);
  say("Storing the question on IPFS, signing and sending…");
  const made = await acts.transact(mine, "/api/markets", {
    question: given.get("question"),
    description: given.get("description"),
    category: given.get("category"),
    end_date: ends.toISOString(),
    b_parameter: 20e9,
    initial_liquidity: 15e9,
  });
  say("On chain. Waiting for the index…");
  const seen = () => get(`/api/markets/${made.market_id}`).catch((problem) => {
    if (problem instanceof Refused && problem.status === 404) return null;
    throw problem;
  });
  await acts.until(seen, "The market");
  location.assign(`/markets/${made.market_id}`);
}

async function refill(button) {
  const say = sayer(button.closest("[data-part]"));
  button.disabled = true;
  try {
    say("Asking the local chain for play money…");
    await acts.fund(wallet);
    say("The play money is here.");
  } catch (problem) {
    say(problem.message, { bad: true });
  }
  button.disabled = false;
  showBalance();
}

const ACTS = [["vote", vote], ["trade", trade], ["transact", transact], ["comment", comment], ["propose", propose]];

document.addEventListener("submit", (event) => {
  if (!ACTS.some(([attribute]) => attribute in event.target.dataset)) return;
  event.preventDefault();
  execute(event.target, event.submitter);
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-refill]");
  if (button) refill(button);
});
document.addEventListener("zmart:renewed", mount);

keys.load().then((loaded) => (wallet = loaded)).catch(() => {}).finally(mount);
