// One site: what keeps its mail, when its queue is empty, what waits, and what
// was said there.

import { ask, Refused, repeat } from './ask.js';
import { h, number, put, renew } from './dom.js';
import { count, distance, moment, span } from './format.js';
import { chain, lines } from './story.js';

export function site(main, name) {
  // The log knows a site by its hosts; what settings add stands behind those.
  const [hosts] = name.split(';');
  let query = encodeURIComponent(name);
  const [why, waits, log] = [h('div'), h('div', { class: 'wide' }), h('div')];
  put(main,
    h('section', { class: 'panel' }, h('h1', { class: 'long' }, name), why),
    h('section', { class: 'panel' }, h('h2', {}, 'Waiting mail'), waits),
    h('section', { class: 'panel' }, h('h2', {}, 'Latest events'), log));
  const polled = [
    repeat(3_000, async (wanted) => {
      if (name === hosts) query = encodeURIComponent(await whole(name));
      const answer = await ask(`/v1/why?of=${query}&limit=20`).catch(nothing);
      if (wanted()) renew(why, ...forecast(answer?.queues ?? []));
    }),
    repeat(5_000, async (wanted) => {
      const path = `/v1/queue?by=message&site=${query}&limit=50`;
      const answer = await ask(path).catch(nothing);
      if (wanted()) renew(waits, waiting(answer?.messages ?? []));
    }),
    repeat(5_000, async (wanted) => {
      const path = `/v1/log?site=${encodeURIComponent(hosts)}&since=6h&limit=60`;
      const answer = await ask(path).catch(nothing);
      if (wanted()) renew(log, lines(answer?.lines ?? [], answer?.complete ?? true, true));
    }),
  ];
  return () => polled.forEach((one) => one.end());
}

// The name by which the queue knows a site, which may say more than the log's.
async function whole(name) {
  const { sites } = await ask(`/v1/sites?name=${encodeURIComponent(name)}&limit=20`);
  const known = sites.find((row) => row.name === name || row.name.startsWith(`${name};`));
  return known ? known.name : name;
}

// What is not there is no fault of anybody's.
function nothing(error) {
  if (error instanceof Refused) return null;
  throw error;
}

function forecast(queues) {
  if (queues.length === 0) return [h('p', { class: 'quiet' }, 'No mail waits for this site.')];
  return queues.map((queue) => h('div', { class: 'cause' },
    h('p', { class: 'because' }, queue.because),
    chain(queue.chain),
    h('p', { class: 'quiet' },
      `${count(queue.ready)} ready, ${count(queue.deferred)} put off, ${count(queue.in_flight)} under`
      + ` way, ${count(queue.held)} held`,
      queue.next_attempt ? ` · next attempt ${distance(queue.next_attempt)}` : '',
      queue.drained_in_ms === null ? '' : ` · empty in ${span(queue.drained_in_ms)} if it goes on so`,
      queues.length > 1 ? ` · shard ${queue.shard}` : '')));
}

// Rows of `/v1/queue?by=message` as a table.
export function waiting(rows) {
  if (rows.length === 0) return h('p', { class: 'quiet' }, 'Nothing waits.');
  const head = ['Message', 'Recipient', 'State', 'Tries', 'Next attempt', 'Last answer'];
  return h('table', {},
    h('thead', {}, h('tr', {}, ...head.map((text) => h('th', { scope: 'col' }, text)))),
    h('tbody', {}, ...rows.map((row) => h('tr', {},
      h('td', {}, h('a', { href: `#/mail/${row.id}` }, row.id)),
      h('td', {}, row.recipient ?? '–'),
      h('td', {}, row.suspended ?? row.state, row.in_doubt ? ', in doubt' : ''),
      number(count(row.attempts)),
      h('td', { title: row.next_attempt ? moment(row.next_attempt) : '' },
        row.next_attempt ? distance(row.next_attempt) : '–'),
      h('td', { class: 'words', title: row.last_answer ?? '' }, row.last_answer ?? '')))));
}
