import { withAmounts } from "./amounts.js";
import { encodeBase58 } from "./base58.js";
import { ZmartError } from "./errors.js";
import { API_AMOUNTS, RESULTS } from "./generated/amounts.js";
import type { components } from "./generated/api.js";
import type { Input, Inputs, Method, PagedPath, PathOf, Result, TransactionPath } from "./operations.js";
import { fromBase64, toBase64, type Signer } from "./signers.js";
import { kindOf, voteStatement, type Ballot } from "./statements.js";
import { pause, Transport, type TransportOptions } from "./transport.js";
import { signatureOf } from "./wire.js";

export type Schemas = components["schemas"];

export interface ClientOptions extends TransportOptions {
  /** A session's token from before. */
  token?: string;
  /** The program that votes name; asked from the API unless given. */
  program?: string;
  /** How long `transact` and `confirm` wait until a transaction has landed; two minutes unless given. */
  landsWithinMs?: number;
}

/** A transaction that has landed, with what the API said when it built it. */
export type Landed<Built> = Built & { signature: string; slot: number | null };

const POLL_MS = 400;
const LANDS_WITHIN_MS = 120_000;
const LONGEST_PAUSE_MS = 10_000;
const REQUEST_ENDS_WITHIN_MS = 15_000; // at the API, also when its answer is lost
const ELSEWHERE = "Is the wallet set to another network?";
// These POSTs change nothing when they are sent twice: they build, or they are recognized.
const REPEATABLE = /^\/api\/(auth\/nonce|transactions|trades\/|markets\/\{key\}\/(activate|resolve|dispute)$)/;

/**
 * The HTTP API. Amounts (lamports and shares, in 1e-9) are bigints in every answer.
 *
 * `get`, `post`, `put`, `delete` take every path of the published description, with its types; the other methods do what
 * takes several calls. Each throws ZmartError.
 */
export class ZmartClient {
  readonly #http: Transport;
  #program: string;
  readonly #landsWithinMs: number;

  constructor(baseUrl: string, options: ClientOptions = {}) {
    this.#http = new Transport(baseUrl, options);
    this.#http.token = options.token ?? "";
    this.#program = options.program ?? "";
    this.#landsWithinMs = options.landsWithinMs ?? LANDS_WITHIN_MS;
  }

  /** The session's token; empty without a session. */
  get token(): string {
    return this.#http.token;
  }

  set token(token: string) {
    this.#http.token = token;
  }

  get<P extends PathOf<"get">>(path: P, ...[input]: Inputs<P, "get">): Promise<Result<P, "get">> {
    return this.#call("get", path, input);
  }

  post<P extends PathOf<"post">>(path: P, ...[input]: Inputs<P, "post">): Promise<Result<P, "post">> {
    return this.#call("post", path, input);
  }

  put<P extends PathOf<"put">>(path: P, ...[input]: Inputs<P, "put">): Promise<Result<P, "put">> {
    return this.#call("put", path, input);
  }

  delete<P extends PathOf<"delete">>(path: P, ...[input]: Inputs<P, "delete">): Promise<Result<P, "delete">> {
    return this.#call("delete", path, input);
  }

  /** A list page by page, until its end; pages stay true while rows are added. */
  async *pages<P extends PagedPath>(path: P, ...[input]: Inputs<P, "get">): AsyncGenerator<Result<P, "get">, void> {
    let query: Record<string, unknown> = { ...(input as GivenInput | undefined)?.query };
    for (;;) {
      const page = await this.#call<P, "get">("get", path, { ...input, query } as unknown as Input<P, "get">);
      yield page;
      const cursor = (page as { next_cursor?: string | null }).next_cursor;
      if (!cursor) return;
      const { offset: _offset, ...rest } = query; // the cursor goes on from there
      query = { ...rest, cursor };
    }
  }

  /** Sign in with Solana; later calls carry the session. */
  async signIn(signer: Signer): Promise<Schemas["Session"]> {
    const wallet = signer.address;
    const { message } = await this.post("/api/auth/nonce", { body: { wallet } });
    const signature = await signText(signer, message);
    const session = await this.post("/api/auth/verify", { body: { wallet, message, signature } });
    this.#http.token = session.token;
    return session;
  }

  /** End the session. */
  async signOut(): Promise<void> {
    await this.post("/api/auth/logout");
    this.#http.token = "";
  }

  /** Sign a vote's statement and cast it; no session is needed. The receipt proves that it was taken. */
  async vote(signer: Signer, ballot: Ballot): Promise<Schemas["VoteAnswer"]> {
    this.#program ||= (await this.get("/api/status")).program_id;
    const statement = voteStatement(ballot, this.#program, signer.address, new Date());
    const body = {
      market_id: ballot.market,
      vote_choice: ballot.choice,
      wallet: signer.address,
      statement,
      signature: await signText(signer, statement),
    };
    return this.post(kindOf(ballot.choice) === "proposal" ? "/api/votes/proposal" : "/api/votes/dispute", { body });
  }

  /**
   * Ask the API for a transaction, have it signed, relay it, and wait until it has landed. A wallet that sends what it
   * signs itself is asked once to send it, and the API does not relay it.
   *
   * Throws before anything is signed if the chain would refuse it, with the program's name for that as `code`; later with
   * that code if it failed, `TransactionExpired` if it can no longer land, `TransactionPending` if neither is known after
   * two minutes (then `confirm` asks again). What a wallet sends itself may also end as `TransactionNotSeen`: after two
   * minutes this chain does not know it, as when the wallet is set to another network; or as `SendingUncertain`: the wallet
   * failed, and may have sent it. What the wallet throws when the user declines is thrown as it is.
   */
  async transact<P extends TransactionPath>(
    signer: Signer,
    path: P,
    ...[input]: Inputs<P, "post">
  ): Promise<Landed<Result<P, "post">>> {
    const built = await this.#call<P, "post">("post", path, input);
    const { simulation, transaction: unsigned } = built as BuiltTransaction;
    if (!simulation.ok) throw programError(simulation.error, "The chain would refuse this transaction.");
    const { signature, doubt, unknownForMs } = await this.#sent(signer, fromBase64(unsigned));
    try {
      const { slot = null } = await this.#confirmed(signature, unknownForMs, input?.signal);
      return { ...(built as object), signature, slot } as Landed<Result<P, "post">>;
    } catch (problem) {
      // the API remembers a transaction before it sends it: what it does not know was never sent
      throw doubt && problem instanceof ZmartError && problem.status === 404 ? doubt : problem;
    }
  }

  /** `doubt`: the relay failed, and may have sent it. `unknownForMs`: for how long the API may not know it yet. */
  async #sent(
    signer: Signer,
    unsigned: Uint8Array,
  ): Promise<{ signature: string; doubt?: ZmartError; unknownForMs: number }> {
    if (signer.signAndSendTransaction)
      return { signature: await signer.signAndSendTransaction(unsigned), unknownForMs: Infinity };
    const signed = await signer.signTransaction(unsigned);
    try {
      const { signature } = await this.post("/api/transactions", { body: { transaction: toBase64(signed) } });
      return { signature, unknownForMs: 0 };
    } catch (problem) {
      if (!isUnanswered(problem)) throw problem;
      const unknownForMs = problem.status === 503 ? 0 : REQUEST_ENDS_WITHIN_MS; // a 503 is the API's own: it has ended
      return { signature: signatureOf(signed), doubt: problem, unknownForMs };
    }
  }

  /** Wait until a transaction has landed; throws as `transact` does. */
  confirm(signature: string, signal?: AbortSignal): Promise<Schemas["TransactionState"]> {
    return this.#confirmed(signature, 0, signal);
  }

  async #confirmed(signature: string, unknownForMs: number, signal?: AbortSignal): Promise<Schemas["TransactionState"]> {
    let isSeen = unknownForMs < Infinity;
    const given = signal ? { signal } : {};
    const began = Date.now();
    for (const deadline = began + this.#landsWithinMs; Date.now() < deadline; await pause(POLL_MS, signal)) {
      const state = await this.#state(signature, Date.now() - began < unknownForMs, given);
      if (!state) continue;
      isSeen = true;
      if (state === "unanswered") continue;
      if (state.status === "landed") return state;
      if (state.status === "failed") throw programError(state.error, "The program refused the transaction.");
      if (state.status === "expired")
        throw new ZmartError("TransactionExpired", `It expired before it landed, build it again: ${signature}`);
    }
    if (isSeen) throw new ZmartError("TransactionPending", `It may still land, ask for it again: ${signature}`);
    throw new ZmartError("TransactionNotSeen", `The wallet sent it, and this chain does not know it. ${ELSEWHERE} ${signature}`);
  }

  /** Undefined where it may be unknown, as what a wallet sends is at first; `unanswered` while the API cannot tell. */
  async #state(
    signature: string,
    mayBeUnknown: boolean,
    given: { signal?: AbortSignal },
  ): Promise<Schemas["TransactionState"] | "unanswered" | undefined> {
    try {
      return await this.get("/api/transactions/{signature}", { path: { signature }, ...given });
    } catch (problem) {
      if (mayBeUnknown && problem instanceof ZmartError && problem.status === 404) return undefined;
      if (!isUnanswered(problem) && (problem as ZmartError).status !== 429) throw problem;
      await pause(Math.min((problem as ZmartError).retryAfterMs ?? 0, LONGEST_PAUSE_MS), given.signal);
      return "unanswered";
    }
  }

  /** Get play money from a local stack and wait for it; other deployments have no faucet (404). */
  async faucet(wallet: string): Promise<bigint> {
    const body = { wallet };
    const sent = await this.#http.send({ method: "POST", path: "/api/local/faucet", body, repeatable: false });
    const expected = balanceOf(sent);
    for (const deadline = Date.now() + LANDS_WITHIN_MS; Date.now() < deadline; await pause(POLL_MS)) {
      const path = `/api/local/wallets/${wallet}`;
      const balance = balanceOf(await this.#http.send({ method: "GET", path, repeatable: true }));
      if (balance >= expected) return balance;
    }
    throw new ZmartError("TransactionPending", `The play money has not arrived yet: ${wallet}`);
  }

  async #call<P extends PathOf<M>, M extends Method>(
    method: M,
    path: P,
    given: Input<P, M> | undefined,
  ): Promise<Result<P, M>> {
    const input: GivenInput = given ?? {};
    const template = String(path);
    const name = method.toUpperCase();
    // what the API reads as JSON has a body, even where it takes no fields
    const body = input.body ?? (method === "post" ? {} : undefined);
    const value = await this.#http.send({
      method: name,
      path: filled(template, input.path ?? {}),
      repeatable: method === "get" || method === "put" || REPEATABLE.test(template),
      ...(input.query ? { query: input.query } : {}),
      ...(body === undefined ? {} : { body }),
      ...(input.signal ? { signal: input.signal } : {}),
    });
    return withAmounts(value, RESULTS[`${name} ${template}`] ?? [], API_AMOUNTS) as Result<P, M>;
  }
}

interface GivenInput {
  path?: Readonly<Record<string, unknown>>;
  query?: Readonly<Record<string, unknown>>;
  body?: unknown;
  signal?: AbortSignal;
}

interface BuiltTransaction {
  transaction: string;
  simulation: Schemas["Simulation"];
}

async function signText(signer: Signer, text: string): Promise<string> {
  return encodeBase58(await signer.signMessage(new TextEncoder().encode(text)));
}

function filled(template: string, values: Readonly<Record<string, unknown>>): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(values[name])));
}

function balanceOf(answer: unknown): bigint {
  return BigInt((answer as { lamports: number | bigint }).lamports);
}

// No answer, or one of a server in trouble: nobody knows what was done.
function isUnanswered(problem: unknown): problem is ZmartError {
  return problem instanceof ZmartError && (problem.status >= 500 || ["Unreachable", "TimedOut"].includes(problem.code));
}

function programError(error: Schemas["SimulationError"] | null | undefined, otherwise: string): ZmartError {
  return new ZmartError(error?.name ?? "TransactionFailed", error?.message ?? otherwise);
}
