import { html } from "../dom.js";
import { bytes, clock, duration, percent, rate, shortName } from "../format.js";
import { icon } from "../icons.js";
import { concerns, inWords, summary } from "../health.js";
import { bar, button, chart, empty, flow, jobCard, page, trend, waiting } from "../parts.js";
import { fileSystems, last, mayWrite, state } from "../state.js";

export const title = "Overview";

export function view() {
  if (!state.status) return page(title, "", null, waiting);
  const served = (state.status.luns || []).length > 0;
  return page(title, "", button("create-lun", "Create LUN", { kind: "primary", sign: "plus" }), html`
    ${health()}
    ${served ? "" : empty("lun", "No LUN yet", mayWrite() ? "A LUN is a disk that initiators see. Make one, and show it to a target." : "A LUN is a disk that initiators see. Nobody has made one.", "")}
    <div class="grid fit">${served ? busiest() : ""}${space()}</div>
    ${served ? html`<section class="grid charts three" aria-label="Load">${chart("throughput", "all")}${chart("iops", "all")}${chart("latency", "all")}</section>` : ""}
    <div class="grid two">${jobs()}${news()}</div>`);
}

function health() {
  const list = concerns(), word = inWords(list);
  const sign = { good: "good", bad: "bad", warn: "warn", note: "note" };
  return html`<section class="card health ${word.grade}" aria-labelledby="health">
    <div class="verdict">${icon(sign[word.grade])}<div><h2 id="health">${word.text}</h2><p>${summary()}</p></div></div>
    ${list.length ? html`<ul class="concerns">${list.map((c) => html`<li class="${c.grade}">${icon(sign[c.grade])}<div><h3>${c.link ? html`<a href="${c.link}">${c.title}</a>` : c.title}</h3><p>${c.text}</p></div></li>`)}</ul>` : ""}
  </section>`;
}

function busiest() {
  const list = (state.status.luns || []).map((l) => ({ name: l.name, now: state.luns.has(l.name) ? last(state.luns.get(l.name)) : null }))
    .map((x) => ({ ...x, sum: x.now ? (x.now.read || 0) + (x.now.write || 0) : 0 })).sort((a, b) => b.sum - a.sum || a.name.localeCompare(b.name)).slice(0, 5);
  return html`<section class="card list" aria-labelledby="busiest"><div class="cardhead"><h2 id="busiest">Busiest LUNs</h2><a href="#/luns">All LUNs</a></div>
    <ul class="rows">${list.map((x) => html`<li data-key="${x.name}"><a class="strong" href="#/luns/${encodeURIComponent(x.name)}">${x.name}</a>${flow("luns", x.name)}</li>`)}</ul></section>`;
}

function space() {
  return fileSystems().map(({ id, f, stores, unknown }) => {
    const names = stores.map((s) => s.name || s.path).join(", ");
    if (unknown) return html`<section class="card space" data-key="${id}" aria-label="Space: ${names}"><div class="cardhead"><h2>Space: ${names}</h2></div><p class="dim">${unknown === true ? "Nothing is known of its file system." : unknown}</p></section>`;
    const other = Math.max(f.capacity - f.available - f.allocated, 0), tight = stores.some((s) => s["space-threshold"] > 0 && (1 - f.available / f.capacity) * 100 >= s["space-threshold"]) || f.available < f.capacity * 0.05;
    return html`<section class="card space" data-key="${id}" aria-label="Space: ${names}"><div class="cardhead"><h2>Space: ${names}</h2><p class="dim">${stores[0].path}</p></div>
      <p class="big">${bytes(f.available)} <span class="dim">free of ${bytes(f.capacity)}</span></p>
      ${bar(`${percent(f.capacity - f.available, f.capacity)} of ${names} is in use`, [f.allocated / f.capacity, tight ? "images tight" : "images"], [other / f.capacity, "other"])}
      <ul class="keys"><li><i class="images ${tight ? "tight" : ""}"></i>images ${bytes(f.allocated)}</li><li><i class="other"></i>other files ${bytes(other)}</li><li><i class="free"></i>free ${bytes(f.available)}</li></ul>
      <p class="dim">${bytes(f.promised)} ${f.promised === 1 ? "is" : "are"} promised to images${f.ratio > 1 ? html`: ${f.ratio.toFixed(1)} times what there is` : ""}.</p>
      ${trend(id, names)}</section>`;
  });
}

function jobs() {
  const running = (state.status.jobs || []).filter((j) => j.state === "running" || j.state === "cancelling");
  return html`<section class="card list" aria-labelledby="jobs"><div class="cardhead"><h2 id="jobs">Jobs</h2><a href="#/jobs">All jobs</a></div>
    ${running.length ? html`<ul class="rows tall">${running.map((j) => html`<li data-key="${j.id}"><div class="job"><p><b>${j.kind}</b> of ${j.object}<span class="dim">${j.phase !== j.kind ? j.phase : ""}</span></p>${jobCard(j)}
    <p class="dim">${bytes(j["bytes-done"])}${j["bytes-total"] ? ` of ${bytes(j["bytes-total"])}` : ""}, ${rate(j["bytes-per-second"])}${j["seconds-left"] >= 0 ? `, ${duration(j["seconds-left"])} left` : ""}</p></div></li>`)}</ul>`
    : html`<p class="quiet">Nothing takes long just now.</p>`}</section>`;
}

// about is what an event is about, in short.
function about(e) {
  const f = e.fields || {}, name = f.initiator ? shortName(f.initiator) : f.lun || f.store || "";
  return name && !e.message.includes(name) ? html` <b class="of">${name}</b>` : "";
}

function news() {
  const list = state.events.slice(-6).reverse();
  return html`<section class="card list" aria-labelledby="news"><div class="cardhead"><h2 id="news">Latest events</h2><a href="#/events">All events</a></div>
    ${list.length ? html`<ul class="rows events">${list.map((e) => html`<li data-key="${e.id}" class="${e.level}"><time datetime="${e.time}">${clock(e.time)}</time><span>${e.message}${about(e)}</span></li>`)}</ul>` : html`<p class="quiet">Nothing has happened yet.</p>`}</section>`;
}
