import { html } from "../dom.js";
import { bytes, percent, plural } from "../format.js";
import { bar, button, empty, flow, page, pill, table, usage, waiting } from "../parts.js";
import { mayWrite, state } from "../state.js";

export const title = "LUNs";

// stateOf is how a LUN is, in a word.
export function stateOf(l) {
  if (l["not-ready"]) return pill("bad", "not ready");
  if ((l.alerts || []).length) return pill("warn", "needs you");
  if ((l.faults || []).length) return pill("note", "faults set");
  return pill("good", "ready");
}

// targetsOf are those that show a LUN: [target, number].
export function targetsOf(name) {
  const list = [];
  for (const t of state.status?.targets || []) for (const [n, lun] of Object.entries(t.luns || {})) if (lun === name) list.push([t, n]);
  return list;
}

export function view() {
  if (!state.status) return page(title, "", null, waiting);
  const luns = state.status.luns || [], used = usage();
  const create = button("create-lun", "Create LUN", { kind: "primary", sign: "plus" });
  if (!luns.length) return page(title, "The disks that initiators see.", null, empty("lun", "No LUN yet", mayWrite() ? "Make the first one: a name and a size are enough." : "Nobody has made one.", create));
  return page(title, "The disks that initiators see.", create, table("LUNs", [{ name: "Name" }, { name: "State" }, { name: "Size", kind: "number" }, { name: "Allocated", kind: "wide" }, { name: "Shown by" }, { name: "Throughput", kind: "number" }],
    luns.map((l) => ({
      key: l.name, cells: [
        html`<a class="strong" href="#/luns/${encodeURIComponent(l.name)}">${l.name}</a><span class="under">${l.kind}${l.path ? html`, <span class="path">${l.path}</span>` : ""}</span>`,
        stateOf(l), bytes(l.size), allocated(l, used), shown(l), flow("luns", l.name)],
    }))));
}

function allocated(l, used) {
  if (!used.has(l.name)) return html`<span class="dim">not told</span>`;
  const n = used.get(l.name);
  return html`<span class="share">${bar(`${percent(n, l.size)} of ${l.name} is allocated`, [l.size ? n / l.size : 0, "images"])}<span>${bytes(n)}</span></span>`;
}

function shown(l) {
  const list = targetsOf(l.name);
  if (!list.length) return html`<span class="dim">no target</span>`;
  const sessions = list.reduce((n, [t]) => n + t.sessions, 0);
  return html`${list.map(([t, n], i) => html`${i ? ", " : ""}<a href="#/targets">${t.name.split(":").slice(1).join(":") || t.name}</a> as ${n}`)}<span class="under">${sessions ? plural(sessions, "session") : "nobody logged in"}</span>`;
}
