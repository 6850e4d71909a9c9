// How old the waiting mail is, site by site: a table whose cells are darker the
// more there is in them, with the numbers in them.

import { h, number, renew, siteLink, stateMark } from './dom.js';
import { count } from './format.js';

const BOUNDS = [5, 10, 20, 40, 80, 160, 320, 640, 1280];
// Up to so old.
const HEADINGS = ['5 min', '10', '20', '40', '80 min', '2 h 40', '5 h 20', '10 h 40', '21 h 20',
  'older'];
// Shades of a cell.
const SHADES = 6;

// The rows of `/v1/queue?by=site` as a table in `host`.
export function showShape(host, rows) {
  if (rows.length === 0) return renew(host, h('p', { class: 'quiet' }, 'Nothing waits.'));
  const ages = rows.map((row) => [...BOUNDS.map((bound) => row.ages[`under_${bound}m`]),
    row.ages.older]);
  const most = Math.max(1, ...ages.flat());
  const head = h('tr', {}, h('th', { scope: 'col' }, 'Site'),
    h('th', { scope: 'col', class: 'n' }, 'Waiting'),
    ...HEADINGS.map((text) => h('th', { scope: 'col', class: 'n' }, text)));
  const body = rows.map((row, at) => h('tr', {},
    h('th', { scope: 'row', class: 'name' },
      row.state === 'up' ? null : stateMark(row.state, true), siteLink(row.name)),
    number(count(row.count)),
    ...ages[at].map((n) => number(n === 0 ? '·' : count(n), { class: `shade${shade(n, most)}` }))));
  return renew(host, h('table', { class: 'shape' },
    h('caption', { class: 'hidden' }, 'Waiting recipients by site and age'),
    h('thead', {}, head), h('tbody', {}, ...body)));
}

// By magnitude, for queues differ by powers of ten.
function shade(n, most) {
  if (n === 0) return 0;
  return most === 1 ? 1 : 1 + Math.round(Math.log(n) / Math.log(most) * (SHADES - 1));
}
