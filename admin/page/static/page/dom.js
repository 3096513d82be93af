// HTML as text that cannot be broken out of, and a document that is changed as little as possible.

class Markup {
  constructor(text) { this.text = text; }
  toString() { return this.text; }
}

const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escape = (value) => String(value).replace(/[&<>"']/g, (c) => entities[c]);

function text(value) {
  if (value === null || value === undefined || value === false) return "";
  if (value instanceof Markup) return value.text;
  if (Array.isArray(value)) return value.map(text).join("");
  return escape(value);
}

// html`<p>${anything}</p>`: what is put in is escaped, unless it was made by html itself.
export function html(parts, ...values) {
  let out = parts[0];
  values.forEach((value, i) => { out += text(value) + parts[i + 1]; });
  return new Markup(out);
}

export function fragment(markup) {
  const template = document.createElement("template");
  template.innerHTML = text(markup);
  return template.content;
}

const keyOf = (node) => node.nodeType === 1 ? node.getAttribute("data-key") || node.id || "" : "";
const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

// render makes the children of parent what markup says. Elements that are there stay, with their focus and their
// place; an element with data-keep is left to whoever fills it.
export function render(parent, markup) { morph(parent, fragment(markup)); }

function morph(parent, wanted) {
  const keyed = new Map();
  for (const child of parent.children) if (keyOf(child)) keyed.set(keyOf(child), child);
  let at = parent.firstChild;
  for (const want of [...wanted.childNodes]) {
    const key = keyOf(want);
    let have = null;
    if (key) {
      if (keyed.has(key) && alike(keyed.get(key), want)) have = keyed.get(key);
    } else {
      for (let n = at; n; n = n.nextSibling) if (!keyOf(n)) { if (alike(n, want)) have = n; break; }
    }
    if (!have) {
      parent.insertBefore(want, at);
      continue;
    }
    if (have === at) at = at.nextSibling;
    else parent.insertBefore(have, at);
    change(have, want);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function change(have, want) {
  if (have.nodeType !== 1) {
    if (have.nodeValue !== want.nodeValue) have.nodeValue = want.nodeValue;
    return;
  }
  if (have.hasAttribute("data-keep")) return;
  for (const { name, value } of [...want.attributes]) if (have.getAttribute(name) !== value) have.setAttribute(name, value);
  for (const { name } of [...have.attributes]) if (!want.hasAttribute(name) && name !== "style" && name !== "open") have.removeAttribute(name);
  morph(have, want);
}
