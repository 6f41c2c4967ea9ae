/**
 * Presence: who is in a declared room.
 *
 *     import { EtpClient } from "./etp-presence.js";
 *
 *     const client = new EtpClient("/ws/");
 *     const team = client.room("teams/red");
 *     team.onPresence((members) => console.log([...members.values()].map(({ info }) => info.name)));
 *     client.connect();
 *     await team.join();
 *
 * This module holds all of etp-rooms.js, with rooms that have `members`.
 */

import {
  type ContractOf,
  EtpClient as RoomsClient,
  type Off,
  type Room,
  type RoomNames,
  type RoomOf,
  type RoomOptions,
  type ServerContract,
  type ServerRoom,
  type StreamsIn,
  type Untyped,
  type UntypedName,
  type UntypedRoom,
} from "./etp-rooms.js";

export * from "./etp-rooms.js";

/** A user in a room, or an anonymous connection. */
export interface Member<Info = any> {
  /** The primary key of the user, as text; or the id of the anonymous connection. */
  readonly key: string;
  /** What the server lets others see of the user. */
  readonly info: Info;
  /** When the user came, in seconds since 1970. */
  readonly since: number;
  /** How many connections of the user are in the room. */
  readonly connections: number;
}

/** A declared room whose server may have declared it with presence. */
export interface PresenceRoom<Info = any, R extends ServerRoom = UntypedRoom> extends Room<R> {
  /**
   * Who is in the room, by keys: a live map, always the same one. It is empty outside of the room, in a room without
   * presence, and in a crowded room, which has a `memberCount` alone.
   */
  readonly members: ReadonlyMap<string, Member<Info>>;

  /** How many entries the room has. */
  readonly memberCount: number;

  /** Run `hook` with the members after the join, after each return, and after each change. */
  onPresence(hook: (members: ReadonlyMap<string, Member<Info>>) => unknown): Off;
}

/** What a client has whose declared rooms have members. */
export interface PresenceRooms<C extends ServerContract = Untyped> {
  /** See `Rooms.room` of etp-rooms.js. */
  room<Info = any>(name: UntypedName<C>, options?: RoomOptions): PresenceRoom<Info> & StreamsIn<this>;
  room<Name extends RoomNames<C>>(
    name: Name,
    options?: RoomOptions,
  ): PresenceRoom<RoomOf<C, Name>["info"], RoomOf<C, Name>> & StreamsIn<this, RoomOf<C, Name>>;
}

/** A client with declared rooms that have members. */
export class EtpClient<C extends ServerContract = Untyped> extends RoomsClient<C> {
  /** See `Rooms.room` of etp-rooms.js. */
  room<Info = any>(name: UntypedName<C>, options?: RoomOptions): PresenceRoom<Info> & StreamsIn<this>;
  room<Name extends RoomNames<C>>(
    name: Name,
    options?: RoomOptions,
  ): PresenceRoom<RoomOf<C, Name>["info"], RoomOf<C, Name>> & StreamsIn<this, RoomOf<C, Name>>;
}

/** Add members to the rooms of a class of clients, to combine several modules: `withPresence(Base<Contract>)`. */
export function withPresence<Base extends new (...args: any[]) => RoomsClient<any>>(
  base: Base,
): new (
  ...args: ConstructorParameters<Base>
) => PresenceRooms<ContractOf<InstanceType<Base>>> & InstanceType<Base>;
