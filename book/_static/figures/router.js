// The figure of chapter 04: eight experts of different popularity, and two ways to balance
// them. The functions are those of r1/model/moe.py; a browser test compares them.
touch("router-figure", (t) => {
  const [EXPERTS, K, TOKENS, STEPS] = [8, 2, 64, 200];
  const WAYS = ["bias", "auxiliary loss", "neither"];
  const range = (n) => Array.from({ length: n }, (_, i) => i);
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const sigmoid = (x) => 1 / (1 + Math.exp(-x));

  // Normal noise of the tokens of one step.
  const noises = range(STEPS).map((step) => {
    const uniform = touch.random(1000 + step);
    const normal = () =>
      Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    return range(TOKENS).map(() => range(EXPERTS).map(normal));
  });
  // Logits of one step: popularity falls from expert 1 to expert 8.
  const popular = (skew, own) => own.map((x, e) => x + skew * (1 - (2 * e) / (EXPERTS - 1)));
  const logits = (step, skew, own) => {
    const more = popular(skew, own);
    return noises[step].map((row) => row.map((x, e) => x + more[e]));
  };
  // How many tokens choose each expert, by the two largest of score + bias.
  const count = (scores, bias) => {
    const load = Array(EXPERTS).fill(0);
    for (const row of scores) {
      let [best, second] = [-1, -1];
      for (let e = 0; e < EXPERTS; e++) {
        const value = row[e] + bias[e];
        if (best < 0 || value > row[best] + bias[best]) [best, second] = [e, best];
        else if (second < 0 || value > row[second] + bias[second]) second = e;
      }
      load[best] += 1;
      load[second] += 1;
    }
    return load;
  };
  const violation = (load) => Math.max(...load) / mean(load) - 1;
  const update = (bias, load, speed) =>
    bias.map((b, e) => b + speed * Math.sign(mean(load) - load[e]));
  // Gradient of sum_i f_i P_i by a number that is added to all logits of an expert.
  const slope = (scores, load) => {
    const f = load.map((n) => (n * EXPERTS) / (K * TOKENS));
    const found = Array(EXPERTS).fill(0);
    for (const row of scores) {
      const sum = row.reduce((a, b) => a + b, 0);
      const price = row.reduce((a, s, e) => a + f[e] * s, 0) / sum;
      row.forEach((s, e) => {
        found[e] += (((f[e] - price) / sum) * s * (1 - s)) / TOKENS;
      });
    }
    return found;
  };
  const numbers = (own) => own.split(",").map(Number);
  const run = ({ skew, own, way, speed, price }, steps = STEPS) => {
    const gamma = way === "bias" ? 10 ** speed : 0;
    const alpha = way === "auxiliary loss" ? 10 ** price : 0;
    let bias = Array(EXPERTS).fill(0);
    let pushed = Array(EXPERTS).fill(0);
    return range(steps).map((step) => {
      const scores = logits(step, skew, numbers(own)).map((row) => row.map((x, e) => sigmoid(x + pushed[e])));
      const load = count(scores, bias);
      const now = { load, bias, pushed, violation: violation(load) };
      bias = update(bias, load, gamma);
      if (alpha) {
        const down = slope(scores, load);
        pushed = pushed.map((u, e) => u - alpha * down[e]);
      }
      return now;
    });
  };
  t.figure.compute = { logits, run };

  t.slider("skew", "popularity of the experts, from equal to far apart", {
    min: 0, max: 3, step: 0.1, start: 1, show: (x) => x.toFixed(1),
  });
  t.hidden("own", Array(EXPERTS).fill(0).join(), /^-?[0-3](\.5)?(,-?[0-3](\.5)?){7}$/);
  const put = (value) => {
    const own = numbers(t.state.own);
    own[t.state.expert - 1] = value;
    t.set.own(own.join());
  };
  t.choice("expert", "expert that is pushed", range(EXPERTS).map((e) => String(e + 1)));
  t.slider("push", "pushed by", { min: -3, max: 3, step: 0.5, start: 0, act: put });
  t.choice("way", "balanced by", WAYS);
  const power = (x) => String(Number((10 ** x).toPrecision(2)));
  t.slider("speed", "speed γ of the bias", { min: -4, max: 0, step: 0.25, start: -2, show: power });
  t.slider("price", "weight α of the auxiliary loss", {
    min: -3, max: 2, step: 0.25, start: 0, show: power,
  });
  t.slider("step", "step that is shown", { min: 1, max: STEPS, start: STEPS });
  const wanted = t.drawing(120);
  wanted.touched((x, y, first) => {
    const e = Math.min(EXPERTS, Math.max(1, Math.round(wanted.back(x))));
    if (first) t.set.expert(String(e));
    const shift = popular(t.state.skew, Array(EXPERTS).fill(0))[t.state.expert - 1];
    put(Math.min(3, Math.max(-3, Math.round(2 * (wanted.up(y) - shift)) / 2)));
    t.move({});
  });
  const loads = t.drawing(170);
  const biases = t.drawing(150);
  const curve = t.drawing(150);
  const said = t.numbers();
  let known = "";
  let steps = [];
  return () => {
    const { state } = t;
    const own = numbers(state.own);
    t.set.push(own[state.expert - 1]);
    const asked = [state.skew, state.own, state.way, state.speed, state.price].join();
    if (asked !== known) steps = run(state);
    known = asked;
    const now = steps[state.step - 1];
    const even = (K * TOKENS) / EXPERTS;
    const moves = state.way === "auxiliary loss" ? now.pushed : now.bias;
    const ticks = range(EXPERTS).map((e) => [e + 1, String(e + 1)]);
    const frame = { x: [0.4, 8.6], xTicks: ticks };
    const popularity = popular(state.skew, own);
    wanted.frame({
      ...frame, y: [-6, 6], yTicks: [[-6, "-6"], [0, "0"], [6, "6"]],
      title: "popularity of each expert, added to its logits; tap or drag a bar",
    });
    const wide = 0.6 * (wanted.x(2) - wanted.x(1));
    popularity.forEach((x, e) => wanted.bar(wanted.x(e + 1), wide, 0, x, "b"));
    wanted.rule(Number(state.expert));
    wanted.words(`Popularity ${popularity.map((x) => x.toFixed(1)).join(", ")}.`);
    loads.frame({
      ...frame, y: [0, TOKENS], yTicks: [[0, "0"], [even, String(even)], [TOKENS, "64"]],
      title: "tokens of each expert, of 64 tokens that choose two",
    });
    now.load.forEach((n, e) => loads.bar(loads.x(e + 1), wide, 0, n, "a"));
    const top = Math.max(0.1, ...moves.map(Math.abs));
    biases.frame({
      ...frame, y: [-top, top], yTicks: [[-top, (-top).toFixed(2)], [0, "0"], [top, top.toFixed(2)]],
      title: state.way === "auxiliary loss"
        ? "what the loss has added to the logits, which changes the weights, too"
        : "bias of each expert, which changes the choice only",
    });
    moves.forEach((b, e) => biases.bar(biases.x(e + 1), wide, 0, b, state.way === "auxiliary loss" ? "d" : "c"));
    curve.frame({
      x: [0, STEPS], y: [0, 3], xTicks: [[0, "0"], [100, "100"], [200, "200 steps"]],
      yTicks: [[0, "0"], [1, "1"], [2, "2"], [3, "3"]], title: "MaxVio",
    });
    curve.line(steps.map((s, i) => [i + 1, s.violation]), "b");
    curve.rule(state.step);
    const last = mean(steps.slice(-50).map((s) => s.violation));
    said.textContent =
      `Step ${state.step}: the busiest expert has ${Math.max(...now.load)} tokens, the least busy ` +
      `${Math.min(...now.load)}; an even load is ${even}. MaxVio is ${now.violation.toFixed(2)}, ` +
      `and its mean over steps 151 to 200 is ${last.toFixed(2)}.`;
    Object.assign(said.dataset, { violation: now.violation, last, load: now.load.join(" ") });
    loads.words(`Tokens of experts 1 to 8: ${now.load.join(", ")}.`);
    biases.words(`Moved by ${moves.map((x) => x.toFixed(3)).join(", ")}.`);
    curve.words(`MaxVio over 200 steps, at the end about ${last.toFixed(2)}.`);
  };
});
