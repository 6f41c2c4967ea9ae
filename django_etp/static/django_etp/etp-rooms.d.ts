/**
 * Declared rooms: a client joins by name, is let in or refused, and returns by itself after a reconnect.
 *
 *     import { EtpClient } from "./etp-rooms.js";
 *
 *     const client = new EtpClient("/ws/");
 *     const order = client.room("orders/5");
 *     order.on("changed", (change) => console.log(change));
 *     client.connect();
 *     const state = await order.join();
 *
 * This module holds all of etp.js, with a client that has `room()`.
 */

import {
  type AnswerOf,
  type AskNames,
  type AskOptions,
  type ContractOf,
  EtpClient as PlainClient,
  type EtpError,
  type Handler,
  type Names,
  type Off,
  type Sending,
  type ServerContract,
  type Untyped,
  type UntypedName,
} from "./etp.js";
import type { RoomStreams } from "./etp-streams.js";

export * from "./etp.js";

/** What is known of a declared room, and of what the server sends to it. */
export interface ServerRoom {
  state: unknown;
  info: unknown;
  events: object;
  sent: object;
}

/** Nothing is known of the room: all names and payloads are allowed. */
export interface UntypedRoom extends ServerRoom {
  state: any;
  info: any;
  readonly untyped: true;
}

/** The names of a room in a contract. */
export type NameOf<Room> = Room extends { name: infer Name extends string } ? Name : never;

/** The names of all rooms of a contract. */
export type RoomNames<C extends ServerContract> = NameOf<C["rooms"][keyof C["rooms"]]>;

/** The rooms that a name may belong to. */
type Matching<Rooms, Name> = { [Key in keyof Rooms]: Name extends NameOf<Rooms[Key]> ? Key : never }[keyof Rooms];

/** Of these rooms the one with the narrowest names. */
type Closest<Rooms, Key extends keyof Rooms> = {
  [One in Key]: true extends {
    [Other in Exclude<Key, One>]: NameOf<Rooms[Other]> extends NameOf<Rooms[One]> ? true : never;
  }[Exclude<Key, One>]
    ? never
    : One;
}[Key];

/** The room of a name in a contract. */
export type RoomOf<C extends ServerContract, Name> = C["rooms"][Closest<
  C["rooms"],
  Matching<C["rooms"], Name>
>] extends infer Found extends Omit<ServerRoom, "sent">
  ? { state: Found["state"]; info: Found["info"]; events: Found["events"]; sent: C["sent"] }
  : never;

/** What a room's `onState` hooks get beside the state. */
export interface Return {
  /** Whether all events that the client missed follow; false unless the room has history. */
  readonly recovered: boolean;
}

export interface RoomOptions {
  /** A position in a room with history, as from the page: the first join asks for the events after it. */
  since?: string;
}

/** An event in the history of a room. */
export interface PastEvent {
  /** Its position, for `before` or `since`. */
  readonly position: string;
  /** Its name. */
  readonly event: string;
  /** Its data, as a handler gets it. */
  readonly data: any;
  /** When it was sent. */
  readonly at: Date;
}

export interface HistoryOptions extends AskOptions {
  /** How many events at most: 50 by default, up to 1,000. */
  limit?: number;
  /** The position of an event: those before it are returned; by default the last ones. */
  before?: string;
}

export interface JoinOptions {
  /** How long to wait for the answer; without a limit by default, since the server has one. */
  timeout?: number;
  /** Aborts the join. */
  signal?: AbortSignal;
}

/**
 * A declared room of the server.
 *
 * Once joined, the client joins it again with each new connection, before events that waited go out. That ends with
 * `leave()`, when the server takes the client out, and when it refuses the return.
 */
export interface Room<R extends ServerRoom = UntypedRoom> {
  readonly name: string;

  /** In a room with history, the position of the last event that the client got; else null. */
  readonly position: string | null;

  /** Whether the client is in the room now. */
  readonly isJoined: boolean;

  /** Run `handler` for each event of that name inside the room. See `EtpClient.on`. */
  on(name: UntypedName<R>, handler: Handler): Off;
  on<Name extends Names<R["sent"]>>(name: Name, handler: Handler<R["sent"][Name]>): Off;

  /** Run `hook` with the room's state after the join, and after each return. */
  onState(hook: (state: R["state"], how: Return) => unknown): Off;

  /** Run `hook` when the server takes the client out, or refuses its return. The error has the server's `code`. */
  onLeft(hook: (reason: EtpError) => unknown): Off;

  /**
   * Join the room, and resolve to its state. While the client is connecting, the join waits. A second join resolves to
   * the state as it is then. Rejects with the server's refusal, whose `code` is "permission_denied", "not_found",
   * "too_many_rooms" or "handler_error"; with "unknown_event" if the server has no declared rooms; with "left" after
   * `leave()`; with AckTimeout; and with ConnectionLost if the client is closed.
   */
  join<State = R["state"]>(options?: JoinOptions): Promise<State>;

  /** Leave the room, and resolve once the server has answered. From the call on no handler of the room runs. */
  leave(options?: AskOptions): Promise<void>;

  /**
   * Send an event inside the room. It waits while the client joins or returns. Throws as `EtpClient.emit`, and EtpError
   * "permission_denied" if the client is not in the room.
   */
  emit(name: UntypedName<R>, payload?: unknown): void;
  emit<Name extends Names<R["events"]>>(name: Name, ...payload: Sending<R["events"][Name]>): void;

  /** Send an event inside the room and resolve to its answer. Rejects as `emit` throws. See `EtpClient.emitWithAck`. */
  emitWithAck<Answer = any>(name: UntypedName<R>, payload?: unknown, options?: AskOptions): Promise<Answer>;
  emitWithAck<Name extends AskNames<R["events"]>>(
    name: Name,
    ...payload: Sending<R["events"][Name], [options?: AskOptions]>
  ): Promise<AnswerOf<R["events"][Name]>>;

  /**
   * Resolve to past events of a room with history, the oldest first. There may be fewer than `limit`, since they fit into
   * one message; an empty list is the end. Rejects as `emitWithAck`, and with EtpError "not_found" if the room has no
   * history.
   */
  history(options?: HistoryOptions): Promise<PastEvent[]>;
}

/** What the rooms of a client have beside `Room`: `stream()` if the client has it, by etp-all.js or `withStreams()`. */
export type StreamsIn<Client, R extends ServerRoom = UntypedRoom> = Client extends {
  stream(...args: any[]): AsyncGenerator<any>;
}
  ? RoomStreams<R>
  : unknown;

/** What a client with declared rooms has. */
export interface Rooms<C extends ServerContract = Untyped> {
  /** Return a room, the same one for the same name each time. Does not join it. Throws EtpError "invalid_room_name". */
  room(name: UntypedName<C>, options?: RoomOptions): Room & StreamsIn<this>;
  room<Name extends RoomNames<C>>(
    name: Name,
    options?: RoomOptions,
  ): Room<RoomOf<C, Name>> & StreamsIn<this, RoomOf<C, Name>>;
}

/** A client with declared rooms. */
export class EtpClient<C extends ServerContract = Untyped> extends PlainClient<C> {}
export interface EtpClient<C extends ServerContract = Untyped> extends Rooms<C> {}

/** Add rooms to a class of clients, to combine several modules: `withRooms(StreamsClient<Contract>)`. */
export function withRooms<Base extends new (...args: any[]) => PlainClient<any>>(
  base: Base,
): Base & (new (...args: any[]) => Rooms<ContractOf<InstanceType<Base>>>);
