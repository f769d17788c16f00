// Contrast: a map against another one of the result, which one choice leads to: their difference, or the one at the left of a
// line and the other at its right. Only maps on one scale and of the same cells are compared.

const CONTRASTS = { difference: "difference", slider: "slider" };
const STEP = 0.02, LEAP = 0.1; // of the image's width, by a key

function otherOf(data, state) {
  const [name, value] = state.versus ?? [], other = { ...state, [name]: value };
  if (!data.choices[name]?.includes(value) || isHovering(data, state) || state.view in HEADINGS) return null;
  if (!(state.view in data.maps[other.layer])) return null;
  const own = selected(data, state), found = selected(data, other);
  return isAlike(own, found) ? found : null;
}

function isAlike(own, { stack, map }) {
  if (!stack || !own.stack || (stack === own.stack && map === own.map)) return false;
  const isSame = (one, other, names) => names.every((name) => one[name] === other[name]);
  return isSame(stack, own.stack, ["unit", "low", "high"]) && isSame(stack.grid, own.stack.grid, Object.keys(stack.grid));
}

const isDifference = (data, state) => state.contrast === "difference" && otherOf(data, state) !== null;

// All differences share one scale: as far to both sides as two values on the maps' own can differ.
function differenceOf({ data, state, stack, map }, other) {
  const read = (at) => valueAt(stack, map, at) - valueAt(other.stack, other.map, at);
  const key = ["difference", ...[{ stack, map }, other].map((one) => `${data.stacks.indexOf(one.stack)} ${one.map}`)].join();
  const values = () => Float32Array.from({ length: cellsIn(stack) }, (_, at) => read(at));
  return { ...stack, ...stack.difference, view: null, baseline: [], title: differenceTitle({ data, state }), name: sidesOf({ data, state }).join(" − "), key, values, read };
}

const differenceTitle = (view) => sidesOf(view).map((side, i) => `${"+−"[i]} ${side}`).join(" · ");

const sidesOf = ({ data, state }) => {
  const [name, value] = state.versus;
  return [state[name], value].map((one) => wordsFor(data, name, one));
};

function wordsFor(data, name, value) {
  const i = data.choices[name].indexOf(value), count = data.choices.template.length - 1;
  const texts = {
    prompt: () => (data.prompts[i].absent ? `${value} · absent` : value),
    template: () => (value === ENSEMBLE ? `mean of ${count > 0 ? `${count} ` : ""}templates` : value),
    head: () => (value === MEAN ? "mean of heads" : `head ${value}`),
  };
  return texts[name]?.() ?? String(value);
}

function makeContrast(parts) {
  const options = Object.entries(CONTRASTS).map(([value, text]) => make("option", "", { value }, text));
  return [
    makeField(parts, "versus", "compare with", make("select")),
    makeField(parts, "contrast", "as", make("select", "", {}, ...options)),
  ];
}

function makeSplit(parts) {
  parts.sides = ["left", "right"].map((side) => make("div", "dcv-side-name", { "data-side": side, dir: "auto" }));
  const aria = { role: "slider", tabindex: 0, "aria-valuemin": 0, "aria-valuemax": 100, "aria-orientation": "horizontal" };
  parts.split = make("div", "dcv-split", aria);
  return [...parts.sides, parts.split];
}

function listenToContrast(view) {
  const { controls, split, frame } = view.parts;
  controls.versus.addEventListener("change", ({ target }) => {
    const [name, i] = target.value.split(" ");
    change(view, { versus: name ? [name, view.data.choices[name][i]] : null });
  });
  controls.contrast.addEventListener("change", ({ target }) => change(view, { contrast: target.value }));
  const move = (share) => change(view, { split: Number(clamp(share, 0, 1).toFixed(4)) });
  split.addEventListener("pointerdown", (event) => split.setPointerCapture(event.pointerId));
  split.addEventListener("pointermove", (event) => {
    const { left, width } = frame.getBoundingClientRect();
    if (split.hasPointerCapture(event.pointerId)) move((event.clientX - left) / width);
  });
  split.addEventListener("keydown", (event) => {
    const [, right] = ARROWS[event.key] ?? [], ends = { Home: 0, End: 1 };
    if (right) move(view.state.split + right * (event.shiftKey ? LEAP : STEP));
    else if (event.key in ends) move(ends[event.key]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

// Offers what can be compared with the map that is shown.
function fillVersus(view) {
  const { data, state, stack, map, parts } = view, { versus } = parts.controls;
  const wanted = [view.loads, data.stacks.indexOf(stack), map, state.view, state.layer, state.hover].join();
  if (versus.dataset.of === wanted) return;
  versus.dataset.of = wanted;
  const offered = (name) => data.choices[name].flatMap((value, i) => {
    if (!otherOf(data, { ...state, versus: [name, value] })) return [];
    return [make("option", "", { value: `${name} ${i}`, dir: "auto" }, wordsFor(data, name, value))];
  });
  const groups = data.rules.versus.names.map((label) => make("optgroup", "", { label }, ...offered(label)));
  versus.replaceChildren(make("option", "", { value: "" }, "nothing"), ...groups.filter((group) => group.children.length));
}

function showContrast(view) {
  const { data, state, parts, beside } = view, { versus, contrast } = parts.controls;
  fillVersus(view);
  const isOn = otherOf(data, state) !== null, locked = view.model.get("locked") ?? [];
  versus.value = isOn ? `${state.versus[0]} ${data.choices[state.versus[0]].indexOf(state.versus[1])}` : "";
  contrast.value = state.contrast;
  parts.fields.versus.hidden = versus.options.length < 2 || locked.includes("versus");
  parts.fields.contrast.hidden = !isOn || locked.includes("contrast");
  for (const one of [parts.split, ...parts.sides]) one.hidden = !beside;
  if (!beside) return;
  const [left, right] = sidesOf(view), at = `${100 * state.split}%`;
  parts.split.style.left = at;
  parts.split.setAttribute("aria-valuenow", Math.round(100 * state.split));
  parts.split.setAttribute("aria-label", `line between ${left} and ${right}`);
  parts.sides.forEach((side, i) => (side.textContent = [left, right][i]));
  parts.sides[0].style.maxWidth = `calc(${at} - 12px)`;
  parts.sides[1].style.maxWidth = `calc(100% - ${at} - 12px)`;
}
