// Dialogs that change something. Each is a form; what the daemon answers to it is shown as it is.
import { call, get, part, post } from "./api.js";
import { fragment, html } from "./dom.js";
import { bytes, percent, plural, rate, duration } from "./format.js";
import { icon } from "./icons.js";
import { soon, state } from "./state.js";

// say tells of what was done, where nothing else shows it.
export function say(text, grade = "good") {
  const one = fragment(html`<p class="toast ${grade}">${icon(grade)}<span>${text}</span></p>`).firstElementChild;
  document.getElementById("said").append(one);
  setTimeout(() => one.remove(), 8000);
}

let numbers = 0;

// open shows a dialog; it is closed when act has done what the form says, and stays with the reason where that fails.
// typed is a name that has to be typed in before act can be asked for.
function open({ title, text = "", fields = "", act, label, danger = false, typed = "", watch = "", wide = false }) {
  const id = `d${++numbers}`;
  const dialog = fragment(html`<dialog aria-labelledby="${id}-title" class="${wide ? "wide" : ""}"><form method="dialog" novalidate>
    <header><h2 id="${id}-title">${title}</h2><button type="button" class="plainbutton" data-close aria-label="Close">${icon("close")}</button></header>
    <div class="body">${text}${fields}
    ${typed ? html`<div class="field"><label for="${id}-typed">Type <b class="typed">${typed}</b> to go on</label><input id="${id}-typed" data-typed autocomplete="off" autocapitalize="off" spellcheck="false"></div>` : ""}
    <p class="failure" role="alert" hidden></p><div class="progress" role="status" hidden></div></div>
    <footer><button type="button" class="button" data-close>Cancel</button><button type="submit" class="button ${danger ? "danger solid" : "primary"}" ${typed ? html`disabled` : ""}>${label}</button></footer>
  </form></dialog>`).firstElementChild;
  document.getElementById("dialogs").append(dialog);
  const before = document.activeElement, form = dialog.querySelector("form"), submit = dialog.querySelector("[type=submit]");
  const failure = dialog.querySelector(".failure"), progress = dialog.querySelector(".progress"), name = dialog.querySelector("[data-typed]");
  let busy = false, timer = 0;
  const refresh = () => { submit.disabled = busy || name !== null && name.value !== typed; };
  dialog.addEventListener("input", refresh);
  dialog.addEventListener("click", (e) => { if (e.target.closest("[data-close]")) dialog.close(); });
  dialog.addEventListener("close", () => {
    clearInterval(timer);
    dialog.remove();
    if (before && before !== document.body && before.isConnected) before.focus();
    else document.getElementById("title")?.focus();
  });
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    if (busy || submit.disabled) return;
    for (const input of form.querySelectorAll("input, select")) if (!input.checkValidity()) {
      failure.textContent = (input.labels[0]?.textContent.trim() || "This") + ": " + input.validationMessage;
      failure.hidden = false;
      input.focus();
      return;
    }
    busy = true;
    refresh();
    failure.hidden = true;
    form.setAttribute("aria-busy", "true");
    const values = Object.fromEntries(new FormData(form));
    values.all = (field) => new FormData(form).getAll(field);
    if (watch) timer = setInterval(() => follow(values[watch] || watch, progress), 700);
    try {
      const said = await act(values);
      dialog.close();
      for (const one of [].concat(said || [])) if (one) typeof one === "string" ? say(one) : say(one.text, one.grade);
      soon();
    } catch (e) {
      failure.textContent = e.message;
      failure.hidden = false;
      failure.scrollIntoView({ block: "nearest" });
    } finally {
      busy = false;
      clearInterval(timer);
      progress.hidden = true;
      form.removeAttribute("aria-busy");
      refresh();
    }
  });
  dialog.showModal();
  const begin = dialog.querySelector("input:not([type=hidden]), select") || submit;
  begin.focus();
  if (begin.value && begin.select) begin.select();
  return dialog;
}

// follow shows what is at work on a LUN while its change is waited for.
async function follow(lun, element) {
  const jobs = await get("/jobs").catch(() => []);
  const j = jobs.filter((one) => one.object === lun && one.state === "running").pop();
  element.hidden = !j;
  if (j) element.textContent = `${j.kind}: ${j["bytes-total"] ? percent(j["bytes-done"], j["bytes-total"]) + " of " + bytes(j["bytes-total"]) : bytes(j["bytes-done"])}, ${rate(j["bytes-per-second"])}` +
    (j["seconds-left"] >= 0 ? `, ${duration(j["seconds-left"])} left` : "") + `. It can be cancelled under Jobs.`;
}

const field = (id, label, input, hint = "") => html`<div class="field"><label for="f-${id}">${label}</label>${input}${hint ? html`<p class="hint" id="h-${id}">${hint}</p>` : ""}</div>`;
const words = (id, more = "") => html`<input id="f-${id}" name="${id}" autocomplete="off" autocapitalize="off" spellcheck="false" ${more}>`;
const size = (value, unit) => html`<span class="pair"><input id="f-size" name="size" inputmode="decimal" required pattern="[0-9]+([.][0-9]+)?" title="a number" value="${value}"><select name="unit" aria-label="Unit">${["MiB", "GiB", "TiB"].map((u) => html`<option ${u === unit ? html`selected` : ""}>${u}</option>`)}</select></span>`;

function sizeWord(v) {
  if (/^[0-9]+$/.test(v.size)) return v.size + v.unit;
  return String(Math.round(Number(v.size) * 1024)) + { MiB: "KiB", GiB: "MiB", TiB: "GiB" }[v.unit];
}

const targetChoice = (label, none) => html`<select id="f-target" name="target">${(state.status.targets || []).map((t) => html`<option value="${t.name}">${t.name}</option>`)}${none ? html`<option value="">${none}</option>` : ""}</select>`;

const lines = (change, done) => [done, ...(change.warnings || []).map((text) => ({ text, grade: "warn" }))];

function numbered(change) {
  const m = (change.objects || []).find((o) => o.table === "map");
  return m ? `, LUN ${m.object.number} of ${m.object.target}` : "";
}

const version = (name) => get(`/config/lun/${part(name)}`);

// usedBy are the sessions with targets that show a LUN, in words.
function usedBy(lun) {
  const n = (state.status.targets || []).filter((t) => Object.values(t.luns || {}).includes(lun)).reduce((sum, t) => sum + t.sessions, 0);
  return n ? html`<p class="warning">${icon("warn")}<span>${plural(n, "session is", "sessions are")} open with targets that show it.</span></p>` : "";
}

export const actions = {
  "create-lun": () => {
    const stores = (state.status.stores || []).filter((s) => s.name);
    open({
      title: "Create LUN", label: "Create", watch: "name", wide: true,
      fields: html`${field("name", "Name", words("name", html`required maxlength="64" placeholder="vm1"`))}
      ${field("size", "Size", size("10", "GiB"))}
      <fieldset class="field"><legend>Space</legend><label class="choice"><input type="radio" name="provisioning" value="sparse" checked><span><b>Sparse</b>takes space when it is written, and gives it back</span></label>
      <label class="choice"><input type="radio" name="provisioning" value="fixed"><span><b>Fixed</b>takes all of its space now</span></label></fieldset>
      ${stores.length ? field("store", "Store", html`<select id="f-store" name="store">${stores.map((s) => html`<option value="${s.name}">${s.name} – ${bytes(s["file-system"]?.available)} free</option>`)}</select>`) : ""}
      ${field("target", "Show it to", targetChoice("", "no target yet"), "The target gives it the lowest number that is free.")}`,
      act: async (v) => {
        const lun = { name: v.name.trim(), size: sizeWord(v) };
        if (v.provisioning === "fixed") lun.provisioning = "fixed";
        if (v.store) lun.store = v.store;
        const put = [{ table: "lun", object: lun }];
        if (v.target) put.push({ table: "map", object: { target: v.target, lun: lun.name } });
        const change = await post("/changes", { put });
        location.hash = `#/luns/${part(lun.name)}`;
        return lines(change, `LUN ${lun.name} is there${numbered(change)}.`);
      },
    });
  },
  grow: (name) => {
    const now = (state.status.luns || []).find((l) => l.name === name)?.size || 0;
    const unit = now % 2 ** 40 === 0 ? "TiB" : now % 2 ** 30 === 0 ? "GiB" : "MiB";
    const n = now / { TiB: 2 ** 40, GiB: 2 ** 30, MiB: 2 ** 20 }[unit];
    open({
      title: `Grow ${name}`, label: "Grow", text: html`<p>It has ${bytes(now)}. It grows while it is used; initiators hear of it, and rescan.</p>`,
      fields: field("size", "New size", size(String(Math.ceil(n)), unit)),
      act: async (v) => {
        const job = await post(`/luns/${part(name)}/grow`, { size: sizeWord(v) });
        return `LUN ${name} grows: job ${job.id}.`;
      },
    });
  },
  map: (name) => open({
    title: `Show ${name} to a target`, label: "Show", fields: field("target", "Target", targetChoice("Target", "")),
    act: async (v) => lines(await post("/changes", { put: [{ table: "map", object: { target: v.target, lun: name } }] }), `${v.target} shows LUN ${name}.`),
  }),
  snapshot: (name) => {
    const luns = (state.status.luns || []).filter((l) => l.kind === "file");
    open({
      title: name ? `Snapshot of ${name}` : "Take snapshot", label: "Take snapshot",
      text: html`<p>It keeps what ${name ? "the LUN holds" : "the LUNs hold"} at one point in time.</p>`,
      fields: html`${name ? html`<input type="hidden" name="luns" value="${name}">` : html`<fieldset class="field"><legend>LUNs</legend>${luns.map((l) => html`<label class="choice"><input type="checkbox" name="luns" value="${l.name}"><span><b>${l.name}</b>${bytes(l.size)}</span></label>`)}</fieldset>`}
      ${field("name", "Name", words("name", html`placeholder="the time, if you give none"`))}`,
      act: async (v) => {
        const luns = v.all("luns");
        if (!luns.length) throw new Error("Choose at least one LUN.");
        const taken = await post("/snapshots", { luns, name: v.name.trim() });
        return lines(taken, `Snapshot ${taken.name} of ${taken.luns.join(", ")} is taken.`);
      },
    });
  },
  clone: (name, snapshot) => open({
    title: snapshot ? `Clone ${name}@${snapshot}` : `Clone ${name}`, label: "Clone", watch: name,
    text: html`<p>A LUN of its own, with ${snapshot ? "what the snapshot holds" : "what this one holds now"}. It is another disk to initiators.</p>`,
    fields: html`${field("name", "Name of the new LUN", words("name", html`required maxlength="64" value="${name}-clone"`))}${field("target", "Show it to", targetChoice("", "no target yet"))}`,
    act: async (v) => {
      const clone = v.name.trim();
      const made = await post(`/luns/${part(name)}/clone`, { snapshot: snapshot || "", name: clone, path: "" });
      const put = [{ table: "lun", object: { ...made.lun } }];
      if (v.target) put.push({ table: "map", object: { target: v.target, lun: clone } });
      let change;
      try {
        change = await post("/changes", { put });
      } catch (e) {
        throw new Error(`The image of the clone is made, ${made.path}, and no LUN of it: ${e.message}`);
      }
      location.hash = `#/luns/${part(clone)}`;
      return [...lines(change, `LUN ${clone} is there${numbered(change)}.`), ...(made.warnings || []).map((text) => ({ text, grade: "warn" })),
        made.below ? { text: `The snapshot ${made.below} of ${name} has to stay as long as the clone.`, grade: "note" } : ""];
    },
  }),
  rollback: (name, snapshot) => open({
    title: `Roll ${name} back to ${snapshot}`, label: "Roll back", danger: true, typed: name,
    text: html`<p>What was written to ${name} since the snapshot is lost.</p>${usedBy(name)}`,
    fields: html`<label class="choice"><input type="checkbox" name="force"><span><b>Also while initiators are logged in</b>a file system that is in use does not bear it</span></label>`,
    act: async (v) => {
      await post(`/luns/${part(name)}/rollback`, { snapshot, force: v.force === "on" });
      return `LUN ${name} is what it was at ${snapshot}.`;
    },
  }),
  "delete-snapshot": (name, snapshot) => open({
    title: `Delete snapshot ${snapshot} of ${name}`, label: "Delete snapshot", danger: true, typed: snapshot,
    text: html`<p>What only the snapshot holds is lost. The LUN goes on, and is served meanwhile.</p>`,
    act: async () => {
      const job = await call("DELETE", `/luns/${part(name)}/snapshots/${part(snapshot)}`);
      return `Snapshot ${snapshot} is being deleted: job ${job.id}.`;
    },
  }),
  "delete-lun": async (name) => {
    let object;
    try { object = await version(name); } catch (e) { say(e.message, "bad"); return; }
    if (!object.made) {
      open({
        title: `${name} is written in a file`, label: "Understood", act: async () => "",
        text: html`<p>It stands at <code class="name">${object.where}</code>, which is a person’s and is only read. Take it out there, and run <code>isantarget reload</code>.</p>`,
      });
      return;
    }
    open({
      title: `Delete ${name}`, label: "Delete LUN", danger: true, typed: name,
      text: html`<p>It is taken from its initiators, and forgotten. Its image stays where it is, unless you say otherwise.</p>${usedBy(name)}`,
      fields: html`<label class="choice"><input type="checkbox" name="image"><span><b>Remove the image file too</b>what is in it is lost</span></label>`,
      act: async (v) => {
        const change = await call("DELETE", `/config/lun/${part(name)}${v.image === "on" ? "?image=delete" : ""}`, undefined, { "If-Match": `"${object.version}"` });
        location.hash = "#/luns";
        return lines(change, `LUN ${name} is deleted${v.image === "on" ? ", with its image" : "; its image stays"}.`);
      },
    });
  },
  logout: (tsih, who) => open({
    title: "Log out", label: "Log out", danger: true, text: html`<p><b>${who}</b> is asked to log out, and its session ends. Most initiators come back by themselves.</p>`,
    act: async () => {
      await call("DELETE", `/sessions/${part(tsih)}`);
      return `The session of ${who} has ended.`;
    },
  }),
  "clear-reservation": (lun) => open({
    title: `Clear the reservations of ${lun}`, label: "Clear", danger: true, typed: lun,
    text: html`<p>Every registration and every reservation of it ends, whoever holds them. A host that was fenced can write again.</p>${usedBy(lun)}`,
    act: async () => {
      await call("DELETE", `/reservations/${part(lun)}`);
      return `LUN ${lun} is reserved by nobody.`;
    },
  }),
  "cancel-job": (id, what) => open({
    title: "Cancel job", label: "Cancel the job", danger: true, text: html`<p>The ${what} ends, and leaves nothing half done.</p>`,
    act: async () => {
      await call("DELETE", `/jobs/${part(id)}`);
      return `Job ${id} is told to end.`;
    },
  }),
};
