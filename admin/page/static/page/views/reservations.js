import { html } from "../dom.js";
import { icon } from "../icons.js";
import { button, empty, fullName, iqn, page, pill, table, waiting } from "../parts.js";
import { state } from "../state.js";

export const title = "Reservations";

export function view() {
  if (!state.reservations) return page(title, "", null, waiting);
  const list = state.reservations.filter((r) => r.type || r["reserved-by"] || r.lost || r.registrations.length);
  if (!list.length) return page(title, "Which host holds a disk.", null, empty("reservation", "Nothing is reserved", "Clusters reserve disks, so that a host which was put out can write no more. Their keys appear here.", ""));
  return page(title, "Which host holds a disk, and who is registered with it.", null, list.map((r) => html`<section class="block" data-key="${r.lun}" aria-labelledby="r-${r.lun}">
    <div class="sectionhead"><h2 class="section" id="r-${r.lun}"><a href="#/luns/${encodeURIComponent(r.lun)}">${r.lun}</a> ${r.type ? pill("note", r.type) : r["reserved-by"] ? pill("note", "RESERVE of SPC-2") : pill("idle", "registered only")}</h2>${button("clear-reservation", "Clear", { name: r.lun, kind: "small danger", title: `Clear the reservations of ${r.lun}` })}</div>
    <p class="dim facts">${r["reserved-by"] ? html`held by ${r["reserved-by"]}; ` : ""}${r.aptpl ? "survives a restart" : "is forgotten at a restart"}; generation ${r.generation}</p>
    ${r.lost ? html`<ul class="card concerns alone"><li class="bad">${icon("bad")}<div><h3>Its record cannot be trusted</h3><p>${r.lost}</p></div></li></ul>` : ""}
    ${r.registrations.length ? table(`Registrations of ${r.lun}`, [{ name: "Initiator" }, { name: "Key" }, { name: "Target" }, { name: "ISID" }, { name: "State" }],
    r.registrations.map((x, i) => ({
      key: `${x.initiator}/${x.isid}/${x.target}/${i}`, cells: [fullName(x.initiator), html`<code>${x.key}</code>`, iqn(x.target), html`<code>${x.isid}</code>`,
        html`${x.holder ? pill("good", "holder") : ""} ${x.stale ? html`${pill("warn", "left over")}<span class="under">${x.stale}</span>` : x.session ? pill("idle", "logged in") : pill("idle", "away")}`],
    }))) : ""}</section>`));
}
