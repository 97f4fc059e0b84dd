// The figure of chapter 09 in which a reader moves a pipeline's sizes and times and
// sees who works when. Schedules, simulation and formulas are those of
// r1/schedule.py; a browser test compares the two.
document.addEventListener("DOMContentLoaded", () => {
  const figure = document.getElementById("schedule-figure");
  if (!figure) return;
  const range = (n) => Array.from({ length: Math.max(0, n) }, (_, i) => i);
  const many = (n, ...names) => range(n).flatMap(() => names);
  const op = (kind, stage, micro) => ({ kind, stage, micro });

  // One forward and one backward in turn; with `split`, backward cut in two.
  const inTurn = (split) => (stages, micros) =>
    range(stages).map((s) => {
      const ahead = Math.min(stages - 1 - s, micros);
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
  const dualpipe = (stages, micros) =>
    range(stages).map((d) => {
      const ways = [[d, 0], [stages - 1 - d, micros / 2]];
      if (d >= stages / 2) ways.reverse();
      const place = Math.min(d, stages - 1 - d);
      return numbered(bothWays(stages / 2, place, micros / 2), ways);
    });
  const dualpipev = (stages, micros) =>
    range(stages / 2).map((d) => {
      const ways = [[d, 0], [stages - 1 - d, 0]];
      return numbered(bothWays(stages / 2, d, micros), ways);
    });

  const simple = ({ F, B, W }, P) => ({
    "1F1B": (P - 1) * (F + B),
    ZB1P: (P - 1) * (F + B - 2 * W),
  });
  const folded = ({ B, W, pair }, P) => (P / 2 - 1) * (pair + B - 3 * W);
  const methods = {
    "1F1B": [inTurn(false), () => 1, (t, P) => simple(t, P)["1F1B"]],
    ZB1P: [inTurn(true), () => 1, (t, P) => simple(t, P).ZB1P],
    DualPipe: [dualpipe, (P) => 2 * P, folded],
    DualPipeV: [dualpipev, (P) => P, folded],
  };

  const needs = ({ kind, stage, micro }, stages) => {
    if (kind === "F") return stage ? [`F ${stage - 1} ${micro}`] : [];
    if (kind === "W") return [`I ${stage} ${micro}`];
    const own = [`F ${stage} ${micro}`];
    return stage + 1 < stages ? [...own, `I ${stage + 1} ${micro}`] : own;
  };
  const simulate = (schedule, stages, times) => {
    const made = new Map();
    const spans = schedule.map(() => []);
    for (let moved = true; moved; ) {
      moved = false;
      schedule.forEach((row, device) => {
        while (spans[device].length < row.length) {
          const slot = row[spans[device].length];
          const inputs = slot.flatMap((one) => needs(one, stages));
          if (!inputs.every((key) => made.has(key))) break;
          let start = spans[device].at(-1)?.end ?? 0;
          for (const key of inputs) {
            const [end, maker] = made.get(key);
            start = Math.max(start, end + (maker === device ? 0 : times.wire));
          }
          const takes = slot.length === 2 ? times.pair : times[slot[0].kind];
          const end = start + takes;
          spans[device].push({ start, end, slot });
          for (const { kind, stage, micro } of slot)
            made.set(`${kind === "B" ? "I" : kind} ${stage} ${micro}`, [end, device]);
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

  const SVG = "http://www.w3.org/2000/svg";
  const element = (name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes))
      made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const picture = figure.querySelector(".schedule-picture");
  const paint = (spans, end, times, method) => {
    const unit = Math.max(3, (picture.clientWidth - 4) / end);
    const height = spans.length > 8 ? 16 : 24;
    const svg = element("svg", {
      width: Math.ceil(end * unit) + 2,
      height: spans.length * height + 2,
      role: "img",
      "aria-label": `Timeline of ${method} on ${spans.length} devices: ` +
        `${end} units long`,
    });
    spans.forEach((row, device) => {
      for (const { start, end: stop, slot } of row) {
        let x = start;
        for (const { kind, micro } of slot) {
          // In a pair the two share the slot as they share the work.
          const alone = { F: times.F, B: times.B };
          const share = alone[kind] / (times.F + times.B);
          const width = slot.length === 2 ? times.pair * share : stop - start;
          const box = { x: x * unit, y: device * height, height: height - 1 };
          svg.append(
            element("rect", {
              ...box,
              width: Math.max(0.5, width * unit - 0.5),
              class: `schedule-${kind}`,
            }),
          );
          if (width * unit > 14)
            svg.append(
              element(
                "text",
                { x: (x + width / 2) * unit, y: (device + 0.5) * height + 3 },
                micro,
              ),
            );
          x += width;
        }
        if (slot.length === 2)
          svg.append(
            element("rect", {
              x: start * unit + 0.5,
              y: device * height + 0.5,
              width: Math.max(0.5, (stop - start) * unit - 1.5),
              height: height - 2,
              class: "schedule-pair",
            }),
          );
      }
    });
    picture.replaceChildren(svg);
  };

  const number = (x) => x.toLocaleString("en-US", { maximumFractionDigits: 1 });
  const draw = () => {
    const value = {};
    for (const input of figure.querySelectorAll("input[type=range]")) {
      value[input.name] = Number(input.value);
      figure.querySelector(`output[for="${input.id}"]`).value = input.value;
    }
    const F = value.forward;
    const W = value.weight;
    const B = value.input + W;
    const pair = Math.max(F, B, F + B - value.saved);
    const times = { F, B, I: value.input, W, pair, wire: value.wire };
    const chosen = figure.querySelector("input[name=method]:checked").value;
    const P = value.stages;
    for (const [method, [build, least, formula]] of Object.entries(methods)) {
      const micros = Math.max(value.micros, least(P));
      const schedule = build(P, micros);
      const spans = simulate(schedule, P, times);
      const end = Math.max(...spans.map((row) => row.at(-1).end));
      const idle = spans.map(
        (row) => end - row.reduce((sum, span) => sum + span.end - span.start, 0),
      );
      const low = Math.min(...idle);
      const high = Math.max(...idle);
      const published = formula(times, P);
      const held = Math.max(...schedule.map(peak));
      const mean = idle.reduce((a, b) => a + b, 0) / idle.length;
      const show = (what, data, text) => {
        const row = figure.querySelector(`tr[data-method="${method}"]`);
        const cell = row.querySelector(`[data-what="${what}"]`);
        cell.dataset.value = data;
        cell.textContent = text;
      };
      const both = low === high ? number(low) : `${number(low)}–${number(high)}`;
      show("micros", micros, micros);
      show("length", end, number(end));
      show("bubble", `${low} ${high}`, both);
      show("formula", published, number(published));
      show("share", mean / end, `${((100 * mean) / end).toFixed(1)}%`);
      show("held", held, held);
      if (method === chosen) paint(spans, end, times, method);
    }
  };
  figure.addEventListener("input", draw);
  window.addEventListener("resize", draw);
  draw();
});
