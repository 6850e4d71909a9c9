// Questions to the daemon, and whether it is there. Every question has a
// deadline; what is asked again and again rests while nobody looks.

const DEADLINE_MS = 15_000;
// Between two tries while the daemon is away.
const AGAIN_MS = 2_000;
// Between two questions lies this many times the time that an answer took.
const DEAR = 9;

// The daemon answered, and not with what was asked for.
export class Refused extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

// When the daemon was last heard, and since when it is away; told to those who
// want to know.
export const contact = { heard: 0, awaySince: 0, listeners: new Set() };

function met(is_there) {
  const now = Date.now();
  const before = contact.awaySince;
  if (is_there) [contact.heard, contact.awaySince] = [now, 0];
  else contact.awaySince ||= now;
  const back = before > 0 && is_there;
  for (const listener of contact.listeners) listener(back);
}

// The JSON answer to a GET.
export async function ask(path) {
  let answer;
  let body;
  try {
    const signal = AbortSignal.timeout(DEADLINE_MS);
    answer = await fetch(path, { signal, cache: 'no-store', credentials: 'omit' });
    body = await answer.json();
  } catch (error) {
    met(false);
    throw error;
  }
  met(true);
  if (!answer.ok) throw new Refused(answer.status, body.error ?? `status ${answer.status}`);
  return body;
}

// Runs `task` now and, again and again, so long after it ended; not while the
// page is hidden. What is given to it says whether its answer is still wanted.
// It may give the milliseconds until the next time. Returns what runs it at
// once, and what ends it.
export function repeat(every_ms, task) {
  let [timer, running, again, ended] = [0, false, false, false];
  const turn = async () => {
    clearTimeout(timer);
    again = running;
    if (ended || running || document.hidden) return;
    running = true;
    const begun = performance.now();
    let next = every_ms;
    try {
      next = (await task(() => !ended)) ?? next;
    } catch (error) {
      if (!(error instanceof Refused) && contact.awaySince > 0) next = Math.min(next, AGAIN_MS);
      else if (!(error instanceof Refused)) console.error(error);
    }
    running = false;
    // What is dear to answer is asked less often.
    next = Math.max(next, DEAR * (performance.now() - begun));
    if (!ended) timer = setTimeout(turn, again ? 0 : next);
  };
  document.addEventListener('visibilitychange', turn);
  turn();
  return {
    now: turn,
    end: () => {
      ended = true;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', turn);
    },
  };
}
