// The state at a glance: what is wrong, or that nothing is, in one sentence.
// Pure: made of what the daemon says.

import { bytes, count, rate, several } from './format.js';

const FREE_BYTES_LOW = 2 * 1024 ** 3;

// Of a status, sites by state, the rows of those that need somebody most,
// suspensions, alerts and rates: the level (ok, warn, bad), the sentence, and what else
// there is to say.
export function assess({ status, states = {}, worst = [], suspensions = [], alerts = [],
  rates = null }) {
  const troubles = [...ofStorage(status), ...ofOrders(status, suspensions),
    ...ofAlerts(alerts, states), ...ofSites(states, worst),
    ...ofRoom(status), ...ofLinks(status)];
  troubles.sort((a, b) => ORDER[a.level] - ORDER[b.level]);
  const [first, ...others] = troubles;
  if (first) {
    const more = [...(first.more ?? []), ...others.map((it) => it.sentence)];
    return { level: first.level, sentence: first.sentence, others: more };
  }
  return { level: 'ok', sentence: calm(status, rates), others: [] };
}

const ORDER = { bad: 0, warn: 1 };
const bad = (sentence) => ({ level: 'bad', sentence });
const warn = (sentence) => ({ level: 'warn', sentence });

function ofStorage(status) {
  if (status.storage === 'failed') return [bad('The queue’s storage has failed: no mail is taken.')];
  if (status.storage === 'no room') return [bad('The queue has no room: mail is refused for now.')];
  return [];
}

function ofOrders(status, suspensions) {
  const all = suspensions.find((order) => order.scope === 'all');
  const some = suspensions.filter((order) => order.scope !== 'all');
  const found = [];
  if (status.draining) found.push(warn('The daemon is stopping: it takes no more mail.'));
  if (all) found.push(warn(`All delivery is stopped${because(all)}.`));
  if (some.length === 1) {
    found.push(warn(`Delivery by ${some[0].scope} ${some[0].name} is stopped${because(some[0])}.`));
  } else if (some.length > 1) {
    found.push(warn(`Delivery is stopped by ${several(some.length, 'order')}.`));
  }
  return found;
}

function because(order) {
  return order.reason ? `: ${order.reason}` : '';
}

// What somebody asked to be told of, and has not silenced. A site that is down
// has a sentence of its own.
function ofAlerts(alerts, states) {
  const said = (alert) => alert.silenced || (alert.rule === 'site_down' && states.down > 0);
  return alerts.filter((alert) => !said(alert)).map((alert) => warn(
    `Alert: ${alert.reason}${alert.of ? `, ${short(alert.of)}` : ''}.`));
}

function ofSites(states, worst) {
  const total = Object.values(states).reduce((sum, n) => sum + n, 0);
  const found = [];
  const down = states.down ?? 0;
  const named = worst.filter((row) => row.state === 'down').slice(0, 3);
  const more = named.map((row) => `${down === 1 ? '' : `${short(row.name)}: `}${
    row.reason ?? 'no words'} (${several(row.count, 'recipient')} wait${row.count === 1 ? 's' : ''})`);
  if (down > 0 && down === total && total > 1) {
    found.push({ ...bad(`None of the ${count(total)} sites with waiting mail answers.`), more });
  } else if (down === 1 && named.length === 1) {
    found.push({ ...warn(`${short(named[0].name)} does not answer.`), more });
  } else if (down > 0) {
    found.push({ ...warn(`${capital(several(down, 'site'))} of ${count(total)} with waiting mail ${
      down === 1 ? 'does' : 'do'} not answer.`), more });
  }
  const lost = states['look-up failed'] ?? 0;
  if (lost > 0) found.push(warn(`Look-ups fail for ${several(lost, 'site')}.`));
  return found;
}

// A site by its first hosts, as people call it.
function short(name) {
  const [hosts] = name.replace(/^(mx|relay):/, '').split(';');
  return hosts.length > 60 ? `${hosts.slice(0, 60)}…` : hosts;
}

function ofRoom(status) {
  if (status.storage !== 'ok' || status.free_bytes >= FREE_BYTES_LOW) return [];
  return [warn(`Only ${bytes(status.free_bytes)} are free on the queue’s disk.`)];
}

function ofLinks(status) {
  const links = (status.links ?? []).filter((link) => ['failed', 'stuck'].includes(link.state));
  return links.map((link) => warn(`The link of ${link.name} is not up${because(link)}.`));
}

function calm(status, rates) {
  const waiting = Object.values(status.recipients).reduce((sum, n) => sum + n, 0);
  const wait = waiting === 0 ? 'nothing waits'
    : `${several(waiting, 'recipient')} wait${waiting === 1 ? 's' : ''}`;
  if (!rates) return `Healthy: ${wait}.`;
  if (rates.delivered === 0 && rates.accepted === 0) {
    return waiting === 0 ? 'Healthy and idle: nothing waits.' : `Healthy: ${wait}.`;
  }
  return `Healthy: ${rate(rates.delivered)} a second go out, ${wait}.`;
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
