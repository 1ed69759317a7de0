// Keeps elements with `data-live` current: each message of their stream replaces their content.
// Without this file the pages are reloaded by hand, or by a refresh in <noscript>.
"use strict";
for (const place of document.querySelectorAll("[data-live]")) {
  const stream = new EventSource(place.dataset.live);
  const silence = document.getElementById("silence");
  let heard = Date.now();
  // The state of the connection does not matter: one that hangs is silent, too.
  setInterval(() => {
    const isSilent = Date.now() - heard > 10_000;
    document.body.dataset.live = isSilent ? "off" : "on";
    if (isSilent !== silence.hidden) return;
    silence.querySelector("time").textContent = new Date(heard).toISOString().slice(11, 19);
    silence.hidden = !isSilent;
  }, 1000);
  stream.addEventListener("part", (message) => {
    heard = Date.now();
    // Do not interrupt a visitor who selects text there; keep the keyboard focus.
    const selection = document.getSelection();
    if (selection && !selection.isCollapsed && place.contains(selection.anchorNode)) return;
    const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
    place.innerHTML = message.data;
    if (focused) document.getElementById(focused)?.focus();
  });
  stream.addEventListener("end", (message) => {
    stream.close();
    if (message.data === "reload") location.reload();
  });
}
