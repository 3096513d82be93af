// Pieces that several views are made of.
import { html } from "./dom.js";
import { ago, exactly, plural, rate, shortName } from "./format.js";
import { icon } from "./icons.js";
import { last, mayWrite, seriesOf, state } from "./state.js";
import { sparkline, titleOf } from "./chart.js";

export const button = (action, label, { kind = "", name = "", data = "", sign = "", title = "" } = {}) => !mayWrite() ? "" :
  html`<button type="button" class="button ${kind}" data-action="${action}" data-name="${name}" data-more="${data}" ${title ? html`aria-label="${title}"` : ""}>${sign ? icon(sign) : ""}<span>${label}</span></button>`;

export const page = (title, about, actions, body) => html`
  <header class="head"><div><h1 id="title" tabindex="-1">${title}</h1>${about ? html`<p class="about">${about}</p>` : ""}</div>
  ${actions && mayWrite() ? html`<div class="actions">${actions}</div>` : ""}</header>${body}`;

export const empty = (sign, title, text, action) => html`<div class="card empty">${icon(sign)}<h2>${title}</h2><p>${text}</p>${action || ""}</div>`;
export const waiting = html`<div class="card waiting" aria-busy="true"><span class="bone"></span><span class="bone"></span><span class="bone"></span><span class="sr">Loading</span></div>`;

export const pill = (kind, word) => html`<span class="pill ${kind}">${word}</span>`;
export const time = (when) => html`<time datetime="${when}" title="${exactly(when)}">${ago(when)}</time>`;
export const iqn = (name) => html`<span class="iqn" title="${name}">${shortName(name)}</span>`;
export const fullName = (name) => html`<code class="name">${name}</code>`;

// bar is a share of a whole; parts are [share from 0 to 1, class].
export function bar(label, ...parts) {
  let at = 0;
  return html`<svg class="bar" role="img" aria-label="${label}" preserveAspectRatio="none" viewBox="0 0 100 8"><rect class="all" width="100" height="8"/>${parts.map(([share, kind]) => {
    const width = Math.min(Math.max(share, 0), 1 - at) * 100;
    const one = html`<rect class="${kind}" x="${(at * 100).toFixed(2)}" width="${width.toFixed(2)}" height="8"/>`;
    at += width / 100;
    return one;
  })}</svg>`;
}

// table is one that says its columns again beside each cell where it is too narrow for them.
export function table(caption, columns, rows) {
  return html`<div class="card flush"><table><caption class="sr">${caption}</caption><thead><tr>${columns.map((c) => html`<th scope="col" class="${c.kind || ""}">${c.name || html`<span class="sr">${c.hidden}</span>`}</th>`)}</tr></thead>
    <tbody>${rows.map(({ key, cells }) => html`<tr data-key="${key}">${cells.map((cell, i) => i === 0
    ? html`<th scope="row" class="${columns[i].kind || ""}">${cell}</th>`
    : html`<td class="${columns[i].kind || ""}" data-label="${columns[i].name || ""}"><div class="cell">${cell}</div></td>`)}</tr>`)}</tbody></table></div>`;
}

export const chart = (kind, series) => html`<figure class="card chart">
  <figcaption><h2>${titleOf(kind)}${kind === "latency" ? html` <small data-keep data-slow></small>` : ""}</h2><p class="legend"><span class="read"><i></i>read <b data-keep data-value="0">–</b></span><span class="write"><i></i>write <b data-keep data-value="1">–</b></span></p></figcaption>
  <div class="plot" data-keep data-key="${kind}/${series}" data-chart="${kind}" data-series="${series}" role="img" aria-label="${titleOf(kind)} of the last five minutes${kind === "latency" ? ", the mean of each second" : ""}"></div></figure>`;

// trend is a chart of the space of a file system, within its card.
export const trend = (id, names) => html`<figure class="trend">
  <figcaption class="legend"><span><i class="used"></i>in use <b data-keep data-value="0">–</b></span><span><i class="images"></i>images <b data-keep data-value="1">–</b></span></figcaption>
  <div class="plot" data-keep data-key="space/${id}" data-chart="space" data-series="space:${id}" role="img" aria-label="Space of ${names} in the last five minutes"></div></figure>`;

export function flow(kind, key) {
  if (!state[kind].has(key)) return html`<span class="dim">–</span>`;
  const s = seriesOf(kind, key), now = last(s), sum = s.read.map((r, i) => r + s.write[i]).slice(-60);
  return html`<span class="flow"><svg class="spark" viewBox="0 0 96 24" aria-hidden="true"><path d="${sparkline(sum)}"/></svg><span>${rate((now.read || 0) + (now.write || 0))}</span></span>`;
}

export function jobCard(j) {
  const share = j["bytes-total"] > 0 ? j["bytes-done"] / j["bytes-total"] : 0;
  return html`<progress max="1" ${j["bytes-total"] > 0 ? html`value="${share.toFixed(3)}"` : ""} aria-label="${j.kind} of ${j.object}">${Math.round(share * 100)} %</progress>`;
}

// accessWords says of a target who is admitted.
export function accessWords(t) {
  if (t.access === "open") return "everybody who reaches a portal" + (t.rules ? ", beside its rules" : "");
  if (t.access === "loopback") return t.rules ? `whom ${plural(t.rules, "rule")} admits, and this host` : "this host only: no rule admits anybody else";
  return t.rules ? `whom ${plural(t.rules, "rule")} admits` : "nobody";
}

// usage is how much of each LUN's image is allocated, by name.
export function usage() {
  const all = new Map();
  for (const s of state.status?.stores || []) for (const i of s.images || []) all.set(i.lun, i.allocated);
  return all;
}
