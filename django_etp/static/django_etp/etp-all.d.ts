/**
 * All modules in one: declared rooms, presence and streamed answers.
 *
 *     import { EtpClient } from "./etp-all.js";
 *
 * This module holds all of etp.js, etp-rooms.js, etp-presence.js and etp-streams.js.
 */

import { EtpClient as PresenceClient, type ServerContract, type Untyped } from "./etp-presence.js";
import type { Streams } from "./etp-streams.js";

export * from "./etp-presence.js";
export { withStreams, type PartOf, type RoomStreams, type StreamOptions, type Streams } from "./etp-streams.js";

/** A client with rooms, their members, and streamed answers. */
export class EtpClient<C extends ServerContract = Untyped> extends PresenceClient<C> {}
export interface EtpClient<C extends ServerContract = Untyped> extends Streams<C> {}
