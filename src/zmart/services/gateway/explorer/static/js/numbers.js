// Amounts for people, written as the server writes them (explorer/numbers.py).
const fixed = (amount, decimals) => {
  const value = Number(amount) / 1e9;
  const text = Math.abs(value).toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  if (value !== 0 && Number(text) === 0) return `${value < 0 ? ">-" : "<"}0.${"1".padStart(decimals, "0")}`;
  return value < 0 ? `−${text}` : text;
};

export const sol = (lamports) => fixed(lamports, 3);
export const gain = (lamports) => (lamports > 0n ? `+${sol(lamports)}` : sol(lamports));
export const shares = (amount) => fixed(amount, 2);
export const count = (number) => Number(number).toLocaleString("en");
const e9 = (price) => Math.round(Number(price) * 1e9);
const tenths = (priceE9) => (Math.floor((priceE9 * 2000 + 1e9) / 2e9) / 10).toFixed(1);
export const cents = (price) => tenths(e9(price));

// By how much a price differs from an earlier one, which is in units of 1e-9, and how the pages write that in points.
export const changeFrom = (beforeE9, price) => e9(price) - Number(beforeE9);
export const points = (changeE9) => `${changeE9 > 0 ? "+" : changeE9 < 0 ? "−" : "±"}${tenths(Math.abs(changeE9))}`;
export const short = (address) => (address.length <= 12 ? address : `${address.slice(0, 4)}…${address.slice(-4)}`);

// "0.5" as 500000000n units of 1e-9, exactly; null for what is no amount, or may be two.
export function units(text) {
  const match = hasThousands(text) ? null : /^\s*(\d{0,9})(?:[.,](\d{1,9}))?\s*$/.exec(text);
  if (!match || (!match[1] && !match[2])) return null;
  return BigInt(match[1] || "0") * 1000000000n + BigInt((match[2] || "").padEnd(9, "0"));
}

// Whether an amount may separate thousands: "1,000" is 1000 to who writes as the pages do, and 1 to others. A point before
// three digits is a decimal one, as on the pages.
const hasThousands = (text) => /\d/.test(text) && (/,\d{3}(?!\d)/.test(text) || /[.,'’\s].*[.,'’\s]|\d['’\s]\d/.test(text.trim()));

// The sentence for a text that `units` refuses: how to write it if it has thousands, else `otherwise`.
export const whyNoAmount = (text, otherwise) =>
  hasThousands(text) ? "Write the amount without separators of thousands, and decimals after a point, such as 1000 or 1000.5." : otherwise;

// The inverse: 898989483 as 0.898989483.
export function unitsText(amount) {
  const digits = String(amount).padStart(10, "0");
  return `${digits.slice(0, -9)}.${digits.slice(-9)}`.replace(/\.?0+$/, "");
}
