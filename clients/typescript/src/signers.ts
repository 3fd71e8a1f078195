// Who signs: a key pair in this process, or a wallet by the Wallet Standard.
import { decodeBase58, encodeBase58 } from "./base58.js";
import { ZmartError } from "./errors.js";
import { signedBy } from "./wire.js";

/** What the client needs of a wallet. */
export interface Signer {
  /** The public key in base58. */
  readonly address: string;
  /** The 64 bytes of the signature over a message. */
  signMessage(message: Uint8Array): Promise<Uint8Array>;
  /** The transaction with this signer's signature in it. */
  signTransaction(transaction: Uint8Array): Promise<Uint8Array>;
  /**
   * Only of a wallet that sends what it signs itself: sends the transaction; gives the signature in base58.
   * `transact` calls this instead of `signTransaction`, which such a wallet does not have.
   */
  signAndSendTransaction?(transaction: Uint8Array): Promise<string>;
}

type Bytes = Uint8Array<ArrayBuffer>;
const PKCS8 = Uint8Array.from([48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32]); // RFC 8410, then the seed
const SEED_BYTES = 32;

/** A signer whose key is in this process: for servers, scripts and tests. Needs WebCrypto with Ed25519. */
export class KeyPairSigner implements Signer {
  readonly address: string;
  readonly #key: CryptoKey;

  private constructor(key: CryptoKey, publicKey: Uint8Array) {
    this.#key = key;
    this.address = encodeBase58(publicKey);
  }

  /** A new key pair, which cannot be exported. */
  static async generate(): Promise<KeyPairSigner> {
    const pair = (await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"])) as CryptoKeyPair;
    return new KeyPairSigner(pair.privateKey, new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)));
  }

  /**
   * Of the bytes of a Solana key file (64: seed and public key), of a seed (32), or of either in base58.
   * Throws TypeError for another number of bytes, or if the public key is another one's.
   */
  static async from(secret: Uint8Array | readonly number[] | string): Promise<KeyPairSigner> {
    const bytes = typeof secret === "string" ? decodeBase58(secret) : Uint8Array.from(secret);
    if (bytes.length !== SEED_BYTES && bytes.length !== 2 * SEED_BYTES)
      throw new TypeError(`A secret key has 64 bytes, a seed 32; this one has ${bytes.length}.`);
    const seed = bytes.subarray(0, SEED_BYTES);
    const exportable = await privateKey(seed, true);
    const { x } = await crypto.subtle.exportKey("jwk", exportable);
    const publicKey = fromBase64((x ?? "").replaceAll("-", "+").replaceAll("_", "/"));
    if (bytes.length > SEED_BYTES && publicKey.some((byte, index) => byte !== bytes[SEED_BYTES + index]))
      throw new TypeError("The public key in this secret key does not belong to its seed.");
    return new KeyPairSigner(await privateKey(seed, false), publicKey);
  }

  async signMessage(message: Uint8Array): Promise<Uint8Array> {
    return new Uint8Array(await crypto.subtle.sign("Ed25519", this.#key, message as Bytes));
  }

  async signTransaction(transaction: Uint8Array): Promise<Uint8Array> {
    return signedBy(this.address, transaction, (message) => this.signMessage(message));
  }
}

function privateKey(seed: Uint8Array, extractable: boolean): Promise<CryptoKey> {
  return crypto.subtle.importKey("pkcs8", Uint8Array.from([...PKCS8, ...seed]), "Ed25519", extractable, ["sign"]);
}

/** Bytes of base64. */
export function fromBase64(text: string): Bytes {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** Base64 of bytes. */
export function toBase64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

/** What is used of an account of the Wallet Standard. */
export interface StandardAccount {
  readonly address: string;
  readonly chains: readonly string[];
}

/** What is used of a wallet of the Wallet Standard. */
export interface StandardWallet {
  readonly name: string;
  /** A data URL of a picture. */
  readonly icon?: string;
  readonly chains?: readonly string[];
  readonly accounts: readonly StandardAccount[];
  readonly features: Readonly<Record<string, unknown>>;
}

interface Features {
  "standard:connect": { connect(input?: { silent?: boolean }): Promise<{ accounts: readonly StandardAccount[] }> };
  "solana:signMessage": {
    signMessage(input: { account: StandardAccount; message: Uint8Array }): Promise<readonly { signature: Uint8Array }[]>;
  };
  "solana:signTransaction": {
    signTransaction(input: {
      account: StandardAccount;
      transaction: Uint8Array;
      chain?: string;
    }): Promise<readonly { signedTransaction: Uint8Array }[]>;
  };
  "solana:signAndSendTransaction": {
    signAndSendTransaction(input: {
      account: StandardAccount;
      transaction: Uint8Array;
      chain: string;
    }): Promise<readonly { signature: Uint8Array }[]>;
  };
}

const SIGNS = "solana:signTransaction";
const SENDS = "solana:signAndSendTransaction";
const SIGNATURE_BYTES = 64;

/**
 * Why a wallet cannot be used on a chain (`solana:devnet`, ...): ZmartError `WalletLacksFeature`, or `WrongChain` for one
 * that sends what it signs, and not to this chain. Undefined for one that can.
 */
export function walletProblem(wallet: StandardWallet, chain?: string): ZmartError | undefined {
  const missing = ["standard:connect", "solana:signMessage"].find((name) => !(name in wallet.features));
  if (missing) return lacks(wallet, missing);
  if (SIGNS in wallet.features) return undefined;
  if (!(SENDS in wallet.features)) return lacks(wallet, `${SIGNS} or ${SENDS}`);
  return chain && wallet.chains && !wallet.chains.includes(chain) ? wrongChain(wallet, wallet.chains, chain) : undefined;
}

/**
 * Connect to a wallet of the Wallet Standard that can sign messages and transactions, or send the latter itself.
 *
 * `account`: one of the wallet's; unless given its first one on `chain`, else its first one on Solana. `chain`:
 * `solana:mainnet`, `solana:devnet`, ...; the account's first one unless given. `silent`: give the accounts that this page
 * may use already, without asking the user.
 * Throws ZmartError `WalletLacksFeature`, `WrongChain`, `NoAccount`, or what the wallet throws.
 */
export async function connectWallet(
  wallet: StandardWallet,
  options: { account?: StandardAccount; chain?: string; silent?: boolean } = {},
): Promise<Signer> {
  const problem = walletProblem(wallet, options.chain);
  if (problem) throw problem;
  const account = options.account ?? (await firstAccount(wallet, options));
  if (!account) throw new ZmartError("NoAccount", `${wallet.name} gave this page no account.`);
  const chain = options.chain ?? account.chains.find(isSolana) ?? account.chains[0];
  const signer = {
    address: account.address,
    async signMessage(message: Uint8Array) {
      return first(wallet, await feature(wallet, "solana:signMessage").signMessage({ account, message })).signature;
    },
    async signTransaction(transaction: Uint8Array) {
      const input = { account, transaction, ...(chain ? { chain } : {}) };
      return first(wallet, await feature(wallet, SIGNS).signTransaction(input)).signedTransaction;
    },
  };
  return SIGNS in wallet.features ? signer : { ...signer, signAndSendTransaction: sender(wallet, account, chain) };
}

/** What sends through the wallet; fails before the wallet is asked if the account is not on the chain. */
function sender(wallet: StandardWallet, account: StandardAccount, chain = ""): (transaction: Uint8Array) => Promise<string> {
  if (!account.chains.includes(chain)) throw wrongChain(wallet, account.chains, chain);
  const { signAndSendTransaction } = feature(wallet, SENDS);
  return async (transaction) => {
    try {
      const { signature } = first(wallet, await signAndSendTransaction({ account, transaction, chain }));
      if (signature.length !== SIGNATURE_BYTES) throw new TypeError(`The signature has ${signature.length} bytes.`);
      return encodeBase58(signature);
    } catch (cause) {
      if (isDeclined(cause)) throw cause;
      const why = cause instanceof Error && cause.message ? ` (${cause.message})` : "";
      const advice = "Look in the wallet whether it was sent before you try again.";
      throw new ZmartError("SendingUncertain", `${wallet.name} failed while it sent the transaction${why}. ${advice}`, { cause });
    }
  };
}

const REFUSED = "(?:rejected|declined|denied|cancel+ed)";
// A node, a library and a timeout reject, deny and cancel, too: it is an answer only where the user is who did it.
const BY_THE_USER = new RegExp(`\\buser (?:has )?${REFUSED}\\b|\\b${REFUSED} by (?:the )?user\\b`, "i");
const WHOLE_TEXTS = /^(?:approval denied|transaction cancelled)\.?$/i; // of Backpack; of Sollet and its successors

/**
 * Whether what a wallet threw says that its user declined: by the code 4001, by a text that names the user, or by the
 * whole text of a wallet that is known for it. Everything else may be a failure after the transaction was sent.
 */
export function isDeclined(problem: unknown): boolean {
  if (problem instanceof ZmartError) return false;
  const { code, message = problem } = (problem ?? {}) as { code?: unknown; message?: unknown };
  const text = String(message ?? "").trim();
  return code === 4001 || BY_THE_USER.test(text) || WHOLE_TEXTS.test(text);
}

async function firstAccount(
  wallet: StandardWallet,
  { chain = "", silent }: { chain?: string; silent?: boolean },
): Promise<StandardAccount | undefined> {
  const accounts = wallet.accounts.length > 0 ? wallet.accounts : await accountsOf(wallet, silent);
  return accounts.find(({ chains }) => chains.includes(chain)) ?? accounts.find(({ chains }) => chains.some(isSolana)) ?? accounts[0];
}

const isSolana = (chain: string) => chain.startsWith("solana:");

function lacks(wallet: StandardWallet, name: string): ZmartError {
  return new ZmartError("WalletLacksFeature", `${wallet.name} does not have ${name}.`);
}

function wrongChain(wallet: StandardWallet, chains: readonly string[], chain: string): ZmartError {
  const known = chains.filter(isSolana).join(", ") || "no chain of Solana";
  return new ZmartError("WrongChain", `${wallet.name} sends only to ${known}, and this is ${chain || "an unknown chain"}.`);
}

async function accountsOf(wallet: StandardWallet, silent?: boolean): Promise<readonly StandardAccount[]> {
  return (await feature(wallet, "standard:connect").connect(silent ? { silent } : undefined)).accounts;
}

function feature<N extends keyof Features>(wallet: StandardWallet, name: N): Features[N] {
  if (name in wallet.features) return wallet.features[name] as Features[N];
  throw lacks(wallet, name);
}

function first<T>(wallet: StandardWallet, outputs: readonly T[]): T {
  const [output] = outputs;
  if (output === undefined) throw new ZmartError("WalletLacksFeature", `${wallet.name} signed nothing.`);
  return output;
}

/**
 * Call `found` with each wallet that registers by the Wallet Standard on this page, now and later.
 *
 * Returns a function that ends it.
 */
export function watchWallets(found: (wallet: StandardWallet) => void, page: EventTarget = globalThis): () => void {
  const api = { register: (...wallets: StandardWallet[]) => wallets.forEach(found) };
  const registered = (event: Event) => (event as CustomEvent<(api: object) => void>).detail(api);
  page.addEventListener("wallet-standard:register-wallet", registered);
  const ready = new CustomEvent("wallet-standard:app-ready", { detail: api });
  page.dispatchEvent(ready);
  return () => page.removeEventListener("wallet-standard:register-wallet", registered);
}
