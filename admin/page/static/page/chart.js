// Charts over time, by uPlot. A chart has two lines: what is read and what is written, or what images take and what is in use.
import { bytes, count, latency, rate } from "./format.js";
import { keptSeconds } from "./state.js";

/* global uPlot */

const kinds = {
  throughput: { title: "Throughput", lines: ["read", "write"], show: rate },
  iops: { title: "Operations a second", lines: ["reads", "writes"], show: count },
  latency: { title: "Latency", lines: ["readTime", "writeTime"], show: latency },
  space: { title: "Space", lines: ["used", "images"], show: bytes, colours: ["--other", "--images"] },
};
export const titleOf = (kind) => kinds[kind].title;

const made = new Map(); // element -> { plot, kind, series }

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function shade(u, name) {
  const g = u.ctx.createLinearGradient(0, u.bbox.top, 0, u.bbox.top + u.bbox.height);
  g.addColorStop(0, colour(name) + "47");
  g.addColorStop(1, colour(name) + "05");
  return g;
}

// ticks are steps in which people count, also where the unit is 1024 of another.
function steps(kind) {
  if (kind === "throughput" || kind === "space") return (u, axis, min, max, increment) => {
    let step = 1024;
    while (step < increment) step *= 2;
    if (step > max) step /= 2; // else nothing but the floor would be named
    const out = [];
    for (let v = 0; v <= max; v += step) out.push(v);
    return out;
  };
  return undefined;
}

function options(element, kind, series) {
  const line = (name, at) => ({ label: name, stroke: () => colour(at), fill: (u) => shade(u, at), width: 1.75, points: { show: false }, spanGaps: false });
  const axis = { stroke: () => colour("--muted"), grid: { stroke: () => colour("--grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif", };
  const floor = { throughput: 64 * 1024, iops: 10, latency: 0.0001, space: 1024 * 1024 }[kind];
  const [one, two] = kinds[kind].colours || ["--read", "--write"];
  return {
    width: Math.max(element.clientWidth, 100), height: element.clientHeight || 160,
    legend: { show: false }, padding: [8, 4, 0, 0],
    cursor: { y: false, points: { size: 7 }, drag: { setScale: false } },
    select: { show: false },
    scales: {
      x: { time: true, range: () => { const now = series().t.at(-1) || Date.now() / 1000; return [now - keptSeconds, now]; } },
      y: { range: (u, min, max) => [0, Math.max((max || 0) * 1.12, floor)] },
    },
    axes: [
      { ...axis, space: 70, values: (u, v) => v.map((t) => new Date(t * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false })), size: 24, gap: 4, incrs: [60, 120] },
      { ...axis, size: 66, gap: 6, space: 32, splits: steps(kind), values: (u, v) => v.map((n) => n === 0 ? "0" : kinds[kind].show(n)) },
    ],
    series: [{}, line(kinds[kind].lines[0], one), line(kinds[kind].lines[1], two)],
    hooks: { setCursor: [(u) => tell(element, kind, series(), u.cursor.idx)] },
  };
}

// tell writes the values at a place into the head of the chart, which is its legend: the newest where no place is pointed at.
function tell(element, kind, s, at) {
  const figure = element.closest("figure");
  if (!figure) return;
  const i = at === null || at === undefined || at >= s.t.length ? s.t.length - 1 : at;
  kinds[kind].lines.forEach((line, n) => {
    const value = i < 0 ? null : s[line][i];
    const out = figure.querySelector(`[data-value="${n}"]`);
    const said = value === null || value === undefined ? "–" : kinds[kind].show(value);
    if (out && out.textContent !== said) out.textContent = said;
  });
  const slow = figure.querySelector("[data-slow]");
  if (slow) slow.textContent = i >= 0 && s.slow[i] !== null ? `99 % within ${latency(s.slow[i])}` : "";
}

const data = (kind, s) => [s.t, ...kinds[kind].lines.map((l) => s[l])];

const watcher = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const one = made.get(target);
    if (one && target.clientWidth > 0 && (one.plot.width !== target.clientWidth || one.plot.height !== target.clientHeight)) one.plot.setSize({ width: target.clientWidth, height: target.clientHeight });
  }
});

// draw brings every chart within root up to date; seriesFor gives the samples for the name in data-series.
export function draw(root, seriesFor) {
  for (const element of made.keys()) if (!element.isConnected) drop(element);
  for (const element of root.querySelectorAll("[data-chart]")) {
    const kind = element.dataset.chart, name = element.dataset.series;
    let one = made.get(element);
    if (!one) {
      const series = () => seriesFor(name);
      one = { plot: new uPlot(options(element, kind, series), data(kind, series()), element), series };
      made.set(element, one);
      watcher.observe(element);
    } else {
      one.plot.setData(data(kind, one.series()));
    }
    if (one.plot.cursor.left < 0 || one.plot.cursor.left === undefined || one.plot.cursor.idx === null) tell(element, kind, one.series(), null);
  }
}

function drop(element) {
  made.get(element).plot.destroy();
  watcher.unobserve(element);
  made.delete(element);
}

// repaint takes other colours.
export function repaint() { for (const { plot } of made.values()) plot.redraw(); }

// sparkline is a small picture of the last values of a series, without axes.
export function sparkline(values, width = 96, height = 24) {
  const n = values.length;
  if (n < 2) return "";
  const most = Math.max(...values, 1);
  return values.map((v, i) => `${i ? "L" : "M"}${(i / (n - 1) * width).toFixed(1)} ${(height - 1.5 - v / most * (height - 3)).toFixed(1)}`).join("");
}
