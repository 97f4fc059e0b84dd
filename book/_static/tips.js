// Hints on links: what a term means, which work is cited, what an equation says. They
// open under the pointer and on focus, close with Escape, and can be pointed at
// themselves. Their texts and the library come when a reader first needs them.
{
  const root = document.documentElement.dataset.content_root;
  const texts = document.currentScript.dataset.tips;
  const LIBRARY = ["vendor/tippy/popper.min.js", "vendor/tippy/tippy-bundle.umd.min.js"];
  const MATHJAX = "vendor/mathjax/tex-chtml.js";

  const load = (name) =>
    new Promise((resolve) => {
      const script = document.createElement("script");
      script.src = `${root}_static/${name}`;
      script.async = false; // in this order
      script.onload = resolve;
      document.head.append(script);
    });

  // A page without formulas of its own loads MathJax for the first hint that has one.
  const mathjax = () => {
    if (!window.MathJax) {
      window.MathJax = { startup: { typeset: false } };
      return load(MATHJAX).then(() => window.MathJax.startup.promise);
    }
    return window.MathJax.startup?.promise;
  };
  const typeset = async ({ popper }) => {
    if (!popper.querySelector(".math")) return;
    await mathjax();
    await window.MathJax.typesetPromise([popper]);
    popper.querySelectorAll("mjx-container").forEach((e) => e.removeAttribute("tabindex"));
  };

  const attach = () => {
    for (const [select, text] of Object.entries(window.selector_to_html ?? {}))
      for (const link of document.querySelectorAll(select)) {
        if (window.skip_classes.some((name) => link.classList.contains(name))) continue;
        link.removeAttribute("title"); // which the hint replaces
        window.tippy(link, {
          content: text,
          allowHTML: true,
          placement: "auto-start",
          maxWidth: 500,
          interactive: true,
          delay: [0, 200], // time to reach it
          appendTo: document.body,
          aria: { content: "describedby", expanded: false },
          onCreate: ({ popper }) =>
            // Keys go on in the page; the links of a hint are for the pointer.
            popper.querySelectorAll("a").forEach((e) => e.setAttribute("tabindex", "-1")),
          onShow: (tip) => {
            window.tippy.hideAll({ exclude: tip });
            typeset(tip);
          },
        });
      }
  };

  let asked;
  const start = async ({ target }) => {
    if (asked) return;
    asked = Promise.all([...LIBRARY, texts].map(load)).then(attach);
    await asked;
    // The link that asked for it shows its hint at once.
    const link = target.closest?.("a");
    if (link?._tippy && (link.matches(":hover") || link === document.activeElement))
      link._tippy.show();
  };
  const article = document.querySelector("article.bd-article");
  const isLink = (event) => event.target.closest?.("a") && start(event);
  article?.addEventListener("pointerover", isLink);
  article?.addEventListener("focusin", start);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") window.tippy?.hideAll();
  });
}
