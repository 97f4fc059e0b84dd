// The figure of chapter 13: a policy with one parameter that thinks with the chance theta.
// The push is equation (13.1) there; a browser test compares it with the gradient of r1's
// advantages over all answers.
touch("push-figure", (t) => {
  const range = (n) => Array.from({ length: n }, (_, i) => i);
  const sigmoid = (z) => 1 / (1 + Math.exp(-z));
  // Over all answers, right or wrong: the mean, the deviation, and the push on z.
  const push = (theta, { right, bare, long, short }) => {
    const mean = theta * right + (1 - theta) * bare;
    const s = Math.sqrt(mean * (1 - mean));
    if (s === 0) return 0;
    return ((theta * (1 - theta) * (right - bare)) / s) * ((1 - theta) / long + theta / short);
  };
  const train = (theta, set, rate, steps) => {
    let z = Math.log(theta / (1 - theta));
    return range(steps + 1).map((step) => {
      if (step) z += rate * push(sigmoid(z), set);
      return sigmoid(z);
    });
  };
  t.figure.compute = { push, train };
  const share = (x) => Number(x).toFixed(2);
  t.slider("theta", "share of thoughts θ at the start", { min: 0.01, max: 0.99, step: 0.01, start: 0.3, show: share });
  t.slider("right", "accuracy of thoughts, a_T", { min: 0.02, max: 0.98, step: 0.01, start: 0.84, show: share });
  t.slider("bare", "accuracy of bare answers, a_B", { min: 0.02, max: 0.98, step: 0.01, start: 0.22, show: share });
  t.slider("long", "tokens of a thought, L_T", { min: 2, max: 100, start: 29 });
  t.slider("short", "tokens of a bare answer, L_B", { min: 2, max: 100, start: 4 });
  t.slider("rate", "learning rate", { min: 0, max: 3, step: 0.1, start: 0.5, show: (x) => (10 ** x).toFixed(1) });
  const force = t.drawing(180, { left: 52 });
  const curve = t.drawing(190, { left: 52 });
  const said = t.numbers();
  force.touched((x) => t.move({ theta: Math.min(0.99, Math.max(0.01, force.back(x))).toFixed(2) }));
  return () => {
    const { state } = t;
    const at = range(101).map((i) => [i / 100, push(i / 100, state)]);
    const here = push(state.theta, state);
    const low = Math.min(0, ...at.map((p) => p[1])) * 1.1;
    const high = Math.max(0, ...at.map((p) => p[1])) * 1.1 || (low ? 0 : 0.001);
    force.frame({
      x: [0, 1], y: [low, high], xTicks: [0, 0.25, 0.5, 0.75, 1].map((x) => [x, String(x)]), xLabel: "share of thoughts θ",
      yTicks: [[low, low.toPrecision(2)], [0, "0"], [high, high.toPrecision(2)]].filter(([v], i) => i === 1 || v),
      title: "mean gradient g on z, the push; drag the point",
    });
    force.line(at, "a");
    force.dot(state.theta, here, "d", 7);
    const way = train(state.theta, state, 10 ** state.rate, 200);
    curve.frame({
      x: [0, 200], y: [0, 1], xTicks: [[0, "0"], [100, "100"], [200, "200"]], xLabel: "step",
      yTicks: [[0, "0"], [0.5, "0.5"], [1, "1"]], title: "share θ of thoughts (blue) and share of right answers (green)",
    });
    curve.line(way.map((theta, i) => [i, theta]), "a");
    curve.line(way.map((theta, i) => [i, theta * state.right + (1 - theta) * state.bare]), "c");
    const end = way[200];
    const delta = state.right - state.bare;
    said.textContent =
      `a_T − a_B = ${delta.toFixed(2)}: thinking ${here > 0 ? "is pushed up" : here < 0 ? "is pushed down" : "is not pushed"}, ` +
      `from ${share(state.theta)} to ${share(end)} in 200 steps. The mean length goes from ` +
      `${(state.theta * state.long + (1 - state.theta) * state.short).toFixed(1)} to ` +
      `${(end * state.long + (1 - end) * state.short).toFixed(1)} tokens.`;
    Object.assign(said.dataset, { push: here, end });
    force.words(`The push at θ = ${share(state.theta)} is ${here.toPrecision(2)}.`);
    curve.words(`Thinking goes from ${share(state.theta)} to ${share(end)}.`);
  };
});
