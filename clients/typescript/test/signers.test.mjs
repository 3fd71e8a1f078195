import assert from "node:assert/strict";
import { createPublicKey, randomBytes, verify } from "node:crypto";
import { test } from "node:test";
import { connectWallet, decodeBase58, encodeBase58, isDeclined, KeyPairSigner, voteStatement, walletProblem, watchWallets, ZmartError } from "../dist/index.js";

const hex = (text) => Uint8Array.from(Buffer.from(text, "hex"));
// RFC 8032, 7.1, test 2
const SEED = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
const PUBLIC = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
const SIGNED = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

function holds(address, message, signature) {
  const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), decodeBase58(address)]);
  return verify(null, message, createPublicKey({ key: der, format: "der", type: "spki" }), signature);
}

function transaction(signers, versioned) {
  const others = [randomBytes(32)];
  const head = [...(versioned ? [0x80] : []), signers.length, 0, 1, signers.length + others.length];
  const message = Buffer.concat([Buffer.from(head), ...signers.map(decodeBase58), ...others, randomBytes(40)]);
  return { message, bytes: new Uint8Array(Buffer.concat([Buffer.from([signers.length]), Buffer.alloc(64 * signers.length), message])) };
}

test("base58 is read back, zeros and all", () => {
  for (let size = 0; size < 70; size++) {
    const bytes = new Uint8Array(randomBytes(size));
    bytes.fill(0, 0, size % 4);
    assert.deepEqual(decodeBase58(encodeBase58(bytes)), bytes);
  }
  assert.equal(encodeBase58(new Uint8Array(32)), "1".repeat(32));
  assert.throws(() => decodeBase58("0"), TypeError);
});

test("a key pair signs as RFC 8032 says, from a seed, a key file or base58", async () => {
  const file = [...SEED, ...PUBLIC];
  for (const secret of [SEED, file, encodeBase58(Uint8Array.from(file))]) {
    const signer = await KeyPairSigner.from(secret);
    assert.equal(signer.address, encodeBase58(PUBLIC));
    assert.equal(Buffer.from(await signer.signMessage(hex("72"))).toString("hex"), SIGNED);
  }
  await assert.rejects(KeyPairSigner.from(SEED.subarray(1)), TypeError);
  await assert.rejects(KeyPairSigner.from([...SEED, ...SEED]), /does not belong/);
});

test("a signature goes to its signer's place, in legacy and versioned transactions", async () => {
  const signers = [await KeyPairSigner.generate(), await KeyPairSigner.generate()];
  for (const versioned of [false, true])
    for (const place of [0, 1]) {
      const { bytes, message } = transaction(signers.map(({ address }) => address), versioned);
      const signed = await signers[place].signTransaction(bytes);
      assert.ok(holds(signers[place].address, message, signed.subarray(1 + 64 * place, 65 + 64 * place)));
      assert.ok(signed.subarray(1 + 64 * (1 - place), 65 + 64 * (1 - place)).every((byte) => byte === 0));
      assert.deepEqual(signed.subarray(129), bytes.subarray(129));
    }
});

test("a transaction of another wallet is not signed", async () => {
  const [mine, other] = [await KeyPairSigner.generate(), await KeyPairSigner.generate()];
  for (const bytes of [transaction([other.address], true).bytes, new Uint8Array(0), new Uint8Array(9)])
    await assert.rejects(mine.signTransaction(bytes), (error) => error instanceof ZmartError && error.code === "NotASigner");
});

function wallet(signer, without = "") {
  const account = { address: signer.address, publicKey: decodeBase58(signer.address), chains: ["solana:devnet"], features: [] };
  const asked = [];
  const features = {
    "standard:connect": { version: "1.0.0", connect: async () => ({ accounts: [account] }) },
    "solana:signMessage": {
      version: "1.0.0",
      signMessage: async (...inputs) =>
        Promise.all(inputs.map(async ({ message }) => ({ signedMessage: message, signature: await signer.signMessage(message) }))),
    },
    "solana:signTransaction": {
      version: "1.0.0",
      supportedTransactionVersions: ["legacy", 0],
      signTransaction: async (...inputs) => {
        asked.push(...inputs);
        return Promise.all(inputs.map(async ({ transaction }) => ({ signedTransaction: await signer.signTransaction(transaction) })));
      },
    },
  };
  delete features[without];
  return { version: "1.0.0", name: "Test wallet", icon: "", chains: account.chains, accounts: [], features, account, asked };
}

test("a wallet of the standard connects, signs messages, and transactions for its chain", async () => {
  const key = await KeyPairSigner.generate();
  const standard = wallet(key);
  const signer = await connectWallet(standard);
  assert.equal(signer.address, key.address);
  const message = randomBytes(20);
  assert.ok(holds(key.address, message, await signer.signMessage(message)));
  const { bytes } = transaction([key.address], true);
  assert.deepEqual(await signer.signTransaction(bytes), await key.signTransaction(bytes));
  await (await connectWallet(standard, { chain: "solana:mainnet" })).signTransaction(bytes);
  assert.deepEqual(standard.asked.map(({ chain, account }) => [chain, account]), [["solana:devnet", standard.account], ["solana:mainnet", standard.account]]);
});

test("a silent connection asks nobody, and is refused where the page may use no account yet", async () => {
  const standard = wallet(await KeyPairSigner.generate());
  const asked = [];
  let accounts = [standard.account];
  standard.features["standard:connect"].connect = async (input) => {
    asked.push(input);
    return { accounts };
  };
  assert.equal((await connectWallet(standard, { silent: true })).address, standard.account.address);
  accounts = [];
  await assert.rejects(connectWallet(standard, { silent: true }), (error) => error.code === "NoAccount");
  await assert.rejects(connectWallet(standard), (error) => error.code === "NoAccount");
  assert.deepEqual(asked, [{ silent: true }, { silent: true }, undefined]);
});

test("a wallet that lacks a feature is named with it", async () => {
  const key = await KeyPairSigner.generate();
  for (const name of ["solana:signMessage", "solana:signTransaction", "standard:connect"])
    await assert.rejects(connectWallet(wallet(key, name)), (error) => error.code === "WalletLacksFeature" && error.message.includes(name));
});

function sendingWallet(signer, answer = () => new Uint8Array(64).fill(7)) {
  const made = wallet(signer, "solana:signTransaction");
  made.features["solana:signAndSendTransaction"] = {
    version: "1.0.0",
    supportedTransactionVersions: ["legacy", 0],
    signAndSendTransaction: async (...inputs) => {
      made.asked.push(...inputs);
      return inputs.map(() => ({ signature: answer() }));
    },
  };
  return made;
}

test("a wallet that only sends what it signs sends to the page's chain, once, and gives the signature", async () => {
  const key = await KeyPairSigner.generate();
  const standard = sendingWallet(key);
  const signer = await connectWallet(standard, { chain: "solana:devnet" });
  const { bytes } = transaction([key.address], true);
  assert.equal(await signer.signAndSendTransaction(bytes), encodeBase58(new Uint8Array(64).fill(7)));
  assert.deepEqual(standard.asked, [{ account: standard.account, transaction: bytes, chain: "solana:devnet" }]);
  await assert.rejects(signer.signTransaction(bytes), (error) => error.code === "WalletLacksFeature");
  assert.equal((await connectWallet(wallet(key))).signAndSendTransaction, undefined);
});

test("a wallet that sends to other chains only is named with them before it is asked for anything", async () => {
  const standard = sendingWallet(await KeyPairSigner.generate());
  const isWrong = (error) => error.code === "WrongChain" && error.message === "Test wallet sends only to solana:devnet, and this is solana:mainnet.";
  assert.ok(isWrong(walletProblem(standard, "solana:mainnet")));
  assert.equal(walletProblem(standard, "solana:devnet"), undefined);
  await assert.rejects(connectWallet(standard, { chain: "solana:mainnet" }), isWrong);
  standard.chains = ["solana:devnet", "solana:mainnet"]; // the wallet knows it, the account is not on it
  await assert.rejects(connectWallet(standard, { chain: "solana:mainnet" }), isWrong);
  assert.deepEqual(standard.asked, []);
});

// P5: a repeated trade costs money, so "nothing was sent" is said only where the user said no.
const DECLINED = [
  "User rejected the request.",
  "The user has declined.",
  "MetaMask Tx Signature: User denied transaction signature.",
  "Request rejected by user",
  "Condition of use not satisfied (denied by the user?) (0x6985)", // a Ledger
  "User canceled",
  "Approval Denied",
  "Transaction cancelled",
];
const MAY_HAVE_SENT = [
  "Internal error",
  "Transaction rejected by the cluster: timed out",
  "timeout of 30000 ms exceeded, request canceled",
  "RPC node: access denied",
  "The operation was canceled",
  "The user aborted a request.", // an AbortController of the wallet
  "CANCELLED: call cancelled by server after send",
  "Transaction cancelled: the node did not answer",
  "Declined",
  "",
];

test("a wallet that fails while it sends may have sent; one whose user declines has not", async () => {
  const key = await KeyPairSigner.generate();
  const failing = (problem) => connectWallet(sendingWallet(key, () => { throw problem; }));
  const { bytes } = transaction([key.address], true);
  const declined = [Object.assign(new Error("no"), { code: 4001 }), ...DECLINED, ...DECLINED.map((text) => new Error(text))];
  for (const problem of declined) {
    assert.ok(isDeclined(problem), String(problem));
    await assert.rejects((await failing(problem)).signAndSendTransaction(bytes), (error) => error === problem);
  }
  const isUncertain = (error) => error.code === "SendingUncertain" && /before you try again/.test(error.message);
  for (const problem of [...MAY_HAVE_SENT, ...MAY_HAVE_SENT.map((text) => new Error(text)), undefined, { code: -32603 }]) {
    await assert.rejects((await failing(problem)).signAndSendTransaction(bytes), isUncertain, String(problem));
    assert.ok(!isDeclined(problem));
  }
  const short = await connectWallet(sendingWallet(key, () => new Uint8Array(3)));
  await assert.rejects(short.signAndSendTransaction(bytes), isUncertain);
});

test("of several accounts the first on the chain is used, else the first on Solana", async () => {
  const standard = wallet(await KeyPairSigner.generate());
  const account = (address, ...chains) => ({ address, chains });
  standard.accounts = [account("0xaa", "eip155:1"), account("main", "solana:mainnet"), account("dev", "solana:devnet")];
  const chosen = async (options) => (await connectWallet(standard, options)).address;
  assert.equal(await chosen({ chain: "solana:devnet" }), "dev");
  assert.equal(await chosen({ chain: "solana:testnet" }), "main");
  assert.equal(await chosen({}), "main");
  assert.equal(await chosen({ account: standard.accounts[2] }), "dev");
});

test("wallets are found whether they register before or after the page asks", () => {
  const page = new EventTarget();
  const register = (one) => {
    const callback = ({ register }) => register(one);
    page.dispatchEvent(new CustomEvent("wallet-standard:register-wallet", { detail: callback }));
    page.addEventListener("wallet-standard:app-ready", ({ detail }) => callback(detail));
  };
  const found = [];
  register("early");
  const end = watchWallets((one) => found.push(one), page);
  register("late");
  end();
  register("after the end");
  assert.deepEqual(found, ["early", "late"]);
});

test("a vote's statement is the seven lines that the backend reads", () => {
  const text = voteStatement({ market: "ab", choice: "disagree" }, "P", "W", new Date(1_700_000_000_007));
  assert.equal(text, "ZMART vote\nprogram: P\nmarket: ab\nkind: dispute\nchoice: disagree\nwallet: W\nissued: 2023-11-14T22:13:20.007Z");
});
