// What scrolls sideways fades at the edges behind which there is more (chapter.css).
document.addEventListener("DOMContentLoaded", () => {
  const scrolling = "pre, table, .pst-scrollable-table-container, .wide, .figure-box, .schedule-picture, .schedule-table, div.math";
  // MathJax puts the box that scrolls into the equation's own.
  const box = (element) => element.querySelector(":scope > mjx-container") ?? element;
  const mark = (elements) => {
    const found = elements.map((e) => [e, e.scrollLeft > 1, e.scrollLeft + e.clientWidth < e.scrollWidth - 1]);
    for (const [element, left, right] of found) {
      element.classList.toggle("more-left", left);
      element.classList.toggle("more-right", right);
      if (!element.matches(".figure-box")) continue;
      if (left || right) element.tabIndex = 0; // for the arrow keys
      else element.removeAttribute("tabindex");
    }
  };
  const sizes = new ResizeObserver((entries) => mark(entries.map((entry) => box(entry.target))));
  const all = [...document.querySelectorAll(".bd-article :is(" + scrolling + ")")];
  all.forEach((element) => sizes.observe(element));
  // Formulas widen what is in a table, but not the table.
  window.addEventListener("load", () => window.MathJax?.startup?.promise?.then(() => mark(all.map(box))));
  const moved = (event) => {
    if (event.target.closest?.(".bd-article") && event.target.matches(scrolling + ", mjx-container")) mark([event.target]);
  };
  document.addEventListener("scroll", moved, { capture: true, passive: true });
});
