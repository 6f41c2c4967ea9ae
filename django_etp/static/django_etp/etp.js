/**
 * ETP in the browser: events, answers and reconnection over one WebSocket.
 *
 *     const client = new EtpClient("/ws/");
 *     client.on("news", (news) => console.log(news));
 *     client.onConnect(() => client.emit("hello", { name: "Ada" }));
 *     await client.connect();
 *     const answer = await client.emitWithAck("add", [1, 2], { timeout: 5000 });
 *
 * Rules it keeps:
 * - Strings go as they are, other values as JSON, undefined and null as no data. What comes is parsed where it is JSON,
 *   else it is a string, "" where there is no data; a handler's second argument holds the text as it came.
 * - The server's question gets one answer; none where a handler failed or the connection it came on is gone.
 * - Our question is sent once, and rejects at once when its connection dies.
 * - Times are milliseconds. Ack ids are signed 64-bit numbers, so BigInts.
 */

const ACK = "__ack_";
const ERR = "__err_";
const HELLO = "__hello";
const PING = "__ping";
const EXTENSIONS = "etp.ext.v1"; // the subprotocol; without it the wire is plain ETP

const STABLE_AFTER = 5_000; // a connection that lived this long starts the delays from the beginning
const LONGEST_TIMER = 2 ** 31 - 1; // past this setTimeout fires at once
const OPEN = 1; // WebSocket.OPEN

const DEFAULTS = {
  ackTimeout: 10_000, // how long emitWithAck and ping wait, unless told otherwise
  extensions: false, // offer etp.ext.v1; a browser refuses a server that does not select what it offered
  maxDelay: 30_000, // the longest wait between two attempts to connect
  minDelay: 500, // the longest wait before the first of them; it doubles with each
  reconnect: true,
};

/** What this module throws and rejects with; `code` says what happened. */
export class EtpError extends Error {
  constructor(message, code, options) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** The connection is closed, or closed before the answer came. */
export class ConnectionLost extends EtpError {
  constructor(message) {
    super(message, "connection_lost");
  }
}

/** No answer came in time. */
export class AckTimeout extends EtpError {
  constructor(message) {
    super(message, "ack_timeout");
  }
}

/**
 * Read one WebSocket message, text or ArrayBuffer, as `{ name, ackId, data }`: a string, a BigInt and the text as it
 * came ("" where there is none). Throws EtpError with the code "invalid_frame".
 */
export function decode(message) {
  const frame = typeof message === "string" ? message : decodeUtf8(message);
  const nameEnd = frame.indexOf("||");
  if (nameEnd < 0) throw invalidFrame(`expected name||ackId, got ${excerpt(frame)}`);
  const idEnd = frame.indexOf("||", nameEnd + 2);
  const id = idEnd < 0 ? frame.slice(nameEnd + 2) : frame.slice(nameEnd + 2, idEnd);
  const digits = /^([+-]?)0*(\d{1,19})$/.exec(id);
  const ackId = digits && BigInt(digits[2]) * (digits[1] === "-" ? -1n : 1n);
  if (ackId === null || BigInt.asIntN(64, ackId) !== ackId) {
    throw invalidFrame(`expected a signed 64-bit ack id, got ${excerpt(id)}`);
  }
  return { name: frame.slice(0, nameEnd), ackId, data: idEnd < 0 ? "" : frame.slice(idEnd + 2) };
}

/** Write an event as a frame. Throws EtpError with the code "invalid_event_name" for what would come back as another. */
export function encode({ name, ackId = 0n, data = "" }) {
  if (name.includes("||") || name.endsWith("|") || name.startsWith(ACK)) {
    const message = `An event name must not hold "||", end in "|" or start with "${ACK}": ${excerpt(name)}`;
    throw new EtpError(message, "invalid_event_name");
  }
  return toFrame(name, ackId, data);
}

/** A connection to an ETP server that comes back by itself. Every `on…` returns a function that takes it back. */
export class EtpClient {
  #url;
  #options;
  #state = "closed";
  #id = null;
  #socket = null;
  #handlers = new Map(); // event name -> Map of handler -> whether it runs only once
  #hooks = new Map(); // the same, for "connect", "disconnect", "error" and "unknown event"
  #questions = new Map(); // ack id -> how to settle it
  #asked = 0n; // questions of this connection
  #opening = null; // the promise that connect() returns, with its resolvers
  #attempts = 0;
  #retryTimer;
  #openedAt = 0;

  /** Take a ws:, wss:, http: or https: URL, or one relative to the page, whose scheme then decides. */
  constructor(url, options = {}) {
    this.#url = new URL(url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace(/^http/, "ws");
    this.#options = { ...DEFAULTS, ...options };
  }

  /** "closed", "connecting" (also while it waits for the next attempt) or "open". */
  get state() {
    return this.#state;
  }

  /** The server's id of this connection where it tells it (option `extensions`), else null. */
  get id() {
    return this.#id;
  }

  /** Run `handler(payload, event)` for each event of that name; what it returns or resolves to is the answer. */
  on(name, handler) {
    return register(this.#handlers, name, handler);
  }

  /** As on(), for the next event only. */
  once(name, handler) {
    return register(this.#handlers, name, handler, true);
  }

  /** Take back one handler of an event, or all of them. */
  off(name, handler) {
    if (handler) this.#handlers.get(name)?.delete(handler);
    else this.#handlers.delete(name);
  }

  /** Run `hook()` each time the connection is there. */
  onConnect(hook) {
    return register(this.#hooks, "connect", hook);
  }

  /** Run `hook({ code, reason, isNormal, willReconnect })` each time the connection ended. */
  onDisconnect(hook) {
    return register(this.#hooks, "disconnect", hook);
  }

  /** Run `hook(error, event)` for each malformed frame (without event) and failed handler; the console is the default. */
  onError(hook) {
    return register(this.#hooks, "error", hook);
  }

  /** Run `hook(payload, event)` for each event without handler; what it returns is the answer. */
  onUnknownEvent(hook) {
    return register(this.#hooks, "unknown event", hook);
  }

  /**
   * Connect, and resolve once the connection is there. While the client waits to reconnect, try now. Rejects with
   * ConnectionLost when it gives up: after close(), a normal close, 4401 or 4403, or with `reconnect` off.
   */
  connect() {
    if (this.#state === "closed") {
      this.#attempts = 0;
      this.#open();
      this.#expectOpen();
    } else if (this.#socket === null) {
      this.#open();
    }
    return this.#opening.promise;
  }

  /** Close for good. Code: 1000, or 3000 to 4999. */
  close(code = 1000, reason = "") {
    if (this.#state === "closed") return;
    this.#socket?.close(code, reason);
    this.#end(code, reason, false);
  }

  /** Send an event that wants no answer. Throws ConnectionLost while there is no connection. */
  emit(name, data) {
    this.#send(encode({ name, data: toText(data) }));
  }

  /** Send an event and resolve to its answer. */
  async emitWithAck(name, data, { timeout = this.#options.ackTimeout, signal } = {}) {
    signal?.throwIfAborted();
    const ackId = this.#asked + 1n;
    this.#send(encode({ name, ackId, data: toText(data) }));
    this.#asked = ackId;
    const { promise, resolve, reject } = Promise.withResolvers();
    const timer = setTimeout(
      () => reject(new AckTimeout(`No answer to ${excerpt(name)} within ${timeout} ms`)),
      Math.min(timeout, LONGEST_TIMER),
    );
    const abort = () => reject(signal.reason);
    signal?.addEventListener("abort", abort);
    this.#questions.set(ackId, { resolve, reject });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      this.#questions.delete(ackId);
    }
  }

  /** Resolve to the milliseconds that a round trip took; takes emitWithAck's options. */
  async ping(options) {
    const start = performance.now();
    await this.emitWithAck(PING, undefined, options);
    return performance.now() - start;
  }

  #open() {
    clearTimeout(this.#retryTimer);
    const socket = new WebSocket(this.#url, this.#options.extensions ? [EXTENSIONS] : []);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.protocol !== EXTENSIONS && this.#opened(); // else the greeting opens it
    socket.onmessage = (message) => this.#receive(socket, message.data);
    socket.onclose = ({ code, reason }) => this.#end(code, reason, this.#options.reconnect && !isFinal(code));
    this.#socket = socket;
    this.#state = "connecting";
  }

  #expectOpen() {
    this.#opening = Promise.withResolvers();
    this.#opening.promise.catch(() => {}); // nobody has to wait for it
  }

  #opened() {
    this.#state = "open";
    this.#openedAt = performance.now();
    this.#asked = 0n;
    this.#opening.resolve();
    this.#runHooks("connect");
  }

  #end(code, reason, willReconnect) {
    const wasOpen = this.#state === "open";
    const lost = new ConnectionLost(`The connection closed with ${code}${reason && `: ${reason}`}`);
    if (this.#socket) this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket = null;
    this.#id = null;
    this.#state = willReconnect ? "connecting" : "closed";
    clearTimeout(this.#retryTimer);
    for (const { reject } of this.#questions.values()) reject(lost);
    this.#questions.clear();
    if (!willReconnect) {
      this.#opening.reject(lost);
    } else {
      if (wasOpen) this.#expectOpen();
      this.#retryLater(wasOpen);
    }
    if (wasOpen) this.#runHooks("disconnect", { code, reason, isNormal: code === 1000, willReconnect });
  }

  /** Full jitter: anything up to a limit that doubles, so that the clients of a dead server do not return as one. */
  #retryLater(wasOpen) {
    if (wasOpen && performance.now() - this.#openedAt >= STABLE_AFTER) this.#attempts = 0;
    const limit = Math.min(this.#options.maxDelay, this.#options.minDelay * 2 ** this.#attempts++);
    this.#retryTimer = setTimeout(() => this.#open(), Math.random() * limit);
  }

  #send(frame) {
    if (this.#state !== "open" || this.#socket.readyState !== OPEN) throw new ConnectionLost("There is no connection");
    this.#socket.send(frame);
  }

  #receive(socket, message) {
    try {
      const event = decode(message);
      const extended = socket.protocol === EXTENSIONS;
      if (event.name.startsWith(ACK)) this.#questions.get(event.ackId)?.resolve(toValue(event.data));
      else if (extended && event.name.startsWith(ERR)) this.#questions.get(event.ackId)?.reject(toError(event.data));
      else if (extended && event.name === HELLO) this.#greet(event);
      else if (event.name === PING && event.ackId) this.#answer(socket, event, ACK);
      else this.#handle(socket, event);
    } catch (error) {
      this.#fail(error);
    }
  }

  #greet({ data }) {
    this.#id = toValue(data)?.id ?? null;
    if (this.#state !== "open") this.#opened();
  }

  async #handle(socket, event) {
    let handlers = take(this.#handlers, event.name);
    if (!handlers.length) handlers = take(this.#hooks, "unknown event");
    const { values, errors } = await run(handlers, toValue(event.data), event);
    let answer;
    try {
      answer = toText(values.findLast((value) => value != null));
    } catch (error) {
      errors.push(error);
    }
    for (const error of errors) this.#fail(error, event);
    if (!event.ackId) return;
    const failure = errors.length ? "handler_error" : !handlers.length && "unknown_event";
    if (failure && socket.protocol === EXTENSIONS) {
      this.#answer(socket, event, ERR, toText({ code: failure, message: failure.replace("_", " ") }));
    } else if (!errors.length) {
      this.#answer(socket, event, ACK, answer);
    }
  }

  #answer(socket, { name, ackId }, prefix, data = "") {
    if (socket.readyState === OPEN) socket.send(toFrame(prefix + name, ackId, data));
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
  return () => {
    registry.get(key)?.delete(handler);
  };
}

/** The functions to run now; those that run once are taken out. */
function take(registry, key) {
  const entries = [...(registry.get(key) ?? [])];
  for (const [handler, once] of entries) if (once) registry.get(key).delete(handler);
  return entries.map(([handler]) => handler);
}

/** Start all at once, in order; collect what they return and what they throw once the last is done. */
async function run(functions, ...args) {
  const outcomes = await Promise.allSettled(functions.map(async (call) => call(...args)));
  return {
    values: outcomes.map((outcome) => outcome.value),
    errors: outcomes.filter((outcome) => outcome.status === "rejected").map((outcome) => outcome.reason),
  };
}

/** A normal close, and the two that say that this user will not be let in. */
function isFinal(code) {
  return code === 1000 || code === 4401 || code === 4403;
}

function toFrame(name, ackId, data) {
  return data === "" ? `${name}||${ackId}` : `${name}||${ackId}||${data}`;
}

function toText(value) {
  if (value === undefined || value === null) return "";
  const text = typeof value === "string" ? value : JSON.stringify(value);
  if (text === undefined) throw new TypeError(`A ${typeof value} cannot be sent as JSON`);
  return text;
}

function toValue(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function toError(text) {
  const { code = "handler_error", message = text } = Object(toValue(text));
  return new EtpError(message, code);
}

function decodeUtf8(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new EtpError("Invalid frame: expected UTF-8", "invalid_frame", { cause });
  }
}

function invalidFrame(message) {
  return new EtpError(`Invalid frame: ${message}`, "invalid_frame");
}

function excerpt(text) {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
