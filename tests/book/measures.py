"""What a page has and a reader cannot see: clipped code, small labels, hidden edges."""

from playwright.sync_api import Page

DESK = 1200  # pixels from which code and equations must have room
MEASURE = """async (desk) => {
  const article = document.querySelector(".bd-article");
  if (!article) return {};
  const all = (selector) => [...article.querySelectorAll(selector)];
  const folded = all("details:not([open])");
  const hidden = all(".toggle-hidden");
  folded.forEach((e) => (e.open = true));
  hidden.forEach((e) => e.classList.remove("toggle-hidden"));
  // The sizes are read anew in the next frame, and what scrolls is marked after it.
  for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
  const scrolls = all("pre, table, div, mjx-container").filter(
    (e) =>
      e.scrollWidth > e.clientWidth + 1 &&
      /auto|scroll/.test(getComputedStyle(e).overflowX),
  );
  const least = (e) => parseFloat(e.style.getPropertyValue("--readable"));
  const wide = innerWidth >= desk;
  const found = {
    clipped: wide ? scrolls.filter((e) => e.matches("pre, mjx-container")) : [],
    "scrolls without a cue": scrolls.filter(
      (e) => getComputedStyle(e).maskImage === "none",
    ),
    "small labels": all(".figure-box > *").filter(
      (e) => !wide && e.clientWidth < least(e) - 1,
    ),
    "figures out of their box": all("figure img[src$='.svg']").filter(
      (e) => !e.parentElement.matches(".figure-box"),
    ),
  };
  folded.forEach((e) => (e.open = false));
  hidden.forEach((e) => e.classList.add("toggle-hidden"));
  const named = (e) => `${e.tagName}.${e.className}: ${e.textContent.trim()}`;
  const short = (kind) => found[kind].map((e) => named(e).slice(0, 100));
  return Object.fromEntries(Object.keys(found).map((kind) => [kind, short(kind)]));
}"""


def unseen(page: Page) -> dict:
    """By kind, what is there and cannot be seen; what is folded is opened meanwhile."""
    return page.evaluate(MEASURE, DESK)
