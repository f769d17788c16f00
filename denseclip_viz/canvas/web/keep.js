// Keep: what is seen as a file, its numbers as text, and the code, the state and the link that make it again.

const KEPT = {
  png: "save image as PNG",
  svg: "save image as SVG",
  values: "copy values here (csv)",
  map: "copy values of the map (csv)",
  python: "copy Python",
  json: "copy state (JSON)",
  link: "copy link to this",
};

const WHERE = { "": "here", region: "in the region", pinned: "at the pin", peak: "at the peak", middle: "in the middle" };

const FINER = 4; // decimals of a mean, more than of a value

function makeKeep(parts) {
  parts.keeps = {};
  const buttons = Object.entries(KEPT).map(([name, text]) =>
    (parts.keeps[name] = make("button", "dcv-keep-one", { type: "button", "data-keep": name }, text)));
  const label = make("label", "dcv-copied", { hidden: "" }, "Copy this text:");
  parts.copied = make("textarea", "", { readonly: "", rows: 6, spellcheck: "false" });
  label.append(parts.copied);
  parts.notice = make("div", "dcv-notice", { role: "status" });
  const aria = { role: "group", "aria-label": "keep what is seen", tabindex: -1 }; // so that a click in it leaves it open
  const panel = make("div", "dcv-keep-panel", aria, ...buttons, label, parts.notice);
  return (parts.keep = make("details", "dcv-keep", {}, make("summary", "", {}, "keep"), panel));
}

function listenToKeep(view) {
  const { keep, keeps, copied } = view.parts, [summary] = keep.children;
  for (const [name, button] of Object.entries(keeps)) button.addEventListener("click", () => keepIt(view, name));
  const close = () => (keep.open = false);
  keep.addEventListener("toggle", () => {
    if (keep.open) keeps.values.textContent = KEPT.values.replace("here", WHERE[spotOf(view).origin]);
    else tellKept(view, "");
  });
  // A window that loses the focus keeps its active element: what is to be read or copied then stays open.
  keep.addEventListener("focusout", ({ relatedTarget }) => keep.contains(relatedTarget ?? keep.getRootNode().activeElement) || close());
  keep.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    close();
    summary.focus();
  });
  copied.addEventListener("focus", () => copied.select());
}

// What there is to keep hangs on what is shown.
function showKeep(view) {
  const { data, parts, shown, model } = view, { keeps } = parts;
  parts.keep.hidden = (model.get("locked") ?? []).includes("keep");
  keeps.map.hidden = !shown;
  keeps.python.hidden = !data.recipe;
  keeps.link.hidden = !model.get("_link");
}

function tellKept({ parts }, text, shown = "") {
  parts.notice.textContent = text;
  parts.copied.parentNode.hidden = !shown;
  parts.copied.value = shown;
}

async function keepIt(view, name) {
  const { model, state, data } = view;
  const texts = {
    values: () => valuesHere(view),
    map: () => valuesOfMap(view),
    python: () => codeOf(view),
    json: () => JSON.stringify(state),
    link: () => model.get("_link")(),
  };
  if (name in texts) return copy(view, texts[name]());
  const sheet = layOut(view), file = `${nameOf(view)}.${name}`;
  if (name === "svg") save(new Blob([asSvg(sheet)], { type: "image/svg+xml" }), file);
  else save(await new Promise((done) => asPixels(sheet, view.parts.image.width / (sheet.items.find(({ image }) => image).box[2])).toBlob(done)), file);
  tellKept(view, `Saved as ${file}`);
}

// A browser may have no clipboard for a page, or refuse it: then the text stands there to be copied by hand.
async function copy(view, text) {
  const lines = text.trimEnd().split("\n").length, what = lines > 1 ? `${lines} lines` : "one line";
  const isDone = await (navigator.clipboard?.writeText(text) ?? Promise.reject(new Error())).then(() => true, () => false);
  if (isDone) return tellKept(view, `Copied: ${what}`);
  tellKept(view, "This page may not copy by itself.", text);
  view.parts.copied.focus();
}

function save(blob, name) {
  const href = URL.createObjectURL(blob), anchor = make("a", "", { href, download: name });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}

// A name that any file system takes.
function nameOf({ data, parts, state }) {
  const words = [data.title.replace(/\.\w{1,5}$/, ""), parts.caption.firstChild.textContent, state.view].join(" ");
  return words.normalize("NFKC").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 80) || "map";
}

// Numbers as they are printed, with the middle of the cell in the image's pixels, as the coordinates of the result; of a
// region the mean, finer than printed, its ends, and how many cells it is of.
function valuesHere(view) {
  const { data, stack, state } = view, axis = axisOf(stack), grid = mainOf(view), spot = spotOf(view);
  const cell = cellAt(data, grid, spot.place), about = [axis, "template", "view"], decimals = stack?.decimals ?? 2;
  const known = view.rows.filter(({ found }) => !Number.isNaN(found.mean));
  const rowOf = ({ name }) => [name, templateIn(view), state.view];
  if (spot.origin !== "region") {
    return csv([[...about, "value", "x", "y"], ...known.map((bar) => [...rowOf(bar), bar.row.dataset.value, ...centreOf(grid, cell)])]);
  }
  if (data.labels) return csv([[...about, "share"], ...known.map((bar) => [...rowOf(bar), bar.found.mean.toFixed(FINER)])]);
  const numbersOf = ({ mean, least, most, count }) =>
    [mean.toFixed(decimals + FINER), least.toFixed(decimals), most.toFixed(decimals), count];
  return csv([[...about, "mean", "min", "max", "cells"], ...known.map((bar) => [...rowOf(bar), ...numbersOf(bar.found)])]);
}

function valuesOfMap(view) {
  const { shown, stack, state } = view, { rows, columns } = shown.grid, axis = shown.view ? axisOf(stack) : "prompt";
  const name = shown.name ? shown.name : !shown.view ? "" : axis === "head" ? state.head : state.prompt, what = shown.view ?? shown.title;
  const lines = Array.from({ length: rows * columns }, (_, at) => {
    const cell = [Math.floor(at / columns), at % columns], value = shown.read(at);
    return [name, shown.view ? templateIn(view) : "", what, Number.isNaN(value) ? "" : value.toFixed(shown.decimals), ...centreOf(shown.grid, cell)];
  });
  return csv([[axis, "template", "view", "value", "x", "y"], ...lines]);
}

const axisOf = (stack) => (stack?.view === "attention" ? "head" : "prompt");
const mainOf = ({ data, stack }) => (data.labels ?? stack).grid;
const templateIn = ({ state, stack }) => (isByText(stack) ? state.template : "");

function centreOf({ top, left, bottom, right, rows, columns }, [y, x]) {
  const place = (start, end, count, at) => Number((start + ((at + 0.5) * (end - start)) / count - 0.5).toFixed(4));
  return [place(left, right, columns, x), place(top, bottom, rows, y)];
}

const csv = (rows) => rows.map((row) => `${row.map(field).join(",")}\n`).join("");

function field(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
