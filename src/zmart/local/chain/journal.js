'use strict';
// Store what the chain keeps over restarts: one append-only file of lines.
//   T {...}  a transaction, whole, as history answers it
//   C {...}  accounts and clock after the transactions above it. Lines after the last C are discarded.
const fs = require('fs');
const path = require('path');

const COMPACT_ABOVE_BYTES = 16 * 1024 * 1024;

class Journal {
  constructor(folder) {
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.file = path.join(folder, 'journal');
    this.accounts = new Map(); // address -> {lamports, owner, data, executable}
    this.clock = null; // {slot, unixTimestamp, genesis}
    this.transactions = new Map(); // signature -> its position, and what is requested often
    this.byAddress = new Map(); // address -> signatures, oldest first
    this.bySlot = new Map(); // slot -> signatures in block order
    const end = fs.existsSync(this.file) ? this.load() : 0;
    this.handle = fs.openSync(this.file, 'a', 0o600);
    fs.ftruncateSync(this.handle, end);
    this.end = end;
    if (end > COMPACT_ABOVE_BYTES) this.compact();
    this.past = new Set(this.transactions.keys()); // what the running chain itself does not have
    this.pastBlockhashes = new Set([...this.transactions.values()].map(({ blockhash }) => blockhash));
  }

  load() {
    const bytes = fs.readFileSync(this.file);
    let start = 0;
    let end = 0;
    let pending = [];
    for (let stop = bytes.indexOf(10); stop >= 0; stop = bytes.indexOf(10, start)) {
      const record = JSON.parse(bytes.toString('utf8', start + 2, stop));
      if (bytes[start] === 84 /* T */) pending.push([record, start + 2, stop - start - 2]);
      else {
        for (const entry of pending) this.index(...entry);
        this.apply(record);
        pending = [];
        end = stop + 1;
      }
      start = stop + 1;
    }
    if (!end && !neverHappened(bytes)) throw new Error(`${this.file} holds no state of a chain; nothing was deleted`);
    return end;
  }

  apply({ accounts = {}, clock }) {
    this.clock = { ...this.clock, ...clock };
    for (const [address, account] of Object.entries(accounts)) {
      if (account) this.accounts.set(address, account);
      else this.accounts.delete(address);
    }
  }

  index(record, offset, length) {
    const { signature, slot, blockTime, err, blockhash, addresses } = record;
    if (this.transactions.has(signature)) return;
    this.transactions.set(signature, { offset, length, slot, blockTime, err, blockhash });
    for (const address of addresses) append(this.byAddress, address, signature);
    append(this.bySlot, slot, signature);
  }

  /** Write transactions with the resulting state, all or nothing. */
  commit(transactions, accounts, clock) {
    const entries = [];
    let text = '';
    let offset = this.end;
    for (const record of transactions) {
      const body = JSON.stringify(record);
      entries.push([record, offset + 2, Buffer.byteLength(body)]);
      text += `T ${body}\n`;
      offset += Buffer.byteLength(body) + 3;
    }
    text += `C ${JSON.stringify({ accounts, clock })}\n`;
    fs.writeSync(this.handle, text);
    this.end += Buffer.byteLength(text);
    for (const entry of entries) this.index(...entry);
    this.apply({ accounts, clock });
  }

  /** The whole record of a transaction, or undefined. */
  read(signature) {
    const entry = this.transactions.get(signature);
    if (!entry) return undefined;
    const bytes = Buffer.alloc(entry.length);
    const handle = fs.openSync(this.file, 'r');
    fs.readSync(handle, bytes, 0, entry.length, entry.offset);
    fs.closeSync(handle);
    return JSON.parse(bytes.toString('utf8'));
  }

  /** Keep every transaction, but only the newest state of every account. */
  compact() {
    const draft = `${this.file}.new`;
    const out = fs.openSync(draft, 'w', 0o600);
    let offset = 0;
    for (const [signature, entry] of this.transactions) {
      const line = `T ${JSON.stringify(this.read(signature))}\n`;
      fs.writeSync(out, line);
      Object.assign(entry, { offset: offset + 2, length: Buffer.byteLength(line) - 3 });
      offset += Buffer.byteLength(line);
    }
    const state = `C ${JSON.stringify({ accounts: Object.fromEntries(this.accounts), clock: this.clock })}\n`;
    fs.writeSync(out, state);
    fs.fsyncSync(out); // before the old file is replaced, in case the machine stops here
    fs.closeSync(out);
    fs.closeSync(this.handle);
    fs.renameSync(draft, this.file);
    this.handle = fs.openSync(this.file, 'a', 0o600);
    this.end = offset + Buffer.byteLength(state);
  }
}

/** Whether a journal without any state is the first one of a chain that ended while it was written. */
function neverHappened(bytes) {
  return !bytes.length || (!bytes.includes(10) && /^[TC] \{/.test(bytes.toString('utf8', 0, 3)));
}

function append(map, key, value) {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}

module.exports = { Journal };
