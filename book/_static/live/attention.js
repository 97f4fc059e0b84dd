// Latent attention in its absorbed form, for one token after a cache: _absorbed of
// r1/model/attention.py. The cache holds the latent and the rotary key, nothing else.
{
  // What one layer remembers: a row of `width` numbers for each token.
  class Cache {
    constructor(width, capacity) {
      this.width = width;
      this.rows = new Float32Array(width * capacity);
      this.length = 0;
    }

    append(row) {
      const at = this.length * this.width;
      if (at === this.rows.length)
        throw new RangeError(
          `the cache holds ${this.length} tokens, and one more is needed`,
        );
      this.rows.set(row, at);
      this.length += 1;
    }

    // Forget the tokens behind the first `length`: the next ones are written over them.
    rollback(length) {
      this.length = Math.min(this.length, length);
    }
  }

  class LatentAttention {
    constructor(config, weight) {
      this.config = config;
      this.eps = config.latent_norm_eps;
      const names = ["wq_a", "q_norm", "wq_b", "wkv_a", "kv_norm", "wkv_b", "wo"];
      for (const name of names) this[name] = weight(`${name}.weight`);
    }

    newCache() {
      const c = this.config;
      return new Cache(c.kv_lora_rank + c.qk_rope_head_dim, c.max_seq_len);
    }

    // Put x into the cache and mix what it holds: out = W_O [o_1; ...; o_heads].
    forward(x, cache) {
      const c = this.config;
      const latent = c.kv_lora_rank;
      const [nope, rope, values] = [
        c.qk_nope_head_dim,
        c.qk_rope_head_dim,
        c.v_head_dim,
      ];
      const position = cache.length;
      const past = R1.multiply(this.wkv_a, x, new Float32Array(latent + rope));
      R1.turn(past, position, rope, c.rope_theta, latent);
      past.set(R1.rmsNorm(past, this.kv_norm, this.eps, latent));
      cache.append(past);

      const short = R1.multiply(this.wq_a, x, new Float32Array(c.q_lora_rank));
      const normed = R1.rmsNorm(short, this.q_norm, this.eps);
      const q = R1.multiply(
        this.wq_b,
        normed,
        new Float32Array(c.n_heads * (nope + rope)),
      );
      const scale = 1 / Math.sqrt(nope + rope);
      const mixtures = new Float32Array(c.n_heads * values);
      for (let head = 0; head < c.n_heads; head++) {
        const first = head * (nope + rope);
        R1.turn(q, position, rope, c.rope_theta, first + nope);
        // Rows of W_UK, then of W_UV. q^T (W_UK c) = (W_UK^T q)^T c: the query moves
        // into the space of the latents, and no key is ever formed.
        const up = head * (nope + values) * latent;
        const query = new Float32Array(latent + rope);
        for (let n = 0; n < nope; n++)
          for (let i = 0; i < latent; i++)
            query[i] += q[first + n] * this.wkv_b[up + n * latent + i];
        query.set(q.subarray(first + nope, first + nope + rope), latent);

        const scores = R1.multiply(cache.rows, query, new Float32Array(cache.length));
        const shares = R1.softmax(scores, 1 / scale);
        // sum_t p_t (W_UV c_t) = W_UV (sum_t p_t c_t): one mixture, no values.
        const mixed = new Float32Array(latent);
        for (let t = 0; t < cache.length; t++)
          for (let i = 0; i < latent; i++)
            mixed[i] += shares[t] * cache.rows[t * cache.width + i];
        const out = mixtures.subarray(head * values, (head + 1) * values);
        R1.multiply(this.wkv_b, mixed, out, values, up + nope * latent);
      }
      return R1.multiply(this.wo, mixtures, new Float32Array(c.dim));
    }
  }

  Object.assign(R1, { LatentAttention });
}
