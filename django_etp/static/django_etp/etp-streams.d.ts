/**
 * Streamed answers: the values of a handler that is an async generator, one by one as they come.
 *
 *     import { EtpClient } from "./etp-streams.js";
 *
 *     const client = new EtpClient("/ws/");
 *     await client.connect();
 *     for await (const word of client.stream("ask", "hello")) console.log(word);
 *
 * This module holds all of etp.js, with a client that has `stream()`. If the client has declared rooms as well, as that of
 * etp-all.js, so have they.
 */

import {
  type ContractOf,
  EtpClient as PlainClient,
  type Names,
  type Sending,
  type ServerContract,
  type Untyped,
  type UntypedName,
} from "./etp.js";

export * from "./etp.js";

export interface StreamOptions {
  /** How long each part may take, in milliseconds; `ackTimeout` of the client by default. */
  timeout?: number;
  /** Ends the stream: the loop throws the signal's reason, and the server is asked to stop. */
  signal?: AbortSignal;
}

/** Each part of a streamed answer, or the only one. */
export type PartOf<Entry> = Entry extends { part: infer Part }
  ? Part
  : Entry extends { answer: infer Answer }
    ? Answer
    : never;

/** What `stream()` adds to a client. */
export interface Streams<C extends ServerContract = Untyped> {
  /**
   * Send an event when the loop begins, and yield the parts of its streamed answer, decoded, while they arrive. An answer
   * that is not streamed, as from a server without streams, is the only part, unless it is empty. If the loop ends
   * early, the server is asked to stop. Parts wait in memory for a slow loop.
   *
   * Throws EtpError "invalid_event_name" at once. The loop throws the server's failure, maybe after some parts,
   * AckTimeout, and ConnectionLost if there is no connection or it ends.
   */
  stream<Part = any>(
    name: UntypedName<C>,
    payload?: unknown,
    options?: StreamOptions,
  ): AsyncGenerator<Part, void, void>;
  stream<Name extends Names<C["events"]>>(
    name: Name,
    ...payload: Sending<C["events"][Name], [options?: StreamOptions]>
  ): AsyncGenerator<PartOf<C["events"][Name]>, void, void>;
}

/** What `stream()` adds to the declared rooms of a client, whose events it sends. */
export interface RoomStreams<Room extends { events: object } = Untyped> {
  /**
   * Send an event inside the room when the loop begins, and yield the parts of its streamed answer. It waits while the
   * client joins or returns. See `Streams.stream`.
   *
   * The loop also throws EtpError "permission_denied" if the client is not in the room, "left" after `leave()`, and,
   * behind the parts that came, the server's reason to take the client out. No stream outlives its connection.
   */
  stream<Part = any>(
    name: UntypedName<Room>,
    payload?: unknown,
    options?: StreamOptions,
  ): AsyncGenerator<Part, void, void>;
  stream<Name extends Names<Room["events"]>>(
    name: Name,
    ...payload: Sending<Room["events"][Name], [options?: StreamOptions]>
  ): AsyncGenerator<PartOf<Room["events"][Name]>, void, void>;
}

/** A client that reads streamed answers. */
export class EtpClient<C extends ServerContract = Untyped> extends PlainClient<C> {}
export interface EtpClient<C extends ServerContract = Untyped> extends Streams<C> {}

/** Add streamed answers to a class of clients, to combine several modules: `withStreams(RoomsClient<Contract>)`. */
export function withStreams<Base extends new (...args: any[]) => PlainClient<any>>(
  base: Base,
): Base & (new (...args: any[]) => Streams<ContractOf<InstanceType<Base>>>);
