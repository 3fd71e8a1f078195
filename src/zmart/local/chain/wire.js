'use strict';
// Check the form of serialized transactions. Surfpool 1.5.0 uses the account indexes of an instruction, and the first
// signature, without checking that they exist: a transaction without them ends its runtime. A validator refuses such a
// transaction (Sanitize in solana-message; SIMD-0385 for version 1), and so does this module.

const VERSION_BIT = 0x80;
const V1 = VERSION_BIT | 1;
const [SIGNATURE_BYTES, KEY_BYTES, CONFIG_VALUE_BYTES] = [64, 32, 4];
const MOST_ACCOUNTS = 256;
const V1_LIMITS = { signatures: 12, keys: 64, instructions: 64 };

class Malformed extends Error {}

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  take(length) {
    const end = this.at + length;
    if (end > this.bytes.length) throw new Malformed(`it ends after ${this.bytes.length} bytes`);
    const taken = this.bytes.subarray(this.at, end);
    this.at = end;
    return taken;
  }

  byte() { return this.take(1)[0]; }

  /** Read a length in Solana's compact-u16: seven bits a byte, the lowest first. */
  length() {
    let value = 0;
    for (let shift = 0; shift < 21; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new Malformed('a length has more than three bytes');
  }

  list(count, read) { return Array.from({ length: count }, read); }

  header() {
    const [signers, readonlySigners, readonlyOthers] = this.take(3);
    return { signers, readonlySigners, readonlyOthers };
  }
}

/** Read a serialized transaction into {version, signatures, signers, readonlySigners, readonlyOthers, keys,
 * blockhash, instructions, looked}; `looked` has the number of accounts from each lookup table. Throws Malformed for
 * invalid bytes. */
function readTransaction(bytes) {
  const reader = new Reader(bytes);
  if (bytes[0] === V1) return readV1(reader);
  if (bytes[0] & VERSION_BIT) throw new Malformed('it begins with a version that is not known here');
  const signatures = reader.list(reader.length(), () => reader.take(SIGNATURE_BYTES));
  const version = reader.bytes[reader.at] & VERSION_BIT ? reader.byte() - VERSION_BIT : 'legacy';
  if (version !== 'legacy' && version !== 0) throw new Malformed(`its message has version ${version}`);
  const header = reader.header();
  const keys = reader.list(reader.length(), () => reader.take(KEY_BYTES));
  const blockhash = reader.take(KEY_BYTES);
  const instructions = reader.list(reader.length(), () => {
    const program = reader.byte();
    const accounts = reader.take(reader.length());
    reader.take(reader.length());
    return { program, accounts };
  });
  const looked = version === 0 ? reader.list(reader.length(), () => lookup(reader)) : [];
  return { version, signatures, ...header, keys, blockhash, instructions, looked };
}

/** Read one lookup of a v0 message; return how many accounts it takes out of its lookup table. */
function lookup(reader) {
  reader.take(KEY_BYTES);
  return reader.take(reader.length()).length + reader.take(reader.length()).length;
}

function readV1(reader) {
  reader.byte();
  const header = reader.header();
  const mask = reader.take(4).readUInt32LE();
  const blockhash = reader.take(KEY_BYTES);
  const [count, addresses] = reader.take(2);
  const keys = reader.list(addresses, () => reader.take(KEY_BYTES));
  for (let bits = mask; bits; bits >>>= 1) if (bits & 1) reader.take(CONFIG_VALUE_BYTES);
  const heads = reader.list(count, () => {
    const head = reader.take(4);
    return { program: head[0], accounts: head[1], data: head.readUInt16LE(2) };
  });
  const instructions = heads.map(({ program, accounts, data }) => {
    const indexes = reader.take(accounts);
    reader.take(data);
    return { program, accounts: indexes };
  });
  const signatures = reader.list(header.signers, () => reader.take(SIGNATURE_BYTES));
  return { version: 1, signatures, ...header, keys, blockhash, instructions, looked: [] };
}

/** Return whether a validator would accept a transaction of this form. */
function isSane({ version, signatures, signers, readonlySigners, readonlyOthers, keys, instructions, looked }) {
  const accounts = looked.reduce((sum, each) => sum + each, keys.length);
  const fits = version !== 1 || (signers <= V1_LIMITS.signatures && keys.length <= V1_LIMITS.keys
    && instructions.length <= V1_LIMITS.instructions && areDistinct(keys));
  return fits && signers === signatures.length && readonlySigners < signers
    && signers + readonlyOthers <= keys.length && accounts <= MOST_ACCOUNTS && !looked.includes(0)
    && instructions.every(({ program, accounts: indexes }) => program > 0 && program < keys.length
      && indexes.every((index) => index < accounts));
}

const areDistinct = (keys) => new Set(keys.map((key) => key.toString('hex'))).size === keys.length;

module.exports = { Malformed, isSane, readTransaction };
