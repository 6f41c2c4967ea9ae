/** A question and its answer on the page. Text is only ever inserted as text, never as HTML. */

export class Panel {
  #answer;
  #error;
  #form;
  #prompt;
  #state;
  #stop;

  constructor(section) {
    this.room = section.dataset.room;
    this.#answer = section.querySelector(".answer");
    this.#error = section.querySelector(".error");
    this.#form = section.querySelector("form");
    this.#prompt = section.querySelector("input");
    this.#state = section.querySelector("[role=status]");
    this.#stop = section.querySelector("button[type=button]");
  }

  onAsk(ask) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#showError("");
      ask(this.#prompt.value);
    });
  }

  onStop(stop) {
    this.#stop.addEventListener("click", stop);
  }

  /** Show that an answer is being written, and what there is of it. Screen readers wait for the end. */
  begin(text = "") {
    this.#answer.ariaBusy = "true";
    this.#answer.textContent = text;
    this.#state.textContent = "Writing…";
    this.#stop.hidden = false;
  }

  /** Add text. A reader at the end sees it scroll in; one who has scrolled back stays in place. */
  append(text) {
    const { scrollTop, scrollHeight, clientHeight } = this.#answer;
    this.#answer.append(text);
    if (scrollTop + clientHeight > scrollHeight - 8) this.#answer.scrollTop = this.#answer.scrollHeight;
  }

  end(words) {
    this.#answer.ariaBusy = "false";
    this.#state.textContent = words;
    if (document.activeElement === this.#stop) this.#prompt.focus(); // the button goes
    this.#stop.hidden = true;
  }

  complain({ message }) {
    this.#showError(message);
  }

  #showError(message) {
    this.#error.textContent = message;
    this.#prompt.ariaInvalid = message ? "true" : null;
  }
}
