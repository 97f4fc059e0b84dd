// Loads the search when a reader opens it, and on no other page.
{
  const root = `${document.documentElement.dataset.content_root}_static/`;
  const SCRIPTS = [
    "vendor/minisearch/minisearch.min.js",
    "search/sections.js",
    "search/engine.js",
    "search/view.js",
  ];
  const add = (name, attributes) =>
    document.head.append(Object.assign(document.createElement(name), attributes));
  const load = () => {
    add("link", { rel: "stylesheet", href: `${root}search/search.css` });
    // In this order, each when it has come.
    for (const name of SCRIPTS) add("script", { src: root + name, async: false });
  };
  const field = document.querySelector("form.bd-search input");
  field?.addEventListener("focus", load, { once: true });
  if (field && !field.closest("dialog")) field.focus(); // the page of the search
}
