/** One field of a request that the API refused. */
export interface FieldProblem {
  field: string;
  message: string;
}

export interface ErrorFacts {
  status?: number;
  details?: readonly FieldProblem[];
  requestId?: string;
  retryAfterMs?: number;
  cause?: unknown;
}

/**
 * Everything that goes wrong in this package.
 *
 * `code` is for programs: the API's short name (`Conflict`, `Unauthenticated`, ...), the program's name of a refusal
 * (`SlippageExceeded`), or one of this package: `Unreachable`, `TimedOut`, `NotJson`, `TransactionExpired`,
 * `TransactionPending`, `TransactionNotSeen`, `SendingUncertain`, `NotASigner`, `WalletLacksFeature`, `WrongChain`, `NoAccount`,
 * `NoWebSocket`, `FeedClosed`. `status` is the HTTP status, 0 where there is none.
 * `requestId` stands in the gateway's log.
 */
export class ZmartError extends Error {
  override readonly name = "ZmartError";
  readonly code: string;
  readonly status: number;
  readonly details: readonly FieldProblem[];
  readonly requestId: string;
  readonly retryAfterMs: number | undefined;

  constructor(code: string, message: string, facts: ErrorFacts = {}) {
    super(message, { cause: facts.cause });
    this.code = code;
    this.status = facts.status ?? 0;
    this.details = facts.details ?? [];
    this.requestId = facts.requestId ?? "";
    this.retryAfterMs = facts.retryAfterMs;
  }
}
