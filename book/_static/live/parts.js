// What the page shows of one moment: each part fills its box from the state of a figure.
// Of a state they take `writer`, `at` (the frame that is shown) and `group`.
{
  const make = (tag, parent, set = {}) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(set))
      if (name === "text") node.textContent = value;
      else if (value !== undefined) node.setAttribute(name, value);
    parent?.append(node);
    return node;
  };
  const count = (number) => Math.round(number).toLocaleString("en-US");
  const percent = (share) => `${share < 5e-4 ? "< 0.1" : (100 * share).toFixed(1)} %`;
  const name = (id) => R1.TOKENS[id];
  const minus = (number, digits) => number.toFixed(digits).replace("-", "−");

  // The text so far: the prompt, what came of it, and drafts that were thrown away.
  const text = (box, { writer, at }) => {
    const line = make("p", box, { class: "live-text" });
    const thinking = { open: name(writer.ids[writer.prompt]) === "<think>" };
    for (let i = 0; i <= Math.min(at + 1, writer.ids.length - 1); i++) {
      const draft = writer.frames[i - 1]?.draft;
      if (draft && !draft.kept)
        make("s", line, { text: name(draft.token), "aria-hidden": "true" });
      const token = name(writer.ids[i]);
      const kinds = ["live-token"];
      if (i < writer.prompt) kinds.push("live-asked");
      else if (/^[<]/.test(token)) kinds.push("live-tag");
      else kinds.push(thinking.open ? "live-thought" : "live-answer");
      if (token === "</think>") thinking.open = false;
      if (draft?.kept) kinds.push("live-kept");
      if (i === at + 1) kinds.push("live-now");
      make("span", line, { class: kinds.join(" "), text: token, "data-token": i });
    }
  };

  // The likeliest next tokens; one can go on with any of them.
  const ROWS = 6;
  const next = (box, { writer, at }) => {
    const { p, logits } = writer.frames[at];
    const drawn = writer.ids[at + 1];
    const order = [...p.keys()].sort((a, b) => p[b] - p[a] || logits[b] - logits[a]);
    const rows = order.slice(0, ROWS);
    if (drawn !== undefined && !rows.includes(drawn)) rows[ROWS - 1] = drawn;
    make("p", box, { class: "live-title", text: "Next token, with its probability" });
    for (const id of rows) {
      const row = make("button", box, {
        type: "button",
        class: `live-bar${id === drawn ? " live-drawn" : ""}`,
        "data-id": id,
        "data-p": p[id],
        "aria-label": `${name(id)}, ${percent(p[id])}: go on with it`,
      });
      make("code", row, { text: name(id) });
      const track = make("span", row, { class: "live-track" });
      make("span", track, { style: `width: ${(100 * p[id]).toFixed(2)}%` });
      make("span", row, { class: "live-number", text: percent(p[id]) });
    }
  };

  const svg = (tag, parent, set) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(set)) node.setAttribute(key, value);
    parent.append(node);
    return node;
  };
  // Which experts worked for each token so far, a strip for each layer that has some.
  const routing = (box, { writer, at }) => {
    const { config } = writer.model;
    const experts = config.n_routed_experts;
    const columns = Math.max(writer.frames.length, 24);
    const title = "Experts at work: a row for each, a column for each token read";
    make("p", box, { class: "live-title", text: title });
    writer.frames[at].experts.forEach(({ chosen, weights }, layer) => {
      const place = config.n_dense_layers + layer + 1;
      const load = Array(experts).fill(0);
      const strip = make("div", box, { class: "live-strip" });
      const said = chosen.map((e, i) => `${e + 1} (${weights[i].toFixed(2)})`);
      make("p", strip, { text: `Layer ${place}: experts ${said.join(" and ")}` });
      const names = make("div", strip, { class: "live-names", "aria-hidden": "true" });
      const grid = svg("svg", strip, {
        viewBox: `0 0 ${columns} ${experts}`,
        preserveAspectRatio: "none",
        role: "img",
      });
      const loads = make("div", strip, { class: "live-names", "aria-hidden": "true" });
      svg("rect", grid, { x: at, y: 0, width: 1, height: experts, class: "live-column" });
      writer.frames.slice(0, at + 1).forEach((frame, x) => {
        const { chosen: rows, weights: shares } = frame.experts[layer];
        rows.forEach((y, i) => {
          load[y] += 1;
          const opacity = (0.35 + 0.65 * shares[i]).toFixed(2);
          const set = { x: x + 0.06, y: y + 0.06, width: 0.88, height: 0.88, opacity };
          svg("rect", grid, set);
        });
      });
      for (let e = 0; e < experts; e++) {
        make("span", names, { text: e + 1 });
        make("span", loads, { text: load[e] });
      }
      const label = `Tokens of experts 1 to ${experts} in layer ${place}: ${load.join(", ")}`;
      grid.setAttribute("aria-label", label);
      strip.dataset.chosen = chosen.join(" ");
      strip.dataset.load = load.join(" ");
    });
    const read = `The model has read ${at + 1} tokens; a shared expert works for each.`;
    make("p", box, { class: "live-note", text: read });
  };

  // What the caches hold after the tokens so far, beside keys and values of all heads.
  const cache = (box, { writer, at }) => {
    const c = writer.model.config;
    const latent = writer.caches[0].width;
    const heads =
      c.n_heads * (c.qk_nope_head_dim + c.qk_rope_head_dim + c.v_head_dim);
    const tokens = at + 1;
    const layers = writer.caches.length;
    const size = writer.caches[0].rows.BYTES_PER_ELEMENT;
    const most = writer.frames.length * layers * heads * size;
    make("p", box, { class: "live-title", text: "What the cache holds" });
    for (const [kind, words, numbers] of [
      ["latent", "latents and rotary keys", latent],
      ["heads", "keys and values of all heads", heads],
    ]) {
      const bytes = tokens * layers * numbers * size;
      const row = make("div", box, { class: "live-bytes", "data-kind": kind });
      row.dataset.bytes = bytes;
      make("span", row, { text: words });
      const track = make("span", row, { class: "live-track" });
      make("span", track, { style: `width: ${((100 * bytes) / most).toFixed(2)}%` });
      make("span", row, { class: "live-number", text: `${count(bytes)} bytes` });
    }
    const sum = `${tokens} tokens × ${layers} layers × ${latent} numbers × ${size} bytes`;
    const note =
      `${sum}. With keys and values it would be ${heads} numbers. The page makes ` +
      "none: it attends to the latents, in the absorbed form.";
    make("p", box, { class: "live-note", text: note });
  };

  // What the module drafted for the token that is shown, and all drafts so far.
  const judged = ({ draft, p, free, forced }, drawn, first) => {
    if (draft) {
      const [q, model] = [draft.q[draft.token], p[draft.token]];
      const what =
        `The module drafted ${name(draft.token)} with q = ${q.toFixed(3)}, ` +
        `and the model gives it p = ${model.toFixed(3)}. ` +
        `The random number u = ${draft.u.toFixed(3)} is `;
      const ratio = `p / q = ${(model / q).toFixed(3)}`;
      return draft.kept
        ? `${what}below ${ratio}: the draft is kept.`
        : `${what}not below ${ratio}: the draft is thrown away, and ` +
            `${name(drawn)} is drawn from what p has more than q.`;
    }
    if (forced) return "The reader chose this token.";
    if (free) return "This token came in the same pass as the draft before it.";
    if (first) return "The pass that reads the prompt brings the first token.";
    return "Nothing was drafted here.";
  };
  const drafts = (box, { writer, at }) => {
    const { prompt, frames, ids } = writer;
    make("p", box, { class: "live-title", text: "Drafts of the MTP module" });
    const said = judged(frames[at], ids[at + 1], at < prompt);
    make("p", box, { class: "live-judged", text: said });
    const list = make("p", box, { class: "live-drafts" });
    const tally = { drafted: 0, kept: 0, passes: 0 };
    frames.slice(prompt, at + 1).forEach((frame) => {
      if (!frame.free) tally.passes += 1;
      if (!frame.draft) return;
      tally.drafted += 1;
      tally.kept += Number(frame.draft.kept);
      const mark = frame.draft.kept ? "✓" : "✗";
      const kind = frame.draft.kept ? "live-kept" : "live-thrown";
      make("span", list, { class: kind, text: `${mark} ${name(frame.draft.token)}` });
    });
    Object.assign(box.dataset, tally);
    const tokens = Math.min(at + 2, ids.length) - prompt;
    const note =
      `Kept: ${tally.kept} of ${tally.drafted} drafts. Tokens: ${tokens}. ` +
      `Passes after the prompt: ${tally.passes}.`;
    make("p", box, { class: "live-note", text: note });
  };

  // A group of answers, each with its reward and its advantage.
  const group = (box, { group: answers }) => {
    if (!answers) return;
    const rewards = answers.map((answer) => answer.reward);
    const sizes = R1.advantages(rewards);
    const most = Math.max(...sizes.map(Math.abs)) || 1;
    const table = make("table", box, { class: "live-group" });
    const head = make("tr", make("thead", table));
    for (const word of ["answer", "reward", "advantage"])
      make("th", head, { scope: "col", text: word });
    const body = make("tbody", table);
    answers.forEach((answer, i) => {
      const row = make("tr", body, {
        "data-reward": answer.reward,
        "data-advantage": sizes[i],
      });
      const cell = make("td", row);
      if (answer.thought) make("code", cell, { class: "live-thought", text: answer.thought });
      const last = answer.answer ?? answer.text.replace(R1.EOS, "");
      make("code", cell, { class: "live-answer", text: last });
      const mark = answer.right ? "✓ right" : "✗ wrong";
      make("span", cell, { class: "live-mark", text: mark });
      const look = { type: "button", "data-answer": i, text: "show" };
      make("button", cell, { ...look, "aria-label": `show answer ${i + 1}` });
      make("td", row, { text: answer.reward.toFixed(1) });
      const size = make("td", row, { text: minus(sizes[i], 2) });
      const bar = make("span", size, { class: sizes[i] < 0 ? "live-below" : "live-above" });
      bar.style.width = `${((50 * Math.abs(sizes[i])) / most).toFixed(1)}%`;
    });
    const share = (what) => answers.filter(what).length;
    const mean = rewards.reduce((a, b) => a + b, 0) / rewards.length;
    const equal = sizes.every((size) => size === 0);
    make("p", box, {
      class: "live-note",
      text:
        `${share((a) => a.thought !== null)} of ${answers.length} think, ` +
        `${share((a) => a.right)} are right. The mean reward is ${mean.toFixed(2)}` +
        (equal
          ? ". All rewards are equal, so every advantage is 0: nothing is learned."
          : ", and the advantages are in standard deviations from it."),
    });
  };

  Object.assign(R1, { make, count, parts: { text, next, routing, cache, drafts, group } });
}
