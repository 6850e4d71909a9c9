// One message, one address or one domain: why its mail waits, and its life so
// far as the log has it.

import { ask, Refused, repeat } from './ask.js';
import { h, put, renew } from './dom.js';
import { bytes, count, distance, moment } from './format.js';
import { waiting } from './site.js';
import { chain, lines } from './story.js';

// What is not there is asked for less often.
const RARELY_MS = 30_000;
// A message's id: 13 letters and digits, without i, l, o and u.
const ID = /^[0-9a-f][0-9a-hjkmnp-tv-z]{12}$/i;

export function mail(main, asked) {
  const input = h('input', { type: 'search', id: 'asked', autocomplete: 'off', spellcheck: 'false',
    placeholder: 'Message id, address or domain', 'aria-label': 'Message id, address or domain',
    value: asked });
  const form = h('form', { class: 'search', onsubmit: (event) => {
    event.preventDefault();
    location.hash = `#/mail/${encodeURIComponent(input.value.trim())}`;
  } }, input, h('button', { type: 'submit' }, 'Look'));
  const [head, why, life] = [h('div'), h('div'), h('div')];
  put(main, h('section', { class: 'panel' }, h('h1', {}, ID.test(asked) ? 'One message’s life' : 'Mail'), form, head, why),
    asked ? h('section', { class: 'panel' }, h('h2', {}, 'Events'), life) : null);
  if (!asked) {
    put(why, h('p', { class: 'quiet' },
      'The id stands in the 250 that the sender got, in the Received field, and in every line of the log.'));
    input.focus();
    return () => {};
  }
  const polled = [
    repeat(3_000, (wanted) => showWhy(why, asked, wanted)),
    repeat(3_000, (wanted) => showLife(life, asked, wanted)),
  ];
  if (ID.test(asked)) polled.push(repeat(10_000, (wanted) => showHead(head, asked, wanted)));
  return () => polled.forEach((one) => one.end());
}

async function told(path, where, wanted) {
  try {
    return await ask(path);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (wanted()) renew(where, h('p', { class: 'quiet' }, capital(error.message), '.'));
    return null;
  }
}

async function showHead(host, id, wanted) {
  const answer = await ask(`/v1/queue/${id.toLowerCase()}`).catch((error) => {
    if (error instanceof Refused) return null;
    throw error;
  });
  if (!wanted()) return undefined;
  if (!answer?.arrived) {
    renew(host);
    return RARELY_MS;
  }
  renew(host, h('p', {},
    h('strong', {}, answer.is_report ? 'a delivery report' : `from ${answer.sender || '<>'}`),
    ` · ${bytes(answer.size)} · arrived `, h('time', { datetime: answer.arrived, title:
      answer.arrived }, `${moment(answer.arrived)}, ${distance(answer.arrived)}`)),
  waiting(answer.waiting ?? []));
  return undefined;
}

async function showWhy(host, asked, wanted) {
  const answer = await told(`/v1/why?of=${encodeURIComponent(asked)}&limit=50`, host, wanted);
  if (!answer || !wanted()) return RARELY_MS;
  const rows = [...answer.recipients.map(recipient), ...answer.queues.map(queue)];
  renew(host, ...(rows.length > 0 ? rows : [h('p', { class: 'quiet' }, 'Nothing of it waits.')]));
  return undefined;
}

function recipient(row) {
  return h('div', { class: 'cause' },
    h('p', { class: 'because' }, row.because),
    h('p', { class: 'quiet' }, `${row.recipient} · ${row.state} · ${count(row.attempts)} tries`,
      row.next_attempt ? ` · next attempt ${distance(row.next_attempt)}` : '',
      ` · given up ${distance(row.expires)}`,
      row.site ? [' · ', h('a', { href: `#/site/${encodeURIComponent(row.site)}` }, row.site)] : null),
    row.last_answer ? h('p', {}, h('q', {}, row.last_answer)) : null,
    chain(row.chain));
}

function queue(row) {
  return h('div', { class: 'cause' },
    h('p', { class: 'because' }, row.because),
    h('p', { class: 'quiet' }, `${row.name ?? row.site ?? ''} · ${count(row.ready)} ready, ${
      count(row.deferred)} put off, ${count(row.held)} held`),
    chain(row.chain));
}

async function showLife(host, asked, wanted) {
  const name = ID.test(asked) ? 'id' : asked.includes('@') ? 'address' : 'domain';
  const value = name === 'id' ? asked.toLowerCase() : asked;
  const answer = await told(`/v1/log?${name}=${encodeURIComponent(value)}&limit=200`, host, wanted);
  if (answer && wanted()) renew(host, lines(answer.lines, answer.complete, name !== 'id'));
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
