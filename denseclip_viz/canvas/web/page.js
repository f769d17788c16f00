
// The offline page: each canvas gets a stand-in for a notebook's model, which holds values and tells who listens.
{
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const standIn = (values) => {
    const listeners = {};
    return {
      get: (name) => values[name],
      set: (name, value) => {
        values[name] = value;
        for (const act of listeners[`change:${name}`] ?? []) act();
      },
      on: (name, act) => (listeners[name] ??= []).push(act),
      off: (name, act) => (listeners[name] = (listeners[name] ?? []).filter((other) => other !== act)),
      save_changes: () => {}, // nobody keeps them
    };
  };
  const places = document.querySelectorAll("[data-dcv]"), data = document.getElementById("dcv-data");
  globalThis.dcvModels = JSON.parse(data.textContent).map(({ meta, buffers, ...values }, i) => {
    const opened = Object.fromEntries(Object.entries(buffers).map(([name, text]) => [name, bytes(text)]));
    const model = standIn({ ...values, _payload: { meta, buffers: opened } });
    render({ model, el: places[i] });
    return model;
  });
}
