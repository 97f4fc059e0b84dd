// The figure of chapter 12: what rules pay for an answer to 7*3+5-2=. The strict form is
// that of r1/text/answers.py; a browser test compares the rules on hostile answers.
touch("hacker-figure", (t) => {
  const RIGHT = "4";
  const TAGS = ["<think>", "</think>", "<answer>", "</answer>"];
  const END = "<eos>";
  const TOKENS = /<bos>|<eos>|<pad>|<\/?think>|<\/?answer>|[\s\S]/gu;
  const FORM = /^(?:<think>([^<]*)<\/think>)?<answer>([^<]+)<\/answer>$/;
  const read = (text) => {
    const found = FORM.exec(text.endsWith(END) ? text.slice(0, -END.length) : text);
    return found && { thought: found[1] ?? null, answer: found[2] };
  };
  const rules = {
    accuracy: (text) => Number(read(text)?.answer === RIGHT),
    form: (text) => Number(read(text) !== null),
    tags: (text) => 0.25 * TAGS.reduce((n, tag) => n + text.split(tag).length - 1, 0),
    length: (text) => 0.1 * (text.match(TOKENS) ?? []).length,
    search: (text) => {
      const from = text.indexOf("<answer>");
      const to = text.indexOf("</answer>", from + 8);
      if (from < 0 || to < 0) return 0;
      return Number(/^\s*\+?4(\.0*)?\s*$/.test(text.slice(from + 8, to)));
    },
  };
  t.figure.compute = { read, rules };
  const worked = "<think>7*3=1;1+5=6;6-2=4</think><answer>4</answer>";
  const OTHERS = {
    "worked out": worked,
    bare: "<answer>4</answer>",
    "wrong, with a thought": "<think>7*3=1;1+5=6;6-2=5</think><answer>5</answer>",
    "twice": "<answer>5</answer><answer>4</answer>",
    "tags and no answer": TAGS.join("").repeat(4),
    "never ends": "7*3=1;".repeat(8),
  };
  const WEIGHTS = {
    accuracy: ["right, in the strict form", 1],
    form: ["the strict form", 0],
    search: ["a 4 after the first <answer>", 0],
    tags: ["each tag, a quarter", 0],
    length: ["each token, a tenth", 0],
  };
  t.field("text", "your answer to 7*3+5-2=", "<answer> 4 </answer>", 300);
  for (const [rule, [label, start]] of Object.entries(WEIGHTS))
    t.slider(rule, `pay for ${label}`, { min: 0, max: 2, step: 0.25, start, show: (x) => x.toFixed(2) });
  const verdicts = t.make("div", { class: "touch-scroll", tabindex: "0", role: "region", "aria-label": "What each rule pays" });
  const table = t.node("table", verdicts);
  const bars = t.drawing(216, { left: 142, right: 60 });
  t.key([["a", "right"], ["d", "not right"]]);
  const said = t.numbers();
  const shown = (x) => String(Number(x.toFixed(2)));
  return () => {
    const { state } = t;
    const names = Object.keys(WEIGHTS);
    const answers = { yours: state.text, ...OTHERS };
    const paid = Object.entries(answers).map(([name, text]) => {
      const each = names.map((rule) => rules[rule](text));
      const sum = each.reduce((total, x, i) => total + x * state[names[i]], 0);
      return { name, each, sum, right: rules.accuracy(text) === 1 };
    });
    table.replaceChildren();
    const head = t.node("tr", t.node("thead", table));
    for (const text of ["answer", ...names, "reward"]) t.node("th", head, { scope: "col", text });
    const body = t.node("tbody", table);
    for (const { name, each, sum } of paid) {
      const row = t.node("tr", body, { "data-name": name });
      t.node("th", row, { scope: "row", text: name });
      for (const value of [...each, sum]) t.node("td", row, { text: shown(value), "data-value": value });
    }
    const top = Math.max(1, ...paid.map((p) => p.sum));
    bars.frame({ x: [0, top], y: [0, 1], title: "reward", bare: true });
    paid.forEach(({ name, sum, right }, i) => {
      const y = 4 + 30 * i;
      bars.text(136, y + 15, name, "end");
      bars.node("rect", { x: bars.x(0), y, height: 20, width: bars.x(sum) - bars.x(0), class: right ? "a" : "d" });
      bars.text(bars.x(sum) + 5, y + 15, shown(sum));
    });
    const most = Math.max(...paid.map((p) => p.sum));
    const best = paid.filter((p) => p.sum === most);
    const hacked = most > 0 && best.some((p) => !p.right);
    const mine = read(state.text);
    said.textContent =
      `Your answer ${mine ? `has the form and says “${mine.answer}”` : "does not have the form"}, ` +
      `so it is ${paid[0].right ? "" : "not "}right. ` +
      (most === 0 ? "No answer earns anything." :
        `The best paid: ${best.map((p) => p.name).join(", ")}. ` +
        (hacked ? "An answer that is not right is paid best, so this reward can be hacked." : "All of them are right."));
    Object.assign(said.dataset, { hacked });
    bars.words(paid.map((p) => `${p.name} ${shown(p.sum)}`).join(", "));
  };
});
