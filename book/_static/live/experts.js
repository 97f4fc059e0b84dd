// A mixture of experts for one token, as in r1/model/moe.py: sigmoid scores, a bias that
// chooses and does not weigh, the chosen experts, and a shared one.
{
  // The k experts with the largest score + bias, and weights from the scores alone.
  const route = (scores, bias, k, normalize = true, scale = 1) => {
    const order = [...scores.keys()];
    order.sort((a, b) => scores[b] + bias[b] - scores[a] - bias[a] || a - b);
    const chosen = order.slice(0, k);
    const sum = chosen.reduce((total, expert) => total + scores[expert], 1e-20);
    const weights = chosen.map(
      (expert) => (scale * scores[expert]) / (normalize ? sum : 1),
    );
    return { chosen, weights };
  };

  class MoE {
    constructor(config, weight) {
      this.config = config;
      this.gate = weight("gate.weight");
      this.bias = weight("gate.bias");
      for (const name of ["w1", "w2", "w3"]) {
        this[name] = weight(`experts.${name}`);
        this[`shared_${name}`] = weight(`shared_experts.${name}.weight`);
      }
    }

    // Returns what the experts make of x; `trace` gets scores, choice and weights.
    forward(x, trace) {
      const c = this.config;
      const logits = new Float32Array(c.n_routed_experts);
      const scores = R1.multiply(this.gate, x, logits).map(R1.sigmoid);
      const { n_activated_experts: k, norm_topk_prob: normalize } = c;
      const { chosen, weights } = route(
        scores,
        this.bias,
        k,
        normalize,
        c.route_scale,
      );
      trace.push({ scores, chosen, weights });
      const out = new Float32Array(c.dim);
      chosen.forEach((expert, slot) => {
        const { w1, w2, w3 } = this;
        R1.addSwiGLU(w1, w2, w3, x, out, c.moe_inter_dim, weights[slot], expert);
      });
      const { shared_w1, shared_w2, shared_w3 } = this;
      const shared = c.n_shared_experts * c.moe_inter_dim;
      R1.addSwiGLU(shared_w1, shared_w2, shared_w3, x, out, shared);
      return out;
    }
  }

  class Dense {
    constructor(config, weight) {
      this.config = config;
      for (const name of ["w1", "w2", "w3"]) this[name] = weight(`${name}.weight`);
    }

    forward(x) {
      const out = new Float32Array(this.config.dim);
      R1.addSwiGLU(this.w1, this.w2, this.w3, x, out, this.config.inter_dim);
      return out;
    }
  }

  Object.assign(R1, { MoE, Dense });
}
