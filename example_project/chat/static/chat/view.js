/** Show messages, people and typing users. Text of users is only ever inserted as text, never as HTML. */

const GROUP_WITHIN = 5 * 60_000; // messages of one author closer than this are grouped
const NOTHING_BEFORE = "There is nothing before this";
const NEAR_THE_END = 80; // pixels: a reader this near to the end sees new messages scroll in
const NEAR_THE_BEGINNING = 300; // pixels: to a reader this near to the beginning the page brings earlier messages

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

/** The list of messages. Each has a key, and is shown once however often it arrives. */
export class MessageLog {
  #log; // the scrolling element: its end is at 0, and earlier messages have negative offsets
  #list;
  #latest;
  #me;
  #items = new Map(); // key -> { message, element }

  constructor(log, latest, me) {
    this.#log = log;
    this.#list = log.querySelector("ol");
    this.#latest = latest;
    this.#me = me;
    log.addEventListener("scroll", () => this.#isAtEnd() && (latest.hidden = true), { passive: true });
    latest.addEventListener("click", () => {
      this.showLatest();
      this.#takeFocus();
    });
  }

  clear() {
    this.#list.replaceChildren();
    this.#items.clear();
    this.showLatest();
  }

  /** Show past messages among those that are shown, silently for screen readers; `isAll` if there are none before. */
  fill(messages, isAll) {
    const latestIsHidden = this.#latest.hidden;
    this.hush();
    this.#change(() => {
      for (const message of messages) this.#put(message);
      if (isAll && this.#log.scrollHeight > this.#log.clientHeight) this.#list.prepend(make("li", "note", NOTHING_BEFORE));
      for (const item of this.#list.children) item.classList.add("still");
    });
    this.#latest.hidden = latestIsHidden; // these are not new
  }

  /** Let screen readers pass over what is shown now. */
  hush() {
    this.#log.ariaBusy = "true";
    setTimeout(() => (this.#log.ariaBusy = "false"), 100); // not at once: browsers report all changes of a frame to screen readers together
  }

  /** Whether the reader has come to the first message, or near it. */
  get isAtBeginning() {
    return this.#log.scrollTop - NEAR_THE_BEGINNING < this.#log.clientHeight - this.#log.scrollHeight;
  }

  /** Show a message, or confirm it if the author sees it already. Without `sent_at` it is on its way. */
  add(message) {
    this.#change(() => this.#put(message));
  }

  #put(message) {
    const shown = this.#items.get(message.key);
    if (shown && !message.sent_at) return;
    if (shown) this.mark(message.key, "sent");
    if (shown?.message.sent_at) return; // it comes in more than one way, and one that was sent again comes twice
    const element = shown?.element ?? this.#build(message);
    this.#items.set(message.key, { message, element });
    if (shown) element.querySelector("time").replaceWith(time(message));
    this.#place(message, element);
  }

  /** Show the state of an own message: "sending" or "failed", with a reason and a way to try again. */
  mark(key, state, reason = "", retry = null) {
    const element = this.#items.get(key)?.element;
    if (!element) return;
    element.dataset.state = state;
    element.querySelector(".tick")?.replaceWith(tick(state));
    element.querySelector(".problem")?.remove();
    if (state !== "failed") return;
    const problem = make("p", "problem", reason);
    problem.role = "alert";
    if (retry) {
      const button = make("button", "link", "Send again");
      button.type = "button";
      button.addEventListener("click", () => {
        this.#takeFocus(); // the button is removed
        retry();
      });
      problem.append(" ", button);
    }
    this.#change(() => element.querySelector(".body").append(problem));
  }

  /** Add a line between the messages. */
  note(line) {
    this.#change(() => this.#list.append(make("li", "note", line)));
  }

  showLatest() {
    this.#log.scrollTop = 0;
    this.#latest.hidden = true;
  }

  #takeFocus() {
    this.#log.focus({ preventScroll: true });
  }

  #isAtEnd() {
    return this.#log.scrollTop > -NEAR_THE_END;
  }

  /** Change the list. At its end, the reader sees new messages; a reader who has scrolled back stays in place. */
  #change(change) {
    const follow = this.#isAtEnd();
    const count = this.#list.childElementCount;
    const top = this.#log.getBoundingClientRect().top;
    const bottom = (item) => item.getBoundingClientRect().bottom;
    const read = follow ? null : [...this.#list.querySelectorAll("[data-key]")].find((item) => bottom(item) > top);
    const before = read && bottom(read);
    change();
    this.#regroup();
    if (follow) return this.showLatest();
    if (read) this.#log.scrollTop += bottom(read) - before; // new messages below have pushed it up
    if (this.#list.childElementCount > count) this.#latest.hidden = false;
  }

  #build(message) {
    if (message.is_announcement) return buildAnnouncement(message);
    const isMine = message.name === this.#me;
    const element = make("li", isMine ? "message mine" : "message");
    element.dataset.state = message.sent_at ? "sent" : "sending";
    const avatar = make("span", "avatar");
    avatar.ariaHidden = "true";
    showAvatar(avatar, message.name);
    const body = make("div", "body");
    const bubble = make("div", "bubble");
    const meta = make("span", "meta");
    meta.append(time(message));
    if (isMine) meta.append(tick(element.dataset.state));
    bubble.append(make("p", "text", message.text), meta);
    body.append(make("p", "author", isMine ? "You" : message.name), bubble);
    element.append(avatar, body);
    return element;
  }

  /** Keep the server's order; unconfirmed messages are last. */
  #place(message, element) {
    element.dataset.key = message.key;
    let next = null;
    for (let item = this.#list.lastElementChild; item; item = item.previousElementSibling) {
      if (item === element) continue;
      const other = this.#items.get(item.dataset.key)?.message;
      if (!message.sent_at || other?.sent_at <= message.sent_at) break;
      if (other) next = item; // else a note, which stays in place
    }
    // A screen reader would read a moved element again.
    if (!element.isConnected || element.nextElementSibling !== next) this.#list.insertBefore(element, next);
  }

  /** Consecutive messages of one author share a name and an avatar; each new day has a line of its own. */
  #regroup() {
    for (const line of this.#list.querySelectorAll(".day")) line.remove();
    let last = null;
    for (const element of [...this.#list.children]) {
      const message = this.#items.get(element.dataset.key)?.message;
      if (message) {
        const at = sentAt(message);
        if (!last || at.toDateString() !== sentAt(last).toDateString()) {
          if (last || at.toDateString() !== new Date().toDateString()) element.before(make("li", "note day", day.format(at)));
          last = null;
        }
        const isNear = last && at - sentAt(last) < GROUP_WITHIN;
        const continues = isNear && last.name === message.name && !last.is_announcement && !message.is_announcement;
        element.classList.toggle("continues", Boolean(continues));
      }
      last = message ?? null;
    }
  }
}

export function showPeople(list, names, me) {
  list.replaceChildren(
    ...names.map((name) => {
      const avatar = make("span", "avatar");
      avatar.ariaHidden = "true";
      showAvatar(avatar, name);
      const item = make("li", "person");
      item.append(avatar, make("span", "name", name));
      if (name === me) item.append(make("span", "you", "you"));
      return item;
    }),
  );
}

export function showTyping(line, names) {
  line.classList.toggle("active", names.length > 0);
  if (names.length === 0) line.textContent = "";
  else if (names.length === 1) line.textContent = `${names[0]} is typing`;
  else if (names.length === 2) line.textContent = `${names[0]} and ${names[1]} are typing`;
  else line.textContent = "Several people are typing";
}

/** Initials, in a colour derived from the name. */
export function showAvatar(element, name) {
  const words = name.split(/[\s._-]+/).filter(Boolean);
  const initials = words.length > 1 ? [words[0], words.at(-1)].map((word) => [...word][0]) : [...name].slice(0, 2);
  let hash = 0;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) % 1009;
  element.textContent = initials.join("").toUpperCase();
  element.style.setProperty("--hue", (hash * 137.5) % 360); // the golden angle gives similar names different colours
}

function buildAnnouncement(message) {
  const element = make("li", "announcement");
  const body = make("div", "body");
  const author = make("p", "author", `${message.name} announces`);
  const meta = make("span", "meta");
  meta.append(time(message));
  author.append(meta);
  body.append(author, make("p", "text", message.text));
  element.append(icon("i-horn"), body);
  return element;
}

function sentAt(message) {
  return message.sent_at ? new Date(message.sent_at) : new Date();
}

function time(message) {
  const element = make("time", "", clock.format(sentAt(message)));
  element.dateTime = sentAt(message).toISOString();
  return element;
}

function tick(state) {
  const words = { sending: "On its way", sent: "Received by the server", failed: "Not sent" };
  const element = make("span", "tick");
  element.title = words[state];
  element.append(icon(`i-${state}`), make("span", "hidden", words[state]));
  return element;
}

function icon(id) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.ariaHidden = "true";
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#${id}`);
  svg.append(use);
  return svg;
}

function make(tag, className, content = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = content;
  return element;
}
