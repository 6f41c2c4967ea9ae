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
 * - Events are sent in the order of the calls. Events that wait for a connection are sent once the `onConnect` hooks
 *   have settled.
 * - A question rejects at once when its connection ends, and is sent again only if its option `retries` allows that.
 * - A question of the server gets one answer, on the connection that it came on, and none if a handler failed.
 */

/** What is known of a server: see the page on contracts. `manage.py etp_schema --typescript` writes one. */
export interface ServerContract {
  /** The events that clients send, by name: `{ payload; answer }`, or `{ payload; part }` if the answer is streamed. */
  events: object;
  /** The payloads of the events that the server sends, by name. */
  sent: object;
  /** The declared rooms, by pattern: `{ name; state; info; events }`. */
  rooms: object;
}

/** Holds the contract of a client, in its type alone. */
declare const contract: unique symbol;
export {}; // or that would be exported, too

/** Nothing is known of the server: all names and payloads are allowed. */
export interface Untyped extends ServerContract {
  readonly untyped: true;
}

/** All names if nothing is known of the server, and none otherwise. */
export type UntypedName<C> = C extends { readonly untyped: true } ? string : never;

/** The names of a table of a contract. */
export type Names<Table> = string & keyof Table;

/** The payload of an entry, and what else the call takes; a payload that may be `null` may be left out. */
export type Sending<Entry, More extends unknown[] = []> = Entry extends { payload: infer Payload }
  ? null extends Payload
    ? [payload?: Payload, ...more: More]
    : [payload: Payload, ...more: More]
  : never;

/** The names of the events with one answer. */
export type AskNames<Table> = {
  [Name in Names<Table>]: Table[Name] extends { answer: any } ? Name : never;
}[Names<Table>];

/** The answer of an entry. */
export type AnswerOf<Entry> = Entry extends { answer: infer Answer } ? Answer : never;

/** A received event: its name, the number of the answer that it wants (0n: none), and its data as text, "" for none. */
export interface EtpEvent {
  readonly name: string;
  readonly ackId: bigint;
  readonly data: string;
}

/**
 * Converts payloads to text and back. `null` and `undefined` are no data and are never passed to `encode`; no data is
 * passed to `decode` as "". An error that `decode` throws is reported to `onError`, as an EtpError of the code
 * "invalid_payload".
 */
export interface Codec {
  encode(payload: any): string;
  decode(text: string): any;
}

/** The argument of `new URLSearchParams()`. */
export type Params = ConstructorParameters<typeof URLSearchParams>[0];

export type Token = string | null | undefined;

export interface EtpClientOptions {
  /** How long `emitWithAck` and `ping` wait for an answer by default: 10,000. `Infinity` is for ever. */
  ackTimeout?: number;
  /**
   * How payloads are written and read.
   *
   * - "auto", the default: strings are sent unchanged, other values as JSON. Received data is parsed if it is JSON.
   *   It stays a string if it is not, or if parsing would change it: text in quotes, a number with more digits than
   *   numbers hold, or one in another notation than that of JavaScript and Python. For text that people type, which
   *   may look like an object, use "text", the event's `data`, or send `{ text }`.
   * - "json": all data is JSON, strings too. Received data that is not JSON is an error.
   * - "text": strings only, both ways.
   * - an object of your own.
   */
  codec?: "auto" | "json" | "text" | Codec;
  /**
   * Whether to offer the server the extensions `etp.ext.v2` and `etp.ext.v1`, which django_etp speaks: `id`, errors
   * with a code in place of silence, and declared rooms (etp-rooms.js). True by default; false is for a server that
   * knows neither, since browsers end the connection then.
   */
  extensions?: boolean;
  /**
   * How often to ping the server: 12,000; 0 is never. If the server then sends nothing for as long again, the
   * connection ends, so that a dead server is noticed within twice this time. (In a hidden page browsers may run
   * timers once a minute.)
   */
  heartbeat?: number;
  /** How many attempts to reconnect may fail in a row before the client gives up: `Infinity`. */
  maxAttempts?: number;
  /** The longest delay before an attempt to reconnect: 30,000. */
  maxDelay?: number;
  /** The upper limit of the first delay: 500. It doubles with each attempt; each delay is random below its limit. */
  minDelay?: number;
  /**
   * The query to add to that of the URL: a value, or a function, which may be async and is called at each attempt to
   * connect, as for a token. The attempt fails if the function throws or takes 20 s.
   */
  params?: Params | (() => Params | Promise<Params>);
  /** How many events may wait while the client is connecting: 1,000. With 0 no event waits. */
  queueSize?: number;
  /** Whether to connect again when the connection ends: true. */
  reconnect?: boolean;
  /**
   * A token that logs the client in, in place of cookies: a value, or a function, which may be async. The function is
   * called at each attempt to connect. If the server says when the token expires, it is called again in time, and the
   * connection goes on with the new token; an error is reported to `onError`, and tried again. The token is offered as
   * a subprotocol, beside the extensions, and never part of the URL. `null`, `undefined` and "" are no token.
   */
  token?: Token | (() => Token | Promise<Token>);
}

export interface AskOptions {
  /** How long to wait for the answer, all retries included; the option `ackTimeout` by default. */
  timeout?: number;
  /** Aborts the wait; the promise then rejects with the signal's reason. */
  signal?: AbortSignal;
  /**
   * How often the event may be sent again after a reconnect, if the connection ended before its answer came: 0. The
   * server may handle it each time.
   */
  retries?: number;
}

/** How a connection ended. */
export interface Disconnect {
  /** The WebSocket close code; 1006 if the connection broke or was given up. */
  readonly code: number;
  readonly reason: string;
  /** Whether the code is 1000. */
  readonly isNormal: boolean;
  /** Whether the client connects again by itself. */
  readonly willReconnect: boolean;
  /** How long until then; null if it does not. */
  readonly delay: number | null;
}

/** An attempt to connect that failed; the code is 1006 in browsers, for every refusal of the server. */
export interface FailedAttempt extends Disconnect {
  /** Its number, from 1, since the last connection, or since `connect()` if there was none. */
  readonly attempt: number;
}

/** "connecting" includes the wait for the next attempt. */
export type State = "closed" | "connecting" | "open";

/** Removes what was registered. */
export type Off = () => void;

/** Handles an event; its result, or what its promise resolves to, is the answer. */
export type Handler<Payload = any> = (payload: Payload, event: EtpEvent) => unknown;

/**
 * The error that this module throws and rejects with. Its `code`:
 *
 * - "connection_lost", "ack_timeout": see ConnectionLost and AckTimeout;
 * - "invalid_event_name": an event name holds "||", ends in "|" or starts with "__";
 * - "invalid_frame": a message is not an ETP frame;
 * - "invalid_payload": the codec cannot read the data;
 * - the code of an event that failed at the server, if the extensions are on: "handler_error", "unknown_event",
 *   "invalid_payload", "permission_denied", "rate_limited", "too_many_events", "too_many_rooms" or a code of the
 *   application.
 *
 * Throw one in a handler to send such a server a failure, as in `throw new EtpError("Not so fast", "rate_limited")`.
 * Any other error is sent as "handler_error", without its text. So is an error of this module, such as a failure that
 * a server sent in answer to a question of the handler.
 */
export class EtpError extends Error {
  constructor(message: string, code: string, options?: { cause?: unknown });
  readonly code: string;

  /** What is wrong with a payload that the server refused as "invalid_payload", field by field. */
  readonly errors?: readonly FieldError[];

  /** What the server's handler said beside the message, as in `EventFailed(code, message, details=...)`. */
  readonly details?: any;

  /** After how many seconds the event may be sent again, if the server refused it as one too many. */
  readonly retryAfter?: number;
}

/** What is wrong with one field of a payload. */
export interface FieldError {
  /** Where it is, as in `["items", 0, "price"]`; empty for the payload itself. */
  readonly path: readonly (string | number)[];
  readonly message: string;
  readonly code: string;
}

/** There is no connection and the event cannot wait for one, or the connection ended before the answer came. */
export class ConnectionLost extends EtpError {
  constructor(message: string);
}

/** No answer came in time. */
export class AckTimeout extends EtpError {
  constructor(message: string);
}

/**
 * A connection to an ETP server that is made again when it ends.
 *
 * It connects again after any end but a normal one (1000), a refusal (4403) or the end of the login (4401): after a
 * delay, which a server that restarts (1012) may name in its reason as `{"reconnect_in": milliseconds}`, and at once
 * when the browser is online again or the page becomes visible. After a 4401 that is not a logout, such as after a
 * password change, it tries once, since the page may have another session or token by then. If that attempt fails, or
 * the new connection is closed with 4401 within 5 s, the end is final. Each `on…` returns a function that removes the
 * handler or hook.
 *
 * With a contract of the server, as in `new EtpClient<Contract>(…)`, the compiler knows names, payloads and answers.
 */
export class EtpClient<C extends ServerContract = Untyped> {
  /** For the compiler alone. */
  [contract]?(tables: Pick<C, keyof ServerContract>): void;

  /** `url` is a ws:, wss:, http: or https: URL, or one relative to the page, whose scheme then decides. */
  constructor(url: string | URL, options?: EtpClientOptions);

  readonly state: State;

  /** The id of this connection on the server, if the server sent it (option `extensions`), else null. */
  readonly id: string | null;

  /**
   * Run `handler` for each event of that name. If several are registered all run, and the last result that is
   * neither null nor undefined is the answer. Throws EtpError "invalid_event_name".
   */
  on(name: UntypedName<C>, handler: Handler): Off;
  on<Name extends Names<C["sent"]>>(name: Name, handler: Handler<C["sent"][Name]>): Off;

  /** As `on`, for the next event only. */
  once(name: UntypedName<C>, handler: Handler): Off;
  once<Name extends Names<C["sent"]>>(name: Name, handler: Handler<C["sent"][Name]>): Off;

  /** Remove one handler of an event, or all of them. */
  off(name: UntypedName<C>, handler?: Handler): void;
  off<Name extends Names<C["sent"]>>(name: Name, handler?: Handler<C["sent"][Name]>): void;

  /**
   * Run `hook` each time a connection was made. Waiting events are sent, and `connect()` resolves, once the promises of
   * all hooks have settled. Events that hooks send are sent at once.
   */
  onConnect(hook: () => unknown): Off;

  /** Run `hook` each time a connection has ended, and once more if the client then gives up connecting again. */
  onDisconnect(hook: (disconnect: Disconnect) => unknown): Off;

  /** Run `hook` each time an attempt to connect has failed. */
  onAttemptFailed(hook: (failed: FailedAttempt) => unknown): Off;

  /** Run `hook` each time `state` has changed. */
  onStateChange(hook: (state: State) => unknown): Off;

  /**
   * Run `hook` for each error that no promise rejects with: a malformed frame (without an event), an error of a handler
   * or hook, of `params` or of `token`. Without a hook, errors go to the console.
   */
  onError(hook: (error: any, event?: EtpEvent) => unknown): Off;

  /** Run `hook` for each event without a handler; its result is the answer. */
  onUnknownEvent(hook: Handler): Off;

  /**
   * Connect, and resolve once the connection is made and the `onConnect` hooks have settled. While the client waits to
   * reconnect, try at once. Rejects with ConnectionLost when the client gives up: see the class, and the options
   * `reconnect` and `maxAttempts`.
   */
  connect(): Promise<void>;

  /** Close for good, and drop waiting events. The code is 1000, or one of 3000 to 4999. */
  close(code?: number, reason?: string): void;

  /**
   * Send an event that needs no answer. While the client is connecting, the event waits in order, if `queueSize`
   * allows. Throws ConnectionLost if it cannot wait, TypeError if the codec cannot write the payload, and EtpError
   * "invalid_event_name".
   */
  emit(name: UntypedName<C>, payload?: unknown): void;
  emit<Name extends Names<C["events"]>>(name: Name, ...payload: Sending<C["events"][Name]>): void;

  /** Send an event and resolve to its answer. Rejects as `emit` throws, and with AckTimeout or the server's failure. */
  emitWithAck<Answer = any>(name: UntypedName<C>, payload?: unknown, options?: AskOptions): Promise<Answer>;
  emitWithAck<Name extends AskNames<C["events"]>>(
    name: Name,
    ...payload: Sending<C["events"][Name], [options?: AskOptions]>
  ): Promise<AnswerOf<C["events"][Name]>>;

  /** Resolve to the milliseconds that a round trip took. */
  ping(options?: AskOptions): Promise<number>;
}

/** The contract of a client. */
export type ContractOf<Client> = Client extends { [contract]?(tables: infer Tables extends ServerContract): void }
  ? ServerContract extends Tables
    ? Untyped
    : Tables
  : Untyped;

/** Read one WebSocket message. Throws EtpError "invalid_frame". */
export function decode(message: string | ArrayBuffer): EtpEvent;

/** Write an event as a frame. Throws EtpError "invalid_event_name" for a name that would come back as another frame. */
export function encode(event: { name: string; ackId?: bigint; data?: string }): string;
