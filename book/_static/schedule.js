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

  const FORWARD = 0;
  const INPUT = 1; // the gradient of a stage's input, which B or I makes
  const simulate = (schedule, stages, micros, times) => {
    const end = new Float64Array(2 * stages * micros).fill(-1);
    const maker = new Int16Array(end.length);
    const key = (what, stage, micro) => (what * stages + stage) * micros + micro;
    const spans = schedule.map(() => []);
    const free = new Float64Array(schedule.length);
    // When a slot can start on a device, or -1 if it lacks a result.
    const ready = (slot, device) => {
      let start = free[device];
      for (const { kind, stage, micro } of slot) {
        const inputs =
          kind === "F"
            ? [stage ? key(FORWARD, stage - 1, micro) : -1]
            : kind === "W"
              ? [key(INPUT, stage, micro)]
              : [
                  key(FORWARD, stage, micro),
                  stage + 1 < stages ? key(INPUT, stage + 1, micro) : -1,
                ];
        for (const input of inputs) {
          if (input < 0) continue;
          if (end[input] < 0) return -1;
          const travel = maker[input] === device ? 0 : times.wire;
          start = Math.max(start, end[input] + travel);
        }
      }
      return start;
    };
    for (let moved = true; moved; ) {
      moved = false;
      schedule.forEach((row, device) => {
        while (spans[device].length < row.length) {
          const slot = row[spans[device].length];
          const start = ready(slot, device);
          if (start < 0) break;
          const takes = slot.length === 2 ? times.pair : times[slot[0].kind];
          free[device] = start + takes;
          spans[device].push({ start, end: free[device], slot });
          for (const { kind, stage, micro } of slot) {
            if (kind === "W") continue;
            const made = key(kind === "F" ? FORWARD : INPUT, stage, micro);
            end[made] = free[device];
            maker[made] = device;
          }
          moved = true;
        }
      });
    }
    return spans;
  };
  const peak = (row) => {
    let held = 0;
    let most = 0;
    for (const { kind } of row.flat()) {
      held += { F: 1, I: 0, B: -1, W: -1 }[kind];
      most = Math.max(most, held);
    }
    return most;
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
    return { title, canvas, wide, box, state, spans: [], end: 1 };
  };
  const panels = { first: panel("first"), second: panel("second") };
  const play = make("button", { type: "button", class: "schedule-play" }, "Play");
  const columns = {
    micros: "micro-batches",
    length: "length",
    bubble: "bubble",
    formula: "formula",
    share: "share",
    stages: "parameters",
    held: "activations",
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
  const key = (kind, text) => [
    make("span", { class: `schedule-key schedule-${kind}` }),
    text,
  ];
  figure.replaceChildren(
    make(
      "div",
      { class: "schedule-sliders" },
      choice("first", "first schedule", "1F1B"),
      choice("second", "second schedule", "DualPipe"),
      slider("devices", "devices, D", 2, 16, 2, 8),
      slider("rounds", "micro-batches / D", 2, 4, 1, 2),
      slider("forward", "forward pass, F", 1, 6, 1, 1),
      slider("input", "input backward pass, I", 1, 6, 1, 1),
      slider("weight", "weight backward pass, W", 1, 6, 1, 1),
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
      ...key("F", "F, forward"),
      ...key("B", "B, whole backward"),
      ...key("I", "I, input backward"),
      ...key("W", "W, weight backward"),
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
  const paint = (one) => {
    const { canvas, box, spans } = one;
    const { unit, times, now, follow } = shared;
    const height = spans.length > 8 ? 15 : 22;
    const width = box.clientWidth;
    const tall = spans.length * height + FOOT;
    const dense = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * dense)) canvas.width = width * dense;
    if (canvas.height !== Math.round(tall * dense)) canvas.height = tall * dense;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${tall}px`;
    const pen = canvas.getContext("2d");
    const ink = getComputedStyle(figure).color;
    const x = (time) => LEFT + time * unit - box.scrollLeft;
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, width, tall);
    pen.font = "11px sans-serif";
    pen.textBaseline = "middle";
    pen.save();
    pen.beginPath();
    pen.rect(LEFT, 0, width - LEFT, tall);
    pen.clip();
    const bottom = spans.length * height;
    const trail = [];
    pen.textAlign = "center";
    spans.forEach((row, device) => {
      const top = device * height;
      pen.globalAlpha = 0.08;
      pen.fillStyle = ink;
      pen.fillRect(x(0), top, one.end * unit, height - 1);
      for (const { start, end, slot } of row) {
        if (x(end) < LEFT || x(start) > width) continue;
        let from = start;
        for (const { kind, micro } of slot) {
          // In a pair the two share the slot as they share the work.
          const share = { F: times.F, B: times.B }[kind] / (times.F + times.B);
          const to = slot.length === 2 ? from + (end - start) * share : end;
          const lit = follow < 0 || micro === follow ? 1 : 0.3;
          pen.fillStyle = COLORS[kind];
          const box = [x(from), top, Math.max(0.5, (to - from) * unit - 0.5)];
          pen.globalAlpha = lit * (now > from ? 1 : 0.3);
          if (now > from && now < to) {
            pen.globalAlpha = 0.3 * lit;
            pen.fillRect(...box, height - 1);
            pen.globalAlpha = lit;
            box[2] = (now - from) * unit;
          }
          pen.fillRect(...box, height - 1);
          if ((to - from) * unit > 13 && lit === 1) {
            pen.globalAlpha = now > from ? 1 : 0.6;
            pen.fillStyle = now > from ? "#1a1a1a" : ink;
            pen.fillText(micro, (x(from) + x(to)) / 2, top + height / 2);
          }
          if (micro === follow && kind !== "W")
            trail.push([from, (x(from) + x(to)) / 2, top + height / 2]);
          from = to;
        }
        if (slot.length === 2) {
          pen.globalAlpha = now > start ? 1 : 0.4;
          pen.strokeStyle = ink;
          const size = [(end - start) * unit - 1.5, height - 2];
          pen.strokeRect(x(start) + 0.5, top + 0.5, ...size);
        }
      }
    });
    pen.globalAlpha = 1;
    pen.strokeStyle = ink;
    pen.lineWidth = 2;
    pen.beginPath();
    trail.sort((a, b) => a[0] - b[0]);
    for (const [, along, down] of trail) pen.lineTo(along, down);
    pen.stroke();
    pen.fillStyle = ink;
    for (const [, along, down] of trail) pen.fillRect(along - 2, down - 2, 4, 4);
    pen.lineWidth = 1;
    const step = tickStep(unit);
    pen.beginPath();
    pen.moveTo(LEFT, bottom + 0.5);
    pen.lineTo(Math.min(width, x(one.most)), bottom + 0.5);
    for (let time = 0; time <= one.most; time += step) {
      pen.moveTo(x(time), bottom);
      pen.lineTo(x(time), bottom + 4);
      pen.fillText(time, x(time), bottom + 11);
    }
    pen.moveTo(x(now), 0);
    pen.lineTo(x(now), bottom);
    pen.stroke();
    pen.textAlign = "left";
    pen.fillText("time (units)", LEFT, bottom + 26);
    pen.restore();
    pen.fillStyle = ink;
    pen.textAlign = "right";
    const every = height < 20 ? 2 : 1;
    for (let device = 0; device < spans.length; device += every)
      pen.fillText(device, LEFT - 5, (device + 0.5) * height);
    pen.save();
    pen.translate(8, bottom / 2);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "center";
    pen.fillText("device", 0, 0);
    pen.restore();
  };

  const number = (x) => x.toLocaleString("en-US", { maximumFractionDigits: 1 });
  // What a reader sees at a time: who works now, and who has waited so far.
  const report = () => {
    const now = shared.now;
    for (const { spans, end, state } of Object.values(panels)) {
      let busy = 0;
      let waited = 0;
      for (const row of spans) {
        let worked = 0;
        for (const span of row) {
          worked += Math.max(0, Math.min(now, span.end) - span.start);
          busy += span.start <= now && now < span.end;
        }
        waited += Math.min(now, end) - worked;
      }
      state.dataset.busy = busy;
      state.dataset.waited = waited;
      state.textContent =
        now < end
          ? `At time ${number(now)}: ${busy} of ${spans.length} devices work; ` +
            `all together have waited ${number(waited)} units.`
          : `Done at time ${number(end)}; all together have waited ` +
            `${number(waited)} units.`;
    }
  };
  const look = () => {
    shared.now = Number(inputs.time.value);
    shared.follow = Number(inputs.follow.value) - 1;
    outputs.time.value = number(shared.now);
    outputs.follow.value = shared.follow < 0 ? "none" : shared.follow;
    inputs.follow.setAttribute("aria-valuetext", outputs.follow.value);
    report();
    Object.values(panels).forEach(paint);
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

  const built = new Map(); // a schedule is the same for all times
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
    const both = whole.F + whole.B - value.saved;
    whole.pair = Math.max(whole.F, whole.B, both);
    const ends = {};
    const runs = {};
    for (const [method, [build, chunks, formula]] of Object.entries(methods)) {
      const name = `${method} ${D} ${micros}`;
      if (!built.has(name)) built.set(name, build(D, micros));
      const schedule = built.get(name);
      const P = chunks * D;
      // A device with two stages has them half as deep.
      const times = { wire: value.wire };
      for (const what of Object.keys(whole)) times[what] = whole[what] / chunks;
      const spans = simulate(schedule, P, micros, times);
      const end = Math.max(...spans.map((row) => row.at(-1).end));
      runs[method] = spans;
      ends[method] = end;
      const idle = spans.map(
        (row) => end - row.reduce((sum, span) => sum + span.end - span.start, 0),
      );
      const low = Math.min(...idle);
      const high = Math.max(...idle);
      const mean = idle.reduce((a, b) => a + b, 0) / idle.length;
      const held = Math.max(...schedule.map(peak)) / chunks;
      const copies = method === "DualPipe" ? 2 : 1;
      const both = low === high ? number(low) : `${number(low)}–${number(high)}`;
      const show = (what, data, text) => {
        cells[method][what].dataset.value = data;
        cells[method][what].textContent = text;
      };
      show("micros", micros, micros);
      show("length", end, number(end));
      show("bubble", `${low} ${high}`, both);
      show("formula", formula(times, P), number(formula(times, P)));
      show("share", mean / end, `${((100 * mean) / end).toFixed(1)}%`);
      show("stages", copies, copies);
      show("held", held, number(held));
    }
    const chosen = { first: value.first, second: value.second };
    const most = Math.max(ends[chosen.first], ends[chosen.second]);
    for (const [name, one] of Object.entries(panels)) {
      const method = chosen[name];
      Object.assign(one, { spans: runs[method], end: ends[method], most });
      const text = `${method}: ${number(one.end)} units on ${D} devices`;
      one.title.textContent = text;
      one.canvas.setAttribute("aria-label", `Timeline of ${text}`);
      const slots = one.spans.flatMap((row) => row.flatMap((span) => span.slot));
      one.canvas.dataset.passes = slots.length;
    }
    // The cursor stays at the end of a run if it was there.
    const atEnd = Number(inputs.time.value) >= Number(inputs.time.max);
    inputs.time.max = most;
    if (atEnd) inputs.time.value = most;
    inputs.follow.max = micros;
    shared = { ...shared, times: whole };
    fit();
    look();
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
    if (target === inputs.time || target === inputs.follow) {
      if (target === inputs.time) stop();
      look();
    } else {
      stop();
      draw();
    }
  });
  for (const one of Object.values(panels)) {
    one.box.addEventListener("scroll", () => {
      for (const other of Object.values(panels))
        if (other.box.scrollLeft !== one.box.scrollLeft)
          other.box.scrollLeft = one.box.scrollLeft;
      paint(one);
    });
    one.canvas.addEventListener("click", ({ offsetX, offsetY, target }) => {
      const time = (offsetX - LEFT + one.box.scrollLeft) / shared.unit;
      const rows = one.spans.length;
      const height = (target.clientHeight - FOOT) / rows;
      const row = one.spans[Math.floor(offsetY / height)] ?? [];
      const span = row.find(({ start, end }) => start <= time && time < end);
      if (!span) return;
      const { F, B } = shared.times;
      const part = (time - span.start) / (span.end - span.start);
      const second = span.slot.length === 2 && part > F / (F + B);
      const { micro } = span.slot[second ? 1 : 0];
      inputs.follow.value = micro === shared.follow ? 0 : micro + 1;
      look();
    });
  }
  const again = () => {
    fit();
    look();
  };
  window.addEventListener("resize", again);
  // The theme may change while the page is open.
  new MutationObserver(look).observe(document.documentElement, {
    attributeFilter: ["data-theme"],
  });
  draw();
});
