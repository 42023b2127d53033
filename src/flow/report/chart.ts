import { markup } from "./markup.js";
import type { Markup } from "./markup.js";
import { compact, grouped } from "./number.js";
import type { Period, Timeline } from "./periods.js";

/** What a chart is called, and what it counts. */
export interface ChartText {
  /** Tells the charts of a page apart. */
  readonly id: string;
  readonly title: string;
  /** What is counted, such as "records". */
  readonly quantity: string;
}

const WIDTH = 960;
const HEIGHT = 320;
const LEFT = 64;
const RIGHT = 928;
const TOP = 32;
const BOTTOM = 272;

/** Most labels of the axis of time: as many fit beside each other. */
const MOST_LABELS = 10;

const TIME_AXIS = {
  day: "day, in UTC",
  week: "week that begins on this Monday, in UTC",
  month: "month, in UTC",
  year: "year, in UTC",
} as const satisfies Record<Timeline["unit"], string>;

/** Bars over time, one on top of the other, with axes and a legend. Requires a period. */
export function stackedBars(text: ChartText, timeline: Timeline): Markup {
  const { unit, series, periods } = timeline;
  const scale = scaleOf(Math.max(...periods.map(totalOf)));
  const slot = (RIGHT - LEFT) / periods.length;
  return markup`
<figure class="chart">
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-labelledby="${text.id}-title ${text.id}-text">
<title id="${text.id}-title">${text.title}</title>
<desc id="${text.id}-text">${description(text, timeline)}</desc>
${valueAxis(scale)}
<text class="axis" x="0" y="14">${text.quantity} per ${unit}</text>
${periods.map((period, i) => bar({ period, series, scale, x: LEFT + i * slot, slot }))}
${timeAxis(periods, slot)}
<text class="axis" x="${(LEFT + RIGHT) / 2}" y="${HEIGHT - 6}" text-anchor="middle">${TIME_AXIS[unit]}</text>
</svg>
${legend(timeline)}
</figure>`;
}

function description({ quantity }: ChartText, { unit, series, periods }: Timeline): string {
  const [first, last] = [periods[0]?.label, periods.at(-1)?.label];
  const most = periods.reduce((a, b) => (totalOf(b) > totalOf(a) ? b : a));
  return (
    `Stacked bars of ${quantity} per ${unit} from ${first} to ${last}, by ${series.join(", ")}. ` +
    `Most: ${grouped(totalOf(most))} in ${most.label}.`
  );
}

interface Scale {
  readonly ticks: readonly number[];
  /** The vertical place of a value. */
  readonly y: (value: number) => number;
}

/** Steps of 1, 2 or 5 times a power of ten, so that four or five of them reach the most. */
function scaleOf(most: number): Scale {
  const rough = Math.max(1, most / 5);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5].find((each) => each * power >= rough) ?? 10) * power;
  const top = step * Math.max(1, Math.ceil(most / step));
  const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, i) => i * step);
  return { ticks, y: (value) => BOTTOM - (value / top) * (BOTTOM - TOP) };
}

function valueAxis({ ticks, y }: Scale): Markup[] {
  return ticks.map(
    (
      tick,
    ) => markup`<line class="grid" x1="${LEFT}" x2="${RIGHT}" y1="${at(y(tick))}" y2="${at(y(tick))}"/>
<text class="tick" x="${LEFT - 8}" y="${at(y(tick) + 4)}" text-anchor="end">${compact(tick)}</text>
`,
  );
}

function bar(options: {
  readonly period: Period;
  readonly series: readonly string[];
  readonly scale: Scale;
  readonly x: number;
  readonly slot: number;
}): Markup {
  const { period, series, scale, x, slot } = options;
  const width = Math.min(56, slot * 0.8);
  const left = at(x + (slot - width) / 2);
  let base = 0;
  const parts = period.values.map((value, i) => {
    const [from, to] = [scale.y(base), scale.y(base + value)];
    base += value;
    if (value === 0) return undefined;
    return markup`<rect class="s${i}" x="${left}" y="${at(to)}" width="${at(width)}" height="${at(from - to)}"/>`;
  });
  return markup`<g><title>${tooltip(period, series)}</title>${parts}</g>
`;
}

function tooltip(period: Period, series: readonly string[]): string {
  const parts = series.flatMap((name, i) => {
    const value = period.values[i] ?? 0;
    return value === 0 ? [] : [`${name} ${grouped(value)}`];
  });
  return [`${period.label}: ${grouped(totalOf(period))}`, ...parts].join("\n");
}

function timeAxis(periods: readonly Period[], slot: number): Markup[] {
  const every = Math.ceil(periods.length / MOST_LABELS);
  return periods
    .map(({ label }, i) => ({ label, x: at(LEFT + (i + 0.5) * slot), shown: i % every === 0 }))
    .filter(({ shown }) => shown)
    .map(
      ({
        label,
        x,
      }) => markup`<line class="mark" x1="${x}" x2="${x}" y1="${BOTTOM}" y2="${BOTTOM + 5}"/>
<text class="tick" x="${x}" y="${BOTTOM + 20}" text-anchor="middle">${label}</text>
`,
    );
}

function legend({ series, periods }: Timeline): Markup {
  const total = (i: number) => periods.reduce((sum, { values }) => sum + (values[i] ?? 0), 0);
  return markup`<figcaption>${series.map(
    (
      name,
      i,
    ) => markup`<span class="key"><svg viewBox="0 0 12 12" aria-hidden="true"><rect class="s${i}"
width="12" height="12" rx="2"/></svg>${name} <b>${grouped(total(i))}</b></span>
`,
  )}</figcaption>`;
}

function totalOf({ values }: Period): number {
  return values.reduce((sum, value) => sum + value, 0);
}

/** A place, to a tenth of a unit. */
function at(place: number): number {
  return Math.round(place * 10) / 10;
}
