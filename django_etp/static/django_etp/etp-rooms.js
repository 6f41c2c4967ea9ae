/** Declared rooms for etp.js; etp-rooms.d.ts describes each name. */

import { AckTimeout, ConnectionLost, EtpError, EtpClient as PlainClient } from "./etp.js";

export * from "./etp.js";

const ROOMS = "etp.ext.v2"; // the subprotocol that has declared rooms

/** Add rooms to a class of clients. */
export const withRooms = (Base) =>
  class extends Base {
    #rooms = new Map(); // by name
    #wanted = new Set(); // in the order of their joins

    room(name, { since } = {}) {
      if (!/^[^ |]+$/.test(name)) {
        throw new EtpError(`A room's name holds no space and no "|": ${JSON.stringify(name)}`, "invalid_room_name");
      }
      if (!this.#rooms.has(name)) this.#rooms.set(name, new Room(name, this, this.#wanted));
      const room = this.#rooms.get(name);
      if (since) room._begin(since);
      return room;
    }

    /** Joins go out first, then what hooks send, and once the joins are answered what waited. */
    async _ready() {
      const returns = [...this.#wanted].map((room) => room._return());
      await super._ready();
      await Promise.all(returns);
    }

    _submit(message) {
      if (message.name === "__join") this.#rooms.get(JSON.parse(message.data).room)._watch(message);
      super._submit(message);
    }

    async _handle(socket, event, handlers) {
      const [, name, inner] = /^__in ([^ ]+) (.*)$/s.exec(event.name) ?? [];
      if (socket.protocol !== ROOMS || (!name && event.name !== "__left")) {
        return super._handle(socket, event, handlers);
      }
      if (name) return this.#find(name)?._handle(inner, event, (found) => super._handle(socket, event, found));
      const { room, code, message } = Object(JSON.parse(event.data));
      this.#rooms.get(room)?._end(new EtpError(message, code));
    }

    /** Return the room of an event: in a room with history the last @ separates the position of the event. */
    #find(name) {
      const [, before, position] = /^(.+)@([^@]*\.\d+)$/s.exec(name) ?? [];
      const room = this.#rooms.get(before);
      if (!room?._hasHistory) return this.#rooms.get(name);
      return room._advance(position) ? room : null; // the answer to a second join may repeat it
    }
  };

export class EtpClient extends withRooms(PlainClient) {}

class Room {
  #client;
  #handlers = new Map(); // name -> Set of handlers
  #isJoined = false;
  #joining = null; // settles when the join or return under way has ended
  #left = new Set(); // hooks
  #membership = null; // an AbortController for streams, which aborts if the server ends the membership
  #name;
  #returning = null; // stands for the last return
  #position = null; // in a room with history, that of the last event
  #hasHistory = false;
  #signal; // of the last join
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

  get position() {
    return this.#position;
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
    while (this.#joining) await this.#settled(options?.signal);
    this.#check();
    return this.#client._decode(await this.#client._ask(`__in ${this.#name} ${name}`, data, options));
  }

  stream(name, payload, options) {
    checkName(name);
    if (!this.#client._read) throw new TypeError("room.stream() needs a client with streams, as that of etp-all.js");
    return this.#stream(`__in ${this.#name} ${name}`, this.#client._encode(payload), options);
  }

  async *#stream(name, data, { timeout, signal } = {}) {
    while (this.#joining) await this.#settled(signal);
    this.#check();
    const stay = AbortSignal.any([this.#stay.signal, ...(signal ? [signal] : [])]);
    const { signal: ended } = (this.#membership ??= new AbortController());
    yield* this.#client._read(name, data, { timeout, signal: stay, ended });
  }

  async history({ limit, before, ...options } = {}) {
    while (this.#joining) await this.#settled(options.signal);
    this.#check();
    const { events } = await this.#ask("__history", options, { limit, before });
    return events.map(({ data, at, ...past }) => ({ ...past, data: this.#client._decode(data), at: new Date(at * 1000) }));
  }

  // For the client

  /** Ask for the events after a position with the first join. */
  _begin(position) {
    if (!this.#isWanted) this.#position = position;
  }

  get _hasHistory() {
    return this.#hasHistory;
  }

  /** Record the position of an event; return whether it is after that of the last one, or of another epoch. */
  _advance(position) {
    const [epoch, number] = split(position);
    const [last, known] = split(this.#position ?? "");
    if (epoch === last && number <= known) return false;
    if (this.#isWanted) this.#position = position;
    return true;
  }

  /** Let the answer to a join count before anything else is read: in Node several messages come in one turn. */
  _watch(question) {
    const { resolve } = question;
    const signal = this.#signal;
    question.resolve = (text) => {
      resolve(text);
      if (text && !signal.aborted) this.#enter(JSON.parse(text));
    };
  }

  /** Join again; return once the first attempt has ended. A refusal may say when to try again. */
  async _return() {
    this.#isJoined = false;
    const first = this.#joinAgain();
    this.#wait(this.#insist(first, (this.#returning = {})));
    await first;
  }

  /** Return after how many seconds to try again, if the server has refused for that long. */
  async #joinAgain() {
    try {
      await this.#join({ timeout: Infinity, signal: this.#stay.signal });
    } catch (error) {
      if (error.retryAfter !== undefined) return error.retryAfter;
      if (!(error instanceof ConnectionLost || error.code === "left")) this._end(error);
    }
  }

  async #insist(first, own) {
    for (let seconds = await first; seconds !== undefined; seconds = await this.#joinAgain()) {
      const { promise, resolve } = Promise.withResolvers();
      const timer = setTimeout(resolve, seconds * 1000);
      this.#stay.signal.addEventListener("abort", resolve);
      await promise;
      clearTimeout(timer);
      if (own !== this.#returning || !this.#isWanted || this.#isJoined) return; // or on a later connection, or left
    }
  }

  _end(reason) {
    if (!this.#isWanted) return;
    this.#forget();
    this.#membership?.abort(reason);
    this.#membership = null;
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
    this.#position = null;
    this.#wanted.delete(this);
    this._presence?.(null);
  }

  async #join(options) {
    this.#signal = options.signal;
    const answer = await this.#ask("__join", options, this.#position ? { since: this.#position } : {});
    if (!answer) throw new EtpError("The server has no declared rooms", "unknown_event");
    return answer.state;
  }

  #enter(answer) {
    this.#isJoined = true;
    this.#wanted.add(this);
    const { state, position = null, recovered = false } = answer;
    this.#hasHistory = position !== null;
    if (!recovered) this.#position = position; // else the events after its own position follow
    this.#run(this.#states, state, { recovered });
    if (answer.members) this._presence?.({ ...answer, isNew: true });
  }

  async #ask(name, options, more) {
    const text = await this.#client._ask(name, JSON.stringify({ room: this.#name, ...more }), options);
    return text && JSON.parse(text);
  }

  #send(name) {
    this.#client._submit({ name, data: JSON.stringify({ room: this.#name }) });
  }

  #check() {
    if (!this.#isWanted) throw new EtpError(`The client is not in the room ${this.#name}`, "permission_denied");
  }

  /** Return once the join or return under way has ended. */
  async #settled(signal) {
    signal?.throwIfAborted();
    const { promise, reject } = Promise.withResolvers();
    const abort = () => reject(signal.reason);
    signal?.addEventListener("abort", abort);
    await Promise.race([this.#joining, promise]).finally(() => signal?.removeEventListener("abort", abort));
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

/** Return the epoch and the number of a position. */
function split(position) {
  const end = position.lastIndexOf(".");
  return [position.slice(0, end), Number(position.slice(end + 1))];
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
