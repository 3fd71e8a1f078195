'use strict';
// Execute requests concurrently, except while one of them has to be executed alone.

class Gate {
  constructor() {
    this.underWay = 0;
    this.closed = null; // while the gate is closed: a promise that resolves when it opens
    this.emptied = () => {};
  }

  /** Execute the action `act` of a request, once the gate is open. */
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

  /** Close the gate, wait until the other requests have ended (at most `withinMs`), and execute `act`. New requests
   * wait until `act` has ended. Only a request that has passed the gate may call this. */
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
