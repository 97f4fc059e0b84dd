// The figure in which a model answers: controls, and the parts that the page asks for.
{
  const MODELS = {
    base: "base model (0 steps)",
    zero20: "R1-Zero, 20 steps",
    zero50: "R1-Zero, 50 steps",
    zero100: "R1-Zero, 100 steps",
    r1: "R1 of chapter 14",
  };
  const STEPS = { base: 0, zero20: 20, zero50: 50, zero100: 100 }; // of training
  const MOST = 96; // new tokens
  const GROUP = 16;
  const PAUSE = 140; // milliseconds between two tokens that are shown
  const { make, count } = R1;

  R1.show = async (figure, folder) => {
    const { dataset, id } = figure;
    const wanted = dataset.parts.split(" ");
    const parts = ["text", ...wanted.filter((part) => part !== "group")];
    const state = { at: 0, group: null };
    let timer = null; // of the tokens that appear one after the other
    let turn = 0; // what a later wish has made pointless stops

    // Controls.
    const panel = make("div", null, { class: "live-panel" });
    const form = make("form", panel, { class: "live-ask", novalidate: "" });
    const field = (label, tag, set) => {
      const box = make("div", form);
      make("label", box, { for: `${id}-${set.name}`, text: label });
      return make(tag, box, { id: `${id}-${set.name}`, ...set });
    };
    const typed = field("Problem", "input", {
      name: "problem",
      type: "text",
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
      enterkeyhint: "go",
      "aria-describedby": `${id}-refused`,
    });
    const choice = field("Model", "select", { name: "model" });
    for (const [value, words] of Object.entries(MODELS))
      make("option", choice, { value, text: words });
    const trained = field("Steps of training", "input", {
      name: "trained",
      type: "range",
      min: 0,
      max: Object.keys(STEPS).length - 1,
    });
    const trainedFor = make("output", null, {
      class: "live-value",
      for: trained.id,
      "aria-live": "off", // the slider says it
    });
    trained.before(trainedFor);
    // The slider stands where the chosen model does. R1 is none of its models.
    const stand = () => {
      const at = Object.keys(STEPS).indexOf(choice.value);
      trained.disabled = at < 0;
      if (at >= 0) trained.value = at;
      trained.parentNode.firstChild.textContent =
        at < 0 ? "Steps of training (not of R1)" : "Steps of training";
      trained.setAttribute("aria-valuetext", MODELS[choice.value]);
      trainedFor.textContent = STEPS[choice.value] ?? "";
    };
    const heat = field("Temperature", "input", {
      name: "temperature",
      type: "range",
      min: 0,
      max: 2,
      step: 0.1,
    });
    const shown = make("span", null, { class: "live-value", "aria-hidden": "true" });
    heat.before(shown);
    const heated = () => (shown.textContent = state.temperature.toFixed(1));
    const buttons = make("div", form, { class: "live-buttons" });
    const button = (text, parent, press) => {
      const node = make("button", parent, { type: "button", text });
      node.addEventListener("click", press);
      return node;
    };
    make("button", buttons, { type: "submit", text: "Answer" });
    button("Draw again", buttons, () => {
      state.seed += 1;
      ask();
    });
    if (wanted.includes("group"))
      button(`Group of ${GROUP}`, buttons, () => {
        if (state.group) state.seed += 1; // another group
        askGroup();
      });
    // What can be seen again by who gets it. A token of the reader's choice cannot.
    const shownNow = () => ({
      model: state.name,
      problem: state.problem.text,
      temperature: state.temperature,
      seed: state.seed,
      ...(state.group ? { group: 1 } : { at: state.at }),
    });
    const sent = {}; // what the address says
    const bring = (field, value) => (sent[field] = value);
    const keep = figureAddress(id, shownNow, bring, buttons);
    const refused = make("p", panel, {
      id: `${id}-refused`,
      class: "live-refused",
      role: "alert",
    });
    const steps = make("div", panel, { class: "live-steps" });
    const back = button("Back", steps, () => move(state.at - 1));
    const play = button("Play", steps, () => (timer ? hold() : run()));
    const on = button("Forward", steps, () => move(state.at + 1));
    const place = make("input", steps, {
      type: "range",
      name: "place",
      "aria-label": "Token that is shown",
    });
    const said = make("p", panel, { class: "live-said", role: "status" });
    const stage = make("div", panel, { class: "live-stage" });
    const boxes = Object.fromEntries(
      [...parts, "group"].map((part) => [
        part,
        make("div", stage, { class: `live-part live-${part}-part` }),
      ]),
    );

    const first = () => state.writer.prompt - 1;
    const last = () => Math.min(state.writer.frames.length, state.writer.ids.length - 1) - 1;
    const draw = () => {
      const { writer, at } = state;
      // A bar that has the focus, which the reader would lose with it.
      const held = boxes.next?.contains(document.activeElement)
        ? document.activeElement.dataset.id
        : null;
      for (const part of parts) {
        boxes[part].replaceChildren();
        R1.parts[part](boxes[part], state);
      }
      if (held) {
        const same = boxes.next.querySelector(`[data-id="${held}"]`);
        (same ?? boxes.next.querySelector("button")).focus({ preventScroll: true });
      }
      Object.assign(place, { min: first(), max: last(), value: at });
      const token = R1.TOKENS[writer.ids[at + 1]];
      place.setAttribute("aria-valuetext", `token ${at - first() + 1}, ${token}`);
      back.disabled = at <= first();
      on.disabled = at >= last();
    };
    const move = (at) => {
      hold();
      state.at = Math.max(first(), Math.min(last(), at));
      draw();
      keep();
    };
    const hold = () => {
      if (timer) keep();
      clearInterval(timer);
      timer = null;
      play.textContent = "Play";
    };
    const run = () => {
      if (state.at >= last()) state.at = first();
      if (matchMedia("(prefers-reduced-motion: reduce)").matches) return move(last());
      play.textContent = "Pause";
      timer = setInterval(() => {
        state.at += 1;
        draw();
        if (state.at >= last()) hold();
      }, PAUSE);
      draw();
    };

    const refuse = (message) => {
      refused.textContent = message;
      typed.setAttribute("aria-invalid", message !== "");
    };
    const speed = (tokens, ms) => {
      if (!tokens) return "";
      figure.dataset.speed = (1000 * tokens) / Math.max(ms, 0.1);
      return (
        ` ${count(tokens)} tokens in ${Math.max(1, Math.round(ms))} ms: ` +
        `${count(figure.dataset.speed)} tokens a second.`
      );
    };
    const show = (ms, tokens) => {
      const { writer, problem } = state;
      const verdict = R1.judge(problem, writer.text, state.name === "r1");
      const right = verdict.right ? "right" : `wrong, ${R1.answerOf(problem)} is right`;
      const answer = `${verdict.value ?? "nothing that can be read"} (${right})`;
      const beyond = R1.beyond(problem, state.name === "r1");
      said.textContent = `The answer is ${answer}.${speed(tokens, ms)}${beyond}`;
    };
    // Make ready the problem and the model that the controls ask for; says whether it could.
    const prepare = async () => {
      const mine = ++turn;
      hold();
      try {
        state.problem = R1.readProblem(typed.value);
        refuse("");
      } catch (error) {
        if (!(error instanceof R1.Refused)) throw error;
        refuse(error.message);
        return false;
      }
      figure.setAttribute("aria-busy", "true");
      try {
        const model = await R1.load(choice.value, folder);
        if (mine !== turn) return false;
        state.name = choice.value;
        if (state.writer?.model !== model) state.writer = new R1.Writer(model);
        state.writer.temperature = state.temperature;
        state.writer.begin(R1.encode(state.problem.prompt));
        return true;
      } catch (error) {
        if (mine === turn) refuse(`${error.message}. Try it once more.`);
        return false;
      } finally {
        if (mine === turn) figure.removeAttribute("aria-busy");
      }
    };
    const write = (drafts, seed) => {
      const { writer } = state;
      writer.drafts = drafts && writer.model.mtp.length > 0;
      writer.uniform = R1.uniforms(seed);
      const [start, before] = [performance.now(), writer.tokens.length];
      writer.write(MOST);
      return { ms: performance.now() - start, tokens: writer.tokens.length - before };
    };
    const ask = async (at = null) => {
      if (!(await prepare())) return;
      boxes.group.replaceChildren();
      state.group = null;
      const { ms, tokens } = write(wanted.includes("drafts"), state.seed);
      show(ms, tokens);
      state.at = at ?? first();
      if (at === null) run();
      else move(at);
    };
    const askGroup = async () => {
      if (!(await prepare())) return;
      const mine = turn;
      const total = { ms: 0, tokens: 0 };
      state.group = [];
      for (let i = 0; i < GROUP; i++) {
        state.writer.begin(R1.encode(state.problem.prompt));
        const { ms, tokens } = write(false, GROUP * state.seed + i);
        total.ms += ms;
        total.tokens += tokens;
        const answer = R1.judge(state.problem, state.writer.text, state.name === "r1");
        state.group.push({ ...answer, text: state.writer.text });
        await new Promise((resolve) => setTimeout(resolve)); // others have a turn
        if (mine !== turn) return;
      }
      boxes.group.replaceChildren();
      R1.parts.group(boxes.group, state);
      const right = state.group.filter((answer) => answer.right).length;
      const { ms, tokens } = total;
      said.textContent = `${right} of ${GROUP} are right.${speed(tokens, ms)}`;
      move(last());
    };

    form.addEventListener("submit", (event) => {
      event.preventDefault();
      ask();
    });
    const again = () => (state.group ? askGroup() : ask());
    choice.addEventListener("change", () => {
      stand();
      again();
    });
    trained.addEventListener("input", () => {
      choice.value = Object.keys(STEPS)[trained.value];
      stand();
    });
    trained.addEventListener("change", again);
    heat.addEventListener("input", () => {
      state.temperature = Number(heat.value);
      heated();
    });
    heat.addEventListener("change", again);
    place.addEventListener("input", () => move(Number(place.value)));
    boxes.text.addEventListener("click", (event) => {
      const token = event.target.dataset.token;
      if (token !== undefined) move(Number(token) - 1);
    });
    boxes.group.addEventListener("click", (event) => {
      const row = event.target.closest("[data-answer]");
      if (!row) return;
      const { writer, problem } = state;
      writer.begin(R1.encode(problem.prompt));
      write(false, GROUP * state.seed + Number(row.dataset.answer));
      move(last());
    });
    boxes.next?.addEventListener("pointerdown", () => hold());
    boxes.next?.addEventListener("click", (event) => {
      const row = event.target.closest("[data-id]");
      if (!row) return;
      hold();
      const { writer, at } = state;
      writer.force(at + 1, Number(row.dataset.id));
      const { ms, tokens } = write(wanted.includes("drafts"), ++state.seed);
      show(ms, tokens);
      state.at = at;
      run();
    });

    const begun = R1.beginning(dataset, sent, MODELS);
    state.name = choice.value = begun.model;
    state.seed = Number(begun.seed);
    state.temperature = heat.value = Number(begun.temperature);
    typed.value = begun.problem;
    heated();
    stand();
    await R1.load(state.name, folder); // where that fails, the picture stays
    figure.querySelector(".live-still").replaceWith(panel);
    if (begun.group && wanted.includes("group")) await askGroup();
    else await ask(begun.at ? Number(begun.at) : null);
  };
}
