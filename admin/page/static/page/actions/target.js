// What people do with a target, and with the rules that say who may log in to it.
import { post } from "../api.js";
import { choice, field, lines, list, open, remove, words } from "../dialog.js";
import { html } from "../dom.js";
import { plural } from "../format.js";
import { icon } from "../icons.js";
import { state } from "../state.js";

// authority is what the names of targets begin with here: "iqn.2026-11.org.example:".
function authority() {
  const first = (state.status.targets || [])[0]?.name || "";
  return first.slice(0, first.indexOf(":") + 1);
}

// strangers are initiators that were heard of: those that were refused come first.
function strangers() {
  const refused = state.events.filter((e) => e.kind === "login-refused").map((e) => e.fields?.initiator).reverse();
  return [...new Set([...refused, ...(state.status.sessions || []).map((s) => s.initiator)])].filter(Boolean);
}

const sessionsOf = (name) => {
  const n = (state.status.targets || []).find((t) => t.name === name)?.sessions || 0;
  return n ? html`<p class="warning">${icon("warn")}<span>${plural(n, "session ends", "sessions end")} with it.</span></p>` : "";
};

export const actions = {
  "create-target": () => open({
    title: "Create target", label: "Create", wide: true,
    text: html`<p>A target is a name that initiators log in to, by every portal. It shows them LUNs.</p>`,
    fields: html`${field("name", "Name", words("name", html`required maxlength="223" value="${authority()}" placeholder="iqn.2026-11.org.example:vmstore" aria-describedby="h-name"`), "iqn., a year and month, a domain of yours backwards, a colon, and a word.")}
    ${field("alias", "Alias", words("alias", html`maxlength="255" placeholder="for people, if you like"`))}
    <fieldset class="field"><legend>Who may log in</legend>${choice("radio", "access", "", "Whom rules admit", "this host only, before there is one", html`checked`)}
    ${choice("radio", "access", "open", "Everybody who reaches a portal", "for networks that only your hosts are in")}</fieldset>`,
    act: async (v) => {
      const target = { name: v.name.trim() };
      if (v.alias.trim()) target.alias = v.alias.trim();
      if (v.access) target.access = v.access;
      return lines(await post("/changes", { put: [{ table: "target", object: target }] }), `Target ${target.name} is there.`);
    },
  }),
  "delete-target": (name) => remove("target", name, {
    title: "Delete target", label: "Delete target", typed: name,
    text: html`<p>Initiators are logged out of it. Its LUNs stay; what shows them here and its rules go with it.</p>${sessionsOf(name)}`,
    said: () => `Target ${name} is deleted.`,
  }),
  admit: (target) => open({
    title: "Admit initiators", label: "Admit", wide: true,
    text: html`<p>To <b class="typed">${target}</b>. With a rule a target admits nobody else, unless its access says so: who is logged in and fits none is logged out.</p>`,
    fields: html`${field("name", "Name of the rule", words("name", html`required maxlength="64" placeholder="pve1"`))}
    ${field("initiators", "Initiators", words("initiators", html`list="strangers" placeholder="any" aria-describedby="h-initiators"`), "Their names, with commas between them. Those that were refused of late are proposed.")}
    <datalist id="strangers">${strangers().map((name) => html`<option value="${name}"></option>`)}</datalist>
    ${field("networks", "From", words("networks", html`placeholder="anywhere" aria-describedby="h-networks"`), "Networks or addresses, as 192.0.2.0/24.")}
    ${field("hosts", "Or from the hosts", words("hosts", html`aria-describedby="h-hosts"`), "Their DNS names, with commas between them.")}
    <details class="field"><summary>Ask for a secret (CHAP)</summary>${field("user", "User", words("user"))}
    ${field("secret", "File of the secret", words("secret", html`placeholder="/etc/isantarget/pve1.secret" aria-describedby="h-secret"`), "On the host of the daemon, readable by its owner alone: secrets do not go through this page.")}</details>`,
    act: async (v) => {
      const rule = { name: v.name.trim(), target };
      for (const key of ["initiators", "networks", "hosts"]) if (v[key].trim()) rule[key] = list(v[key]);
      if (v.user.trim() || v.secret.trim()) rule.chap = { user: v.user.trim(), "secret-file": v.secret.trim() };
      return lines(await post("/changes", { put: [{ table: "rule", object: rule }] }), `The rule ${rule.name} admits to ${target}.`);
    },
  }),
  "delete-rule": (name) => remove("rule", name, {
    title: `Delete the rule ${name}`, label: "Delete rule",
    text: html`<p>Whoever it alone admits is logged out, and may not log in again.</p>`,
    said: () => `The rule ${name} is deleted.`,
  }),
};
