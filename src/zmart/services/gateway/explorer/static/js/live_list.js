// Prices, volumes and states of the list of markets, as they change.
import { gauge, put, rendered } from "./dom.js";
import { cents, count, sol } from "./numbers.js";
import { follow } from "./feed.js";

function message({ data }) {
  const now = data.market;
  const root = now && document.querySelector(`[data-market="${now.market_id}"]`);
  if (!root) return;
  const chance = cents(now.current_price_yes);
  if (root.dataset.phase !== now.state) return renew();
  put(root, "price", chance);
  put(root, "price-yes", chance);
  put(root, "price-no", cents(now.current_price_no));
  put(root, "volume", sol(now.total_volume));
  put(root, "traders", count(now.traders));
  gauge(root, chance);
}

// A card of another state looks different: the list is fetched again as the server renders it, for all changes of a moment.
const RETRY_MS = 2000;
let timer = 0;
function renew(waitMs = 200 + Math.random() * 600) {
  timer ||= setTimeout(replace, waitMs);
}

async function replace() {
  timer = 0;
  const fresh = await rendered();
  if (!fresh) return renew(RETRY_MS * (1 + Math.random()));
  for (const card of document.querySelectorAll(".card[data-market]")) {
    const now = fresh.querySelector(`[data-market="${card.dataset.market}"]`);
    if (now) card.replaceWith(document.adoptNode(now));
  }
  document.dispatchEvent(new CustomEvent("zmart:renewed"));
}

follow({ message, link: () => {}, gap: () => location.reload() });
