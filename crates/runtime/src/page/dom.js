// Elements out of plain values. What others said only ever becomes text: there
// is no way here to make markup of a string.

// h('p', { class: 'quiet' }, 'words', otherElement)
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  put(element, ...children);
  return element;
}

// Replaces everything inside an element.
export function put(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined
    && child !== false));
  return element;
}

// The same for what is drawn anew again and again: a link with the focus keeps
// it, and what somebody has marked, to copy it, stays as it is.
export function renew(element, ...children) {
  const marked = getSelection();
  if (!marked.isCollapsed && element.contains(marked.anchorNode)) return element;
  const active = element.contains(document.activeElement) ? document.activeElement : null;
  const link = active?.getAttribute('href');
  put(element, ...children);
  if (link) element.querySelector(`a[href="${CSS.escape(link)}"]`)?.focus({ preventScroll: true });
  return element;
}

// Sets a text if it differs, so that nothing that stands still is touched.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A table's cell with a number, right aligned.
export function number(text, properties = {}) {
  return h('td', { ...properties, class: `n ${properties.class ?? ''}` }, text);
}

// A site's name as a link to what is known of it. What its settings add to the
// name stands behind it, quietly.
export function siteLink(name) {
  const [main, ...settings] = name.split(';');
  return h('a', { href: `#/site/${encodeURIComponent(name)}`, title: name }, main,
    settings.length > 0 ? h('span', { class: 'after' }, ` ${settings.join(' ')}`) : null);
}

// The word for a state with a mark that does not depend on its colour; or the
// mark alone, which says the word to those who ask.
export function stateMark(state, alone = false) {
  const [mark, level] = MARKS[state] ?? ['○', 'calm'];
  if (alone) return h('span', { class: `state ${level}`, role: 'img', 'aria-label': state, title: state }, mark);
  return h('span', { class: `state ${level}` },
    h('span', { 'aria-hidden': 'true', class: 'mark' }, mark), state);
}

const MARKS = {
  'up': ['●', 'ok'],
  'probing': ['◐', 'warn'],
  'paused': ['◐', 'calm'],
  'waiting': ['○', 'calm'],
  'looking up': ['○', 'calm'],
  'suspended': ['▮', 'warn'],
  'down': ['▲', 'bad'],
  'look-up failed': ['▲', 'bad'],
  'rejected': ['■', 'bad'],
};
