// A map of points and the images of those that are selected. The kernel gives places and colours once, and images when
// points are selected; everything that came from outside goes in as text. `make` and others are in the canvas' base.js.

const DOTS = 30000; // more points become single pixels, as in figures
const NEAR = 10, FAINT = 0.3; // CSS pixels within which a click hits a point; opacity beside a selection
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const HELP = "Drag around points or click one; Shift adds. Keys: arrows walk, Space selects, + and 0 zoom, Escape clears.";

const picture = (buffer, alt) => {
  const url = URL.createObjectURL(new Blob([buffer], { type: "image/jpeg" })), image = make("img", "", { src: url, alt });
  image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
  return image;
};

// Every point once, in an order that has nothing to do with theirs: none is always on top.
function shuffled(count) {
  const greatest = (a, b) => (b ? greatest(b, a % b) : a);
  let step = Math.max(1, Math.round(count * 0.618));
  while (greatest(step, count) > 1) step += 1;
  return Uint32Array.from({ length: count }, (_, i) => (i * step) % count);
}

class PointMap {
  constructor(base, over) {
    Object.assign(this, { base, over, zoom: { left: 0, top: 0, side: 1 }, chosen: new Uint8Array(), any: false, at: -1 });
  }

  load({ count, places }) {
    const { buffer } = bytesOf(places).slice();
    Object.assign(this, { count, places: new Uint16Array(buffer), order: shuffled(count), chosen: new Uint8Array(count) });
    this.radius = clamp(Math.sqrt(5000 / count) / 2 + 1, 1.6, 5);
  }

  // In CSS pixels, y downwards: of one point, or of all, since a million pairs take long to make.
  place(point) {
    const { left, top, side } = this.zoom, scale = this.over.clientWidth / side;
    return [(this.places[2 * point] / 65535 - left) * scale, (1 - this.places[2 * point + 1] / 65535 - top) * scale];
  }

  each(act) {
    const { left, top, side } = this.zoom, scale = this.over.clientWidth / side, { places, order, count } = this;
    for (let i = 0; i < count; i++) {
      const point = order[i], x = places[2 * point] / 65535, y = 1 - places[2 * point + 1] / 65535;
      act(point, (x - left) * scale, (y - top) * scale);
    }
  }

  // Points as dots with a halo, so that light ones are seen on paper and dark ones at night; as pixels where there are
  // many. Beside a selection the others are faint.
  paint(codes, table, halo) {
    const dense = window.devicePixelRatio || 1, size = Math.round(this.base.clientWidth * dense);
    for (const canvas of [this.base, this.over]) Object.assign(canvas, { width: size, height: size });
    const context = this.base.getContext("2d"), passes = this.any ? [0, 1] : [0];
    if (this.count > DOTS) return this.paintPixels(context, size, dense, codes, table);
    for (const pass of passes) {
      const mine = this.order.filter((point) => !this.any || this.chosen[point] === pass);
      context.globalAlpha = this.any && !pass ? FAINT : 1;
      const draw = (radius, colour) => mine.forEach((point) => {
        const [x, y] = this.place(point);
        context.fillStyle = colour(point);
        context.beginPath();
        context.arc(x * dense, y * dense, radius * dense, 0, 7);
        context.fill();
      });
      draw(this.radius + 0.8, () => halo);
      draw(this.radius, (point) => `rgb(${table.subarray(3 * codes[point], 3 * codes[point] + 3).join()})`);
    }
  }

  paintPixels(context, size, dense, codes, table) {
    const image = context.createImageData(size, size), pixels = new Uint32Array(image.data.buffer), wide = Math.round(dense);
    const alpha = this.any ? Math.round(255 * FAINT) : 255;
    const rgb = Uint32Array.from({ length: 256 }, (_, i) => table[3 * i] | (table[3 * i + 1] << 8) | (table[3 * i + 2] << 16));
    for (const pass of this.any ? [0, 1] : [0]) {
      const opaque = (pass ? 255 : alpha) << 24;
      this.each((point, x, y) => {
        const left = Math.floor(x * dense), top = Math.floor(y * dense);
        if ((this.any && this.chosen[point] !== pass) || left < 0 || top < 0 || left + wide > size || top + wide > size) return;
        for (let row = top; row < top + wide; row++) {
          for (let column = left; column < left + wide; column++) pixels[row * size + column] = rgb[codes[point]] | opaque;
        }
      });
    }
    context.putImageData(image, 0, 0);
  }

  // What moves with the pointer: rings around points, and the line that is being drawn.
  mark(points, line) {
    const dense = window.devicePixelRatio || 1, context = this.over.getContext("2d");
    context.setTransform(dense, 0, 0, dense, 0, 0);
    context.clearRect(0, 0, this.over.clientWidth, this.over.clientHeight);
    const { color } = getComputedStyle(this.over);
    for (const point of points) {
      for (const [colour, width] of [["#fff", 4], ["#1f1f1f", 1.8]]) {
        context.beginPath();
        context.arc(...this.place(point), this.radius + 4, 0, 7);
        Object.assign(context, { strokeStyle: colour, lineWidth: width });
        context.stroke();
      }
    }
    if (!line) return;
    Object.assign(context, { strokeStyle: color, lineWidth: 1.5, fillStyle: "rgb(128 128 128 / 0.2)" });
    context.beginPath();
    line.forEach((spot) => context.lineTo(...spot));
    context.closePath();
    context.fill("evenodd");
    context.stroke();
  }

  nearest(x, y, cost = (dx, dy) => Math.hypot(dx, dy)) {
    let best = Infinity, found = -1;
    this.each((point, px, py) => {
      const distance = cost(px - x, py - y);
      if (distance < best) {
        best = distance;
        found = point;
      }
    });
    return [found, best];
  }

  // The points within a line, by painting it: as fast for a million points as for ten.
  within(line) {
    const side = this.over.clientWidth, context = new OffscreenCanvas(side, side).getContext("2d");
    context.beginPath();
    line.forEach((spot) => context.lineTo(...spot));
    context.closePath();
    context.fill("evenodd");
    const { data } = context.getImageData(0, 0, side, side), points = [];
    this.each((point, x, y) => {
      if (x >= 0 && y >= 0 && x < side && y < side && data[4 * (Math.floor(y) * side + Math.floor(x)) + 3] > 127) points.push(point);
    });
    return points;
  }

  walk(from, [right, down]) { // to the nearest point ahead, rather straight on than aside
    const [x, y] = from < 0 ? [this.over.clientWidth / 2, this.over.clientHeight / 2] : this.place(from);
    const [found] = this.nearest(x, y, (dx, dy) => {
      const ahead = dx * right + dy * down;
      return ahead > 1e-6 ? ahead + 2.5 * Math.abs(dx * down + dy * right) : Infinity;
    });
    return found;
  }

  show(points) { // zoom to some points, or to all
    if (!points.length) return Object.assign(this.zoom, { left: 0, top: 0, side: 1 });
    const xs = points.map((point) => this.places[2 * point] / 65535), ys = points.map((point) => 1 - this.places[2 * point + 1] / 65535);
    const span = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [1, 0]);
    const [[left, right], [top, bottom]] = [span(xs), span(ys)], side = clamp(1.2 * Math.max(right - left, bottom - top), 0.002, 1);
    return Object.assign(this.zoom, { side, left: (left + right - side) / 2, top: (top + bottom - side) / 2 });
  }
}

function partsOf() {
  const button = (name, text) => make("button", `dcvx-plain ${name}`, { type: "button" }, text);
  const input = make("input", "dcvx-prompt", { type: "text", spellcheck: "false", "data-lm-suppress-shortcuts": "true" });
  const choice = make("select", "dcvx-choice", { "aria-label": "colour by" }, ...["cosine", "labels"].map((by) => make("option", "", {}, by)));
  const over = make("canvas", "dcvx-over", { tabindex: "0", role: "application", "data-lm-suppress-shortcuts": "true" });
  const base = make("canvas", "dcvx-base", { "aria-hidden": "true" }), card = make("div", "dcvx-card", { "aria-live": "polite" });
  const below = make("div", "dcvx-axis"), beside = make("div", "dcvx-axis dcvx-beside");
  const stage = make("div", "dcvx-stage", {}, base, over, card);
  const zoom = button("dcvx-zoom", "zoom to selection"), whole = button("dcvx-whole", "whole map"), clear = button("dcvx-clear", "clear");
  const scale = make("div", "dcvx-scale"), status = make("div", "dcvx-line", { role: "status" }), facts = make("div", "dcvx-facts");
  const sheet = make("section", "dcvx-sheet", { "aria-label": "selected images" }), stamp = make("div", "dcvx-stamp");
  const head = make("div", "dcvx-asked", {}, make("label", "", {}, "colour by the cosine with ", input), choice, scale);
  const map = make("div", "dcvx-map", {}, beside, stage, make("div"), below);
  const left = make("div", "", {}, map, make("div", "dcvx-tools", {}, zoom, whole, clear), make("p", "dcvx-help", {}, HELP), facts);
  return { input, choice, over, base, card, below, beside, stage, zoom, whole, clear, scale, status, facts, sheet, stamp, left, head };
}

function showScale(box, { scale, legend, table, baseline, shown }) {
  const colour = (code) => `rgb(${table.subarray(3 * code, 3 * code + 3).join()})`;
  if (!scale) {
    const swatch = (code) => make("i", "dcvx-swatch", { style: `background: ${colour(code)}` });
    box.replaceChildren(...legend.map(({ name, code }) => make("span", "", {}, swatch(code), name)));
    return;
  }
  const stops = Array.from({ length: 17 }, (_, i) => colour(Math.round((255 * i) / 16))).join(", ");
  const bar = make("div", "dcvx-bar", { style: `background: linear-gradient(to right, ${stops})` });
  const about = make("div", "dcvx-shown", {}, make("span", "", { dir: "auto" }, `cosine with “${shown}”`));
  if (baseline?.text) {
    bar.append(make("i", "dcvx-baseline", { style: `left: ${100 * baseline.share}%` }));
    about.append(make("span", "", { title: "the highest cosine of the absent prompts" }, `absent ${baseline.text}`));
  }
  const ticks = make("div", "dcvx-ticks", {}, ...scale.ticks.map((text) => make("span", "", {}, text)));
  box.replaceChildren(about, bar, ticks);
}

function showSheet(view) {
  const { tiles = [], title, start, images, page, per_page: most } = view.model.get("_sheet"), { sheet } = view.parts;
  const part = images > most ? `: ${start + 1}–${start + tiles.length}` : "";
  const head = make("div", "dcvx-sheet-head", {}, make("h4", "", {}, tiles.length ? `${title} selected${part}` : "nothing selected"));
  const turn = (text, by) => {
    const button = make("button", "dcvx-plain", { type: "button" }, text), pageFrom = (at) => clamp(at + by, 0, Math.ceil(images / most) - 1);
    button.disabled = pageFrom(page) === page;
    // from the page that was asked for: a busy kernel has not laid it yet
    button.addEventListener("click", () => view.set("_page", pageFrom(view.model.get("_page"))));
    return button;
  };
  if (images > most) head.append(turn("previous", -1), turn("next", 1));
  const list = make("div", "dcvx-images", {}, ...tiles.map((tile) => {
    const image = tile.image.byteLength ? picture(tile.image, "") : make("span", "dcvx-none", {}, tile.note);
    const words = [make("span", "dcvx-name", { dir: "auto" }, tile.name), make("span", "", {}, tile.score)];
    const button = make("button", "dcvx-image", { type: "button", title: [tile.name, tile.note].filter(Boolean).join(": ") }, image, ...words);
    for (const name of ["mouseenter", "focus"]) button.addEventListener(name, () => view.mark([tile.point]));
    for (const name of ["mouseleave", "blur"]) button.addEventListener(name, () => view.mark([]));
    button.addEventListener("click", () => view.point(tile.point));
    return button;
  }));
  sheet.replaceChildren(head, list);
  sheet.dataset.tiles = tiles.length;
}

function render({ model, el }) {
  const parts = partsOf(), map = new PointMap(parts.base, parts.over), view = { model, parts };
  el.classList.add("dcvx-atlas");
  el.append(parts.stamp, parts.head, parts.status, make("div", "dcvx-body", {}, parts.left, parts.sheet));
  let pen = null, asked = 0;

  view.set = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };
  const select = (points) => view.set("_selected", new DataView(Uint32Array.from(points).sort().buffer));
  const chosen = () => map.order.filter((point) => map.chosen[point]);
  const add = (points, adding) => select(adding ? new Set([...chosen(), ...points]) : points);
  const toggle = (point) => select(map.chosen[point] ? chosen().filter((other) => other !== point) : [...chosen(), point]);

  view.mark = (points) => map.mark([...new Set([...points, ...(map.at < 0 ? [] : [map.at])])], pen);
  view.point = (point) => {
    map.at = point;
    view.mark([]);
    parts.card.hidden = true;
    hover(); // what the kernel told of this point already: it tells nothing twice
    clearTimeout(asked);
    asked = setTimeout(() => view.set("_pointed", point), 60);
  };
  function paint() {
    const { codes, table } = model.get("_paint");
    if (!codes || !parts.base.clientWidth) return;
    map.paint(bytesOf(codes), bytesOf(table), getComputedStyle(parts.base).color);
    view.mark([]);
    el.dataset.version = Number(el.dataset.version ?? 0) + 1;
  }
  function repaint() {
    const about = model.get("_paint");
    if (about.table) showScale(parts.scale, { ...about, table: bytesOf(about.table) });
    paint();
  }
  function load() {
    const about = model.get("_map");
    map.load(about);
    [parts.below.textContent, parts.beside.textContent] = about.axes;
    parts.facts.replaceChildren(...[about.caution, ...about.facts, about.provenance].filter(Boolean).map((line) => make("div", "", {}, line)));
    parts.stamp.textContent = about.stamp && `${about.stamp} · nothing here was learned`;
    parts.choice.hidden = !about.choice;
    parts.over.setAttribute("aria-label", `map of ${about.count} points. ${HELP}`);
    follow();
  }
  function follow() { // what is selected, here or in Python
    const numbers = new Uint32Array(bytesOf(model.get("_selected")).slice().buffer);
    map.chosen.fill(0);
    numbers.forEach((point) => { map.chosen[point] = 1; });
    map.any = numbers.length > 0;
    parts.zoom.disabled = parts.clear.disabled = !map.any;
    paint();
  }
  function hover() {
    const { point, name, score, image, note } = model.get("_hovered");
    if (point !== map.at || point === undefined) return;
    const [x, y] = map.place(point), side = parts.stage.clientWidth, text = make("div", "", { dir: "auto" }, name);
    parts.card.replaceChildren(...(image.byteLength ? [picture(image, "")] : [make("span", "", {}, note)]), text, make("div", "", {}, `cosine ${score}`));
    parts.card.style = `${x > side / 2 ? `right: ${side - x + 12}px` : `left: ${x + 12}px`}; ${y > side / 2 ? `bottom: ${side - y + 12}px` : `top: ${y + 12}px`}`;
    parts.card.hidden = false;
  }
  function tell() {
    const kind = model.get("status_kind");
    parts.status.textContent = model.get("status");
    parts.status.className = kind === "error" ? "dcv-error" : "dcvx-line";
    el.dataset.kind = kind;
  }
  const show = () => { parts.input.value = model.get("prompt"); };
  const choose = () => { parts.choice.value = model.get("colour"); };

  const spotOf = ({ clientX, clientY }) => {
    const box = parts.over.getBoundingClientRect();
    return [clientX - box.left, clientY - box.top];
  };
  parts.over.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    parts.over.setPointerCapture(event.pointerId);
    pen = [spotOf(event)];
  });
  parts.over.addEventListener("pointermove", (event) => {
    const spot = spotOf(event);
    if (!pen) {
      const [point, far] = map.nearest(...spot), next = far <= NEAR ? point : -1;
      if (next !== map.at) view.point(next);
      return;
    }
    if (Math.hypot(spot[0] - pen.at(-1)[0], spot[1] - pen.at(-1)[1]) > 2) pen.push(spot);
    view.mark([]);
  });
  parts.over.addEventListener("pointerup", (event) => {
    const line = pen, more = event.shiftKey || event.ctrlKey || event.metaKey;
    pen = null;
    if (!line) return;
    view.mark([]);
    if (line.length > 3) return add(map.within(line), more);
    const [point, far] = map.nearest(...line[0]);
    if (far <= NEAR) (more ? toggle(point) : select([point]));
    else if (!more) select([]);
  });
  parts.over.addEventListener("pointercancel", () => { pen = null; });
  parts.over.addEventListener("pointerleave", () => { if (!pen) view.point(-1); });
  parts.over.addEventListener("keydown", (event) => {
    const zoom = { "+": () => map.show(map.at < 0 ? [...chosen()] : around(map.at)), 0: () => map.show([]) }[event.key];
    if (KEYS[event.key]) {
      const next = map.walk(map.at, KEYS[event.key]);
      if (next >= 0) view.point(next);
    } else if (event.key === " " || event.key === "Enter") {
      if (map.at >= 0) toggle(map.at);
    } else if (event.key === "Escape") select([]);
    else if (zoom) {
      zoom();
      paint();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const around = (point) => {
    const [x, y] = map.place(point), reach = map.over.clientWidth / 4;
    const near = [];
    map.each((other, px, py) => Math.max(Math.abs(px - x), Math.abs(py - y)) < reach && near.push(other));
    return near;
  };
  const listen = { zoom: () => map.show([...chosen()]), whole: () => map.show([]), clear: () => select([]) };
  for (const [name, act] of Object.entries(listen)) {
    parts[name].addEventListener("click", () => {
      act();
      paint();
    });
  }
  const ask = () => parts.input.value !== model.get("prompt") && view.set("prompt", parts.input.value);
  parts.input.addEventListener("change", ask);
  parts.input.addEventListener("keydown", (event) => { // a notebook may take Enter for itself, and then nothing changes
    event.stopPropagation();
    if (event.key === "Enter") ask();
  });
  parts.choice.addEventListener("change", () => view.set("colour", parts.choice.value));

  const updates = { _map: load, _paint: repaint, _selected: follow, _sheet: () => showSheet(view), _hovered: hover, prompt: show, colour: choose, status: tell, status_kind: tell };
  for (const [name, act] of Object.entries(updates)) model.on(`change:${name}`, act);
  const seen = new ResizeObserver(paint), themes = new MutationObserver(paint);
  seen.observe(parts.stage);
  themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  parts.card.hidden = true;
  load();
  repaint();
  showSheet(view);
  show();
  choose();
  tell();
  return () => {
    for (const [name, act] of Object.entries(updates)) model.off(`change:${name}`, act);
    seen.disconnect();
    themes.disconnect();
  };
}

export default { render };
