// One request after another to the API: JSON in and out, entity tags, retries, one kind of error.
import { ZmartError, type FieldProblem } from "./errors.js";
import { parseJson, stringifyJson } from "./json.js";

export interface TransportOptions {
  /** Instead of the global fetch. */
  fetch?: typeof globalThis.fetch;
  /** For each attempt; 20 s unless given. */
  timeoutMs?: number;
  /** The first one included; 4 unless given. */
  attempts?: number;
  /** A longer `Retry-After` is not waited for, but told; 30 s unless given. */
  maxWaitMs?: number;
  /** how many responses with an entity tag are cached; 100 unless given. */
  cacheEntries?: number;
}

export interface Request {
  method: string;
  path: string;
  query?: Readonly<Record<string, unknown>>;
  body?: unknown;
  signal?: AbortSignal;
  /** To send it twice does what sending it once does. */
  repeatable: boolean;
}

interface CachedResponse {
  etag: string;
  text: string;
}

const FIRST_WAIT_MS = 300;
const RETRIED = [429, 502, 503, 504];

export class Transport {
  /** The session's token; empty without one. */
  token = "";
  readonly #base: string;
  readonly #options: Required<Omit<TransportOptions, "fetch">>;
  readonly #fetch: typeof globalThis.fetch;
  readonly #cache = new Map<string, CachedResponse>();

  constructor(baseUrl: string, options: TransportOptions) {
    this.#base = baseUrl.replace(/\/+$/, "");
    this.#fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
    const { timeoutMs = 20_000, attempts = 4, maxWaitMs = 30_000, cacheEntries = 100 } = options;
    this.#options = { timeoutMs, attempts, maxWaitMs, cacheEntries };
  }

  /** The parsed body of the answer. Throws ZmartError for every refusal, and when no answer came. */
  async send(request: Request): Promise<unknown> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once(request);
      } catch (error) {
        if (!(error instanceof ZmartError) || request.signal?.aborted) throw error;
        const wait = error.retryAfterMs ?? FIRST_WAIT_MS * 2 ** (attempt - 1) * (0.5 + Math.random());
        const final = attempt >= this.#options.attempts || wait > this.#options.maxWaitMs;
        if (final || !mayRepeat(request, error)) throw error;
        await pause(wait, request.signal);
      }
    }
  }

  async #once(request: Request): Promise<unknown> {
    const url = this.#base + request.path + queryText(request.query);
    const key = request.method === "GET" ? `${this.token}\n${url}` : "";
    const cached = this.#cache.get(key);
    const response = await this.#answer(url, request, cached);
    const { text } = response;
    if (response.status === 304 && cached) return parseJson(cached.text);
    if (response.status >= 300) throw refusal(response);
    const value = parsed(response);
    const etag = response.headers.get("etag");
    if (key && etag) this.#store(key, { etag, text });
    return value;
  }

  async #answer(url: string, request: Request, cached: CachedResponse | undefined): Promise<Answer> {
    const headers: Record<string, string> = { accept: "application/json" };
    if (this.token) headers["authorization"] = `Bearer ${this.token}`;
    if (cached) headers["if-none-match"] = cached.etag;
    if (request.body !== undefined) headers["content-type"] = "application/json";
    const timeout = AbortSignal.timeout(this.#options.timeoutMs);
    const signal = request.signal ? AbortSignal.any([request.signal, timeout]) : timeout;
    const body = request.body === undefined ? null : stringifyJson(request.body);
    try {
      const response = await this.#fetch(url, { method: request.method, headers, body, signal });
      return { status: response.status, headers: response.headers, text: await response.text() };
    } catch (cause) {
      if (request.signal?.aborted) throw cause;
      if (timeout.aborted)
        throw new ZmartError("TimedOut", `No answer within ${this.#options.timeoutMs} ms: ${request.path}`, { cause });
      throw new ZmartError("Unreachable", `The API cannot be reached: ${request.method} ${url}`, { cause });
    }
  }

  #store(key: string, answer: CachedResponse): void {
    this.#cache.delete(key);
    this.#cache.set(key, answer);
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= this.#options.cacheEntries) break;
      this.#cache.delete(oldest);
    }
  }
}

interface Answer {
  status: number;
  headers: Headers;
  text: string;
}

// A 429 was refused before any work; of what else failed, nobody knows whether it was done.
function mayRepeat(request: Request, error: ZmartError): boolean {
  if (error.status === 429) return true;
  return request.repeatable && (error.status === 0 || RETRIED.includes(error.status)) && error.code !== "NotJson";
}

function queryText(query: Readonly<Record<string, unknown>> = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text && `?${text}`;
}

function parsed(answer: Answer): unknown {
  try {
    return parseJson(answer.text);
  } catch (cause) {
    throw new ZmartError("NotJson", "The answer is not JSON: is this the address of the API?", {
      status: answer.status,
      cause,
    });
  }
}

function refusal(answer: Answer): ZmartError {
  const seconds = Number(answer.headers.get("retry-after") ?? Number.NaN);
  const facts = {
    status: answer.status,
    requestId: answer.headers.get("x-request-id") ?? "",
    ...(Number.isFinite(seconds) ? { retryAfterMs: seconds * 1000 } : {}),
  };
  let body: Partial<Record<"error" | "message" | "request_id", string>> & { details?: FieldProblem[] };
  try {
    body = Object(parseJson(answer.text));
  } catch {
    body = {}; // a proxy's page
  }
  return new ZmartError(body.error ?? `Status${answer.status}`, body.message ?? `The API answered ${answer.status}.`, {
    ...facts,
    requestId: body.request_id ?? facts.requestId,
    details: body.details ?? [],
  });
}

/** Wait; ends at once, with the signal's reason, when it aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((done, fail) => {
    signal?.throwIfAborted();
    const abort = () => {
      clearTimeout(timer);
      fail(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      done();
    }, ms);
    signal?.addEventListener("abort", abort, { once: true });
  });
}
