// The console works without this file. With it: live parts, keys, the theme switch, no second click.
"use strict";

const byId = (id) => document.getElementById(id);
const typing = (at) => at && (at.matches("input, textarea, select") || at.isContentEditable);

// -- the theme ---------------------------------------------------------------------------------------------------

const root = document.documentElement;
const themeButton = byId("theme");
if (themeButton) {
  themeButton.hidden = false;
  themeButton.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* It lasts for this page, then. */ }
  });
}

// -- live parts --------------------------------------------------------------------------------------------------
// The page waits for news, fetches itself, and takes over the parts that are different. What somebody is
// filling in stays as it is. A page that nobody looks at asks for nothing.

const pulse = byId("pulse");
const rest = (ms) => new Promise((done) => setTimeout(done, ms));
const seen = () => new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));

function say(words, state) {
  if (!pulse) return;
  pulse.hidden = false;
  pulse.className = "pulse " + state;
  const at = pulse.querySelector(".words");
  if (at.textContent !== words) at.textContent = words;
}

function busy(part) {
  const at = document.activeElement;
  if (part.contains(at) && typing(at)) return true;
  return [...part.querySelectorAll("form details[open]")].length > 0;
}

function takeOver(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const part of document.querySelectorAll("[data-part]")) {
    const next = fresh.getElementById(part.id);
    if (!next || busy(part) || sameButToken(part, next)) continue;
    for (const open of part.querySelectorAll("details[id][open]")) {
      const same = next.querySelector("#" + CSS.escape(open.id));
      if (same) same.open = true;
    }
    for (const row of next.querySelectorAll("tbody tr[id]")) {
      const was = byId(row.id);
      if (!was || !sameButToken(was, row)) row.classList.add("fresh");
    }
    const at = document.activeElement;
    const focused = part.contains(at) ? at.getAttribute("href") : null;
    part.replaceWith(next);
    if (focused) next.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }
  measure();
}

// The head of a long list stays in sight where the list needs no scrolling of its own: only then can it stick to the window.
function measure() {
  const fits = [...document.querySelectorAll("#rows > .scroll")].every((one) => one.scrollWidth <= one.clientWidth);
  document.documentElement.classList.toggle("fits", fits);
}
addEventListener("resize", measure);
measure();

function sameButToken(one, other) {
  const plain = (part) => part.innerHTML.replace(/name="token" value="[^"]*"/g, "").replace(/ open=""/g, "").replace(/ class="fresh"/g, "");
  return plain(one) === plain(other);
}

async function live() {
  let after = "";
  let tag = "";
  let pause = 1000;
  for (;;) {
    if (document.hidden) await seen();
    try {
      const news = await fetch("/console/live?after=" + encodeURIComponent(after) + (document.querySelector("[data-busy]") ? "&busy=yes" : ""), { headers: { Accept: "application/json" } });
      if (news.status === 401) { say("Signed out", "off"); return; }
      if (!news.ok) throw new Error(String(news.status));
      after = (await news.json()).next;
      // What was refused stands at the address of its form, which shows nothing by itself.
      const page = await fetch(document.body.dataset.live || location.href, { headers: tag ? { "If-None-Match": tag } : {} });
      if (page.status === 200) {
        tag = page.headers.get("ETag") || "";
        takeOver(await page.text());
      }
      say("Live", "on");
      pause = 1000;
    } catch {
      say("No connection", "off");
      pause = Math.min(pause * 2, 15000);
    }
    await rest(pause);
  }
}
if ("live" in document.body.dataset) live();

// -- what is looked for comes into sight --------------------------------------------------------------------------

// On a phone the rooms are one row that is wider than the screen; a large family is drawn larger than it.
for (const [frame, here] of [[".rooms", ".rooms [aria-current]"], [".drawn", ".drawn rect.me"]]) {
  const outer = document.querySelector(frame);
  const inner = document.querySelector(here);
  if (!outer || !inner) continue;
  const [a, b] = [outer.getBoundingClientRect(), inner.getBoundingClientRect()];
  outer.scrollBy(b.left + b.width / 2 - a.left - a.width / 2, b.top + b.height / 2 - a.top - a.height / 2);
}

// -- forms -------------------------------------------------------------------------------------------------------

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "yes";
  // After a while, or when the page comes back out of the browser's memory, it may be sent again: its token is the same.
  setTimeout(() => delete form.dataset.sent, 5000);
});
addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent));

// What is known of the concession that is typed stands beside it.
document.addEventListener("input", (event) => {
  const list = event.target.list;
  const at = list && event.target.form.querySelector(`[data-says="${list.id}"]`);
  if (!at) return;
  const known = [...list.options].filter((one) => one.value === event.target.value.trim());
  at.textContent = known.map((one) => `${one.value}: ${one.textContent}`).join("; ");
});

// -- keys --------------------------------------------------------------------------------------------------------

const rooms = { l: "/console", b: "/console/backlog", t: "/console/tasks", d: "/console/deliveries", q: "/console/quality", r: "/console/rules", s: "/console/system", h: "/console/help" };
let went = 0;

function move(by) {
  const links = [...document.querySelectorAll("table.rows tbody tr a:first-of-type")];
  if (!links.length) return;
  const at = links.indexOf(document.activeElement);
  const next = at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + by, 0), links.length - 1);
  links[next].focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && typing(document.activeElement)) { document.activeElement.blur(); return; }
  if (typing(document.activeElement)) return;
  if (event.key === "/") { byId("scan")?.focus(); byId("scan")?.select(); event.preventDefault(); }
  else if (event.key === "?") byId("keys").showModal();
  else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "g") went = Date.now();
  else if (rooms[event.key] && Date.now() - went < 1500) location.href = rooms[event.key];
});

// -- writing rules -----------------------------------------------------------------------------------------------

const editor = byId("editor");
if (editor) {
  const content = byId("content");
  const gutter = editor.querySelector(".gutter");
  const summary = editor.querySelector(".summary");
  const spots = editor.querySelector(".spots");
  const marks = { error: "fail", warning: "unknown", test: "fail" };
  let bad = new Set();
  let timer = 0;
  let asked = 0;

  const number = () => {
    const lines = content.value.split("\n").length;
    gutter.replaceChildren(...Array.from({ length: lines }, (_, n) => {
      const line = document.createElement("span");
      line.textContent = String(n + 1);
      if (bad.has(n + 1)) line.className = "bad";
      return line;
    }));
    gutter.scrollTop = content.scrollTop;
  };
  const go = (line, column) => {
    const start = content.value.split("\n").slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0) + column - 1;
    content.focus();
    content.setSelectionRange(start, start);
    content.scrollTop = Math.max(0, (line - 8) * parseFloat(getComputedStyle(content).lineHeight));
  };
  const item = (spot, here) => {
    const row = document.createElement("li");
    const mark = document.createElement("span");
    mark.className = "verdict " + marks[spot.level];
    mark.textContent = spot.level;
    const place = document.createElement(here ? "button" : "span");
    place.className = here ? "quiet place" : "place";
    place.textContent = here ? `line ${spot.line}, column ${spot.column}` : spot.file ? `${spot.file}:${spot.line}` : "";
    if (here) { place.type = "button"; place.addEventListener("click", () => go(spot.line, spot.column)); }
    const words = document.createElement("span");
    words.textContent = " " + spot.words;
    const hint = document.createElement("span");
    hint.className = "soft";
    hint.textContent = spot.hint ? " " + spot.hint : "";
    row.append(mark, " ", place, words, hint);
    return row;
  };
  const lint = async () => {
    const mine = ++asked;
    const form = new FormData(editor);
    const name = String(form.get("file") || "").trim() || "new.yaml";
    const body = new URLSearchParams({ base: String(form.get("base")), file: name, content: content.value, csrf: String(form.get("csrf") || "") });
    try {
      const answer = await fetch(editor.dataset.lint, { method: "POST", body });
      if (mine !== asked) return;
      if (!answer.ok) { summary.textContent = "It could not be looked at (" + answer.status + ")."; return; }
      const looked = await answer.json();
      summary.textContent = looked.summary;
      bad = new Set(looked.spots.filter((spot) => spot.file === name && spot.level !== "warning").map((spot) => spot.line));
      spots.replaceChildren(...looked.spots.slice(0, 100).map((spot) => item(spot, spot.file === name)));
      number();
    } catch { summary.textContent = "No connection: it is not looked at now."; }
  };
  content.addEventListener("input", () => { number(); clearTimeout(timer); timer = setTimeout(lint, 400); });
  content.addEventListener("scroll", () => { gutter.scrollTop = content.scrollTop; });
  number();
  lint();
}
