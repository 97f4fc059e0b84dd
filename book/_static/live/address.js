// What a figure shows, in the address of the page: ?live-full=model:zero50,seed:3#live-full
// so that a reader can send it.
globalThis.R1 ??= {};
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
  // How a figure begins: what the address says where that can be, else what the page says.
  const beginning = ({ id, dataset }, models, search = location.search) => {
    const sent = new URLSearchParams(search).get(id);
    const parts = (sent ?? "").split(",").map((part) => part.split(":"));
    const asked = parts.filter(
      ([name, value]) => Object.hasOwn(KEPT, name) && value && KEPT[name](value, models),
    );
    if (!asked.length) return { ...dataset };
    const { model, problem, temperature, seed } = dataset;
    return { model, problem, temperature, seed, ...Object.fromEntries(asked) };
  };
  const linkTo = (id, state) => {
    const url = new URL(location.href);
    const said = Object.keys(KEPT).filter((name) => state[name] !== undefined);
    url.searchParams.set(id, said.map((name) => `${name}:${state[name]}`).join(","));
    url.hash = id;
    return url.href;
  };
  // A moment later, because a browser takes only so many changes a minute.
  let pending = null;
  const tell = (id, state) => {
    clearTimeout(pending);
    pending = setTimeout(() => {
      try {
        history.replaceState(null, "", linkTo(id, state));
      } catch {
        // a page from a disk keeps its address
      }
    }, 300);
  };

  Object.assign(R1, { beginning, linkTo, tell });
}
