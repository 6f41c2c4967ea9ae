/** The orders' page: load the list at each connect, and apply the changes that the server sends. */

import { EtpClient } from "../django_etp/etp.js";

const list = document.getElementById("orders");
const state = document.getElementById("state");
const rows = new Map(); // pk -> list item

const client = new EtpClient("/ws/", { maxDelay: 5_000 });

client.on("order", show);

client.onConnect(async () => {
  const orders = await client.emitWithAck("watch orders");
  for (const row of rows.values()) row.remove();
  rows.clear();
  for (const order of orders) show(order);
  state.textContent = "";
});

client.onDisconnect(() => {
  state.textContent = "Not connected. The list may be out of date.";
});

function show(order) {
  if (order.deleted) {
    rows.get(order.pk)?.remove();
    rows.delete(order.pk);
    return;
  }
  if (!rows.has(order.pk)) {
    rows.set(order.pk, list.appendChild(document.createElement("li")));
  }
  const row = rows.get(order.pk);
  row.textContent = `${order.item} for ${order.customer}: ${order.label}`;
  row.dataset.status = order.status;
}
client.connect();
