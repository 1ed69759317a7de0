// Keeps what has `data-live` current: each message of the stream there replaces its content. Without
// this file the same pages are loaded again by hand, or by a refresh that stands in <noscript>.
"use strict";
for (const place of document.querySelectorAll("[data-live]")) {
  const stream = new EventSource(place.dataset.live);
  stream.addEventListener("open", () => { document.body.dataset.live = "on"; });
  stream.addEventListener("error", () => { document.body.dataset.live = "off"; });
  stream.addEventListener("part", (message) => {
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
