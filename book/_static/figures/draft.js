// The figure of chapter 06: a draft from q is kept or replaced so that p comes out. The
// rule is that of accept in r1/model/drafting.py; a browser test compares the two.
touch("draft-figure", (t) => {
  const TOKENS = ["a", "b", "c", "d", "e"];
  const range = (n) => Array.from({ length: n }, (_, i) => i);
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const share = (heights) => heights.map((h) => h / sum(heights));
  const residual = (p, q) => {
    const missing = p.map((x, i) => Math.max(0, x - q[i]));
    return sum(missing) > 0 ? share(missing) : p;
  };
  const pick = (weights, u) => {
    let left = u * sum(weights);
    return Math.max(0, weights.findIndex((w) => (left -= w) < 0));
  };
  // One draft: what is drafted, whether it is kept, and what is written.
  const write = (p, q, draft, u, v) => {
    const kept = u * q[draft] < p[draft];
    return { draft, kept, token: kept ? draft : pick(residual(p, q), v) };
  };
  const draw = (p, q, count) => {
    const uniform = touch.random(6);
    return range(count).map(() => write(p, q, pick(q, uniform()), uniform(), uniform()));
  };
  t.figure.compute = { share, residual, write, draw };
  const START = { p: "5,3,1,6,2", q: "2,5,1,4,6" };
  const FORM = /^(?=.*[1-9])(10|\d)(,(10|\d)){4}$/; // a distribution has some mass
  t.hidden("p", START.p, FORM);
  t.hidden("q", START.q, FORM);
  const put = (height) => {
    const [which, , name] = t.state.bar.split(" ");
    const heights = t.state[which].split(",");
    heights[TOKENS.indexOf(name)] = height;
    t.set[which](heights.join(","));
  };
  const bars = TOKENS.flatMap((name) => [`p of ${name}`, `q of ${name}`]);
  t.choice("bar", "bar that is moved", bars);
  t.slider("height", "its height", { min: 0, max: 10, start: 5, act: put });
  t.slider("count", "drafts that are drawn", { min: 0, max: 12, start: 8, show: (x) => (2 ** x).toLocaleString("en-US") });
  const both = t.drawing(190);
  const rest = t.drawing(110);
  const came = t.drawing(160);
  t.key([["a", "p, the model"], ["b", "q, the drafts"], ["c", "kept"], ["d", "replaced"]]);
  const said = t.numbers();
  both.touched((x, y, first) => {
    const half = Math.min(bars.length - 1, Math.max(0, Math.floor(2 * both.back(x))));
    if (first) t.set.bar(bars[half]);
    put(Math.round(Math.min(10, Math.max(0, both.up(y)))));
    t.move({});
  });
  return () => {
    const { state } = t;
    const heights = { p: state.p.split(",").map(Number), q: state.q.split(",").map(Number) };
    const [which, , name] = state.bar.split(" ");
    t.set.height(heights[which][TOKENS.indexOf(name)]);

    const [p, q] = [share(heights.p), share(heights.q)];
    const kept = sum(p.map((x, k) => Math.min(x, q[k])));
    const ticks = TOKENS.map((text, k) => [k + 0.5, text]);
    both.frame({
      x: [0, TOKENS.length], y: [0, 10], xTicks: ticks, yTicks: [[0, "0"], [5, "5"], [10, "10"]],
      title: "p and q, not yet divided by their sums; tap or drag a bar",
    });
    const unit = both.x(1) - both.x(0);
    TOKENS.forEach((_, k) => {
      both.bar(both.x(k + 0.28), 0.36 * unit, 0, heights.p[k], "a");
      both.bar(both.x(k + 0.72), 0.36 * unit, 0, heights.q[k], "b");
    });
    const more = p.map((x, k) => Math.max(0, x - q[k]));
    const most = Math.max(0.1, ...more);
    rest.frame({
      x: [0, TOKENS.length], y: [0, most], xTicks: ticks, yTicks: [[0, "0"], [most, most.toFixed(2)]],
      title: "max(0, p − q): a rejected draft is replaced by a token of this",
    });
    more.forEach((x, k) => rest.bar(rest.x(k + 0.5), 0.7 * unit, 0, x, "d"));
    rest.words(`p has more than q by ${more.map((x) => x.toFixed(2)).join(", ")}.`);
    const count = 2 ** state.count;
    const drawn = draw(p, q, count);
    const green = TOKENS.map((_, k) => drawn.filter((d) => d.kept && d.token === k).length / count);
    const red = TOKENS.map((_, k) => drawn.filter((d) => !d.kept && d.token === k).length / count);
    const top = Math.max(0.3, ...p, ...green.map((x, k) => x + red[k]));
    came.frame({
      x: [0, TOKENS.length], y: [0, 1.05 * top], xTicks: ticks,
      yTicks: [[0, "0"], [top / 2, (top / 2).toFixed(2)], [top, top.toFixed(2)]],
      title: "what is written; the outline is p",
    });
    TOKENS.forEach((_, k) => {
      came.bar(came.x(k + 0.5), 0.7 * unit, 0, green[k], "c");
      came.bar(came.x(k + 0.5), 0.7 * unit, green[k], green[k] + red[k], "d");
      came.bar(came.x(k + 0.5), 0.7 * unit, 0, p[k], "outline");
    });
    const off = sum(p.map((x, k) => Math.abs(x - green[k] - red[k]))) / 2;
    const last = drawn[count - 1];
    said.textContent =
      `A draft is kept with probability ${kept.toFixed(3)}. Of ${count.toLocaleString("en-US")} drafts ` +
      `${drawn.filter((d) => d.kept).length.toLocaleString("en-US")} were kept. ` +
      `The last one was ${TOKENS[last.draft]}, and ${last.kept ? "it was kept" : `${TOKENS[last.token]} was written instead`}. ` +
      `What is written differs from p by ${off.toFixed(3)} (total variation).`;
    Object.assign(said.dataset, { kept, off });
    both.words(`p is ${p.map((x) => x.toFixed(2)).join(", ")}, q is ${q.map((x) => x.toFixed(2)).join(", ")}.`);
    came.words(`Written: ${green.map((x, k) => (x + red[k]).toFixed(2)).join(", ")}.`);
  };
});
