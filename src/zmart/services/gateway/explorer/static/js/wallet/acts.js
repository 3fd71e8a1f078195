// What a wallet can do in the life of a market. Each act says how far it is, and returns the sentence that ends it.
import { ZmartError, encodeBase58 } from "../../client/zmart-client.js";
import { shares, sol, units, whyNoAmount } from "../numbers.js";
import { api, chainNow, site, withSession, words } from "./api.js";
import { sent } from "./comments.js";

const POLL_MS = 300;
const INDEXED_WITHIN_MS = 30000;
const SIGNATURE_END = 65;
const UNSEEN_MS = 8000;
const DEPOSIT_PER_B = 0.75; // the program needs ln 2 of b, rounded up

// The wallet, which says what it waits for; `seen` is told the signature of a transaction before it is sent.
function following(signer, say, seen) {
  const mine = {
    address: signer.address,
    async signMessage(message) {
      say("Sign the message in your wallet…");
      const signature = await signer.signMessage(message);
      say("Sending…");
      return signature;
    },
    async signTransaction(transaction) {
      say("Approve the transaction in your wallet…");
      const signed = await signer.signTransaction(transaction);
      seen(encodeBase58(signed.subarray(1, SIGNATURE_END)));
      say("Sent. Waiting for confirmation…");
      return signed;
    },
  };
  if (signer.signAndSendTransaction) mine.signAndSendTransaction = sending(signer, say, seen);
  return mine;
}

const sending = (signer, say, seen) => async (transaction) => {
  say("Approve the transaction in your wallet, which sends it…");
  const signature = await signer.signAndSendTransaction(transaction);
  seen(signature);
  say("Sent by your wallet. Waiting for confirmation…");
  return signature;
};

async function transact(signer, say, path, input) {
  let signature = "";
  let late = 0;
  const mine = following(signer, say, (sent) => {
    signature = sent;
    if (signer.signAndSendTransaction) late = setTimeout(() => say(`Not confirmed yet. Is your wallet set to ${site.chain}?`), UNSEEN_MS);
  });
  try {
    return await withSession(mine, () => api.transact(mine, path, input));
  } catch (problem) {
    throw problem.code === "TransactionNotSeen" ? problem : withSignature(problem, signature);
  } finally {
    clearTimeout(late);
  }
}

// A wallet may throw anything, such as a text.
function withSignature(problem, signature) {
  if (Object.isExtensible(problem)) return Object.assign(problem, { signature });
  return Object.assign(new Error(String(problem?.message ?? problem ?? "")), { code: problem?.code, signature });
}

const done = (text, { signature }) => ({ text, signature });
const onMarket = (market) => ({ path: { key: market } });

export async function vote({ signer, say, market, button }) {
  const { receipt } = await api.vote(following(signer, say), { market, choice: button.value });
  return { text: `Your vote counts. It is number ${receipt.index + 1} in the market's log.` };
}

export async function trade({ order: { path, body }, signer, say }) {
  const made = await transact(signer, say, path, { body });
  const { quote } = made;
  const did = quote.side === "buy" ? "Bought" : "Sold";
  return done(`${did} ${shares(quote.shares)} ${quote.outcome} for ${sol(quote.total)} SOL.`, made);
}

export async function activate({ signer, say, market }) {
  return done("Activated: the market is open for trading.", await transact(signer, say, "/api/markets/{key}/activate", onMarket(market)));
}

export async function resolve({ form, signer, say, market }) {
  const given = new FormData(form);
  const outcome = given.get("proposed");
  const body = { outcome: outcome === "YES", evidence: given.get("evidence").trim() };
  return done(`You proposed ${outcome}.`, await transact(signer, say, "/api/markets/{key}/resolve", { ...onMarket(market), body }));
}

// The reason becomes a comment, once the dispute is on chain.
export async function dispute({ form, signer, say, market }) {
  const reason = new FormData(form).get("reason").trim();
  if (!reason) throw new Error("Say why the outcome is wrong.");
  const made = await transact(signer, say, "/api/markets/{key}/dispute", onMarket(market));
  try {
    await comment({ signer, say, market, content: `Disputed: ${reason}` });
  } catch (problem) {
    const failure = new ZmartError("ReasonNotPosted", `Disputed, but the reason was not posted: ${words(problem)}`);
    throw withSignature(failure, made.signature); // to dispute again would fail
  }
  return done("Disputed. The vote on the outcome has begun.", made);
}

export async function claim({ signer, say, market }) {
  const made = await transact(signer, say, "/api/trades/claim", { body: { market_id: market } });
  return done(`Claimed ${sol(made.payout)} SOL.`, made);
}

export async function withdraw({ signer, say, market }) {
  const made = await transact(signer, say, "/api/trades/withdraw", { body: { market_id: market } });
  return done(`Withdrew ${sol(made.amount)} SOL.`, made);
}

export async function comment({ form, signer, say, market, content }) {
  const written = form?.elements.content.value;
  const text = content ?? written.trim();
  if (!text) throw new Error("The comment is empty.");
  const mine = following(signer, say);
  const parent = form?.elements.parent.value || undefined;
  const body = { market_id: market, content: text, ...(parent ? { parent_id: parent } : {}) };
  await withSession(mine, () => api.post("/api/discussions", { body }));
  if (form) sent(written, parent);
  return { text: parent ? "Reply posted." : "Comment posted." };
}

export async function remove({ signer, say, comment: id }) {
  await withSession(following(signer, say), () => api.delete("/api/discussions/{key}", { path: { key: id } }));
  return { text: "Comment deleted." };
}

export async function profile({ form, signer, say }) {
  const given = new FormData(form);
  const body = Object.fromEntries(["display_name", "bio", "twitter_handle"].map((name) => [name, given.get(name)]));
  await withSession(following(signer, say), () => api.put("/api/users/{wallet}", { path: { wallet: signer.address }, body }));
  return { text: "Profile saved." };
}

export async function propose({ form, signer, say }) {
  const given = new FormData(form);
  const deposit = units(given.get("liquidity"));
  if (!deposit) throw new Error(whyNoAmount(given.get("liquidity"), "Enter the liquidity in SOL, such as 15."));
  const made = await transact(signer, say, "/api/markets", {
    body: {
      question: given.get("question"),
      description: given.get("description"),
      category: given.get("category"),
      end_date: endOf(given.get("ends")).toISOString(),
      b_parameter: depth(deposit, BigInt(form.dataset.leastB)),
      initial_liquidity: deposit,
    },
  });
  say("Confirmed. Waiting for the index…");
  await indexed(made.market_id);
  location.assign(`/markets/${made.market_id}`);
  return done("Proposed.", made);
}

function depth(deposit, least) {
  const b = BigInt(Math.floor(Number(deposit) / DEPOSIT_PER_B));
  return b > least ? b : least;
}

// The last second of the day, where the reader is.
function endOf(day) {
  const ends = new Date(`${day}T23:59:59`);
  if (Number.isNaN(ends.getTime())) throw new Error("Enter the day on which the market ends.");
  if (ends.getTime() <= chainNow()) throw new Error("The market must end in the future, by the chain's clock.");
  return ends;
}

async function indexed(market) {
  for (const deadline = Date.now() + INDEXED_WITHIN_MS; Date.now() < deadline; ) {
    try {
      const { state } = await api.get("/api/markets/{key}", { path: { key: market } });
      if (state !== "DRAFT") return; // which its creator sees before the index has the market
    } catch (problem) {
      if (problem.status !== 404) throw problem;
    }
    await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
  throw new ZmartError("NotIndexed", "The market is on chain and not indexed yet: look for it in the list in a moment.");
}

export const ACTS = { vote, trade, activate, resolve, dispute, claim, withdraw, comment, propose, profile };
