// The API as the demo wallet calls it; every failure is an Error whose message is a sentence for people.
import { encode } from "./base58.js";

const SESSION_AS = "zmart-demo-session";
const utf8 = new TextEncoder();

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export async function call(method, path, body, token) {
  const headers = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (token) headers.authorization = `Bearer ${token}`;
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Refused("The server does not answer. Is the stack still running?", 0);
  }
  const content = await answer.json().catch(() => ({}));
  if (answer.ok) return content;
  const wrong = answer.status === 400 ? content.details?.map((detail) => detail.message).join(" ") : "";
  const reason = wrong || content.message || `The server answered ${answer.status}.`;
  throw new Refused(sentence(reason), answer.status);
}

// "SlippageExceeded: the price moved" without the program's own name of it.
function sentence(reason) {
  const text = reason.replace(/^[A-Z][a-z]+[A-Z]\w*: /, "");
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

export const get = (path) => call("GET", path);

// With the wallet's session, signed in where there is none or it has ended.
export async function post(wallet, path, body) {
  try {
    return await call("POST", path, body, await session(wallet));
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    sessionStorage.removeItem(SESSION_AS);
    return call("POST", path, body, await session(wallet));
  }
}

export async function signText(wallet, text) {
  return encode(await wallet.sign(utf8.encode(text)));
}

// Sign-In With Solana.
async function session(wallet) {
  const stored = JSON.parse(sessionStorage.getItem(SESSION_AS) ?? "null");
  if (stored?.wallet === wallet.address && Date.parse(stored.expires_at) > Date.now() + 30000) return stored.token;
  const { message } = await call("POST", "/api/auth/nonce", { wallet: wallet.address });
  const signature = await signText(wallet, message);
  const given = await call("POST", "/api/auth/verify", { wallet: wallet.address, message, signature });
  sessionStorage.setItem(SESSION_AS, JSON.stringify({ ...given, wallet: wallet.address }));
  return given.token;
}
