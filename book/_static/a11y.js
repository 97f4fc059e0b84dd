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

  nameToggles();
  groupCopyButtons();
  all('[id$="-figure"]').forEach(speak);

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

  // The copy buttons of a section, or of a solution, are one stop of the Tab key; arrow
  // keys lead from one to the next. Each says which one it is.
  function groupCopyButtons() {
    const buttons = all(".copybtn");
    const groups = new Map();
    buttons.forEach((button, i) => {
      const name = `Copy code block ${i + 1} of ${buttons.length}`;
      button.setAttribute("aria-label", name);
      button.tabIndex = -1;
      const group = button.closest("details, .toggle, article > section > section, article");
      groups.set(group, [...(groups.get(group) ?? []), button]);
    });
    for (const group of groups.values()) {
      group[0].tabIndex = 0;
      if (group.length === 1) continue;
      group.forEach((button, i) => {
        button.setAttribute("aria-keyshortcuts", "ArrowDown ArrowUp");
        button.addEventListener("keydown", (event) => {
          const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
          const next = group[i + step];
          if (!next) return;
          event.preventDefault();
          button.tabIndex = -1;
          next.tabIndex = 0;
          next.focus();
        });
      });
    }
  }

  // A figure says what changed, in sentences, when a reader has stopped moving it; the
  // values of its sliders are said by the sliders.
  function speak(figure) {
    const SAID = "[data-say], .memory-verdict, .schedule-state";
    all("output", figure).forEach((e) => e.setAttribute("aria-live", "off"));
    all("[aria-live=polite]", figure).forEach((e) => e.removeAttribute("aria-live"));
    const voice = document.createElement("p");
    voice.className = "visually-hidden figure-voice";
    voice.setAttribute("role", "status");
    figure.append(voice);
    const sentence = (part) => {
      if (!part.matches("tr")) return words(part);
      const heads = all("thead th", part.closest("table")).slice(1).map(words);
      const cells = all("td", part).map((cell, i) => `${words(cell)} ${heads[i] ?? ""}`);
      return `${words(part.querySelector("th"))}: ${cells.join(", ")}`;
    };
    const sentences = () => all(SAID, figure).map(sentence);
    let before = sentences();
    let waiting;
    const later = () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        const now = sentences();
        const changed = now.filter((text, i) => text && text !== before[i]);
        before = now;
        if (changed.length) voice.textContent = `${changed.join(". ")}.`.replace("..", ".");
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
