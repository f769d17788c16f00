// State: what of it differs from a result's start, and what can be read of one that comes from elsewhere.

const FRAGMENT = "#state=";

// Names of a state that are not as a result starts.
const chosenIn = (state, start) =>
  Object.fromEntries(Object.entries(state).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(start[name])));

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const isPoint = (value, ends) =>
  Array.isArray(value) && value.length === 2 && value.every((at, i) => isNumber(at) && at >= 0 && at <= ends[i]);
const frameOf = ({ labels, stacks }) => (labels ?? stacks[0]).grid;

// The kinds of values that the rules of canvas/state.py speak of, which came as data.
const KINDS = {
  choice: (value, { offered }) => offered.includes(value),
  number: (value, { least = -Infinity, most = Infinity }) => isNumber(value) && value >= least && value <= most,
  letters: (value, { count }) => typeof value === "string" && !/\p{Cs}/u.test(value) && [...value.normalize()].length <= count,
  pair: (value, { names }, { choices }) =>
    Array.isArray(value) && value.length === 2 && names.includes(value[0]) && choices[value[0]].includes(value[1]),
  cell: (value, _, meta) =>
    isPoint(value, [frameOf(meta).rows - 1, frameOf(meta).columns - 1]) && value.every(Number.isInteger),
  outline: (value, { corners: [least, most] }, { size }) =>
    Array.isArray(value) && value.length >= least && value.length <= most && value.every((one) => isPoint(one, size)),
};

function isAllowed(name, value, meta) {
  const { choices, rules } = meta;
  if (Object.hasOwn(choices, name)) return choices[name].includes(value);
  const rule = Object.hasOwn(rules, name) && rules[name];
  return rule && ((value === null && Boolean(rule.none)) || KINDS[rule.kind](value, rule, meta));
}

// Takes what a result has, and lists the names that it has not. `given` may be anything at all.
function readState(given, meta) {
  if (typeof given !== "object" || given === null || Array.isArray(given)) return { patch: {}, refused: ["the state"] };
  const isRight = ([name, value]) => isAllowed(name, value, meta);
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
