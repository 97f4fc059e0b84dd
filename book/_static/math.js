// MathJax comes when the page has been painted, and sets a few formulas at a time, those
// on the screen first, so that a slow phone answers meanwhile. This stands in the page,
// behind the settings of MathJax.
{
  const FRAME = 16; // milliseconds that a few formulas may take
  let finish;
  const finished = new Promise((resolve) => (finish = resolve));
  const root = document.documentElement.dataset.content_root;
  let asked = false;
  const load = () => {
    if (asked) return;
    asked = true;
    const script = document.createElement("script");
    script.src = `${root}_static/vendor/mathjax/tex-chtml.js`;
    script.onerror = finish;
    document.head.append(script);
  };
  const pageReady = async () => {
    const near = (e) => {
      const { top, bottom } = e.getBoundingClientRect();
      return bottom > 0 && top < innerHeight ? 0 : 1;
    };
    const all = [...document.querySelectorAll(".math, .output.text_latex")];
    const places = new Map(all.map((e) => [e, near(e)]));
    all.sort((a, b) => places.get(a) - places.get(b));
    let few = 2;
    while (all.length) {
      const start = performance.now();
      await MathJax.typesetPromise(all.splice(0, few));
      const rate = few / (performance.now() - start); // formulas in a millisecond
      few = Math.max(1, Math.min(2 * few, Math.floor(rate * FRAME)));
      await new Promise((go) => setTimeout(go));
    }
    finish();
  };
  window.MathJax.startup = { pageReady, promise: finished };
  new PerformanceObserver(load).observe({ type: "paint", buffered: true });
  setTimeout(load, document.hidden ? 0 : 3000); // where nothing is painted
}
