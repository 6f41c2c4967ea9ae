// What etp.d.ts must allow, and refuse where a line says so: the compiler complains of an error that is expected in vain.
import { AckTimeout, ConnectionLost, decode, encode, EtpClient, EtpError } from "django-etp";
import type { AskOptions, Codec, Disconnect, EtpClientOptions, EtpEvent, FailedAttempt, Handler, Off, State } from "django-etp";

const codec: Codec = { encode: (payload: number) => String(payload), decode: Number };
const options: EtpClientOptions = {
  ackTimeout: Infinity,
  codec,
  extensions: true,
  heartbeat: 0,
  maxAttempts: 3,
  maxDelay: 1,
  minDelay: 1,
  params: async () => ({ token: "abc" }),
  queueSize: 0,
  reconnect: false,
  token: async () => "abc",
};
const client = new EtpClient("/ws/", options);
new EtpClient(new URL("wss://example.com/"), { codec: "json", params: [["tag", "a"]], reconnect: undefined });
new EtpClient("/ws/", { token: "abc" });
new EtpClient("/ws/", { token: () => null });
// @ts-expect-error
new EtpClient("/ws/", { token: 1 });

const handler: Handler = async (payload: { id: number }, event: EtpEvent) => `${payload.id} ${event.name} ${event.ackId}`;
const off: Off = client.on("news", handler);
off();
client.once("news", handler)();
client.off("news", handler);
client.off("news");
client.onConnect(() => client.emit("hello"));
client.onDisconnect(({ code, reason, isNormal, willReconnect }: Disconnect) => [code, reason, isNormal, willReconnect]);
client.onAttemptFailed(({ attempt, delay, code }: FailedAttempt) => [attempt, delay ?? Infinity, code]);
client.onStateChange((state: State) => state === "open");
client.onError((error: Error, event) => console.error(error, event?.name));
client.onUnknownEvent((payload, { data }) => data);

const state: State = client.state;
const id: string | null = client.id;
const asking: AskOptions = { timeout: 1, signal: AbortSignal.timeout(1), retries: 1 };
await client.connect();
client.emit("hello", { any: "thing" });
const sum: number = await client.emitWithAck<number>("add", [1, 2], asking);
const anything: string = await client.emitWithAck("add");
const took: number = await client.ping(asking);
client.close(4000, "gone");

const error: EtpError = new ConnectionLost("lost") ?? new AckTimeout("late");
const code: string = new EtpError("Not so fast", "rate_limited", { cause: error }).code;
const event: EtpEvent = decode(encode({ name: "a", ackId: 1n }));
console.log(state, id, sum, anything, took, code, event);

// @ts-expect-error: no such option
new EtpClient("/ws/", { timeout: 1 });
// @ts-expect-error: no such codec
new EtpClient("/ws/", { codec: "xml" });
// @ts-expect-error: a number is no handler
client.on("news", 1);
// @ts-expect-error: the state is the client's to change
client.state = "open";
// @ts-expect-error: ack ids are bigint
encode({ name: "a", ackId: 1 });
// @ts-expect-error: a name that the client does not have
client.send("news");
