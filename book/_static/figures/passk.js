// The figure of chapter 16: 64 answers to an easy and to a hard problem, before and after
// training, and what k of them find. pass@k is that of r1/train/evaluation.py, the vote
// that of r1/recipe/at_test_time.py; a browser test compares them.
touch("passk-figure", (t) => {
  const N = 64;
  const KS = [1, 2, 4, 8, 16, 32, 64];
  const logs = [0];
  for (let i = 1; i <= N; i++) logs.push(logs[i - 1] + Math.log(i));
  const choose = (n, k) => (k < 0 || k > n ? 0 : Math.exp(logs[n] - logs[k] - logs[n - k]));
  const pass = (right, k) => 1 - choose(N - right, k) / choose(N, k);
  // The wrong answers say `wrong` digits, as evenly as they can.
  const spread = (count, wrong) =>
    Array.from({ length: wrong }, (_, i) => Math.floor((count + i) / wrong)).filter(Boolean);
  const vote = (right, others, k) => {
    let ways = 0;
    for (let r = 1; r <= Math.min(k, right); r++) {
      const left = k - r;
      let product = Array.from({ length: others.length + 1 }, () => new Float64Array(left + 1));
      product[0][0] = 1;
      for (const number of others) {
        const longer = product.map(() => new Float64Array(left + 1));
        for (let j = 0; j <= Math.min(number, r, left); j++) {
          const way = choose(number, j);
          const tie = j === r ? 1 : 0;
          for (let ties = 0; ties + tie < product.length; ties++)
            for (let used = 0; used + j <= left; used++)
              longer[ties + tie][used + j] += way * product[ties][used];
        }
        product = longer;
      }
      product.forEach((row, ties) => (ways += (choose(right, r) * row[left]) / (1 + ties)));
    }
    return ways / choose(N, k);
  };
  t.figure.compute = { pass, vote, spread };
  const of = (x) => `${x} of 64`;
  t.slider("easy", "base, easy problem: right answers", { min: 0, max: N, start: 20, show: of });
  t.slider("hard", "base, hard problem: right answers", { min: 0, max: N, start: 6, show: of });
  t.slider("easyAfter", "trained, easy problem", { min: 0, max: N, start: 62, show: of });
  t.slider("hardAfter", "trained, hard problem", { min: 0, max: N, start: 2, show: of });
  t.slider("wrong", "digits that the wrong answers say", { min: 1, max: 9, start: 4 });
  t.slider("k", "answers that are drawn, k", { min: 0, max: 6, start: 3, show: (x) => String(2 ** x) });
  t.choice("axis", "curves over", ["the number of answers", "the tokens that they cost"]);
  t.slider("short", "tokens of an answer of the base", { min: 2, max: 100, start: 12 });
  t.slider("long", "tokens of a trained answer", { min: 2, max: 100, start: 30 });
  const passes = t.drawing(190);
  const votes = t.drawing(190);
  t.key([["a", "base"], ["d", "trained"]]);
  const said = t.numbers();
  return () => {
    const { state } = t;
    const both = (one, two, f) => (f(one) + f(two)) / 2;
    const curve = (one, two, f) => KS.map((k) => [k, both(one, two, (right) => f(right, k))]);
    const voted = (right, k) => vote(right, spread(N - right, state.wrong), k);
    const base = [curve(state.easy, state.hard, pass), curve(state.easy, state.hard, voted)];
    const after = [curve(state.easyAfter, state.hardAfter, pass), curve(state.easyAfter, state.hardAfter, voted)];
    const k = 2 ** state.k;
    const tokens = state.axis !== "the number of answers";
    const [one, other] = tokens ? [state.short, state.long] : [1, 1];
    const ends = tokens ? [Math.min(one, other), N * Math.max(one, other)] : [1, N];
    const marks = tokens ? [10, 30, 100, 300, 1000, 3000] : KS;
    const within = marks.filter((n) => ends[0] <= n && n <= ends[1]);
    [passes, votes].forEach((drawing, i) => {
      drawing.frame({
        x: ends, y: [0, 1], log: true, xTicks: within.map((n) => [n, String(n)]),
        xLabel: tokens ? "tokens" : "k",
        yTicks: [[0, "0"], [0.5, "0.5"], [1, "1"]],
        title: i ? "vote of k: the most common digit is right" : "pass@k: one of k is right",
      });
      drawing.rule(k * one);
      for (const [points, cost, kind] of [[base[i], one, "a"], [after[i], other, "d"]]) {
        const placed = points.map(([n, y]) => [n * cost, y]);
        drawing.line(placed, kind);
        for (const [x, y] of placed) drawing.dot(x, y, kind, 3);
      }
    });
    const at = (points) => points[state.k][1];
    const over = KS.filter((_, i) => base[0][i][1] > after[0][i][1] + 1e-12).join(", ");
    said.textContent =
      `At k = ${k}: pass@k of the base ${at(base[0]).toFixed(2)}, trained ${at(after[0]).toFixed(2)}; ` +
      `vote of the base ${at(base[1]).toFixed(2)}, trained ${at(after[1]).toFixed(2)}. ` +
      (over ? `The base has the larger pass@k at k = ${over}.` : "The base has the larger pass@k nowhere.");
    // The same budget of tokens: how many answers of the trained model it pays.
    const budget = k * state.short;
    const paid = Math.min(N, Math.floor(budget / state.long));
    const bought = paid ? both(state.easyAfter, state.hardAfter, (right) => pass(right, paid)) : 0;
    said.textContent += ` For the ${budget.toLocaleString("en-US")} tokens of k answers of the base, ` +
      (paid ? `the trained model writes ${paid}: pass@${paid} is ${bought.toFixed(2)}.`
        : "the trained model writes none.");
    Object.assign(said.dataset, { over, paid, bought });
    passes.words(`Base ${base[0].map((p) => p[1].toFixed(2)).join(", ")}; trained ${after[0].map((p) => p[1].toFixed(2)).join(", ")}.`);
    votes.words(`Base ${base[1].map((p) => p[1].toFixed(2)).join(", ")}; trained ${after[1].map((p) => p[1].toFixed(2)).join(", ")}.`);
  };
});
