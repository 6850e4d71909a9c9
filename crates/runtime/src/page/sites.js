// All sites that mail waits for: searched, sorted, and drawn only as far as
// they are seen, so that ten thousand are as quick as ten.

import { ask, repeat } from './ask.js';
import { h, number, put, renew, say, siteLink, stateMark } from './dom.js';
import { count, distance, moment, several } from './format.js';

// Rows asked for at once, and rows of one order that can be reached.
const CHUNK = 100;
const REACH = 10_000;
const ROW_PX = 34;

const COLUMNS = [
  ['name', 'Site'],
  ['state', 'State'],
  ['count', 'Waiting'],
  ['ready', 'Ready'],
  ['deferred', 'Put off'],
  ['in_flight', 'Under way'],
  ['held', 'Held'],
  ['connections', 'Connections'],
  ['oldest', 'Oldest'],
];

// Kept while other parts are shown.
const kept = { name: '', state: '', sort: 'count' };

export function sites(main) {
  const search = h('input', { type: 'search', id: 'search', placeholder: 'Part of a name',
    'aria-label': 'Search for sites', autocomplete: 'off', spellcheck: 'false', value: kept.name,
    oninput: later });
  const told = h('p', { class: 'quiet', id: 'told', 'aria-live': 'polite' });
  const chips = h('div', { class: 'ranges', role: 'group', 'aria-label': 'State' });
  const heads = COLUMNS.map(([key, label]) => h('th', { scope: 'col', class: key === 'name'
    || key === 'state' ? '' : 'n' }, h('button', { type: 'button', onclick: () => order(key) },
    label)));
  const above = h('tr', { class: 'space', 'aria-hidden': 'true' }, h('td', { colspan: 10 }));
  const below = h('tr', { class: 'space', 'aria-hidden': 'true' }, h('td', { colspan: 10 }));
  const body = h('tbody', {}, above, below);
  const table = h('table', { class: 'sites' },
    h('caption', { class: 'hidden' }, 'Sites with waiting mail'),
    h('thead', {}, h('tr', {}, ...heads, h('th', { scope: 'col' }, 'Last trouble'))), body);
  const frame = h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label':
    'Sites with waiting mail', onscroll: seen }, table);
  put(main, h('section', { class: 'panel tall' },
    h('h1', {}, 'Sites'), h('div', { class: 'search' }, search, chips), told, frame));

  let chunks = new Map();
  let [total, typed, version] = [0, 0, 0];
  const polled = repeat(3_000, refresh);

  // Asks anew for what is seen.
  async function refresh(wanted) {
    const mine = version;
    const [first, last] = visible();
    const needed = [];
    for (let chunk = Math.floor(first / CHUNK); chunk <= Math.floor(last / CHUNK); chunk += 1) {
      needed.push(chunk);
    }
    const answers = await Promise.all(needed.map((chunk) => ask(path(chunk))));
    if (!wanted() || mine !== version) return;
    chunks = new Map([...chunks].filter(([chunk]) => Math.abs(chunk - needed[0]) < 20));
    answers.forEach((answer, at) => chunks.set(needed[at], answer.sites));
    total = answers[0].total;
    tell(answers[0]);
    draw();
  }

  function path(chunk) {
    const query = new URLSearchParams({ sort: kept.sort, offset: chunk * CHUNK, limit: CHUNK });
    if (kept.name) query.set('name', kept.name);
    if (kept.state) query.set('state', kept.state);
    return `/v1/sites?${query}`;
  }

  // First and last row that is seen.
  function visible() {
    const rows = Math.max(1, Math.ceil(frame.clientHeight / ROW_PX));
    const first = Math.max(0, Math.floor(frame.scrollTop / ROW_PX) - 4);
    const end = Math.min(REACH, Math.max(total, 1)) - 1;
    return [Math.min(first, end), Math.min(first + rows + 8, end)];
  }

  function draw() {
    const [first, last] = visible();
    const rows = [];
    for (let at = first; at <= last && at < total; at += 1) {
      const row = chunks.get(Math.floor(at / CHUNK))?.[at % CHUNK];
      rows.push(row ? shown(row, at) : h('tr', { class: 'unread' }, h('td', { colspan: 10 }, '…')));
    }
    const reach = Math.min(total, REACH);
    above.firstChild.style.height = `${first * ROW_PX}px`;
    below.firstChild.style.height = `${Math.max(0, reach - first - rows.length) * ROW_PX}px`;
    table.setAttribute('aria-rowcount', total + 1);
    renew(body, above, ...rows, below);
    heads.forEach((head, at) => head.setAttribute('aria-sort',
      COLUMNS[at][0] === kept.sort ? (kept.sort === 'name' ? 'ascending' : 'descending') : 'none'));
  }

  function tell(answer) {
    const beyond = total > REACH ? ` The first ${count(REACH)} are shown: search for others.` : '';
    say(told, `${several(total, 'site')}${kept.name || kept.state ? ' found' : ' with waiting mail'}.`
      + beyond);
    const states = Object.entries(answer.states).sort(([a], [b]) => (a < b ? -1 : 1));
    // While one state is chosen the others are not counted.
    if (kept.state && chips.children.length > 0) return;
    put(chips, ...[['', total], ...states].map(([state, n]) => h('button', { type: 'button',
      'aria-pressed': String(state === kept.state), onclick: (event) => choose(state, event) },
      state === '' ? `all ${count(n)}` : [stateMark(state), ` ${count(n)}`])));
  }

  function choose(state, event) {
    kept.state = state;
    for (const chip of chips.children) chip.setAttribute('aria-pressed', 'false');
    event.currentTarget.setAttribute('aria-pressed', 'true');
    anew();
  }

  function order(key) {
    kept.sort = key;
    anew();
  }

  function later() {
    clearTimeout(typed);
    typed = setTimeout(() => {
      kept.name = search.value.trim();
      anew();
    }, 150);
  }

  // Other rows are wanted: from the top.
  function anew() {
    version += 1;
    chunks = new Map();
    frame.scrollTop = 0;
    polled.now();
  }

  let waits = 0;
  function seen() {
    draw();
    clearTimeout(waits);
    waits = setTimeout(polled.now, 80);
  }

  return () => {
    polled.end();
    clearTimeout(typed);
    clearTimeout(waits);
  };
}

function shown(row, at) {
  return h('tr', { 'aria-rowindex': at + 2 },
    h('th', { scope: 'row', class: 'name' }, siteLink(row.name)),
    h('td', {}, stateMark(row.state)),
    number(count(row.count)), number(count(row.ready)), number(count(row.deferred)),
    number(count(row.in_flight)), number(count(row.held)), number(count(row.connections)),
    number(row.oldest ? distance(row.oldest) : '–', { title: row.oldest ? moment(row.oldest) : '' }),
    h('td', { class: 'words', title: row.reason ?? '' }, row.reason ?? ''));
}
