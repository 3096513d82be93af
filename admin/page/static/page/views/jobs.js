import { html } from "../dom.js";
import { bytes, duration, percent, plural, rate } from "../format.js";
import { button, empty, jobCard, page, pill, table, time, waiting } from "../parts.js";
import { state } from "../state.js";

export const title = "Jobs";

const words = { running: ["note", "running"], cancelling: ["warn", "being cancelled"], done: ["good", "done"], failed: ["bad", "failed"], cancelled: ["idle", "cancelled"] };

export function view() {
  if (!state.status) return page(title, "", null, waiting);
  const list = [...(state.status.jobs || [])].reverse().sort((a, b) => final(a) - final(b));
  if (!list.length) return page(title, "What takes long.", null, empty("job", "No jobs", "What takes long, as growing a fixed LUN or deleting a snapshot, is shown here with its progress. It goes on when this page is closed.", ""));
  return page(title, "What takes long. It goes on when this page is closed.", null, table("Jobs", [{ name: "Job" }, { name: "State" }, { name: "Progress", kind: "wide" }, { name: "Rate", kind: "number" }, { name: "Left", kind: "number" }, { name: "Begun" }, { hidden: "Actions", kind: "acts" }],
    list.map((j) => ({
      key: j.id, cells: [
        html`<span class="strong">${j.kind} of ${j.object}</span><span class="under">job ${j.id}${j.phase && j.phase !== j.kind ? `, ${j.phase}` : ""}</span>`, pill(...words[j.state]),
        final(j) ? html`<span class="said">${j.error || j.result || bytes(j["bytes-done"])}${(j.unreadable || []).map((u) => `; ${plural(u.blocks, "block")} from ${u.lba}: ${u.error}`)}</span>` : html`<span class="share">${jobCard(j)}<span>${j["bytes-total"] ? `${percent(j["bytes-done"], j["bytes-total"])} of ${bytes(j["bytes-total"])}` : bytes(j["bytes-done"])}</span></span>`,
        j["bytes-per-second"] > 0 ? rate(j["bytes-per-second"]) : html`<span class="dim">–</span>`, final(j) ? html`<span class="dim">–</span>` : j["seconds-left"] >= 0 ? duration(j["seconds-left"]) : "not known",
        time(j.began), j.state === "running" ? button("cancel-job", "Cancel", { name: j.id, data: `${j.kind} of ${j.object}`, kind: "small", title: `Cancel the ${j.kind} of ${j.object}` }) : ""],
    }))));
}

const final = (j) => ["done", "failed", "cancelled"].includes(j.state);
