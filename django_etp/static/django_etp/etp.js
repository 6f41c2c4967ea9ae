/** ETP over one WebSocket; etp.d.ts describes it. */

const ACK = "__ack_";
const ERR = "__err_";

const FINAL = /^(1000|4403|4401 (logged out|the user ))/;
const WAKING = ["online", "visibilitychange"];

const DEFAULTS = {
  ackTimeout: 10_000,
  codec: "auto",
  extensions: true,
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

class OwnError extends EtpError {
  static name = "EtpError";
}

export class ConnectionLost extends EtpError {
  code = "connection_lost";
}

export class AckTimeout extends EtpError {
  code = "ack_timeout";
}

export function decode(message) {
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const frame = typeof message === "string" ? message : read(() => utf8.decode(message), "invalid_frame");
  const [name, id, ...data] = frame.split("||");
  const ackId = /^[+-]?0*\d{1,19}$/.test(id) && BigInt(id);
  if (BigInt.asIntN(64, ackId) === ackId) return { name, ackId, data: data.join("||") };
  throw new OwnError(`Expected name||ackId||data, got ${excerpt(frame)}`, "invalid_frame");
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
  #attempt = null;
  #socket = null;
  #handlers = new Map(); // name -> handler -> once?
  #hooks = new Map();
  #questions = new Map();
  #queue = new Set();
  #asked = 0n;
  #opening = null;
  #attempts = 0;
  #failures = 0; // since there was a connection
  #isAway = false;
  #refusal = null; // a 4401, tried again once
  #openedAt = 0;
  #heardAt = 0;
  #timer;
  #renewal;

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

  onAttemptFailed(hook) {
    return register(this.#hooks, "attempt failed", hook);
  }

  onStateChange(hook) {
    return register(this.#hooks, "state change", hook);
  }

  onError(hook) {
    return register(this.#hooks, "error", hook);
  }

  onUnknownEvent(hook) {
    return register(this.#hooks, "unknown event", hook);
  }

  connect() {
    if (this.#state === "open") return Promise.resolve();
    if (this.#state === "closed") {
      for (const type of WAKING) globalThis.addEventListener?.(type, this.#wake);
      this.#attempts = this.#failures = 0;
      this.#refusal = null;
    }
    const { promise } = (this.#opening ??= Promise.withResolvers());
    promise.catch(() => {});
    if (!this.#attempt) this.#open();
    return promise;
  }

  close(code = 1000, reason = "") {
    if (this.#state === "closed") return;
    this.#isAway = false;
    this.#attempt = null;
    this.#socket?.close(code, reason);
    this.#end(code, reason, false);
  }

  emit(name, data) {
    checkName(name);
    this._submit({ name, data: this._encode(data) });
  }

  async emitWithAck(name, data, options) {
    checkName(name);
    return this._decode(await this._ask(name, this._encode(data), options));
  }

  // With _: for modules beside this one

  get _protocol() {
    return this.#socket?.protocol;
  }

  _ready() {
    return this.#runHooks("connect");
  }

  async ping(options) {
    const start = performance.now();
    await this._ask("__ping", "", options);
    return performance.now() - start;
  }

  async _ask(name, data, { timeout = this.#options.ackTimeout, signal = null, retries = 0 } = {}) {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers();
    const question = { name, data, resolve, reject, retries };
    this._submit(question);
    const timer = later(timeout, () => reject(new AckTimeout(`No answer to ${excerpt(name)} within ${timeout} ms`)));
    const abort = () => reject(signal.reason);
    signal?.addEventListener("abort", abort);
    try {
      return await promise;
    } finally {
      signal?.removeEventListener("abort", abort);
      clearTimeout(timer);
      this.#questions.delete(question.ackId);
      this.#queue.delete(question);
    }
  }

  _submit(message) {
    if (this.#state === "open" && this.#socket.readyState === WebSocket.OPEN) return this.#send(message);
    const hasRoom = this.#state !== "closed" && this.#queue.size < this.#options.queueSize;
    if (!hasRoom || message.retries < 1) throw new ConnectionLost("There is no connection");
    this.#queue.add(message);
  }

  #send(message) {
    if (message.reject) this.#questions.set((message.ackId = ++this.#asked), message);
    this.#socket.send(toFrame(message.name, message.ackId, message.data));
  }

  async #open() {
    const attempt = (this.#attempt = {});
    const { extensions, params, token } = this.#options;
    this.#change("connecting");
    clearTimeout(this.#timer);
    this.#timer = later(20_000, () => this.#end(1006, "no handshake in time"));
    try {
      const url = new URL(this.#url);
      for (const [name, value] of new URLSearchParams(await current(params))) url.searchParams.append(name, value);
      const secret = await current(token);
      if (attempt !== this.#attempt) return;
      const offers = extensions || secret ? ["etp.ext.v2", "etp.ext.v1"] : [];
      if (secret) {
        const base64 = btoa(unescape(encodeURIComponent(secret)));
        offers.push(`etp.token.${base64.replace(/=/g, "").replace(/[+]/g, "-").replace(/[/]/g, "_")}`);
      }
      const socket = (this.#socket = new WebSocket(url, offers));
      socket.binaryType = "arraybuffer";
      socket.onopen = () => socket.protocol || this.#opened();
      socket.onmessage = (message) => this.#receive(socket, message.data);
      socket.onclose = ({ code, reason }) => this.#end(code, reason, !FINAL.test(`${code} ${reason}`));
      socket.onerror = () => socket.readyState || this.#end(1006, "no handshake"); // Node 22: no close
    } catch (error) {
      if (attempt !== this.#attempt) return;
      this.#refusal = null;
      this.#end(1006, "no attempt possible");
      this._fail(error);
    }
  }

  async #opened({ id = null, expires_in = 0 } = {}) {
    const socket = this.#socket;
    this.#id = id;
    this.#renewLater(expires_in);
    this.#change("open");
    this.#openedAt = performance.now();
    this.#asked = 0n;
    this.#failures = 0;
    this.#beatLater();
    await this._ready();
    if (socket !== this.#socket || socket.readyState !== WebSocket.OPEN) return;
    for (const message of this.#queue) this.#send(message);
    this.#queue = new Set();
    this.#opening?.resolve();
    this.#opening = null;
  }

  #change(state) {
    if (state !== this.#state) queueMicrotask(() => this.#runHooks("state change", state));
    this.#state = state;
  }

  #end(code, reason, mayReconnect = true) {
    const wasOpen = this.#state === "open";
    const hasFailed = this.#attempt && !wasOpen;
    const isRestart = code === 1012;
    const lasted = wasOpen && performance.now() - this.#openedAt;
    const wasStable = lasted >= 5_000;
    if (isRestart ? lasted >= 60_000 : wasStable) {
      this.#attempts = 0;
      this.#refusal = null;
    }
    if (this.#refusal && (hasFailed || code === 4401)) {
      ({ code, reason } = this.#refusal);
      mayReconnect = false;
    }
    this.#refusal = code === 4401 ? { code, reason } : null;
    const { maxAttempts, reconnect } = this.#options;
    const willReconnect = mayReconnect && reconnect && (wasStable || this.#attempts < maxAttempts);
    const lost = new ConnectionLost(`The connection closed with ${code}${reason && `: ${reason}`}`);
    this.#abandon();
    this.#change(willReconnect ? "connecting" : "closed");
    this.#settle(willReconnect, lost);
    const delay = willReconnect ? this.#retryLater(Object(isRestart && parse(reason))) : null;
    if (!willReconnect) {
      for (const type of WAKING) globalThis.removeEventListener?.(type, this.#wake);
      this.#opening?.reject(lost);
      this.#opening = null;
    }
    const how = { code, reason, isNormal: code === 1000, willReconnect, delay };
    if (hasFailed) this.#runHooks("attempt failed", { ...how, attempt: ++this.#failures });
    if (!wasOpen && (willReconnect || !this.#isAway)) return;
    this.#isAway = willReconnect;
    this.#runHooks("disconnect", how);
  }

  #abandon() {
    const socket = this.#socket;
    if (socket) socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
    socket?.close();
    clearTimeout(this.#timer);
    clearTimeout(this.#renewal);
    this.#attempt = this.#socket = this.#id = null;
  }

  #settle(willReconnect, lost) {
    const waiting = this.#queue;
    this.#queue = new Set();
    for (const message of [...this.#questions.values(), ...waiting]) {
      if (willReconnect && (waiting.has(message) || message.retries-- > 0)) this.#queue.add(message);
      else message.reject?.(lost);
    }
    this.#questions.clear();
  }

  /** With full jitter, or when the server says. */
  #retryLater({ reconnect_in: pause }) {
    const { maxDelay, minDelay } = this.#options;
    const limit = Math.min(maxDelay, minDelay * 2 ** this.#attempts++);
    const delay = typeof pause === "number" && pause >= 0 ? Math.min(300_000, pause) : limit * Math.random();
    this.#timer = later(delay, () => this.#open());
    return delay;
  }

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

  #renewLater(seconds) {
    const { token } = this.#options;
    const delay = Math.max(seconds * 0.8, seconds - 60);
    if (!token?.call || !(delay > 0.2)) return;
    const attempt = this.#attempt;
    this.#renewal = later(delay * 1_000, async () => {
      try {
        const answer = await this._ask("__auth", JSON.stringify({ token: await token() }));
        if (attempt === this.#attempt) this.#renewLater(parse(answer).expires_in);
      } catch (error) {
        if (attempt !== this.#attempt) return;
        this._fail(error);
        this.#renewLater(seconds - delay);
      }
    });
  }

  /** Any message is a sign of life. */
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
      if (event.name.startsWith(ACK)) this.#questions.get(event.ackId)?.resolve(event.data);
      else if (socket.protocol && event.name.startsWith(ERR)) this.#questions.get(event.ackId)?.reject(toError(event.data));
      else if (socket.protocol && event.name === "__hello" && this.#state !== "open") this.#opened(Object(parse(event.data)));
      else if (event.name === "__ping" && event.ackId) this.#answer(socket, event, ACK);
      else this._handle(socket, event);
    } catch (error) {
      this._fail(error);
    }
  }

  async _handle(socket, event, handlers = take(this.#handlers, event.name)) {
    if (!handlers.length) handlers = take(this.#hooks, "unknown event");
    let errors = [];
    let values;
    let answer;
    try {
      ({ values, errors } = await run(handlers, handlers.length && this._decode(event.data, EtpError), event));
      if (event.ackId) answer = this._encode(values.findLast((value) => value != null));
    } catch (error) {
      errors.push(error);
    }
    for (const error of errors) this._fail(error, event);
    if (!event.ackId) return;
    if (!handlers.length && socket.protocol) errors = [new EtpError("No handler for this event", "unknown_event")];
    if (!errors.length) this.#answer(socket, event, ACK, answer);
    else if (socket.protocol) this.#answer(socket, event, ERR, toFailure(errors[0]));
  }

  #answer(socket, { name, ackId }, prefix, data) {
    socket.send(toFrame(prefix + name, ackId, data));
  }

  _encode(value) {
    const text = value == null ? "" : this.#codec.encode(value);
    if (typeof text !== "string") throw new TypeError(`A ${typeof value} cannot be sent with this codec`);
    return text;
  }

  _decode(text, Kind) {
    return read(() => this.#codec.decode(text), "invalid_payload", Kind);
  }

  async #runHooks(kind, ...args) {
    const { errors } = await run(take(this.#hooks, kind), ...args);
    for (const error of errors) this._fail(error);
  }

  async _fail(error, event) {
    const hooks = take(this.#hooks, "error");
    const { errors } = await run(hooks, error, event);
    if (!hooks.length) errors.push(error);
    for (const unheard of errors) console.error(unheard);
  }
}

function register(registry, key, handler, once = false) {
  if (typeof handler !== "function") throw new TypeError(`Expected a function, got ${typeof handler}`);
  const entries = registry.get(key) ?? new Map();
  registry.set(key, entries.set(handler, once));
  return () => entries.delete(handler);
}

function take(registry, key) {
  const entries = [...(registry.get(key) ?? [])];
  for (const [handler, once] of entries) if (once) registry.get(key).delete(handler);
  return entries.map(([handler]) => handler);
}

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

function current(option) {
  return option?.call ? option() : option;
}

function later(delay, call) {
  return setTimeout(call, Math.min(delay, 2 ** 31 - 1));
}

function checkName(name, reserved = "__") {
  if (name.includes("||") || name.endsWith("|") || name.startsWith(reserved)) {
    const message = `An event name holds no "||", ends in no "|", starts with no "${reserved}": ${excerpt(name)}`;
    throw new OwnError(message, "invalid_event_name");
  }
}

function toFrame(name, ackId = 0n, data = "") {
  return `${name}||${ackId}${data && `||${data}`}`;
}

/** Not what JSON would change, such as quoted words and 1.0. */
function parse(text) {
  try {
    const value = JSON.parse(text);
    const isText = typeof value === "string" ? value : Object(value) !== value && !/\.0$|e[+-]/.test(text);
    return isText && `${value}` !== text ? text : value;
  } catch {
    return text;
  }
}

function toFailure(error) {
  const { code, message } =
    error?.constructor === EtpError ? error : { code: "handler_error", message: "The handler failed" };
  return JSON.stringify({ code, message });
}

function toError(text) {
  const { code = "handler_error", message = text, errors, details, retry_after: retryAfter } = Object(parse(text));
  return Object.assign(new OwnError(message, code), { errors, details, retryAfter });
}

function read(call, code, Kind = OwnError) {
  try {
    return call();
  } catch (cause) {
    throw new Kind(`Unreadable: ${cause.message}`, code, { cause });
  }
}

function excerpt(text) {
  return JSON.stringify(text.slice(0, 80));
}
