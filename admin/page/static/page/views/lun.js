import { recoveries } from "../actions/lun.js";
import { html } from "../dom.js";
import { bytes, duration, latency, percent, plural, rate } from "../format.js";
import { icon } from "../icons.js";
import { bar, button, chart, fullName, iqn, jobCard, page, pill, table, time, waiting } from "../parts.js";
import { state } from "../state.js";
import { stateOf } from "./luns.js";

export const title = (name) => `LUN ${name}`;

export function view(name) {
  const d = state.lun && state.lun.name === name ? state.lun : null;
  const back = html`<a class="crumb" href="#/luns">LUNs</a>`;
  if (!d) return html`${back}${page(name, "", null, waiting)}`;
  if (d.gone) return html`${back}${page(name, "", null, html`<div class="card empty">${icon("lun")}<h2>There is no LUN ${name}</h2><p>It was deleted, or never there.</p></div>`)}`;
  const act = { name };
  return html`${back}${page(html`${name} ${stateOf(d)}`, html`${bytes(d.size)}, ${d.provisioning} ${d.kind}${d.readonly ? ", read only" : ""}`, html`
    ${button("snapshot", "Snapshot", { ...act, sign: "snapshot" })}${button("grow", "Grow", { ...act, sign: "grow" })}${button("clone", "Clone", { ...act, sign: "clone" })}${button("delete-lun", "Delete", { ...act, kind: "danger", sign: "remove" })}`, html`
    ${troubles(d)}
    ${d.job && d.job.state === "running" ? html`<section class="card list" aria-label="At work on it"><div class="job pad"><p><b>${d.job.kind}</b> <span class="dim">${d.job.phase}</span></p>${jobCard(d.job)}<p class="dim">${bytes(d.job["bytes-done"])} of ${bytes(d.job["bytes-total"])}, ${rate(d.job["bytes-per-second"])}${d.job["seconds-left"] >= 0 ? `, ${duration(d.job["seconds-left"])} left` : ""}</p></div></section>` : ""}
    ${picture(d)}
    <section class="grid charts three" aria-label="Load">${chart("throughput", "lun:" + name)}${chart("iops", "lun:" + name)}${chart("latency", "lun:" + name)}</section>
    ${split(name)}
    ${snapshots(name)}
    <div class="grid two">${shownBy(d)}${facts(d)}</div>
    ${broken(d)}
    ${paths(d)}`)}`;
}

function troubles(d) {
  const list = [...(d["not-ready"] ? [["bad", "It does not serve", d["not-ready"]]] : []), ...(d.alerts || []).map((a) => ["bad", "It needs you", a])];
  return list.length ? html`<ul class="card concerns alone">${list.map(([grade, head, text], i) => html`<li class="${grade}">${icon(grade)}<div><h3>${head}</h3><p>${text}</p>
    ${i === 0 && d.recovery ? button("recover", recoveries[d.recovery][0], { name: d.name, data: d.recovery, kind: "small danger" }) : ""}</div></li>`)}</ul>` : "";
}

// broken is what goes wrong in a LUN on purpose, where it can.
function broken(d) {
  if (!d.broken) return "";
  return html`<section class="card list" aria-labelledby="faults"><div class="cardhead"><h2 id="faults">Faults on purpose</h2>${button("faults", "Set faults", { name: d.name, kind: "small" })}</div>
    ${d.broken.length ? html`<ul class="rows">${d.broken.map((f) => html`<li><code>${f.fault}</code><span class="dim">struck ${f.struck} of ${plural(f.met, "call")}</span></li>`)}</ul>` : html`<p class="quiet">None is in force: it is sound.</p>`}</section>`;
}

// picture is what of the LUN is allocated, cell by cell, from its first block to its last.
function picture(d) {
  const m = state.map && state.map.name === d.name ? state.map : null;
  const share = d.allocated >= 0 ? percent(d.allocated, d.size) : "";
  return html`<section class="card picture" aria-labelledby="picture"><div class="cardhead"><h2 id="picture">What is allocated</h2>
    <p class="dim">${d.allocated >= 0 ? html`<b>${bytes(d.allocated)}</b> of ${bytes(d.size)}, ${share}${d.shared > 0 ? `; up to ${bytes(d.shared)} of it shared with others` : ""}` : "its store does not tell"}</p><div class="actions">${button("verify", "Verify", { name: d.name, kind: "small" })}${fits(d) ? html`${button("shrink", "Shrink", { name: d.name, kind: "small" })}${button("defragment", "Defragment", { name: d.name, kind: "small" })}` : ""}</div></div>
    ${bar(`${share} of the LUN is allocated`, [d.size && d.allocated > 0 ? d.allocated / d.size : 0, "images"])}
    <canvas class="cells" data-keep data-key="cells-${d.name}" data-map="${d.name}" role="img" aria-label="The map is being drawn"></canvas>
    <p class="maplabel dim"><span>block 0</span><span data-keep class="pointed" aria-hidden="true"></span><span>${bytes(d.size)}</span></p>
    <ul class="keys"><li><i class="cell0"></i>nothing</li><li><i class="cell1"></i>a part</li><li><i class="cell2"></i>all mapped</li><li><i class="anchored"></i>anchored: space without data</li>
    <li class="last dim">${m && m.cell ? `${bytes(m.cell)} a cell` : ""}${m && !m.told ? "; this store does not tell, so all is taken for mapped" : ""}${m && m.estimated ? "; very many pieces: estimated" : ""}${d.extents >= 0 ? `; ${d.extents} ${d.extents === 1 ? "extent" : "extents"} on the disk` : ""}</li></ul></section>`;
}

// fits tells whether the image of a LUN can be made smaller or moved: the daemon says why not, where it cannot now.
const fits = (d) => d.kind === "file" && d.size > 0 && !d.readonly;

// split is where the time of a command goes, over the last seconds.
function split(name) {
  const s = state.luns.get(name);
  if (!s || !s.t.length) return "";
  const mean = (list) => { const known = list.slice(-10).filter((x) => x !== null); return known.length ? known.reduce((a, b) => a + b, 0) / known.length : 0; };
  const rows = [["waiting", "it waits for its turn, or for memory", mean(s.queue)], ["the disk", "the store works on it", mean(s.store)], ["the network", "its initiator owes data, or takes the answer", mean(s.network)]];
  const all = rows.reduce((a, r) => a + r[2], 0);
  return html`<section class="card" aria-labelledby="split"><div class="cardhead"><h2 id="split">Where the time of a command goes</h2><p class="dim">the last ten seconds</p></div>
    <ul class="split">${rows.map(([word, why, t]) => html`<li><span title="${why}">${word}</span>${bar(`${word}: ${latency(t)}`, [all ? t / all : 0, "images"])}<span>${t ? latency(t) : "–"}</span></li>`)}</ul></section>`;
}

function snapshots(name) {
  const list = (state.snapshots || []).filter((s) => s.lun === name);
  return html`<section aria-labelledby="snapshots"><h2 class="section" id="snapshots">Snapshots</h2>${list.length ? snapshotTable(list, false)
    : html`<div class="card"><p class="quiet">None. A snapshot keeps what the LUN holds now, at once, and takes space only for what is written from then on.</p></div>`}</section>`;
}

export function snapshotTable(list, withLUN) {
  const key = (s) => `${s.lun}@${s.name}`;
  return table("Snapshots", [{ name: "Name" }, ...(withLUN ? [{ name: "LUN" }] : []), { name: "Taken" }, { name: "Size", kind: "number" }, { name: "Own space", kind: "number" }, { hidden: "Actions", kind: "acts" }],
    [...list].sort((a, b) => new Date(b.taken) - new Date(a.taken)).map((s) => ({
      key: key(s), cells: [html`<span class="strong">${s.name}</span>${s.deleting ? html` ${pill("warn", "being deleted")}` : ""}`,
        ...(withLUN ? [html`<a href="#/luns/${encodeURIComponent(s.lun)}">${s.lun}</a>`] : []), time(s.taken), bytes(s.size), html`${bytes(s.own)}${s.shared ? html`<span class="under">${bytes(s.shared)} shared</span>` : ""}`,
        s.deleting ? button("delete-snapshot", "Delete", { name: s.lun, data: s.name, kind: "small danger" }) : html`${button("clone", "Clone", { name: s.lun, data: s.name, kind: "small", title: `Clone ${key(s)}` })}${button("rollback", "Roll back", { name: s.lun, data: s.name, kind: "small", title: `Roll back to ${key(s)}` })}${button("delete-snapshot", "Delete", { name: s.lun, data: s.name, kind: "small danger", title: `Delete ${key(s)}` })}`],
    })));
}

function shownBy(d) {
  return html`<section class="card list" aria-labelledby="shown"><div class="cardhead"><h2 id="shown">Shown to</h2>${button("map", "Show to a target", { name: d.name, kind: "small" })}</div>
    ${d.maps.length ? html`<ul class="rows tall">${d.maps.map((m) => html`<li data-key="${m.target}/${m.number}"><div><p>LUN ${m.number} of ${fullName(m.target)}</p>
      ${d.sessions.filter((s) => s.target === m.target).map((s) => html`<p class="dim">session ${s.tsih}: ${iqn(s.initiator)}</p>`)}</div>${button("unmap", "Hide", { name: d.name, data: m.target, kind: "small", title: `Hide it from ${m.target}` })}</li>`)}</ul>` : html`<p class="quiet">No target shows it: no initiator can see it.</p>`}</section>`;
}

function facts(d) {
  const rows = [["Serial", html`<code>${d.serial}</code>`], ["NAA", html`<code>${d.naa}</code>`], ["Image", d.path ? html`<code class="name">${d.path}</code>` : "none"],
    ["Blocks", `${d["block-size"]} bytes${d["physical-block-size"] ? `, aligned to ${d["physical-block-size"]}` : ""}`], ["Write cache", d["write-cache"] ? "on: a flush makes writes durable" : "off: every write is durable"],
    ["Free below", bytes(d.free)], ["The store can", d.features || "nothing of its own"], ...(d.layers.length ? [["Layers", d.layers.join(", ")]] : [])];
  return html`<section class="card list" aria-labelledby="facts"><div class="cardhead"><h2 id="facts">Identity and settings</h2></div><dl>${rows.map(([k, v]) => html`<div><dt>${k}</dt><dd>${v}</dd></div>`)}</dl></section>`;
}

function paths(d) {
  if (!(d.paths || []).length) return "";
  return html`<section aria-labelledby="paths"><h2 class="section" id="paths">Paths</h2>${table("Paths", [{ name: "Target port group" }, { name: "Target" }, { name: "Portal group", kind: "number" }, { name: "Access state" }, { hidden: "Actions", kind: "acts" }],
    d.paths.map((p) => ({ key: `${p.group}/${p.target}`, cells: [html`<span class="strong">group ${p.group}</span>`, iqn(p.target), p["portal-group"], html`${pill({ optimized: "good", "non-optimized": "note" }[p.state] || "warn", p.state)}${p.preferred ? " preferred" : ""}`,
      button("access-state", "Change", { name: d.name, data: p.group, kind: "small", title: `Change the access state of group ${p.group}` })] })))}</section>`;
}
