/**
 * ETP, the Event Transport Protocol, in browsers and in Node 22 or newer.
 *
 *     import { EtpClient } from "./etp.js";
 *
 *     const client = new EtpClient("/ws/");
 *     client.on("news", (news) => console.log(news));
 *     await client.connect();
 *     const answer = await client.emitWithAck("add", [1, 2], { timeout: 5_000 });
 *
 * All times are milliseconds.
 *
 * - Events go out in the order of the calls; those that waited for a connection go once the `onConnect` hooks are done.
 * - A question rejects at once when its connection dies, and is asked again only where `retries` says so.
 * - The server's question gets one answer, on the connection it came on, and none where a handler failed.
 */

/** An event as it came: name, number of the answer it wants (0n: none) and data as text, "" where there is none. */
export interface EtpEvent {
  readonly name: string;
  readonly ackId: bigint;
  readonly data: string;
}

/**
 * How payloads become text, and text payloads. `null` and `undefined` are no data and never reach `encode`; no data
 * reaches `decode` as "". What `decode` throws is reported to `onError`, as an EtpError of the code "invalid_payload".
 */
export interface Codec {
  encode(payload: any): string;
  decode(text: string): any;
}

/** What `new URLSearchParams()` takes. */
export type Params = ConstructorParameters<typeof URLSearchParams>[0];

export interface EtpClientOptions {
  /** How long `emitWithAck` and `ping` wait for an answer, unless told otherwise: 10,000. `Infinity` is for ever. */
  ackTimeout?: number;
  /**
   * How payloads are written and read.
   *
   * - "auto", the default: strings go as they are, other values as JSON. What comes is parsed where it is JSON, and is
   *   a string where it is not, and where JSON would change it: text in quotes, a number that has more digits than
   *   numbers hold, or is written otherwise than JavaScript and Python do. For text that people type, which may look
   *   like an object, use "text", the event's `data`, or send `{ text }`.
   * - "json": all is JSON, strings too. What comes and is no JSON is an error.
   * - "text": strings only, both ways.
   * - an object of your own.
   */
  codec?: "auto" | "json" | "text" | Codec;
  /**
   * Whether to offer the server the extensions `etp.ext.v1`, which django_etp speaks: `id`, and errors with a code in
   * place of silence. Off by default: browsers refuse a server that does not speak them, such as a plain one.
   */
  extensions?: boolean;
  /**
   * How often to ping the server: 12,000; 0 is never. A server that then sends nothing for as long again is given up,
   * so that a dead one is noticed within twice this time. (In a hidden page browsers may run timers once a minute.)
   */
  heartbeat?: number;
  /** How often in a row to try to reconnect before giving up: `Infinity`. */
  maxAttempts?: number;
  /** The longest that the delay before an attempt to reconnect may grow: 30,000. */
  maxDelay?: number;
  /** The longest delay before the first attempt: 500. It doubles with each; the delay is drawn at random below it. */
  minDelay?: number;
  /**
   * The query of the URL, added to what the URL has: a value, or a function, which may be async and is called at each
   * attempt to connect, as a token needs it. An attempt whose function throws, or takes 20 s, has failed.
   */
  params?: Params | (() => Params | Promise<Params>);
  /** How many events wait at most while the client is connecting: 1,000. With 0 none does. */
  queueSize?: number;
  /** Whether to connect again when the connection ends: true. */
  reconnect?: boolean;
}

export interface AskOptions {
  /** How long to wait for the answer, all retries included; the option `ackTimeout` by default. */
  timeout?: number;
  /** Ends the wait; the promise rejects with the signal's reason. */
  signal?: AbortSignal;
  /**
   * How often the event may be sent again, after a reconnect, where the connection ended before its answer came: 0. The
   * server may have handled it each time.
   */
  retries?: number;
}

/** How a connection ended. */
export interface Disconnect {
  /** The WebSocket close code; 1006 where the connection broke or was given up. */
  readonly code: number;
  readonly reason: string;
  /** Whether the code is 1000. */
  readonly isNormal: boolean;
  /** Whether the client connects again by itself. */
  readonly willReconnect: boolean;
  /** How long until then; null where it does not. */
  readonly delay: number | null;
}

/** An attempt to connect that failed; a browser says 1006 whatever the server's refusal was. */
export interface FailedAttempt extends Disconnect {
  /** Its number, from 1, since there was a connection, or since `connect()` where there was none. */
  readonly attempt: number;
}

/** "connecting" includes the wait for the next attempt. */
export type State = "closed" | "connecting" | "open";

/** Takes back what was registered. */
export type Off = () => void;

/** Handles an event; what it returns, or resolves to, is the answer. */
export type Handler = (payload: any, event: EtpEvent) => unknown;

/**
 * What this module throws and rejects with. `code` says what happened:
 *
 * - "connection_lost", "ack_timeout": see ConnectionLost and AckTimeout;
 * - "invalid_event_name": an event name holds "||", ends in "|" or starts with "__";
 * - "invalid_frame": a message is no ETP frame;
 * - "invalid_payload": the codec cannot read the data;
 * - what the server says of an event that failed, where the extensions are on: "handler_error", "unknown_event",
 *   "invalid_payload", "permission_denied", "rate_limited", "too_many_events" or a code of the application.
 *
 * Throw one in a handler to tell such a server, as in `throw new EtpError("Not so fast", "rate_limited")`. Other errors
 * are "handler_error" to it, without their text; so are those of this module, such as what a server said to a question of
 * the handler's.
 */
export class EtpError extends Error {
  constructor(message: string, code: string, options?: { cause?: unknown });
  readonly code: string;
}

/** There is no connection and the event may not wait for one, or the connection ended before the answer came. */
export class ConnectionLost extends EtpError {
  constructor(message: string);
}

/** No answer came in time. */
export class AckTimeout extends EtpError {
  constructor(message: string);
}

/**
 * A connection to an ETP server that comes back by itself.
 *
 * It connects again after any end but a normal one (1000), a refusal (4403) or the end of the login (4401): after a
 * delay, and at once when the browser is online again or the page becomes visible. A 4401 that is no logout, such as
 * after a password change, has one attempt, since the page may have another session or token by then; where that fails,
 * or is closed with 4401 within 5 s, it was final. Each `on…` returns a function that takes it back.
 */
export class EtpClient {
  /** Take a ws:, wss:, http: or https: URL, or one relative to the page, whose scheme then decides. */
  constructor(url: string | URL, options?: EtpClientOptions);

  readonly state: State;

  /** The server's id of this connection, where it tells it (option `extensions`), else null. */
  readonly id: string | null;

  /**
   * Run `handler` for each event of that name. Where several are registered all run, and the last that returned
   * something answers. Throws EtpError "invalid_event_name".
   */
  on(name: string, handler: Handler): Off;

  /** As `on`, for the next event only. */
  once(name: string, handler: Handler): Off;

  /** Take back one handler of an event, or all of them. */
  off(name: string, handler?: Handler): void;

  /**
   * Run `hook` each time the connection is there. Events that waited go out, and `connect()` resolves, once the promises
   * of all hooks have settled; what hooks send goes at once.
   */
  onConnect(hook: () => unknown): Off;

  /** Run `hook` each time a connection has ended, and once more where the client then gives up coming back. */
  onDisconnect(hook: (disconnect: Disconnect) => unknown): Off;

  /** Run `hook` each time an attempt to connect has failed. */
  onAttemptFailed(hook: (failed: FailedAttempt) => unknown): Off;

  /** Run `hook` each time `state` has changed. */
  onStateChange(hook: (state: State) => unknown): Off;

  /**
   * Run `hook` for each error that nobody waits for: a malformed frame (then there is no event), a handler or hook that
   * failed, `params` that failed. Without a hook errors go to the console.
   */
  onError(hook: (error: any, event?: EtpEvent) => unknown): Off;

  /** Run `hook` for each event without a handler; what it returns is the answer. */
  onUnknownEvent(hook: Handler): Off;

  /**
   * Connect, and resolve once the connection is there and the `onConnect` hooks are done. While the client waits to reconnect, try now. Rejects with
   * ConnectionLost when the client gives up: see the class, and the options `reconnect` and `maxAttempts`.
   */
  connect(): Promise<void>;

  /** Close for good; events that wait are dropped. The code is 1000, or one of 3000 to 4999. */
  close(code?: number, reason?: string): void;

  /**
   * Send an event that wants no answer. While the client is connecting it waits, in order, as far as `queueSize`
   * allows. Throws ConnectionLost where it cannot wait, TypeError where the codec cannot write the payload, and EtpError
   * "invalid_event_name".
   */
  emit(name: string, payload?: unknown): void;

  /** Send an event and resolve to its answer. Rejects as `emit` throws, and with AckTimeout or what the server says. */
  emitWithAck<Answer = any>(name: string, payload?: unknown, options?: AskOptions): Promise<Answer>;

  /** Resolve to the milliseconds that a round trip took. */
  ping(options?: AskOptions): Promise<number>;
}

/** Read one WebSocket message. Throws EtpError "invalid_frame". */
export function decode(message: string | ArrayBuffer): EtpEvent;

/** Write an event as a frame. Throws EtpError "invalid_event_name" for a name that would come back as another frame. */
export function encode(event: { name: string; ackId?: bigint; data?: string }): string;
