// What the figures of the class "touch" share: controls with their values, and drawings
// with axes. Their state stands in the page's address (address.js).
//
// A figure is touch("NAME-figure", (t) => draw): the function makes controls and
// drawings by t and returns what is called whenever a control has moved. What it computes
// it also hands out as t.figure.compute, which the tests compare with r1.
window.touch = (id, build) => {
  const make = (tag, parent, set = {}) => {
    const svg = parent.namespaceURI.endsWith("svg") || tag === "svg";
    const node = svg
      ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
    for (const [name, value] of Object.entries(set))
      if (name === "text") node.textContent = value;
      else if (value !== undefined) node.setAttribute(name, value);
    parent.append(node);
    return node;
  };

  // A drawing: its width is that of the page, and its labels keep their size.
  const drawing = (figure, height, set) => {
    const box = make("div", figure, { class: "touch-drawing" });
    const heading = make("p", box, { class: "touch-title" });
    const svg = make("svg", box, { role: "img", height, "aria-label": "" });
    const { left = 40, right = 8, top = 8, bottom = 34 } = set;
    const self = { svg, words: (text) => svg.setAttribute("aria-label", text) };
    self.node = (tag, at) => make(tag, svg, at);
    self.frame = ({ x, y, xTicks = [], yTicks = [], xLabel = "", title = "", log, bare }) => {
      const width = Math.max(240, box.clientWidth || 640);
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.setAttribute("width", width);
      svg.replaceChildren();
      heading.textContent = title;
      const of = log ? Math.log : (v) => v;
      const across = width - left - right;
      self.x = (v) => left + (across * (of(v) - of(x[0]))) / (of(x[1]) - of(x[0]));
      self.y = (v) =>
        height - bottom - ((height - top - bottom) * (v - y[0])) / (y[1] - y[0]);
      // The way back.
      self.back = (pixels) => {
        const v = of(x[0]) + ((pixels - left) / across) * (of(x[1]) - of(x[0]));
        return log ? Math.exp(v) : v;
      };
      self.up = (pixels) =>
        y[0] + ((height - bottom - pixels) / (height - top - bottom)) * (y[1] - y[0]);
      const ends = { x1: self.x(x[0]), x2: self.x(x[1]) };
      if (!bare) self.node("line", { ...ends, y1: self.y(y[0]), y2: self.y(y[0]), class: "axis" });
      for (const [at, text] of yTicks) {
        self.node("line", { ...ends, y1: self.y(at), y2: self.y(at), class: "grid" });
        self.text(left - 5, self.y(at) + 4, text, "end");
      }
      for (const [at, text] of xTicks)
        self.text(self.x(at), height - bottom + 14, text, at === x[1] ? "end" : "middle");
      if (xLabel) self.text(left + across / 2, height - 4, xLabel, "middle");
    };
    self.text = (x, y, text, anchor = "start") =>
      self.node("text", { x, y, "text-anchor": anchor, text });
    self.line = (points, kind) => {
      const path = points.map(([x, y]) => `${self.x(x).toFixed(1)},${self.y(y).toFixed(1)}`);
      return self.node("polyline", { points: path.join(" "), class: `line ${kind}` });
    };
    self.bar = (x, width, from, to, kind) => {
      const [a, b] = [self.y(from), self.y(to)];
      const at = { x: x - width / 2, width, y: Math.min(a, b), height: Math.abs(a - b) };
      return self.node("rect", { ...at, class: kind });
    };
    self.dot = (x, y, kind, r = 5) =>
      self.node("circle", { cx: self.x(x), cy: self.y(y), r, class: kind });
    self.rule = (x) =>
      self.node("line", {
        x1: self.x(x), x2: self.x(x), y1: top, y2: height - bottom, class: "rule",
      });
    // Calls act(x, y, first) with a place in pixels for a tap, and while a finger or the
    // mouse drags. A finger that scrolls the page does neither.
    self.touched = (act) => {
      let first = true;
      let from;
      svg.classList.add("touched");
      const place = (event) => {
        const at = svg.getBoundingClientRect();
        const scale = svg.viewBox.baseVal.width / at.width;
        act((event.clientX - at.left) * scale, (event.clientY - at.top) * scale, first);
        first = false;
      };
      svg.addEventListener("pointerdown", (event) => {
        [first, from] = [true, event];
        svg.setPointerCapture(event.pointerId);
      });
      svg.addEventListener("pointermove", (event) => {
        if (!svg.hasPointerCapture(event.pointerId)) return;
        const [x, y] = [event.clientX - from.clientX, event.clientY - from.clientY];
        const scrolls = event.pointerType === "touch" && Math.abs(y) >= Math.abs(x);
        if (!first || !scrolls) place(event);
      });
      svg.addEventListener("click", place);
    };
    return self;
  };

  const begin = () => {
    const figure = document.getElementById(id);
    if (!figure) return;
    const name = id.replace("-figure", "");
    const state = {};
    const starts = {};
    const set = {}; // by name: brings a control to a value
    let draw = () => {};
    let keep = () => {}; // the state in the address
    const controls = make("div", figure, { class: "touch-controls" });
    const place = (field, label) => {
      const box = make("div", controls);
      const key = `${name}-${field}`;
      make("label", box, { for: key, text: label });
      return [box, key];
    };
    const add = (field, start, bring) => {
      starts[field] = state[field] = start;
      set[field] = bring;
    };
    const moved = () => {
      draw();
      keep();
    };
    // A control that its reader moves; act(value) does what more there is to do.
    const hear = (node, kind, field, act) =>
      node.addEventListener(kind, () => {
        set[field](node.value);
        act?.(state[field]);
        moved();
      });
    const t = { figure, state, set, make: (tag, set) => make(tag, figure, set), node: make };
    t.slider = (field, label, { min, max, step = 1, start, show = String, act }) => {
      const [box, key] = place(field, label);
      const output = make("output", box, { for: key });
      const input = make("input", box, { type: "range", id: key, name: field, min, max, step });
      add(field, start, (value) => {
        input.value = value;
        state[field] = Number(input.value); // within its ends
        output.value = show(state[field]);
        input.setAttribute("aria-valuetext", output.value);
      });
      hear(input, "input", field, act);
    };
    t.choice = (field, label, options, start = options[0], act) => {
      const [box, key] = place(field, label);
      const select = make("select", box, { id: key, name: field });
      for (const text of options) make("option", select, { text });
      add(field, start, (value) => {
        if (options.includes(value)) select.value = state[field] = value;
      });
      hear(select, "change", field, act);
    };
    t.field = (field, label, start, longest) => {
      const [box, key] = place(field, label);
      box.className = "touch-wide";
      const at = { id: key, name: field, type: "text", maxlength: longest };
      const input = make("input", box, { ...at, spellcheck: "false", autocomplete: "off" });
      add(field, start, (value) => {
        input.value = state[field] = String(value).slice(0, longest);
      });
      hear(input, "input", field);
    };
    // A value that is moved in a drawing and not by a control, a text of some form.
    t.hidden = (field, start, form) =>
      add(field, start, (value) => {
        if (form.test(value)) state[field] = value;
      });
    t.move = (values) => {
      for (const [field, value] of Object.entries(values)) set[field](value);
      moved();
    };
    t.drawing = (height, set = {}) => drawing(figure, height, set);
    t.numbers = () => make("p", figure, { class: "touch-numbers", "data-say": "" });
    t.key = (entries) => {
      const list = make("p", figure, { class: "touch-key" });
      for (const [kind, text] of entries) {
        const entry = make("span", list);
        make("span", entry, { class: `swatch ${kind}` });
        entry.append(` ${text}`);
      }
    };

    draw = build(t);
    const buttons = make("p", figure, { class: "touch-buttons" });
    const again = make("button", buttons, { type: "button", text: "Start again" });
    again.setAttribute("aria-label", `Start again: ${figure.ariaLabel}`);
    again.addEventListener("click", () => t.move(starts));
    for (const [field, value] of Object.entries(starts)) set[field](value);
    const changed = () =>
      Object.fromEntries(Object.entries(state).filter(([f, v]) => v !== starts[f]));
    keep = figureAddress(id, changed, (field, value) => set[field]?.(value), buttons);
    draw();
    let width = figure.clientWidth;
    new ResizeObserver(() => {
      if (figure.clientWidth === width) return;
      width = figure.clientWidth;
      draw();
    }).observe(figure);
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
};

// The same numbers on every machine: mulberry32, uniform in [0, 1).
window.touch.random = (seed) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
};
