// The live page polls while it is visible. Nothing is sent to it, and a hidden or closed page costs nothing.
const INTERVAL = 2000; // in milliseconds; after a failure twice as long, up to 16 s
const SVG = "http://www.w3.org/2000/svg";
const LANGUAGE = document.documentElement.lang || "en";

const root = document.querySelector(".etp-live");
const { kind, connectionUrl, roomUrl } = root.dataset;
const find = (name) => root.querySelector(`[data-${name}]`);

let timer = 0;
let wait = INTERVAL;
let last; // the counts of a connection in the answer before, for its rates

const number = (value) => value.toLocaleString(LANGUAGE);
const time = (seconds) => new Date(seconds * 1000).toLocaleString(LANGUAGE);
const url = (base, parameters) => `${base}?${new URLSearchParams(parameters)}`;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function cell(label, content, name = "td") {
  const made = element(name, name === "th" ? { scope: "row" } : {}, content);
  made.dataset.label = label;
  return made;
}

// Keep the elements of rows that stay: one of them may have the focus.
function update(body, rows, keyOf, make) {
  const old = new Map([...body.children].map((each) => [each.dataset.key, each]));
  rows.forEach((row, at) => {
    const key = JSON.stringify(keyOf(row));
    const text = JSON.stringify(row);
    let line = old.get(key);
    old.delete(key);
    if (!line) {
      line = element("tr", {}, ...make(row));
      line.dataset.key = key;
    } else if (line.dataset.text !== text) {
      const hadFocus = line.contains(document.activeElement);
      line.replaceChildren(...make(row));
      if (hadFocus) line.querySelector("a, button")?.focus();
    }
    line.dataset.text = text;
    if (body.children[at] !== line) body.insertBefore(line, body.children[at] ?? null);
  });
  for (const line of old.values()) line.remove();
}

function leaveForm(values) {
  const template = find("leave");
  if (!template) return [];
  const form = template.content.firstElementChild.cloneNode(true);
  for (const [name, value] of Object.entries(values)) form.elements[name].value = value;
  const what = values.room ?? values.connection;
  form.elements.action.setAttribute("aria-label", `Take out: ${what}`);
  return [cell("", form)];
}

const userOf = (row) => row.username || row.user_id || "anonymous";
const link = (href, text) => element("a", { href }, text);

function showConnections(rows) {
  update(find("rows"), rows, (row) => row.id, (row) => [
    cell("User", link(url(connectionUrl, { id: row.id }), userOf(row)), "th"),
    cell("Connected since", time(row.connected_at)),
    cell("Namespace", row.namespace),
    cell("Address", row.address || "unknown"),
    cell("Rooms", number(row.rooms)),
    ...leaveForm({ connection: row.id }),
  ]);
}

function showRooms(rows) {
  update(find("rows"), rows, (row) => [row.namespace, row.name], (row) => [
    cell("Room", link(url(roomUrl, { namespace: row.namespace, name: row.name }), row.name || "(empty name)"), "th"),
    cell("Namespace", row.namespace),
    cell("Members", number(row.members)),
  ]);
}

function showPage(data) {
  (kind === "rooms" ? showRooms : showConnections)(data.rows);
  find("none").hidden = data.rows.length > 0;
  for (const name of ["previous", "next"]) {
    const page = root.querySelector(`[data-page="${name}"]`);
    page.hidden = !data[name];
    if (data[name]) page.href = data[name];
    else page.removeAttribute("href");
  }
  // A room that several processes have counts in each of them, so the number of all rooms is not known.
  const range = `${number(data.start + 1)} to ${number(data.start + data.rows.length)} of ${number(data.total)}`;
  find("range").textContent = data.rows.length && kind !== "rooms" ? range : "";
}

function showSummary({ events, frames, last, ...summary }) {
  const perSecond = (values) => (values.length ? `${number(values.at(-1))}/s` : "…");
  const now = { ...summary, events: perSecond(events), frames: perSecond(frames) };
  for (const place of root.querySelectorAll("[data-now]")) {
    const value = now[place.dataset.now];
    place.textContent = typeof value === "number" ? number(value) : value;
  }
  draw({ events, frames });
  find("losses").hidden = !last.length;
  update(find("losses-rows"), last, (loss) => loss, ([at, namespace, room, lost]) => [
    cell("Time", time(at)),
    cell("Namespace", namespace),
    cell("Room", room || "(no room, or unknown)"),
    cell("Events", number(lost)),
  ]);
}

function draw(series) {
  const chart = find("chart");
  const top = Math.max(1, ...series.events, ...series.frames);
  for (const [name, values] of Object.entries(series)) {
    let line = chart.querySelector(`.etp-${name}`);
    if (!line) {
      line = document.createElementNS(SVG, "polyline");
      line.classList.add(`etp-${name}`);
      chart.append(line);
    }
    const points = values.map((value, at) => {
      const x = 600 - (values.length - 1 - at) * (600 / 59);
      return `${x.toFixed(1)},${(118 - (value / top) * 112).toFixed(1)}`;
    });
    line.setAttribute("points", points.join(" "));
  }
  find("top").textContent = number(top);
  const words = Object.entries(series).map(([name, values]) => `${number(values.at(-1) ?? 0)} ${name}`);
  chart.setAttribute("aria-label", `Traffic of the last minute, at most ${number(top)} per second; now ${words.join(" and ")}`);
}

function showConnection({ row, rooms, events, frames }) {
  find("gone").hidden = Boolean(row);
  const actions = find("actions");
  if (actions) actions.hidden = !row;
  if (!row) {
    last = undefined;
    find("rows").replaceChildren();
    return;
  }
  const now = performance.now() / 1000;
  const rate = (name, value) => {
    const passed = last && value >= last[name] ? now - last.now : 0;
    return passed ? `${number(Math.round((10 * (value - last[name])) / passed) / 10)}/s` : "…";
  };
  const facts = {
    user: userOf(row),
    since: time(row.connected_at),
    namespace: row.namespace,
    address: row.address || "unknown",
    events: rate("events", events),
    frames: rate("frames", frames),
    id: row.id,
  };
  for (const place of root.querySelectorAll("[data-fact]")) place.textContent = facts[place.dataset.fact];
  last = { events, frames, now };
  update(find("rows"), rooms, (name) => name, (name) => [
    cell("Room", link(url(roomUrl, { namespace: row.namespace, name }), name || "(empty name)"), "th"),
    ...leaveForm({ room: name }),
  ]);
  find("none").hidden = rooms.length > 0;
}

function complain(text) {
  const place = find("problem");
  if (place.textContent !== text) place.textContent = text; // a screen reader says it once
  place.hidden = !text;
}

async function load() {
  const answer = await fetch(`data/${location.search}`, { redirect: "manual", headers: { Accept: "application/json" } });
  if (answer.type === "opaqueredirect" || answer.status === 403) {
    throw new Error("You are logged out, or may no longer see this page. Reload it to log in.");
  }
  if (!answer.ok && answer.status !== 400) throw new Error(`The server answered with ${answer.status}.`);
  const data = await answer.json();
  if (answer.ok) {
    if (kind === "connection") showConnection(data);
    else {
      showSummary(data.summary);
      showPage(data);
    }
  }
  complain(data.problem);
}

async function poll() {
  timer = -1; // a request is under way
  try {
    await load();
    wait = INTERVAL;
  } catch (error) {
    complain(error instanceof TypeError ? "The server cannot be reached." : error.message);
    wait = Math.min(wait * 2, 16000);
  }
  timer = document.hidden ? 0 : setTimeout(poll, wait);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden && timer > 0) {
    clearTimeout(timer);
    timer = 0;
  } else if (!document.hidden && timer === 0) {
    poll();
  }
});

if (!document.hidden) poll();
