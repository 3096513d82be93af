import { html } from "../dom.js";
import { button, empty, flow, fullName, iqn, page, table, time, waiting } from "../parts.js";
import { state } from "../state.js";

export const title = "Sessions";

export function view() {
  if (!state.status) return page(title, "", null, waiting);
  const list = state.status.sessions || [];
  if (!list.length) return page(title, "Who is logged in.", null, empty("session", "Nobody is logged in", "Initiators that log in to a target appear here at once.", ""));
  return page(title, "Who is logged in, from where, and what they do.", null, table("Sessions", [{ name: "Initiator" }, { name: "Target" }, { name: "From" }, { name: "Since" }, { name: "Commands", kind: "number" }, { name: "Throughput", kind: "number" }, { hidden: "Actions", kind: "acts" }],
    list.map((s) => ({
      key: s.tsih, cells: [
        html`<span class="strong">${s.alias || fullName(s.initiator)}</span><span class="under">${s.alias ? html`${s.initiator}, ` : ""}session ${s.tsih}${s.rule ? `, by ${s.rule}` : ""}</span>`,
        s.target ? iqn(s.target) : "discovery", html`${s.connections.map((c) => html`<span class="line">${c.from}</span>`)}<span class="under">to ${[...new Set(s.connections.map((c) => c.portal))].join(", ")}${digests(s)}</span>`,
        time(s.since), s.commands, flow("sessions", s.tsih),
        button("logout", "Log out", { name: s.tsih, data: s.alias || s.initiator, kind: "small", title: `Log out ${s.alias || s.initiator}` })],
    }))));
}

function digests(s) {
  const words = [s.connections.some((c) => c["header-digest"]) ? "header" : "", s.connections.some((c) => c["data-digest"]) ? "data" : ""].filter(Boolean);
  return words.length ? html`<span class="line">with ${words.join(" and ")} digests</span>` : "";
}
