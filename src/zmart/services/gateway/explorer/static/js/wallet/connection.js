// The wallets of this browser by the Wallet Standard, and the one that is connected. "zmart:wallet" tells of a change.
import { connectWallet, walletProblem, watchWallets } from "../../client/zmart-client.js";
import { endSession, site } from "./api.js";

const CHOICE = "zmart-wallet";
const SOLANA = /^solana:/;
const wallets = new Map();
let connected = null;
let leaveEvents = () => {};

const tell = () => document.dispatchEvent(new CustomEvent("zmart:wallet"));

// Who signs: {address, signMessage, signTransaction}, and signAndSendTransaction of a wallet that sends itself; null
// without a wallet.
export const signer = () => connected?.signer ?? null;
export const walletName = () => connected?.wallet.name ?? "";
export const whyNot = (wallet) => walletProblem(wallet, site.chain)?.message ?? "";
export const allWallets = () => [...wallets.values()];
export const usable = () => allWallets().filter((wallet) => !whyNot(wallet));

export async function connect(wallet, { silent = false } = {}) {
  const made = await connectWallet(wallet, { chain: site.chain, silent });
  connected = { wallet, signer: made };
  localStorage.setItem(CHOICE, wallet.name);
  leaveEvents();
  leaveEvents = wallet.features["standard:events"]?.on("change", changed) ?? (() => {});
  tell();
  return made;
}

// The user chose another account in the wallet, or took this page's away.
async function changed({ accounts }) {
  if (!connected || !accounts || accounts[0]?.address === connected.signer.address) return;
  const { wallet } = connected;
  if (accounts.length === 0) await disconnect();
  else await connect(wallet, { silent: true }).catch(disconnect); // to an account that this page cannot use
}

export async function disconnect() {
  const left = connected;
  connected = null;
  localStorage.removeItem(CHOICE);
  leaveEvents();
  tell();
  await endSession();
  await left?.wallet.features["standard:disconnect"]?.disconnect();
}

function registered(wallet) {
  if (![...Object.keys(wallet.features), ...wallet.chains].some((name) => SOLANA.test(name))) return;
  wallets.set(wallet.name, wallet);
  tell();
  const isChosen = localStorage.getItem(CHOICE) === wallet.name;
  if (isChosen && !connected && !whyNot(wallet)) connect(wallet, { silent: true }).catch(() => {}); // it asks again when it is needed
}

if (site.local) await import("./demo.js");
watchWallets(registered);
