// Replies to comments, and what happens to them when a comment is deleted.
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

// Takes a deleted comment off the page, whichever page of the discussion it is. The replies below it, which are other
// people's, take its place, as the server renders them: the newest first.
export function dropComment(id) {
  const comment = document.querySelector(`.comment[data-id="${CSS.escape(id)}"]`);
  if (!comment) return;
  const list = comment.parentElement;
  const replies = [...comment.querySelectorAll(":scope > .replies > .comment")].reverse();
  for (const reply of replies) reply.querySelector(":scope > .by time").after(" · a reply");
  comment.replaceWith(...replies);
  const isOnlyPage = !document.querySelector("#talk .pages");
  if (list.matches(".talk")) document.querySelector("[data-no-talk]").hidden = list.children.length > 0 || !isOnlyPage;
  if (form.elements.parent.value === id) replyTo(null);
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
