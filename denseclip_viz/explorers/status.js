// One line of text and a thin bar. Everything that came from outside goes in as text, never as markup.

function render({ model, el }) {
  el.classList.add("dcvx-status");
  const bar = document.createElement("div");
  const done = document.createElement("div");
  const line = document.createElement("div");
  bar.className = "dcv-progress";
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-label", "progress");
  line.setAttribute("aria-live", "polite");
  bar.append(done);
  el.append(bar, line);

  function update() {
    const kind = model.get("kind");
    const share = Math.min(1, Math.max(0, model.get("share")));
    el.dataset.kind = kind;
    line.className = kind === "error" ? "dcv-error" : "dcvx-line";
    line.setAttribute("role", kind === "error" ? "alert" : "status");
    line.textContent = model.get("text");
    done.style.width = `${100 * share}%`;
    bar.setAttribute("aria-valuenow", String(Math.round(100 * share)));
  }
  // the controls beside this line are ipywidgets' own
  const onFocus = ({ target }) => el.closest(".dcv-explorer")?.contains(target) && keepKeys(target);
  document.addEventListener("focusin", onFocus);
  const names = ["text", "kind", "share"];
  names.forEach((name) => model.on(`change:${name}`, update));
  update();
  return () => {
    document.removeEventListener("focusin", onFocus);
    names.forEach((name) => model.off(`change:${name}`, update));
  };
}

export default { render };
