// Selection: what a state means for a result, by the tables that canvas/map_stacks.py and canvas/state.py laid down.

// What a result does not have gives way to what it starts with; a view that a layer was not read in, to its first one.
function resolved(state, data) {
  const next = { ...state };
  for (const [name, offered] of Object.entries(data.choices)) {
    if (!offered.includes(next[name])) next[name] = data.start[name];
  }
  if (!(next.view in data.maps[next.layer])) [next.view] = Object.keys(data.maps[next.layer]);
  return next;
}

// The stack that a state names, and which of its maps; no stack where labels are all there is.
function selected(data, state) {
  const at = (name) => data.choices[name].indexOf(state[name]); // the mean stands last among templates and their maps
  const entries = data.maps[state.layer][state.view], picked = data.pickedBy[state.view];
  const [number, first] = entries[picked ? at(picked) : 0] ?? [], stack = data.stacks[number];
  return { stack, map: first + (isByText(stack) ? at("template") * stack.sizes[1] + at("prompt") : 0) };
}

const isByText = (stack) => stack?.axes.length === 2; // one map for each template and prompt

const promptMap = (data, state, i) => selected(data, { ...state, prompt: data.choices.prompt[i] }).map;

const templateOf = ({ choices }, { template }) => choices.template.indexOf(template);

// The places of the prompts that may be in the image, and the highest cosine of those that are not.
const presentOf = ({ prompts }) => prompts.flatMap(({ absent }, i) => (absent ? [] : [i]));

// One for each template, path after path.
const baselineOf = (data, state, { baseline, sizes }) =>
  baseline?.length ? baseline[Math.floor(selected(data, state).map / sizes[1])] : undefined;

function coloursOf({ tables }, state, { diverging, colours }) {
  return tables[diverging ? "isDiverging" : "isSequential"].includes(state.colours) ? state.colours : colours;
}

const isHovering = (data, state) => state.hover && Boolean(data.cells); // without a trace there are no cells to compare

// A threshold is a number of one scale.
function scaleOf(data, state) {
  const { stack } = selected(data, state);
  if (isDifference(data, state)) return ["difference", stack.unit, stack.low, stack.high].join();
  return isHovering(data, state) ? "cells" : stack ? [stack.unit, stack.low, stack.high].join() : "";
}

// What a threshold is a number of, between canvases: raw cosines are no differences of them.
function kindOf(data, state) {
  const { unit, diverging } = selected(data, state).stack ?? {};
  if (isDifference(data, state)) return "difference";
  return isHovering(data, state) ? "cells" : `${unit} ${diverging}`;
}

const mainGrid = ({ stacks, labels }) => stacks[0]?.grid ?? labels.grid;
