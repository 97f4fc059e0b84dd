// A model that thinks in the page: what stands in a figure of the class "live" until its
// reader asks for the model. The scripts in the folder live, and the weights, are loaded
// then.
{
  const folder = document.currentScript.src.replace(/live\.js.*$/, "live/");
  const SCRIPTS = ["layers", "attention", "experts", "model", "tokens", "weights"];
  SCRIPTS.push("writer", "../figures/address", "address", "parts", "view");
  let loading = null;

  const script = (address) =>
    new Promise((resolve, reject) => {
      const node = document.createElement("script");
      node.src = address;
      node.onload = resolve;
      node.onerror = () => {
        node.remove();
        reject(new Error(`${address.split("/").at(-1)} could not be loaded`));
      };
      document.head.append(node);
    });
  globalThis.R1 = { script }; // and what the scripts of the folder live put there
  const all = async () => {
    for (const name of SCRIPTS) await script(`${folder}${name}.js`);
  };
  const engine = () => (loading ??= all());

  for (const figure of document.querySelectorAll(".live")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "live-start";
    button.textContent = "Start the model";
    if (new URLSearchParams(location.search).has(figure.id))
      button.textContent += " as the link has it";
    const said = document.createElement("p");
    said.className = "live-said";
    said.setAttribute("role", "status");
    button.addEventListener("click", async () => {
      if (figure.dataset.state === "loading") return;
      if (!("DecompressionStream" in globalThis)) {
        said.textContent = "This browser cannot unpack the weights. A newer one can.";
        return;
      }
      figure.dataset.state = "loading";
      said.textContent = "Loading the model, about 2 MB.";
      try {
        await engine();
        await R1.show(figure, folder);
        figure.dataset.state = "live";
        const had = document.activeElement === button;
        button.remove();
        said.remove();
        if (had) figure.querySelector("input").focus({ preventScroll: true });
      } catch (error) {
        loading = R1.show ? loading : null;
        figure.dataset.state = "failed";
        said.textContent = `${error.message}. Try it once more.`;
      }
    });
    figure.querySelector(".live-still").before(button, said);
  }
}
