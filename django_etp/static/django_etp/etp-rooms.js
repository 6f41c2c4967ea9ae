/** Declared rooms for etp.js; etp-rooms.d.ts describes each name. */

import { AckTimeout, ConnectionLost, EtpError, EtpClient as PlainClient } from "./etp.js";

export * from "./etp.js";

const ROOMS = "etp.ext.v2"; // the subprotocol that has declared rooms

/** Add rooms to a class of clients. */
export const withRooms = (Base) =>
  class extends Base {
    #rooms = new Map(); // by name
    #wanted = new Set(); // in the order of their joins

    room(name) {
      if (!/^[^ |]+$/.test(name)) {
        throw new EtpError(`A room's name holds no space and no "|": ${JSON.stringify(name)}`, "invalid_room_name");
      }
      if (!this.#rooms.has(name)) this.#rooms.set(name, new Room(name, this, this.#wanted));
      return this.#rooms.get(name);
    }

    /** Joins go out first, then what hooks send, and once the joins are answered what waited. */
    async _ready() {
      const returns = [...this.#wanted].map((room) => room._return());
      await super._ready();
      await Promise.all(returns);
    }

    async _handle(socket, event, handlers) {
      const [, name, inner] = /^__in ([^ ]+) (.*)$/s.exec(event.name) ?? [];
      if (socket.protocol !== ROOMS || (!name && event.name !== "__left")) {
        return super._handle(socket, event, handlers);
      }
      if (name) return this.#rooms.get(name)?._handle(inner, event, (found) => super._handle(socket, event, found));
      const { room, code, message } = Object(JSON.parse(event.data));
      this.#rooms.get(room)?._end(new EtpError(message, code));
    }
  };

export class EtpClient extends withRooms(PlainClient) {}

class Room {
  #client;
  #handlers = new Map(); // name -> Set of handlers
  #isJoined = false;
  #joining = null; // settles when the join or return under way has ended
  #left = new Set(); // hooks
  #name;
  #states = new Set(); // hooks
  #stay = new AbortController(); // leave() aborts the joins before it
  #wanted;

  constructor(name, client, wanted) {
    this.#name = name;
    this.#client = client;
    this.#wanted = wanted;
  }

  get name() {
    return this.#name;
  }

  get isJoined() {
    return this.#isJoined && this.#client.state === "open";
  }

  on(name, handler) {
    checkName(name);
    if (!this.#handlers.has(name)) this.#handlers.set(name, new Set());
    return register(this.#handlers.get(name), handler);
  }

  onState(hook) {
    return register(this.#states, hook);
  }

  onLeft(hook) {
    return register(this.#left, hook);
  }

  async join({ timeout = Infinity, signal } = {}) {
    const signals = [this.#stay.signal, ...(signal ? [signal] : [])];
    const joining = this.#join({ timeout, signal: AbortSignal.any(signals), retries: Infinity });
    const settled = joining.catch((error) => {
      // The answer may still come, and the server may have let the client in.
      const mayBeIn = error instanceof AckTimeout || signal?.aborted;
      if (mayBeIn && !this.#isWanted && this.#client.state === "open") this.#send("__leave");
    });
    this.#wait(settled);
    return joining;
  }

  async leave(options) {
    const mayBeIn = this.#isWanted || this.#joining;
    this.#forget();
    this.#stay.abort(new EtpError("The room was left before the answer came", "left"));
    this.#stay = new AbortController();
    if (mayBeIn && this.#client.state === "open") await this.#ask("__leave", options);
  }

  emit(name, payload) {
    checkName(name);
    const message = { name: `__in ${this.#name} ${name}`, data: this.#client._encode(payload) };
    const send = () => {
      this.#check();
      this.#client._submit(message);
    };
    if (this.#joining) this.#joining.then(send).catch((error) => this.#client._fail(error));
    else send();
  }

  async emitWithAck(name, payload, options) {
    checkName(name);
    const data = this.#client._encode(payload);
    while (this.#joining) await this.#joining;
    this.#check();
    return this.#client._decode(await this.#client._ask(`__in ${this.#name} ${name}`, data, options));
  }

  // For the client

  async _return() {
    this.#isJoined = false;
    const returning = this.#join({ timeout: Infinity, signal: this.#stay.signal }).catch((error) => {
      if (!(error instanceof ConnectionLost || error.code === "left")) this._end(error);
    });
    this.#wait(returning);
    await returning;
  }

  _end(reason) {
    if (!this.#isWanted) return;
    this.#forget();
    this.#run(this.#left, reason);
  }

  /** Answer an event of the room; one that comes after `leave()` is dropped. */
  async _handle(name, event, answer) {
    if (!this.#isWanted && !event.ackId) return;
    if (name === "__presence") return this._presence?.(JSON.parse(event.data));
    const own = { ...event, name };
    const handlers = this.#isWanted ? [...(this.#handlers.get(name) ?? [])] : [];
    return answer(handlers.map((handler) => (payload) => handler(payload, own)));
  }

  get #isWanted() {
    return this.#wanted.has(this);
  }

  #forget() {
    this.#isJoined = false;
    this.#wanted.delete(this);
    this._presence?.(null);
  }

  async #join(options) {
    const answer = await this.#ask("__join", options);
    if (!answer) throw new EtpError("The server has no declared rooms", "unknown_event");
    this.#isJoined = true;
    this.#wanted.add(this);
    const { state, recovered = false } = answer;
    this.#run(this.#states, state, { recovered });
    if (answer.members) this._presence?.({ ...answer, isNew: true });
    return state;
  }

  async #ask(name, options) {
    const text = await this.#client._ask(name, JSON.stringify({ room: this.#name }), options);
    return text && JSON.parse(text);
  }

  #send(name) {
    this.#client._submit({ name, data: JSON.stringify({ room: this.#name }) });
  }

  #check() {
    if (!this.#isWanted) throw new EtpError(`The client is not in the room ${this.#name}`, "permission_denied");
  }

  #wait(settled) {
    const joining = settled.then(() => {
      if (this.#joining === joining) this.#joining = null;
    });
    this.#joining = joining;
  }

  async #run(hooks, ...args) {
    for (const hook of [...hooks]) {
      try {
        await hook(...args);
      } catch (error) {
        this.#client._fail(error);
      }
    }
  }
}

function register(hooks, hook) {
  if (typeof hook !== "function") throw new TypeError(`Expected a function, got ${typeof hook}`);
  hooks.add(hook);
  return () => hooks.delete(hook);
}

function checkName(name) {
  if (/^__|\|\||\|$/.test(name)) {
    const message = `An event name holds no "||", ends in no "|", starts with no "__": ${JSON.stringify(name)}`;
    throw new EtpError(message, "invalid_event_name");
  }
}
