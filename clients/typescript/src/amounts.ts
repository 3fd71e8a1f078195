// Amounts are bigints, whatever their size: the published descriptions tell where they stand.
import type { AmountFields } from "./generated/amounts.js";

/** Turn the amounts of a parsed value of one of these schemas into bigints, in place; returns the value. */
export function withAmounts(value: unknown, kinds: readonly string[], fields: AmountFields): unknown {
  if (Array.isArray(value)) {
    value.forEach((item, index) => (value[index] = withAmounts(item, kinds, fields)));
    return value;
  }
  if (typeof value === "number") return kinds.includes("amount") && Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof value !== "object" || value === null) return value;
  const object = value as Record<string, unknown>;
  for (const kind of kinds)
    for (const [key, inside] of Object.entries(fields[kind] ?? {}))
      if (key in object) object[key] = withAmounts(object[key], inside, fields);
  return object;
}
