// The browser's half of divider/widget.py: two pictures of one part, on the two sides of a divider.
// It draws what it has at once, moved and scaled, and asks the kernel for a sharp picture of what is
// in view: no more pixels than the screen has.

const PART = 1 << 20; // bytes of an upload in one message
const CLOSEST = 16; // CSS pixels that an SR pixel can be magnified to
const MARGIN = 0.1; // of the view, asked for on each side, so that a small move shows nothing empty
const PATIENCE = 3000; // milliseconds for an answer, before it is asked for again

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function button(text, label) {
  return make("button", { type: "button", "aria-label": label, title: label }, text);
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// What stands around the picture.
function furniture() {
  const parts = {
    choice: make("select", { "aria-label": "picture" }),
    file: make("input", { type: "file", accept: "image/*", "aria-label": "your own picture" }),
    out: button("−", "zoom out"),
    into: button("+", "zoom in"),
    fit: button("fit", "the whole picture"),
    one: button("1:1", "one pixel of the picture for one of the screen"),
    zoom: make("output", { "aria-live": "polite", "aria-label": "zoom" }),
    save: button("save", "write the finished picture beside the notebook"),
    canvas: make("canvas", { role: "img", tabindex: "0" }),
    before: make("span", { class: "dasr-ba-badge dasr-ba-left", "aria-hidden": "true" }),
    after: make("span", { class: "dasr-ba-badge dasr-ba-right", "aria-hidden": "true" }),
    divider: make("div", {
      class: "dasr-ba-divider", role: "slider", tabindex: "0", "aria-orientation": "horizontal",
      "aria-label": "divider between bicubic and DASR", "aria-valuemin": "0", "aria-valuemax": "100",
    }, make("span", { "aria-hidden": "true" }, "◂ ▸")),
    bar: make("progress", { max: "1", "aria-label": "upscaling" }),
    stage: make("span", { class: "dasr-ba-stage-text" }),
    cancel: button("cancel", "cancel the upscaling"),
    again: button("start again", "start the upscaling again"),
    spoken: make("span", { class: "dasr-ba-unseen", role: "status" }),
  };
  const upload = make("label", { class: "dasr-ba-upload" }, "your own picture …", parts.file);
  const tools = make("div", { class: "dasr-ba-bar", role: "toolbar", "aria-label": "before and after" },
    make("label", {}, "picture ", parts.choice), upload,
    make("span", { class: "dasr-ba-group" }, parts.out, parts.into, parts.fit, parts.one, parts.zoom),
    parts.save);
  const view = make("div", { class: "dasr-ba-view" },
    parts.canvas, parts.before, parts.after, parts.divider);
  const work = make("div", { class: "dasr-ba-bar dasr-ba-work" },
    parts.bar, parts.stage, parts.cancel, parts.again, parts.spoken);
  // JupyterLab's own shortcuts must not hear the keys meant for the picture.
  const root = make("div", { class: "dasr-ba", "data-lm-suppress-shortcuts": "true" }, tools, view, work);
  return { ...parts, view, root };
}

// The file in parts, each sent when the last has arrived.
async function send(model, file, report) {
  for (let offset = 0; offset === 0 || offset < file.size; offset += PART) {
    const part = await file.slice(offset, offset + PART).arrayBuffer();
    report(`uploading ${file.name}: ${Math.round((100 * offset) / Math.max(1, file.size))} %`);
    const arrived = new Promise((resolve) => {
      const hear = (message) => {
        if (message.kind !== "received" && message.kind !== "refused") return;
        model.off("msg:custom", hear);
        resolve(message.kind === "received");
      };
      model.on("msg:custom", hear);
    });
    model.send({ kind: "upload", name: file.name, size: file.size, offset }, undefined, [part]);
    if (!(await arrived)) return;
  }
}

function render({ model, el }) {
  const id = Math.random().toString(36).slice(2);
  const ui = furniture();
  el.append(ui.root);

  // The part in view: its middle in SR pixels, CSS pixels per SR pixel, and where the divider is.
  const at = { x: 0, y: 0, zoom: 0, divider: 0.5 };
  let whole = null; // the last two pictures of everything, below the sharp ones while these are awaited
  let sharp = null;
  let asked = 0, askAgain = false, arrived = 0, number = 0, frame = 0;

  const size = () => ({ w: ui.view.clientWidth, h: ui.view.clientHeight });
  const picture = () => model.get("picture");
  const fitting = () => {
    const { w, h } = size(), { width, height } = picture();
    return Math.min(w / width, h / height, CLOSEST);
  };

  // Whether a picture is all there is in view: then nothing has to be painted below it.
  function covers(shown) {
    if (!shown) return false;
    const { w, h } = size(), { width, height } = picture(), [top, left, bottom, right] = shown.box;
    const tall = h / at.zoom / 2, wide = w / at.zoom / 2;
    return top <= Math.max(0, at.y - tall) && bottom >= Math.min(height, at.y + tall) &&
      left <= Math.max(0, at.x - wide) && right >= Math.min(width, at.x + wide);
  }

  function draw() {
    frame = 0;
    const { w, h } = size(), dots = window.devicePixelRatio || 1;
    const canvas = ui.canvas, paint = canvas.getContext("2d");
    if (canvas.width !== Math.round(w * dots)) canvas.width = Math.round(w * dots);
    if (canvas.height !== Math.round(h * dots)) canvas.height = Math.round(h * dots);
    paint.setTransform(dots, 0, 0, dots, 0, 0);
    paint.clearRect(0, 0, w, h);
    const middle = at.divider * w;
    [[0, 0, middle], [1, middle, w]].forEach(([side, from, to]) => {
      paint.save();
      paint.beginPath();
      paint.rect(from, 0, to - from, h);
      paint.clip();
      for (const shown of covers(sharp) ? [sharp] : [whole, sharp]) {
        if (!shown) continue;
        const [top, left, bottom, right] = shown.box;
        // Magnified twice and more, pixels are squares: what is seen is what was computed.
        const magnified = (at.zoom * dots * (right - left)) / shown.images[side].width;
        paint.imageSmoothingEnabled = magnified < 2;
        paint.drawImage(shown.images[side], (left - at.x) * at.zoom + w / 2,
          (top - at.y) * at.zoom + h / 2, (right - left) * at.zoom, (bottom - top) * at.zoom);
      }
      paint.restore();
    });
  }

  function show() {
    const percent = Math.round(100 * at.divider);
    ui.divider.style.left = `${100 * at.divider}%`;
    ui.divider.setAttribute("aria-valuenow", percent);
    ui.divider.setAttribute("aria-valuetext", `${percent} % bicubic, ${100 - percent} % DASR`);
    const zoom = `${Math.round(100 * at.zoom * (window.devicePixelRatio || 1))} %`;
    if (ui.zoom.textContent !== zoom) ui.zoom.textContent = zoom;
    frame = frame || requestAnimationFrame(draw);
  }

  function look(once = false) {
    const { w, h } = size(), { width, height } = picture();
    if (!w || !width || !at.zoom) return;
    const tall = (h / at.zoom) * (0.5 + MARGIN), wide = (w / at.zoom) * (0.5 + MARGIN);
    const box = once
      ? { top: 0, left: 0, bottom: height, right: width }
      : {
          top: clamp(at.y - tall, 0, height), left: clamp(at.x - wide, 0, width),
          bottom: clamp(at.y + tall, 0, height), right: clamp(at.x + wide, 0, width),
        };
    const zoom = once ? fitting() : at.zoom;
    box.pixels = (box.right - box.left) * zoom * (window.devicePixelRatio || 1);
    model.send({ kind: "look", view: id, box, once });
  }

  function ask() {
    if (asked && performance.now() - asked < PATIENCE) {
      askAgain = true;
      return;
    }
    asked = performance.now();
    askAgain = false;
    look();
  }

  function move(x, y, zoom) {
    const { w, h } = size(), { width, height } = picture();
    if (!width || !w) return;
    at.zoom = clamp(zoom, fitting(), CLOSEST);
    const along = (value, length, shown) =>
      shown >= length ? length / 2 : clamp(value, shown / 2, length - shown / 2);
    at.x = along(x, width, w / at.zoom);
    at.y = along(y, height, h / at.zoom);
    show();
    ask();
  }

  // Zoom that leaves the point under the pointer where it is.
  function zoomAt(factor, px = size().w / 2, py = size().h / 2) {
    const { w, h } = size();
    const zoom = clamp(at.zoom * factor, fitting(), CLOSEST);
    const x = at.x + (px - w / 2) / at.zoom, y = at.y + (py - h / 2) / at.zoom;
    move(x - (px - w / 2) / zoom, y - (py - h / 2) / zoom, zoom);
  }

  const fit = () => move(0, 0, 0);
  function divide(value) {
    at.divider = clamp(value, 0, 1);
    show();
  }

  // What the kernel says

  async function hear(message, buffers) {
    if (message.kind !== "window" || message.view !== id) return;
    if (!message.once) {
      asked = 0;
      if (askAgain) ask();
    }
    const order = ++arrived;
    const images = await Promise.all(buffers.map((part) => createImageBitmap(new Blob([part]))));
    if (message.number !== picture().number) return;
    const shown = { images, box: message.box, order };
    const { width, height } = picture(), [top, left, bottom, right] = message.box;
    if (top === 0 && left === 0 && bottom >= height && right >= width) whole = shown;
    if (!message.once && (!sharp || sharp.order < order)) sharp = shown;
    show();
  }

  function options() {
    const names = model.get("names");
    ui.choice.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
    ui.choice.value = picture().name ?? names[0];
  }

  function renew() {
    const { name, scale, width, height } = picture();
    if (!width) return;
    options();
    ui.before.textContent = `bicubic ×${scale}`;
    ui.after.textContent = `DASR ×${scale}`;
    ui.canvas.setAttribute("aria-label",
      `${name}, upscaled to ${width} by ${height} pixels: bicubic left of the divider, DASR right ` +
      "of it. Arrows move the picture, plus and minus zoom, 0 shows it whole.");
    if (picture().number !== number) {
      number = picture().number;
      whole = sharp = null;
      asked = 0;
      fit();
    }
  }

  function working() {
    const running = model.get("running"), finished = model.get("finished");
    const stage = model.get("stage"), progress = model.get("progress");
    ui.bar.value = progress;
    ui.stage.textContent = running ? `${stage} (${Math.floor(100 * progress)} %)` : stage;
    ui.cancel.hidden = !running;
    ui.again.hidden = running || finished || !picture().width;
    ui.save.disabled = !finished;
    const spoken = stage.split(",")[0]; // not every tile: a screen reader would never stop
    if (ui.spoken.textContent !== spoken) ui.spoken.textContent = spoken;
    if (finished && !ui.finished) look(true);
    ui.finished = finished;
  }

  // What the reader does

  const upload = async (file) => {
    if (file) await send(model, file, (text) => (ui.stage.textContent = text));
    working(); // the stage of the picture before, if this one was refused
  };
  ui.choice.onchange = () => model.send({ kind: "choose", name: ui.choice.value });
  ui.file.onchange = () => {
    upload(ui.file.files[0]);
    ui.file.value = ""; // the same file can be chosen again
  };
  ui.out.onclick = () => zoomAt(1 / 1.5);
  ui.into.onclick = () => zoomAt(1.5);
  ui.fit.onclick = fit;
  ui.one.onclick = () => zoomAt(1 / (window.devicePixelRatio || 1) / at.zoom);
  ui.again.onclick = () => model.send({ kind: "choose", name: picture().name });
  for (const kind of ["save", "cancel"]) ui[kind].onclick = () => model.send({ kind });

  const place = (event) => {
    const frame = ui.view.getBoundingClientRect();
    return { px: event.clientX - frame.left, py: event.clientY - frame.top };
  };
  ui.divider.onpointerdown = (event) => {
    ui.divider.setPointerCapture(event.pointerId);
    ui.divider.focus();
    event.preventDefault();
  };
  ui.divider.onpointermove = (event) => {
    if (ui.divider.hasPointerCapture(event.pointerId)) divide(place(event).px / size().w);
  };

  const fingers = new Map();
  ui.canvas.onpointerdown = (event) => {
    ui.canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
  };
  ui.canvas.onpointermove = (event) => {
    const old = fingers.get(event.pointerId), now = place(event);
    if (!old) return;
    const other = [...fingers].find(([finger]) => finger !== event.pointerId)?.[1];
    fingers.set(event.pointerId, now);
    if (other) {
      const apart = (p) => Math.max(10, Math.hypot(p.px - other.px, p.py - other.py));
      zoomAt(apart(now) / apart(old), (now.px + other.px) / 2, (now.py + other.py) / 2);
    } else {
      move(at.x - (now.px - old.px) / at.zoom, at.y - (now.py - old.py) / at.zoom, at.zoom);
    }
  };
  ui.canvas.onpointerup = ui.canvas.onpointercancel = (event) => fingers.delete(event.pointerId);

  ui.view.addEventListener("wheel", (event) => {
    // The page scrolls, unless the reader is at the picture, or pinches (which comes with Ctrl).
    if (!event.ctrlKey && !ui.view.contains(document.activeElement)) return;
    if (event.deltaY > 0 && at.zoom <= fitting()) return; // nothing further out: the page again
    event.preventDefault();
    const { px, py } = place(event);
    zoomAt(Math.exp(-clamp(event.deltaY, -100, 100) * (event.ctrlKey ? 0.01 : 0.003)), px, py);
  }, { passive: false });

  ui.view.onkeydown = (event) => {
    const { w, h } = size(), step = 0.1 / at.zoom;
    const keys = {
      "+": () => zoomAt(1.5), "=": () => zoomAt(1.5), "-": () => zoomAt(1 / 1.5), "0": fit,
    };
    Object.assign(keys, event.target === ui.divider ? {
      ArrowLeft: () => divide(at.divider - 0.02), ArrowRight: () => divide(at.divider + 0.02),
      ArrowDown: () => divide(at.divider - 0.02), ArrowUp: () => divide(at.divider + 0.02),
      PageDown: () => divide(at.divider - 0.1), PageUp: () => divide(at.divider + 0.1),
      Home: () => divide(0), End: () => divide(1),
    } : {
      ArrowLeft: () => move(at.x - w * step, at.y, at.zoom),
      ArrowRight: () => move(at.x + w * step, at.y, at.zoom),
      ArrowUp: () => move(at.x, at.y - h * step, at.zoom),
      ArrowDown: () => move(at.x, at.y + h * step, at.zoom),
    });
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    keys[event.key]();
    event.preventDefault();
    event.stopPropagation();
  };
  ui.view.ondragover = (event) => event.preventDefault();
  ui.view.ondrop = (event) => {
    event.preventDefault();
    upload(event.dataTransfer.files[0]);
  };

  const resized = new ResizeObserver(() => {
    const fitted = !at.zoom || !picture().width || at.zoom <= fitting() * 1.01;
    if (size().w && picture().width) fitted ? fit() : move(at.x, at.y, at.zoom);
  });
  resized.observe(ui.view);
  const changes = { "msg:custom": hear, "change:names": options, "change:picture": renew };
  for (const name of ["stage", "progress", "running", "finished"]) changes[`change:${name}`] = working;
  for (const [name, answer] of Object.entries(changes)) model.on(name, answer);

  options();
  renew();
  working();
  divide(0.5);
  model.send({ kind: "hello", view: id });
  return () => {
    resized.disconnect();
    for (const [name, answer] of Object.entries(changes)) model.off(name, answer);
    model.send({ kind: "gone", view: id });
  };
}

export default { render };
