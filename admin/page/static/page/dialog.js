// How a dialog that changes something is made, whatever it is about: those that there are stand in the folder actions.
// Each is a form; what the daemon answers to it is shown as it is.
import { call, get, part } from "./api.js";
import { fragment, html } from "./dom.js";
import { bytes, duration, percent, placeless, plural, rate } from "./format.js";
import { icon } from "./icons.js";
import { soon, state } from "./state.js";

// say tells of what was done, where nothing else shows it.
export function say(text, grade = "good") {
  const one = fragment(html`<p class="toast ${grade}">${icon(grade)}<span>${text}</span></p>`).firstElementChild;
  const said = document.getElementById("said");
  said.append(one);
  while (said.children.length > 3) said.firstChild.remove();
  one.addEventListener("click", () => one.remove());
  setTimeout(() => one.remove(), 8000);
}

let numbers = 0;

// open shows a dialog; it is closed when act has done what the form says, and stays with the reason where that fails.
// typed is a name that has to be typed in before act can be asked for.
export function open({ title, text = "", fields = "", act, label, danger = false, typed = "", watch = "", wide = false }) {
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
    for (const input of form.querySelectorAll("input, select, textarea")) if (!input.checkValidity()) {
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
  const begin = dialog.querySelector("input:not([type=hidden]), select, textarea") || submit;
  begin.focus();
  if (begin.value.endsWith(":")) begin.setSelectionRange(begin.value.length, begin.value.length); // a name goes on behind it
  else if (begin.value && begin.select) begin.select();
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

// What forms are made of.
export const field = (id, label, input, hint = "") => html`<div class="field"><label for="f-${id}">${label}</label>${input}${hint ? html`<p class="hint" id="h-${id}">${hint}</p>` : ""}</div>`;
export const words = (id, more = "") => html`<input id="f-${id}" name="${id}" autocomplete="off" autocapitalize="off" spellcheck="false" ${more}>`;
export const choice = (kind, name, value, head, text, more = "") => html`<label class="choice"><input type="${kind}" name="${name}" value="${value}" ${more}><span><b>${head}</b>${text}</span></label>`;
export const options = (id, list, chosen) => html`<select id="f-${id}" name="${id}">${list.map(([value, word]) => html`<option value="${value}" ${value === chosen ? html`selected` : ""}>${word || value}</option>`)}</select>`;
export const targetChoice = (none) => options("target", [...(state.status.targets || []).map((t) => [t.name]), ...(none ? [["", none]] : [])]);

const units = { MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };

// size is the field for one, with what it is in bytes as it begins.
export function size(now) {
  const unit = now % units.TiB === 0 ? "TiB" : now % units.GiB === 0 ? "GiB" : "MiB";
  return html`<span class="pair"><input id="f-size" name="size" inputmode="decimal" required pattern="[0-9]+([.][0-9]+)?" title="a number" value="${Math.ceil(now / units[unit])}"><select name="unit" aria-label="Unit">${Object.keys(units).map((u) => html`<option ${u === unit ? html`selected` : ""}>${u}</option>`)}</select></span>`;
}

export function sizeWord(v) {
  if (/^[0-9]+$/.test(v.size)) return v.size + v.unit;
  return String(Math.round(Number(v.size) * 1024)) + { MiB: "KiB", GiB: "MiB", TiB: "GiB" }[v.unit];
}

export const list = (text) => text.split(/[\s,]+/).filter(Boolean);

// lines are what is said of a change that was made.
export const lines = (change, done) => [done, ...(change.warnings || []).map((text) => ({ text: placeless(text), grade: "warn" }))];

export function numbered(change) {
  const m = (change.objects || []).find((o) => o.table === "map");
  return m ? `, LUN ${m.object.number} of ${m.object.target}` : "";
}

// usedBy are the sessions with targets that show a LUN, in words.
export function usedBy(lun) {
  const n = (state.status.targets || []).filter((t) => Object.values(t.luns || {}).includes(lun)).reduce((sum, t) => sum + t.sessions, 0);
  return n ? html`<p class="warning">${icon("warn")}<span>${plural(n, "session is", "sessions are")} open with targets that show it.</span></p>` : "";
}

// remove takes an object out of the configuration, if it was made at run time; said is what is told then.
export async function remove(table, name, { said, then = "", query = () => "", label = "Delete", ...rest }) {
  const path = `/config/${table}/${part(name)}`;
  let object;
  try { object = await get(path); } catch (e) { say(e.message, "bad"); return; }
  if (!object.made) { written(name, object.where); return; }
  open({
    label, danger: true, ...rest,
    act: async (v) => {
      const change = await call("DELETE", path + query(v), undefined, { "If-Match": `"${object.version}"` });
      if (then) location.hash = then;
      return lines(change, said(v));
    },
  });
}

// written says where something is to be taken out that was not made by itself, at run time.
export const written = (what, where) => open({
  title: `${what} is written in a file`, label: "Understood", act: async () => "",
  text: html`<p>It stands at <code class="name">${where}</code>, which is only read. Take it out there, and run <code>isantarget reload</code>.</p>`,
});
