// Elements without HTML in strings: what others wrote can only ever be text.
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// New text with a short glow; nothing happens where it says that already.
export function put(root, name, text) {
  for (const spot of root.querySelectorAll(`[data-${name}]`)) {
    if (spot.textContent === text) continue;
    spot.textContent = text;
    glow(spot);
  }
}

export function glow(spot) {
  spot.classList.remove("fresh");
  void spot.offsetWidth;
  spot.classList.add("fresh");
}

export const gauge = (root, percent) => root.querySelector("[data-gauge]")?.setAttribute("width", String(percent));

export function state(root, name) {
  const word = name.toLowerCase();
  const spot = root.querySelector("[data-state]");
  if (!spot || spot.textContent === word) return false;
  spot.replaceChildren(element("span", { class: `state ${word}` }, word));
  root.dataset.phase = name;
  return true;
}

// This page as the server renders it now; null while it cannot be had.
export async function rendered() {
  try {
    const answer = await fetch(location.pathname + location.search, { headers: { accept: "text/html" } });
    return answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
  } catch {
    return null;
  }
}
