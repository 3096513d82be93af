// The picture of what is allocated: a cell of the map is a small square.
import { bytes } from "./format.js";
import { state } from "./state.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// inWords is the picture for those who do not see it.
function inWords(m) {
  const full = m.mapped.filter((p) => p === 100).length, some = m.mapped.filter((p) => p > 0 && p < 100).length;
  return `Map of ${m.mapped.length} cells of ${bytes(m.cell)}: ${full} wholly mapped, ${some} in part, ${m.mapped.length - full - some} not`;
}

function layout(canvas, cells) {
  const width = canvas.clientWidth, side = width < 500 ? 9 : 11, gap = 2;
  const across = Math.max(Math.floor((width + gap) / (side + gap)), 1);
  const wide = (width + gap) / across - gap; // the row is filled
  return { across, wide, side, gap, rows: Math.ceil(cells / across) };
}

// drawMap paints the map into each canvas within root that is for it.
export function drawMap(root) {
  for (const canvas of root.querySelectorAll("[data-map]")) {
    const m = state.map && state.map.name === canvas.dataset.map ? state.map : null;
    if (!m || !m.mapped.length || !canvas.clientWidth) continue;
    const l = layout(canvas, m.mapped.length), ratio = devicePixelRatio || 1;
    const height = l.rows * (l.side + l.gap) - l.gap;
    canvas.style.height = height + "px";
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.setAttribute("aria-label", inWords(m));
    const c = canvas.getContext("2d");
    c.scale(ratio, ratio);
    const none = colour("--cell"), full = colour("--images"), anchored = colour("--anchored");
    m.mapped.forEach((mapped, i) => {
      const x = i % l.across * (l.wide + l.gap), y = Math.floor(i / l.across) * (l.side + l.gap);
      const paint = (style, alpha) => { c.globalAlpha = alpha; c.fillStyle = style; c.beginPath(); c.roundRect(x, y, l.wide, l.side, 2); c.fill(); };
      paint(none, 1);
      if (m.anchored[i] > 0) paint(anchored, 0.25 + 0.75 * m.anchored[i] / 100);
      if (mapped > 0) paint(full, 0.3 + 0.7 * mapped / 100);
    });
    if (canvas.dataset.ready) continue;
    canvas.dataset.ready = "yes";
    const say = (text) => { const out = canvas.parentElement.querySelector(".pointed"); if (out) out.textContent = text; };
    canvas.addEventListener("pointermove", (e) => {
      const now = state.map;
      if (!now) return;
      const at = layout(canvas, now.mapped.length);
      const i = Math.floor(e.offsetY / (at.side + at.gap)) * at.across + Math.min(Math.floor(e.offsetX / (at.wide + at.gap)), at.across - 1);
      if (i < 0 || i >= now.mapped.length) { say(""); return; }
      say(`at ${bytes(i * now.cell)}: ${now.mapped[i]} % mapped${now.anchored[i] ? `, ${now.anchored[i]} % anchored` : ""}`);
    });
    canvas.addEventListener("pointerleave", () => say(""));
  }
}
