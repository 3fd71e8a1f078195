// The demo wallet of the local stack, registered by the Wallet Standard as the others are.
import { signedBy } from "../../client/zmart-client.js";
import { api } from "./api.js";
import * as keys from "./keys.js";

export const NAME = "Demo wallet";
const VERSION = "1.0.0";
const ICON = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E%3Crect width='24' height='24' rx='6' fill='%232f6f5e'/%3E%3C/svg%3E";
const CHAINS = ["solana:localnet"];
const each = (act) => (...inputs) => Promise.all(inputs.map(act));

let key = null;

// With its key, or with a new one that the local chain's faucet fills.
async function connect({ silent = false } = {}) {
  key ??= await keys.load();
  if (!key && !silent) {
    key = await keys.make();
    await api.faucet(key.address);
  }
  wallet.accounts = key ? [{ address: key.address, publicKey: key.bytes, chains: CHAINS, features: Object.keys(wallet.features) }] : [];
  return { accounts: wallet.accounts };
}

const signMessage = async ({ message }) => ({ signedMessage: message, signature: await key.sign(message) });
const signTransaction = async ({ transaction }) => ({ signedTransaction: await signedBy(key.address, transaction, key.sign) });

const wallet = {
  version: VERSION,
  name: NAME,
  icon: ICON,
  chains: CHAINS,
  accounts: [],
  features: {
    "standard:connect": { version: VERSION, connect },
    "standard:disconnect": { version: VERSION, disconnect: async () => void (wallet.accounts = []) },
    "solana:signMessage": { version: VERSION, signMessage: each(signMessage) },
    "solana:signTransaction": { version: VERSION, supportedTransactionVersions: ["legacy", 0], signTransaction: each(signTransaction) },
  },
};

const register = (page) => page.register(wallet);
dispatchEvent(new CustomEvent("wallet-standard:register-wallet", { detail: register }));
addEventListener("wallet-standard:app-ready", ({ detail }) => register(detail));
