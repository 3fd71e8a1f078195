// The channels of the live feed, and what they carry.
import type { components } from "./generated/feed.js";

type Shapes = components["schemas"];

type OneMarket = "market" | "trades" | "votes" | "discussions";
export type Channel = "markets" | "trades" | "activity" | `${OneMarket}:${string}`;

type Change<C extends Channel> = C extends "markets"
  ? Shapes["MarketStateMessage"]
  : C extends "trades" | `trades:${string}`
    ? Shapes["TradeMessage"]
    : C extends `votes:${string}`
      ? Shapes["VoteMessage"]
      : C extends `discussions:${string}`
        ? Shapes["DiscussionMessage"]
        : Shapes["MarketStateMessage"] | Shapes["TradeMessage"] | Shapes["VoteMessage"] | Shapes["DiscussionMessage"];

/**
 * What a listener of the channel gets: `subscribed` with the state (`data.snapshot`) at the beginning and after a gap,
 * `gap` when changes are missing that cannot be had any more, and every change.
 */
export type FeedMessage<C extends Channel = Channel> = Shapes["Subscribed"] | Shapes["Gap"] | Change<C>;

/** How far a channel was read. */
export interface Position {
  epoch: string;
  offset: number;
}

const FORM = /^(?:markets|trades|activity|(?:market|trades|votes|discussions):[0-9a-f]{64})$/;

/** The channel under the name that the server uses. Throws TypeError. */
export function canonical(channel: Channel): Channel {
  const name = channel.toLowerCase();
  if (!FORM.test(name)) throw new TypeError(`${channel} is no channel; name a market by its id, 64 hex characters.`);
  return name as Channel;
}
