/**
 * Streamed answers: the values of a handler that is an async generator, one by one as they come.
 *
 *     import { EtpClient } from "./etp-streams.js";
 *
 *     const client = new EtpClient("/ws/");
 *     await client.connect();
 *     for await (const word of client.stream("ask", "hello")) console.log(word);
 *
 * This module holds all of etp.js, with a client that has `stream()`.
 */

import { EtpClient as PlainClient } from "./etp.js";

export * from "./etp.js";

export interface StreamOptions {
  /** How long each part may take, in milliseconds; `ackTimeout` of the client by default. */
  timeout?: number;
  /** Ends the stream: the loop throws the signal's reason, and the server is asked to stop. */
  signal?: AbortSignal;
}

/** What `stream()` adds to a client. */
export interface Streams {
  /**
   * Send an event when the loop begins, and yield the parts of its streamed answer, decoded, while they arrive. An answer
   * that is not streamed, as from a server without streams, is the only part, unless it is empty. If the loop ends
   * early, the server is asked to stop. Parts wait in memory for a slow loop.
   *
   * Throws EtpError "invalid_event_name" at once. The loop throws the server's failure, maybe after some parts,
   * AckTimeout, and ConnectionLost if there is no connection or it ends.
   */
  stream<Part = any>(name: string, payload?: unknown, options?: StreamOptions): AsyncGenerator<Part, void, void>;
}

/** A client that reads streamed answers. */
export class EtpClient extends PlainClient {
  /** See `Streams.stream`. */
  stream<Part = any>(name: string, payload?: unknown, options?: StreamOptions): AsyncGenerator<Part, void, void>;
}

/** Add streamed answers to a class of clients, to combine several modules. */
export function withStreams<Base extends new (...args: any[]) => PlainClient>(
  base: Base,
): Base & (new (...args: any[]) => Streams);
