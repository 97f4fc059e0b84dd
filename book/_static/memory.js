// The figure of chapter 09 in which a reader spreads DeepSeek-V3 over devices and sees
// what each of them holds. The counts are those of count_memory in
// r1/cost/memory.py; a browser test compares the two.
document.addEventListener("DOMContentLoaded", () => {
  const figure = document.getElementById("memory-figure");
  if (!figure) return;
  const LIMIT = 80e9; // one H800
  const D = 7168;
  const HEADS = 128;
  const VOCABULARY = 129280;
  const LAYERS = 61;
  const DENSE = 3;
  const SLOTS = LAYERS + 3; // embedding, MTP module, head
  const EXPERTS = 256;
  const CHOSEN = 8;
  // Parameters: of a piece that every holder has, of its routed experts, its biases.
  const vocabulary = [VOCABULARY * D, 0, 0];
  const layers = { dense: [583483392, 0, 0], moe: [232996864, 11274289152, EXPERTS] };
  const mtp = [layers.moe[0] + 2 * D * D + 3 * D, layers.moe[1], EXPERTS];
  const head = [VOCABULARY * D + D, 0, 0];
  const BITS = { BF16: 16, E5M6: 12, FP8: 8, FP32: 32 };
  const FORMATS = {
    BF16: { linear: "BF16", output: "BF16" },
    FP8: { linear: "FP8", output: "E5M6" },
  };
  const KINDS = {
    weights: "#0072b2",
    gradients: "#e69f00",
    "master weights": "#009e73",
    moments: "#cc79a7",
    activations: "#d55e00",
    buffers: "#8a8a8a",
  };
  const CHOICES = {
    schedule: ["1F1B", "ZB1P", "DualPipe", "DualPipeV"],
    zero: ["0", "1", "2", "3"],
    precision: ["BF16", "FP8"],
    recompute: ["nothing", "deepseek", "layers"],
  };
  const LABELS = {
    schedule: "schedule",
    zero: "ZeRO stage",
    precision: "linear layers in",
    recompute: "computed again in backward passes",
    pipeline: "devices of a pipeline",
    data: "pipelines side by side (data)",
    expert: "pipelines that share experts",
    micro_batch: "sequences of a micro-batch",
    sequence: "tokens of a sequence",
  };
  const SAID = {
    nothing: "nothing",
    deepseek: "norms, up-projections, SwiGLU",
    layers: "all but layer inputs",
  };
  // Largest exponents of two; sequences begin at 1,024 tokens.
  const SLIDERS = { pipeline: 4, data: 10, expert: 8, micro_batch: 4, sequence: 17 };
  const V3 = {
    schedule: "DualPipe",
    zero: "1",
    precision: "FP8",
    recompute: "deepseek",
    pipeline: 4,
    data: 7,
    expert: 6,
    micro_batch: 0,
    sequence: 12,
  };

  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
  const range = (n) => Array.from({ length: n }, (_, i) => i);
  const row = (format, width, rows = 1) => {
    const scales = format === "FP8" || format === "E5M6";
    const bytes = Math.ceil((width * BITS[format]) / 8);
    return rows * (bytes + (scales ? 4 * Math.ceil(width / 128) : 0));
  };

  // What one layer keeps of a token; see kept_tensors.
  const kept = (moe, { precision, recompute }) => {
    const { linear, output } = FORMATS[precision];
    let bytes = row("BF16", D); // its input
    if (recompute === "layers") return bytes;
    const all = recompute === "nothing";
    bytes += row("BF16", 1536 + 512); // latents
    bytes += all
      ? row(linear, 1536) + row(linear, 512) + row("BF16", HEADS * (192 + 192 + 128))
      : row("BF16", 64);
    bytes += row(output, HEADS * 128) + row("FP32", HEADS) + row("BF16", D);
    if (all) bytes += row(linear, D, 2) + row("FP32", 4);
    if (moe) bytes += row("FP32", EXPERTS + 2 * CHOSEN) + row(linear, D, CHOSEN);
    const [width, rows] = moe ? [2048, CHOSEN + 1] : [18432, 1];
    return bytes + row(linear, width, (all ? 3 : 2) * rows);
  };

  // The pieces of each stage; see split_stages.
  const split = (stages) => {
    const each = Math.floor(SLOTS / stages);
    const more = SLOTS % stages;
    const ends = range(stages).map((s) =>
      Math.min((s + 1) * each + Math.min(s + 1, more) - 1, LAYERS),
    );
    return ends.map((end, s) => {
      const start = s ? ends[s - 1] : 0;
      const moe = range(end - start).map((i) => start + i >= DENSE);
      return { moe, embedding: s === 0, last: s === stages - 1 };
    });
  };

  const count = (set) => {
    const double = set.schedule === "DualPipe";
    const folded = set.schedule.startsWith("DualPipe");
    const P = set.pipeline;
    const S = set.schedule === "DualPipeV" ? 2 * P : P;
    const tokens = set.micro_batch * set.sequence;
    const { linear } = FORMATS[set.precision];
    const holders = (double ? 2 : 1) * set.data;
    const parts = split(S);
    const all = { ...set, recompute: "nothing" };
    return range(P).map((device) => {
      const own = folded ? [device, S - 1 - device] : [device];
      const pieces = own.flatMap((s) => {
        const { moe, embedding, last } = parts[s];
        return [
          ...(embedding ? [vocabulary] : []),
          ...moe.map((has) => (has ? layers.moe : layers.dense)),
          ...(last ? [mtp, head] : []),
        ];
      });
      // The MTP module looks tokens up; far from the embedding it needs a copy.
      if (own.includes(S - 1) && !own.includes(0)) pieces.push(vocabulary);
      const plain = sum(pieces.map((piece) => piece[0]));
      const routed = Math.floor(sum(pieces.map((piece) => piece[1])) / set.expert);
      const biases = sum(pieces.map((piece) => piece[2]));
      const held = (bytes, level, stored = 1) =>
        set.zero < level
          ? bytes * (plain + routed)
          : bytes *
            (Math.ceil((stored * plain) / holders) +
              Math.ceil((stored * routed) / (holders / set.expert)));
      let activations = 0;
      const works = [];
      for (const s of own) {
        const { moe, last } = parts[s];
        const kinds = [...moe, ...(last ? [true] : [])];
        works.push(...kinds);
        const flying = S - (set.schedule === "ZB1P" ? 0 : s);
        activations += flying * tokens * sum(kinds.map((has) => kept(has, set)));
        if (!last) continue;
        const norm = row("BF16", D) * (set.recompute === "nothing" ? 2 : 1);
        const scale = set.recompute === "nothing" ? 4 : 0;
        let beyond = 2 * (norm + scale) + row("BF16", D);
        if (scale) beyond += row("BF16", 2 * D) + row("FP32", 2);
        const still = S - (set.schedule === "ZB1P" ? 0 : S - 1);
        activations += tokens * (beyond * still + 2 * 6 * VOCABULARY);
      }
      let buffers = 0;
      if (set.expert > 1 && works.includes(true))
        buffers +=
          tokens * CHOSEN * (row(linear, D) + row("BF16", D)) * (folded ? 2 : 1);
      buffers +=
        tokens * Math.max(0, ...works.map((has) => kept(has, all) - kept(has, set)));
      const largest = (biased) =>
        Math.max(...pieces.map(([a, b, c]) => a + b / set.expert + (biased ? 2 * c : 0)));
      if (set.zero === 3) buffers += 2 * 2 * largest(true);
      if (set.zero >= 2) buffers += 4 * largest(false);
      const bytes = {
        weights: held(set.zero < 3 ? 2 : 1, 3, 2) + 4 * biases,
        gradients: held(4, 2),
        "master weights": held(4, 1),
        moments: held(4, 1),
        activations,
        buffers,
      };
      return { device, own, bytes, total: sum(Object.values(bytes)) };
    });
  };

  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes))
      node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const controls = make("div", { class: "memory-controls" });
  const inputs = {};
  for (const [name, label] of Object.entries(LABELS)) {
    const id = `memory-${name}`;
    const most = SLIDERS[name];
    const least = name === "sequence" ? 10 : 0;
    const input = most
      ? make("input", { type: "range", id, name, min: least, max: most })
      : make("select", { id, name });
    for (const value of CHOICES[name] ?? [])
      input.append(make("option", { value }, SAID[value] ?? value));
    const parts = [make("label", { for: id }, label)];
    if (most) parts.push(make("output", { for: id }));
    controls.append(make("div", {}, ...parts, input));
    inputs[name] = input;
  }
  const reset = make("button", { type: "button" }, "the layout of DeepSeek-V3");
  const verdict = make("p", { class: "memory-verdict", "aria-live": "polite" });
  const bars = make("div", { class: "memory-bars", role: "img" });
  const head_row = ["kind", "GB", "share"].map((text) =>
    make("th", { scope: "col" }, text),
  );
  const body = make("tbody");
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...head_row)), body);
  for (const kind of [...Object.keys(KINDS), "all"]) {
    const key = make("span", { class: "memory-key" });
    if (KINDS[kind]) key.style.background = KINDS[kind];
    body.append(
      make(
        "tr",
        { "data-kind": kind },
        make("th", { scope: "row" }, key, kind),
        make("td"),
        make("td"),
      ),
    );
  }
  figure.replaceChildren(controls, reset, verdict, bars, table);

  const gigabytes = (bytes) => (bytes / 1e9).toFixed(bytes < 1e10 ? 2 : 1);
  const draw = () => {
    const set = {};
    const said = [];
    for (const [name, input] of Object.entries(inputs)) {
      const value = name in SLIDERS ? 2 ** Number(input.value) : input.value;
      set[name] = name === "zero" ? Number(value) : value;
    }
    if (set.schedule === "DualPipe" && set.pipeline < 2) {
      set.pipeline = 2;
      said.push("DualPipe needs two devices, so the pipeline has two.");
    }
    if (set.expert > set.data) {
      set.expert = set.data;
      said.push(`Only ${set.data} side by side can share experts.`);
    }
    for (const name of Object.keys(SLIDERS)) {
      const shown = set[name].toLocaleString("en-US");
      controls.querySelector(`output[for="memory-${name}"]`).value = shown;
      inputs[name].setAttribute("aria-valuetext", shown);
    }
    const devices = count(set);
    const fullest = devices.reduce((a, b) => (b.total > a.total ? b : a));
    const wide = 1.02 * Math.max(LIMIT, fullest.total);
    const rows = devices.map(({ device, own, bytes, total }) => {
      const parts = Object.entries(bytes).map(([kind, size]) => {
        const part = make("span");
        part.style.width = `${(100 * size) / wide}%`;
        part.style.background = KINDS[kind];
        return part;
      });
      const bar = make("div", { class: "memory-bar" }, ...parts);
      const line = make("div", { "data-device": device }, `${device}`, bar, gigabytes(total));
      line.dataset.stages = own.join(" ");
      line.dataset.bytes = Object.values(bytes).join(" ");
      return line;
    });
    bars.style.setProperty("--limit", LIMIT / wide);
    bars.replaceChildren(...rows);
    const all = (set.pipeline * set.data).toLocaleString("en-US");
    const fits = fullest.total <= LIMIT ? "fits into" : "does not fit into";
    said.push(
      `${all} devices. The fullest of a pipeline, number ${fullest.device}, holds ` +
        `${gigabytes(fullest.total)} GB and ${fits} 80 GB (dashed line).`,
    );
    verdict.textContent = said.join(" ");
    bars.setAttribute(
      "aria-label",
      `A bar per device of a pipeline, from ${gigabytes(Math.min(...devices.map((d) => d.total)))} to ` +
        `${gigabytes(fullest.total)} GB; the dashed line is at 80 GB`,
    );
    for (const line of body.rows) {
      const kind = line.dataset.kind;
      const size = kind === "all" ? fullest.total : fullest.bytes[kind];
      line.cells[1].textContent = gigabytes(size);
      line.cells[1].dataset.value = size;
      line.cells[2].textContent = `${((100 * size) / fullest.total).toFixed(1)} %`;
    }
  };
  const start = () => {
    for (const [name, value] of Object.entries(V3)) inputs[name].value = value;
    draw();
  };
  figure.addEventListener("input", draw);
  reset.addEventListener("click", start);
  start();
});
