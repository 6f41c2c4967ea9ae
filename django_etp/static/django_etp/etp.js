/**
 * ETP in browsers and in Node: events, answers and reconnection over one WebSocket. etp.d.ts describes each name.
 *
 * - Events go out in the order of the calls, those first that waited for a connection.
 * - A question rejects at once when its connection dies, and is asked again only where `retries` says so.
 * - The server's question gets one answer, on the connection it came on, and none where a handler failed.
 */

const ACK = "__ack_";
const ERR = "__err_";
const HELLO = "__hello";
const PING = "__ping";
const EXTENSIONS = "etp.ext.v1"; // a subprotocol

const STABLE_AFTER = 5_000; // after this long, the delays start from the beginning
const LONGEST_ATTEMPT = 20_000;
const LONGEST_TIMER = 2 ** 31 - 1; // a longer one fires at once
const OPEN = 1; // WebSocket.OPEN
const FINAL = [1000, 4401, 4403]; // a normal close, and the two that will not let this user in
const WAKING = ["online", "visibilitychange"];

const DEFAULTS = {
  ackTimeout: 10_000,
  codec: "auto",
  extensions: false, // a browser refuses servers that do not select it
  heartbeat: 12_000,
  maxAttempts: Infinity,
  maxDelay: 30_000,
  minDelay: 500,
  queueSize: 1_000,
  reconnect: true,
};

const CODECS = {
  auto: { encode: (value) => (typeof value === "string" ? value : JSON.stringify(value)), decode: parse },
  json: { encode: JSON.stringify, decode: (text) => (text ? JSON.parse(text) : null) },
  text: { encode: (value) => value, decode: (text) => text },
};

export class EtpError extends Error {
  constructor(message, code, options) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

export class ConnectionLost extends EtpError {
  constructor(message) {
    super(message, "connection_lost");
  }
}

export class AckTimeout extends EtpError {
  constructor(message) {
    super(message, "ack_timeout");
  }
}

export function decode(message) {
  const utf8 = () => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(message);
  const frame = typeof message === "string" ? message : read(utf8, "invalid_frame");
  const [name, id, ...data] = frame.split("||");
  const ackId = /^[+-]?0*\d{1,19}$/.test(id) ? BigInt(id) : null;
  if (ackId === null || BigInt.asIntN(64, ackId) !== ackId) {
    throw new EtpError(`Expected name||ackId||data, got ${excerpt(frame)}`, "invalid_frame");
  }
  return { name, ackId, data: data.join("||") };
}

export function encode({ name, ackId, data }) {
  checkName(name, ACK);
  return toFrame(name, ackId, data);
}

export class EtpClient {
  #url;
  #options;
  #codec;
  #state = "closed";
  #id = null;
  #attempt = null; // the connection under way or there
  #socket = null;
  #handlers = new Map(); // event name -> Map of handler -> whether it runs only once
  #hooks = new Map(); // the same, by kind
  #questions = new Map(); // ack id -> message that waits for its answer
  #queue = new Set(); // messages that wait for a connection
  #asked = 0n; // questions of this connection
  #opening = null; // the promise that connect() returns, with its resolvers
  #attempts = 0;
  #isAway = false; // hooks expect it back
  #openedAt = 0;
  #heardAt = 0;
  #timer; // for the next attempt, one that takes too long, or the next heartbeat

  constructor(url, options) {
    this.#url = new URL(url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace(/^http/, "ws");
    this.#options = { ...options };
    for (const name in DEFAULTS) this.#options[name] ??= DEFAULTS[name];
    this.#codec = CODECS[this.#options.codec] ?? this.#options.codec;
  }

  get state() {
    return this.#state;
  }

  get id() {
    return this.#id;
  }

  on(name, handler) {
    checkName(name);
    return register(this.#handlers, name, handler);
  }

  once(name, handler) {
    checkName(name);
    return register(this.#handlers, name, handler, true);
  }

  off(name, handler) {
    if (handler) this.#handlers.get(name)?.delete(handler);
    else this.#handlers.delete(name);
  }

  onConnect(hook) {
    return register(this.#hooks, "connect", hook);
  }

  onDisconnect(hook) {
    return register(this.#hooks, "disconnect", hook);
  }

  onError(hook) {
    return register(this.#hooks, "error", hook);
  }

  onUnknownEvent(hook) {
    return register(this.#hooks, "unknown event", hook);
  }

  connect() {
    if (this.#state === "closed") {
      for (const type of WAKING) globalThis.addEventListener?.(type, this.#wake);
      this.#attempts = 0;
    }
    const { promise } = (this.#opening ??= Promise.withResolvers());
    promise.catch(() => {}); // nobody has to wait for it
    if (!this.#attempt) this.#open();
    return promise;
  }

  close(code = 1000, reason = "") {
    if (this.#state === "closed") return;
    this.#isAway = false;
    this.#socket?.close(code, reason);
    this.#end(code, reason, false);
  }

  emit(name, data) {
    checkName(name);
    this.#submit({ name, data: this.#encode(data) });
  }

  async emitWithAck(name, data, options) {
    checkName(name);
    return this.#decode(await this.#ask(name, this.#encode(data), options));
  }

  async ping(options) {
    const start = performance.now();
    await this.#ask(PING, "", options);
    return performance.now() - start;
  }

  async #ask(name, data, { timeout = this.#options.ackTimeout, signal = null, retries = 0 } = {}) {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers();
    const question = { name, data, resolve, reject, retries };
    this.#submit(question);
    const timer = later(timeout, () => reject(new AckTimeout(`No answer to ${excerpt(name)} within ${timeout} ms`)));
    const abort = () => reject(signal.reason);
    signal?.addEventListener("abort", abort);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      this.#questions.delete(question.ackId);
      this.#queue.delete(question);
    }
  }

  /** Send a message, or let it wait: an event, or a question that may be asked again. */
  #submit(message) {
    if (this.#state === "open" && this.#socket.readyState === OPEN) return this.#send(message);
    const hasRoom = this.#state !== "closed" && this.#queue.size < this.#options.queueSize;
    if (!hasRoom || (message.reject && message.retries < 1)) throw new ConnectionLost("There is no connection");
    this.#queue.add(message);
  }

  #send(message) {
    if (message.reject) this.#questions.set((message.ackId = ++this.#asked), message);
    this.#socket.send(toFrame(message.name, message.ackId, message.data));
  }

  async #open() {
    const attempt = (this.#attempt = {});
    const { extensions, params } = this.#options;
    this.#state = "connecting";
    clearTimeout(this.#timer);
    this.#timer = later(LONGEST_ATTEMPT, () => this.#end(1006, "no handshake in time"));
    try {
      const url = new URL(this.#url);
      const query = new URLSearchParams(typeof params === "function" ? await params() : params);
      for (const [name, value] of query) url.searchParams.append(name, value);
      if (attempt !== this.#attempt) return; // closed meanwhile
      const socket = (this.#socket = new WebSocket(url, extensions ? [EXTENSIONS] : []));
      socket.binaryType = "arraybuffer";
      socket.onopen = () => socket.protocol !== EXTENSIONS && this.#opened(); // else the greeting opens it
      socket.onmessage = (message) => this.#receive(socket, message.data);
      socket.onclose = ({ code, reason }) => this.#end(code, reason, !FINAL.includes(code));
      socket.onerror = () => socket.readyState || this.#end(1006, "no handshake"); // Node 22 fires no close then
    } catch (error) {
      if (attempt !== this.#attempt) return;
      this.#end(1006, "no attempt possible");
      this.#fail(error);
    }
  }

  #opened(id = null) {
    this.#id = id;
    this.#state = "open";
    this.#openedAt = performance.now();
    this.#asked = 0n;
    for (const message of this.#queue) this.#send(message);
    this.#queue.clear();
    this.#beatLater();
    (this.#opening ??= Promise.withResolvers()).resolve();
    this.#runHooks("connect");
  }

  #end(code, reason, mayReconnect = true) {
    const wasOpen = this.#state === "open";
    if (wasOpen && performance.now() - this.#openedAt >= STABLE_AFTER) this.#attempts = 0;
    const { maxAttempts, reconnect } = this.#options;
    const willReconnect = mayReconnect && reconnect && this.#attempts < maxAttempts;
    const lost = new ConnectionLost(`The connection closed with ${code}${reason && `: ${reason}`}`);
    this.#abandon();
    this.#state = willReconnect ? "connecting" : "closed";
    this.#settle(willReconnect, lost);
    if (willReconnect) this.#retryLater();
    else {
      for (const type of WAKING) globalThis.removeEventListener?.(type, this.#wake);
      this.#opening?.reject(lost);
    }
    if (wasOpen || !willReconnect) this.#opening = null;
    if (!wasOpen && (willReconnect || !this.#isAway)) return;
    this.#isAway = willReconnect;
    this.#runHooks("disconnect", { code, reason, isNormal: code === 1000, willReconnect });
  }

  #abandon() {
    const socket = this.#socket;
    if (socket) socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
    socket?.close();
    clearTimeout(this.#timer);
    this.#attempt = this.#socket = this.#id = null;
  }

  /** Let wait for the next connection what may, and reject the rest. */
  #settle(willReconnect, lost) {
    const waiting = this.#queue;
    this.#queue = new Set();
    for (const message of [...this.#questions.values(), ...waiting]) {
      if (willReconnect && (waiting.has(message) || message.retries-- > 0)) this.#queue.add(message);
      else message.reject?.(lost);
    }
    this.#questions.clear();
  }

  /** Full jitter, so that the clients of a server that died do not return as one. */
  #retryLater() {
    const limit = Math.min(this.#options.maxDelay, this.#options.minDelay * 2 ** this.#attempts++);
    this.#timer = later(Math.random() * limit, () => this.#open());
  }

  /** The network is back, or somebody looks: wait no longer, and doubt what seems open. */
  #wake = ({ type }) => {
    if (type !== "online" && document.hidden) return;
    this.#attempts = 0;
    if (this.#state === "open") this.#beat();
    else this.connect();
  };

  #beatLater() {
    clearTimeout(this.#timer);
    this.#timer = later(this.#options.heartbeat, () => this.#beat());
  }

  /** Plain peers answer a ping too, as they do unknown events; and what else they send shows that they live. */
  async #beat() {
    const { heartbeat } = this.#options;
    if (!heartbeat) return;
    const attempt = this.#attempt;
    await this.ping({ timeout: heartbeat }).catch(() => {});
    if (attempt !== this.#attempt) return;
    if (performance.now() - this.#heardAt < heartbeat) this.#beatLater();
    else this.#end(1006, "the server is silent");
  }

  #receive(socket, message) {
    this.#heardAt = performance.now();
    try {
      const event = decode(message);
      const isExtended = socket.protocol === EXTENSIONS;
      if (event.name.startsWith(ACK)) this.#questions.get(event.ackId)?.resolve(event.data);
      else if (isExtended && event.name.startsWith(ERR)) this.#questions.get(event.ackId)?.reject(toError(event.data));
      else if (isExtended && event.name === HELLO && this.#state !== "open") this.#opened(parse(event.data)?.id);
      else if (event.name === PING && event.ackId) this.#answer(socket, event, ACK);
      else this.#handle(socket, event);
    } catch (error) {
      this.#fail(error);
    }
  }

  async #handle(socket, event) {
    let handlers = take(this.#handlers, event.name);
    if (!handlers.length) handlers = take(this.#hooks, "unknown event");
    let errors = [];
    let answer;
    try {
      const outcome = await run(handlers, handlers.length && this.#decode(event.data), event);
      errors = outcome.errors;
      if (event.ackId) answer = this.#encode(outcome.values.findLast((value) => value != null));
    } catch (error) {
      errors.push(error);
    }
    for (const error of errors) this.#fail(error, event);
    if (!event.ackId) return;
    const isExtended = socket.protocol === EXTENSIONS;
    if (!handlers.length && isExtended) errors = [new EtpError("No handler for this event", "unknown_event")];
    if (!errors.length) this.#answer(socket, event, ACK, answer);
    else if (isExtended) this.#answer(socket, event, ERR, toFailure(errors[0]));
  }

  #answer(socket, { name, ackId }, prefix, data) {
    socket.send(toFrame(prefix + name, ackId, data)); // to nowhere once it is closed
  }

  #encode(value) {
    const text = value == null ? "" : this.#codec.encode(value);
    if (typeof text !== "string") throw new TypeError(`A ${typeof value} cannot be sent with this codec`);
    return text;
  }

  #decode(text) {
    return read(() => this.#codec.decode(text), "invalid_payload");
  }

  async #runHooks(kind, ...args) {
    const { errors } = await run(take(this.#hooks, kind), ...args);
    for (const error of errors) this.#fail(error);
  }

  async #fail(error, event) {
    const hooks = take(this.#hooks, "error");
    const { errors } = await run(hooks, error, event);
    for (const unheard of hooks.length ? errors : [error]) console.error(unheard);
  }
}

function register(registry, key, handler, once = false) {
  if (typeof handler !== "function") throw new TypeError(`Expected a function, got ${typeof handler}`);
  if (!registry.has(key)) registry.set(key, new Map());
  registry.get(key).set(handler, once);
  return () => registry.get(key)?.delete(handler);
}

/** The functions to run now; those for once are taken out. */
function take(registry, key) {
  const entries = [...(registry.get(key) ?? [])];
  for (const [handler, once] of entries) if (once) registry.get(key).delete(handler);
  return entries.map(([handler]) => handler);
}

/** Start all at once, and wait for all. */
async function run(functions, ...args) {
  const errors = [];
  const attempt = async (call) => {
    try {
      return await call(...args);
    } catch (error) {
      errors.push(error);
    }
  };
  return { values: await Promise.all(functions.map(attempt)), errors };
}

function later(delay, call) {
  return setTimeout(call, Math.min(delay, LONGEST_TIMER));
}

function checkName(name, reserved = "__") {
  if (name.includes("||") || name.endsWith("|") || name.startsWith(reserved)) {
    const message = `An event name must not hold "||", end in "|" or start with "${reserved}": ${excerpt(name)}`;
    throw new EtpError(message, "invalid_event_name");
  }
}

function toFrame(name, ackId = 0n, data = "") {
  return data === "" ? `${name}||${ackId}` : `${name}||${ackId}||${data}`;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What the server is told of an error: of an unexpected one, nothing. */
function toFailure(error) {
  const isMeant = error?.constructor === EtpError;
  const { code, message } = isMeant ? error : { code: "handler_error", message: "The handler failed" };
  return JSON.stringify({ code, message });
}

function toError(text) {
  const { code = "handler_error", message = text } = Object(parse(text));
  return new EtpError(message, code);
}

function read(call, code) {
  try {
    return call();
  } catch (cause) {
    throw new EtpError(`Unreadable: ${cause.message}`, code, { cause });
  }
}

function excerpt(text) {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
