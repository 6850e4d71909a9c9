// The overview: what is wrong in one sentence, figures, plots of the last
// hours, the largest queues by age, what goes wrong most often.

import { ask, repeat } from './ask.js';
import { h, put, say } from './dom.js';
import { showFailures } from './failures.js';
import { bytes, count, latency, rate, span } from './format.js';
import { plot } from './plots.js';
import { columns, note, RANGES, read } from './points.js';
import { showShape } from './shape.js';
import { assess } from './state.js';

// What is kept while other parts are shown.
const kept = { range: RANGES[1], rates: null, cpu: null };

const FIGURES = [
  ['accepted', 'Taken', 'messages a second'],
  ['delivered', 'Delivered', 'recipients a second'],
  ['deferred', 'Put off', 'recipients a second'],
  ['bounced', 'Given back', 'recipients a second'],
  ['waiting', 'Waiting', ''],
  ['sessions', 'Sessions', ''],
  ['disk', 'Disk', ''],
  ['up', 'Running', ''],
];

export function overview(main) {
  const sentence = h('p', { class: 'sentence', id: 'sentence' }, '…');
  const state = h('section', { class: 'glance', 'aria-label': 'State' }, sentence);
  const others = h('ul', { class: 'others' });
  state.append(others);
  const figures = Object.fromEntries(FIGURES.map(([key]) => [key, h('dd', { id: `f-${key}` }, '–')]));
  const under = Object.fromEntries(FIGURES.map(([key, , unit]) => [key, h('small', {}, unit)]));
  const strip = h('dl', { class: 'figures' }, ...FIGURES.map(([key, label]) => h('div', {
    class: `figure ${key}` }, h('dt', {}, label), figures[key], under[key])));
  const shards = h('div', { class: 'shards' });
  const plots = plotting();
  const [shape, failing] = [h('div', { class: 'wide' }), h('div')];
  put(main, state, strip, plots.element,
    h('div', { class: 'pair' },
      h('section', { class: 'panel' }, h('h2', {}, 'Queue by site and age',
        h('small', {}, 'recipients that wait up to so long')), shape),
      h('section', { class: 'panel' }, h('h2', {}, 'What goes wrong', h('small', {}, 'within the hour')),
        failing)),
    h('section', { class: 'panel' }, h('h2', {}, 'Load of the shards'), shards));

  let [states, worst, alerts] = [{}, [], []];
  const polled = [
    repeat(2_000, async (wanted) => {
      const [status, orders] = await Promise.all([ask('/v1/status'), ask('/v1/suspensions')]);
      kept.rates = note(status) ?? kept.rates;
      if (!wanted()) return;
      const glance = assess({ status, states, worst, alerts, suspensions: orders.suspensions,
        rates: kept.rates });
      state.className = `glance ${glance.level}`;
      say(sentence, glance.sentence);
      put(others, ...glance.others.map((text) => h('li', {}, text)));
      showFigures(figures, under, status, kept.rates);
      showShards(shards, status);
      plots.show();
    }),
    repeat(5_000, async () => {
      ({ states, sites: worst } = await ask('/v1/sites?sort=state&limit=3'));
      ({ alerts } = await ask('/v1/alerts'));
    }),
    repeat(5_000, async (wanted) => {
      const answer = await ask('/v1/queue?by=site&limit=12');
      if (wanted()) showShape(shape, answer.sites);
    }),
    repeat(5_000, async (wanted) => {
      const answer = await ask('/v1/failures?limit=8');
      if (wanted()) showFailures(failing, answer.failures);
    }),
    repeat(10_000, async (wanted) => {
      await read(kept.range.step);
      if (wanted()) plots.show();
    }),
  ];
  plots.changed = () => polled[4].now();
  return () => {
    polled.forEach((one) => one.end());
    plots.end();
  };
}

function plotting() {
  const element = h('section', { class: 'plots', 'aria-label': 'The last hours' });
  const shown = RANGES.map((range) => h('button', { type: 'button', 'aria-pressed':
    String(range === kept.range), onclick: () => choose(range) }, range.label));
  const host = (title, hint) => {
    const inside = h('div', { class: 'plot' });
    element.append(h('figure', { class: 'panel' }, h('figcaption', {}, title,
      h('small', {}, hint)), inside));
    return inside;
  };
  element.append(h('div', { class: 'ranges', role: 'group', 'aria-label': 'How far back' },
    ...shown));
  const all = [
    plot(host('Throughput', 'a second'), { title: 'Throughput a second', value: rate, lines: [
      { label: 'taken', key: 'accepted', colour: '--taken' },
      { label: 'delivered', key: 'delivered', colour: '--delivered', fill: true },
      { label: 'put off', key: 'deferred', colour: '--deferred', dash: [8, 4] },
      { label: 'given back', key: 'bounced', colour: '--failed', dash: [2, 4] }] }),
    plot(host('Waiting', 'recipients'), { title: 'Waiting recipients', value: count, lines: [
      { label: 'waiting', key: 'queued', colour: '--taken', fill: true }] }),
    plot(host('Latency', 'half and 99 of 100 are faster'), { title: 'Latency', log: true,
      value: latency, lines: [
        { label: 'to the 250, half', key: 'accept_p50_us', colour: '--taken' },
        { label: '99 %', key: 'accept_p99_us', colour: '--taken', dash: [4, 4] },
        { label: 'to delivery, half', key: 'end_to_end_p50_us', colour: '--delivered' },
        { label: '99 % ', key: 'end_to_end_p99_us', colour: '--delivered', dash: [4, 4] }] }),
  ];
  const it = {
    element,
    changed: () => {},
    show: () => {
      const found = columns(kept.range);
      all.forEach((one) => one.show(found));
    },
    end: () => all.forEach((one) => one.end()),
  };
  function choose(range) {
    kept.range = range;
    shown.forEach((button, at) => button.setAttribute('aria-pressed',
      String(RANGES[at] === range)));
    it.show();
    it.changed();
  }
  return it;
}

function showFigures(figures, under, status, rates) {
  for (const key of ['accepted', 'delivered', 'deferred', 'bounced']) {
    say(figures[key], rates ? rate(rates[key]) : '–');
  }
  const { ready, deferred, in_flight, held } = status.recipients;
  say(figures.waiting, count(ready + deferred + in_flight + held));
  say(under.waiting, `${count(ready)} ready, ${count(deferred)} put off, ${count(in_flight)} under way`
    + `${held > 0 ? `, ${count(held)} held` : ''}`);
  say(figures.sessions, `${count(status.sessions.in)} · ${count(status.sessions.out)}`);
  say(under.sessions, 'in · out');
  say(figures.disk, bytes(status.free_bytes));
  say(under.disk, `free; ${bytes(status.bytes)} of mail`);
  say(figures.up, span(status.uptime_ms));
  say(under.up, `${count(status.counters.delivered)} delivered since`);
}

// A bar for each shard: the share of a processor that it used since last time.
function showShards(host, status) {
  const rows = status.by_shard ?? [];
  const before = kept.cpu;
  const now = { uptime: status.uptime_ms, ms: rows.map((row) => row.cpu_ms ?? 0) };
  kept.cpu = now;
  const elapsed = before ? now.uptime - before.uptime : 0;
  const share = (at) => (elapsed > 0 && before.ms.length === now.ms.length
    ? Math.min(1, Math.max(0, (now.ms[at] - before.ms[at]) / elapsed)) : 0);
  put(host, ...rows.map((row, at) => h('div', { class: 'shard' },
    h('span', {}, `Shard ${row.shard}`),
    h('meter', { min: 0, max: 1, value: share(at).toFixed(3), 'aria-label':
      `Load of shard ${row.shard}` }),
    h('span', { class: 'n' }, `${Math.round(share(at) * 100)} %`),
    h('small', { class: 'quiet' }, `${count(row.waiting)} waiting, ${row.in} in, ${row.out} out`))));
}
