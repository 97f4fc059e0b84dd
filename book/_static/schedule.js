// The figure of chapter 09: two pipeline schedules on one time axis, which a reader
// can play, scrub and follow a micro-batch through. Schedules, simulation and formulas
// are those of r1/cost/schedule.py; a browser test compares the two.
document.addEventListener("DOMContentLoaded", () => {
  const figure = document.getElementById("schedule-figure");
  if (!figure) return;
  const range = (n) => Array.from({ length: Math.max(0, n) }, (_, i) => i);
  const many = (n, ...names) => range(n).flatMap(() => names);
  const op = (kind, stage, micro) => ({ kind, stage, micro });

  // One forward and one backward in turn; with `split`, backward cut in two.
  const inTurn = (split) => (devices, micros) =>
    range(devices).map((s) => {
      const ahead = Math.min(devices - 1 - s, micros);
      const row = range(ahead).map((i) => op("F", s, i));
      for (const i of range(micros)) {
        if (ahead + i < micros) row.push(op("F", s, ahead + i));
        row.push(op(split ? "I" : "B", s, i));
        if (split && i >= s) row.push(op("W", s, i - s));
      }
      if (split)
        for (let i = Math.max(0, micros - s); i < micros; i++)
          row.push(op("W", s, i));
      return row.map((one) => [one]);
    });

  const bothWays = (depth, place, micros) => {
    const inner = depth - 1 - place;
    const pairs = many(micros - 2 * depth + place + 1, "F0 B1", "F1 B0");
    return [
      ...many(2 * inner, "F0"),
      ...many(place + 1, "F0", "F1"),
      ...many(inner, "I1", "W", "F1"),
      ...(inner ? pairs : ["F0", "B1", ...pairs.slice(1)]),
      ...many(inner, "B1", "F1 B0"),
      ...range(place + 1).map((i) => ["B1", "B0"][i % 2]),
      ...range(place + 1).map((i) => ["I1", "I0"][(i + place + 1) % 2]),
      ...many(inner, "W", "I0"),
      ...many(place + 1, "W"),
    ];
  };
  const numbered = (slots, ways) => {
    const count = {};
    const waiting = [];
    return slots.map((slot) =>
      slot.split(" ").map((name) => {
        if (name === "W") return waiting.shift();
        const [stage, first] = ways[Number(name[1])];
        const passed = (name[0] === "F" ? "F" : "B") + name[1];
        count[passed] = (count[passed] ?? -1) + 1;
        const micro = first + count[passed];
        if (name[0] === "I") waiting.push(op("W", stage, micro));
        return op(name[0], stage, micro);
      }),
    );
  };
  const dualpipe = (devices, micros) =>
    range(devices).map((d) => {
      const ways = [[d, 0], [devices - 1 - d, micros / 2]];
      if (d >= devices / 2) ways.reverse();
      const place = Math.min(d, devices - 1 - d);
      return numbered(bothWays(devices / 2, place, micros / 2), ways);
    });
  const dualpipev = (devices, micros) =>
    range(devices).map((d) => {
      const ways = [[d, 0], [2 * devices - 1 - d, 0]];
      return numbered(bothWays(devices, d, micros), ways);
    });
  const interleaved = (devices, micros) =>
    range(devices).map((d) => {
      // A group of micro-batches passes the first stage of a device, then its second.
      const place = (k) => [
        Math.floor(k / devices) % 2,
        Math.floor(k / (2 * devices)) * devices + (k % devices),
      ];
      const passes = range(2 * micros).map(place);
      const forward = passes.map(([c, i]) => op("F", c * devices + d, i));
      const back = passes.map(([c, i]) => op("B", (1 - c) * devices + d, i));
      // One more than Megatron-LM without overlap, so that pairs can be formed.
      const ahead = devices + 2 * (devices - 1 - d) + 1;
      const rest = back.map((one, i) => [...forward.slice(ahead + i, ahead + i + 1), one]);
      return [...forward.slice(0, ahead).map((one) => [one]), ...rest];
    });

  // With P stages: the schedule, stages of a device, and the published bubble.
  const folded = ({ B, W, pair }, P) => (P / 2 - 1) * (pair + B - 3 * W);
  const methods = {
    "1F1B": [inTurn(false), 1, ({ F, B }, P) => (P - 1) * (F + B)],
    "interleaved 1F1B": [interleaved, 2, ({ F, B }, P) => (P / 2 - 1) * (F + B)],
    ZB1P: [inTurn(true), 1, ({ F, B, W }, P) => (P - 1) * (F + B - 2 * W)],
    DualPipe: [dualpipe, 1, folded],
    DualPipeV: [dualpipev, 2, folded],
  };

  // A schedule as flat arrays, which are simulated within a millisecond.
  // A result is a number: what stage s makes of micro-batch i, or the gradient of its
  // input, which B or I makes; -1 is none. A slot has one pass or two.
  const KINDS = "FBIW";
  const compile = (rows, stages, micros) => {
    const slots = rows.flat();
    const output = (stage, micro) => stage * micros + micro;
    const gradient = (stage, micro) => (stages + stage) * micros + micro;
    const plan = {
      devices: rows.length,
      results: 2 * stages * micros,
      first: [0], // the first slot of each device, and the number of slots
      two: new Uint8Array(slots.length),
      kind: new Uint8Array(2 * slots.length),
      micro: new Int16Array(2 * slots.length),
      inputs: new Int32Array(4 * slots.length).fill(-1),
      made: new Int32Array(2 * slots.length).fill(-1),
      held: 0,
      passes: 0,
    };
    for (const row of rows) {
      plan.first.push(plan.first.at(-1) + row.length);
      let held = 0;
      for (const { kind } of row.flat()) {
        held += { F: 1, I: 0, B: -1, W: -1 }[kind];
        plan.held = Math.max(plan.held, held);
        plan.passes += 1;
      }
    }
    slots.forEach((slot, n) => {
      plan.two[n] = slot.length - 1;
      slot.forEach(({ kind, stage, micro }, half) => {
        const k = 2 * n + half;
        plan.kind[k] = KINDS.indexOf(kind);
        plan.micro[k] = micro;
        if (kind === "W") {
          plan.inputs[2 * k] = gradient(stage, micro);
          return;
        }
        if (kind === "F") {
          plan.made[k] = output(stage, micro);
          if (stage) plan.inputs[2 * k] = output(stage - 1, micro);
          return;
        }
        plan.made[k] = gradient(stage, micro);
        plan.inputs[2 * k] = output(stage, micro);
        if (stage + 1 < stages) plan.inputs[2 * k + 1] = gradient(stage + 1, micro);
      });
    });
    return plan;
  };
  const simulate = (plan, times) => {
    const { devices, first, two, kind, inputs, made } = plan;
    const count = first.at(-1);
    const run = {
      plan,
      start: new Float64Array(count),
      end: new Float64Array(count),
      length: 0,
      idle: [],
    };
    const done = new Float64Array(plan.results).fill(-1);
    const maker = new Uint8Array(plan.results);
    const next = first.slice(0, devices);
    const lengths = [...KINDS].map((name) => times[name]);
    for (let moved = true; moved; ) {
      moved = false;
      for (let device = 0; device < devices; device++) {
        for (; next[device] < first[device + 1]; next[device]++) {
          const n = next[device];
          let start = n > first[device] ? run.end[n - 1] : 0;
          const last = 4 * n + 2 + 2 * two[n];
          for (let k = 4 * n; k < last && start >= 0; k++) {
            const input = inputs[k];
            if (input < 0) continue;
            const travel = maker[input] === device ? 0 : times.wire;
            start = done[input] < 0 ? -1 : Math.max(start, done[input] + travel);
          }
          if (start < 0) break;
          const end = start + (two[n] ? times.pair : lengths[kind[2 * n]]);
          run.start[n] = start;
          run.end[n] = end;
          for (let k = 2 * n; k <= 2 * n + two[n]; k++)
            if (made[k] >= 0) {
              done[made[k]] = end;
              maker[made[k]] = device;
            }
          moved = true;
        }
      }
    }
    for (const end of run.end) run.length = Math.max(run.length, end);
    for (let device = 0; device < devices; device++) {
      let idle = run.length;
      for (let n = first[device]; n < first[device + 1]; n++)
        idle -= run.end[n] - run.start[n];
      run.idle.push(idle);
    }
    return run;
  };

  // The parts of the page.
  const make = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes))
      made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const inputs = {};
  const outputs = {};
  const slider = (name, text, min, max, step, value) => {
    const id = `schedule-${name}`;
    outputs[name] = make("output", { for: id });
    inputs[name] = make("input", { type: "range", id, name, min, max, step, value });
    const label = make("label", { for: id }, text);
    return make("div", {}, label, outputs[name], inputs[name]);
  };
  const choice = (name, text, chosen) => {
    const id = `schedule-${name}`;
    const options = Object.keys(methods).map((method) =>
      make("option", method === chosen ? { selected: "" } : {}, method),
    );
    inputs[name] = make("select", { id, name }, ...options);
    return make("div", {}, make("label", { for: id }, text), inputs[name]);
  };
  const panel = (name) => {
    const title = make("p", { class: "schedule-title" });
    const canvas = make("canvas", { role: "img" });
    const wide = make("div", { class: "schedule-wide" }, canvas);
    const box = make(
      "div",
      {
        class: "schedule-picture",
        tabindex: "0",
        role: "group",
        "aria-label": `Timeline of the ${name} schedule`,
      },
      wide,
    );
    const state = make("p", { class: "schedule-state" });
    const layer = document.createElement("canvas");
    return { title, canvas, layer, wide, box, state, run: null, most: 1 };
  };
  const panels = { first: panel("first"), second: panel("second") };
  const play = make("button", { type: "button", class: "schedule-play" }, "Play");
  const columns = {
    length: "length",
    bubble: "bubble",
    formula: "formula",
    share: "share",
    stages: "para\u00admeters",
    held: "acti\u00advations",
  };
  const cells = {};
  const rows = Object.keys(methods).map((method) => {
    cells[method] = {};
    const row = make("tr", { "data-method": method });
    row.append(make("th", { scope: "row" }, method));
    for (const what of Object.keys(columns)) {
      cells[method][what] = make("td", { "data-what": what });
      row.append(cells[method][what]);
    }
    return row;
  });
  const heads = Object.values(columns).map((text) =>
    make("th", { scope: "col" }, text),
  );
  const key = (kind, text) => {
    const square = make("span", { class: `schedule-key schedule-${kind}` });
    return make("span", { class: "schedule-entry" }, square, text);
  };
  figure.replaceChildren(
    make(
      "div",
      { class: "schedule-sliders" },
      choice("first", "first schedule", "1F1B"),
      choice("second", "second schedule", "DualPipe"),
      slider("devices", "devices, D", 2, 16, 2, 8),
      slider("rounds", "micro-batches / D", 2, 4, 1, 2),
      slider("forward", "forward, F", 1, 6, 1, 1),
      slider("input", "input backward, I", 1, 6, 1, 1),
      slider("weight", "weight backward, W", 1, 6, 1, 1),
      slider("saved", "saved by overlap", 0, 6, 1, 0),
      slider("wire", "time between devices", 0, 4, 1, 0),
    ),
    make(
      "div",
      { class: "schedule-sliders schedule-time" },
      play,
      slider("time", "time", 0, 1, 0.5, 1),
      slider("follow", "follow micro-batch", 0, 1, 1, 0),
    ),
    make(
      "div",
      { class: "schedule-panels" },
      ...Object.values(panels).map(({ title, box, state }) =>
        make("div", {}, title, box, state),
      ),
    ),
    make(
      "p",
      { class: "schedule-legend" },
      key("F", "F, forward"),
      key("B", "B, whole backward"),
      key("I", "I, input backward"),
      key("W", "W, weight backward"),
    ),
    make(
      "div",
      {
        class: "schedule-table",
        tabindex: "0",
        role: "group",
        "aria-label": "Table of schedules",
      },
      make(
        "table",
        {},
        make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "schedule"), ...heads)),
        make("tbody", {}, ...rows),
      ),
    ),
  );

  const COLORS = { F: "#56b4e9", B: "#e69f00", I: "#f6d48a", W: "#009e73" };
  const LEFT = 34; // pixels left of the time axis
  const FOOT = 34; // and below the rows
  let shared = { unit: 1, times: { F: 1, B: 2 }, now: 1, follow: -1 };

  // The time of a tick: 1, 2 or 5 times a power of ten, at least 45 pixels apart.
  const tickStep = (unit) => {
    for (let step = 1; ; step *= 10)
      for (const nice of [step, 2 * step, 5 * step])
        if (nice * unit >= 45) return nice;
  };
  // Where things are: the device and the two halves of each slot. In a pair the two
  // passes share the slot as they share the work.
  const shape = (one) => {
    const devices = one.run.plan.devices;
    const height = devices > 8 ? 15 : 22;
    const scrolled = one.box.scrollLeft; // read once: each read asks for a layout
    return {
      height,
      width: one.box.clientWidth,
      bottom: devices * height,
      tall: devices * height + FOOT,
      x: (time) => LEFT + time * shared.unit - scrolled,
    };
  };
  const eachPass = (run, look) => {
    const { plan, start, end } = run;
    const { F, B } = shared.times;
    for (let device = 0; device < plan.devices; device++)
      for (let n = plan.first[device]; n < plan.first[device + 1]; n++) {
        const cut = start[n] + ((end[n] - start[n]) * F) / (F + B);
        if (plan.two[n]) look(2 * n, start[n], cut, device);
        if (plan.two[n]) look(2 * n + 1, cut, end[n], device);
        else look(2 * n, start[n], end[n], device);
      }
  };
  const size = (canvas, width, tall) => {
    const dense = window.devicePixelRatio || 1;
    const [wide, high] = [Math.round(width * dense), Math.round(tall * dense)];
    if (canvas.width !== wide) canvas.width = wide;
    if (canvas.height !== high) canvas.height = high;
    const pen = canvas.getContext("2d");
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, width, tall);
    pen.font = "11px sans-serif";
    pen.textBaseline = "middle";
    pen.textAlign = "center";
    return pen;
  };
  // All passes, as if the time had come for each. Time only shows more or less of it.
  const paintLayer = (one) => {
    const { run, layer } = one;
    const { plan } = run;
    const { height, width, tall, x } = shape(one);
    const { unit, follow } = shared;
    const pen = size(layer, width, tall);
    const boxes = [...KINDS].map(() => []);
    const lit = [...KINDS].map(() => []);
    const texts = [];
    one.trail = [];
    eachPass(run, (k, from, to, device) => {
      const left = x(from);
      const wide = Math.max(0.5, (to - from) * unit - 0.5);
      const micro = plan.micro[k];
      const kind = plan.kind[k];
      if (micro === follow && KINDS[kind] !== "W")
        one.trail.push([from, left + wide / 2, (device + 0.5) * height]);
      if (left + wide < LEFT || left > width) return;
      const dim = follow >= 0 && micro !== follow;
      (dim ? boxes : lit)[kind].push(left, device * height, wide);
      if (wide > 12.5 && follow < 0)
        texts.push(micro, left + wide / 2, (device + 0.5) * height);
    });
    [...KINDS].forEach((name, kind) => {
      pen.fillStyle = COLORS[name];
      for (const [alpha, some] of [[0.3, boxes[kind]], [1, lit[kind]]]) {
        pen.globalAlpha = alpha;
        for (let i = 0; i < some.length; i += 3)
          pen.fillRect(some[i], some[i + 1], some[i + 2], height - 1);
      }
    });
    pen.globalAlpha = 1;
    pen.fillStyle = "#1a1a1a";
    for (let i = 0; i < texts.length; i += 3)
      pen.fillText(texts[i], texts[i + 1], texts[i + 2]);
    pen.strokeStyle = getComputedStyle(figure).color;
    pen.beginPath();
    for (let device = 0; device < plan.devices; device++)
      for (let n = plan.first[device]; n < plan.first[device + 1]; n++) {
        const left = x(run.start[n]);
        if (!plan.two[n] || left > width || x(run.end[n]) < LEFT) continue;
        const wide = (run.end[n] - run.start[n]) * unit - 1.5;
        pen.rect(left + 0.5, device * height + 0.5, wide, height - 2);
      }
    pen.stroke();
    one.trail.sort((a, b) => a[0] - b[0]);
  };
  const compose = (one) => {
    const { run, layer, canvas, trail } = one;
    const { height, width, bottom, tall, x } = shape(one);
    const { unit, now } = shared;
    if (!layer.width) return; // the page has no width yet
    const pen = size(canvas, width, tall);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${tall}px`;
    const ink = getComputedStyle(figure).color;
    pen.strokeStyle = ink;
    pen.fillStyle = ink;
    pen.save();
    pen.beginPath();
    pen.rect(LEFT, 0, width - LEFT, bottom);
    pen.clip();
    pen.globalAlpha = 0.08;
    for (let device = 0; device < run.plan.devices; device++)
      pen.fillRect(x(0), device * height, run.length * unit, height - 1);
    pen.globalAlpha = 0.3;
    pen.drawImage(layer, 0, 0, width, tall);
    pen.globalAlpha = 1;
    pen.save();
    pen.beginPath();
    pen.rect(LEFT, 0, x(now) - LEFT, bottom);
    if (x(now) > LEFT) {
      pen.clip();
      pen.drawImage(layer, 0, 0, width, tall);
    }
    pen.restore();
    pen.lineWidth = 2;
    pen.beginPath();
    for (const [, along, down] of trail) pen.lineTo(along, down);
    pen.stroke();
    for (const [, along, down] of trail) pen.fillRect(along - 2, down - 2, 4, 4);
    pen.restore();
    pen.beginPath();
    pen.moveTo(LEFT, bottom + 0.5);
    pen.lineTo(Math.min(width, x(one.most)), bottom + 0.5);
    const step = tickStep(unit);
    for (let time = 0; time <= one.most; time += step) {
      if (x(time) < LEFT) continue;
      pen.moveTo(x(time), bottom);
      pen.lineTo(x(time), bottom + 4);
      pen.fillText(time, x(time), bottom + 11);
    }
    if (x(now) >= LEFT) {
      pen.moveTo(x(now), 0);
      pen.lineTo(x(now), bottom);
    }
    pen.stroke();
    pen.textAlign = "left";
    pen.fillText("time (units)", LEFT, bottom + 26);
    pen.textAlign = "right";
    const every = height < 20 ? 2 : 1;
    for (let device = 0; device < run.plan.devices; device += every)
      pen.fillText(device, LEFT - 5, (device + 0.5) * height);
    pen.save();
    pen.translate(8, bottom / 2);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "center";
    pen.fillText("device", 0, 0);
    pen.restore();
  };

  const digits = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });
  const number = (x) => digits.format(x);
  // What a reader sees at a time: who works now, and who has waited so far.
  const report = () => {
    const now = shared.now;
    for (const { run, state } of Object.values(panels)) {
      const { plan, start, end, length } = run;
      let busy = 0;
      let waited = plan.devices * Math.min(now, length);
      for (let n = 0; n < start.length; n++) {
        waited -= Math.max(0, Math.min(now, end[n]) - start[n]);
        busy += start[n] <= now && now < end[n];
      }
      state.dataset.busy = busy;
      state.dataset.waited = waited;
      state.textContent =
        now < length
          ? `At time ${number(now)}: ${busy} of ${plan.devices} devices work; ` +
            `all together have waited ${number(waited)} units.`
          : `Done at time ${number(length)}; all together have waited ` +
            `${number(waited)} units.`;
    }
  };
  const look = () => {
    shared.now = Number(inputs.time.value);
    outputs.time.value = number(shared.now);
    report();
    Object.values(panels).forEach(compose);
  };
  const light = (micro) => {
    shared.follow = micro;
    outputs.follow.value = micro < 0 ? "none" : micro;
    Object.values(panels).forEach(paintLayer);
  };
  // The micro-batch of the slider, which a click on a pass chooses, too.
  const followed = () => Number(inputs.follow.value) - 1;
  const repaint = () => {
    light(followed());
    inputs.follow.setAttribute("aria-valuetext", outputs.follow.value);
    look();
  };
  const passAt = (one, { offsetX, offsetY }) => {
    const time = (offsetX - LEFT + one.box.scrollLeft) / shared.unit;
    const row = Math.floor(offsetY / shape(one).height);
    let pass = -1;
    if (offsetX >= LEFT)
      eachPass(one.run, (k, from, to, device) => {
        if (device === row && from <= time && time < to) pass = k;
      });
    return pass;
  };
  let under = -1; // the pass under the mouse
  // While the mouse is over a pass its micro-batch is followed, then that of the slider.
  const hover = (one, pass) => {
    if (pass === under) return;
    under = pass;
    const micro = pass < 0 ? followed() : one.run.plan.micro[pass];
    if (micro === shared.follow) return;
    light(micro);
    Object.values(panels).forEach(compose);
  };
  const fit = () => {
    const width = panels.first.box.clientWidth - LEFT - 8;
    const most = panels.first.most;
    shared.unit = Math.max(2.5, width / most);
    for (const { wide, canvas } of Object.values(panels)) {
      canvas.style.width = "0";
      wide.style.width = `${Math.floor(LEFT + most * shared.unit + 8)}px`;
    }
  };

  const draw = () => {
    const value = {};
    for (const [name, input] of Object.entries(inputs)) {
      value[name] = input.type === "range" ? Number(input.value) : input.value;
      if (outputs[name]) outputs[name].value = input.value;
    }
    const D = value.devices;
    const micros = value.rounds * D;
    outputs.rounds.value = `${value.rounds} (${micros})`;
    const whole = { F: value.forward, I: value.input, W: value.weight };
    whole.B = whole.I + whole.W;
    whole.pair = Math.max(whole.F, whole.B, whole.F + whole.B - value.saved);
    const runs = {};
    for (const [method, [build, chunks, formula]] of Object.entries(methods)) {
      const P = chunks * D;
      // A device with two stages has them half as deep.
      const times = { wire: value.wire };
      for (const what of Object.keys(whole)) times[what] = whole[what] / chunks;
      const run = simulate(compile(build(D, micros), P, micros), times);
      runs[method] = run;
      const low = Math.min(...run.idle);
      const high = Math.max(...run.idle);
      const share = run.idle.reduce((a, b) => a + b, 0) / D / run.length;
      const held = run.plan.held / chunks;
      const copies = method === "DualPipe" ? 2 : 1;
      const both = low === high ? number(low) : `${number(low)}–${number(high)}`;
      const show = (what, data, text) => {
        cells[method][what].dataset.value = data;
        cells[method][what].textContent = text;
      };
      show("length", run.length, number(run.length));
      show("bubble", `${low} ${high}`, both);
      show("formula", formula(times, P), number(formula(times, P)));
      show("share", share, `${(100 * share).toFixed(1)}%`);
      show("stages", copies, copies);
      show("held", held, number(held));
    }
    const chosen = { first: value.first, second: value.second };
    const most = Math.max(...Object.values(chosen).map((m) => runs[m].length));
    for (const [name, one] of Object.entries(panels)) {
      const method = chosen[name];
      one.run = runs[method];
      one.most = most;
      const text = `${method}: ${number(one.run.length)} units on ${D} devices`;
      one.title.textContent = text;
      one.canvas.setAttribute("aria-label", `Timeline of ${text}`);
      one.canvas.dataset.passes = one.run.plan.passes;
    }
    // The cursor stays at the end of a run if it was there.
    const atEnd = Number(inputs.time.value) >= Number(inputs.time.max);
    inputs.time.max = most;
    if (atEnd) inputs.time.value = most;
    inputs.follow.max = micros;
    shared = { ...shared, times: whole };
    under = -1;
    fit();
    repaint();
  };

  let playing = 0;
  const stop = () => {
    cancelAnimationFrame(playing);
    playing = 0;
    play.textContent = "Play";
  };
  play.addEventListener("click", () => {
    if (playing) return stop();
    const most = Number(inputs.time.max);
    let at = Number(inputs.time.value);
    if (at >= most) at = 0;
    let before = performance.now();
    const frame = (time) => {
      // A run takes 15 seconds.
      at = Math.min(most, at + (Math.max(0, time - before) / 15000) * most);
      before = time;
      inputs.time.value = at;
      look();
      if (at >= most) return stop();
      playing = requestAnimationFrame(frame);
    };
    play.textContent = "Pause";
    playing = requestAnimationFrame(frame);
  });
  figure.addEventListener("input", ({ target }) => {
    if (target === inputs.follow) return repaint();
    stop();
    if (target === inputs.time) look();
    else draw();
  });
  for (const one of Object.values(panels)) {
    one.box.addEventListener("scroll", () => {
      for (const other of Object.values(panels))
        if (other.box.scrollLeft !== one.box.scrollLeft)
          other.box.scrollLeft = one.box.scrollLeft;
      paintLayer(one);
      compose(one);
    });
    one.canvas.addEventListener("click", (event) => {
      const micro = one.run.plan.micro[passAt(one, event)] ?? -1;
      if (micro >= 0) inputs.follow.value = micro === followed() ? 0 : micro + 1;
      repaint();
    });
    one.canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType === "mouse") hover(one, passAt(one, event));
    });
    one.canvas.addEventListener("pointerleave", () => hover(one, -1));
  }
  new ResizeObserver(() => {
    fit();
    repaint();
  }).observe(figure);
  // The theme may change while the page is open.
  new MutationObserver(repaint).observe(document.documentElement, {
    attributeFilter: ["data-theme"],
  });
  draw();
});
