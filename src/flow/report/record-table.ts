import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { momentText } from "./day.js";
import type { ReportRecord } from "./facts.js";
import { markup } from "./markup.js";
import type { Markup } from "./markup.js";

/** What stands before the rows of records. */
export const RECORDS_BEGIN = markup`<section>
<h2>Records</h2>
<p class="quiet">In the order of the log; times in UTC. A receipt is the proof of its record, which
<code>anchord verify</code> checks against the chain without this service.</p>
<div class="table records"><table>
<thead><tr><th class="number">#</th><th>happened</th><th>type</th><th>subject, actor</th><th>fact</th>
<th>on the chain</th><th>proof</th></tr></thead>
<tbody>
`;

/** What stands behind them. */
export const RECORDS_END = markup`</tbody></table></div></section>
`;

/** The row of a record. */
export function recordRow(record: ReportRecord): Markup {
  const [day, time] = momentText(record.occurTime).split(" ");
  return markup`<tr><td class="number">${record.sequence}</td><td class="time">${day}<br>${time}</td><td
>${record.type}</td><td class="name">${record.subject}<br><span class="quiet">${record.actor}</span></td><td
class="text">${factText(record.data)}</td><td class="time">${place(record)}</td><td
><a href="${record.receiptUrl}">receipt</a></td></tr>
`;
}

/** Where a record stands: its state, its batch, and the transaction that sealed it. */
function place({ state, batch, anchor }: ReportRecord): Markup {
  if (anchor === undefined) return markup`${state}: not yet`;
  const { transaction: hash, explorerUrl } = anchor;
  const short = markup`<code title="${hash}">${hash.slice(0, 10)}…</code>`;
  const link = explorerUrl === undefined ? short : markup`<a href="${explorerUrl}">${short}</a>`;
  return markup`${state}, batch ${batch?.number}<br>${link}`;
}

/** Characters of a fact that are shown; its receipt has all of it. */
const MOST_CHARACTERS = 240;

/** A fact in short; what is empty is left out. */
function factText(data: JsonObject): string {
  const parts = Object.entries(data)
    .filter(([, value]) => value !== "" && value !== null)
    .map(([name, value]) => `${name}: ${valueText(value)}`);
  const text = parts.join(", ");
  return text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text;
}

function valueText(value: JsonValue): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
