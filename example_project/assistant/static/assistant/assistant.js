/** The assistant's page: one connection, and the two ways to show an answer while it is written. */

import { EtpClient } from "../django_etp/etp-all.js";
import { Panel } from "./panel.js";

const client = new EtpClient("/ws/", { maxDelay: 5_000 });
const connection = document.getElementById("connection");

client.onConnect(() => (connection.textContent = ""));
client.onDisconnect(({ willReconnect }) => {
  connection.textContent = willReconnect ? "Connection lost. Reconnecting…" : "Not connected. Reload the page.";
});

client.connect();
streamTo(new Panel(document.getElementById("stream")));
shareWith(new Panel(document.getElementById("shared")));

/** The answer of one event, part by part. The loop ends it on the server as well. */
function streamTo(panel) {
  let stopping = null;

  panel.onAsk(async (prompt) => {
    stopping?.abort("replaced");
    const { signal } = (stopping = new AbortController());
    panel.begin();
    try {
      for await (const { text } of client.stream("ask", prompt, { signal })) panel.append(text);
      panel.end("Done.");
    } catch (error) {
      if (signal.reason === "replaced") return;
      if (error !== signal.reason) panel.complain(error);
      panel.end(error === signal.reason ? "Stopped." : "");
    }
  });

  panel.onStop(() => stopping.abort("stopped"));
}

/** What a worker writes into the room of this user, for all tabs. */
function shareWith(panel) {
  const room = client.room(panel.room);
  let shown = null; // the answer

  /** Show an answer as a whole, unless it is older than what the panel shows. */
  function show(answer) {
    if (!answer || answer.pk < shown?.pk) return;
    shown = answer;
    panel.begin(answer.parts.join(""));
    if (answer.status !== "writing") panel.end(answer.status === "done" ? "Done." : "Stopped.");
  }

  room.onState((state, { recovered }) => {
    if (!recovered) show(state.answer); // otherwise the events that this tab missed follow
  });
  room.on("answer", show);
  room.on("part", ({ pk, number, text }) => {
    if (pk !== shown?.pk || shown.parts[number] !== undefined) return; // the state may have had it
    shown.parts[number] = text;
    panel.append(text);
  });
  room.onLeft((error) => panel.complain(error));

  panel.onAsk((prompt) => room.emitWithAck("ask", prompt).catch((error) => panel.complain(error)));
  panel.onStop(() => room.emitWithAck("stop").catch((error) => panel.complain(error)));
  room.join().catch((error) => panel.complain(error));
}
