// The offline page: each canvas gets a stand-in for a notebook's model, which holds values and tells who listens.
{
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const remark = document.querySelector(".dcv-remark"), isPlain = location.protocol !== "about:"; // such has no address
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
      save_changes: keepInLink,
    };
  };
  const places = document.querySelectorAll("[data-dcv]"), data = document.getElementById("dcv-data");
  const models = JSON.parse(data.textContent).map(({ meta, buffers, ...values }) => {
    const opened = Object.fromEntries(Object.entries(buffers).map(([name, text]) => [name, bytes(text)]));
    return standIn({ ...values, _link: isPlain && linkToThis, _payload: { meta, buffers: opened } });
  });
  const starts = models.map((model) => model.get("state"));

  // What differs from how the page was written, in its address.
  function fragmentNow() {
    const states = models.map((model, i) => chosenIn(model.get("state"), starts[i]));
    return states.some((state) => Object.keys(state).length) ? linkOf(states) : "";
  }
  function linkToThis() {
    return location.href.split("#")[0] + fragmentNow();
  }
  function keepInLink() {
    if (isPlain) history.replaceState(null, "", fragmentNow() || location.href.split("#")[0]);
  }

  // A link that holds a state opens the page in it; what cannot be is said and left out.
  function openLink() {
    if (!location.hash.startsWith(FRAGMENT)) return;
    const given = statesIn(location.hash), refused = [];
    if (!given) remark.textContent = "The state in this page’s link cannot be read; the page is as it was written.";
    else {
      models.forEach((model, i) => {
        const read = readState(i < given.length ? given[i] : {}, model.get("_payload").meta);
        refused.push(...read.refused);
        model.set("state", { ...starts[i], ...read.patch });
      });
      if (given.length > models.length) refused.push(`${given.length - models.length} more canvases`);
      remark.textContent = refused.length ? `Left out of the link, as this page has no such value: ${refused.join(", ")}.` : "";
    }
  }
  openLink();
  globalThis.addEventListener("hashchange", openLink);
  models.forEach((model, i) => render({ model, el: places[i] }));
  globalThis.dcvModels = models;
}
