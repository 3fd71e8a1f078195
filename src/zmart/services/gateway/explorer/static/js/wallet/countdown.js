// How long something still takes, by the chain's clock.
import { chainNow } from "./api.js";

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
const SHOWN = 2;
let timer = 0;

function left(seconds) {
  const parts = [];
  let rest = seconds;
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0 || parts.length > 0) parts.push(`${count} ${unit}`);
    if (parts.length === SHOWN) break;
  }
  return parts.join(" ");
}

// Keeps every [data-countdown] of the page up to date, and the button of every form that opens later.
export function countDown() {
  clearTimeout(timer);
  const spots = document.querySelectorAll("[data-countdown]");
  for (const spot of spots) {
    const seconds = Math.floor((Date.parse(spot.dataset.countdown) - chainNow()) / 1000);
    spot.textContent = seconds > 0 ? `(${left(seconds)} left)` : "";
  }
  for (const form of document.querySelectorAll("[data-opens]")) {
    const isClosed = Date.parse(form.dataset.opens) > chainNow();
    form.querySelector("button").disabled = isClosed || form.hasAttribute("aria-busy");
  }
  if (spots.length > 0) timer = setTimeout(countDown, 1000);
}
