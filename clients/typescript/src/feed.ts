import { withAmounts } from "./amounts.js";
import { canonical, type Channel, type FeedMessage, type Position } from "./channels.js";
import { ZmartError } from "./errors.js";
import { FEED_AMOUNTS, MESSAGE_TYPES } from "./generated/amounts.js";
import type { components } from "./generated/feed.js";
import { MessageBuffer } from "./buffer.js";
import { parseJson } from "./json.js";

type Welcome = components["schemas"]["Welcome"];
type Refusal = components["schemas"]["Error"];
type Pong = components["schemas"]["Pong"];
type Unsubscribed = components["schemas"]["Unsubscribed"];
type Incoming = FeedMessage | Welcome | Refusal | Pong | Unsubscribed;

export interface FeedOptions {
  /** Where each channel was read to, from `positions()` of an earlier feed: it goes on from there. */
  positions?: Readonly<Record<string, Position>>;
  /** Instead of the global WebSocket (Node.js has one from version 22 on, or with --experimental-websocket). */
  WebSocket?: typeof globalThis.WebSocket;
  /** Told of each connection, once the server has said its welcome, and of each disconnection. */
  onConnection?: (connected: boolean) => void;
  /** Told of what the server refuses, and of a listener that throws. */
  onError?: (error: unknown) => void;
}

type Timer = ReturnType<typeof setTimeout>;
type Listener = (message: FeedMessage) => void;

interface Subscription {
  listeners: Set<Listener>;
  /** What the server knows of it on this connection. */
  phase: "unsent" | "sent" | "answered";
}

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 30_000;
const WELCOME_WITHIN_MS = 20_000; // the time to connect included
const SENT_A_SECOND = 15; // a connection may send 20
const PAST_A_LIMIT = 1008;

/**
 * The live feed: subscribes by channel, reconnects with growing pauses, and goes on after the last message received.
 *
 * Each listener gets every change of its channel once, in the order of the commits. What is missing is told by a `gap`
 * message, with the state after it.
 */
export class LiveFeed {
  readonly #url: string;
  readonly #options: FeedOptions;
  readonly #Socket: typeof globalThis.WebSocket;
  readonly #subscriptions = new Map<Channel, Subscription>();
  /** What the server is still to be told of on this connection: channels that were left. */
  readonly #left = new Set<Channel>();
  readonly #positions: Map<string, Position>;
  readonly #buffers = new Set<{ return(): unknown }>();
  #socket: WebSocket | undefined;
  #wait = FIRST_WAIT_MS;
  #allowance = SENT_A_SECOND;
  #timers = new Set<Timer>();
  #welcoming: Timer | undefined;
  #closed = false;

  /** `url`: ws:// or wss://, as `websocket_url` of `/api/status` tells. It connects with the first subscription. */
  constructor(url: string, options: FeedOptions = {}) {
    this.#url = url;
    this.#options = options;
    this.#positions = new Map(Object.entries(options.positions ?? {}));
    const Socket = options.WebSocket ?? globalThis.WebSocket;
    if (!Socket)
      throw new ZmartError(
        "NoWebSocket",
        "This Node.js has no WebSocket: use version 22, start node with --experimental-websocket, or pass one as WebSocket.",
      );
    this.#Socket = Socket;
  }

  /**
   * Listen to a channel; returns a function that ends it. The first listener of a channel gets its state, the others
   * what comes after them. Throws TypeError if there is no such channel.
   */
  subscribe<C extends Channel>(channel: C, listener: (message: FeedMessage<C>) => void): () => void {
    if (this.#closed) throw new ZmartError("FeedClosed", "This feed was closed: make another one.");
    const name = canonical(channel);
    const entry: Listener = (message) => listener(message as FeedMessage<C>);
    let subscription = this.#subscriptions.get(name);
    if (subscription) {
      subscription.listeners.add(entry);
    } else {
      subscription = { listeners: new Set([entry]), phase: "unsent" };
      this.#subscriptions.set(name, subscription);
      if (this.#isOpen()) this.#tellSome();
    }
    if (!this.#socket && this.#timers.size === 0) this.#connect();
    return () => this.#leave(name, entry);
  }

  /**
   * The messages of a channel from now on, for `for await`; what is not read yet waits. Leaving the loop, or `close()`, ends it.
   */
  messages<C extends Channel>(channel: C): AsyncIterableIterator<FeedMessage<C>> {
    const buffer = new MessageBuffer<FeedMessage<C>>(() => {
      leave();
      this.#buffers.delete(buffer);
    });
    const leave = this.subscribe(channel, (message: FeedMessage<C>) => buffer.put(message));
    this.#buffers.add(buffer);
    return buffer;
  }

  /** Where each channel was read to: keep it, and a later feed goes on from there. */
  positions(): Record<string, Position> {
    return Object.fromEntries(this.#positions);
  }

  /** Disconnect and stay disconnected. */
  close(): void {
    this.#closed = true;
    for (const buffer of [...this.#buffers]) void buffer.return();
    this.#cancelTimers();
    this.#socket?.close(1000);
  }

  #connect(): void {
    if (this.#closed) return;
    const socket = new this.#Socket(this.#url);
    this.#socket = socket;
    this.#welcoming = this.#later(WELCOME_WITHIN_MS, () => this.#giveUp());
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      this.#allowance = SENT_A_SECOND;
      this.#tellSome();
    };
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#receive(String(data));
    };
    socket.onerror = () => undefined; // the close that follows says all
    socket.onclose = ({ code, reason }) => {
      if (socket === this.#socket) this.#disconnected(code, reason);
    };
  }

  #disconnected(code: number, reason: string): void {
    this.#socket = undefined;
    this.#cancelTimers();
    for (const subscription of this.#subscriptions.values()) subscription.phase = "unsent";
    this.#left.clear();
    this.#options.onConnection?.(false);
    if (this.#closed) return;
    if (code === PAST_A_LIMIT) this.#wait = Math.max(this.#wait, LONGEST_WAIT_MS / 4);
    const asked = /retry_ms=(\d+)/.exec(reason)?.[1];
    const wait = asked ? Number(asked) : this.#wait * (0.5 + Math.random());
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT_MS);
    this.#later(wait, () => this.#connect());
  }

  // So many in a second as the server takes, the others later. A channel that was left and is wanted again is left first.
  #tellSome(): void {
    for (const channel of this.#left) {
      if (this.#allowance <= 0) return;
      this.#left.delete(channel);
      this.#send({ action: "unsubscribe", channel });
    }
    for (const [channel, subscription] of this.#subscriptions) {
      if (subscription.phase !== "unsent" || this.#allowance <= 0) continue;
      subscription.phase = "sent";
      this.#send({ action: "subscribe", channel, ...this.#positions.get(channel) });
    }
  }

  #leave(channel: Channel, listener: Listener): void {
    const subscription = this.#subscriptions.get(channel);
    if (!subscription?.listeners.delete(listener) || subscription.listeners.size > 0) return;
    this.#subscriptions.delete(channel);
    this.#positions.delete(channel);
    if (subscription.phase === "unsent" || !this.#isOpen()) return;
    this.#left.add(channel);
    this.#tellSome();
  }

  #receive(text: string): void {
    const message = parseJson(text) as Incoming;
    withAmounts(message, MESSAGE_TYPES[message.type] ?? [], FEED_AMOUNTS);
    switch (message.type) {
      case "welcome":
        return this.#welcomed(message.data.heartbeat_ms);
      case "pong":
      case "unsubscribed":
        return;
      case "error":
        return this.#refused(message.data);
      default:
        return this.#deliver(message);
    }
  }

  #welcomed(heartbeatMs: number): void {
    this.#cancel(this.#welcoming);
    this.#watch(heartbeatMs);
    this.#options.onConnection?.(true);
  }

  #deliver(message: FeedMessage): void {
    const { channel, epoch, offset } = message;
    const subscription = this.#subscriptions.get(channel as Channel);
    if (!subscription) return; // it was left a moment ago
    if (message.type === "subscribed") {
      subscription.phase = "answered";
      if (this.#isComplete()) this.#wait = FIRST_WAIT_MS;
    } else if (message.type !== "gap") {
      const last = this.#positions.get(channel);
      const seen = last?.epoch === epoch && offset <= last.offset;
      if (seen || subscription.phase !== "answered") return; // of a subscription that was left and made again
    }
    if (message.type !== "gap") this.#positions.set(channel, { epoch, offset });
    for (const listener of subscription.listeners) {
      try {
        listener(message);
      } catch (error) {
        this.#options.onError?.(error);
      }
    }
  }

  #refused({ code, error }: Refusal["data"]): void {
    this.#options.onError?.(new ZmartError(code, error));
    if (code === "unavailable") this.#socket?.close(); // all channels are asked for again, after a pause
  }

  // Browsers do not show the server's pings: a connection that is dead but not closed is found by asking.
  #watch(heartbeatMs: number): void {
    const socket = this.#socket;
    let heard = true;
    const check = () => {
      if (!heard) return this.#giveUp();
      heard = false;
      this.#send({ action: "ping" });
      this.#later(heartbeatMs, check);
    };
    socket?.addEventListener("message", () => (heard = true));
    this.#later(heartbeatMs, check);
  }

  #giveUp(): void {
    const socket = this.#socket;
    this.#disconnected(1006, "");
    socket?.close();
  }

  // While one channel is refused as unavailable, the pauses grow though others are answered.
  #isComplete(): boolean {
    return [...this.#subscriptions.values()].every(({ phase }) => phase === "answered");
  }

  #isOpen(): boolean {
    return this.#socket?.readyState === this.#Socket.OPEN;
  }

  #send(message: object): void {
    if (!this.#isOpen()) return;
    this.#socket?.send(JSON.stringify(message));
    if (this.#allowance-- < SENT_A_SECOND) return; // the refill is on its way
    this.#later(1000, () => {
      this.#allowance = SENT_A_SECOND;
      this.#tellSome();
    });
  }

  #later(ms: number, act: () => void): Timer {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, ms);
    this.#timers.add(timer);
    return timer;
  }

  #cancel(timer: Timer | undefined): void {
    if (timer === undefined) return;
    clearTimeout(timer);
    this.#timers.delete(timer);
  }

  #cancelTimers(): void {
    this.#timers.forEach(clearTimeout);
    this.#timers.clear();
  }
}
