// Paper is white: whatever the reader's colors, a page is printed in the light ones.
// Paper has pages: code of a few lines stays together.
(() => {
  const root = document.documentElement;
  let theme;
  window.addEventListener("beforeprint", () => {
    theme ??= root.dataset.theme;
    root.dataset.theme = "light";
    for (const code of document.querySelectorAll(".bd-content pre"))
      code.classList.toggle("short", code.textContent.trim().split("\n").length <= 7);
  });
  window.addEventListener("afterprint", () => {
    if (theme !== undefined) root.dataset.theme = theme;
    theme = undefined;
  });
})();
