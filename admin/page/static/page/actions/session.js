// What people do with a session.
import { call, part } from "../api.js";
import { open } from "../dialog.js";
import { html } from "../dom.js";

export const actions = {
  logout: (tsih, who) => open({
    title: "Log out", label: "Log out", danger: true, text: html`<p><b>${who}</b> is asked to log out, and its session ends. Most initiators come back by themselves.</p>`,
    act: async () => {
      await call("DELETE", `/sessions/${part(tsih)}`);
      return `The session of ${who} has ended.`;
    },
  }),
};
