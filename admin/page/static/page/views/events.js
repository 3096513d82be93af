import { html } from "../dom.js";
import { clock, exactly } from "../format.js";
import { empty, page, pill } from "../parts.js";
import { state } from "../state.js";

export const title = "Events";

const shown = 300;
const filter = { level: "", words: "" };
export function setFilter(key, value) { filter[key] = value; }

export function view() {
  const fits = (e) => (!filter.level || e.level === filter.level || filter.level === "warning" && e.level === "error") &&
    (!filter.words || `${e.kind} ${e.message} ${Object.values(e.fields || {}).join(" ")}`.toLowerCase().includes(filter.words.toLowerCase()));
  const list = state.events.filter(fits).reverse();
  return page(title, "What happens, as it happens.", null, html`
    <form class="filters" role="search" aria-label="Events" data-keep data-key="filters">
      <label>Show <select data-filter="level"><option value="">everything</option><option value="warning">warnings and errors</option><option value="error">errors</option></select></label>
      <label class="grow">Find <input type="search" data-filter="words" placeholder="an initiator, a LUN, a word" autocomplete="off"></label></form>
    ${state.lost ? html`<p class="dim">${state.lost} older events are not kept any more.</p>` : ""}
    ${list.length ? html`<div class="card flush"><ol class="log" aria-label="Events, the newest first">${list.slice(0, shown).map((e) => html`<li data-key="e${e.id}" class="${e.level}">
      <time datetime="${e.time}" title="${exactly(e.time)}">${clock(e.time)}</time>${pill(e.level === "error" ? "bad" : e.level === "warning" ? "warn" : "idle", e.kind)}<span class="what">${e.message}<span class="under">${fields(e).map(([k, v]) => html`<span>${k} <b>${v}</b></span>`)}</span></span></li>`)}</ol></div>`
    : empty("event", "Nothing", filter.level || filter.words ? "No event fits." : "Nothing has happened since the daemon started.", "")}`);
}

// fields are what an event says beside its message, but for what only tells connections apart.
const minor = ["connection", "isid", "tsih", "portal"];
const first = ["initiator", "target", "lun", "store", "from"];
function fields(e) {
  const rank = (k) => (first.includes(k) ? first.indexOf(k) : first.length);
  return Object.entries(e.fields || {}).filter(([k, v]) => !minor.includes(k) && v !== "false" && v !== "").sort(([a], [b]) => rank(a) - rank(b));
}
