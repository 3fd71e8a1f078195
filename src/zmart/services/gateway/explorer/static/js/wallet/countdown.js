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

// What the server says of a vote or a dispute whose time has ended, once that time comes on an open page.
function close(form) {
  for (const button of form.querySelectorAll("button")) button.disabled = true;
  const over = document.querySelector("[data-over]");
  if (!over.hidden) return;
  over.hidden = false;
  document.querySelector("[data-until]").hidden = true;
  const word = form.dataset.vote && document.querySelector(`[data-ballot="${form.dataset.vote}"] [data-ballot-open]`);
  if (word) word.textContent = "closed";
}

// Keeps every [data-countdown] of the page up to date, and the buttons of every form that opens or closes later.
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
  for (const form of document.querySelectorAll("[data-closes]")) {
    if (Date.parse(form.dataset.closes) <= chainNow()) close(form);
  }
  if (spots.length > 0) timer = setTimeout(countDown, 1000);
}
