// What people do with a job.
import { call, part } from "../api.js";
import { open } from "../dialog.js";
import { html } from "../dom.js";

export const actions = {
  "cancel-job": (id, what) => open({
    title: "Cancel job", label: "Cancel the job", danger: true, text: html`<p>The ${what} ends, and leaves nothing half done.</p>`,
    act: async () => {
      await call("DELETE", `/jobs/${part(id)}`);
      return `Job ${id} is told to end.`;
    },
  }),
};
