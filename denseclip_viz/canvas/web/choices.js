// Choices: what a state means for a result.

// What a result does not have gives way to the first that it has; a view that a layer was not read in, to one it was.
function resolved(state, data) {
  const kept = { ...state };
  for (const [name, offered] of Object.entries(data.choices)) {
    if (!offered.includes(state[name])) kept[name] = offered[0];
  }
  const views = viewsOf(data, kept.layer);
  if (!views.has(kept.view)) kept.view = [...views][0];
  return kept;
}

function viewsOf({ stacks, labels }, layer) {
  const own = stacks.filter((stack) => stack.layer === layer), views = new Set(own.map(({ view }) => view));
  if (labels || own.some(({ view, diverging }) => view === "dense" && !diverging)) views.add("segments");
  return views;
}

// The maps that a state names; segments are drawn from the dense ones.
function stackFor({ stacks }, { view, layer, head }) {
  const wanted = view === "segments" ? "dense" : view;
  const own = stacks.filter((stack) => stack.view === wanted && stack.layer === layer);
  return own.find(({ axes }) => (axes[0] === "head") === (head !== MEAN)) ?? own[0];
}

function templateOf({ choices }, { template }) {
  return choices.template.indexOf(template); // the mean stands last among the choices and among the maps
}

function mapFor(data, { axes, sizes }, state, prompt = state.prompt) {
  if (axes[0] === "head") return data.choices.head.filter((head) => head !== MEAN).indexOf(state.head);
  return axes.length ? templateOf(data, state) * sizes[1] + data.choices.prompt.indexOf(prompt) : 0;
}

function coloursOf({ tables }, state, { diverging, colours }) {
  const fitting = tables[diverging ? "isDiverging" : "isSequential"];
  return fitting.includes(state.colours) ? state.colours : colours ?? fitting[0];
}

// A threshold is a number of one scale.
function scaleOf(data, state) {
  const stack = stackFor(data, state);
  return state.hover ? "cells" : stack ? [stack.unit, stack.low, stack.high].join() : "";
}

const mainGrid = ({ stacks, labels }) => stacks[0]?.grid ?? labels.grid;
