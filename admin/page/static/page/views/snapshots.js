import { html } from "../dom.js";
import { button, empty, page, waiting } from "../parts.js";
import { state } from "../state.js";
import { snapshotTable } from "./lun.js";

export const title = "Snapshots";

export function view() {
  if (!state.snapshots) return page(title, "", null, waiting);
  const take = button("snapshot", "Take snapshot", { kind: "primary", sign: "snapshot" });
  if (!state.snapshots.length) return page(title, "What LUNs held at a point in time.", null, empty("snapshot", "No snapshots", "A snapshot keeps what a LUN holds now, at once. Of several LUNs it is taken at one point in time.", take));
  return page(title, "What LUNs held at a point in time.", take, html`${snapshotTable(state.snapshots, true)}`);
}
