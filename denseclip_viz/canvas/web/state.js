// State: what of it differs from a result's start, and what can be read of one that comes from elsewhere.

const FRAGMENT = "#state=";

// Names of a state that are not as a result starts.
const chosenIn = (state, start) =>
  Object.fromEntries(Object.entries(state).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(start[name])));

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const isCell = ({ rows, columns }, cell) =>
  Array.isArray(cell) && cell.length === 2 && cell.every((at, i) => Number.isInteger(at) && at >= 0 && at < [rows, columns][i]);

// What each name may be that is not chosen among those of the result, as canvas/state.py has it.
const RULES = {
  opacity: (value) => isNumber(value) && value >= 0 && value <= 1,
  threshold: (value) => value === null || isNumber(value),
  colours: (value, { tables }) => [AUTO, ...tables.sequential, ...tables.diverging].includes(value),
  interpolation: (value) => ["bilinear", "nearest"].includes(value),
  hover: (value) => typeof value === "boolean",
  pinned: (value, meta) => value === null || isCell((meta.labels ?? meta.stacks[0]).grid, value),
};

// Takes what a result has, and lists the names that it has not. `given` may be anything at all.
function readState(given, meta) {
  if (typeof given !== "object" || given === null || Array.isArray(given)) return { patch: {}, refused: ["the state"] };
  const isRight = ([name, value]) => {
    if (Object.hasOwn(meta.choices, name)) return meta.choices[name].includes(value);
    return Object.hasOwn(RULES, name) && RULES[name](value, meta);
  };
  const entries = Object.entries(given);
  const refused = entries.filter((entry) => !isRight(entry)).map(([name]) => name.slice(0, 40));
  return { patch: Object.fromEntries(entries.filter(isRight)), refused };
}

// The states in a page's link, one for each canvas, or null where it cannot be read.
function statesIn(fragment) {
  try {
    const read = JSON.parse(decodeURIComponent(fragment.slice(FRAGMENT.length)));
    return Array.isArray(read) ? read : [read];
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof URIError) return null;
    throw error;
  }
}

const linkOf = (states) => FRAGMENT + encodeURIComponent(JSON.stringify(states.length > 1 ? states : states[0]));

// As Python writes it.
function literal(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  return JSON.stringify(value);
}

function codeOf({ data, state }) {
  const chosen = Object.entries(chosenIn(state, data.start)).map(([name, value]) => `, ${name}=${literal(value)}`);
  return `${data.recipe}${chosen.join("")})\n`;
}
