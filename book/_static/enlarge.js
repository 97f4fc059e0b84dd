// A figure fills the screen after a tap on it, or Enter on the button below it; Escape,
// a tap beside it or the button "Close" lead back to where the reader was.
document.addEventListener("DOMContentLoaded", () => {
  let dialog;
  const build = () => {
    dialog = document.createElement("dialog");
    dialog.className = "enlarged";
    dialog.innerHTML = '<button type="button" autofocus>Close</button><div tabindex="0" role="group" aria-label="The figure; arrow keys move it"></div>';
    dialog.querySelector("button").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    document.body.append(dialog);
  };
  const open = (picture, title) => {
    if (!dialog) build();
    dialog.setAttribute("aria-label", title);
    const copy = picture.cloneNode(true);
    copy.removeAttribute("id");
    copy.removeAttribute("loading");
    dialog.querySelector("div").replaceChildren(copy);
    dialog.showModal();
  };
  for (const picture of document.querySelectorAll(".bd-article figure .figure-box > img")) {
    const caption = picture.closest("figure").querySelector("figcaption p");
    if (!caption) continue;
    const title = caption.querySelector(".caption-number")?.textContent.trim() ?? "the figure";
    const button = document.createElement("button");
    button.type = "button";
    button.className = "enlarge";
    button.textContent = "Enlarge";
    button.setAttribute("aria-label", `Enlarge ${title}`);
    button.addEventListener("click", () => open(picture, title));
    picture.addEventListener("click", () => {
      button.focus({ preventScroll: true });
      open(picture, title);
    });
    const link = caption.querySelector(".headerlink"); // it appears behind the button
    link ? link.before(" ", button) : caption.append(" ", button);
  }
});
