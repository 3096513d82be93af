// What people do with reservations.
import { call, part } from "../api.js";
import { open, usedBy } from "../dialog.js";
import { html } from "../dom.js";

export const actions = {
  "clear-reservation": (lun) => open({
    title: `Clear the reservations of ${lun}`, label: "Clear", danger: true, typed: lun,
    text: html`<p>Every registration and every reservation of it ends, whoever holds them. A host that was fenced can write again.</p>${usedBy(lun)}`,
    act: async () => {
      await call("DELETE", `/reservations/${part(lun)}`);
      return `LUN ${lun} is reserved by nobody.`;
    },
  }),
};
