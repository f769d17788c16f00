// An image from the reader's own disk. A file that is too large is refused here: sent, it would cut the connection.

function render({ model, el }) {
  el.classList.add("dcvx-upload-row");
  const label = document.createElement("label");
  const input = document.createElement("input");
  const words = document.createElement("span");
  label.className = "dcvx-drop";
  input.type = "file";
  input.accept = "image/*";
  input.setAttribute("aria-label", "choose an image, or drop one here");
  const say = () => (words.textContent = model.get("shown") || "choose, or drop one here");
  label.append(input, words);
  el.append(label);

  async function send(file) {
    if (!file) return;
    if (file.size > model.get("limit")) {
      model.set("refused", { name: file.name, size: file.size, at: Date.now() });
    } else {
      model.set("name", file.name);
      model.set("content", new DataView(await file.arrayBuffer()));
    }
    model.save_changes();
  }
  model.on("change:shown", say);
  say();
  input.addEventListener("change", () => {
    send(input.files[0]);
    input.value = ""; // so that the same file can be chosen again
  });
  for (const kind of ["dragenter", "dragover"]) {
    label.addEventListener(kind, (event) => {
      event.preventDefault();
      event.stopPropagation();
      label.classList.add("dcvx-over");
    });
  }
  label.addEventListener("dragleave", () => label.classList.remove("dcvx-over"));
  label.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    label.classList.remove("dcvx-over");
    send(event.dataTransfer.files[0]);
  });
  return () => model.off("change:shown", say);
}

export default { render };
