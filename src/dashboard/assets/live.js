// Everything that pages do in the browser beyond links and forms; each of them works without.
"use strict";
const kept = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
const keep = (name, value) => { try { localStorage.setItem(name, value); } catch { /* not kept */ } };
const byId = (id) => document.getElementById(id);

// Times: exact ones are titles; UTC unless the visitor chose otherwise.
let isLocal = kept("zone") === "local";
const two = (number) => String(number).padStart(2, "0");
function showTime(time) {
  const at = new Date(time.dateTime);
  if (Number.isNaN(at.getTime())) return;
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}`;
  const iso = at.toISOString();
  if (time.dataset.form === "day") time.textContent = isLocal ? date.slice(5) : iso.slice(5, 10);
  else if (time.dataset.form === "minute") time.textContent = isLocal ? clock : iso.slice(11, 16);
  else {
    const exact = isLocal
      ? `${date} ${clock}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")} local`
      : `${iso.slice(0, 23).replace("T", " ")} UTC`;
    if (time.title) time.title = exact;
    else time.textContent = exact;
  }
}
function showZone() {
  const zone = byId("zone");
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  zone.firstChild.textContent = isLocal ? `Times are local (${name}), in filters UTC` : "All times are UTC";
  zone.querySelector("button").textContent = isLocal ? "Show UTC" : "Show local time";
  document.querySelectorAll("time[datetime]").forEach(showTime);
}
function switchZone() {
  isLocal = !isLocal;
  keep("zone", isLocal ? "local" : "utc");
  showZone();
}

// What scripts add: buttons to copy, and to choose all rows.
function button(text, label, pressed) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "plain";
  made.textContent = text;
  if (label) made.setAttribute("aria-label", label);
  made.addEventListener("click", pressed);
  return made;
}
async function copy(text, from) {
  let says = "Copied";
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Not every page is served where there is a clipboard.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    if (!document.execCommand("copy")) says = "Not copied";
    area.remove();
    from.focus();
  }
  from.textContent = says;
  setTimeout(() => { from.textContent = "Copy"; }, 1500);
}
function dress(place) {
  for (const one of place.querySelectorAll("[data-copy]")) {
    const text = one.dataset.copy || one.textContent;
    const made = button("Copy", `Copy ${text.slice(0, 80)}`, () => copy(text, made));
    made.classList.add("copy");
    one.after(made);
  }
  if (isLocal) place.querySelectorAll("time[datetime]").forEach(showTime);
}

// Parts that are kept current: a stream sends them, or the page is asked for again.
let heard = Date.now();
let isWatched = false;
function watchSilence(longest) {
  const silence = byId("silence");
  // The state of the connection does not matter: one that hangs is silent, too.
  setInterval(() => {
    if (document.hidden) return;
    const isSilent = Date.now() - heard > longest;
    document.body.dataset.live = isSilent ? "off" : "on";
    if (isSilent !== silence.hidden) return;
    silence.querySelector("time").textContent = new Date(heard).toISOString().slice(11, 19);
    silence.hidden = !isSilent;
  }, 1000);
}
function isBusy(place) {
  // Do not interrupt a visitor who selects text there, chooses rows, or fills in a field.
  const selection = document.getSelection();
  if (selection && !selection.isCollapsed && place.contains(selection.anchorNode)) return true;
  if (place.querySelector("td input:checked")) return true;
  return place.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
}
function replace(place, html) {
  if (isBusy(place)) return;
  const focused = place.contains(document.activeElement) ? nameOf(document.activeElement) : "";
  const open = [...place.querySelectorAll("details[open]")].map(nameOf);
  place.innerHTML = html;
  dress(place);
  for (const details of place.querySelectorAll("details")) {
    if (open.includes(nameOf(details))) details.open = true;
  }
  if (focused) [...place.querySelectorAll("a, button, summary, time")].find((one) => nameOf(one) === focused)?.focus();
}
// An element that another part has again.
const nameOf = (one) => one.id || one.dataset.name || one.getAttribute("href") || one.getAttribute("aria-label") || one.dateTime || "";
for (const place of document.querySelectorAll("[data-live]")) {
  const stream = new EventSource(place.dataset.live);
  isWatched = true;
  stream.addEventListener("part", (message) => {
    heard = Date.now();
    replace(place, message.data);
  });
  stream.addEventListener("end", (message) => {
    stream.close();
    if (message.data === "reload") location.reload();
  });
}
if (isWatched) watchSilence(10_000);
const current = [...document.querySelectorAll("[data-current]")];
if (current.length > 0) {
  const every = 5000;
  watchSilence(4 * every);
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(every - 500) });
      // The login: it is over.
      if (answer.redirected) return location.reload();
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      heard = Date.now();
      for (const place of current) {
        const now = page.getElementById(place.id);
        if (now) replace(place, now.innerHTML);
      }
    } catch { /* silence shows after a while */ }
  }, every);
}

// Keys.
const PAGES = { o: "/", e: "/endpoints", d: "/deliveries", p: "/parked", s: "/subscriptions", t: "/topics", a: "/audit", r: "/replays", ",": "/settings" };
let isGoing = 0;
function step(by) {
  const rows = [...document.querySelectorAll("main tbody tr")].filter((row) => row.querySelector("a") && row.checkVisibility());
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const row = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : at + by];
  row?.querySelector("a").focus();
  row?.scrollIntoView({ block: "nearest" });
}
const KEYS = {
  "/": () => byId("anything")?.focus(),
  "?": () => byId("keys")?.showModal(),
  j: () => step(1),
  k: () => step(-1),
  u: switchZone,
  x: () => document.activeElement.closest("tr")?.querySelector("input[type=checkbox]")?.click(),
  g: () => { isGoing = Date.now(); },
};
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches?.("input:not([type=checkbox]):not([type=radio]), select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping || byId("keys")?.open || kept("keys") === "off") return;
  const to = Date.now() - isGoing < 1500 ? PAGES[event.key] : undefined;
  isGoing = 0;
  const act = to ? () => { location.href = to; } : KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

// Choosing rows.
for (const all of document.querySelectorAll("input[data-all]")) all.hidden = false;
document.addEventListener("change", (event) => {
  const changed = event.target;
  if (changed.matches("input[data-all]")) {
    for (const one of document.querySelectorAll("td input[type=checkbox]")) one.checked = changed.checked;
  }
  if (changed.id === "keys-on") keep("keys", changed.checked ? "on" : "off");
});

// What is offered for some seconds.
for (const offer of document.querySelectorAll("[data-seconds]")) {
  setTimeout(() => offer.remove(), Number(offer.dataset.seconds) * 1000);
}

const zone = byId("zone");
if (zone) {
  zone.append(" ", button("Show local time", "", switchZone));
  if (isLocal) showZone();
}
const keys = byId("keys");
if (keys) {
  keys.before(button("Keys (?)", "", () => keys.showModal()));
  byId("keys-on").checked = kept("keys") !== "off";
}
dress(document.body);
