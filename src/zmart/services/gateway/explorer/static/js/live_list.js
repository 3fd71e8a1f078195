// Prices, volumes and states of the list of markets, as they change.
import { gauge, put, state } from "./dom.js";
import { cents, count, sol } from "./numbers.js";
import { follow } from "./socket.js";

function message({ data }) {
  const now = data.market;
  const root = now && document.querySelector(`[data-market="${now.market_id}"]`);
  if (!root) return;
  const chance = cents(now.current_price_yes);
  put(root, "price", chance);
  put(root, "volume", sol(now.total_volume));
  put(root, "traders", count(now.traders));
  gauge(root, chance);
  state(root, now.state);
}

follow({ message, link: () => {}, gap: () => location.reload() });
