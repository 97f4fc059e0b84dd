// The figure of chapter 05 in which a reader moves the sizes of a model and sees
// what its cache costs. The formulas are those of kv_cache_bytes and count_gpus
// in r1/cost/counting.py; a browser test compares the two.
document.addEventListener("DOMContentLoaded", () => {
  const figure = document.getElementById("cache-figure");
  if (!figure) return;
  const BYTES = 2; // a number in BF16
  const MEMORY = 80e9; // one GPU
  const GROUPS = 8; // keys and values that GQA keeps, or one a head if fewer
  const kinds = {
    MHA: ({ heads, width }) => 2 * heads * width,
    GQA: ({ heads, width }) => 2 * Math.min(GROUPS, heads) * width,
    MQA: ({ width }) => 2 * width,
    MLA: ({ width, latent }) => latent + width / 2,
  };
  const unit = (bytes) => {
    const names = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    let power = 0;
    while (bytes >= 1000 && power < names.length - 1) {
      bytes /= 1000;
      power += 1;
    }
    return `${power ? bytes.toPrecision(3) : bytes} ${names[power]}`;
  };
  const draw = () => {
    const sizes = {};
    for (const input of figure.querySelectorAll("input")) {
      // Sliders that move by powers of two hold the exponent.
      const value = Number(input.value);
      sizes[input.name] = input.dataset.power ? 2 ** value : value;
      const shown = sizes[input.name].toLocaleString("en-US");
      figure.querySelector(`output[for="${input.id}"]`).value = shown;
      input.setAttribute("aria-valuetext", shown);
    }
    const bytes = {};
    for (const [kind, numbers] of Object.entries(kinds))
      bytes[kind] = numbers(sizes) * sizes.layers * BYTES;
    const most = Math.max(...Object.values(bytes));
    for (const [kind, token] of Object.entries(bytes)) {
      const all = token * sizes.context * sizes.users;
      const gpus = Math.ceil(all / MEMORY);
      const row = figure.querySelector(`tr[data-kind="${kind}"]`);
      const show = (what, value, text) => {
        const cell = row.querySelector(`[data-what="${what}"]`);
        cell.dataset.value = value;
        cell.textContent = text;
      };
      // The bar of a small cache is a sliver, so its share is said, too.
      const times = most / token;
      const part = times > 1 ? `, 1/${times < 10 ? Number(times.toFixed(1)) : Math.round(times)}` : "";
      show("token", token, unit(token) + part);
      show("all", all, unit(all));
      show("gpus", gpus, gpus.toLocaleString("en-US"));
      row.querySelector(".cache-bar").style.width = `${(100 * token) / most}%`;
    }
  };
  figure.addEventListener("input", draw);
  draw();
});
