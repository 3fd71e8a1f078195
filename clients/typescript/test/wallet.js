// What the extension of a wallet adds to a page, by the Wallet Standard; ADDRESS is its account, the test signs for it.
(() => {
  const bytes = hex => Uint8Array.from(hex.match(/../g), pair => parseInt(pair, 16));
  const hex = list => Array.from(list, byte => byte.toString(16).padStart(2, "0")).join("");
  const account = {address: "ADDRESS", chains: ["solana:localnet"], features: []};
  const signMessage = async ({message}) => ({signedMessage: message, signature: bytes(await signMessageHex(hex(message)))});
  const signTransaction = async ({transaction}) => ({signedTransaction: bytes(await signTransactionHex(hex(transaction)))});
  const each = act => (...inputs) => Promise.all(inputs.map(act));
  const wallet = {version: "1.0.0", name: "Wallet of the tests", icon: "data:,", chains: account.chains, accounts: [], features: {
    "standard:connect": {version: "1.0.0", connect: async () => ({accounts: [account]})},
    "solana:signMessage": {version: "1.0.0", signMessage: each(signMessage)},
    "solana:signTransaction": {version: "1.0.0", supportedTransactionVersions: ["legacy", 0], signTransaction: each(signTransaction)},
  }};
  const register = ({register}) => register(wallet);
  dispatchEvent(new CustomEvent("wallet-standard:register-wallet", {detail: register}));
  addEventListener("wallet-standard:app-ready", ({detail}) => register(detail));
})();
