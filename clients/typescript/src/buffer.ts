/** Messages that wait until they are read, in order. */
export class MessageBuffer<T> implements AsyncIterableIterator<T> {
  readonly #messages: T[] = [];
  readonly #readers: ((result: IteratorResult<T>) => void)[] = [];
  readonly #onEnd: () => void;
  #ended = false;

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  put(value: T): void {
    const reader = this.#readers.shift();
    if (reader) reader({ value, done: false });
    else this.#messages.push(value);
  }

  next(): Promise<IteratorResult<T>> {
    if (this.#messages.length > 0) return Promise.resolve({ value: this.#messages.shift() as T, done: false });
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    return new Promise((reader) => this.#readers.push(reader));
  }

  /** End it: who waits is told, and what was not read is dropped. */
  return(): Promise<IteratorResult<T>> {
    if (!this.#ended) {
      this.#ended = true;
      this.#messages.length = 0;
      this.#onEnd();
      for (const reader of this.#readers.splice(0)) reader({ value: undefined, done: true });
    }
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
