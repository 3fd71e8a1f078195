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

// Beyond an end by this machine's clock, which may be wrong, or after an end that may be put off.
const isDoubtful = (form) => form.matches("[data-may-reopen]") || Date.parse(form.dataset.closes) <= chainNow();

// Keeps every [data-countdown] of the page up to date, and the button of every form that opens later. Whether a form
// has closed, or is open again, is the server's to say.
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
  const isInDoubt = [...document.querySelectorAll("[data-closes], [data-may-reopen]")].some(isDoubtful);
  if (isInDoubt) document.dispatchEvent(new CustomEvent("zmart:deadline"));
  if (spots.length > 0 || isInDoubt) timer = setTimeout(countDown, 1000);
}
