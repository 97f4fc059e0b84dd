// Text from a model, one pass at a time, with drafts of the MTP module: what drafted_steps
// of r1/model/drafting.py does. Each token that is read leaves a frame for the page.
{
  // Uniform numbers in [0, 1) that a seed fixes (mulberry32).
  const uniforms = (seed) => {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
  };

  // The first token at which the sum of the weights exceeds u times all of them.
  const draw = (weights, u) => {
    const all = weights.reduce((sum, weight) => sum + weight, 0);
    let sum = 0;
    let last = 0;
    for (let i = 0; i < weights.length; i++) {
      if (!weights[i]) continue;
      sum += weights[i];
      last = i;
      if (sum > u * all) return i;
    }
    return last;
  };

  // A draft from q is kept with probability min(1, p / q). If it is not, the token comes
  // from max(0, p - q): what comes out is distributed as p.
  const isKept = (draft, q, p, u) => u * q[draft] < p[draft];
  const residual = (p, q) => {
    const rest = p.map((share, i) => Math.max(0, share - q[i]));
    return rest.some((share) => share > 0) ? rest : p;
  };

  class Writer {
    // `uniform` gives the random numbers, `drafts` says whether the module guesses.
    constructor(model, { temperature = 1, uniform = Math.random, drafts = true } = {}) {
      Object.assign(this, { model, temperature, uniform });
      this.drafts = drafts && model.mtp.length > 0;
      this.caches = model.newCaches();
      this.mtpCache = model.mtp[0]?.block.attn.newCache();
      this.ids = [];
      this.frames = []; // one for each token that the model has read
      this.prompt = 0;
    }

    get tokens() {
      return this.ids.slice(this.prompt);
    }

    get text() {
      return R1.decode(this.tokens);
    }

    get ended() {
      return this.tokens.length > 0 && this.ids.at(-1) === R1.IDS.get(R1.EOS);
    }

    // Read one token: logits and probabilities of the next, experts, and the state.
    read(token) {
      const experts = [];
      const hidden = this.model.encode(token, this.caches, experts);
      const logits = this.model.head(hidden);
      const p = R1.softmax(logits, this.temperature);
      return { experts, hidden, logits, p };
    }

    // Take a text as the prompt, from what the caches hold of it already.
    begin(ids) {
      let same = 0;
      while (same < ids.length && same < this.frames.length && this.ids[same] === ids[same])
        same += 1;
      this.rollback(same);
      this.ids = [...ids];
      this.prompt = ids.length;
      while (this.frames.length < ids.length)
        this.frames.push(this.read(ids[this.frames.length]));
      for (const frame of this.frames) {
        for (const mark of ["draft", "free", "forced"]) delete frame[mark];
        frame.p = R1.softmax(frame.logits, this.temperature);
      }
    }

    // Forget what was read behind the first `length` tokens.
    rollback(length) {
      for (const cache of this.caches) cache.rollback(length);
      this.mtpCache?.rollback(Math.max(0, length - 1));
      this.frames.length = Math.min(this.frames.length, length);
    }

    // Put a token of the reader's choice behind the first `length`.
    force(length, token) {
      this.rollback(length);
      this.ids.length = length;
      this.ids.push(token);
      delete this.frames.at(-1).draft;
      this.frames.at(-1).forced = true;
    }

    guess() {
      const [module] = this.model.mtp;
      let hidden = null;
      for (let at = this.mtpCache.length; at < this.frames.length; at++) {
        const embedded = this.model.embed(this.ids[at + 1]);
        hidden = module.forward(this.frames[at].hidden, embedded, this.mtpCache);
      }
      const q = R1.softmax(this.model.head(hidden), this.temperature);
      return { token: draw(q, this.uniform()), q };
    }

    // One pass of the model: one new token, or two where a draft is kept. `room` is how
    // many tokens may still come.
    pass(room = Infinity) {
      const before = this.ids.length;
      if (this.frames.length === before) {
        // The pass that has read the prompt says the first token.
        this.ids.push(draw(this.frames.at(-1).p, this.uniform()));
        return this.ids.slice(before);
      }
      const draft = this.drafts && room > 1 ? this.guess() : null;
      let frame = this.read(this.ids.at(-1));
      this.frames.push(frame);
      let weights = frame.p;
      if (draft) {
        // Both tokens are read before the first is judged, as one pass on a machine
        // with many cores reads them at once.
        const next = this.read(draft.token);
        draft.u = this.uniform();
        draft.kept = isKept(draft.token, draft.q, frame.p, draft.u);
        frame.draft = draft;
        if (draft.kept) {
          this.ids.push(draft.token);
          this.frames.push(next);
          next.free = true; // read in the same pass
          weights = next.p;
        } else {
          for (const cache of this.caches) cache.rollback(this.frames.length);
          weights = residual(frame.p, draft.q);
        }
      }
      const token = draw(weights, this.uniform());
      if (!this.ended) this.ids.push(token);
      return this.ids.slice(before);
    }

    // Pass after pass until the text ends or has `most` new tokens; says how many passes.
    write(most) {
      let passes = 0;
      while (!this.ended && this.tokens.length < most) {
        this.pass(most - this.tokens.length);
        passes += 1;
      }
      return passes;
    }
  }

  Object.assign(R1, { uniforms, Writer });
}
