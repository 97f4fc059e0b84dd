// Formulas are set a few at a time, those on the screen first, so that a slow phone
// answers meanwhile. It stands in the page, behind the settings of MathJax.
window.MathJax.startup = {
  async pageReady() {
    const rest = () => new Promise((go) => setTimeout(go));
    const near = (e) => {
      const { top, bottom } = e.getBoundingClientRect();
      return bottom > 0 && top < innerHeight ? 0 : 1;
    };
    const all = [...document.querySelectorAll(".math, .output.text_latex")];
    const places = new Map(all.map((e) => [e, near(e)]));
    all.sort((a, b) => places.get(a) - places.get(b));
    let few = 4;
    while (all.length) {
      const start = performance.now();
      await MathJax.typesetPromise(all.splice(0, few));
      few = performance.now() - start < 25 ? few + 2 : Math.max(1, few >> 1);
      await rest();
    }
  },
};
