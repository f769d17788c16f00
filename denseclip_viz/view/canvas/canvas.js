// A first cut: says what it would show.
function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "dcv-canvas";
  root.tabIndex = 0;
  const status = document.createElement("div");
  status.className = "dcv-status";
  root.append(status);
  el.append(root);
  let version = 0;
  const draw = () => {
    root.dataset.version = ++version;
    const state = model.get("state");
    status.textContent = [state.view, state.prompt, state.template, model.get("status")].filter(Boolean).join(" · ");
  };
  for (const name of ["_payload", "state", "status", "status_kind", "locked"]) model.on(`change:${name}`, draw);
  draw();
}
export default { render };
