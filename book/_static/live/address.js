// How a figure begins. Its state stands in the address of the page, so that a reader can
// send it, as figures/address.js has it: ?live-full=model:zero50,seed:3#live-full
{
  // What is kept, and which values it may have.
  const whole = (text) => /^\d{1,9}$/.test(text);
  const KEPT = {
    model: (text, models) => Object.hasOwn(models, text),
    problem: (text) => {
      try {
        return Boolean(R1.readProblem(text));
      } catch {
        return false;
      }
    },
    temperature: (text) => Number(text) >= 0 && Number(text) <= 2,
    seed: whole,
    at: whole,
    group: (text) => text === "1",
  };
  // What was sent, where that can be, else what the page says.
  const beginning = (page, sent, models) => {
    const asked = Object.entries(sent).filter(
      ([name, value]) => Object.hasOwn(KEPT, name) && value && KEPT[name](value, models),
    );
    if (!asked.length) return { ...page };
    const { model, problem, temperature, seed } = page;
    return { model, problem, temperature, seed, ...Object.fromEntries(asked) };
  };

  Object.assign(R1, { beginning });
}
