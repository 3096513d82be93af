// What people do with a LUN.
import { call, get, part, post } from "../api.js";
import { choice, field, lines, numbered, open, options, remove, say, size, sizeWord, targetChoice, usedBy, words, written } from "../dialog.js";
import { html } from "../dom.js";
import { bytes } from "../format.js";
import { state } from "../state.js";

const sizeOf = (name) => [state.lun, ...state.status.luns || []].find((l) => l?.name === name)?.size || 2 ** 30;

// recoveries are what an operator may allow to a LUN that does not serve as it should: what it is called, and what it means.
export const recoveries = {
  "accept-loss": ["Accept the loss", "A flush has failed: what was written since the last one that succeeded may be lost. The LUN goes on with what the disk has. Check the file systems in it afterwards."],
  "take-image": ["Serve the image that is there", "At its path there is another file than the one that was served. Initiators find what that one holds. If you put the old one back the LUN is served again by itself."],
  "new-image": ["Make a new, empty image", "The image that was served is missing. If you mount its file system, or put it back, the LUN is served again by itself. A new one is empty: initiators find nothing in it."],
};

const accessStates = { optimized: "optimized: the path to use", "non-optimized": "non-optimized: works, where there is no better one", standby: "standby: there, and not to be used", unavailable: "unavailable" };

export const actions = {
  "create-lun": () => {
    const stores = (state.status.stores || []).filter((s) => s.name);
    open({
      title: "Create LUN", label: "Create", watch: "name", wide: true,
      fields: html`${field("name", "Name", words("name", html`required maxlength="64" placeholder="vm1"`))}
      ${field("size", "Size", size(10 * 2 ** 30))}
      <fieldset class="field"><legend>Space</legend>${choice("radio", "provisioning", "sparse", "Sparse", "takes space when it is written, and gives it back", html`checked`)}
      ${choice("radio", "provisioning", "fixed", "Fixed", "takes all of its space now")}</fieldset>
      ${stores.length ? field("store", "Store", options("store", stores.map((s) => [s.name, `${s.name} – ${bytes(s["file-system"]?.available)} free`]))) : ""}
      ${field("target", "Show it to", targetChoice("no target yet"), "The target gives it the lowest number that is free.")}`,
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
    const now = sizeOf(name);
    open({
      title: `Grow ${name}`, label: "Grow", text: html`<p>It has ${bytes(now)}. It grows while it is used; initiators hear of it, and rescan.</p>`,
      fields: field("size", "New size", size(now)),
      act: async (v) => {
        const job = await post(`/luns/${part(name)}/grow`, { size: sizeWord(v) });
        return `LUN ${name} grows: job ${job.id}.`;
      },
    });
  },
  map: (name) => open({
    title: `Show ${name} to a target`, label: "Show", fields: field("target", "Target", targetChoice("")),
    act: async (v) => lines(await post("/changes", { put: [{ table: "map", object: { target: v.target, lun: name } }] }), `${v.target} shows LUN ${name}.`),
  }),
  unmap: async (name, target) => {
    let map, owner;
    try {
      map = (await get("/config/map")).find((o) => o.object.lun === name && o.object.target.toLowerCase() === target.toLowerCase());
      if (!map) owner = await get(`/config/target/${part(target)}`);
    } catch (e) { say(e.message, "bad"); return; }
    if (!map) { written(`That ${target} shows ${name}`, owner.where); return; }
    await remove("map", map.name, {
      title: `Hide ${name}`, label: "Hide", typed: name, said: () => `${target} does not show LUN ${name} any more.`,
      text: html`<p><b class="typed">${target}</b> does not show the LUN any more: its initiators lose the disk. What it holds stays.</p>${usedBy(name)}`,
    });
  },
  shrink: (name) => {
    const now = sizeOf(name);
    open({
      title: `Shrink ${name}`, label: "Shrink", danger: true, typed: name,
      text: html`<p>It has ${bytes(now)}. What it holds behind the new size is lost for good: make the file systems in it smaller first, and log out whoever uses it.</p>${usedBy(name)}`,
      fields: field("size", "New size", size(now)),
      act: async (v) => {
        const job = await post(`/luns/${part(name)}/shrink`, { size: sizeWord(v), "allow-data-loss": true });
        return `LUN ${name} shrinks: job ${job.id}.`;
      },
    });
  },
  defragment: (name) => open({
    title: `Defragment ${name}`, label: "Defragment",
    text: html`<p>Its image is moved into as few pieces as its file system has room for, and holds what it held. Nobody may be logged in meanwhile.</p>${usedBy(name)}`,
    act: async () => {
      const job = await post(`/luns/${part(name)}/defragment`);
      return `The image of LUN ${name} is moved: job ${job.id}.`;
    },
  }),
  verify: (name) => open({
    title: `Verify ${name}`, label: "Verify",
    text: html`<p>All that is allocated of it is read from the disk, while initiators use it, which go before. Nothing is changed. The job tells what cannot be read.</p>`,
    act: async () => {
      const job = await post(`/luns/${part(name)}/verify`, {});
      return `LUN ${name} is read: job ${job.id}.`;
    },
  }),
  recover: (name, what) => {
    const [label, text] = recoveries[what];
    open({
      title: `Recover ${name}`, label, danger: true, typed: name, text: html`<p>${text}</p>${usedBy(name)}`,
      act: async () => {
        await post(`/luns/${part(name)}/recover`, { [what]: true });
        return `LUN ${name} is served again.`;
      },
    });
  },
  faults: (name) => {
    const now = (state.lun?.broken || []).map((f) => f.fault);
    open({
      title: `Faults of ${name}`, label: "Set faults", danger: true,
      text: html`<p>What goes wrong in it on purpose, for tests of what uses it: its initiators meet errors, and may lose data.</p>${usedBy(name)}`,
      fields: field("faults", "Faults, one a line", html`<textarea id="f-faults" name="faults" rows="4" autocomplete="off" autocapitalize="off" spellcheck="false" aria-describedby="h-faults">${now.join("\n")}</textarea>`,
        html`First what happens: <code>error=EIO</code>, <code>delay=500ms</code>, <code>short</code>, <code>torn</code>, <code>lost-sync</code> or <code>power-cut</code>; then to what: <code>on=read+write</code>, <code>lba=100-199</code>, <code>rate=1%</code>, <code>after=1000</code>, <code>count=3</code>. Without any it is sound.`),
      act: async (v) => {
        const faults = v.faults.split("\n").map((line) => line.trim()).filter(Boolean);
        await call("PUT", `/luns/${part(name)}/faults`, { faults });
        return faults.length ? { text: `LUN ${name} breaks on purpose from now on.`, grade: "warn" } : `LUN ${name} is sound.`;
      },
    });
  },
  "access-state": (name, group) => {
    const paths = (state.lun?.paths || []).filter((p) => String(p.group) === group);
    open({
      title: `Access state of ${name}`, label: "Change",
      text: html`<p>How target port group ${group} (${paths.map((p) => `${p.target}, portal group ${p["portal-group"]}`).join("; ")}) leads to it. Initiators hear of it, and choose their path by it; where no path is active nobody reads or writes.</p>`,
      fields: field("state", "Access state", options("state", Object.entries(accessStates), paths[0]?.state), "Until the daemon is started anew, or the configuration says another state than before."),
      act: async (v) => {
        await call("PUT", `/luns/${part(name)}/access-states/${part(group)}`, { state: v.state });
        return `Target port group ${group} of LUN ${name} is ${v.state}.`;
      },
    });
  },
  "delete-lun": (name) => remove("lun", name, {
    title: `Delete ${name}`, label: "Delete LUN", typed: name, then: "#/luns",
    text: html`<p>It is taken from its initiators, and forgotten. Its image stays where it is, unless you say otherwise.</p>${usedBy(name)}`,
    fields: choice("checkbox", "image", "on", "Remove the image file too", "what is in it is lost"),
    query: (v) => v.image === "on" ? "?image=delete" : "",
    said: (v) => `LUN ${name} is deleted${v.image === "on" ? ", with its image" : "; its image stays"}.`,
  }),
};
