// The frame of the page: which part is shown, who the daemon is, and whether it
// is there.

import { ask, contact, repeat } from './ask.js';
import { config } from './config.js';
import { h, put, say } from './dom.js';
import { failures } from './failures.js';
import { clock, span } from './format.js';
import { mail } from './mail.js';
import { overview } from './overview.js';
import { site } from './site.js';
import { sites } from './sites.js';

const PARTS = {
  '': [overview, 'Overview'],
  'sites': [sites, 'Sites'],
  'site': [site, 'Site'],
  'failures': [failures, 'Failures'],
  'mail': [mail, 'Mail'],
  'config': [config, 'Configuration'],
};

const main = document.getElementById('main');
const away = document.getElementById('away');
const pulse = document.getElementById('pulse');
let end = () => {};
let host = 'Ringpost';

// The part and what it is about: #/site/mx%3Aa.example
function place() {
  const [, part = '', about = ''] = location.hash.split('/');
  try {
    return [part, decodeURIComponent(about)];
  } catch {
    return [part, ''];
  }
}

function show() {
  if (location.hash === '#main') return main.focus();
  const [name, about] = place();
  const [part, title] = PARTS[name] ?? PARTS[''];
  end();
  put(main);
  end = part(main, about);
  document.title = `${title} · ${host}`;
  for (const link of document.querySelectorAll('nav a')) {
    const [, to = ''] = link.hash.split('/');
    const here = to === name || (to === 'sites' && name === 'site');
    if (here) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  scrollTo(0, 0);
}

function beat() {
  const now = Date.now();
  const lost = contact.awaySince > 0;
  document.documentElement.classList.toggle('lost', lost);
  away.hidden = !lost;
  if (lost) {
    say(away, `No answer from the daemon since ${clock(contact.awaySince)} (${
      span(now - contact.awaySince)}). What stands here is from before; trying again.`);
  }
  put(pulse, h('span', { class: lost ? 'dot gone' : 'dot', 'aria-hidden': 'true' }),
    lost ? 'away' : contact.heard > 0 ? `live ${clock(contact.heard)}` : 'connecting');
}

contact.listeners.add(beat);
setInterval(() => contact.awaySince > 0 && !document.hidden && beat(), 1_000);

repeat(15_000, async () => {
  const { hostname } = await ask('/v1/status');
  host = hostname;
  say(document.getElementById('host'), hostname);
  document.title = document.title.replace(/ · .*$/, ` · ${hostname}`);
});

addEventListener('hashchange', show);
show();
