// What needs the operator, in words; nothing else.
import { ago, placeless, plural } from "./format.js";
import { state } from "./state.js";

const recent = (when, minutes) => Date.now() - new Date(when) < minutes * 60000;

// concerns are { grade: "bad" | "warn" | "note", title, text, link }, the worst first.
export function concerns() {
  const list = [], s = state.status;
  if (!s) return list;
  const add = (grade, title, text, link) => list.push({ grade, title, text, link });
  for (const l of s.luns || []) {
    const link = `#/luns/${encodeURIComponent(l.name)}`;
    if (l["not-ready"]) add("bad", `LUN ${l.name} does not serve`, l["not-ready"], link);
    for (const a of l.alerts || []) add("bad", `LUN ${l.name} needs you`, a, link);
    if ((l.faults || []).length) add("note", `LUN ${l.name} fails on purpose`, `Faults are in force: ${l.faults.join("; ")}`, link);
  }
  for (const one of s.stores || []) for (const c of one.conditions || []) {
    add(one["file-system"]?.available === 0 ? "bad" : "warn", `Space: ${one.name ? "store " + one.name : one.path}`, c, "#/");
  }
  for (const r of state.reservations || []) {
    if (r.lost) add("bad", `The reservations of LUN ${r.lun} are lost`, r.lost, "#/reservations");
    const stale = (r.registrations || []).filter((x) => x.stale);
    if (stale.length) add("warn", `LUN ${r.lun} has ${plural(stale.length, "registration")} left over`, stale.map((x) => `${x.initiator} ${x.stale}`).join("; "), "#/reservations");
  }
  for (const j of s.jobs || []) if (j.state === "failed" && recent(j.ended, 24 * 60)) add("warn", `Job ${j.id}, ${j.kind} of ${j.object}, failed ${ago(j.ended)}`, j.error, "#/jobs");
  const errors = state.events.filter((e) => e.level === "error" && e.kind !== "job" && recent(e.time, 60));
  if (errors.length) add("warn", `${plural(errors.length, "error")} in the last hour`, errors[errors.length - 1].message, "#/events");
  const dropped = state.events.filter((e) => e.kind === "session-lost" && recent(e.time, 15));
  if (dropped.length) add("warn", `${plural(dropped.length, "session was", "sessions were")} lost in the last 15 minutes`, `${dropped[dropped.length - 1].fields.initiator || "An initiator"}: ${dropped[dropped.length - 1].message}`, "#/events");
  const refused = state.events.filter((e) => e.kind === "login-refused" && recent(e.time, 15));
  if (refused.length) add("note", `${plural(refused.length, "login was", "logins were")} refused in the last 15 minutes`, `${refused[refused.length - 1].fields.initiator || "An initiator"}: ${refused[refused.length - 1].message}`, "#/events");
  for (const w of s.warnings || []) add("note", "Probably not meant in the configuration", placeless(w), "");
  const order = ["bad", "warn", "note"];
  return list.sort((a, b) => order.indexOf(a.grade) - order.indexOf(b.grade));
}

// inWords is how all is, in one line.
export function inWords(list) {
  const s = state.status, bad = list.filter((c) => c.grade === "bad").length, warn = list.filter((c) => c.grade === "warn").length;
  if (bad) return { grade: "bad", text: bad === 1 ? "One thing needs you now" : `${bad} things need you now` };
  if (warn) return { grade: "warn", text: warn === 1 ? "One thing to look at" : `${warn} things to look at` };
  if (!(s.luns || []).length) return { grade: "note", text: "Nothing is served yet" };
  return { grade: "good", text: "All is well" };
}

export const summary = () => {
  const s = state.status;
  const initiators = new Set((s.sessions || []).filter((x) => x.target).map((x) => x.initiator)).size;
  return `${plural((s.luns || []).length, "LUN")} on ${plural((s.targets || []).length, "target")}, ` +
    (initiators ? `used by ${plural(initiators, "initiator")}.` : "nobody is logged in.");
};
