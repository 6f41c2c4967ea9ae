/** Presence for etp-rooms.js; etp-presence.d.ts describes each name. */

import { EtpClient as RoomsClient } from "./etp-rooms.js";

export * from "./etp-rooms.js";

/** Add members to the rooms of a class of clients. */
export const withPresence = (Base) =>
  class extends Base {
    room(...args) {
      const room = super.room(...args);
      if (!room.members) addMembers(room, (error) => this._fail(error));
      return room;
    }
  };

export class EtpClient extends withPresence(RoomsClient) {}

function addMembers(room, fail) {
  const members = new Map(); // by keys
  const hooks = new Set();
  let count = null; // in a crowded room, whose entries the server does not send

  /** Take the answer to a join, the data of an event, or null once the client is in the room no more. */
  const take = (change) => {
    if (!change || change.isNew || "count" in change) members.clear();
    count = change?.count ?? null;
    if (change && count === null) {
      for (const entry of [...(change.members ?? change.joined), ...(change.changed ?? [])]) {
        members.set(entry.key, entry);
      }
      for (const key of change.left ?? []) members.delete(key);
    }
    if (change) run();
  };

  const run = async () => {
    for (const hook of [...hooks]) {
      try {
        await hook(members);
      } catch (error) {
        fail(error);
      }
    }
  };

  Object.defineProperties(room, {
    _presence: { value: take },
    members: { value: members, enumerable: true },
    memberCount: { get: () => count ?? members.size, enumerable: true },
    onPresence: {
      value: (hook) => {
        if (typeof hook !== "function") throw new TypeError(`Expected a function, got ${typeof hook}`);
        hooks.add(hook);
        return () => hooks.delete(hook);
      },
    },
  });
}
