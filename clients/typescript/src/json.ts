// JSON that keeps every digit: integers beyond 2^53 are bigints.

const random = globalThis.crypto.getRandomValues(new Uint8Array(12));
// Nobody can send it, so that a text is never taken for a number.
const MARK = `i${Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("")}:`;
const MARKED = new RegExp(`"${MARK}(-?\\d+)"`, "g");
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const LONG = /\d{16}/; // most texts have no such number, and are read at JSON.parse's own speed
const INTEGER = /^-?[1-9]\d{15,}$/;

/** Parse JSON; an integer that a number cannot hold exactly is a bigint. Throws SyntaxError. */
export function parseJson(text: string): unknown {
  if (!LONG.test(text)) return JSON.parse(text);
  let found = false;
  const marked = text.replace(TOKEN, (token) => {
    if (!INTEGER.test(token) || Number.isSafeInteger(Number(token))) return token;
    found = true;
    return `"${MARK}${token}"`;
  });
  if (!found) return JSON.parse(text);
  return JSON.parse(marked, (_key, value: unknown) =>
    typeof value === "string" && value.startsWith(MARK) ? BigInt(value.slice(MARK.length)) : value,
  );
}

/** Write JSON in which a bigint is an integer with all its digits. */
export function stringifyJson(value: unknown): string {
  function mark(this: Record<string, unknown>, key: string, written: unknown): unknown {
    const given = this[key]; // before a toJSON that the page may have given to BigInt
    return typeof given === "bigint" ? `${MARK}${given}` : written;
  }
  return JSON.stringify(value, mark).replace(MARKED, "$1");
}
