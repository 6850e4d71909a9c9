// The last hours as columns for plots: from the daemon's own history where it
// keeps one, and else from what this page has seen itself.

import { ask } from './ask.js';

// Columns of counts, turned into rates by the length of a step.
const COUNTS = ['accepted', 'delivered', 'deferred', 'bounced'];
const LEVELS = ['queued', 'accept_p50_us', 'accept_p99_us', 'end_to_end_p50_us',
  'end_to_end_p99_us'];
const OWN_STEP_MS = 2_000;
// The shortest time that is drawn.
const SHORTEST_MS = 60_000;
// Points that are kept of one kind.
const POINTS_MAX = 2_400;

export const RANGES = [
  { label: '15 min', ms: 900_000, step: '10s' },
  { label: '1 h', ms: 3_600_000, step: '10s' },
  { label: '6 h', ms: 21_600_000, step: '10s' },
  { label: '7 d', ms: 604_800_000, step: '5m' },
];

const histories = { '10s': empty(10_000), '5m': empty(300_000) };
const own = empty(OWN_STEP_MS);

function empty(step_ms) {
  return { step_ms, t: [], columns: Object.fromEntries([...COUNTS, ...LEVELS].map((k) => [k, []])) };
}

// Reads on what the daemon has kept.
export async function read(step) {
  const kept = histories[step];
  const since = kept.t.length > 0 ? `&since=${kept.t[kept.t.length - 1]}` : '';
  take(kept, await ask(`/v1/history?step=${step}${since}`));
}

// Adds an answer's columns behind what is there.
export function take(kept, answer) {
  kept.step_ms = answer.step_ms;
  const last = kept.t.length > 0 ? kept.t[kept.t.length - 1] : -1;
  const from = answer.t.findIndex((t) => t > last);
  if (from < 0) return;
  kept.t.push(...answer.t.slice(from));
  for (const [name, column] of Object.entries(kept.columns)) {
    const given = answer[name] ?? answer.t.map(() => null);
    column.push(...given.slice(from));
  }
  trim(kept);
}

function trim(kept) {
  const over = kept.t.length - POINTS_MAX;
  if (over <= 0) return;
  kept.t.splice(0, over);
  for (const column of Object.values(kept.columns)) column.splice(0, over);
}

// Counters of the status before, for what happened since.
let before = null;

// Takes a status: gives what happened a second since the one before, or null
// where there is none to compare with.
export function note(status, now = Date.now()) {
  const seen = { now, uptime: status.uptime_ms, counters: status.counters };
  const last = before;
  before = seen;
  if (!last || seen.uptime < last.uptime) return null;
  const seconds = (seen.uptime - last.uptime) / 1000;
  if (seconds <= 0) return null;
  const since = (name) => Math.max(0, (seen.counters[name] ?? 0) - (last.counters[name] ?? 0));
  const happened = {
    accepted: since('messages_accepted'),
    delivered: since('delivered'),
    deferred: since('deferred'),
    bounced: since('failed') + since('expired'),
  };
  const waiting = Object.values(status.recipients).reduce((sum, n) => sum + n, 0);
  own.t.push(now);
  for (const name of COUNTS) own.columns[name].push(happened[name] / seconds * (OWN_STEP_MS / 1000));
  for (const name of LEVELS) own.columns[name].push(name === 'queued' ? waiting : null);
  trim(own);
  return Object.fromEntries(COUNTS.map((name) => [name, happened[name] / seconds]));
}

// The columns of a range, times in seconds, counts as rates a second. A gap
// stands between points that are further apart than a few steps.
export function columns(range, now = Date.now()) {
  const history = histories[range.step];
  const kept = history.t.length > 1 ? history : own;
  const from = kept.t.findIndex((t) => t >= now - range.ms);
  // What is not known yet takes no room.
  const begin = Math.max(now - range.ms, Math.min(kept.t[0] ?? now, now - SHORTEST_MS));
  const out = { t: [], from: begin / 1000, to: now / 1000 };
  for (const name of [...COUNTS, ...LEVELS]) out[name] = [];
  if (from < 0) return out;
  for (let at = from; at < kept.t.length; at += 1) {
    const gap = at > from && kept.t[at] - kept.t[at - 1] > 5 * kept.step_ms;
    if (gap) push(out, kept.t[at - 1] + kept.step_ms, () => null);
    push(out, kept.t[at], (name) => {
      const value = kept.columns[name][at];
      return value !== null && COUNTS.includes(name) ? value / (kept.step_ms / 1000) : value;
    });
  }
  return out;
}

function push(out, t, value) {
  out.t.push(t / 1000);
  for (const name of [...COUNTS, ...LEVELS]) out[name].push(value(name) ?? null);
}
