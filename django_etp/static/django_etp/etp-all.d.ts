/**
 * All modules in one: declared rooms, presence and streamed answers.
 *
 *     import { EtpClient } from "./etp-all.js";
 *
 * This module holds all of etp.js, etp-rooms.js, etp-presence.js and etp-streams.js.
 */

import { EtpClient as PresenceClient } from "./etp-presence.js";
import type { StreamOptions } from "./etp-streams.js";

export * from "./etp-presence.js";
export { withStreams, type StreamOptions, type Streams } from "./etp-streams.js";

/** A client with rooms, their members, and streamed answers. */
export class EtpClient extends PresenceClient {
  /** See `Streams.stream` of etp-streams.js. */
  stream<Part = any>(name: string, payload?: unknown, options?: StreamOptions): AsyncGenerator<Part, void, void>;
}
