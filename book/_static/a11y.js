// Names and roles that the theme and the extensions leave out.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("details > summary").forEach((summary) => {
    if (summary.textContent.trim() || summary.getAttribute("aria-label")) return;
    const link = summary.closest("li")?.querySelector("a");
    summary.setAttribute("aria-label", `Sections of ${link?.textContent.trim() || "this part"}`);
  });
  const start = document.querySelector(".sidebar-primary-items__start");
  if (start) {
    start.setAttribute("role", "navigation");
    start.setAttribute("aria-label", "Book");
  }
  for (const id of ["proof-content", "exercise-content", "solution-content"]) {
    document.querySelectorAll(`[id="${id}"]`).forEach((e) => e.removeAttribute("id"));
  }
  document.querySelectorAll('[role="doc-biblioentry"]').forEach((e) => e.setAttribute("role", "listitem"));
  // What scrolls sideways must be reachable by keyboard.
  document.querySelectorAll("pre, .wide, div.math, .bd-content table").forEach((e) => {
    if (e.scrollWidth > e.clientWidth) e.setAttribute("tabindex", "0");
  });
});
