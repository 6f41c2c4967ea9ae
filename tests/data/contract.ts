// What a contract must allow, and refuse where a line says so. See tests/support/contracts.py for the contract.
import { EtpClient as PlainClient } from "./etp.js";
import { EtpClient } from "./etp-all.js";
import { type Member, withPresence } from "./etp-presence.js";
import { EtpClient as RoomsClient, type Room, withRooms } from "./etp-rooms.js";
import { EtpClient as StreamsClient, withStreams } from "./etp-streams.js";
import type { Contract, Node, Say, SayOut, Stop, Word } from "./contract.js";

/** Whether two types are the same, so that `any` is no way out. */
type Same<One, Other> = (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : false;
function check<Holds extends true>(): void {}

const client = new EtpClient<Contract>("/ws/", { codec: "json" });
const plain = new PlainClient<Contract>("/ws/");

// Events that the client sends
plain.emit("say", { text: "hello" });
plain.emit("say", { text: "hello", to: null });
plain.emit("raw");
plain.emit("raw", { any: "thing" });
plain.emit("log in", { name: "ana" });
plain.emit("log.in", { kind: "circle", radius: 1 });
// @ts-expect-error: no such event
plain.emit("sya", { text: "hello" });
// @ts-expect-error: the payload is missing
plain.emit("say");
// @ts-expect-error: a field is missing
plain.emit("say", { to: 1 });
// @ts-expect-error: a field of another type
plain.emit("say", { text: 1 });
// @ts-expect-error: a field that does not exist
plain.emit("say", { text: "hello", form: 1 });
// @ts-expect-error: the side belongs to squares
plain.emit("log.in", { kind: "circle", side: 1 });
// @ts-expect-error: the server sends it
plain.emit("said", { text: "hello", to: null });

// Answers
const count = await plain.emitWithAck("say", { text: "hello" }, { timeout: 1, retries: 2 });
check<Same<typeof count, number>>();
const echoed = await plain.emitWithAck("echo", "hello");
check<Same<typeof echoed, string>>();
const node = await plain.emitWithAck("log.in", { kind: "square", side: 1 });
check<Same<typeof node, Node | null | "">>();
if (node) check<Same<typeof node.color, "red" | "blue">>();
const place = node ? node.at : null;
check<Same<typeof place, [number, number] | null>>();
const lines = await plain.emitWithAck("lines", [{ amount: 1 }]);
check<Same<(typeof lines)[0]["id"], number>>();
// @ts-expect-error: no such event
await plain.emitWithAck("nosuch");
// @ts-expect-error: the payload is text
await plain.emitWithAck("echo", 1);
// @ts-expect-error: a streamed answer is for stream()
await plain.emitWithAck("words", "hello");
// @ts-expect-error: no such option
await plain.emitWithAck("echo", "hello", { timout: 1 });

// Events that the server sends
plain.on("said", (message, event) => {
  check<Same<typeof message, SayOut>>();
  check<Same<typeof message.to, number | null>>();
  return event.name;
});
plain.once("tree", ({ children }) => check<Same<typeof children, Array<typeof children[0]>>>());
plain.on("closed", (nothing) => check<Same<typeof nothing, null | "">>());
plain.off("said");
plain.off("said", (message: SayOut) => message);
// @ts-expect-error: no such event
plain.on("sayd", () => {});
// @ts-expect-error: clients send it
plain.once("echo", () => {});
// @ts-expect-error: another payload
plain.on("said", (message: number) => message);
// @ts-expect-error: no such field
plain.on("said", (message) => message.txt);

// Streams
const streams = new StreamsClient<Contract>("/ws/");
for await (const part of streams.stream("words", "hello", { timeout: 1 })) {
  if (part.type === "word") check<Same<typeof part.score, number>>();
}
for await (const part of client.stream("say", { text: "hello" })) check<Same<typeof part, number>>();
// @ts-expect-error: no such event
client.stream("nosuch");
// @ts-expect-error: another payload
client.stream("words", 1);

// Rooms
const number: number = 5;
const order = client.room(`orders/${number}`);
const state = await order.join();
check<Same<typeof state.items, SayOut[]>>();
order.onState(({ items }, { recovered }) => check<Same<typeof items, SayOut[]>>() ?? recovered);
order.on("said", (message) => check<Same<typeof message, SayOut>>());
const said = await order.emitWithAck("say", { text: "hello" });
check<Same<typeof said, SayOut>>();
for (const member of order.members.values()) check<Same<typeof member.info, { [name: string]: string }>>();
client.room("teams/red/a/b").join();
new RoomsClient<Contract>("/ws/").room("orders/5").emit("say", { text: "hello" });
// @ts-expect-error: no such room
client.room("order/5");
// @ts-expect-error: orders have numbers
client.room("orders/five");
// @ts-expect-error: an event outside of the room
order.emit("echo", "hello");
// @ts-expect-error: another payload
order.emit("say", "hello");
// @ts-expect-error: no such event
order.on("nosuch", () => {});

// Streams inside rooms
for await (const part of order.stream("advice", "hello", { timeout: 1 })) {
  if (part.type === "word") check<Same<typeof part.score, number>>();
}
for await (const part of order.stream("say", { text: "hello" })) check<Same<typeof part, SayOut>>();
// @ts-expect-error: a streamed answer is for stream()
order.emitWithAck("advice", "hello");
// @ts-expect-error: an event outside of the room
order.stream("words", "hello");
// @ts-expect-error: another payload
order.stream("advice", 1);
// @ts-expect-error: no such option
order.stream("advice", "hello", { retries: 1 });
// @ts-expect-error: the client has no streams
new RoomsClient<Contract>("/ws/").room("orders/5").stream("advice", "hello");

// A name that fits two patterns belongs to the narrower one.
interface TwoRooms {
  events: {};
  sent: {};
  rooms: {
    "a/<path:b>": { name: `a/${string}`; state: "wide"; info: never; events: {} };
    "a/x/<int:b>": { name: `a/x/${number}`; state: "narrow"; info: never; events: {} };
  };
}
const two = new RoomsClient<TwoRooms>("/ws/");
const narrow = await two.room("a/x/5").join();
check<Same<typeof narrow, "narrow">>();
const wide = await two.room("a/x/y").join();
check<Same<typeof wide, "wide">>();

// Functions that combine modules pass the contract on.
const combined = new (withStreams(RoomsClient))<Contract>("/ws/");
combined.emit("say", { text: "hello" });
combined.room("orders/5").emit("say", { text: "hello" });
for await (const part of combined.stream("anything")) check<Same<typeof part, any>>();
for await (const word of combined.room("orders/5").stream("advice", "why")) check<Same<typeof word, Word | Stop>>();
// @ts-expect-error: no such room
combined.room("orders/five");
// @ts-expect-error: no such event
combined.emit("nosuch");

// What they add knows a contract that the class has.
const streaming = new (withStreams(RoomsClient<Contract>))("/ws/");
streaming.emit("say", { text: "hello" });
streaming.room("orders/5").emit("say", { text: "hello" });
for await (const word of streaming.stream("words", "why")) check<Same<typeof word, Word | Stop>>();
for await (const word of streaming.room("orders/5").stream("advice", "why")) check<Same<typeof word, Word | Stop>>();
// @ts-expect-error: no such event
streaming.stream("wrods", "why");
// @ts-expect-error: no such room
streaming.room("orders/five");
// @ts-expect-error: no such event
streaming.emit("nosuch");

const roomy = new (withRooms(StreamsClient<Contract>))("/ws/");
const { items } = await roomy.room("orders/5").join();
check<Same<typeof items, SayOut[]>>();
for await (const word of roomy.stream("words", "why")) check<Same<typeof word, Word | Stop>>();
for await (const word of roomy.room("orders/5").stream("advice", "why")) check<Same<typeof word, Word | Stop>>();
// @ts-expect-error: no such room
roomy.room("orders/five");
// @ts-expect-error: the room has no such event
roomy.room("orders/5").emit("sya", { text: "hello" });
// @ts-expect-error: the room has no such event
roomy.room("orders/5").stream("advise", "why");

const social = new (withPresence(RoomsClient<Contract>))("/ws/", { codec: "json" });
const member = social.room("orders/5").members.get("1");
check<Same<typeof member, Member<{ [name: string]: string }> | undefined>>();
social.emit("say", { text: "hello" });
// @ts-expect-error: no such room
social.room("orders/five");

class Shop extends PlainClient<Contract> {
  greet = (): void => this.emit("say", { text: "hello" });
}
class Everything extends withStreams(withPresence(withRooms(Shop))) {
  async advise(prompt: string): Promise<void> {
    for await (const word of this.room("orders/5").stream("advice", prompt)) check<Same<typeof word, Word | Stop>>();
  }
}
const everything = new Everything("/ws/");
everything.greet();
everything.room("orders/5").members.get("1")?.info.name?.length;
for await (const word of everything.stream("words", "why")) check<Same<typeof word, Word | Stop>>();
for await (const word of everything.room("orders/5").stream("advice", "why")) check<Same<typeof word, Word | Stop>>();
const turned = new (withPresence(withRooms(StreamsClient<Contract>)))("/ws/");
for await (const word of turned.room("orders/5").stream("advice", "why")) check<Same<typeof word, Word | Stop>>();
turned.room("orders/5").members.get("1")?.info.name?.length;
// @ts-expect-error: no such event
everything.stream("wrods", "why");
// @ts-expect-error: no such room
everything.room("orders/five");

// Without a contract they take all names.
const open2 = new (withStreams(withPresence(withRooms(PlainClient))))("/ws/");
open2.room<{ name: string }>("anything").members.get("1")?.info.name.length;
for await (const part of open2.stream("anything", 5)) check<Same<typeof part, any>>();
for await (const part of open2.room("anything").stream("anything", 5)) check<Same<typeof part, any>>();
open2.emit("anything");

// Without a contract all is as before.
const untyped = new EtpClient("/ws/");
const sum: number = await untyped.emitWithAck<number>("add", [1, 2], { timeout: 1 });
const anything = await untyped.emitWithAck("add");
check<Same<typeof anything, any>>();
untyped.on("news", (news) => check<Same<typeof news, any>>());
untyped.off("news");
untyped.emit(String(sum), anything);
const lobby: Room = untyped.room<{ name: string }>("lobby");
const joined: { topic: string } = await lobby.join<{ topic: string }>();
lobby.on(joined.topic, (data) => data.anything);
for await (const part of untyped.stream<string>("ask")) part.length;
for await (const part of untyped.room("lobby").stream<string>("ask", 1, { timeout: 1 })) part.length;
// @ts-expect-error: the client has no streams
new RoomsClient("/ws/").room("lobby").stream("ask");
untyped.room<{ name: string }>("lobby").members.get("1")?.info.name.length;
const open = new EtpClient<any>("/ws/");
const answer: string = await open.emitWithAck("anything", 1);

// Classes of their own, as before and with a contract.
class Logged extends EtpClient {
  emit(name: string, payload?: unknown): void {
    super.emit(name, payload);
  }
  async emitWithAck<Answer = any>(name: string, payload?: unknown): Promise<Answer> {
    return super.emitWithAck<Answer>(name, payload);
  }
}
class Typed extends EtpClient<Contract> {
  say(message: Say): Promise<number> {
    return this.emitWithAck("say", message);
  }
}
function takes(client: PlainClient): void {
  client.emit("hello");
}
takes(new Logged("/ws/"));
takes(new Typed("/ws/"));
takes(untyped);
function takesContract(client: PlainClient<Contract>): void {
  client.emit("say", { text: "hello" });
}
takesContract(new Typed("/ws/"));
takesContract(untyped);
// @ts-expect-error: a client of another server
takesContract(two);
console.log(answer);
