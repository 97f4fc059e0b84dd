// The state of a figure in the page's address, so that a reader can send what they see:
// ?router=skew:2,step:20#router-figure says what differs from the figure's start.
//
// figureAddress(id, changed, bring, row) puts a button that copies a link into `row` and
// brings back what the address says. changed() gives the values that a link needs, such
// as those that differ from the start; bring(field, value) brings one back. What it
// returns is called when something has moved. The address holds every figure of the page,
// a copied link its own alone.
window.figureAddress = (id, changed, bring, row) => {
  const name = id.replace("-figure", "");
  const make = (tag, set) => Object.assign(document.createElement(tag), set);
  const address = (query, hash) => {
    const values = Object.entries(changed()).map(([f, v]) => `${f}:${encodeURIComponent(v)}`);
    query.delete(name);
    if (values.length) query.set(name, values.join(","));
    const said = query.toString();
    return `${location.href.replace(/[?#].*/, "")}${said && "?"}${said}${hash}`;
  };
  const link = make("button", { type: "button", textContent: "Copy a link to this" });
  const figure = document.getElementById(id);
  link.setAttribute("aria-label", `Copy a link to this: ${figure.ariaLabel}`);
  const copied = make("span", { role: "status", className: "touch-copied" });
  link.addEventListener("click", async () => {
    const own = address(new URLSearchParams(), `#${id}`);
    try {
      await navigator.clipboard.writeText(own);
      copied.textContent = "Copied.";
    } catch {
      copied.textContent = own;
    }
  });
  row.append(link, copied);
  const said = new URLSearchParams(location.search).get(name);
  for (const part of said ? said.split(",") : []) {
    const [field, value] = part.split(":");
    try {
      if (value !== undefined) bring(field, decodeURIComponent(value));
    } catch {} // a broken address: what is whole of it is taken
  }
  if (said && location.hash === `#${id}`)
    requestAnimationFrame(() => figure.scrollIntoView());
  let pending = null;
  return () => {
    copied.textContent = "";
    pending ??= setTimeout(() => {
      pending = null;
      try {
        const query = new URLSearchParams(location.search);
        history.replaceState(null, "", address(query, location.hash));
      } catch {} // a page without an address, or too many moves a minute
    }, 300);
  };
};

// Figures that know nothing of it: each control is a field, what it shows first the start.
{
  const addressOf = (figure) => {
    const name = figure.id.replace("-figure", "");
    const controls = [...figure.querySelectorAll("input[id], select[id]")];
    const fields = new Map(controls.map((c) => [c.id.replace(`${name}-`, ""), c]));
    const starts = new Map(controls.map((c) => [c, c.value]));
    const row = figure.appendChild(document.createElement("p"));
    row.className = "touch-buttons";
    const changed = () => {
      const moved = [...fields].filter(([, c]) => c.value !== starts.get(c));
      return Object.fromEntries(moved.map(([field, c]) => [field, c.value]));
    };
    const bring = (field, value) => {
      const control = fields.get(field);
      if (!control) return;
      control.value = value;
      if (control.selectedIndex === -1) control.value = starts.get(control); // no such choice
      for (const kind of ["input", "change"])
        control.dispatchEvent(new Event(kind, { bubbles: true }));
    };
    const keep = figureAddress(figure.id, changed, bring, row);
    for (const kind of ["input", "change", "pointerup"]) figure.addEventListener(kind, keep);
    figure.addEventListener("click", ({ target }) => row.contains(target) || keep());
  };
  const rest = () => document.querySelectorAll("div[id$='-figure']:not(.touch)");
  document.addEventListener("DOMContentLoaded", () =>
    setTimeout(() => rest().forEach(addressOf)), // when built
  );
}
