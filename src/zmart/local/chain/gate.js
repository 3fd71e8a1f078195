'use strict';
// Let requests pass together, and now and then one act alone.

class Gate {
  constructor() {
    this.underWay = 0;
    this.closed = null; // resolves when it opens again
    this.emptied = () => {};
  }

  /** Execute a request's `act`, once the gate is open. */
  async pass(act) {
    while (this.closed) await this.closed;
    this.underWay += 1;
    try {
      return await act();
    } finally {
      this.leave();
    }
  }

  leave() {
    this.underWay -= 1;
    if (this.underWay === 0) this.emptied();
  }

  /** Within a request: execute `act` once the other requests have ended, at most `withinMs` later; new ones wait. */
  async alone(act, withinMs) {
    this.leave();
    while (this.closed) await this.closed;
    let open;
    this.closed = new Promise((resolve) => { open = resolve; });
    try {
      if (this.underWay > 0) await this.empty(withinMs);
      return await act();
    } finally {
      this.closed = null;
      this.underWay += 1;
      open();
    }
  }

  empty(withinMs) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, withinMs);
      this.emptied = () => { clearTimeout(timer); resolve(); };
    });
  }
}

module.exports = { Gate };
