"""What axe finds on a page, with no second look at what it has seen already."""

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

# axe keeps the parts of every color that it meets in WeakMaps, and they take a third of
# its time. Properties with names that nobody else knows do the same.
PLAIN_MAPS = """
class WeakMap {
  name = Symbol();
  get(key) { return key[this.name]; }
  has(key) { return this.name in key; }
  set(key, value) { key[this.name] = value; return this; }
  add(key) { return this.set(key, true); }
}
const WeakSet = WeakMap;
"""
# Four fifths of its time are one rule that compares the colors of each word with what
# is behind it. Thousands of words look the same, so it looks at a few of each kind.
OF_COLORS = ["color-contrast", "link-in-text-block"]  # axe's rules that read colors
FEW = """
axe.configure({ noHtml: true, rules: [
  { id: "color-contrast", selector: "[data-of-a-kind]" },
  { id: "link-in-text-block", selector: "a[href][data-of-a-kind]" },
] });
"""
MOST = 3
MARK = """(most) => {
  const counts = new Map(), numbers = new Map(), places = new Map();
  const numbered = (text) => {
    if (!numbers.has(text)) numbers.set(text, numbers.size);
    return numbers.get(text);
  };
  // What an element and all above it paint behind its text, or do to it.
  const behind = (element) => {
    if (!element) return -1;
    if (!places.has(element)) {
      const s = getComputedStyle(element), above = behind(element.parentElement);
      const own = [s.backgroundColor, s.backgroundImage, s.opacity, s.position, s.clip,
        s.clipPath, s.filter, s.mixBlendMode, s.overflow].join();
      const plain = "rgba(0, 0, 0, 0),none,1,static,auto,none,none,normal,visible";
      places.set(element, own === plain ? above : numbered(`${above} ${own}`));
    }
    return places.get(element);
  };
  const look = (element) => {
    const s = getComputedStyle(element);
    return [s.color, s.fontSize, s.fontWeight, s.textShadow, s.textDecoration,
      s.display];
  };
  const written = (e) => e.matches("input, select, textarea, button") ||
    [...e.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  for (const element of document.body.querySelectorAll("*")) {
    element.removeAttribute("data-of-a-kind");
    if (!written(element) || !element.checkVisibility({ visibilityProperty: true }))
      continue;
    const parts = [element.matches("a[href]"), behind(element), look(element)];
    const kind = [...parts, look(element.parentElement)].join(";");
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
    if (counts.get(kind) <= most) element.setAttribute("data-of-a-kind", "");
  }
}"""
# What is behind a word has a box that meets the word's. To find it, axe sorts the boxes
# of all elements, so those that meet none of the words in question are kept from it.
# What stands in a line with a link stays, as it tells whether that is in a sentence.
ONLY_NEAR = """async (look) => {
  const sides = ({ left, right, top, bottom }) => [left, right, top, bottom];
  const words = [...document.querySelectorAll("[data-of-a-kind]")];
  const boxes = words.flatMap((word) => {
    const range = document.createRange();
    range.selectNodeContents(word);
    return [word.getBoundingClientRect(), ...range.getClientRects()].map(sides);
  });
  const near = new Set([document.body]), all = document.body.querySelectorAll("*");
  const keep = (e) => {
    for (; e && !near.has(e); e = e.parentElement) near.add(e);
  };
  words.forEach(keep);
  for (const e of all) {
    const [left, right, top, bottom] = sides(e.getBoundingClientRect());
    const meets = (b) => left <= b[1] && b[0] <= right && top <= b[3] && b[2] <= bottom;
    if (!near.has(e) && boxes.some(meets)) keep(e);
  }
  const inline = (e) => getComputedStyle(e).display.startsWith("inline");
  for (let block of words.filter((word) => word.matches("a[href]"))) {
    while (block !== document.body && inline(block)) block = block.parentElement;
    for (const e of block.querySelectorAll("*"))
      if (near.has(e.parentElement) && inline(e)) near.add(e);
  }
  const changed = [...near].filter((e) => [...e.children].some((c) => !near.has(c)));
  for (const e of changed)
    Object.defineProperty(e, "childNodes", {
      value: [...e.childNodes].filter((n) => n.nodeType !== 1 || near.has(n)),
      configurable: true,
    });
  document.createTreeWalker = (root, what) => Document.prototype.createTreeWalker.call(
    document, root, what, (e) => near.has(e)
      ? NodeFilter.FILTER_ACCEPT : NodeFilter.FILTER_REJECT);
  try {
    return await look();
  } finally {
    delete document.createTreeWalker;
    for (const e of changed) delete e.childNodes;
  }
}"""
LOOK = f"""async ([colors, alone]) => {{
  // Without preload, or axe asks for style sheets in places where none are.
  const look = async (options) => (await axe.run({{
    preload: false, resultTypes: ["violations"], ...options, // the others are slow
  }})).violations;
  const only = {{ runOnly: {{ type: "rule", values: colors }} }};
  const not = Object.fromEntries(colors.map((rule) => [rule, {{ enabled: false }}]));
  const found = alone ? [] : await look({{ rules: not }});
  ({MARK})({MOST});
  found.push(...(await ({ONLY_NEAR})(() => look(only))));
  return found.map(({{ id, nodes }}) => {{
    const first = document.querySelector(nodes[0].target.at(-1));
    return `${{id}}: ${{first.outerHTML.slice(0, 200)}}`;
  }});
}}"""
AXE = f"{{ {PLAIN_MAPS} {AXE_SCRIPT} {FEW} }}"


def barriers(page: Page, *, colors_alone: bool = False) -> list[str]:
    """What axe finds on a page, each with the first place where it is.

    With `colors_alone` by the rules that read colors, and no others.
    """
    if page.evaluate("!window.axe"):
        page.evaluate(AXE)
    return page.evaluate(LOOK, [OF_COLORS, colors_alone])
