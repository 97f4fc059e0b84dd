// The figure of chapter 10: a training run and a day of serving as waterfalls. A reader
// moves a factor with its slider, or drags the end of a bar. V3's own bars stay as
// outlines. The formulas are those of training_flops in r1/cost/counting.py and of
// TrainingBill and ServiceDay in r1/cost/bill.py; a browser test compares them.
document.addEventListener("DOMContentLoaded", () => {
  const figure = document.getElementById("bill-figure");
  if (!figure) return;
  // V3: parameters that multiply for a token, less its routed experts; one expert in
  // each of 58 layers; operations of causal attention per token of a sequence.
  const BASE = 16190969344;
  const EXPERT = 58 * 44040192;
  const ATTENTION = 3 * 128 * (192 + 128) * 61;
  const PEAK = 989.4e12; // operations per second
  const DAY = { hits: 342e9, misses: 266e9, written: 168e9, hours: 226.75 * 8 * 24 };
  // GPU hours of Llama 3.1 405B: the ledger's llama-hours.
  const LLAMA = 30.84e6;
  // V3's final run if one assumption takes its low or its high end: the rows of the
  // used share (the widest but the rent's) and of the rent, as the cell of `swing` in
  // the chapter prints them; their ends are `limits` there.
  const SHARE = [4.41e6, 8.66e6];
  const RENT = [5.3e6, 22.3e6];
  const PRICES = {
    R1: [0.14, 0.55, 2.19],
    "R1 at night": [0.035, 0.135, 0.55],
    V3: [0.07, 0.27, 1.1],
    "V3 at night": [0.035, 0.135, 0.55],
    o1: [7.5, 15, 60],
  };
  // Sliders: label, least, most, step, start; a power of two holds the exponent.
  const FACTORS = {
    tokens: ["tokens, trillions", 1, 30, 0.1, 14.8],
    experts: ["routed experts per token", 0, 8, 1, 3, "power"],
    length: ["tokens in a sequence", 10, 17, 1, 12, "power"],
    share: ["used share of the peak, %", 5, 80, 0.01, 39.06],
    other: ["other hours, thousands", 0, 248, 1, 124],
    rent: ["rent, dollars per GPU hour", 0.5, 10, 0.1, 2],
    research: ["research, % of the run", 0, 50, 1, 0],
    watts: ["watts per GPU", 300, 1600, 10, 700],
    billed: ["tokens that are paid for, %", 0, 100, 1, 100],
  };
  // Bars: name, title, sliders (the first one is moved by dragging the bar), color;
  // a total begins at 0 and not where the bar before it ends.
  const TRAINING = [
    ["matrices", "matrices, at the full peak", ["tokens", "experts"], "experts"],
    ["attention", "attention, at the full peak", ["length"], "attention"],
    ["below", "time below the peak", ["share"], "idle"],
    ["other", "longer context, post-training", ["other"], "green"],
    ["dollars", "= the final run", ["rent"], "total", "total"],
    ["research", "research", ["research"], "pink"],
    ["everything", "= with research", [], "total", "total"],
  ];
  const SERVING = [
    ["hits", "sold: read from the cache", [], "attention"],
    ["misses", "sold: read anew", [], "light"],
    ["written", "sold: written", [], "experts"],
    ["unpaid", "not paid for", ["billed"], "idle"],
    ["cost", "rent of the GPUs", [], "pink"],
    ["profit", "= profit or loss", [], "total", "total"],
  ];

  const make = (tag, parent, set = {}) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(set))
      if (name === "text") node.textContent = value;
      else node.setAttribute(name, value);
    parent.append(node);
    return node;
  };
  const set = {};
  const meant = (name) => (FACTORS[name][5] ? 2 ** set[name] : set[name]);

  const compute = () => {
    const flops = [
      6 * (BASE + meant("experts") * EXPERT),
      ATTENTION * meant("length"),
    ];
    const rent = set.rent;
    const [matrices, attention] = flops.map(
      (each) => ((each * set.tokens * 1e12) / PEAK / 3600) * rent,
    );
    const total = flops[0] + flops[1];
    const speed = (PEAK * set.share) / 100;
    const pretraining =
      1000 * Math.round((total * set.tokens * 1e12) / speed / 3600 / 1000);
    const hours = pretraining + 1000 * set.other;
    const dollars = hours * rent;
    const [hit, miss, written] = PRICES[prices.value];
    const sold = [DAY.hits * hit, DAY.misses * miss, DAY.written * written];
    const [hits, misses, texts] = sold.map((value) => value / 1e6);
    const revenue = ((hits + misses + texts) * set.billed) / 100;
    const cost = DAY.hours * rent;
    return {
      matrices,
      attention,
      below: pretraining * rent - matrices - attention,
      other: 1000 * set.other * rent,
      dollars,
      research: (dollars * set.research) / 100,
      everything: dollars * (1 + set.research / 100),
      hits,
      misses,
      written: texts,
      unpaid: revenue - hits - misses - texts,
      cost: -cost,
      profit: revenue - cost,
      flops: total,
      pretraining,
      hours,
      days: hours / 2048 / 24,
      energy: (hours * set.watts) / 1e6,
      revenue,
      margin: revenue / cost - 1,
    };
  };
  // Where each bar of a waterfall begins and ends, in dollars.
  const spans = (bars, values) => {
    let at = 0;
    return bars.map(([name, , , , total]) => {
      const from = total ? 0 : at;
      at = total ? values[name] : at + values[name];
      return [from, at];
    });
  };
  const whole = (x) => Math.round(x).toLocaleString("en-US");
  const money = (value) => {
    const size = Math.abs(value);
    const text =
      size >= 1e6
        ? `${size < 1e9 ? (size / 1e6).toPrecision(4) : whole(size / 1e6)} M`
        : whole(size);
    return `${value < 0 ? "−" : ""}$${text}`;
  };
  const short = (value) => money(value).replace(/(\.\d*?)0+ M/, "$1 M").replace(". ", " ");
  // The next larger of 1, 2, 3, 4, 6, 8 times a power of ten.
  const round = (value) => {
    const power = 10 ** Math.floor(Math.log10(value));
    return power * [1, 2, 3, 4, 6, 8, 10].find((n) => n * power >= value);
  };

  const slider = (name, parent) => {
    const [label, min, max, step] = FACTORS[name];
    const box = make("div", parent, { class: "bill-slider" });
    const id = `bill-${name}`;
    make("label", box, { for: id, text: label });
    make("output", box, { for: id });
    make("input", box, { type: "range", id, name, min, max, step });
  };
  const waterfall = (title, bars) => {
    const box = make("div", figure, { class: "bill-waterfall" });
    make("p", box, { class: "bill-title", text: title });
    const rows = bars.map(([name, text, sliders, color]) => {
      const row = make("div", box, { class: "bill-row", "data-bar": name });
      const left = make("div", row, { class: "bill-factor" });
      make("span", left, { class: "bill-name", text });
      for (const each of sliders) slider(each, left);
      const track = make("div", row, { class: "bill-track" });
      const bar = make("div", track, { class: `bill-bar bill-${color}` });
      const amount = make("span", row, { class: "bill-amount", "data-what": name });
      const grip = sliders.length
        ? make("div", track, { class: "bill-grip", "aria-hidden": "true" })
        : null;
      return { track, bar, amount, grip, moves: sliders[0] };
    });
    const axis = make("div", box, { class: "bill-row bill-axis" });
    const left = make("div", axis, { class: "bill-factor" });
    const ticks = make("div", axis, { class: "bill-track" });
    const amount = make("span", axis, { class: "bill-amount" });
    return { box, bars, rows, ticks, left, amount, scale: [0, 1] };
  };
  const training = waterfall("From operations to dollars: V3's final run", TRAINING);
  // Beside the bars: two intervals on the final run, and Llama's bill on the axis.
  const mark = (name, parent, before) => {
    const node = make("div", parent, { class: `bill-mark bill-${name}` });
    if (before) before.before(node);
    node.dataset.mark = name;
    return node;
  };
  for (const row of training.rows) {
    row.ghost = make("div", row.track, { class: "bill-ghost" });
    if (row.grip) row.track.append(row.grip);
  }
  const run = training.rows[TRAINING.findIndex(([name]) => name === "dollars")];
  const marks = [
    [mark("band", run.track, run.bar), () => SHARE],
    [mark("range", run.track, run.grip), () => RENT],
    [mark("llama", training.box), () => [LLAMA * set.rent, LLAMA * set.rent]],
  ];
  const llama = marks[2][0];
  make("span", training.left, { class: "bill-name", text: "Llama 3.1 405B, at this rent" });
  training.amount.dataset.what = "llama";
  const key = make("p", training.box, { class: "bill-key" });
  key.textContent =
    "On the bar of the final run, the hatched band is V3's own run with 50.0 to 24.8 % " +
    `of the peak used: ${short(SHARE[0])} to ${short(SHARE[1])}. The thin line is V3's ` +
    `own run at a rent of $1.90 to $8: ${short(RENT[0])} to ${short(RENT[1])}. ` +
    "An arrow at the right edge points beyond the scale.";
  const beside = make("p", training.box, { class: "bill-key", "data-say": "" });
  const numbers = make("p", figure, { class: "bill-numbers", role: "status" });
  const serving = waterfall("A day of serving", SERVING);
  const more = make("div", figure, { class: "bill-more" });
  const choice = make("div", more, { class: "bill-slider" });
  make("label", choice, { for: "bill-prices", text: "at the prices of" });
  const prices = make("select", choice, { id: "bill-prices", name: "prices" });
  for (const name of Object.keys(PRICES)) make("option", prices, { text: name });
  slider("watts", more);
  const again = make("button", more, { type: "button", text: "Start again" });
  const inputs = Object.fromEntries(
    [...figure.querySelectorAll("input")].map((input) => [input.name, input]),
  );
  const said = {};
  const says = {
    flops: [" billion operations per token, ", (x) => (x / 1e9).toFixed(1)],
    pretraining: [" GPU hours of pre-training, ", null],
    hours: [" of all phases, ", null],
    days: [" days on 2,048 GPUs, ", (x) => x.toFixed(1)],
    energy: [" MWh. A day of serving: revenue $", null],
    revenue: [", margin ", null],
    margin: [" % of the cost.", (x) => Math.round(100 * x).toLocaleString("en-US")],
  };
  for (const [name, [after]] of Object.entries(says)) {
    said[name] = make("span", numbers, { "data-what": name });
    numbers.append(after);
  }

  let own = null; // where V3's own bars of training begin and end
  const compare = ({ dollars }, moved) => {
    const ran = own[TRAINING.findIndex(([name]) => name === "dollars")][1];
    const bill = LLAMA * set.rent;
    training.amount.dataset.value = bill;
    training.amount.textContent = money(bill);
    const beyond = llama.classList.contains("bill-beyond");
    const change = dollars - ran;
    const words = change
      ? `${money(Math.abs(change))} ${change > 0 ? "more" : "less"} than`
      : "as much as";
    beside.textContent =
      (moved ? `The final run costs ${words} V3's own ${money(ran)} (outlined). ` : "") +
      `Llama's published hours at this rent cost ${(bill / dollars).toPrecision(3)} times ` +
      `the final run${beyond ? ", beyond the right edge of the scale" : ""}.`;
  };
  let held = null; // the bar that is dragged; its scale stays meanwhile
  const draw = () => {
    for (const [name, input] of Object.entries(inputs)) {
      set[name] = Number(input.value);
      const shown = meant(name).toLocaleString("en-US");
      input.previousElementSibling.value = shown;
      input.setAttribute("aria-valuetext", shown);
    }
    const values = compute();
    for (const [name, [, format]] of Object.entries(says)) {
      said[name].dataset.value = values[name];
      said[name].textContent = (format ?? whole)(values[name]);
    }
    for (const each of [training, serving]) {
      const ends = spans(each.bars, values);
      const trains = each === training;
      if (trains) own ??= ends;
      if (!held) {
        const seen = trains ? [...ends, ...own, SHARE].flat() : ends.flat();
        const low = Math.min(...seen);
        const high = round(Math.max(1, ...seen) * 1.02);
        each.scale = [low < 0 ? -round(-low) : 0, high];
        const middle = (each.scale[0] + high) / 2;
        each.ticks.replaceChildren();
        for (const at of [each.scale[0], middle, high])
          make("span", each.ticks, { text: short(at) });
        if (trains) each.ticks.append(llama);
      }
      const [from, to] = each.scale;
      const place = (x) => Math.min(101, Math.max(-1, (100 * (x - from)) / (to - from)));
      const lay = (node, span) => {
        const [start, end] = span.map(place);
        node.style.left = `${Math.min(start, end)}%`;
        node.style.width = `${Math.abs(end - start)}%`;
        return end;
      };
      each.rows.forEach(({ bar, ghost, amount, grip }, i) => {
        const end = lay(bar, ends[i]);
        if (ghost) lay(ghost, own[i]);
        if (grip) grip.style.left = `${end}%`;
        const value = values[each.bars[i][0]];
        amount.dataset.value = value;
        amount.dataset.from = ends[i][0];
        amount.dataset.to = ends[i][1];
        amount.textContent = money(value);
      });
      if (!trains) continue;
      const changed = String(ends) !== String(own);
      for (const [node, span] of marks) {
        const [low, high] = span();
        node.dataset.from = low;
        node.dataset.to = high;
        node.classList.toggle("bill-beyond", high > to);
        lay(node, [Math.min(low, to), Math.min(high, to)]);
      }
      each.box.classList.toggle("bill-moved", changed);
      compare(values, changed);
    }
  };
  // The slider's value at which a bar ends nearest to `target` dollars.
  const reach = (each, i, target) => {
    const name = each.rows[i].moves;
    const [, min, max, step] = FACTORS[name];
    const ends = (k) => {
      set[name] = min + k * step;
      return spans(each.bars, compute())[i][1];
    };
    let low = 0;
    let high = Math.round((max - min) / step);
    const rises = ends(high) > ends(low);
    while (high - low > 1) {
      const k = (low + high) >> 1;
      if (ends(k) < target === rises) low = k;
      else high = k;
    }
    const near = Math.abs(ends(low) - target) < Math.abs(ends(high) - target);
    return (min + (near ? low : high) * step).toFixed(2);
  };
  for (const each of [training, serving])
    each.rows.forEach(({ track, grip, moves }, i) => {
      if (!grip) return;
      grip.addEventListener("pointerdown", (event) => {
        held = { at: event.clientX - grip.getBoundingClientRect().left };
        grip.setPointerCapture(event.pointerId);
        event.preventDefault();
      });
      grip.addEventListener("pointermove", (event) => {
        if (!held) return;
        const box = track.getBoundingClientRect();
        const [from, to] = each.scale;
        const x = event.clientX - held.at + grip.offsetWidth / 2 - box.left;
        inputs[moves].value = reach(each, i, from + (x / box.width) * (to - from));
        draw();
      });
      for (const end of ["pointerup", "pointercancel"])
        grip.addEventListener(end, () => {
          held = null;
          draw();
        });
    });
  const start = () => {
    for (const [name, input] of Object.entries(inputs)) input.value = FACTORS[name][4];
    prices.selectedIndex = 0;
    draw();
  };
  figure.addEventListener("input", draw);
  again.addEventListener("click", start);
  start();
});
