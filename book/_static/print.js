// Paper is white: whatever the reader's colors, a page is printed in the light ones.
(() => {
  const root = document.documentElement;
  let theme;
  window.addEventListener("beforeprint", () => {
    theme ??= root.dataset.theme;
    root.dataset.theme = "light";
  });
  window.addEventListener("afterprint", () => {
    if (theme !== undefined) root.dataset.theme = theme;
    theme = undefined;
  });
})();
