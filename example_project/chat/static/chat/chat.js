/** The chat's page: send the user's actions to the server, and show the server's events. */

import { ConnectionLost, EtpClient } from "../django_etp/etp-presence.js";
import { MessageLog, showAvatar, showPeople, showTyping } from "./view.js";

const TYPING_EVERY = 1_500;
const TYPING_FADES_AFTER = 4_000;
const NOTICE_SHOWS_FOR = 2_500;
const AT_ONCE = 50; // messages of the past
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
let known = null; // the names that the page shows; null until it is in the room
let hasPast = false; // the page shows the room's latest messages
let oldest = null; // the position of the first message that it shows; null if there is none before
let reading = null; // the read of earlier messages that is under way
let lastTyped = 0;
let wasLost = false;
let didNotOpen = false; // the banner shows it
let isClosedToUser = false; // the page shows it in place of the messages
let isLoggedOut = false;
let lastSent = Promise.resolve();
const typists = new Map(); // name -> the timer that removes it
const outbox = new Map(); // key -> message that the server has not confirmed
const underWay = new Set(); // keys of those messages that this connection is sending

const client = new EtpClient("/ws/", { maxDelay: 5_000 });
const names = roomLinks.map(({ dataset }) => dataset.room);
const rooms = new Map(names.map((name) => [name, client.room(`rooms/${name}`)]));
const typingRooms = new Map(names.map((name) => [name, client.room(`typing/${name}`)]));

// Events of the server

for (const [where, each] of rooms) {
  each.on("message", (message) => {
    if (message.name === me) outbox.delete(message.key); // the answer may come later, or be lost
    if (where !== room) return;
    stopTyping(message.name);
    log.add(message);
  });

  each.onPresence(() => where === room && showPresent());
  each.onState((state, how) => showEntered(where, state, how)); // after a join, and after each return
  each.onLeft((reason) => showRefused(where, reason)); // the user lost the right to be there
}

for (const [where, each] of typingRooms) {
  each.on("typing", ({ name }) => {
    if (where !== room || name === me) return;
    clearTimeout(typists.get(name));
    typists.set(name, setTimeout(stopTyping, TYPING_FADES_AFTER, name));
    showTyping(find("typing"), [...typists.keys()]);
  });
}

client.on("rights", () => {
  if (isClosedToUser) enter();
});

client.onConnect(() => {
  if (wasLost) showNotice("Connected again.");
  else showBanner("");
  wasLost = false;
});

client.onDisconnect(({ code, willReconnect }) => {
  wasLost = true;
  if (FATAL_CODES.includes(code)) showLoggedOut();
  else if (willReconnect) showBanner("Connection lost. Reconnecting…", "Try now", () => client.connect());
  else showBanner("The server closed the connection.", "Connect", connect);
});

function connect() {
  client.connect();
  enter();
}

/** The user logged out, perhaps in another tab. Users here have no password to change, so the login is over. */
function showLoggedOut() {
  client.close();
  isLoggedOut = true;
  leaveBoth(room);
  showPresent();
  for (const typist of [...typists.keys()]) stopTyping(typist);
  showBanner(LOGGED_OUT, "Log in", () => location.reload()); // through the login page, and back to this room
}

// Rooms

/** Enter the room that the page shows. From then on the client returns to it after each reconnect, until it leaves. */
async function enter() {
  const entering = room;
  typingRooms.get(entering).join().catch(() => {}); // who may not be there is told below
  try {
    await rooms.get(entering).join();
  } catch (error) {
    showRefused(entering, error);
  }
}

/** After a return `recovered` is true if all that the page has missed follows. Otherwise the past is read anew. */
function showEntered(where, { name }, { recovered }) {
  if (name !== me) return location.reload(); // another window logged in as another user
  if (where === room) {
    if (didNotOpen) showBanner("");
    didNotOpen = false;
    showClosed(false);
    known = null;
    if (!recovered) {
      if (hasPast) showNotice("You were away for long. These are the latest messages.");
      clearLog();
      for (const message of outboxOf(where)) log.add(message);
    } else if (hasPast) {
      log.hush();
      showNotice("You are up to date.");
    }
    if (!hasPast || log.isAtBeginning) showPast();
  }
  for (const message of outboxOf(where)) deliver(message);
}

/** Show the latest messages; if they are shown, those before the first one. */
async function showPast() {
  if (reading || (hasPast && !oldest)) return;
  const own = (reading = {});
  try {
    const past = await rooms.get(room).history({ limit: AT_ONCE, before: oldest ?? undefined });
    if (own !== reading) return; // the log was cleared
    hasPast = true;
    oldest = past[0]?.position ?? null;
    log.fill(past.map(({ data }) => data), !oldest);
  } catch (error) {
    if (own !== reading || error instanceof ConnectionLost) return;
    return showBanner("Earlier messages did not come.", "Try again", () => {
      showBanner("");
      showPast();
    });
  } finally {
    if (own === reading) reading = null;
  }
  if (log.isAtBeginning) showPast(); // the page has room for more
}

function clearLog() {
  log.clear();
  hasPast = false;
  oldest = null;
  reading = null;
}

find("log").addEventListener("scroll", () => hasPast && log.isAtBeginning && showPast(), { passive: true });

function showRefused(where, error) {
  if (where !== room || error instanceof ConnectionLost || error.code === "left") return;
  if (error.code === "permission_denied") return showClosed(true);
  didNotOpen = true;
  showBanner("The room did not open.", "Try again", enter);
}

/** Show that the room is closed to this user, without its messages and what one could do in it. */
function showClosed(isClosed) {
  const hadFocus = find("closed").contains(document.activeElement);
  isClosedToUser = isClosed;
  find("closed").hidden = !isClosed;
  for (const part of [find("scroll"), composer, find("announce-open")]) part.hidden = isClosed;
  if (hadFocus && !isClosed) text.focus();
  if (!isClosed) return;
  clearLog();
  announcement.close();
  showPresent();
}

/** Leave a room that the page does not show, once what was written there has been sent. */
function leave(where) {
  if (where === room || outboxOf(where).some((message) => !message.hasFailed)) return;
  leaveBoth(where);
}

function leaveBoth(where) {
  for (const each of [rooms.get(where), typingRooms.get(where)]) each.leave().catch(() => {}); // who lost the connection has left
}

function goTo(link) {
  if (!link || link.dataset.room === room) return;
  const before = room;
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
  clearLog();
  showClosed(false);
  leave(before);
  known = null;
  showPresent();
  if (client.state !== "closed") enter();
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

/** Show who is in the room, and write between the messages who has come and gone since. */
function showPresent() {
  const { members, memberCount } = rooms.get(room);
  const names = [...members.values()].map(({ info }) => info.name).sort((a, b) => a.localeCompare(b));
  showPeople(find("people-list"), names, me);
  find("people-count").textContent = memberCount || "–";
  if (known && names.length) {
    for (const name of names) if (!known.includes(name)) log.note(`${name} came in`);
    for (const name of known) if (!names.includes(name)) log.note(`${name} left`);
  }
  known = names.length ? names : null; // a crowded room has a count alone
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
  if (rooms.get(room).isJoined) deliver(message); // else once the room has been entered
});

text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  composer.requestSubmit();
});

text.addEventListener("input", () => {
  complain("");
  if (!text.value.trim() || !typingRooms.get(room).isJoined || Date.now() - lastTyped < TYPING_EVERY) return;
  lastTyped = Date.now();
  typingRooms.get(room).emit("typing");
});

/**
 * Send a message until the server has confirmed it; its key makes sure that it is shown only once. Messages are sent one
 * at a time, because the server handles events concurrently and should keep the order in which they were written.
 */
function deliver(message) {
  if (underWay.has(message.key)) return;
  underWay.add(message.key);
  message.hasFailed = false;
  log.mark(message.key, "sending");
  lastSent = lastSent.then(() => send(message));
}

async function send(message) {
  try {
    const answer = await rooms.get(message.room).emitWithAck("say", { key: message.key, text: message.text });
    outbox.delete(message.key);
    if (answer.error) log.mark(message.key, "failed", answer.error);
    else if (answer.message.room === room) log.add(answer.message); // else the user has chosen another room
  } catch (error) {
    if (error instanceof ConnectionLost) return; // sent again after the room is entered again
    if (!outbox.has(message.key)) return; // it has come by way of the room
    message.hasFailed = true;
    log.mark(message.key, "failed", "Not sent.", () => deliver(message));
  } finally {
    underWay.delete(message.key);
    leave(message.room);
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

/** Show a message that goes by itself. */
function showNotice(message) {
  showBanner(message);
  setTimeout(() => find("banner").textContent === message && showBanner(""), NOTICE_SHOWS_FOR);
}

for (const avatar of document.querySelectorAll("[data-avatar]")) showAvatar(avatar, avatar.dataset.avatar);
connect();
setTimeout(() => {
  if (client.state === "connecting" && !wasLost) showBanner("Connecting…", "Try now", () => client.connect());
}, 2_000);
