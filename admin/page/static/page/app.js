// The page: which view is shown, and what is asked for while it is.
import { post } from "./api.js";
import { draw, repaint } from "./chart.js";
import { actions as onJob } from "./actions/job.js";
import { actions as onLUN } from "./actions/lun.js";
import { actions as onReservation } from "./actions/reservation.js";
import { actions as onSession } from "./actions/session.js";
import { actions as onSnapshot } from "./actions/snapshot.js";
import { actions as onTarget } from "./actions/target.js";
import { say } from "./dialog.js";
import { html, render } from "./dom.js";
import { ago } from "./format.js";
import { concerns } from "./health.js";
import { icon } from "./icons.js";
import { drawMap } from "./map.js";
import { askAccess, askLoad, askLUN, askMap, askReservations, askSnapshots, askStatus, beat, changed, deaf, identify, listen, onChange, seriesOf, soon, state, tick } from "./state.js";
import * as overview from "./views/overview.js";
import * as luns from "./views/luns.js";
import * as lun from "./views/lun.js";
import * as targets from "./views/targets.js";
import * as sessions from "./views/sessions.js";
import * as reservations from "./views/reservations.js";
import * as snapshots from "./views/snapshots.js";
import * as jobs from "./views/jobs.js";
import * as events from "./views/events.js";

const places = [
  ["", "overview", overview], ["luns", "lun", luns], ["targets", "target", targets], ["sessions", "session", sessions],
  ["snapshots", "snapshot", snapshots], ["reservations", "reservation", reservations], ["jobs", "job", jobs], ["events", "event", events],
];
const onTabs = ["", "luns", "targets", "sessions"]; // of a narrow page; the others are behind More

function where() {
  const [place = "", ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  if (place === "luns" && rest.length && rest[0]) {
    let name = rest.join("/");
    try { name = decodeURIComponent(name); } catch { /* as it is */ }
    return { place, view: lun, name };
  }
  const found = places.find(([p]) => p === place) || places[0];
  return { place: found[0], view: found[2], name: "" };
}

// ---- what is drawn

const app = document.getElementById("app");

function link([place, sign, view], here, badge) {
  return html`<a href="#/${place}" ${here.place === place ? html`aria-current="page"` : ""}>${icon(sign)}<span>${view.title}</span>${badge ? html`<b class="badge ${badge.grade || ""}">${badge.text}${badge.hidden ? html`<span class="sr">${badge.hidden}</span>` : ""}</b>` : ""}</a>`;
}

function badges() {
  const urgent = concerns().filter((c) => c.grade !== "note").length, running = (state.status?.jobs || []).filter((j) => j.state === "running").length;
  return { "": urgent ? { text: urgent, grade: "alarm", hidden: " to look at" } : null, jobs: running ? { text: running, hidden: " running" } : null };
}

function shell() {
  const here = where(), badge = badges();
  const content = here.view === lun ? lun.view(here.name) : here.view.view();
  return html`
    <aside class="side"><a class="brand" href="#/"><img src="/page/icon.svg" alt="" width="28" height="28"><span>isantarget</span></a>
      <nav aria-label="Views">${places.map((p) => link(p, here, badge[p[0]]))}</nav>
      <div class="foot">${theme()}${leave()}<p class="dim">${state.status ? "version " + state.status.version : ""}</p></div></aside>
    <div class="column"><header class="top"><a class="brand" href="#/"><img src="/page/icon.svg" alt="" width="26" height="26"><span>isantarget</span></a></header>
      ${state.failure ? html`<p class="offline" role="alert">${icon("warn")}<span>${state.failure} ${state.heardAt ? `What is shown is from ${ago(state.heardAt)}. ` : ""}It is asked again every few seconds.</span></p>` : ""}
      ${state.who.scope === "read" ? html`<p class="readonly">${icon("note")}<span>The token ${state.who.name} is only to read: nothing can be changed here.</span></p>` : ""}
      <main id="main" tabindex="-1">${content}</main></div>
    <nav class="tabs" aria-label="Views">${places.filter(([p]) => onTabs.includes(p)).map((p) => link(p, here, badge[p[0]]))}
      <button type="button" data-action="more" aria-haspopup="dialog" ${onTabs.includes(here.place) ? "" : html`aria-current="page"`}>${icon("more")}<span>More</span>${badge.jobs ? html`<b class="badge">${badge.jobs.text}<span class="sr"> jobs running</span></b>` : ""}</button></nav>
    <dialog class="sheet" id="more" aria-label="More views" data-keep><nav aria-label="More views">${places.filter(([p]) => !onTabs.includes(p)).map((p) => link(p, here))}</nav>${theme()}${leave()}<button type="button" class="button" data-action="less">Close</button></dialog>`;
}

const dark = () => document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
const theme = () => html`<button type="button" class="plainbutton" data-action="theme">${icon(dark() ? "sun" : "moon")}<span>${dark() ? "Light" : "Dark"} colours</span></button>`;
const leave = () => state.who.login ? html`<button type="button" class="plainbutton" data-action="leave">${icon("leave")}<span>Log out</span></button>` : "";

const entrance = () => html`<main id="main" class="entrance" tabindex="-1"><form class="card" data-login data-keep data-key="login" novalidate><img src="/page/icon.svg" alt="" width="48" height="48"><h1 id="title" tabindex="-1">isantarget</h1>
  <div class="field"><label for="token">Token</label><input id="token" name="token" type="password" autocomplete="current-password" required aria-describedby="where"></div>
  <p class="failure" role="alert" hidden></p><button type="submit" class="button primary">Log in</button>
  <p class="hint" id="where">It is the one that the configuration names under [[admin.token]]; where it names none, the daemon has made one and keeps it in its state directory.</p></form></main>`;

function seriesFor(name) {
  if (name === "all") return state.all;
  const [kind, key] = [name.slice(0, name.indexOf(":")), name.slice(name.indexOf(":") + 1)];
  return kind === "space" ? state.spaces.get(key) || { t: [], used: [], images: [] } : seriesOf("luns", key);
}

function paint() {
  if (state.who === null) return;
  if (!state.who.scope) {
    document.title = "Log in – isantarget";
    if (!app.querySelector("[data-login]")) {
      render(app, entrance());
      document.getElementById("token").focus();
    }
    return;
  }
  const here = where();
  document.title = `${here.view === lun ? lun.title(here.name) : here.view.title} – isantarget`;
  render(app, shell());
  draw(app, seriesFor);
  drawMap(app);
}

// ---- what is asked for

function clockwork() {
  const at = (...names) => names.includes(where().place);
  const named = () => where().view === lun ? where().name : "";
  beat(2, askStatus);
  beat(1, askLoad);
  beat(4, () => at("snapshots") || named() ? askSnapshots() : undefined);
  beat(5, () => at("reservations", "") ? askReservations() : undefined);
  beat(10, () => at("targets") ? askAccess() : undefined);
  beat(2, () => named() ? askLUN(named()) : undefined);
  beat(5, () => named() ? askMap(named()) : undefined);
  setInterval(tick, 250);
  document.addEventListener("visibilitychange", tick);
}

async function begin() {
  try {
    await identify();
  } catch (e) {
    state.failure = e.message;
    setTimeout(begin, 2000);
    if (!app.firstChild) render(app, html`<main id="main" class="entrance"><p class="card">${e.message} It is asked again every few seconds.</p></main>`);
    return;
  }
  if (state.who.scope) listen();
  changed();
  soon();
}

// ---- what people do

app.addEventListener("submit", async (e) => {
  e.preventDefault();
  const form = e.target.closest("[data-login]");
  if (!form) return;
  const failure = form.querySelector(".failure"), token = form.elements.token;
  failure.hidden = true;
  try {
    await post("/login", { token: token.value.trim() });
    token.value = "";
    app.replaceChildren();
    await begin();
    document.getElementById("title")?.focus();
  } catch (error) {
    failure.textContent = error.message;
    failure.hidden = false;
    token.select();
  }
});

const actions = {
  ...onLUN, ...onSnapshot, ...onTarget, ...onSession, ...onReservation, ...onJob,
  theme: () => {
    const next = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try { localStorage.setItem("theme", next); } catch { /* it lasts as long as the page */ }
    document.getElementById("more")?.close();
    repaint();
    changed();
  },
  leave: async () => {
    deaf();
    try { await post("/logout"); } catch (e) { say(e.message, "bad"); listen(); return; }
    Object.assign(state, { who: { scope: "", login: true }, status: null, events: [], reservations: null, snapshots: null, lun: null, map: null });
    app.replaceChildren();
    changed();
  },
  more: () => document.getElementById("more").showModal(),
  less: () => document.getElementById("more").close(),
};

document.addEventListener("click", (e) => {
  if (e.target.closest(".skip")) {
    e.preventDefault();
    document.getElementById("main")?.focus();
    return;
  }
  const sheet = document.getElementById("more");
  if (sheet?.open && (e.target.closest("#more a") || e.target === sheet)) sheet.close();
  const pressed = e.target.closest("[data-action]");
  if (!pressed) return;
  actions[pressed.dataset.action]?.(pressed.dataset.name, pressed.dataset.more);
});

document.addEventListener("input", (e) => {
  const key = e.target.dataset?.filter;
  if (key) { events.setFilter(key, e.target.value); changed(); }
});

addEventListener("hashchange", () => {
  document.getElementById("more")?.close();
  state.map = null;
  soon();
  paint();
  scrollTo(0, 0);
  document.getElementById("title")?.focus({ preventScroll: true });
});
addEventListener("resize", () => drawMap(app));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { repaint(); changed(); });

onChange(paint);
setInterval(changed, 5000); // "3 min ago" goes on
clockwork();
begin();
