// The pieces that every block is made of, as in r1/model/layers.py. Vectors and
// matrices are Float32Arrays, a matrix row by row; sums are made in double precision.
{
  // out = W x, for a matrix of `rows` rows that begins at `start` in w.
  const multiply = (w, x, out, rows = out.length, start = 0) => {
    const columns = x.length;
    const whole = columns - (columns % 4);
    for (let row = 0, at = start; row < rows; row++, at += columns) {
      let [a, b, c, d] = [0, 0, 0, 0]; // four sums that wait for nothing
      for (let i = 0; i < whole; i += 4) {
        a += w[at + i] * x[i];
        b += w[at + i + 1] * x[i + 1];
        c += w[at + i + 2] * x[i + 2];
        d += w[at + i + 3] * x[i + 3];
      }
      for (let i = whole; i < columns; i++) a += w[at + i] * x[i];
      out[row] = a + b + (c + d);
    }
    return out;
  };

  // y = w x / sqrt(mean(x^2) + eps); `length` numbers from the beginning of x.
  const rmsNorm = (x, w, eps, length = x.length) => {
    let sum = 0;
    for (let i = 0; i < length; i++) sum += x[i] * x[i];
    const scale = 1 / Math.sqrt(sum / length + eps);
    const out = new Float32Array(length);
    for (let i = 0; i < length; i++) out[i] = w[i] * x[i] * scale;
    return out;
  };

  const sigmoid = (x) => 1 / (1 + Math.exp(-x));

  // W2 (silu(W1 x) * W3 x), times `gate`, is added to out. `expert` says which of
  // several matrices, which stand one behind the other.
  const addSwiGLU = (w1, w2, w3, x, out, hidden, gate = 1, expert = 0) => {
    const start = expert * hidden * x.length;
    const inner = multiply(w1, x, new Float32Array(hidden), hidden, start);
    const open = multiply(w3, x, new Float32Array(hidden), hidden, start);
    for (let i = 0; i < hidden; i++) inner[i] = inner[i] * sigmoid(inner[i]) * open[i];
    const made = multiply(w2, inner, new Float32Array(out.length), out.length, start);
    for (let i = 0; i < out.length; i++) out[i] += gate * made[i];
  };

  // Turn pairs of neighbors by the angle of their position: features `start` to
  // `start` + `width`, pair i by position * theta^(-2i / width).
  const turn = (x, position, width, theta, start = 0) => {
    for (let i = 0; i < width; i += 2) {
      const angle = position * theta ** (-i / width);
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      const [real, imaginary] = [x[start + i], x[start + i + 1]];
      x[start + i] = real * cos - imaginary * sin;
      x[start + i + 1] = real * sin + imaginary * cos;
    }
  };

  // Probabilities of scores / temperature; at 0 all of it is on the largest score.
  const softmax = (scores, temperature = 1) => {
    const out = new Float32Array(scores.length);
    let most = 0;
    for (let i = 1; i < scores.length; i++) if (scores[i] > scores[most]) most = i;
    if (temperature === 0) {
      out[most] = 1;
      return out;
    }
    let sum = 0;
    for (let i = 0; i < scores.length; i++)
      sum += out[i] = Math.exp((scores[i] - scores[most]) / temperature);
    for (let i = 0; i < scores.length; i++) out[i] /= sum;
    return out;
  };

  Object.assign(R1, { multiply, rmsNorm, sigmoid, addSwiGLU, turn, softmax });
}
