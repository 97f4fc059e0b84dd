// The JupyterHub button. A site whose _config.yml names a hub links straight to
// it. This site names none (hub.example.edu is a placeholder), so the button
// asks for the address of the reader's own hub and remembers it in this browser.
document.addEventListener("DOMContentLoaded", () => {
  const placeholder = "https://hub.example.edu";
  for (const link of document.querySelectorAll(`a[href^="${placeholder}/"]`)) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const answer = window.prompt(
        "Address of your JupyterHub (it needs nbgitpuller):",
        localStorage.getItem("jupyterhub") ?? "https://",
      );
      if (!answer || !URL.canParse(answer)) return;
      const hub = answer.replace(/\/+$/, "");
      localStorage.setItem("jupyterhub", hub);
      window.open(link.href.replace(placeholder, hub), "_blank", "noopener");
    });
  }
});
