'use strict';
// Store the chain's state and history in one append-only file of lines, from which a restarted chain continues.
//   T {...}  a whole transaction, as history.js answers it: the fields of the index come first, then `meta`
//   C {...}  the changed accounts and the clock after the T lines above it. Lines after the last C or S are discarded.
//   S {...}  every account, and the clock. A start searches the last S line from the end, and applies the C lines
//            below it.
const fs = require('fs');
const path = require('path');
const { setImmediate: others } = require('timers/promises');
const { JournalFile } = require('./journal_file.js');
const { REFUSED } = require('./refusal.js');

const COMPACT_ABOVE_BYTES = 16 * 1024 * 1024;
const CHANGES_BYTES = 4 * 1024 * 1024;
const AT_ONCE = 200; // transactions that are read without a pause, in some 5 ms
const MOST_PRICES = 5000;
const META = Buffer.from(',"meta":');
const [TRANSACTION, WHOLE] = Buffer.from('TS');
// These bytes follow a line's kind and occur nowhere else: JSON.stringify writes no spaces between values, and escapes
// quotes inside of strings.
const BEGIN = Buffer.from(' {"');

class Journal {
  constructor(folder) {
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.file = path.join(folder, 'journal');
    this.accounts = new Map(); // address -> {lamports, owner, data, executable}
    this.clock = null; // {slot, unixTimestamp, height, ended, reserved, genesis}
    this.transactions = new Map(); // signature -> {offset, length, slot, blockTime, err, memo}
    this.byAddress = new Map(); // address -> signatures, oldest first
    this.bySlot = new Map(); // slot -> signatures in block order
    this.past = new Set(); // signatures of earlier runs, which the running Surfpool does not have
    this.present = []; // signatures of this run
    this.prices = []; // {slot, price, addresses} of recent transactions that set a compute unit price, oldest first
    this.bytes = { transactions: 0, state: 0, changes: 0 }; // state: last S line; changes: the C lines below it
    this.lines = new JournalFile(this.file);
    this.damaged = 0;
    this.readState();
  }

  /** Read the accounts and the clock, from the end of the file up to the last S line. Cut off what follows the last C
   * or S line. Throws an error for a file that has lines but no state. */
  readState() {
    const { size } = this.lines;
    const changes = []; // newest first
    let [end, count, isWhole] = [0, 0, false];
    for (const [bytes, offset] of this.lines.linesFromEnd()) {
      count += 1;
      const start = beginning(bytes);
      if (start === null || bytes[start] === TRANSACTION) continue;
      end ||= offset + bytes.length + 1;
      const line = [offset + start + 2, bytes.length - start - 2];
      isWhole = bytes[start] === WHOLE && this.applied('state', ...line);
      if (isWhole) break;
      if (bytes[start] !== WHOLE) changes.push(line);
    }
    for (const line of changes.reverse()) this.applied('changes', ...line);
    if (!this.clock && (count || !neverHappened(this.lines.read(0, Math.min(size, 3))))) {
      throw new Error(`${this.file} holds no state of a chain; nothing was deleted`);
    }
    if (end < size) console.error(`${this.file}: the last ${size - end} bytes were cut short, and are left out`);
    this.lines.cutTo(end);
  }

  /** Apply an S line (`state`) or a C line (`changes`); return whether the line could be parsed. */
  applied(kind, offset, length) {
    const record = parsed(this.lines.read(offset, length));
    if (!record) this.damaged += 1;
    else {
      this.apply(record);
      this.bytes[kind] += length + 3;
    }
    return Boolean(record);
  }

  /** Index every transaction, AT_ONCE at a time so that other tasks run in between. Compact a file that is mostly
   * outdated. */
  async readTransactions() {
    let count = 0;
    for (const [bytes, offset] of this.lines.lines()) {
      const start = beginning(bytes);
      if (start !== 0) this.damaged += 1; // the line begins with, or is, the rest of a write that was cut short
      if (start === null || bytes[start] !== TRANSACTION) continue;
      count += 1;
      if (count % AT_ONCE === 0) await others();
      this.remember(bytes.subarray(start + 2), offset + start + 2);
    }
    if (this.damaged) console.error(`${this.file}: ${this.damaged} damaged lines are left out`);
    const spare = this.lines.end - this.bytes.transactions - this.bytes.state;
    if (spare > Math.max(COMPACT_ABOVE_BYTES, 2 * this.bytes.transactions)) this.compactIfPossible();
  }

  /** Index a transaction of an earlier run, from the bytes of its record and their offset in the file. */
  remember(bytes, offset) {
    const end = bytes.indexOf(META);
    const head = end < 0 ? parsed(bytes) : parsed(`${bytes.toString('utf8', 0, end)}}`);
    if (!Array.isArray(head?.addresses)) {
      this.damaged += 1;
      return;
    }
    if (head.signature === REFUSED) return; // an earlier release wrote it down
    this.index(head, offset, bytes.length);
    this.past.add(head.signature);
  }

  /** End a run of Surfpool: the next one does not have the transactions of this one. */
  endRun() {
    for (const signature of this.present) this.past.add(signature);
    this.present = [];
  }

  apply({ accounts = {}, clock }) {
    this.clock = { ...this.clock, ...clock };
    for (const [address, account] of Object.entries(accounts)) {
      if (account) this.accounts.set(address, account);
      else this.accounts.delete(address);
    }
  }

  index({ signature, slot, blockTime, err, memo, addresses }, offset, length) {
    if (this.transactions.has(signature)) return;
    this.bytes.transactions += length + 3;
    this.transactions.set(signature, { offset, length, slot, blockTime, err, ...(memo && { memo }) });
    for (const address of addresses) this.list(address, signature, slot);
    append(this.bySlot, slot, signature);
  }

  /** Add a signature to an address's list, ordered by slot: Surfpool may report transactions out of this order. */
  list(address, signature, slot) {
    append(this.byAddress, address, signature);
    const list = this.byAddress.get(address);
    for (let at = list.length - 1; at > 0 && this.transactions.get(list[at - 1]).slot > slot; at -= 1) {
      [list[at - 1], list[at]] = [list[at], list[at - 1]];
    }
  }

  /** Write transactions and the changed accounts and clock, all or nothing. Throws an error with `unwritten` when the
   * disk does not take them. */
  commit(transactions, accounts, clock) {
    const entries = [];
    let text = '';
    let offset = this.lines.end;
    for (const record of transactions) {
      const body = JSON.stringify(record);
      entries.push([record, offset + 2, Buffer.byteLength(body)]);
      text += `T ${body}\n`;
      offset += Buffer.byteLength(body) + 3;
    }
    text += `C ${JSON.stringify({ accounts, clock })}\n`;
    this.lines.append(text);
    this.bytes.changes += this.lines.end - offset;
    for (const entry of entries) this.index(...entry);
    this.present.push(...transactions.map(({ signature }) => signature));
    this.prices.push(...transactions.filter(({ price }) => (price ?? null) !== null)
      .map(({ slot, price, addresses }) => ({ slot, price, addresses })));
    if (this.prices.length > 2 * MOST_PRICES) this.prices = this.prices.slice(-MOST_PRICES);
    this.apply({ accounts, clock });
    if (this.bytes.changes > CHANGES_BYTES + 2 * this.bytes.state) this.writeState();
  }

  /** Write an S line, so that the next start applies no C line above it. A failure is only logged. */
  writeState() {
    const before = this.lines.end;
    try { this.lines.append(this.wholeState()); } catch (problem) { console.error(`${this.file}: ${problem.message}`); }
    this.bytes = { ...this.bytes, state: this.lines.end - before || this.bytes.state, changes: 0 };
  }

  wholeState() {
    return `S ${JSON.stringify({ accounts: Object.fromEntries(this.accounts), clock: this.clock })}\n`;
  }

  /** Read the whole record of a transaction; undefined for a signature that the journal does not have. */
  read(signature) {
    const entry = this.transactions.get(signature);
    return entry && JSON.parse(this.lines.read(entry.offset, entry.length).toString('utf8'));
  }

  compactIfPossible() {
    try { this.compact(); } catch (problem) { console.error(`${this.file} stays as long as it is: ${problem.message}`); }
  }

  /** Replace the file by one with every transaction, but only the newest state of every account. */
  compact() {
    const draft = new JournalFile(`${this.file}.new`);
    draft.cutTo(0);
    const moved = [];
    for (const [signature, entry] of this.transactions) {
      moved.push([signature, { ...entry, offset: draft.end + 2 }]);
      draft.append(this.lines.read(entry.offset - 2, entry.length + 3));
    }
    const { end } = draft;
    draft.append(this.wholeState());
    draft.sync(); // before the old file is replaced, in case the machine stops here
    draft.renameTo(this.file);
    this.lines.close();
    this.lines = draft;
    this.bytes = { ...this.bytes, state: draft.end - end, changes: 0 };
    this.transactions = new Map(moved);
  }
}

/** Return the index at which the record in a line begins; null for a line without one. It is above 0 where the line
 * begins with the rest of a write that was cut short. */
function beginning(bytes) {
  const later = bytes.indexOf(BEGIN, 2) < 0 ? 1 : bytes.lastIndexOf(BEGIN);
  const start = later - 1;
  return 'TCS'.includes(String.fromCharCode(bytes[start])) && bytes.indexOf(BEGIN, start) === start + 1 ? start : null;
}

function parsed(text) {
  try { return JSON.parse(text.toString('utf8')); } catch { return null; }
}

/** Return whether the first bytes of a file without a whole line are those of a journal, or none: the first run of the
 * chain then ended during its first write. */
function neverHappened(bytes) {
  return !bytes.length || /^[TC] \{/.test(bytes.toString('utf8'));
}

function append(map, key, value) {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}

module.exports = { Journal };
