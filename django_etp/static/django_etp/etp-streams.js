/** Streamed answers for etp.js; etp-streams.d.ts describes each name. */

import { AckTimeout, EtpError, EtpClient as PlainClient } from "./etp.js";

export * from "./etp.js";

const PART = "__part_";
const STOP = "__stop_";
const STREAMS = "etp.ext.v2"; // the subprotocol that has streams

/** Add streamed answers to a class of clients. */
export const withStreams = (Base) =>
  class extends Base {
    #streams = new Set(); // those that a loop reads
    #submitted; // the last message
    #timeout;

    constructor(url, options) {
      super(url, options);
      this.#timeout = options?.ackTimeout ?? 10_000;
    }

    stream(name, payload, options) {
      checkName(name);
      return this._read(name, this._encode(payload), options);
    }

    /** For rooms, too: the signal `ended` ends the stream with its reason, behind the parts that came. */
    async *_read(name, data, { timeout = this.#timeout, signal, ended } = {}) {
      signal?.throwIfAborted();
      const over = new AbortController();
      const signals = [over.signal, signal, ended].filter(Boolean);
      const answer = this._ask(name, data, { timeout: Infinity, signal: AbortSignal.any(signals) });
      const question = this.#submitted;
      const connection = this.id;
      const parts = [];
      const stream = { question, parts, wake: () => {} };
      let isOver = false;
      const end = (isEnd) => {
        isOver = isEnd;
        stream.wake();
      };
      answer.then(
        () => end(true),
        () => end(!signal?.aborted),
      );
      this.#streams.add(stream);
      try {
        for (;;) {
          signal?.throwIfAborted();
          if (parts.length) yield this._decode(parts.shift());
          else if (isOver) break;
          else await arrival(stream, name, timeout);
        }
        const last = await answer;
        if (last) yield this._decode(last);
      } finally {
        this.#streams.delete(stream);
        over.abort();
        const canStop = this._protocol === STREAMS && this.id === connection;
        if (!isOver && canStop) this._submit({ name: STOP + name, ackId: question.ackId });
      }
    }

    _submit(message) {
      this.#submitted = message;
      super._submit(message);
    }

    async _handle(socket, event, handlers) {
      if (socket.protocol !== STREAMS || !event.name.startsWith(PART)) return super._handle(socket, event, handlers);
      for (const { question, parts, wake } of this.#streams) {
        if (question.ackId !== event.ackId) continue;
        parts.push(event.data);
        wake();
      }
    }
  };

export class EtpClient extends withStreams(PlainClient) {}

/** Resolve with the next part, or the end. */
async function arrival(stream, name, timeout) {
  const { promise, resolve, reject } = Promise.withResolvers();
  stream.wake = resolve;
  const late = () => reject(new AckTimeout(`No further part of the answer to ${JSON.stringify(name)} within ${timeout} ms`));
  const timer = setTimeout(late, Math.min(timeout, 2 ** 31 - 1));
  await promise.finally(() => clearTimeout(timer));
}

function checkName(name) {
  if (/^__|\|\||\|$/.test(name)) {
    const message = `An event name holds no "||", ends in no "|", starts with no "__": ${JSON.stringify(name)}`;
    throw new EtpError(message, "invalid_event_name");
  }
}
