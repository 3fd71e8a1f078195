// A transaction's bytes: a count of signatures, 64 bytes each, and the message that they sign.
import { encodeBase58 } from "./base58.js";
import { ZmartError } from "./errors.js";

const SIGNATURE_BYTES = 64;
const KEY_BYTES = 32;
const VERSIONED = 0x80;
const HEADER_BYTES = 3;

/** The transaction with the signature of `address` in its place. Throws ZmartError `NotASigner`. */
export async function signedBy(
  address: string,
  transaction: Uint8Array,
  sign: (message: Uint8Array) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const count = transaction[0] ?? 0; // one byte: so many signatures that it takes two do not fit a transaction
  const message = transaction.subarray(1 + count * SIGNATURE_BYTES);
  const header = (message[0] ?? 0) & VERSIONED ? 1 : 0;
  const keys = header + HEADER_BYTES + 1; // so do the keys of a transaction of the API: fewer than 128
  const place = Array.from({ length: count }, (_, index) => keys + index * KEY_BYTES).findIndex(
    (start) => encodeBase58(message.subarray(start, start + KEY_BYTES)) === address,
  );
  if (place < 0 || message[header] !== count)
    throw new ZmartError("NotASigner", `${address} is no signer of this transaction: it was not signed.`);
  const signed = Uint8Array.from(transaction);
  signed.set(await sign(message), 1 + place * SIGNATURE_BYTES);
  return signed;
}

/** The transaction's signature in base58: the first one, of who pays. */
export function signatureOf(signed: Uint8Array): string {
  return encodeBase58(signed.subarray(1, 1 + SIGNATURE_BYTES));
}
