/** The chat's page: send the user's actions to the server, and show the server's events. */

import { ConnectionLost, EtpClient } from "../django_etp/etp.js";
import { MessageLog, showAvatar, showPeople, showTyping } from "./view.js";

const TYPING_EVERY = 1_500;
const TYPING_FADES_AFTER = 4_000;
const BACK_SHOWS_FOR = 2_500;
const FATAL_CODES = [4401, 4403];
const LOGGED_OUT = "You are not logged in any more.";

const find = (id) => document.getElementById(id);
const { name: me, maxLength } = document.body.dataset;
const log = new MessageLog(find("log"), find("latest"), me);
const roomLinks = [...document.querySelectorAll("[data-room][href]")];
const composer = find("composer");
const text = find("text");
const announcement = find("announcement");
const announcementForm = announcement.querySelector("form");

let room = document.body.dataset.room;
let presence = {}; // room -> names, as the server sent them last
let presenceAt = 0;
let known = null; // the names in this room then; null right after entering it
let lastTyped = 0;
let wasLost = false;
let didNotOpen = false; // the banner shows it
let isLoggedOut = false;
let lastEntered = Promise.resolve();
let lastSent = Promise.resolve();
const typists = new Map(); // name -> the timer that removes it
const outbox = new Map(); // key -> message that the server has not confirmed
const underWay = new Set(); // keys of those messages that this connection is sending

const client = new EtpClient("/ws/", { maxDelay: 5_000 });

// Events of the server

client.on("message", (message) => {
  if (message.room !== room) return;
  stopTyping(message.name);
  log.add(message);
});

client.on("presence", ({ looked_up_at: at, rooms }) => {
  if (at < presenceAt) return; // a later list has arrived already
  presenceAt = at;
  presence = rooms;
  updatePresence();
});

client.on("typing", ({ room: where, name }) => {
  if (where !== room || name === me) return;
  clearTimeout(typists.get(name));
  typists.set(name, setTimeout(stopTyping, TYPING_FADES_AFTER, name));
  showTyping(find("typing"), [...typists.keys()]);
});

client.onConnect(() => {
  showBanner(wasLost ? "Connected again." : "");
  if (wasLost) setTimeout(() => client.state === "open" && showBanner(""), BACK_SHOWS_FOR);
  wasLost = false;
  return enter();
});

client.onDisconnect(({ code, willReconnect }) => {
  wasLost = true;
  if (FATAL_CODES.includes(code)) showLoggedOut();
  else if (willReconnect) showBanner("Connection lost. Reconnecting…", "Try now", () => client.connect());
  else showBanner("The server closed the connection.", "Connect", () => client.connect());
});

/** The user logged out, perhaps in another tab. Users here have no password to change, so the login is over. */
function showLoggedOut() {
  client.close();
  isLoggedOut = true;
  presence = {};
  known = null;
  updatePresence();
  for (const typist of [...typists.keys()]) stopTyping(typist);
  showBanner(LOGGED_OUT, "Log in", () => location.reload()); // through the login page, and back to this room
}

// Rooms

/** Enter the room that the page shows. One request at a time, so that the server ends in the room clicked last. */
function enter() {
  known = null;
  lastEntered = lastEntered.then(async () => {
    const entering = room;
    const answer = await client.emitWithAck("enter", { room: entering });
    if (entering !== room) return; // the user has chosen another room meanwhile
    if (answer.error) return showDidNotOpen(answer.error);
    if (answer.name !== me) return location.reload(); // another window logged in as another user
    if (didNotOpen) showBanner("");
    didNotOpen = false;
    log.fill([...answer.history, ...outboxOf(entering)], answer.follows);
    for (const message of outbox.values()) deliver(message);
  });
  lastEntered = lastEntered.catch((error) => {
    if (!(error instanceof ConnectionLost)) showDidNotOpen("The room did not open.", "Try again", enter);
  });
  return lastEntered;
}

function showDidNotOpen(...banner) {
  didNotOpen = true;
  showBanner(...banner);
}

function goTo(link) {
  if (!link || link.dataset.room === room) return;
  room = link.dataset.room;
  for (const each of roomLinks) each.toggleAttribute("aria-current", false);
  link.setAttribute("aria-current", "page");
  link.scrollIntoView({ block: "nearest", inline: "center" });
  const name = link.querySelector(".name").textContent;
  document.title = `${name} · Parlour`;
  find("room-name").textContent = name;
  find("room-topic").textContent = link.dataset.topic;
  announcementForm.action = link.dataset.announce;
  for (const typist of [...typists.keys()]) stopTyping(typist);
  log.clear();
  known = null;
  updatePresence();
  if (client.state === "open") enter();
}

for (const link of roomLinks) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return; // opens a new tab or window
    event.preventDefault();
    if (link.dataset.room !== room) history.pushState(null, "", link.href);
    goTo(link);
  });
}
window.addEventListener("popstate", () => goTo(roomLinks.find((link) => link.pathname === location.pathname)));

function updatePresence() {
  for (const link of roomLinks) {
    const count = link.querySelector(".count");
    const names = presence[link.dataset.room] ?? [];
    count.textContent = names.length;
    count.hidden = names.length === 0;
    count.title = names.join(", ");
  }
  const here = presence[room] ?? [];
  showPeople(find("people-list"), here, me);
  find("people-count").textContent = here.length;
  if (known) {
    for (const name of here) if (!known.includes(name)) log.note(`${name} came in`);
    for (const name of known) if (!here.includes(name)) log.note(`${name} left`);
  }
  known = here.includes(me) ? here : null;
}

// Writing

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const value = text.value.trim();
  const length = [...value].length;
  if (isLoggedOut) return complain(`${LOGGED_OUT} Log in, then send it.`);
  if (!value) return complain("Write something first.");
  if (length > maxLength) return complain(`That is too long: up to ${maxLength} characters, please; these are ${length}.`);
  const message = { key: newKey(), room, name: me, text: value };
  outbox.set(message.key, message);
  text.value = "";
  lastTyped = 0;
  complain("");
  log.add(message);
  log.showLatest();
  if (client.state === "open") deliver(message);
});

text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  composer.requestSubmit();
});

text.addEventListener("input", () => {
  complain("");
  if (!text.value.trim() || client.state !== "open" || Date.now() - lastTyped < TYPING_EVERY) return;
  lastTyped = Date.now();
  client.emit("typing");
});

/**
 * Send a message until the server has confirmed it; its key makes sure that it is saved only once. Messages are sent one
 * at a time, because the server handles events concurrently and should keep the order in which they were written.
 */
function deliver(message) {
  if (underWay.has(message.key)) return;
  underWay.add(message.key);
  log.mark(message.key, "sending");
  lastSent = lastSent.then(() => send(message));
}

async function send(message) {
  try {
    const answer = await client.emitWithAck("say", message);
    outbox.delete(message.key);
    if (answer.error) log.mark(message.key, "failed", answer.error);
    else if (answer.message.room === room) log.add(answer.message); // else the user has chosen another room
  } catch (error) {
    if (error instanceof ConnectionLost) return; // sent again after the room is entered again
    log.mark(message.key, "failed", "Not sent.", () => deliver(message));
  } finally {
    underWay.delete(message.key);
  }
}

function outboxOf(where) {
  return [...outbox.values()].filter((message) => message.room === where);
}

function complain(message) {
  find("composer-error").textContent = message;
  text.ariaInvalid = message ? "true" : null;
}

function stopTyping(name) {
  clearTimeout(typists.get(name));
  if (typists.delete(name)) showTyping(find("typing"), [...typists.keys()]);
}

/** 128 random bits; crypto.randomUUID is missing if the page comes over plain HTTP from another machine. */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Announcements: an ordinary form, sent without leaving the page

find("announce-open").addEventListener("click", () => announcement.showModal());
find("announce-cancel").addEventListener("click", () => announcement.close());
announcement.addEventListener("click", (event) => event.target === announcement && announcement.close());

announcementForm.addEventListener("submit", async (event) => {
  event.preventDefault();
  const error = announcementForm.querySelector(".error");
  error.textContent = "";
  try {
    const headers = { Accept: "application/json" };
    const response = await fetch(announcementForm.action, { method: "POST", headers, body: new FormData(announcementForm) });
    if (response.redirected) {
      error.textContent = `${LOGGED_OUT} Log in, then announce it.`; // this was the login page
    } else if (response.status === 400) {
      error.textContent = (await response.json()).error;
    } else if (response.ok) {
      announcementForm.reset();
      announcement.close();
    } else {
      error.textContent = "That did not work. Reload the page, then try again.";
    }
  } catch {
    error.textContent = "The server cannot be reached. Try again.";
  }
});

// The connection

function showBanner(message, label, action) {
  const banner = find("banner");
  banner.replaceChildren();
  if (!message) return;
  banner.append(message);
  if (!label) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.textContent = label;
  button.addEventListener("click", action);
  banner.append(button);
}

for (const avatar of document.querySelectorAll("[data-avatar]")) showAvatar(avatar, avatar.dataset.avatar);
client.connect();
setTimeout(() => {
  if (client.state === "connecting" && !wasLost) showBanner("Connecting…", "Try now", () => client.connect());
}, 2_000);
