// The picture of a model that learns to think: it plays once when it is seen, and a
// button holds it, goes on, and plays it again. What moves is in landing.css; without
// this script, on paper and where motion is not wanted the picture is whole at once.
{
  const figure = document.getElementById("learn");
  const button = document.createElement("button");
  let moving = [];

  const say = (state, words) => {
    figure.dataset.state = state;
    button.textContent = words;
  };

  const play = async () => {
    figure.classList.remove("is-playing");
    void figure.offsetWidth; // so that everything begins anew
    figure.classList.add("is-playing");
    moving = figure.getAnimations({ subtree: true });
    say("playing", "Pause");
    const mine = moving;
    await Promise.allSettled(mine.map((animation) => animation.finished));
    if (mine === moving) say("done", "Play again");
  };

  const press = () => {
    if (figure.dataset.state === "playing") {
      for (const animation of moving) animation.pause();
      say("paused", "Go on");
    } else if (figure.dataset.state === "paused") {
      for (const animation of moving) animation.play();
      say("playing", "Pause");
    } else play();
  };

  if (figure) {
    button.type = "button";
    button.addEventListener("click", press);
    say("done", "Play");
    figure.querySelector(".learn-asked").append(button);
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
      const seen = new IntersectionObserver(
        (entries) => {
          if (!entries.some((entry) => entry.isIntersecting)) return;
          seen.disconnect();
          if (figure.dataset.state === "done") play();
        },
        { threshold: 0.3 },
      );
      seen.observe(figure);
    }
  }
}
