// The figure of chapter 08: a number, an outlier that shares its scale or not, and the
// eight bits that are left. Formats and rounding are those of r1/model/fp8.py; a browser
// test compares them.
touch("eight-figure", (t) => {
  const FORMATS = {
    E4M3: { exponent: 4, mantissa: 3, infinite: false },
    E5M2: { exponent: 5, mantissa: 2, infinite: true },
  };
  const of = (name) => {
    const { exponent, mantissa, infinite } = FORMATS[name];
    const bias = 2 ** (exponent - 1) - 1;
    const top = 2 ** exponent - 1 - infinite - bias;
    const largest = 2 ** top * (1 + (2 ** mantissa - (infinite ? 1 : 2)) / 2 ** mantissa);
    return { exponent, mantissa, infinite, bias, largest, least: 1 - bias };
  };
  const decode = (code, name) => {
    const { exponent, mantissa, infinite, bias } = of(name);
    const m = code & (2 ** mantissa - 1);
    const e = (code >> mantissa) & (2 ** exponent - 1);
    const sign = code >> 7 ? -1 : 1;
    if (e === 2 ** exponent - 1) {
      if (infinite) return m ? NaN : sign * Infinity;
      if (m === 2 ** mantissa - 1) return NaN;
    }
    return sign * 2 ** (Math.max(e, 1) - bias) * ((e > 0) + m / 2 ** mantissa);
  };
  const even = (x) => {
    const down = Math.floor(x);
    const rest = x - down;
    return rest > 0.5 || (rest === 0.5 && down % 2) ? down + 1 : down;
  };
  // The nearest number of a format; ties go to the even mantissa. In float32, as there.
  const round = (x, name) => {
    const { mantissa, largest, least } = of(name);
    const f = Math.fround(x);
    const size = Math.abs(f);
    let power = least;
    while (2 ** (power + 1) <= size && power < 128) power += 1;
    const step = 2 ** (power - mantissa);
    const near = Math.sign(f) * even(size / step) * step;
    return Math.max(-largest, Math.min(largest, near));
  };
  const scaled = (x, most, name, power) => {
    let scale = Math.fround(Math.fround(most) / of(name).largest);
    if (power) {
      let e = -126;
      while (2 ** e < scale) e += 1;
      scale = 2 ** e;
    }
    return { scale, q: round(Math.fround(Math.fround(x) / scale), name) };
  };
  const code = (q, name) => {
    for (let c = 0; c < 256; c++) if (Object.is(decode(c, name), q)) return c;
    return 0;
  };
  t.figure.compute = { decode, round, scaled, code };

  const power = (x) => String(Number((10 ** x).toPrecision(3)));
  t.slider("x", "the number x", { min: -4, max: 2, step: 0.01, start: -2, show: power });
  t.slider("outlier", "the largest number beside it", { min: 0, max: 5, step: 0.05, start: 0, show: power });
  t.choice("tile", "the largest number is", ["in the same tile", "in another tile"]);
  t.choice("format", "format", Object.keys(FORMATS));
  t.choice("scales", "scales", ["any number", "powers of two"]);
  const line = t.drawing(104, { left: 12, right: 12 });
  // What is nearer is dragged: x, or the largest number beside it.
  let dragged = "x";
  line.touched((x, _, first) => {
    const at = Math.log10(line.back(x));
    const far = (field) => Math.abs(at - t.state[field]);
    if (first) dragged = far("x") <= far("outlier") ? "x" : "outlier";
    t.move({ [dragged]: at });
  });
  const bits = t.make("p", { class: "touch-bits", role: "group", "aria-label": "The eight bits" });
  const said = t.numbers();
  const buttons = Array.from({ length: 8 }, (_, i) => {
    const button = t.node("button", bits, { type: "button" });
    button.addEventListener("click", () => turn(7 - i));
    return button;
  });
  // What a reader has made of the bits; -1: what the number gives.
  t.hidden("code", "-1", /^(-1|\d{1,2}|1\d\d|2[0-4]\d|25[0-5])$/);
  const now = () => {
    const { state } = t;
    const x = 10 ** state.x;
    const most = Math.max(state.tile === "in the same tile" ? 10 ** state.outlier : 0, x);
    const made = scaled(x, most, state.format, state.scales === "powers of two");
    return { x, ...made, own: code(made.q, state.format) };
  };
  let before = "";
  const turn = (bit) => {
    const held = Number(t.state.code) < 0 ? now().own : Number(t.state.code);
    t.move({ code: String(held ^ (1 << bit)) });
  };
  const show = (v) => (Number.isFinite(v) ? String(Number(v.toPrecision(4))) : String(v));
  return () => {
    const { state } = t;
    const asked = ["x", "outlier", "tile", "format", "scales"].map((f) => state[f]).join();
    if (before && before !== asked) state.code = "-1";
    before = asked;
    const { x, scale, q, own } = now();
    const held = Number(state.code);
    const shown = held < 0 ? own : held;
    const value = decode(shown, state.format);
    line.frame({
      x: [1e-9, 1e5], y: [0, 1], log: true, title: "the positive numbers that can be stored, times the scale; drag x or the largest",
      xTicks: [-8, -6, -4, -2, 0, 2, 4].map((e) => [10 ** e, `1e${e}`]),
      xLabel: "size, on an axis of powers of ten",
    });
    for (let c = 1; c < 128; c++) {
      const at = decode(c, state.format) * scale;
      if (at > 1e-9 && at < 1e5) line.node("line", {
        x1: line.x(at), x2: line.x(at), y1: 34, y2: line.y(0), class: "tick" });
    }
    const marks = [[10 ** state.outlier, "b", "largest", 18], [x, "d", "x", 30]];
    for (const [at, kind, text, y] of marks) {
      line.node("line", { x1: line.x(at), x2: line.x(at), y1: 10, y2: line.y(0), class: `line ${kind}` });
      line.text(line.x(at) + (at > 1e3 ? -4 : 4), y, text, at > 1e3 ? "end" : "start");
    }
    const stored = Math.abs(value) * scale;
    if (stored > 1e-9 && stored < 1e5) line.dot(stored, 0, "a");
    const { exponent } = of(state.format);
    buttons.forEach((button, i) => {
      const bit = 7 - i;
      const kind = i === 0 ? "sign" : i <= exponent ? "exponent" : "mantissa";
      const on = (shown >> bit) & 1;
      button.textContent = on;
      button.className = kind;
      button.setAttribute("aria-label", `Bit ${i + 1} of 8, ${kind}`);
      button.setAttribute("aria-pressed", String(!!on));
    });
    const back = value * scale;
    const error = Math.abs(back - x) / x;
    said.textContent = held < 0
      ? `x = ${show(x)} divided by the scale ${show(scale)} is ${show(x / scale)}, stored as ${show(q)}. ` +
        (q === 0 ? "The number has fallen to zero." : `Times the scale, it is ${show(back)}, an error of ${(100 * error).toFixed(1)} %.`)
      : `The bits ${shown.toString(2).padStart(8, "0")} stand for ${show(value)}, times the scale ${show(back)}.`;
    Object.assign(said.dataset, { scale, q, code: shown, back });
    line.words(`x is ${show(x)}, the stored number ${show(back)}.`);
  };
});
