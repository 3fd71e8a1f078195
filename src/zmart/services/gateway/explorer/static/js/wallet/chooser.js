// The dialog in which one of the browser's wallets is chosen, and the wallet in the page's header.
import { element } from "../dom.js";
import { short, sol } from "../numbers.js";
import { balance } from "./account.js";
import { site, words } from "./api.js";
import { allWallets, connect, disconnect, signer, usable, walletName, whyNot } from "./connection.js";

const REFILL_BELOW = 5_000_000_000n;
const dialog = document.querySelector("[data-wallets]");
const find = (name) => document.querySelector(`[data-${name}]`);
const every = (name) => document.querySelectorAll(`[data-${name}]`);

// The connected wallet, or the one that the user chooses now. Throws Error when none is chosen.
export function chosen() {
  return new Promise((done, fail) => {
    list();
    const closed = () => (signer() ? done(signer()) : fail(new Error("No wallet is connected.")));
    dialog.addEventListener("close", closed, { once: true });
    dialog.showModal();
  });
}

function list() {
  find("wallet-none").hidden = usable().length > 0;
  say("");
  find("wallet-list").replaceChildren(...allWallets().map(entry));
}

// A wallet that cannot be used here is listed with the reason.
function entry(wallet) {
  const icon = element("img", { src: wallet.icon, alt: "", width: 24, height: 24 });
  const button = element("button", { type: "button", class: "quietly" }, icon, wallet.name);
  const reason = whyNot(wallet);
  if (reason) button.disabled = true;
  else button.addEventListener("click", () => choose(wallet, button));
  return element("li", {}, button, ...(reason ? [element("p", { class: "note" }, reason)] : []));
}

async function choose(wallet, button) {
  button.disabled = true;
  say(`Waiting for ${wallet.name}…`);
  try {
    await connect(wallet);
    dialog.close();
  } catch (problem) {
    say(words(problem), true);
  }
  button.disabled = false;
}

function say(text, isBad = false) {
  const spot = dialog.querySelector("[data-status]");
  spot.textContent = text;
  spot.classList.toggle("bad", isBad);
}

// What the page says of the wallet; its balance is asked again after each act.
export async function showWallet() {
  const mine = signer();
  find("connect").hidden = Boolean(mine);
  find("disconnect").hidden = !mine;
  find("wallet-link").hidden = !mine;
  for (const spot of every("no-wallet")) spot.hidden = Boolean(mine);
  for (const spot of every("has-wallet")) spot.hidden = !mine;
  if (!mine) return;
  const lamports = await balance(mine.address).catch(() => null);
  if (signer() !== mine) return;
  const amount = lamports === null ? "?" : sol(lamports);
  const link = find("wallet-link");
  link.href = `/wallets/${mine.address}`;
  link.title = `${walletName()}: ${mine.address}`;
  link.replaceChildren(element("span", {}, short(mine.address)), ` ${amount} SOL`);
  for (const spot of every("address")) {
    spot.href = link.href;
    spot.textContent = short(mine.address);
  }
  for (const spot of every("balance")) spot.textContent = amount;
  for (const button of every("refill")) button.hidden = !site.local || lamports === null || lamports >= REFILL_BELOW;
}

find("connect").addEventListener("click", () => chosen().catch(() => {}));
find("disconnect").addEventListener("click", () => disconnect().catch(() => {}));
document.addEventListener("zmart:wallet", () => dialog.open && list());
