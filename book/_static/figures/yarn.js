// The figure of chapter 05: the pairs of features that latent attention turns, beyond the
// context that was trained. The speeds are those of yarn_speeds in r1/model/layers.py; a
// browser test compares them.
touch("yarn-figure", (t) => {
  const V3 = { width: 64, theta: 10000, trained: 4096, fast: 32, slow: 1 };
  const range = (n) => Array.from({ length: n }, (_, i) => i);
  const plain = ({ width, theta }) => range(width / 2).map((i) => theta ** ((-2 * i) / width));
  const ends = ({ width, theta, trained, fast, slow }) => {
    const pair = (turns) =>
      (width * Math.log(trained / (2 * Math.PI * turns))) / (2 * Math.log(theta));
    return [Math.max(0, Math.floor(pair(fast))), Math.min(width - 1, Math.ceil(pair(slow)))];
  };
  const yarn = (set, factor) => {
    const [low, high] = ends(set);
    return plain(set).map((speed, i) => {
      const slowed = Math.min(1, Math.max(0, (i - low) / Math.max(high - low, 0.001)));
      return speed * (1 - slowed) + (speed / factor) * slowed;
    });
  };
  t.figure.compute = { plain, yarn, ends, V3 };
  const WAYS = ["as trained", "all slowed alike", "YaRN"];
  t.slider("longer", "context, times the trained 4,096 tokens", {
    min: 0, max: 40, start: 20, show: (x) => (40 ** (x / 40)).toFixed(1),
  });
  t.choice("way", "pairs turn", WAYS);
  const dials = t.drawing(220, { left: 4, right: 4, top: 2, bottom: 4 });
  const speeds = t.drawing(180, { left: 58 });
  t.key([["a", "angles that were trained"], ["d", "beyond them"], ["gray", "speed as trained"], ["b", "speed now"]]);
  const said = t.numbers();
  return () => {
    const { state } = t;
    const factor = 40 ** (state.longer / 40);
    const last = V3.trained * factor;
    const before = plain(V3);
    const now = { [WAYS[0]]: before, [WAYS[1]]: before.map((s) => s / factor), [WAYS[2]]: yarn(V3, factor) }[state.way];
    const full = 2 * Math.PI;
    const trained = before.map((s) => V3.trained * s);
    const reached = now.map((s) => last * s);
    // A pair that has turned once has been trained at all angles.
    const beyond = range(32).filter((i) => trained[i] < full && reached[i] > trained[i] * (1 + 1e-9));
    dials.frame({ x: [0, 1], y: [0, 1], bare: true, title: "each pair at the last position, fastest first" });
    const columns = Number(dials.svg.getAttribute("width")) < 500 ? 8 : 11;
    const rows = Math.ceil(32 / columns);
    const [wide, high] = [Number(dials.svg.getAttribute("width")) / columns, 220 / rows];
    const r = Math.min(wide, high) / 2 - 4;
    for (const i of range(32)) {
      const [x, y] = [wide * ((i % columns) + 0.5), high * (Math.floor(i / columns) + 0.5)];
      const point = (angle) => `${x + r * Math.sin(angle)} ${y - r * Math.cos(angle)}`;
      const pie = (from, to, kind) => {
        if (to - from >= full) return dials.node("circle", { cx: x, cy: y, r, class: kind });
        const large = to - from > Math.PI ? 1 : 0;
        const d = `M${x} ${y} L${point(from)} A${r} ${r} 0 ${large} 1 ${point(to)} Z`;
        return dials.node("path", { class: kind, d });
      };
      pie(0, Math.min(trained[i], full), "a pale");
      if (beyond.includes(i)) pie(trained[i], Math.min(reached[i], full), "d");
      const [a, b] = point(reached[i] % full).split(" ");
      dials.node("circle", { cx: x, cy: y, r, class: "outline" });
      dials.node("line", { x1: x, y1: y, x2: a, y2: b, class: "hand" });
    }
    speeds.frame({
      x: [0, 31], y: [-6, 0.2], xTicks: [0, 8, 16, 24, 31].map((i) => [i, String(i)]), xLabel: "pair",
      yTicks: [[-6, "1e-6"], [-4, "1e-4"], [-2, "1e-2"], [0, "1"]], title: "radians per token",
    });
    const [low, top] = ends(V3);
    if (state.way === WAYS[2]) for (const i of [low, top]) speeds.rule(i);
    speeds.line(before.map((s, i) => [i, Math.log10(s)]), "gray");
    speeds.line(now.map((s, i) => [i, Math.log10(s)]), "b");
    const kept = now.filter((s, i) => s === before[i]).length;
    said.textContent =
      `${Math.round(last).toLocaleString("en-US")} tokens, ${state.way}: ${beyond.length} of 32 pairs ` +
      `reach angles that were not trained, and ${kept} turn as fast as in training.`;
    Object.assign(said.dataset, { beyond: beyond.length, kept });
    dials.words(`Pairs beyond the trained angles: ${beyond.join(", ") || "none"}.`);
    speeds.words(`The slowest pair turns ${now[31].toPrecision(3)} radians a token, in training ${before[31].toPrecision(3)}.`);
  };
});
