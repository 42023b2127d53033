import { hex } from "../../core/bytes.js";
import { stackedBars } from "./chart.js";
import { momentText } from "./day.js";
import type { ReportFacts, ReportRecord } from "./facts.js";
import { Markup, markup } from "./markup.js";
import { grouped } from "./number.js";
import { countsByDay, countsOverTime, gasOverTime } from "./periods.js";
import type { Timeline } from "./periods.js";
import { recordRow, RECORDS_BEGIN, RECORDS_END } from "./record-table.js";
import { STYLE } from "./style.js";
import { table } from "./table.js";
import { verdictPanel } from "./verdict.js";

/** A report as one page for people: no script, and nothing that would have to be fetched. */
export async function* htmlReport(
  facts: ReportFacts,
  records: AsyncIterable<readonly ReportRecord[]>,
): AsyncGenerator<string> {
  yield beginning(facts).text;
  if (facts.detailed && facts.count > 0) {
    yield RECORDS_BEGIN.text;
    for await (const page of records) {
      for (const record of page) yield recordRow(record).text;
    }
    yield RECORDS_END.text;
  }
  yield ending(facts).text;
}

function beginning(facts: ReportFacts): Markup {
  const title = `Audit report: ${facts.type ?? "all record types"}`;
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer">
<title>${title}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<header>
<h1>${title}</h1>
${scope(facts)}
</header>
<main>
${verdictPanel(facts.integrity)}
${counts(facts)}
${gas(facts)}
${facts.detailed ? dailyCounts(facts) : undefined}
`;
}

function scope({ start, end, generatedAt, count, identity }: ReportFacts): Markup {
  return markup`<dl>
<dt>Records that happened</dt><dd>${range(start, end)}</dd>
<dt>Records</dt><dd>${grouped(count)}</dd>
<dt>Generated</dt><dd>${momentText(generatedAt.toISOString())}</dd>
${
  identity &&
  markup`<dt>Chain</dt><dd>${identity.chainId.toString()}</dd>
<dt>Contract</dt><dd><code>${identity.contract}</code></dd>
<dt>Log</dt><dd><code>${hex(identity.log)}</code></dd>`
}
</dl>`;
}

function range(start: string | undefined, end: string | undefined): string {
  if (start === undefined && end === undefined) return "at any time";
  if (end === undefined) return `from ${momentText(start ?? "")} on`;
  return start === undefined
    ? `before ${momentText(end)}`
    : `from ${momentText(start)} until before ${momentText(end)}`;
}

function counts(facts: ReportFacts): Markup {
  if (facts.count === 0) {
    return markup`<section><h2>Records</h2><p>No record is of this type and time.</p></section>`;
  }
  const text = { id: "records", title: "Records over time, by type", quantity: "records" };
  return markup`<section>
<h2>Records by type</h2>
${stackedBars(text, countsOverTime(facts))}
${table({
  columns: ["type", "#records", "#share"],
  rows: facts.types.map(({ type, count }) => [type, count, share(count, facts.count)]),
  total: ["all", facts.count, ""],
})}
</section>`;
}

function share(part: number, whole: number): string {
  return `${((part / whole) * 100).toFixed(1)} %`;
}

function gas({ gas: { months, unknown } }: ReportFacts): Markup {
  const timeline = gasOverTime(months);
  const text = { id: "gas", title: "Gas spent over time, by purpose", quantity: "gas" };
  return markup`<section>
<h2>Gas spent by month</h2>
<p class="quiet">Of all transactions of this service in that time, whatever the type of record; by the time of
the block, in UTC.</p>
${
  unknown > 0
    ? markup`<p><strong>Not complete:</strong> the chain did not answer, which alone knows the gas of
${grouped(unknown)} more transactions.</p>`
    : undefined
}
${
  months.length > 0
    ? [stackedBars(text, timeline), periodTable(timeline)]
    : markup`<p>No gas is known to have been spent.</p>`
}
</section>`;
}

function dailyCounts(facts: ReportFacts): Markup | undefined {
  if (facts.count === 0) return undefined;
  return markup`<section>
<h2>Records by day and type</h2>
<p class="quiet">Days are those of UTC; days without records are left out.</p>
${periodTable(countsByDay(facts))}
</section>
`;
}

function periodTable({ unit, series, periods }: Timeline): Markup {
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const totals = series.map((_, i) => sum(periods.map(({ values }) => values[i] ?? 0)));
  return table({
    columns: [unit, ...series.map((name) => `#${name}`), "#all"],
    rows: periods.map(({ label, values }) => [label, ...values, sum(values)]),
    total: ["all", ...totals, sum(totals)],
  });
}

function ending({ identity }: ReportFacts): Markup {
  return markup`</main>
<footer>
<p>Written by anchord${identity && ` for the log on chain ${identity.chainId.toString()}`}. This page is not
signed and proves nothing by itself: the receipts that it links to do.</p>
</footer>
</body>
</html>
`;
}
