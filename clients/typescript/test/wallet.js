// What the extension of a wallet adds to a page, by the Wallet Standard; ADDRESS is its account, the test signs for it.
// OPTIONS: {name, sends: it signs no transaction that it does not send itself, chains, others: accounts besides}
(() => {
  const options = OPTIONS;
  const bytes = hex => Uint8Array.from(hex.match(/../g), pair => parseInt(pair, 16));
  const hex = list => Array.from(list, byte => byte.toString(16).padStart(2, "0")).join("");
  const chains = options.chains ?? ["solana:localnet"];
  const account = {address: "ADDRESS", chains, features: []};
  const others = (options.others ?? []).map(address => ({address, chains: ["eip155:1"], features: []}));
  const signMessage = async ({message}) => ({signedMessage: message, signature: bytes(await signMessageHex(hex(message)))});
  const signTransaction = async ({transaction}) => ({signedTransaction: bytes(await signTransactionHex(hex(transaction)))});
  const signAndSendTransaction = async ({transaction, chain}) => ({signature: bytes(await sendTransactionHex(hex(transaction), chain))});
  const each = act => (...inputs) => Promise.all(inputs.map(act));
  const listeners = new Set();
  const transactions = options.sends
    ? {"solana:signAndSendTransaction": {version: "1.0.0", supportedTransactionVersions: ["legacy", 0], signAndSendTransaction: each(signAndSendTransaction)}}
    : {"solana:signTransaction": {version: "1.0.0", supportedTransactionVersions: ["legacy", 0], signTransaction: each(signTransaction)}};
  const wallet = {version: "1.0.0", name: options.name ?? "Wallet of the tests", icon: "data:,", chains, accounts: [], features: {
    "standard:connect": {version: "1.0.0", connect: async () => ({accounts: wallet.accounts = [...others, account]})},
    "standard:disconnect": {version: "1.0.0", disconnect: async () => void (wallet.accounts = [])},
    "standard:events": {version: "1.0.0", on: (_, listener) => (listeners.add(listener), () => listeners.delete(listener))},
    "solana:signMessage": {version: "1.0.0", signMessage: each(signMessage)},
    ...transactions,
  }};
  for (const name of options.without ?? []) delete wallet.features[name];
  // what its user does in the wallet itself: choose other accounts, or take them all from this page
  (window.testWallets ??= {})[wallet.name] = {
    hold: addresses => {
      wallet.accounts = addresses.map(address => ({address, chains, features: []}));
      listeners.forEach(listener => listener({accounts: wallet.accounts}));
    },
  };
  const register = ({register}) => register(wallet);
  dispatchEvent(new CustomEvent("wallet-standard:register-wallet", {detail: register}));
  addEventListener("wallet-standard:app-ready", ({detail}) => register(detail));
})();
