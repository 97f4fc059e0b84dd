// The figure of chapter 10 in which a reader moves the factors of a bill. The
// formulas are those of training_flops in r1/accounting.py and of TrainingBill and
// ServiceDay in r1/bill.py; a browser test compares the two.
document.addEventListener("DOMContentLoaded", () => {
  const figure = document.getElementById("bill-figure");
  if (!figure) return;
  // V3: parameters that multiply for a token, less its routed experts; one expert in
  // each of 58 layers; operations of causal attention for each token of a sequence.
  const BASE = 16190969344;
  const EXPERT = 58 * 44040192;
  const ATTENTION = 3 * 128 * (192 + 128) * 61;
  const PEAK = 989.4e12; // operations a second
  const OTHER = 124e3; // GPU hours of longer context and post-training
  const DAY = { hits: 342e9, misses: 266e9, written: 168e9, hours: 226.75 * 8 * 24 };
  const PRICES = {
    R1: [0.14, 0.55, 2.19],
    "R1 at night": [0.035, 0.135, 0.55],
    V3: [0.07, 0.27, 1.1],
    "V3 at night": [0.035, 0.135, 0.55],
    o1: [7.5, 15, 60],
  };
  const whole = (value) => Math.round(value).toLocaleString("en-US");
  const draw = () => {
    const set = {};
    for (const input of figure.querySelectorAll("input")) {
      // Sliders that move by powers of two hold the exponent.
      const value = Number(input.value);
      set[input.name] = input.dataset.power ? 2 ** value : value;
      const shown = set[input.name].toLocaleString("en-US");
      figure.querySelector(`output[for="${input.id}"]`).value = shown;
      input.setAttribute("aria-valuetext", shown);
    }
    const flops = 6 * (BASE + set.experts * EXPERT) + ATTENTION * set.length;
    const speed = (PEAK * set.share) / 100;
    const pretraining =
      1000 * Math.round((flops * set.tokens * 1e12) / speed / 3600 / 1000);
    const hours = pretraining + OTHER;
    const [hit, miss, written] = PRICES[figure.querySelector("select").value];
    const cost = DAY.hours * set.rent;
    const sold = DAY.hits * hit + DAY.misses * miss + DAY.written * written;
    const revenue = ((set.billed / 100) * sold) / 1e6;
    const show = (what, value, text) => {
      const cell = figure.querySelector(`[data-what="${what}"]`);
      cell.dataset.value = value;
      cell.textContent = text;
    };
    show("flops", flops, `${(flops / 1e9).toFixed(1)} GFLOP`);
    show("pretraining", pretraining, whole(pretraining));
    show("hours", hours, whole(hours));
    show("days", hours / 2048 / 24, (hours / 2048 / 24).toFixed(1));
    show("dollars", hours * set.rent, whole(hours * set.rent));
    show("energy", (hours * set.watts) / 1e6, whole((hours * set.watts) / 1e6));
    show("cost", cost, whole(cost));
    show("revenue", revenue, whole(revenue));
    const margin = revenue / cost - 1;
    show("margin", margin, `${whole(100 * margin)} %`);
  };
  figure.addEventListener("input", draw);
  draw();
});
