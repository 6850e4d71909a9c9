// Revisions of the configuration, and what each of them changed.

import { ask, Refused, repeat } from './ask.js';
import { h, put, renew } from './dom.js';
import { moment } from './format.js';

const STATES = {
  'in-force': 'in force',
  'unconfirmed': 'in force until confirmed',
  'next-start': 'waits for the next start',
  'when-idle': 'waits until no session runs',
  'earlier': 'earlier',
  'undone': 'undone',
};

export function config(main, chosen) {
  const [list, change] = [h('ol', { class: 'revisions' }), h('div', { class: 'change' })];
  put(main,
    h('section', { class: 'panel' }, h('h1', {}, 'Configuration'), list),
    h('section', { class: 'panel' }, h('h2', {}, 'What it changed'), change));
  let shown = 0;
  const polled = repeat(5_000, async (wanted) => {
    const { revisions } = await ask('/v1/revisions?limit=200');
    if (!wanted()) return;
    if (revisions.length === 0) {
      put(list, h('li', { class: 'quiet' }, 'No revision was ever made: the file rules, or the defaults.'));
      return;
    }
    const number = Number(chosen) || revisions[0].revision;
    renew(list, ...revisions.map((row) => revision(row, number)));
    if (shown === number) return;
    const text = await changed(revisions, number);
    if (!wanted()) return;
    shown = number;
    put(change, text);
  });
  return () => polled.end();
}

function revision(row, chosen) {
  const here = row.revision === chosen ? 'true' : undefined;
  return h('li', {}, h('a', { href: `#/config/${row.revision}`, 'aria-current': here },
    h('strong', {}, `Revision ${row.revision}`),
    h('span', { class: `kind ${row.state}` }, STATES[row.state] ?? row.state),
    h('span', { class: 'quiet' }, `${moment(row.time)} · ${row.origin === 'file' ? 'from the file'
      : `by uid ${row.uid}`}`),
    row.comment ? h('span', { class: 'comment' }, row.comment) : null));
}

async function changed(revisions, number) {
  const row = revisions.find((one) => one.revision === number);
  const base = row ? row.base : 0;
  try {
    if (base > 0) {
      const { diff } = await ask(`/v1/config/diff?from=${base}&to=${number}`);
      return diff ? marked(diff) : h('p', { class: 'quiet' }, 'Nothing.');
    }
    const { text } = await ask(`/v1/revisions/${number}`);
    return h('div', {}, h('p', { class: 'quiet' }, 'The first one; its text:'),
      h('pre', { tabindex: 0 }, text));
  } catch (error) {
    if (error instanceof Refused) return h('p', { class: 'quiet' }, error.message);
    throw error;
  }
}

// A difference with its lines marked, by sign as well as by colour.
function marked(diff) {
  return h('pre', { class: 'diff', tabindex: 0 }, ...diff.trimEnd().split('\n').map((line) => {
    const kind = /^(@@|--- |\+\+\+ )/.test(line) ? 'place' : KINDS[line.charAt(0)];
    return h('span', { class: kind ?? '' }, line || ' ');
  }));
}

const KINDS = { '+': 'more', '-': 'less' };
