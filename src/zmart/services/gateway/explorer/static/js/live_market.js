// One market as it changes: price, tape, votes, discussion. The page is complete without any of it.
import { drawChart } from "./chart.js";
import { element, gauge, glow, put, rendered, state } from "./dom.js";
import { follow } from "./feed.js";
import { cents, count, shares, short, sol } from "./numbers.js";
import { time } from "./times.js";
import { dropComment } from "./wallet/comments.js";

const LONGEST_LIST = 50;
const RETRY_MS = 2000;
const ENDED = ["FINALIZED", "CANCELLED"];
const root = document.querySelector("article[data-market]");
const id = root.dataset.market;
const chart = drawChart(root, id);

function market({ data }) {
  const now = data.market;
  if (!now) return;
  put(root, "price", cents(now.current_price_yes));
  put(root, "price-yes", cents(now.current_price_yes));
  put(root, "price-no", cents(now.current_price_no));
  put(root, "volume", sol(now.total_volume));
  put(root, "pool", sol(now.current_liquidity));
  put(root, "shares-yes", shares(now.shares_yes));
  put(root, "shares-no", shares(now.shares_no));
  put(root, "trades", count(now.trades_count));
  put(root, "traders", count(now.traders));
  const part = root.querySelector("[data-part]");
  const moved = state(root, now.state) || (part && part.dataset.part !== now.state);
  if (moved) renew(["outcome", "ballots", "facts", "life", "part", "holders"]);
  else if (ENDED.includes(now.state)) renew(["facts", "life", "part", "holders"]); // a claim or a withdrawal
  document.dispatchEvent(new CustomEvent("zmart:price"));
}

const walletLink = (address) => element("a", { class: "mono", href: `/wallets/${address}`, title: address }, short(address));

function trade({ data }) {
  if (data.action === "deleted") return withdrawn(data);
  if (data.action !== "created") return;
  holdersMoved();
  chart.push(data);
  const tape = root.querySelector("[data-tape]");
  if (!tape || tape.querySelector(`[data-id="${data.id}"]`)) return;
  const side = element("span", { class: data.outcome.toLowerCase() }, `${data.trade_type} ${data.outcome}`);
  const proof = element(
    "a",
    { class: "mono", href: `/transactions/${data.tx_signature}`, title: `Transaction ${data.tx_signature}` },
    `${data.tx_signature.slice(0, 6)}…`,
  );
  const row = element("tr", { "data-id": data.id });
  const figures = { Shares: shares(data.shares), SOL: sol(data.cost), "YES after": `${cents(data.price_after)}%` };
  const cell = (label, content, kind) => element("td", { "data-label": label, class: kind }, content);
  row.append(cell("Time", time(data.created_at)), cell("Trade", side));
  row.append(...Object.entries(figures).map(([label, text]) => cell(label, text, "n")));
  row.append(cell("Wallet", walletLink(data.user_wallet)), cell("Transaction", proof));
  begin(tape, row, "no-tape");
  root.querySelector("[data-tape-box]").hidden = false;
}

// The transaction of a trade has left the chain; it may come back, as another trade.
function withdrawn({ id: trade }) {
  holdersMoved();
  chart.reread();
  const row = root.querySelector(`#trades tr[data-id="${CSS.escape(trade)}"]`);
  const list = row?.parentElement;
  row?.remove();
  if (!list || list.children.length > 0 || root.querySelector("#trades .pages")) return;
  root.querySelector("[data-no-tape]").hidden = false;
  root.querySelector("[data-tape-box]").hidden = true;
}

function vote({ data }) {
  const ballot = root.querySelector(`[data-ballot="${data.vote_type}"]`);
  if (!ballot || !data.tally) return;
  const { for: likes, against, total } = data.tally;
  const bps = total ? Math.floor((likes * 10000) / total) : 0;
  put(ballot, "for", String(likes));
  put(ballot, "against", String(against));
  put(ballot, "total", `${total} ${total === 1 ? "vote" : "votes"}`);
  put(ballot, "share", bps % 100 ? (bps / 100).toFixed(2) : String(bps / 100));
  gauge(ballot, bps / 100);
}

function discussion({ data }) {
  const talk = root.querySelector("[data-talk]");
  const comment = data.discussion;
  if (data.action === "deleted") dropComment(comment.id);
  if (!talk || data.action !== "created" || talk.querySelector(`[data-id="${comment.id}"]`)) return;
  const thread = comment.parent_id && talk.querySelector(`[data-id="${comment.parent_id}"]`)?.closest("[data-talk] > .comment");
  const made = commentOf(comment, Boolean(comment.parent_id) && !thread);
  if (thread) thread.querySelector("[data-replies]").append(made);
  else begin(talk, made, "no-talk");
  if (thread) glow(made);
  document.dispatchEvent(new CustomEvent("zmart:comment"));
}

function commentOf(comment, isOrphan) {
  const by = element("p", { class: "by" }, walletLink(comment.user_wallet), " ", time(comment.created_at), isOrphan ? " · a reply " : " ");
  const button = (name, text) => element("button", { type: "button", class: "plain", [`data-${name}`]: "", hidden: "" }, text);
  by.append(button("reply", "Reply"), " ", button("delete", "Delete"));
  const replies = element("ol", { class: "replies", "data-replies": "" });
  const about = { class: "comment", id: `comment-${comment.id}`, "data-id": comment.id, "data-author": comment.user_wallet };
  const tabindex = comment.content.split("\n").length > 25 ? "0" : undefined; // it scrolls, as the server renders it
  return element("li", about, element("p", { tabindex }, comment.content), by, replies);
}

function begin(list, item, emptiness) {
  list.prepend(item);
  glow(item);
  if (list.children.length > LONGEST_LIST) list.lastElementChild.remove();
  root.querySelector(`[data-${emptiness}]`).hidden = true;
}

// What depends on more than one message is fetched again as the server renders it.
let renewing = null;
function renew(names, waitMs = 200 + Math.random() * 600) {
  renewing ??= { names: new Set(), timer: setTimeout(replace, waitMs) };
  for (const name of names) renewing.names.add(name);
}

// Whether users can still vote or dispute, or can again, is the server's to say. It is asked at growing intervals, and the
// panel is replaced only if it says something else: what is being written in it stays.
const FIRST_DOUBT_MS = 3000;
const LONGEST_DOUBT_MS = 60000;
let doubtMs = FIRST_DOUBT_MS;
let nextLook = 0;
document.addEventListener("zmart:deadline", async () => {
  nextLook ||= Date.now() + Math.random() * FIRST_DOUBT_MS; // all open pages come to an end at the same moment
  if (Date.now() < nextLook) return;
  nextLook = Date.now() + doubtMs * (0.5 + Math.random());
  doubtMs = Math.min(doubtMs * 2, LONGEST_DOUBT_MS);
  const now = (await rendered())?.querySelector("[data-part]");
  if (!now || now.dataset.over === root.querySelector("[data-part]").dataset.over) return;
  doubtMs = FIRST_DOUBT_MS;
  renew(["part", "ballots"], 0);
});

// The largest holders depend on many trades: a visible page fetches them once for the trades of some seconds.
let asking = false;
function holdersMoved() {
  if (asking) return;
  asking = true;
  setTimeout(() => {
    asking = false;
    if (document.hidden) document.addEventListener("visibilitychange", holdersMoved, { once: true });
    else renew(["holders"]);
  }, 3000 + Math.random() * 6000);
}

async function replace() {
  const { names } = renewing;
  renewing = null;
  const fresh = await rendered();
  if (!fresh) return renew(names, RETRY_MS * (1 + Math.random()));
  const { aheadS } = fresh.querySelector('meta[name="zmart-site"]').dataset;
  document.querySelector('meta[name="zmart-site"]').dataset.aheadS = aheadS;
  for (const name of names) {
    const now = fresh.querySelector(`[data-renewed="${name}"]`);
    const before = document.querySelector(`[data-renewed="${name}"]`);
    if (!now || !before) continue;
    // what was just said of an act stays
    const status = name === "part" && before.querySelector("[data-status]");
    if (status) now.querySelector("[data-status]").replaceWith(status);
    before.replaceWith(document.adoptNode(now));
  }
  document.dispatchEvent(new CustomEvent("zmart:renewed"));
}

function link(isUp) {
  const spot = root.querySelector("[data-link]");
  spot.textContent = isUp ? "live" : "reconnecting";
  spot.classList.toggle("up", isUp);
}

const HANDLERS = { market_state: market, trade, vote, discussion };
follow({
  message: (data) => HANDLERS[data.type]?.(data),
  link,
  gap: () => (root.querySelector("[data-gap]").hidden = false),
});
document.addEventListener("zmart:acted", () => renew(["holders"]));
