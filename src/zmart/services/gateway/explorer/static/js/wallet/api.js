// The API for the connected wallet: one client, its session, and every failure as a sentence for people.
import { ZmartClient, isDeclined } from "../../client/zmart-client.js";

const SESSION = "zmart-session";
const ENDING_MS = 30000;

export const site = document.querySelector('meta[name="zmart-site"]').dataset;
export const api = new ZmartClient(location.origin, { program: site.program });

// The chain's time, which on a local chain may be far ahead.
export const chainNow = () => Date.now() + Number(site.aheadS) * 1000;

// Do what needs the wallet's session: signed in where there is none, or where it has ended.
export async function withSession(signer, act) {
  const stored = JSON.parse(sessionStorage.getItem(SESSION) ?? "null");
  const isOpen = stored?.wallet === signer.address && Date.parse(stored.expires_at) > Date.now() + ENDING_MS;
  if (isOpen) api.token = stored.token;
  else await signIn(signer);
  try {
    return await act();
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    await signIn(signer);
    return act();
  }
}

async function signIn(signer) {
  api.token = "";
  const session = await api.signIn(signer);
  sessionStorage.setItem(SESSION, JSON.stringify(session));
}

export async function endSession() {
  const stored = sessionStorage.getItem(SESSION);
  sessionStorage.removeItem(SESSION);
  if (!stored) return;
  api.token = JSON.parse(stored).token;
  await api.signOut().catch(() => {}); // one that is not ended here ends by itself within the hour
  api.token = "";
}

const SENTENCES = {
  Unreachable: "The server does not answer. Try again in a moment.",
  TimedOut: "The server does not answer. Try again in a moment.",
  TransactionExpired: "The transaction expired before it landed. Nothing has happened: try again.",
  TransactionPending: "The transaction is in flight: it may still land.",
  TransactionNotSeen: `The wallet says that it sent the transaction, but it is not on this chain: set the wallet to ${site.chain}. Nothing has happened here.`,
  NoAccount: "The wallet gave this page no account. Unlock it and try again.",
};

// Whether the same request may succeed in a moment: the server was unavailable or busy.
export const isTransient = ({ status }) => status === 0 || status === 429 || status >= 500;

export function words(problem) {
  if (isDeclined(problem)) return "You declined it in the wallet. Nothing was sent.";
  const fields = problem?.status === 400 ? (problem.details ?? []) : [];
  return SENTENCES[problem?.code] ?? asSentence(fields.map(inWordsOfTheForm).join(" ") || problem?.message);
}

// "initial_liquidity must be at least 7000000 (0.007 SOL)" of the API as "Liquidity must be at least 0.007 SOL", by the label
// that the field has in the form under way.
function inWordsOfTheForm({ field, message }) {
  const form = document.querySelector("form[aria-busy]");
  const input = form?.querySelector(`[name="${CSS.escape(field)}"], [data-field~="${CSS.escape(field)}"]`);
  const text = message.replace(/\d+ \(([\d.,]+ SOL)\)/g, "$1").replace(/ for this b(?=\.)/, "");
  return input ? text.replaceAll(field, labelOf(input)) : text;
}

function labelOf(input) {
  const spot = input.type === "radio" ? input.closest("fieldset").querySelector("legend") : input.labels?.[0]?.firstChild;
  return input.dataset.label ?? spot?.textContent.split(",")[0].trim() ?? input.name;
}

// "SlippageExceeded: the price moved" without the program's own name of it.
function asSentence(reason) {
  const text = (reason || "The wallet failed without a reason.").replace(/^[A-Z][a-z]+[A-Z]\w*: /, "");
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}
