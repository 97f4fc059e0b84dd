// Turns slides with keys, and makes letters smaller where a slide is too full.
const slides = [...document.querySelectorAll(".slide")];
const current = () => {
  const middle = window.innerHeight / 2;
  const passed = slides.filter((s) => s.getBoundingClientRect().top < middle);
  return Math.max(passed.length - 1, 0);
};
const KEYS = {
  ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1,
  ArrowLeft: -1, ArrowUp: -1, PageUp: -1,
  Home: -slides.length, End: slides.length,
};
document.addEventListener("keydown", (event) => {
  const moved = KEYS[event.key];
  if (!moved || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.closest("pre, .table, .math") && event.key.startsWith("Arrow")) return;
  event.preventDefault();
  const wanted = Math.min(Math.max(current() + moved, 0), slides.length - 1);
  slides[wanted].scrollIntoView();
  history.replaceState(null, "", `#${slides[wanted].id}`);
});
const SLACK = 6; // pixels by which a formula's box may stand out of its line
const full = (slide) => {
  const wide = [...slide.querySelectorAll(".math, pre, .table")];
  return (
    [slide, slide.querySelector(".body")].some(
      (part) => part.scrollHeight > part.clientHeight + SLACK,
    ) || wide.some((part) => part.scrollWidth > part.clientWidth + 1)
  );
};
const fit = () => {
  const phone = window.matchMedia("(max-width: 700px)").matches;
  for (const slide of slides) {
    slide.style.removeProperty("--fit");
    if (phone) continue;
    for (let size = 19; full(slide) && size > 10; size -= 1)
      slide.style.setProperty("--fit", size / 20);
  }
  // A formula that scrolls must be reachable by keyboard, and no other.
  for (const part of document.querySelectorAll("div.math")) {
    if (part.scrollWidth > part.clientWidth) part.setAttribute("tabindex", "0");
    else part.removeAttribute("tabindex");
  }
};
const ready = () => (window.MathJax?.startup?.promise ?? Promise.resolve()).then(fit);
window.addEventListener("load", ready);
window.addEventListener("resize", fit);
