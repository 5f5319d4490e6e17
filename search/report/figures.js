// Draws the figures, in the colours that the style sheet has at this moment.
(() => {
  const PRINTED = 680; // pixels of a printed page's width
  const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
  const figures = [...document.querySelectorAll("figure")].map((figure) => ({
    place: figure.querySelector(".drawing"),
    choice: figure.querySelector("select"),
    drawings: JSON.parse(figure.querySelector("script").textContent),
  }));

  // A copy with each `var(--name)` replaced by what it stands for.
  function coloured(value, style) {
    if (typeof value === "string") {
      const name = /^var\((--[\w-]+)\)$/.exec(value);
      return name ? style.getPropertyValue(name[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((item) => coloured(item, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item, style)]));
    }
    return value;
  }

  function draw({ place, choice, drawings }, width) {
    const style = getComputedStyle(document.documentElement);
    const { data, layout } = coloured(drawings[choice ? Number(choice.value) : 0], style);
    const wide = width || place.clientWidth;
    // Names below one another at the side take too much of a narrow page.
    if (wide < 800) layout.legend = { ...layout.legend, orientation: "h", y: -0.12 };
    return Plotly.react(place, data, width ? { ...layout, width } : layout, options);
  }

  const all = (width) => Promise.all(figures.map((figure) => draw(figure, width)));

  figures.forEach((figure) => figure.choice?.addEventListener("change", () => draw(figure)));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => all());
  function print(begins) {
    document.documentElement.toggleAttribute("data-print", begins);
    all(begins ? PRINTED : undefined);
  }
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  all().then(() => { document.documentElement.dataset.drawn = ""; });
})();
