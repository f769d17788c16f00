// A folded list of words in groups, each of which can be clicked. Everything goes in as text, never as markup.

function render({ model, el }) {
  el.classList.add("dcvx-chips");
  const folded = document.createElement("details"), title = document.createElement("summary");
  const groups = document.createElement("div");
  folded.append(title, groups);
  el.append(folded);

  function chipOf(word) {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.textContent = word;
    chip.addEventListener("click", () => model.send(word)); // no state: of states a busy kernel is told the last alone
    return chip;
  }
  function groupOf([name, words]) {
    const group = document.createElement("div"), head = document.createElement("span");
    group.setAttribute("role", "group");
    if (name) group.setAttribute("aria-label", name);
    head.textContent = name;
    group.append(head, ...words.map(chipOf));
    return group;
  }
  function update() {
    title.textContent = model.get("title");
    const note = document.createElement("p");
    note.textContent = model.get("note");
    groups.replaceChildren(...model.get("groups").map(groupOf), ...(note.textContent ? [note] : []));
  }
  const names = ["title", "groups", "note"];
  names.forEach((name) => model.on(`change:${name}`, update));
  update();
  return () => names.forEach((name) => model.off(`change:${name}`, update));
}

export default { render };
