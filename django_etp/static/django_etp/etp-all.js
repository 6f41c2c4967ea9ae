/** All modules of django_etp in one: rooms, presence and streamed answers; etp-all.d.ts describes each name. */

import { EtpClient as PresenceClient } from "./etp-presence.js";
import { withStreams } from "./etp-streams.js";

export * from "./etp-presence.js";
export { withStreams };

/** A client with rooms, their members, and streamed answers. */
export class EtpClient extends withStreams(PresenceClient) {}
