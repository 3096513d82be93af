import { html } from "../dom.js";
import { plural } from "../format.js";
import { accessWords, button, empty, fullName, page, pill, waiting } from "../parts.js";
import { state } from "../state.js";

export const title = "Targets";

export function view() {
  if (!state.status) return page(title, "", null, waiting);
  const list = state.status.targets || [];
  const create = button("create-target", "Create target", { kind: "primary", sign: "plus" });
  if (!list.length) return page(title, "What initiators log in to.", null, empty("target", "No target", "A target is a name that initiators log in to, and shows them LUNs.", create));
  return page(title, "What initiators log in to, where, and who may.", create, list.map((t) => html`<article class="card target" data-key="${t.name}" aria-label="${t.name}">
    <div class="cardhead"><div><h2>${fullName(t.name)}</h2>${t.alias ? html`<p class="dim">${t.alias}</p>` : ""}</div><div class="actions">${t.sessions ? pill("good", plural(t.sessions, "session")) : pill("idle", "nobody logged in")}${button("admit", "Admit initiators", { name: t.name, kind: "small", title: `Admit initiators to ${t.name}` })}${button("delete-target", "Delete", { name: t.name, kind: "small danger", title: `Delete ${t.name}` })}</div></div>
    <div class="trio">
      <section><h3>Portals</h3>${t.portals.length ? html`<ul class="plain">${t.portals.map((p) => html`<li><code>${p.address}</code> <span class="dim">group ${p["portal-group"]}</span></li>`)}</ul>` : html`<p class="dim">none: nobody can reach it</p>`}</section>
      <section><h3>LUNs</h3>${Object.keys(t.luns || {}).length ? html`<ul class="plain">${Object.entries(t.luns).map(([n, name]) => html`<li><span class="lunno">${n}</span> <a href="#/luns/${encodeURIComponent(name)}">${name}</a></li>`)}</ul>` : html`<p class="dim">none</p>`}</section>
      <section><h3>Who may log in</h3><p>${accessWords(t)}</p>${rules(t)}</section>
    </div></article>`));
}

const chapWords = (c) => c && c.user !== undefined ? `CHAP as ${c.user || "a user"}` : c ? "CHAP" : "";

function rules(t) {
  if (!state.access) return "";
  const same = (name) => (name || "").toLowerCase() === t.name.toLowerCase();
  const own = state.access.targets.filter((o) => same(o.object.name)).flatMap((o) => (o.object.rule || []).map((r) => ({ ...r, name: r.label, where: o.where })));
  const added = state.access.rules.filter((o) => same(o.object.target)).map((o) => ({ ...o.object, where: o.where, apart: true }));
  const target = state.access.targets.find((o) => same(o.object.name));
  const chap = chapWords(target?.object.chap);
  const list = [...own, ...added];
  if (!list.length && !chap) return "";
  const from = (r) => [...(r.networks || []), ...(r.hosts || [])];
  return html`<ol class="rules">${list.map((r) => html`<li>${r.apart ? button("delete-rule", "Delete", { name: r.name, kind: "small danger", title: `Delete the rule ${r.name}` }) : ""}<p class="strong">${r.name || "a rule without a label"}</p>
    <p>${(r.initiators || []).length ? (r.initiators || []).map((i) => html`<code class="name">${i}</code>`) : "any initiator"}${from(r).length ? html` from ${from(r).join(", ")}` : ""}</p>
    <p class="dim">${[chapWords(r.chap) || chap || "without CHAP", r["mutual-chap"] ? "mutual" : "", r.luns ? "sees LUNs " + Object.entries(r.luns).map(([n, l]) => `${n} ${l}`).join(", ") : ""].filter(Boolean).join("; ")}</p></li>`)}</ol>${chap && !list.length ? html`<p class="dim">${chap}</p>` : ""}`;
}
