// The list of what was found, below the field; by keys as well as by touch.
{
  const SHOWN = 20;
  const LENGTH = 28; // words of an excerpt
  const root = document.documentElement.dataset.content_root;
  const field = document.querySelector("form.bd-search input");
  const box = document.getElementById("search-found");
  const status = document.getElementById("search-status");
  const meaning = document.getElementById("search-meaning");
  const list = box.querySelector("ol");
  const dialog = field.closest("dialog"); // none on the page of the search
  const { find, excerpt, ready } = window.bookSearch;

  const element = (name, className, ...children) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.append(...children);
    return made;
  };
  const marked = (pieces) =>
    pieces.map(([text, found]) => (found ? element("mark", "", text) : text));
  const linked = ({ address }, ...children) => {
    const link = element("a", "", ...children);
    link.href = root + address;
    return link;
  };

  // Where a place is: the chapter and the heading above, without what its title says.
  const where = ({ chapter, above, title, part }) =>
    [part, chapter, above]
      .filter((name, i, all) => name && !name.endsWith(title) && !all[i - 1]?.endsWith(name))
      .join(" › ");

  const item = (place) => {
    const { kind, chapter, text, terms } = place;
    const title = kind === "chapter" ? chapter : place.title;
    const link = linked(
      place,
      element("span", "search-title", ...marked(excerpt(title, terms))),
      element("span", "search-where", where(place)),
      element("span", "search-text", ...marked(excerpt(text, terms, LENGTH))),
    );
    return element("li", "", link);
  };

  const count = (found) =>
    found.length === 0
      ? "Nothing found. Fewer or other words may help."
      : found.length === 1
        ? "One place"
        : `${found.length} places, the best first`;

  const show = () => {
    const query = field.value.trim();
    const { places, term } = query ? find(query) : { places: [], term: null };
    meaning.replaceChildren(
      ...(term ? [linked(term, element("b", "", term.title)), ": ", term.text] : []),
    );
    list.replaceChildren(...places.slice(0, SHOWN).map(item));
    status.textContent = query ? count(places) : "";
    box.scrollTop = 0;
    if (!dialog) {
      const address = query ? `?q=${encodeURIComponent(query)}` : location.pathname;
      history.replaceState(null, "", address);
    }
  };

  field.addEventListener("focus", () => field.select()); // to type over what was asked
  let waiting;
  field.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 150);
  });
  // Enter opens the best place; on the page of the search it leads to it.
  field.form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    show();
    const best = list.querySelector("a");
    if (dialog) best?.click();
    else best?.focus();
  });
  // Down and Up walk through the places, and from the first one back to the field.
  (dialog ?? field.form.parentElement).addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const stops = [field, ...list.querySelectorAll("a")];
    const next = stops[stops.indexOf(document.activeElement) + step];
    if (!step || !stops.includes(document.activeElement)) return;
    event.preventDefault();
    next?.focus();
  });
  // A place on this page is reached without a load, so the dialog must go.
  box.addEventListener("click", (event) => {
    if (event.target.closest("a")) dialog?.close();
  });

  if (!dialog) field.value ||= new URLSearchParams(location.search).get("q") ?? "";
  status.textContent = "Loading …";
  ready.then(show);
}
