// Causes and events told in order: what keeps mail, and what became of it.

import { h } from './dom.js';
import { distance, moment } from './format.js';

// The links of a cause chain.
export function chain(links) {
  if (!links || links.length < 2) return null;
  return h('ul', { class: 'chain' }, ...links.map((link) => h('li', {}, link.words,
    link.until ? h('span', { class: 'quiet' }, ` until ${moment(link.until)}`) : null,
    link.by_itself ? null : h('strong', {}, ' (needs somebody)'))));
}

// Lines of the log as a story, the latest at the end, or first.
export function lines(rows, complete, latest_first = false) {
  if (rows.length === 0) return h('p', { class: 'quiet' }, 'The log knows nothing of it.');
  return h('div', {},
    complete ? null : h('p', { class: 'quiet' }, 'The log is long: only its latest part was read.'),
    h('ol', { class: 'story' }, ...(latest_first ? rows.toReversed() : rows).map(event)));
}

function event(line) {
  // The sentence begins with time and kind, which stand in front already.
  const words = line.sentence.replace(/^\S+\s+\S+\s*/, '');
  return h('li', { class: LEVELS[line.event] ?? '' },
    h('time', { datetime: line.time, title: `${line.time}, ${distance(line.time)}` },
      moment(line.time)),
    h('span', { class: 'kind' }, line.event),
    h('span', { class: 'said' }, words));
}

const LEVELS = {
  'delivered': 'good',
  'deferred': 'late',
  'host-failed': 'late',
  'failed': 'lost',
  'expired': 'lost',
};
