// The figure of chapter 12: sixteen answers to one problem, what their group makes of
// their rewards, and what the clip leaves of one token. The functions are those of
// r1/rl/rewards.py and r1/rl/losses.py; a browser test compares them.
touch("group-figure", (t) => {
  const SIZE = 16;
  const REWARDS = [0, 0.1, 1.1]; // wrong form, form alone, right
  const range = (n) => Array.from({ length: n }, (_, i) => i);
  const advantages = (rewards) => {
    const mean = rewards.reduce((a, b) => a + b, 0) / rewards.length;
    if (rewards.every((r) => r === rewards[0])) return rewards.map(() => 0);
    const square = rewards.reduce((a, r) => a + (r - mean) ** 2, 0) / rewards.length;
    return rewards.map((r) => (r - mean) / Math.sqrt(square));
  };
  const clipped = (rho, a, low = 0.2, high = 0.2) =>
    Math.min(rho * a, Math.min(Math.max(rho, 1 - low), 1 + high) * a);
  const silenced = (rho, a, low = 0.2, high = 0.2) =>
    (a > 0 && rho > 1 + high) || (a < 0 && rho < 1 - low);
  // What one token of each answer weighs in the loss.
  const weights = (lengths, how) => {
    const all = lengths.reduce((a, b) => a + b, 0);
    return lengths.map((n) => (how === "token" ? 1 / all : 1 / (lengths.length * n)));
  };
  t.figure.compute = { advantages, clipped, silenced, weights };
  const PRESETS = {
    "one is right": [2, ...Array(15).fill(1)],
    "half are right": range(SIZE).map((i) => (i % 2 ? 1 : 2)),
    "all are right": Array(SIZE).fill(2),
    "one without the form": [0, ...Array(15).fill(1)],
  };
  t.hidden("rewards", PRESETS["one is right"].join(""), /^[012]{16}$/);
  t.slider("answer", "answer that is looked at", { min: 1, max: SIZE, start: 1 });
  t.choice("reward", "its reward", REWARDS.map(String), "1.1", (reward) => {
    const levels = [...t.state.rewards];
    levels[t.state.answer - 1] = REWARDS.indexOf(Number(reward));
    t.set.rewards(levels.join(""));
  });
  t.slider("rho", "ratio ρ of one of its tokens", {
    min: 0, max: 2, step: 0.02, start: 1, show: (x) => x.toFixed(2),
  });
  t.choice("how", "mean over", ["answers, then tokens", "all tokens"]);
  t.slider("right", "tokens of a right answer", { min: 4, max: 60, start: 30 });
  t.slider("wrong", "tokens of another answer", { min: 4, max: 60, start: 12 });
  const buttons = t.make("p", { class: "touch-buttons" });
  for (const [text, rewards] of Object.entries(PRESETS)) {
    const button = t.node("button", buttons, { type: "button", text });
    button.addEventListener("click", () => t.move({ rewards: rewards.join("") }));
  }
  const bars = t.drawing(150);
  t.key([["a", "right"], ["b", "the form alone"], ["gray", "not the form"]]);
  const shares = t.drawing(150);
  const curve = t.drawing(190);
  const said = t.numbers();
  bars.touched((x, y, first) => {
    if (!first) return;
    const i = Math.min(SIZE, Math.max(1, Math.round(bars.back(x)))) - 1;
    const levels = [...t.state.rewards];
    levels[i] = String((Number(levels[i]) + 1) % REWARDS.length);
    t.move({ rewards: levels.join(""), answer: i + 1 });
  });
  curve.touched((x) => t.move({ rho: Math.min(2, Math.max(0, curve.back(x))) }));
  return () => {
    const { state } = t;
    const levels = [...state.rewards].map(Number);
    const i = state.answer - 1;
    t.set.reward(String(REWARDS[levels[i]]));
    const rewards = levels.map((level) => REWARDS[level]);
    const found = advantages(rewards);
    const lengths = levels.map((level) => (level === 2 ? state.right : state.wrong));
    const each = weights(lengths, state.how === "all tokens" ? "token" : "sequence");
    const kinds = levels.map((level) => ["gray", "b", "a"][level]);
    const ticks = range(SIZE).map((k) => [k + 1, String(k + 1)]);
    const wide = (drawing) => 0.7 * (drawing.x(2) - drawing.x(1));
    // An axis to the largest size of some values, and a little farther.
    const axis = (values, least) => {
      const top = Math.max(least, ...values.map(Math.abs));
      const yTicks = [-top, 0, top].map((v) => [v, String(Number(v.toPrecision(2)))]);
      return { x: [0.3, SIZE + 0.7], y: [-1.05 * top, 1.05 * top], xTicks: ticks, yTicks };
    };
    bars.frame({
      ...axis(found, 1),
      title: "advantage of each answer; a tap changes its reward",
    });
    found.forEach((a, k) => bars.bar(bars.x(k + 1), wide(bars), 0, a, kinds[k]));
    bars.rule(i + 1);
    const pushes = found.map((a, k) => 1000 * a * each[k]);
    shares.frame({
      ...axis(pushes, 0.1),
      title: "push on one token at ρ = 1: 1,000 × advantage × weight",
    });
    pushes.forEach((p, k) => shares.bar(shares.x(k + 1), wide(shares), 0, p, kinds[k]));
    const a = found[i];
    const steps = range(101).map((k) => k / 50);
    const values = steps.map((rho) => clipped(rho, a));
    const [low, high] = [Math.min(-0.5, ...values), Math.max(0.5, ...values)];
    curve.frame({
      x: [0, 2], y: [low, high], xTicks: [[0, "0"], [0.8, "0.8"], [1.2, "1.2"], [2, "2"]],
      yTicks: [[low, low.toFixed(1)], [0, "0"], [high, high.toFixed(1)]], xLabel: "ratio ρ",
      title: `objective of one token of answer ${i + 1}, before its weight; the clip is 0.2`,
    });
    curve.line(steps.map((rho, k) => [rho, values[k]]), kinds[i] === "gray" ? "gray" : kinds[i]);
    curve.dot(state.rho, clipped(state.rho, a), "d");
    const off = silenced(state.rho, a);
    const equal = found.every((x) => x === 0);
    said.textContent =
      `Answer ${i + 1}: reward ${rewards[i]}, advantage ${a.toFixed(2)}. ` +
      (equal
        ? "All rewards are equal, so the group teaches nothing."
        : `At ρ = ${state.rho.toFixed(2)} ${off ? "the clip takes the gradient of the token" : "the token has a gradient"}. ` +
          `Each of its tokens has the weight ${each[i].toPrecision(2)}.`);
    Object.assign(said.dataset, { advantage: a, silenced: off, weight: each[i] });
    bars.words(`Advantages ${found.map((x) => x.toFixed(2)).join(", ")}.`);
    shares.words(`Pushes ${pushes.map((x) => x.toFixed(1)).join(", ")}.`);
    curve.words(`The objective at ratio ${state.rho.toFixed(2)} is ${clipped(state.rho, a).toFixed(2)}.`);
  };
});
