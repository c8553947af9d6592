// The map of widget.py: marks to click or to walk through with the keys, and one that
// moves. Everything drawn comes from Python; only `selected` goes back.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 520;
const HEIGHT = 400;
const MARGIN = 30;
const REACH = 16; // a click this near to a mark counts as on it

// One outline for each cluster, so that colour is not the only difference; about 5 px in radius.
const SHAPES = [
  "M-4.6,0a4.6,4.6 0 1,0 9.2,0a4.6,4.6 0 1,0 -9.2,0Z",
  "M-4,-4H4V4H-4Z",
  "M0,-5.4L5.2,4H-5.2Z",
  "M0,-5.8L5.8,0L0,5.8L-5.8,0Z",
  "M0,5.4L5.2,-4H-5.2Z",
  "M-1.8,-5.4H1.8V-1.8H5.4V1.8H1.8V5.4H-1.8V1.8H-5.4V-1.8H-1.8Z",
];
const STAR = "M0,-11L2.9,-3.4L11,-3.4L4.5,1.6L6.8,9.4L0,4.7L-6.8,9.4L-4.5,1.6L-11,-3.4L-2.9,-3.4Z";

function make(parent, tag, attributes = {}, text = "") {
  const space = parent.namespaceURI === SVG || tag === "svg" ? SVG : "http://www.w3.org/1999/xhtml";
  const element = document.createElementNS(space, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text) element.textContent = text;
  parent.appendChild(element);
  return element;
}

/** From the map's units to the drawing's: both axes alike, all that is drawn inside. */
function fitted(places) {
  const xs = places.map((p) => p[0]);
  const ys = places.map((p) => p[1]);
  const [left, right, low, high] = [
    Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys),
  ];
  const unit = Math.min(
    (WIDTH - 2 * MARGIN) / Math.max(right - left, 1e-9),
    (HEIGHT - 2 * MARGIN) / Math.max(high - low, 1e-9),
  );
  return ([x, y]) => [
    WIDTH / 2 + (x - (left + right) / 2) * unit,
    HEIGHT / 2 - (y - (low + high) / 2) * unit,
  ];
}

function render({ model, el }) {
  const id = `dasr-map-${Math.random().toString(36).slice(2)}`;
  // Arrow keys belong to the map while it has the focus, not to the notebook's cells.
  const root = make(el, "div", { class: "dasr-map", "data-lm-suppress-shortcuts": "true" });
  make(root, "div", { class: "dasr-map-title" }, model.get("title"));
  const svg = make(root, "svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, tabindex: "0", role: "listbox",
    "aria-label":
      `${model.get("title")}: map of known pictures and of yours. ` +
      "Left and right arrow: the same square under another width; up and down: another square.",
  });
  const axes = make(svg, "g", { class: "dasr-map-axes", "aria-hidden": "true" });
  const marks = make(svg, "g");
  const names = make(svg, "g", { class: "dasr-map-names", "aria-hidden": "true" });
  const trail = make(svg, "polyline", { class: "dasr-map-trail", "aria-hidden": "true" });
  const yours = make(svg, "g", { class: "dasr-map-yours", "aria-hidden": "true" });
  make(yours, "path", { d: STAR });
  make(yours, "text", { x: 13, y: 4 }, "your picture");
  const legend = make(root, "div", { class: "dasr-map-legend", "aria-hidden": "true" });
  const note = make(root, "div", { class: "dasr-map-note" });

  let place = ([x, y]) => [x, y];
  let bounds = "";

  function everything() {
    const points = model.get("points");
    const clusters = model.get("clusters");
    const texts = model.get("texts");
    for (const group of [axes, marks, names, legend]) group.replaceChildren();
    const [across, up] = model.get("axes");
    make(axes, "text", { x: WIDTH / 2, y: HEIGHT - 6, "text-anchor": "middle" }, across);
    make(axes, "text", {
      transform: `translate(12,${HEIGHT / 2}) rotate(-90)`, "text-anchor": "middle",
    }, up);
    points.forEach(([x, y, cluster], index) => {
      const mark = make(marks, "path", {
        id: `${id}-${index}`, role: "option", class: "dasr-map-mark", "data-index": index,
        d: SHAPES[cluster % SHAPES.length], fill: clusters[cluster].colour,
        transform: `translate(${place([x, y])})`, "aria-label": texts[index],
        "aria-selected": "false",
      });
      make(mark, "title", {}, texts[index]);
    });
    clusters.forEach(({ name, colour }, cluster) => {
      const own = points.filter((p) => p[2] === cluster);
      const middle = [0, 1].map((axis) => own.map((p) => p[axis]).sort((a, b) => a - b)[own.length >> 1]);
      const [x, y] = place(middle);
      make(names, "text", { x, y: y + 4, "text-anchor": "middle" }, name);
      const item = make(legend, "span");
      const picture = make(item, "svg", { viewBox: "-8 -8 16 16", width: 16, height: 16 });
      make(picture, "path", { class: "dasr-map-mark", d: SHAPES[cluster % SHAPES.length], fill: colour });
      make(item, "span", {}, name);
    });
    note.textContent = model.get("note");
    chosen();
  }

  function moved() {
    const points = model.get("points");
    const moving = model.get("moving");
    const past = model.get("trail");
    const seen = [...points, ...past, moving];
    // The marks stay where they are until a point leaves the picture.
    const now = JSON.stringify([0, 1].flatMap((axis) => {
      const values = seen.map((p) => p[axis]);
      return [Math.min(...values), Math.max(...values)];
    }));
    if (now !== bounds) {
      bounds = now;
      place = fitted(seen);
      everything();
    }
    const [x, y] = place(moving);
    yours.setAttribute("transform", `translate(${x},${y})`);
    yours.lastChild.setAttribute("x", x > WIDTH - 110 ? -13 : 13);
    yours.lastChild.setAttribute("text-anchor", x > WIDTH - 110 ? "end" : "start");
    trail.setAttribute("points", [...past, moving].map((p) => place(p).join(",")).join(" "));
  }

  function chosen() {
    const selected = model.get("selected");
    for (const mark of marks.children) {
      const here = Number(mark.dataset.index) === selected;
      mark.setAttribute("aria-selected", here);
      mark.classList.toggle("dasr-map-chosen", here);
    }
    if (selected < 0) svg.removeAttribute("aria-activedescendant");
    else svg.setAttribute("aria-activedescendant", `${id}-${selected}`);
  }

  function choose(index) {
    model.set("selected", index);
    model.save_changes();
  }

  svg.addEventListener("click", (event) => {
    const matrix = svg.getScreenCTM();
    if (!matrix) return;
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    const away = model.get("points").map((p) => {
      const [x, y] = place(p);
      return Math.hypot(x - at.x, y - at.y);
    });
    const nearest = away.indexOf(Math.min(...away));
    if (away[nearest] <= REACH) choose(nearest);
  });

  svg.addEventListener("keydown", (event) => {
    const last = model.get("points").length - 1;
    const selected = model.get("selected");
    const square = model.get("clusters").length; // points, one for each width
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: square, ArrowUp: -square }[event.key];
    let next = selected;
    if (step) next = selected < 0 ? 0 : selected + step;
    else if (event.key === "Home") next = 0;
    else if (event.key === "End") next = last;
    else return;
    event.preventDefault();
    event.stopPropagation();
    if (next >= 0 && next <= last) choose(next);
  });

  // A new layout comes as several traits at once: drawn when all of them are here.
  let redraw = 0;
  function soon() {
    cancelAnimationFrame(redraw);
    redraw = requestAnimationFrame(() => { bounds = ""; moved(); });
  }
  const listeners = [
    ["change:points", soon], ["change:note", soon], ["change:moving", moved],
    ["change:trail", moved], ["change:selected", chosen],
  ];
  for (const [event, listener] of listeners) model.on(event, listener);
  moved();
  return () => {
    cancelAnimationFrame(redraw);
    for (const [event, listener] of listeners) model.off(event, listener);
  };
}

export default { render };
