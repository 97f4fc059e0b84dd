// What stands on a page of the website, for a book: its article, without what only a
// screen can do. Runs in the page, when its formulas and figures are there.
// `paper` is HTML for print, with MathJax's formulas; `reader` is XHTML for an EPUB,
// with MathML and with pictures of the figures that move.
async ({ root, name, pages, address, forms }) => {
  const slug = (page) => page.replaceAll("/", "-");
  const article = document.querySelector("article.bd-article");
  const all = (selector, from = article) => [...from.querySelectorAll(selector)];
  const formulas = [...(window.MathJax?.startup?.document?.math ?? [])];
  const styles = [...document.styleSheets].filter((sheet) => sheet.href);
  const selectors = styles.flatMap((s) => [...s.cssRules].map((r) => r.cssText));
  const styled = new Set(
    [...selectors.join("\n").matchAll(/#([A-Za-z][\w-]*)(?=[^{}]*\{)/g)].map((m) => m[1]),
  );

  // The page, marked so that a copy of it can be changed.
  const mathml = formulas.map((item) => MathJax.startup.toMML(item.root));
  formulas.forEach((item, i) => (item.typesetRoot.dataset.formula = i));
  all("canvas").forEach((canvas, i) => (canvas.dataset.drawn = i));
  const drawn = all("canvas").map((c) => [c.toDataURL(), c.getBoundingClientRect().width]);
  const chosen = all("select").map((s) => s.selectedOptions[0]?.textContent ?? "");

  // The words of a heading, with the letters of its formulas.
  const words = (element) => {
    const copy = element.cloneNode(true);
    all(".headerlink", copy).forEach((e) => e.remove());
    for (const e of all("[data-formula]", copy)) {
      const parsed = new DOMParser().parseFromString(
        mathml[e.dataset.formula],
        "application/xml",
      );
      e.replaceWith(parsed.documentElement.textContent.replace(/\s+/g, ""));
    }
    return copy.textContent.replace(/\s+/g, " ").trim();
  };

  const target = (href, form) => {
    const url = new URL(href, location.href.split("#")[0]);
    if (!url.href.startsWith(root)) return url.href;
    const [path, hash] = url.href.slice(root.length).split("#");
    const page = path.replace(/\.html$/, "");
    if (!pages.includes(page)) return address + url.href.slice(root.length);
    const id = hash && decodeURIComponent(hash);
    if (form === "reader") return `${slug(page)}.xhtml${id ? `#${id}` : ""}`;
    if (!id) return `#${slug(page)}`;
    return styled.has(id) ? `#${id}` : `#${slug(page)}--${id}`;
  };

  const copyFor = (form) => {
    const copy = article.cloneNode(true);
    all("h1, h2, h3, h4, h5, h6").forEach((heading, i) => {
      all("h1, h2, h3, h4, h5, h6", copy)[i].dataset.title = words(heading);
    });
    all("select", copy).forEach((select, i) => select.replaceWith(chosen[i]));
    all("canvas", copy).forEach((canvas) => {
      const picture = document.createElement("img");
      const [source, width] = drawn[canvas.dataset.drawn];
      picture.src = source;
      picture.className = "drawn";
      picture.style.width = `${width}px`;
      picture.alt = canvas.getAttribute("aria-label") ?? "";
      canvas.replaceWith(picture);
    });
    all("[data-figure]", copy).forEach((figure) => {
      const note = document.createElement("p");
      const link = document.createElement("a");
      link.href = `${location.href.split("#")[0]}#${figure.id}`;
      link.dataset.outside = "";
      link.textContent = "Move this figure on the website.";
      note.className = "moves";
      note.append(link);
      figure.after(note);
      if (form !== "reader") return;
      const picture = document.createElement("img");
      picture.src = `figure:${figure.dataset.figure}`;
      picture.alt = figure.getAttribute("aria-label") ?? "";
      picture.id = figure.id;
      figure.replaceWith(picture);
    });
    const gone =
      "script, noscript, link, template, button, input, .headerlink, .noprint," +
      ".tippy-box, mjx-assistive-mml, .toggle-chevron-right, iframe, video, audio, .strip-open";
    all("button:has(img)", copy).forEach((e) => e.replaceWith(...e.childNodes));
    all(gone, copy).forEach((e) => e.remove());
    all(".toggle-hidden", copy).forEach((e) => e.classList.remove("toggle-hidden"));
    all("img", copy).forEach((img) => {
      img.src = img.src;
      img.removeAttribute("loading");
    });
    all("a[href]", copy).forEach((link) => {
      const href = link.getAttribute("href");
      const outside = "outside" in link.dataset;
      link.setAttribute(
        "href",
        outside ? href.replace(root, address) : target(href, form),
      );
      if (link.target) link.removeAttribute("target");
    });
    for (const what of ["tabindex", "aria-describedby", "aria-controls", "for", "title"])
      all(`[${what}]`, copy).forEach((e) => e.removeAttribute(what));
    const seen = new Set();
    all("[id]", copy).forEach((e) => {
      if (seen.has(e.id)) return e.removeAttribute("id");
      seen.add(e.id);
      if (form === "paper" && !styled.has(e.id)) e.id = `${slug(name)}--${e.id}`;
    });
    return copy;
  };

  // On paper the source of a figure gives way to the figure; other source is shown.
  const paper = () => {
    const copy = copyFor("paper");
    for (const fold of all("details", copy)) {
      const cell = fold.closest(".cell");
      const shows = cell?.querySelector(".cell_output :is(img, svg, table)");
      if (fold.matches(".above-input") && shows) {
        fold.remove();
        continue;
      }
      const title = fold.querySelector(":scope > summary");
      const open = document.createElement("div");
      open.className = fold.matches(".hide") ? "" : fold.className;
      if (fold.id) open.id = fold.id;
      if (!fold.matches(".hide")) {
        const words = document.createElement("p");
        words.className = "unfolded";
        words.append(...title.childNodes);
        open.append(words);
      }
      title.remove();
      open.append(...fold.childNodes);
      fold.replaceWith(open);
    }
    for (const code of all("pre", copy))
      code.classList.toggle("short", code.textContent.trim().split("\n").length <= 7);
    return copy.innerHTML;
  };

  const formula = (text, display) => {
    const parsed = new DOMParser().parseFromString(text, "application/xml");
    const math = document.importNode(parsed.documentElement, true);
    const numbers = [];
    for (const row of [...math.querySelectorAll("mlabeledtr")]) {
      const plain = document.createElementNS(math.namespaceURI, "mtr");
      const [label, ...cells] = row.children;
      if (label.textContent.trim()) numbers.push(label.textContent.trim());
      plain.append(...cells);
      row.replaceWith(plain);
    }
    for (const e of [math, ...math.querySelectorAll("*")])
      for (const { name: key } of [...e.attributes])
        if (key.startsWith("data-") || key === "class" || key === "side")
          e.removeAttribute(key);
    if (!display) return math;
    const line = document.createElement("div");
    line.className = "equation";
    line.append(math);
    if (numbers.length) {
      const number = document.createElement("span");
      number.className = "number";
      number.textContent = numbers.join(" ");
      line.append(number);
    }
    return line;
  };

  // In an EPUB hints, solutions and the source of figures stay folded.
  const reader = () => {
    const copy = copyFor("reader");
    for (const e of all("mjx-container", copy))
      e.replaceWith(formula(mathml[e.dataset.formula], e.hasAttribute("display")));
    for (const e of all(".equation", copy)) {
      const number = e.parentElement.querySelector(":scope > .eqno");
      if (!number) continue;
      number.className = "number";
      e.append(number);
    }
    for (const e of all("details > summary", copy)) {
      const title = e.querySelector(".collapsed") ?? e;
      e.textContent = title.textContent.trim();
      e.removeAttribute("aria-label");
    }
    for (const e of all(".admonition.dropdown, .admonition.toggle", copy)) {
      const fold = document.createElement("details");
      const title = e.querySelector(":scope > .admonition-title");
      const summary = document.createElement("summary");
      summary.textContent = title.textContent.trim();
      title.remove();
      fold.className = e.className;
      if (e.id) fold.id = e.id;
      fold.append(summary, ...e.childNodes);
      e.replaceWith(fold);
    }
    const write = new XMLSerializer();
    return [...copy.childNodes].map((node) => write.serializeToString(node)).join("");
  };

  const own = document.getElementById("MJX-CHTML-styles")?.sheet.cssRules ?? [];
  return {
    title: words(article.querySelector("h1")),
    sections: all("h2").map((h) => [h.closest("section[id]")?.id ?? h.id, words(h)]),
    styles: [...document.querySelectorAll("link[rel=stylesheet]")].map((l) => [
      l.href,
      l.media,
    ]),
    rules: [...own].map((rule) => rule.cssText),
    formulas: mathml.length,
    broken:
      document.querySelectorAll("mjx-merror, mjx-mtext[style*=red]").length +
      all(".math").filter((e) => !e.querySelector("mjx-container")).length,
    paper: forms.includes("paper") ? paper() : "",
    reader: forms.includes("reader") ? reader() : "",
  };
}
