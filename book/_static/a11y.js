// Names, roles and keys that the theme and the extensions leave out.
document.addEventListener("DOMContentLoaded", () => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const words = (element) => element?.textContent.replace(/\s+/g, " ").trim() ?? "";

  for (const summary of all("details > summary")) {
    if (words(summary) || summary.getAttribute("aria-label")) continue;
    const link = summary.closest("li")?.querySelector("a");
    summary.setAttribute("aria-label", `Sections of ${words(link) || "this part"}`);
  }
  const start = document.querySelector(".sidebar-primary-items__start");
  if (start) {
    start.setAttribute("role", "navigation");
    start.setAttribute("aria-label", "Book");
  }
  for (const id of ["proof-content", "exercise-content", "solution-content"])
    all(`[id="${id}"]`).forEach((e) => e.removeAttribute("id"));
  all('[role="doc-biblioentry"]').forEach((e) => e.setAttribute("role", "listitem"));
  all(".article-header-buttons .dropdown-toggle:not([aria-label])").forEach((e) => {
    e.setAttribute("aria-label", e.title || "More");
  });

  // The theme takes the focus from a button that is pressed; by keys, it stays there.
  document.addEventListener("click", ({ detail, target }) => {
    const button = target.closest("button");
    if (detail || !button) return;
    setTimeout(() => document.activeElement === document.body && button.focus());
  });

  nameToggles();
  groupStops();
  setTimeout(() => all('[id$="-figure"]').forEach(speak)); // when they have been built

  // What a button folds, by the exercise, the figure or the cell that it belongs to.
  function nameToggles() {
    const given = new Map();
    const unique = (name) => {
      given.set(name, (given.get(name) ?? 0) + 1);
      return given.get(name) > 1 ? `${name}, part ${given.get(name)}` : name;
    };
    let exercise = "";
    for (const box of all(".exercise, .toggle:has(.toggle-button), .cell > details")) {
      const title = box.querySelector(".admonition-title");
      if (box.matches(".exercise")) {
        exercise = words(title.querySelector(".caption-number") ?? title).toLowerCase();
        continue;
      }
      const button = box.querySelector(".toggle-button");
      if (button) {
        const what = words(title);
        const own = /^(hint|solution)/i.exec(what)?.[0].toLowerCase();
        button.setAttribute(
          "aria-label",
          unique(own && exercise ? `Show the ${own} of ${exercise}` : `Show: ${what}`),
        );
        continue;
      }
      const summary = box.querySelector("summary");
      const caption = box.closest(".cell").querySelector(".caption-number");
      const cell = all("article .cell").indexOf(box.closest(".cell")) + 1;
      const of = caption ? words(caption) : `cell ${cell}`;
      const more = document.createElement("span");
      more.className = "visually-hidden";
      more.textContent = ` of ${unique(of)}`;
      summary.removeAttribute("aria-label");
      summary.append(more);
    }
  }

  // One stop of the Tab key for what belongs together, and arrow keys from one to the
  // next: the copy buttons of a section or a solution, its sources (works that it cites
  // and numbers of the ledger), the contents of the page and, where a page has many
  // links, each table or list of them. A screen reader meets all of them as it reads on.
  function groupStops() {
    const section = "details, .toggle, article > section > section, article";
    const groups = new Map();
    const join = (elements, where) => {
      for (const element of elements) {
        const place = where(element);
        if (!groups.has(place)) groups.set(place, []);
        groups.get(place).push(element);
      }
    };
    const copies = all(".copybtn");
    copies.forEach((button, i) => {
      button.setAttribute("aria-label", `Copy code block ${i + 1} of ${copies.length}`);
    });
    const rooms = new Map(); // for a section and a kind of things, always the same room
    const room = (kind) => (element) => {
      const key = element.closest(section);
      if (!rooms.has(key)) rooms.set(key, {});
      return (rooms.get(key)[kind] ??= {});
    };
    join(copies, room("copy"));
    const table = (element) =>
      element.closest("table.indextable") ?? element.closest("table, ul, ol");
    const crowded = all("article a[href]:not(.headerlink)").length > 70;
    const many = (element) =>
      crowded && table(element) && all("a[href]", table(element)).length > 5;
    const free = (element) => !many(element);
    join(all("article :is(table, ul, ol) a[href]").filter(many), table);
    join(all("article :is(dl.published, .citation) a[href]"), room("row"));
    const sources = "article :is(a.published, section a[href*='bibliography.html#'])";
    join(all(sources).filter(free), room("source"));
    if (crowded) join(all("article section p a.external"), room("outside"));
    join(all("#pst-secondary-sidebar .page-toc a"), () => "contents");
    for (const group of groups.values()) {
      if (group.length === 1) continue;
      group.forEach((element, i) => {
        element.tabIndex = i ? -1 : 0;
        element.dataset.group = "";
        element.setAttribute("aria-keyshortcuts", "ArrowDown ArrowUp");
        element.addEventListener("focus", () => {
          group.forEach((other) => (other.tabIndex = other === element ? 0 : -1));
        });
        element.addEventListener("keydown", (event) => {
          const rest = { ArrowDown: group.slice(i + 1), ArrowUp: group.slice(0, i).reverse() };
          const next = rest[event.key]?.find((other) => other.checkVisibility());
          if (!next) return;
          event.preventDefault();
          next.focus();
        });
      });
    }
    // A work or a term that a section has named before leads to the same place.
    const links = room("led to");
    for (const link of all("article section a[href]:not([data-group], .headerlink)")) {
      const before = (links(link).before ??= new Set());
      if (before.has(link.href)) link.tabIndex = -1;
      before.add(link.href);
    }
  }

  // A figure says what changed, in sentences, when a reader has stopped moving it; the
  // values of its sliders are said by the sliders.
  function speak(figure) {
    const rows = "tr[data-kind=MHA], tr[data-kind=MLA], .bill-row:has(.bill-total)";
    const said = `[data-say], [aria-live=polite]:not(tbody), .schedule-state, ${rows}`;
    const parts = all(said, figure);
    all("output, [aria-live=polite]", figure).forEach((e) => {
      e.setAttribute("aria-live", "off");
    });
    const voice = document.createElement("p");
    voice.className = "visually-hidden figure-voice";
    voice.setAttribute("role", "status");
    figure.append(voice);
    const sentence = (part) => {
      if (part.matches(".bill-row"))
        return [".bill-name", ".bill-amount"].map((c) => words(part.querySelector(c))).join(": ");
      if (!part.matches("tr")) return words(part);
      const heads = all("thead th", part.closest("table")).slice(1).map(words);
      const cells = all("td", part).map((cell, i) => `${words(cell)} ${heads[i] ?? ""}`);
      return `${words(part.querySelector("th"))}: ${cells.join(", ")}`;
    };
    const sentences = () => parts.map(sentence);
    let before = sentences();
    let waiting;
    const later = () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        const now = sentences();
        const changed = now.filter((text, i) => text && text !== before[i]);
        before = now;
        if (changed.length) voice.textContent = changed.join(". ").replaceAll("..", ".");
      }, 800);
    };
    for (const kind of ["input", "change", "click", "pointerup", "keyup"])
      figure.addEventListener(kind, later);
  }
});

// What scrolls sideways is reached by Tab, and formulas that fit are not: they are
// measured when they have been set, and again when the page becomes narrower or wider.
{
  const measure = () => {
    const boxes = "pre, .wide, div.math, .bd-content table, .pst-scrollable-table-container";
    const found = [...document.querySelectorAll(boxes)].map((outer) => {
      const box = outer.querySelector(":scope > mjx-container") ?? outer;
      return [outer, box, box.scrollWidth > box.clientWidth + 1 && box.clientWidth > 0];
    });
    for (const [outer, box, scrolls] of found) {
      if (!scrolls) {
        if (box.hasAttribute("tabindex")) box.removeAttribute("tabindex");
        continue;
      }
      box.tabIndex = 0;
      if (!outer.matches("div.math")) continue;
      const number = outer.querySelector(".eqno")?.firstChild?.textContent.trim();
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", `Equation ${number ?? ""}, wider than the page`);
    }
  };
  window.addEventListener("load", async () => {
    await window.MathJax?.startup?.promise;
    measure();
    let waiting;
    new ResizeObserver(() => {
      clearTimeout(waiting);
      waiting = setTimeout(measure, 200);
    }).observe(document.body);
  });
}
