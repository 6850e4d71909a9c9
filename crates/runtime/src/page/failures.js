// What goes wrong most often, with the words of those who said it.

import { ask, repeat } from './ask.js';
import { h, put, renew, say, siteLink } from './dom.js';
import { count, distance, moment, several } from './format.js';

// The rows of `/v1/failures` as a list in `host`.
export function showFailures(host, rows) {
  if (rows.length === 0) {
    return renew(host, h('p', { class: 'quiet' }, 'Nothing went wrong within the last hour.'));
  }
  return renew(host, h('ol', { class: 'failures' }, ...rows.map(failure)));
}

function failure(row) {
  return h('li', { class: row.event },
    h('span', { class: 'times', title: several(row.count, 'time') }, `${count(row.count)}×`),
    h('div', {},
      h('q', {}, row.words || '(no words)'),
      h('p', { class: 'quiet' },
        h('span', { class: 'kind' }, WORDS[row.event] ?? row.event), ' ',
        row.status, row.sites.length > 0 ? ' · ' : '',
        row.sites.flatMap((name, at) => [at > 0 ? ', ' : '', siteLink(name)]),
        row.sites_more > 0 ? ` and ${count(row.sites_more)} more` : '',
        ' · ', h('time', { datetime: row.last, title: moment(row.last) }, distance(row.last)),
        row.id ? [' · ', h('a', { href: `#/mail/${row.id}` }, row.id)] : null)));
}

const WORDS = {
  'deferred': 'put off',
  'failed': 'failed for good',
  'expired': 'given up',
};

// The part of the page with all of them.
export function failures(main) {
  const [list, hint] = [h('div'), h('p', { class: 'quiet' })];
  put(main,
    h('section', { class: 'panel' }, h('h1', {}, 'What goes wrong'), hint, list));
  const polled = repeat(4_000, async (wanted) => {
    const answer = await ask('/v1/failures?limit=200');
    if (!wanted()) return;
    say(hint, 'Of the last hour, the most frequent first; the same words are one row, whoever said them.');
    showFailures(list, answer.failures);
  });
  return () => polled.end();
}
