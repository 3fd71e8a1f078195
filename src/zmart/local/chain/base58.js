'use strict';

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

/** Encode a Buffer as base58, the form in which Solana writes addresses and signatures. */
function base58(bytes) {
  let text = '';
  for (let number = bytes.length ? BigInt(`0x${bytes.toString('hex')}`) : 0n; number > 0n; number /= 58n) {
    text = ALPHABET[Number(number % 58n)] + text;
  }
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return '1'.repeat(zeros < 0 ? bytes.length : zeros) + text;
}

/** Decode a base58 text into a Buffer; null for a text that is not base58. */
function fromBase58(text) {
  let number = 0n;
  for (const letter of text) {
    const digit = ALPHABET.indexOf(letter);
    if (digit < 0) return null;
    number = number * 58n + BigInt(digit);
  }
  const zeros = text.length - text.replace(/^1+/, '').length;
  const hex = number ? number.toString(16) : '';
  return Buffer.concat([Buffer.alloc(zeros), Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex')]);
}

module.exports = { base58, fromBase58 };
