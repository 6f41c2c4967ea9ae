// Shows the entries of the page that hold each word of the filter. Without this script all of them are shown.

const search = document.getElementById("search");

if (search) {
  const input = document.getElementById("filter");
  const found = document.getElementById("found");
  const nothing = document.getElementById("nothing");
  const entries = [...document.querySelectorAll("[data-entry]")].map((element) => ({
    element,
    text: element.textContent.toLowerCase(),
    link: [...document.querySelectorAll("[data-for]")].find((each) => each.dataset.for === element.id),
  }));

  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { element, text, link } of entries) {
      element.hidden = !words.every((word) => text.includes(word));
      if (link) link.hidden = element.hidden;
      shown += !element.hidden;
    }
    for (const section of document.querySelectorAll("main > section")) {
      section.hidden = !section.querySelector("[data-entry]:not([hidden])");
    }
    nothing.hidden = shown > 0;
    found.value = words.length ? `${shown} of ${entries.length}` : "";
  };

  // A link to an entry that the filter hides shows all entries again, before the browser goes there.
  document.addEventListener("click", ({ target }) => {
    const id = target.closest?.("a[href^='#']")?.hash.slice(1);
    const entry = id && document.getElementById(id)?.closest("[hidden]");
    if (entry) {
      input.value = "";
      filter();
    }
  });

  search.hidden = false;
  input.addEventListener("input", filter);
  filter(); // the browser may have kept the text of an earlier visit
}
