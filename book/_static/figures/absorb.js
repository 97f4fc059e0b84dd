// The figure of chapter 05: the two orders in which latent attention multiplies, for V3.
// What one layer computes and moves for one sequence: equation (5.7) and the table of
// bytes below it in the chapter; a browser test counts the operations of r1's layer.
touch("absorb-figure", (t) => {
  const V3 = { heads: 128, latent: 512, key: 128, rope: 64, value: 128 };
  const compute = ({ heads, latent, key, rope, value }, asking, stored) => {
    const pairs = asking * stored - (asking * (asking - 1)) / 2;
    const once = 2 * latent * heads * (key + value);
    const shared = latent * heads * (key + value) + stored * (latent + rope) +
      asking * heads * (key + rope + value);
    return {
      naive: [stored * once, 2 * pairs * heads * (key + rope + value),
        2 * (shared + 2 * stored * heads * (key + value))],
      absorbed: [asking * once, 2 * pairs * heads * (2 * latent + rope),
        2 * (shared + 2 * asking * heads * 2 * latent)],
    };
  };
  t.figure.compute = { compute, V3 };
  const power = (x) => (2 ** x).toLocaleString("en-US");
  const STEPS = ["neither yet", "W and latent (naive)", "query and W (absorbed)"];
  t.choice("order", "multiplied first", STEPS, STEPS[1]);
  t.slider("stored", "tokens that are stored", { min: 6, max: 17, start: 12, show: power });
  t.slider("asking", "of them that ask at once", { min: 0, max: 12, start: 0, show: power });
  const order = t.drawing(84, { left: 8 });
  const works = t.drawing(72, { left: 74, right: 90 });
  const bytes = t.drawing(72, { left: 74, right: 90 });
  const said = t.numbers();
  const unit = (value, names) => {
    let power = 0;
    while (value >= 1000 && power < names.length - 1) [value, power] = [value / 1000, power + 1];
    return `${value.toPrecision(3)} ${names[power]}`;
  };
  const flop = (x) => unit(x, ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"]);
  const size = (x) => unit(x, ["B", "kB", "MB", "GB", "TB"]);
  const before = {}; // where the boxes stand
  return () => {
    if (t.state.asking > t.state.stored) t.set.asking(t.state.stored);
    const [stored, asking] = [2 ** t.state.stored, 2 ** t.state.asking];
    const { naive, absorbed } = compute(V3, asking, stored);
    // One head: q (128) times W (128 x 512) times c (512), for each pair of tokens.
    const step = STEPS.indexOf(t.state.order);
    const lines = ["one score of one head: query × W × latent",
      "W × latent once for each stored token, then 128 products for each pair",
      "query × W once for each token that asks, then 512 products for each pair"];
    order.frame({ x: [0, 10], y: [0, 3], bare: true, title: lines[step] });
    const [left, right] = [step === 2 ? 2.8 : 1.4, step === 1 ? 7.2 : 8.6];
    // Each box slides from where it stood before.
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const box = (x, width, text, below, kind) => {
      const from = order.x(before[kind] ?? x) - order.x(x);
      before[kind] = x;
      const slide = (node) => {
        const frames = [{ transform: `translateX(${from}px)` }, { transform: "none" }];
        if (from && !still) node.animate(frames, { duration: 500, easing: "ease" });
      };
      const rect = order.node("rect", { x: order.x(x - width / 2), y: 16, height: 34,
        width: order.x(width) - order.x(0), class: `box ${kind}` });
      const [name, size] = [[38, text], [66, below]].map(([y, words]) =>
        order.text(order.x(x), y, words, "middle"));
      [rect, name, size].forEach(slide);
    };
    if (step === 1) order.node("rect", { x: order.x(3.8), y: 4, rx: 8, height: 70,
      width: order.x(8.4) - order.x(3.8), class: "group" });
    if (step === 2) order.node("rect", { x: order.x(1.6), y: 4, rx: 8, height: 70,
      width: order.x(6.2) - order.x(1.6), class: "group" });
    box(left, 1.9, "query", "128", "a");
    box(5, 2, "W of keys", "128 × 512", "b");
    box(right, 1.9, "latent", "512", "c");
    order.words(`Query, matrix and latent; ${lines[step]}.`);

    const most = Math.max(naive[0] + naive[1], absorbed[0] + absorbed[1]);
    const bars = (drawing, rows, kinds, top, title, show) => {
      drawing.frame({ x: [0, top], y: [0, 1], title, bare: true });
      rows.forEach(([name, parts], i) => {
        const y = 4 + 34 * i;
        drawing.text(68, y + 17, name, "end");
        let at = 0;
        parts.forEach((part, j) => {
          const [x, end] = [drawing.x(at), drawing.x((at += part))];
          drawing.node("rect", { x, y, width: end - x, height: 24, class: kinds[j] });
        });
        drawing.text(drawing.x(at) + 5, y + 17, show(at));
      });
    };
    bars(works, [["naive", naive.slice(0, 2)], ["absorbed", absorbed.slice(0, 2)]], ["a", "b"], most,
      "operations of one layer: matrices (blue) and pairs of tokens (orange)", flop);
    const crossing = (V3.latent * (V3.key + V3.value)) / (2 * V3.latent - V3.key - V3.value);
    bars(bytes, [["naive", [naive[2]]], ["absorbed", [absorbed[2]]]], ["c"],
      Math.max(naive[2], absorbed[2]), "bytes that this layer moves", size);
    const total = ([matrices, pairs]) => matrices + pairs;
    const less = total(naive) < total(absorbed) ? "naive" : "absorbed";
    const ratio = Math.max(total(naive) / total(absorbed), total(absorbed) / total(naive));
    said.textContent =
      `${asking.toLocaleString("en-US")} of ${stored.toLocaleString("en-US")} tokens ask: the ` +
      `${less} form computes less, by a factor of ${ratio.toPrecision(3)}. ` +
      `If far more tokens are stored than ask, both compute the same at ${crossing.toFixed(1)} that ask.`;
    Object.assign(said.dataset, { less, ratio });
    works.words(`Naive ${flop(total(naive))}, absorbed ${flop(total(absorbed))}.`);
    bytes.words(`Naive ${size(naive[2])}, absorbed ${size(absorbed[2])}.`);
  };
});
