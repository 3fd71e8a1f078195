// The live feed of one channel, from the position at which the page was rendered: no message is missed, and after a lost
// connection it continues after the last message.
import { LiveFeed } from "../client/zmart-client.js";

export function follow({ message, link, gap }) {
  const meta = document.querySelector('meta[name="zmart-socket"]');
  const { channel, epoch, offset } = meta.dataset;
  const feed = new LiveFeed(meta.content, {
    positions: { [channel]: { epoch, offset: Number(offset) } },
    onConnection: (isUp) => isUp || link(false),
  });
  feed.subscribe(channel, (received) => {
    if (received.type === "gap") gap();
    else if (received.type === "subscribed") link(true);
    else message(received);
  });
}
