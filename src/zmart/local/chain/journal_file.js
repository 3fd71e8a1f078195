'use strict';
// A file of lines that grows at its end. A write is appended whole or not at all; the file is read in chunks.
const fs = require('fs');

const CHUNK_BYTES = 4 * 1024 * 1024;
const NEW_LINE = 10;

class JournalFile {
  constructor(file, chunkBytes = CHUNK_BYTES) {
    this.file = file;
    this.chunkBytes = chunkBytes;
    this.handle = fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
    this.end = 0;
  }

  /** Write `text` at the end. Throws an error with `unwritten` when the disk does not take the whole text; the file
   * then ends where it ended before. */
  append(text) {
    const bytes = Buffer.from(text);
    try {
      for (let at = 0; at < bytes.length;) {
        const written = fs.writeSync(this.handle, bytes, at, bytes.length - at, this.end + at);
        if (!written) throw new Error('nothing was written');
        at += written;
      }
    } catch (problem) {
      this.cutTo(this.end);
      throw Object.assign(problem, { unwritten: true });
    }
    this.end += bytes.length;
  }

  /** Truncate the file to `end` bytes. A failure is only logged, because the next write begins at `end` in any case. */
  cutTo(end) {
    try { fs.ftruncateSync(this.handle, end); } catch (problem) { console.error(`${this.file}: ${problem.message}`); }
    this.end = end;
  }

  read(offset, length) {
    const bytes = Buffer.alloc(length);
    fs.readSync(this.handle, bytes, 0, length, offset);
    return bytes;
  }

  /** Yield every line before `end` as [bytes, offset]; `bytes` are valid until the next line is requested. */
  * lines() {
    const chunk = Buffer.allocUnsafe(this.chunkBytes);
    let rest = Buffer.alloc(0);
    let offset = 0;
    while (offset < this.end) {
      const count = fs.readSync(this.handle, chunk, 0, this.chunkBytes, offset + rest.length);
      if (!count) return;
      const bytes = rest.length ? Buffer.concat([rest, chunk.subarray(0, count)]) : chunk.subarray(0, count);
      let start = 0;
      for (let stop = bytes.indexOf(NEW_LINE); stop >= 0; stop = bytes.indexOf(NEW_LINE, start)) {
        if (offset + stop >= this.end) return;
        yield [bytes.subarray(start, stop), offset + start];
        start = stop + 1;
      }
      rest = Buffer.from(bytes.subarray(start));
      offset += start;
    }
  }

  /** Yield every whole line of the file as [bytes, offset], the last line first. */
  * linesFromEnd() {
    let rest = Buffer.alloc(0); // the bytes from `offset` on that belong to a line that begins before it
    for (let offset = this.size; offset > 0;) {
      const length = Math.min(this.chunkBytes, offset);
      offset -= length;
      const bytes = Buffer.concat([this.read(offset, length), rest]);
      let stop = bytes.lastIndexOf(NEW_LINE);
      for (let before = previous(bytes, stop); before >= 0; before = previous(bytes, stop)) {
        yield [bytes.subarray(before + 1, stop), offset + before + 1];
        stop = before;
      }
      rest = bytes.subarray(0, stop + 1);
      if (offset === 0 && stop >= 0) yield [bytes.subarray(0, stop), 0];
    }
  }

  get size() { return fs.fstatSync(this.handle).size; }

  sync() { fs.fsyncSync(this.handle); }

  renameTo(file) {
    fs.renameSync(this.file, file);
    this.file = file;
  }

  close() { fs.closeSync(this.handle); }
}

/** Return the index of the last line feed before the one at `stop`; less than 0 for none. */
function previous(bytes, stop) {
  return stop > 0 ? bytes.lastIndexOf(NEW_LINE, stop - 1) : -1;
}

module.exports = { JournalFile };
