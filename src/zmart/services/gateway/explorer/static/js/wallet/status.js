// The line beside a form that says how far an act is, also to screen readers.
import { element } from "../dom.js";

export const UNREAD = "What this wallet holds cannot be read now.";

const STATUS = "[data-status]";
const spotOf = (form) => form.querySelector(STATUS) ?? form.closest("[data-part]").querySelector(STATUS);

// Shows a message beside the form, with a link to the transaction.
export function sayer(form) {
  const spot = spotOf(form);
  return (text, { bad = false, signature } = {}) => {
    spot.classList.toggle("bad", bad);
    spot.replaceChildren(text);
    if (signature) spot.append(" ", element("a", { href: `/transactions/${signature}` }, "See the transaction"));
  };
}

// Says that a read failed, until one succeeds; what was said of an act stays.
export function sayRead(form, isRead) {
  if (!isRead) sayer(form)(UNREAD, { bad: true });
  else if (spotOf(form).textContent === UNREAD) sayer(form)("");
}
