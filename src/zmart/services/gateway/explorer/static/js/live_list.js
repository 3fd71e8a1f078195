// Prices, volumes and states of the list of markets, as they change.
import { gauge, put, rendered } from "./dom.js";
import { cents, changeFrom, count, points, sol } from "./numbers.js";
import { follow } from "./feed.js";

function message({ data }) {
  const now = data.market;
  const root = now && document.querySelector(`[data-market="${now.market_id}"]`);
  if (!root) return;
  const chance = cents(now.current_price_yes);
  if (data.action === "deleted" || root.dataset.phase !== now.state) return renew(); // deleted: it has left the chain
  put(root, "price", chance);
  put(root, "price-yes", chance);
  put(root, "price-no", cents(now.current_price_no));
  put(root, "volume", sol(now.total_volume));
  put(root, "traders", `${count(now.traders)} ${Number(now.traders) === 1 ? "trader" : "traders"}`);
  gauge(root, chance);
  showChange(root, now.current_price_yes);
}

function showChange(root, price) {
  const spot = root.querySelector("[data-before]");
  if (!spot) return;
  const change = changeFrom(spot.dataset.before, price);
  put(spot, "change", points(change));
  spot.classList.toggle("gain", change > 0);
  spot.classList.toggle("loss", change < 0);
}

// A card of another state looks different, and may belong to another list: the list is fetched again as the server renders
// it, for all changes of a moment.
const RETRY_MS = 2000;
let timer = 0;
function renew(waitMs = 200 + Math.random() * 600) {
  timer ||= setTimeout(replace, waitMs);
}

async function replace() {
  timer = 0;
  const fresh = await rendered();
  if (!fresh) return renew(RETRY_MS * (1 + Math.random()));
  const focused = document.activeElement.getAttribute("href");
  for (const spot of document.querySelectorAll("[data-renewed]")) {
    const now = fresh.querySelector(`[data-renewed="${spot.dataset.renewed}"]`);
    if (!now) continue; // as an older release renders it
    const hadFocus = spot.contains(document.activeElement);
    spot.replaceWith(document.adoptNode(now));
    if (hadFocus && focused) now.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }
  document.dispatchEvent(new CustomEvent("zmart:renewed"));
}

follow({ message, link: () => {}, gap: () => location.reload() });
