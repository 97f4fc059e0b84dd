// The whole model, one token at a time, as r1/model/transformer.py and mtp.py have it.
{
  class Block {
    constructor(config, weight, layer) {
      const inside = (part) => (name) => weight(`${part}.${name}`);
      this.eps = config.rms_norm_eps;
      this.attn_norm = weight("attn_norm.weight");
      this.ffn_norm = weight("ffn_norm.weight");
      this.attn = new R1.LatentAttention(config, inside("attn"));
      const Kind = layer < config.n_dense_layers ? R1.Dense : R1.MoE;
      this.ffn = new Kind(config, inside("ffn"));
    }

    // u = x + Attn(norm(x)), y = u + FFN(norm(u)); x is written over.
    forward(x, cache, trace) {
      const attended = this.attn.forward(
        R1.rmsNorm(x, this.attn_norm, this.eps),
        cache,
      );
      for (let i = 0; i < x.length; i++) x[i] += attended[i];
      const made = this.ffn.forward(R1.rmsNorm(x, this.ffn_norm, this.eps), trace);
      for (let i = 0; i < x.length; i++) x[i] += made[i];
      return x;
    }
  }

  // From what the model knows after a token, and the next token, to the one beyond.
  class MTPModule {
    constructor(config, weight) {
      this.config = config;
      for (const name of ["enorm", "hnorm", "eh_proj", "norm"])
        this[name] = weight(`${name}.weight`);
      const inside = (name) => weight(`block.${name}`);
      this.block = new Block(config, inside, config.n_layers - 1);
    }

    forward(hidden, embedded, cache, trace = []) {
      const { dim, rms_norm_eps: eps } = this.config;
      const both = new Float32Array(2 * dim);
      both.set(R1.rmsNorm(embedded, this.enorm, eps));
      both.set(R1.rmsNorm(hidden, this.hnorm, eps), dim);
      const x = R1.multiply(this.eh_proj, both, new Float32Array(dim));
      return R1.rmsNorm(this.block.forward(x, cache, trace), this.norm, eps);
    }
  }

  // What a configuration must say for this form of the model to be the right one.
  const MEANT = { n_expert_groups: 1, score_func: "sigmoid", topk_method: "noaux_tc" };
  Object.assign(MEANT, { rope_factor: 1, tie_word_embeddings: false });

  class Model {
    constructor(config, tensors) {
      for (const [name, value] of Object.entries(MEANT))
        if (config[name] !== value)
          throw new Error(`${name} is ${config[name]}; this form of the model has ${value}`);
      const inside = (part) => (name) => {
        const tensor = tensors[`${part}.${name}`];
        if (!tensor) throw new Error(`the weights lack ${part}.${name}`);
        return tensor;
      };
      this.config = config;
      this.embedding = tensors["embed.weight"];
      this.norm = tensors["norm.weight"];
      this.output = tensors["head.weight"];
      const layers = [...Array(config.n_layers).keys()];
      this.layers = layers.map((i) => new Block(config, inside(`layers.${i}`), i));
      const modules = [...Array(config.num_nextn_predict_layers).keys()];
      this.mtp = modules.map((i) => new MTPModule(config, inside(`mtp.${i}`)));
    }

    newCaches() {
      return this.layers.map((block) => block.attn.newCache());
    }

    embed(token) {
      const { dim } = this.config;
      return this.embedding.slice(token * dim, (token + 1) * dim);
    }

    // What the layers make of the next token, after the last norm: h^0 of MTP.
    encode(token, caches, trace = []) {
      const x = this.embed(token);
      this.layers.forEach((block, i) => block.forward(x, caches[i], trace));
      return R1.rmsNorm(x, this.norm, this.config.rms_norm_eps);
    }

    head(hidden) {
      return R1.multiply(this.output, hidden, new Float32Array(this.config.vocab_size));
    }
  }

  Object.assign(R1, { Model });
}
