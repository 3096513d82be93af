// What people do with snapshots.
import { call, part, post } from "../api.js";
import { choice, field, lines, numbered, open, targetChoice, usedBy, words } from "../dialog.js";
import { html } from "../dom.js";
import { bytes } from "../format.js";
import { state } from "../state.js";

export const actions = {
  snapshot: (name) => {
    const luns = (state.status.luns || []).filter((l) => l.kind === "file");
    open({
      title: name ? `Snapshot of ${name}` : "Take snapshot", label: "Take snapshot",
      text: html`<p>It keeps what ${name ? "the LUN holds" : "the LUNs hold"} at one point in time.</p>`,
      fields: html`${name ? html`<input type="hidden" name="luns" value="${name}">` : html`<fieldset class="field"><legend>LUNs</legend>${luns.map((l) => choice("checkbox", "luns", l.name, l.name, bytes(l.size)))}</fieldset>`}
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
    fields: html`${field("name", "Name of the new LUN", words("name", html`required maxlength="64" value="${name}-clone"`))}${field("target", "Show it to", targetChoice("no target yet"))}`,
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
    fields: choice("checkbox", "force", "on", "Also while initiators are logged in", "a file system that is in use does not bear it"),
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
};
