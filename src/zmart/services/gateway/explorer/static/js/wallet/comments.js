// Replies to comments, and the deletion of one's own.
import { short } from "../numbers.js";

const SURE_MS = 4000;
const form = document.querySelector("[data-comment]");

// Which buttons the comments have for this wallet.
export function showComments(address) {
  for (const comment of document.querySelectorAll(".comment")) {
    const [reply, remove] = ["reply", "delete"].map((name) => comment.querySelector(`:scope > .by [data-${name}]`));
    reply.hidden = false;
    remove.hidden = comment.dataset.author !== address;
  }
}

export function replyTo(comment) {
  form.elements.parent.value = comment?.dataset.id ?? "";
  form.querySelector("[data-replying]").hidden = !comment;
  if (!comment) return;
  form.querySelector("[data-replying-to]").textContent = short(comment.dataset.author);
  form.elements.content.focus();
}

// A comment was posted: what was written, and the reply that was chosen, while it was on its way stay.
export function sent(content, parent = "") {
  if (form.elements.content.value === content) form.elements.content.value = "";
  if (form.elements.parent.value === parent) replyTo(null);
}

// True at the second press within some seconds.
export function isSure(button) {
  if (button.dataset.sure) return true;
  button.dataset.sure = "true";
  button.textContent = "Delete it?";
  setTimeout(() => {
    delete button.dataset.sure;
    button.textContent = "Delete";
  }, SURE_MS);
  return false;
}
