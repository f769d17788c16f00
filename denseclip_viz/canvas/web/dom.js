// DOM: the elements of a canvas, and its controls.

const SELECTS = ["view", "prompt", "template", "path", "layer", "head", "method", "colours"];
const SWITCHES = { interpolation: "cells", hover: "cells like this one" };

function makeParts(el) {
  const parts = { controls: {}, fields: {} }, plain = ["warning", "caution", "empty", "caption", "credit", "pin", "peak", "cell"];
  for (const name of plain) parts[name] = make("div", `dcv-${name}`);
  parts.status = make("div", "dcv-status", { role: "status" });
  makeControls(parts);
  const aria = { tabindex: 0, role: "application", "aria-roledescription": "map over an image" };
  parts.image = make("canvas", "dcv-image", aria);
  const frame = (parts.frame = make("div", "dcv-frame", {}, parts.image, makeOutline(parts), parts.pin, parts.peak, parts.cell, ...makeSplit(parts)));
  parts.stage = make("div", "dcv-stage", {}, frame, parts.caption);
  parts.side = make("div", "dcv-side", {}, makeScale(parts), ...makeBars(parts));
  parts.body = make("div", "dcv-body", {}, parts.stage, parts.side);
  parts.root = make("div", "dcv-canvas", { role: "group", "data-version": 0 });
  parts.root.addEventListener("focusin", ({ target }) => keepKeys(target));
  parts.root.append(parts.warning, parts.caution, parts.bar, parts.empty, parts.body, parts.status, parts.credit);
  el.append(parts.root);
  return parts;
}

function makeField(parts, name, text, input) {
  input.classList.add(`dcv-${name}`);
  parts.controls[name] = input;
  return (parts.fields[name] = make("label", "dcv-field", { "data-control": name }, make("span", "", {}, text), input));
}

function makeControls(parts) {
  parts.bar = make("div", "dcv-controls", {}, ...SELECTS.map((name) => makeField(parts, name, name, make("select"))));
  const slider = make("input", "", { type: "range", min: 0, max: 1, step: 0.01 });
  parts.bar.append(makeField(parts, "opacity", "opacity", slider));
  for (const [name, text] of Object.entries(SWITCHES)) {
    parts.bar.append(makeField(parts, name, text, make("input", "", { type: "checkbox" })));
  }
  parts.bar.append(...makeContrast(parts), makeTool(parts), makeKeep(parts));
}

function makeScale(parts) {
  parts.ramp = make("canvas", "dcv-ramp", { width: 256, height: 1 });
  for (const name of ["baseline", "needle"]) parts[name] = make("div", `dcv-${name}`, {}, make("span"));
  parts.unit = make("div", "dcv-unit", {}, make("span"), make("span"));
  parts.ticks = make("div", "dcv-ticks", {}, make("span"), make("span"), make("span"));
  parts.limit = make("output", "dcv-limit");
  const threshold = makeField(parts, "threshold", "hide below", make("input", "", { type: "range" }));
  threshold.append(parts.limit);
  const strip = make("div", "dcv-strip", {}, parts.ramp, parts.baseline, parts.needle);
  return (parts.scale = make("div", "dcv-scale", {}, parts.unit, strip, parts.ticks, threshold));
}

function fillSelects({ data, parts }) {
  const { choices } = data;
  for (const [name, offered] of Object.entries(choices)) {
    const options = offered.map((value) => make("option", "", { value, dir: "auto" }, wordsFor(data, name, value)));
    parts.controls[name].replaceChildren(...options);
  }
}

// What leaves no choice is not shown, nor what a teacher locked.
function hiddenControls(view) {
  const { data, state, shown, stack, model } = view, { choices, cells } = data, isOne = (name) => choices[name].length < 2;
  const hidden = {
    view: isOne("view"),
    prompt: !shown, // labels are of all prompts at once
    template: isOne("template"),
    layer: isOne("layer"),
    path: isOne("path") || state.layer !== OUTPUT || !(isHovering(data, state) || data.pickedBy[state.view] === "path"),
    head: state.view !== "attention" || isOne("head"),
    method: state.view !== "attribution" || isOne("method"),
    hover: !cells,
    colours: !shown,
    interpolation: data.labels && !shown, // labels are pixels
    ...hiddenTools(view, axisOf(stack)),
  };
  for (const name of model.get("locked") ?? []) hidden[name] = true;
  return hidden;
}

// Every control says what the state says.
function showControls(view) {
  const { data, state, parts, stack, shown } = view, { controls } = parts, hidden = hiddenControls(view);
  for (const [name, field] of Object.entries(parts.fields)) field.hidden = Boolean(hidden[name]);
  for (const name of Object.keys(data.choices)) controls[name].value = String(state[name]);
  for (const option of controls.view.options) option.disabled = !(option.value in data.maps[state.layer]);
  controls.prompt.disabled = controls.template.disabled = !isByText(stack);
  controls.opacity.value = state.opacity;
  controls.interpolation.checked = state.interpolation === "nearest";
  controls.hover.checked = state.hover;
  if (shown) showColours(data, state, controls.colours, shown);
  showContrast(view);
  showTools(view);
}

function showColours({ tables }, { colours }, select, { diverging }) {
  const names = [AUTO, ...tables[diverging ? "isDiverging" : "isSequential"]];
  if (select.dataset.names !== names.join()) {
    const text = (name) => (name === AUTO ? "as in figures" : name);
    select.replaceChildren(...names.map((name) => make("option", "", { value: name }, text(name))));
    select.dataset.names = names.join();
  }
  select.value = names.includes(colours) ? colours : AUTO;
}
