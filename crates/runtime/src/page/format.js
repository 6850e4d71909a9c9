// Numbers, spans and times as people read them. Pure.

const GROUPED = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

// 12,345
export function count(value) {
  return value === null || value === undefined ? '–' : GROUPED.format(value);
}

// Something a second: 0, 0.3, 12.4, 1,240
export function rate(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  if (value === 0) return '0';
  if (value < 0.05) return '<0.1';
  return value < 99.95 ? value.toFixed(1) : GROUPED.format(value);
}

// 3.2 GiB
export function bytes(value) {
  if (value === null || value === undefined) return '–';
  let [size, unit] = [value, 0];
  while (size >= 1000 && unit < UNITS.length - 1) [size, unit] = [size / 1024, unit + 1];
  const digits = unit === 0 || size >= 99.5 ? 0 : 1;
  return `${size.toFixed(digits)} ${UNITS[unit]}`;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

// A span of milliseconds in its two largest units: 3 d 4 h, 12 min, 8 s
export function span(ms) {
  if (ms === null || ms === undefined) return '–';
  let left = Math.max(0, Math.round(ms / 1000));
  const parts = [];
  for (const [seconds, unit] of [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']]) {
    const whole = Math.floor(left / seconds);
    left -= whole * seconds;
    if (whole > 0 || (unit === 's' && parts.length === 0)) parts.push(`${whole} ${unit}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(' ');
}

// A latency in microseconds: 310 µs, 4.2 ms, 1.3 s, 12 min
export function latency(us) {
  if (us === null || us === undefined) return '–';
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 1e6) return `${short(us / 1000)} ms`;
  return us < 6e7 ? `${short(us / 1e6)} s` : span(us / 1000);
}

function short(value) {
  return value < 9.95 ? value.toFixed(1) : value.toFixed(0);
}

// The time of day where the reader is: 14:03:22
export function clock(ms) {
  const at = new Date(ms);
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map((n) => String(n).padStart(2, '0'))
    .join(':');
}

// Day and time, the day left out where it is today.
export function moment(text, now = Date.now()) {
  const at = typeof text === 'number' ? text : Date.parse(text);
  if (Number.isNaN(at)) return '–';
  const [there, here] = [new Date(at), new Date(now)];
  if (there.toDateString() === here.toDateString()) return clock(at);
  const day = [there.getFullYear(), there.getMonth() + 1, there.getDate()]
    .map((n) => String(n).padStart(2, '0')).join('-');
  return `${day} ${clock(at)}`;
}

// How far a time lies from now: 3 min ago, in 20 s
export function distance(text, now = Date.now()) {
  const at = typeof text === 'number' ? text : Date.parse(text);
  if (Number.isNaN(at)) return '–';
  const away = at - now;
  if (Math.abs(away) < 1000) return 'now';
  return away < 0 ? `${span(-away)} ago` : `in ${span(away)}`;
}

// one site, 3 sites
export function several(number, one, many = `${one}s`) {
  return number === 1 ? `one ${one}` : `${count(number)} ${many}`;
}
