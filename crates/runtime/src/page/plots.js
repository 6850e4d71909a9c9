// Plots over time, drawn by uPlot in the page's own colours, which follow the
// reader's choice of light or dark. Lines differ by colour and by dashes.

import { moment } from './format.js';

const HEIGHT = 190;
const dark = matchMedia('(prefers-color-scheme: dark)');

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// A plot inside `host` with `lines` of { label, key, colour, dash }, where `key`
// names a column. `value` writes a value for people. Returns what shows columns
// and what ends it.
export function plot(host, { title, lines, value, log = false }) {
  const uPlot = globalThis.uPlot;
  const width = () => Math.max(200, host.clientWidth);
  const onlyDecades = (u, splits) => splits.map((v) => (Number.isInteger(Math.log10(v)) ? v : null));
  const axis = {
    stroke: () => colour('--quiet'),
    font: '12px system-ui, sans-serif',
    grid: { stroke: () => colour('--line'), width: 1 },
    ticks: { show: false },
  };
  // Nine lines in each decade would be a grey field.
  const sparse = log ? { filter: onlyDecades, grid: { ...axis.grid, filter: onlyDecades } } : {};
  const shown = (u, v) => (v === null || v === undefined ? '–' : value(v));
  let range = [0, 1];
  const drawn = new uPlot({
    width: width(),
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    cursor: { drag: { x: false, y: false }, points: { size: 6 } },
    legend: { live: true, markers: { width: 0, fill: (u, at) => colour(lines[at - 1].colour) } },
    scales: {
      x: { time: true, range: () => range },
      y: log ? { distr: 3, log: 10, range: decades } : { range: fromZero },
    },
    axes: [
      { ...axis, values: times, space: 64, size: 28 },
      { ...axis, ...sparse, size: 60, space: 34, values: (u, splits) => splits.map((v) => (v === null ? null
        : value(v))) },
    ],
    series: [
      { label: 'Time', value: '{YYYY}-{MM}-{DD} {HH}:{mm}:{ss}' },
      ...lines.map((line) => ({
        label: line.label,
        stroke: () => colour(line.colour),
        width: 2,
        dash: line.dash,
        fill: line.fill ? () => `${colour(line.colour)}22` : undefined,
        value: shown,
        points: { show: false },
        spanGaps: false,
      })),
    ],
  }, [[], ...lines.map(() => [])], host);
  const again = () => {
    host.querySelectorAll('.u-legend .u-marker').forEach((marker, at) => {
      if (at > 0) marker.style.background = colour(lines[at - 1].colour);
    });
    drawn.redraw(false, true);
  };
  dark.addEventListener('change', again);
  const sized = new ResizeObserver(() => drawn.setSize({ width: width(), height: HEIGHT }));
  sized.observe(host);
  host.setAttribute('role', 'img');
  return {
    show(columns) {
      range = [columns.from, columns.to];
      // There is no place for zero on a scale of decades.
      const positive = (column) => (log ? column.map((v) => (v > 0 ? v : null)) : column);
      drawn.setData([columns.t, ...lines.map((line) => positive(columns[line.key]))]);
      // While nobody points at a time the legend tells the latest.
      if (drawn.cursor.left < 0 && columns.t.length > 0) drawn.setLegend({ idx: columns.t.length - 1 });
      host.setAttribute('aria-label', `${title}. ${lines.map((line) => {
        const last = columns[line.key].findLast((v) => v !== null);
        return `${line.label}: ${last === undefined ? 'nothing yet' : value(last)}`;
      }).join(', ')}`);
    },
    end() {
      dark.removeEventListener('change', again);
      sized.disconnect();
      drawn.destroy();
    },
  };
}

// Times of day as fine as the marks are apart, and days where those are.
function times(u, marks, axis, space, seconds) {
  return marks.map((t) => {
    const text = moment(t * 1000, 0);
    return seconds >= 86_400 ? text.slice(5, 10) : text.slice(11, seconds < 60 ? 19 : 16);
  });
}

function fromZero(u, low, high) {
  return [0, high > 0 ? high * 1.08 : 1];
}

function decades(u, low, high) {
  const floor = low > 0 ? 10 ** Math.floor(Math.log10(low)) : 100;
  const ceiling = high > 0 ? 10 ** Math.ceil(Math.log10(high * 1.01)) : 1e6;
  return [floor, Math.max(ceiling, floor * 10)];
}
