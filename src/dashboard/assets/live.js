// Keeps what has `data-live` current: each message of the stream there replaces its content. Without
// this file the same pages are loaded again by hand, or by a refresh that stands in <noscript>.
"use strict";
for (const place of document.querySelectorAll("[data-live]")) {
  const stream = new EventSource(place.dataset.live);
  const silence = document.getElementById("silence");
  let heard = Date.now();
  // Whether the connection stands does not matter: what hangs says nothing either.
  setInterval(() => {
    const isSilent = Date.now() - heard > 10_000;
    document.body.dataset.live = isSilent ? "off" : "on";
    if (isSilent !== silence.hidden) return;
    silence.querySelector("time").textContent = new Date(heard).toISOString().slice(11, 19);
    silence.hidden = !isSilent;
  }, 1000);
  stream.addEventListener("part", (message) => {
    heard = Date.now();
    // Who is selecting text there, or reading a cell with the keyboard, is not interrupted.
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
