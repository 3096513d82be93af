// Amounts, times and names as people read them.

const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

function scaled(n, base, names) {
  let i = 0;
  while (Math.abs(n) >= base * 0.9995 && i < names.length - 1) { n /= base; i++; }
  const digits = i === 0 || Math.abs(n) >= 99.95 ? 0 : Math.abs(n) >= 9.995 ? 1 : 2;
  return (digits ? n.toFixed(digits).replace(/\.?0+$/, "") : String(Math.round(n))) + (names[i] ? "\u00a0" + names[i] : "");
}

export const bytes = (n) => n < 0 || n === undefined ? "not known" : scaled(n, 1024, units);
export const rate = (n) => scaled(n, 1024, units) + "/s";
export const count = (n) => scaled(n, 1000, ["", "k", "M", "G"]);
export const percent = (part, all) => all > 0 ? (part > 0 && part / all < 0.01 ? "under 1 %" : Math.round(100 * part / all) + " %") : "0 %";
export const plural = (n, one, many = one + "s") => `${n} ${n === 1 ? one : many}`;

export function latency(seconds) {
  if (!(seconds > 0)) return "0\u00a0ms";
  if (seconds < 0.001) return Math.round(seconds * 1e6) + "\u00a0µs";
  if (seconds < 1) return (seconds * 1e3).toPrecision(seconds < 0.1 ? 2 : 3).replace(/\.0+$/, "") + "\u00a0ms";
  return seconds.toFixed(1) + "\u00a0s";
}

export function duration(seconds) {
  if (seconds < 0) return "not known";
  if (seconds < 90) return Math.round(seconds) + " s";
  if (seconds < 5400) return Math.round(seconds / 60) + " min";
  if (seconds < 129600) return Math.round(seconds / 3600) + " h";
  return Math.round(seconds / 86400) + " days";
}

export function ago(when) {
  const seconds = (Date.now() - new Date(when)) / 1000;
  return seconds < 5 ? "just now" : duration(seconds) + " ago";
}

export const exactly = (when) => new Date(when).toLocaleString();
export const clock = (when) => new Date(when).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

// Of an iSCSI name the end tells most: iqn.2026-11.org.example:vmstore is vmstore.
export const shortName = (name) => (name.split(":").slice(1).join(":") || name);

// A warning about an object that was made at run time need not say in which file of the daemon's it is kept.
export const placeless = (warning) => warning.replace(/^\/\S*\/config\.d\/\S+:\d+: (\S+: )?/, "");
