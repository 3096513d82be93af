// What the page knows: asked for now and then, and heard of as it happens.
import { Failure, get, part } from "./api.js";

export const keptSeconds = 300; // of samples
const keptEvents = 1000;
const parts = ["queue", "store", "network"]; // of the time that a command takes

export const state = {
  who: null,          // { scope, login }; null: not known yet
  status: null,       // GET /status
  reservations: null, // GET /reservations
  snapshots: null,    // GET /snapshots
  access: null,       // { targets, rules }: the configuration of who is admitted
  lun: null,          // GET /luns/{lun} of the one that is looked at; broken: GET /luns/{lun}/faults, where it can break
  map: null,          // GET /luns/{lun}/map of it
  events: [],         // from the oldest
  lost: 0,            // events that were not kept
  failure: "",        // why nothing is heard of the daemon; empty: it is
  heardAt: 0,
  all: series(),      // samples of everything
  luns: new Map(),    // of each LUN, by name
  sessions: new Map(), // of each session, by TSIH
  spaces: new Map(),  // of each file system, by its identity: bytes in use, and those of images
};

const listeners = new Set();
export const onChange = (f) => listeners.add(f);
let queued = false;
export function changed() {
  if (queued) return;
  queued = true;
  queueMicrotask(() => {
    queued = false;
    for (const f of listeners) f();
  });
}

export const mayWrite = () => state.who !== null && state.who.scope === "write";

// ---- who is it that looks

export async function identify() {
  try {
    state.who = { ...await get("/login"), login: true };
  } catch (e) {
    if (e.status !== 401) throw e;
    state.who = { scope: "", login: true };
  }
}

// ---- what is asked for now and then

async function ask(path, put) {
  try {
    await put(await get(path));
    state.failure = "";
    state.heardAt = Date.now();
  } catch (e) {
    if (!(e instanceof Failure)) throw e;
    if (e.status === 401) state.who = { scope: "", login: true };
    else if (e.status === 0 || e.status === 503) state.failure = e.message;
    else if (e.status === 404) put(null);
    else state.failure = e.message;
  }
  changed();
}

export const askStatus = () => ask("/status", (v) => {
  state.status = v;
  if (v) measure(fileSystems());
});
export const askReservations = () => ask("/reservations", (v) => { state.reservations = v; });
export const askSnapshots = () => ask("/snapshots", (v) => { state.snapshots = v; });
export const askLUN = (name) => ask(`/luns/${part(name)}`, async (v) => {
  if (v?.layers.includes("fault")) v.broken = await get(`/luns/${part(name)}/faults`);
  state.lun = v || { name, gone: true };
});
export const askMap = (name) => ask(`/luns/${part(name)}/map?cells=1024`, (v) => { state.map = v && { ...v, name }; });
export async function askAccess() {
  let targets = [], rules = [];
  await ask("/config/target", (v) => { targets = v || []; });
  await ask("/config/rule", (v) => { rules = v || []; });
  state.access = { targets, rules };
  changed();
}

// ---- load: counters that only grow, of which the differences are what happens

function series() { return { t: [], read: [], write: [], reads: [], writes: [], readTime: [], writeTime: [], slow: [], ...Object.fromEntries(parts.map((p) => [p, []])) }; }

export function seriesOf(kind, key) {
  if (!state[kind].has(key)) state[kind].set(key, series());
  return state[kind].get(key);
}

// last is the newest sample of a series: bytes and operations a second, seconds an operation.
export function last(s) {
  const i = s.t.length - 1;
  return Object.fromEntries(Object.keys(s).map((k) => [k, i < 0 ? 0 : s[k][i]]));
}

const times = (stream) => parts.reduce((sum, p) => sum + stream[p], 0);

// slowest is the time, in seconds, within which 99 of 100 operations were done.
function slowest(now, before, bounds) {
  const counts = now.read.durations.map((n, i) => n - before.read.durations[i] + now.write.durations[i] - before.write.durations[i]);
  const all = counts.reduce((a, b) => a + b, 0);
  let seen = 0;
  for (let i = 0; all > 0 && i < counts.length; i++) {
    seen += counts[i];
    if (seen >= all * 0.99) return (bounds[i] || bounds[bounds.length - 1]) / 1e9;
  }
  return null;
}

function push(s, t, now, before, seconds, bounds) {
  const d = (stream, of) => Math.max(of(now[stream]) - of(before[stream]), 0);
  const reads = d("read", (x) => x.operations), writes = d("write", (x) => x.operations);
  s.t.push(t);
  s.read.push(d("read", (x) => x.bytes) / seconds);
  s.write.push(d("write", (x) => x.bytes) / seconds);
  s.reads.push(reads / seconds);
  s.writes.push(writes / seconds);
  s.readTime.push(reads ? d("read", times) / reads / 1e9 : null);
  s.writeTime.push(writes ? d("write", times) / writes / 1e9 : null);
  s.slow.push(slowest(now, before, bounds));
  for (const p of parts) s[p].push(reads + writes ? (d("read", (x) => x[p]) + d("write", (x) => x[p])) / (reads + writes) / 1e9 : null);
  while (s.t[0] < t - keptSeconds) for (const k of Object.keys(s)) s[k].shift();
}

let before = null; // the last answer

export async function askLoad() {
  await ask("/load", (now) => {
    const seconds = before ? (now.uptime - before.uptime) / 1e9 : 0, t = Date.now() / 1000;
    if (seconds > 0 && seconds < 60) {
      push(state.all, t, now.total, before.total, seconds, now.bounds);
      for (const [kind, key] of [["luns", "name"], ["sessions", "tsih"]]) {
        const old = new Map(before[kind].map((one) => [one[key], one]));
        for (const one of now[kind]) if (old.has(one[key])) push(seriesOf(kind, one[key]), t, one, old.get(one[key]), seconds, now.bounds);
        const here = new Set(now[kind].map((one) => one[key]));
        for (const key of state[kind].keys()) if (!here.has(key)) state[kind].delete(key);
      }
    }
    if (seconds !== 0 || !before) before = now;
  });
}

// ---- space

// fileSystems are those that stores are in, each once, whatever stores are in it.
export function fileSystems() {
  const seen = new Map();
  for (const s of state.status?.stores || []) {
    const f = s["file-system"], id = f?.id || s.path;
    if (!seen.has(id)) seen.set(id, { id, f, stores: [], unknown: s.unknown || !f?.capacity });
    seen.get(id).stores.push(s);
  }
  return [...seen.values()];
}

// measure samples how full they are.
function measure(all) {
  const t = Date.now() / 1000;
  for (const { id, f, unknown } of all) {
    if (!state.spaces.has(id)) state.spaces.set(id, { t: [], used: [], images: [] });
    const s = state.spaces.get(id);
    s.t.push(t);
    s.used.push(unknown ? null : f.capacity - f.available);
    s.images.push(unknown ? null : f.allocated);
    while (s.t[0] < t - keptSeconds) for (const k of Object.keys(s)) s[k].shift();
  }
  for (const id of state.spaces.keys()) if (!all.some((one) => one.id === id)) state.spaces.delete(id);
}

// ---- events

let hearing = null; // of the stream that is open

// listen hears of events from the last one that is known, and goes on when the stream breaks.
export async function listen() {
  if (hearing) return;
  const mine = hearing = new AbortController();
  while (hearing === mine) {
    try {
      await hear(mine.signal);
    } catch { /* the daemon is away, or the stream was closed: asked again */ }
    await new Promise((r) => setTimeout(r, 3000));
    if (hearing === mine && !state.who?.scope) hearing = null;
  }
}

// hear reads one stream of server-sent events to its end. An EventSource would have to know every kind before.
async function hear(signal) {
  const from = state.events.length ? state.events[state.events.length - 1].id : 0;
  const answer = await fetch(`/events?after=${from}`, { signal, credentials: "same-origin", cache: "no-store", redirect: "error" });
  if (!answer.ok) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const b of blocks) {
      const lines = Object.fromEntries(b.split("\n").map((l) => [l.slice(0, Math.max(l.indexOf(":"), 0)), l.slice(l.indexOf(":") + 1).trim()]));
      if (lines.data === undefined) continue; // a sign of life
      if (lines.event === "lost") state.lost += Number(lines.data);
      else take(JSON.parse(lines.data));
    }
    changed();
  }
}

function take(one) {
  const newest = state.events[state.events.length - 1];
  if (newest && one.id <= newest.id) state.events = []; // another daemon than before
  state.events.push(one);
  if (state.events.length > keptEvents) state.events.shift();
}

export function deaf() {
  hearing?.abort();
  hearing = null;
}

// ---- the clockwork

const beats = [];
export function beat(seconds, f) { beats.push({ seconds, f, next: 0, busy: false }); }

export function tick() {
  if (document.hidden || !state.who || !state.who.scope) return;
  const now = Date.now();
  for (const b of beats) {
    if (b.busy || now < b.next) continue;
    b.busy = true;
    b.next = now + b.seconds * 1000 - 20;
    Promise.resolve(b.f()).catch((e) => console.error(e)).finally(() => { b.busy = false; });
  }
}

// soon has everything asked for at once: something was changed.
export function soon() {
  for (const b of beats) b.next = 0;
  tick();
}
