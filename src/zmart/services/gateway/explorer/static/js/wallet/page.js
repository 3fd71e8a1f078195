// The wallet in the page: executes the forms of a market's life, and shows what the wallet has and may do.
import { element } from "../dom.js";
import { gain, shares, sol } from "../numbers.js";
import { position } from "./account.js";
import { ACTS, remove } from "./acts.js";
import { api, chainNow, isTransient, site, words } from "./api.js";
import { chosen, showWallet } from "./chooser.js";
import { dropComment, isSure, replyTo, showComments } from "./comments.js";
import { connect, signer, usable } from "./connection.js";
import { countDown } from "./countdown.js";
import { UNREAD, sayer } from "./status.js";
import { bodyOf, quoteAgain, quoteAnew, watchTrade } from "./trade.js";

const MONTH_MS = 30 * 86400000;
const PRICE_REST_MS = 2000;
const RETRY_MS = 2000;
const LONGEST_RETRY_MS = 60000;
const part = () => document.querySelector("[data-part]");
const market = () => document.querySelector("article[data-market]")?.dataset.market;
const nameOf = (form) => Object.keys(ACTS).find((name) => name in form.dataset);

// The connected wallet. In the local stack a browser without a wallet of its own gets the demo wallet.
async function ready(say) {
  if (signer()) return signer();
  const wallets = usable();
  if (!site.local || wallets.length !== 1) return chosen();
  say("Making a wallet in this browser, with play money of the local chain…");
  return connect(wallets[0]);
}

async function execute(form, button) {
  const say = sayer(form);
  const buttons = form.querySelectorAll("button");
  buttons.forEach((each) => (each.disabled = true));
  form.setAttribute("aria-busy", "true");
  try {
    const order = nameOf(form) === "trade" ? bodyOf(form, market()) : null; // as it is now, however long connecting takes
    const act = { form, button, say, order, signer: await ready(say), market: market() };
    const { text, signature } = await ACTS[nameOf(form)](act);
    say(text, { signature });
    document.dispatchEvent(new CustomEvent("zmart:acted"));
  } catch (problem) {
    say(words(problem), { bad: true, signature: problem.signature });
  }
  buttons.forEach((each) => (each.disabled = false));
  form.removeAttribute("aria-busy");
  if (nameOf(form) === "trade") quoteAnew();
  showAll();
}

function showAll() {
  quoteAgain(); // which says whether another trade can be made
  showWallet();
  showMine();
  showOwn();
}

// What only the wallet itself may do: delete its comments, change its profile, see its portfolio.
function showOwn() {
  const address = signer()?.address;
  showComments(address);
  const form = document.querySelector("[data-profile]");
  if (form) form.hidden = !address || form.dataset.profile !== address;
  if (address && document.querySelector("[data-portfolio]")) location.replace(`/wallets/${address}`);
}

function mount() {
  for (const spot of document.querySelectorAll("[data-needs-script]")) spot.inert = false;
  watchTrade(document.querySelector("[data-trade]"), market(), signer);
  countDown();
  showAll();
}

// What this wallet has in the market, and what it alone may do. A failed read does not say that it has nothing: what is
// on the page of this wallet stays, and it is read again after a growing pause.
let lastLook = 0;
let lastAnswered = 0;
let pauseMs = RETRY_MS;
let retry = 0;
async function showMine() {
  if (!part()) return;
  const address = signer()?.address;
  const look = ++lastLook;
  clearTimeout(retry);
  offer(address);
  forgetOthers(address);
  const { value: held, problem } = address ? await read(position(address, market())) : { value: null };
  if (address !== signer()?.address || look < lastAnswered) return;
  lastAnswered = look;
  showUnread(Boolean(problem));
  if (problem) return lookLater(problem.retryAfterMs);
  showPosition(held);
  showClaim(address, held);
  if (await showSales(held)) pauseMs = RETRY_MS;
  else lookLater();
}

const read = (answer) => answer.then((value) => ({ value }), (problem) => ({ problem }));

function lookLater(leastMs = 0) {
  clearTimeout(retry);
  retry = setTimeout(showMine, Math.max(leastMs, pauseMs * (0.5 + Math.random())));
  pauseMs = Math.min(pauseMs * 2, LONGEST_RETRY_MS);
}

// What the page says of another wallet, or of one that was disconnected.
function forgetOthers(address = "") {
  const list = part().querySelector("[data-mine]");
  if ((list.dataset.wallet ?? "") === address) return;
  list.dataset.wallet = address;
  pauseMs = RETRY_MS;
  showUnread(false);
  showPosition(null);
  showClaim(undefined, null);
}

function showUnread(isUnread) {
  const claimable = part().querySelector("[data-claimable]");
  if (claimable && isUnread) claimable.textContent = UNREAD;
  const note = part().querySelector("[data-unread]");
  if (!note) return; // as an older release renders it
  note.textContent = UNREAD;
  note.hidden = !isUnread || Boolean(claimable);
}

function offer(address) {
  const { creator } = part().dataset;
  const activation = part().querySelector("[data-activate]");
  if (activation) {
    const isOther = Boolean(address) && address !== creator;
    activation.querySelector("button").disabled = isOther || activation.hasAttribute("aria-busy");
    activation.querySelector("[data-not-for]").hidden = !isOther;
  }
  const withdrawal = part().querySelector("[data-withdraw]");
  if (!withdrawal) return;
  const { owed } = withdrawal.dataset; // the resolver, to whom the market may owe something: only the chain knows
  withdrawal.hidden = !address || ![creator, owed].includes(address);
  if (address === owed) withdrawal.querySelector("button").disabled = withdrawal.hasAttribute("aria-busy");
}

// Another's trade changes what the wallet's shares are worth and bring.
let looksAgain = 0;
document.addEventListener("zmart:price", () => {
  if (looksAgain || document.hidden || !signer()) return;
  looksAgain = setTimeout(() => { looksAgain = 0; showMine(); }, PRICE_REST_MS);
});

const sidesOf = (held) => (held ? [["YES", held.yes], ["NO", held.no]].filter(([, amount]) => amount > 0n) : []);

// What a sale of all shares of an outcome brings now: less than their value, since it moves the price and pays fees.
// False if it cannot be read.
async function showSales(held) {
  const list = part()?.querySelector("[data-mine]");
  if (!list || part().querySelector("[data-trade]")?.dataset.model !== "reference") return true;
  const before = list.lastElementChild;
  const lines = [];
  let isRead = true;
  for (const [outcome, amount] of sidesOf(held)) {
    const query = { side: "sell", outcome, shares: amount };
    const { value: quote, problem } = await read(api.get("/api/markets/{key}/quote", { path: { key: market() }, query }));
    if (problem && !isTransient(problem)) continue; // the program would refuse the sale, as of too few shares
    isRead &&= !problem;
    const text = problem ? "cannot be read now" : `${sol(quote.total)} SOL`;
    lines.push(element("dt", {}, `${outcome} sells for`), element("dd", {}, text));
  }
  if (list.lastElementChild === before) list.append(...lines); // else the list is another one's by now
  return isRead;
}

function showPosition(held) {
  const list = part().querySelector("[data-mine]");
  const sides = sidesOf(held);
  list.hidden = sides.length === 0;
  if (list.hidden) return;
  const lines = [...sides.map(([side, amount]) => [`Your ${side}`, `${shares(amount)} shares`])];
  lines.push(["Value", `${sol(held.value)} SOL`], ["Profit", `${gain(held.profit)} SOL`]);
  list.replaceChildren(...lines.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
}

function showClaim(address, held) {
  const form = part().querySelector("[data-claim]");
  if (!form) return;
  const spot = form.querySelector("[data-claimable]");
  spot.dataset.unconnected ??= spot.textContent;
  spot.textContent = address ? claimOf(held) : spot.dataset.unconnected;
  form.querySelector("button").disabled = form.hasAttribute("aria-busy") || (Boolean(address) && !held?.value);
}

function claimOf(held) {
  if (!held) return "This wallet never traded in this market.";
  if (held.value) return `This wallet can claim ${sol(held.value)} SOL.`;
  return "This wallet has nothing to claim: it holds no winning shares, or has claimed them.";
}

async function refill(button) {
  const say = sayer(button.closest("[data-part]"));
  button.disabled = true;
  try {
    say("Asking the local chain for play money…");
    await api.faucet(signer().address);
    say("The play money is here.");
  } catch (problem) {
    say(words(problem), { bad: true });
  }
  button.disabled = false;
  showAll();
}

document.addEventListener("submit", (event) => {
  if (!nameOf(event.target)) return;
  event.preventDefault();
  execute(event.target, event.submitter);
});
async function removeComment(button) {
  const say = sayer(document.querySelector("[data-comment]"));
  if (!isSure(button)) return;
  button.disabled = true;
  const { id } = button.closest(".comment").dataset;
  try {
    const { text } = await remove({ signer: signer(), say, comment: id });
    dropComment(id);
    say(text);
  } catch (problem) {
    say(words(problem), { bad: true });
  }
  button.disabled = false;
}

async function share(button) {
  const url = `${location.origin}${location.pathname}`;
  if (navigator.share) {
    await navigator.share({ title: document.title, url }).catch(() => {});
    return;
  }
  await navigator.clipboard.writeText(url);
  button.textContent = "Link copied";
}

const PRESSED = {
  refill,
  delete: removeComment,
  reply: (button) => replyTo(button.closest(".comment")),
  "no-reply": () => replyTo(null),
  share,
  choose: () => chosen().catch(() => {}),
};
document.addEventListener("click", (event) => {
  for (const [name, act] of Object.entries(PRESSED)) {
    const button = event.target.closest(`[data-${name}]`);
    if (button) act(button);
  }
});
document.addEventListener("zmart:comment", () => showComments(signer()?.address));
document.addEventListener("zmart:renewed", mount);
document.addEventListener("zmart:wallet", showAll);

// A month from now, by the chain's clock, and no day that is over.
const ends = document.querySelector("[data-propose] [name=ends]");
if (ends) {
  const day = (ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 60000).toISOString().slice(0, 10); // the reader's
  ends.min = day(chainNow());
  ends.value = day(chainNow() + MONTH_MS);
}
mount();
