// What the demo wallet can do: get play money, vote, comment, and sign the transactions that the API builds.
import { call, get, post, signText } from "./api.js";

const POLL_MS = 250;
const TIMEOUT_MS = 20000;
const SIGNATURE_BYTES = 64;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export async function until(read, what) {
  const deadline = Date.now() + TIMEOUT_MS;
  for (;;) {
    const result = await read();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`${what} did not come within ${TIMEOUT_MS / 1000} seconds. Try again in a moment.`);
    await pause(POLL_MS);
  }
}

export const balance = async (wallet) => (await get(`/api/local/wallets/${wallet.address}`)).lamports;

export async function fund(wallet) {
  const before = await balance(wallet);
  await call("POST", "/api/local/faucet", { wallet: wallet.address });
  return until(async () => ((await balance(wallet)) > before ? balance(wallet) : 0), "The play money");
}

// A statement that anyone can check, signed here: no session and no trust in the server is needed.
export async function vote(wallet, program, market, kind, choice) {
  const statement = [
    "ZMART vote",
    `program: ${program}`,
    `market: ${market}`,
    `kind: ${kind}`,
    `choice: ${choice}`,
    `wallet: ${wallet.address}`,
    `issued: ${new Date().toISOString()}`,
  ].join("\n");
  const signature = await signText(wallet, statement);
  return call("POST", `/api/votes/${kind}`, { market_id: market, vote_choice: choice, wallet: wallet.address, statement, signature });
}

export const comment = (wallet, market, content) => post(wallet, "/api/discussions", { market_id: market, content });

// Ask for a transaction, sign it here, send it, wait for its result.
export async function transact(wallet, path, body) {
  const built = await post(wallet, path, body);
  if (!built.simulation.ok) {
    throw new Error(built.simulation.error?.message ?? "The chain would refuse this transaction.");
  }
  const transaction = await sign(wallet, built.transaction);
  const { signature } = await call("POST", "/api/transactions", { transaction });
  const fate = await until(async () => {
    const result = await get(`/api/transactions/${signature}`);
    return result.status === "live" ? null : result;
  }, "The end of the transaction");
  if (fate.status === "landed") return { ...built, signature };
  if (fate.status === "failed") throw new Error(fate.error?.message ?? "The program refused the transaction.");
  throw new Error("The transaction did not land in time. Nothing has happened: try again.");
}

// A transaction is a count of signatures, their bytes, and the message that they sign; the first signer pays.
async function sign(wallet, text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const message = bytes.subarray(1 + SIGNATURE_BYTES);
  const payer = message.subarray(message[0] & 0x80 ? 5 : 4).subarray(0, 32);
  if (bytes[0] !== 1 || payer.some((byte, at) => byte !== wallet.bytes[at])) {
    throw new Error("This transaction is not this wallet's alone to sign, so it was not signed.");
  }
  bytes.set(await wallet.sign(message), 1);
  return btoa(String.fromCharCode(...bytes));
}
