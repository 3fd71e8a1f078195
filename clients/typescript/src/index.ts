/** The ZMART API and live feed. */
export { ZmartClient, type ClientOptions, type Landed, type Schemas } from "./client.js";
export { LiveFeed, type FeedOptions } from "./feed.js";
export type { Channel, FeedMessage, Position } from "./channels.js";
export { ZmartError, type FieldProblem } from "./errors.js";
export {
  connectWallet,
  isDeclined,
  KeyPairSigner,
  walletProblem,
  watchWallets,
  type Signer,
  type StandardAccount,
  type StandardWallet,
} from "./signers.js";
export { voteStatement, type Ballot, type Choice } from "./statements.js";
export { signedBy } from "./wire.js";
export { decodeBase58, encodeBase58 } from "./base58.js";
export { parseJson, stringifyJson } from "./json.js";
export type { paths } from "./generated/api.js";
export type { components as FeedComponents } from "./generated/feed.js";
export type { Input, PagedPath, PathOf, Result, TransactionPath } from "./operations.js";
