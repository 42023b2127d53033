import { momentText } from "./day.js";
import type { Integrity } from "./facts.js";
import { markup } from "./markup.js";
import type { Markup } from "./markup.js";
import { grouped } from "./number.js";
import { table } from "./table.js";

const VERDICTS = {
  intact: "Intact: the database agrees with the chain",
  broken: "Broken: the database does not agree with the chain",
  not_checked: "Not checked: the comparison with the chain was left out on request",
} as const satisfies Record<Integrity["verdict"], string>;

/** What the check of integrity found, and what it looked at. */
export function verdictPanel(integrity: Integrity): Markup {
  const { verdict, checkedAt, recordsNotAnchored } = integrity;
  return markup`<section class="verdict ${verdict}">
<h2>${VERDICTS[verdict]}</h2>
<dl>
${checkedAt && checked(integrity, checkedAt)}
${
  recordsNotAnchored > 0
    ? markup`<dt>Not on the chain yet</dt><dd>${grouped(recordsNotAnchored)} of the records: the chain says
nothing of them</dd>`
    : undefined
}
</dl>
${problemTable(integrity)}
</section>`;
}

function checked(integrity: Integrity, checkedAt: Date): Markup {
  const { batchesChecked, recordsChecked, problemsTotal } = integrity;
  return markup`<dt>Batches</dt><dd>${grouped(batchesChecked)} checked: the whole log</dd>
<dt>Records</dt><dd>${grouped(recordsChecked)} checked: entries, columns, leaves, and the roots on chain</dd>
<dt>Checked</dt><dd>${momentText(checkedAt.toISOString())}</dd>
<dt>Problems</dt><dd>${grouped(problemsTotal)}</dd>
`;
}

function problemTable({ problems, problemsTotal }: Integrity): Markup | undefined {
  if (problems.length === 0) return undefined;
  return markup`${
    problemsTotal > problems.length
      ? markup`<p>The first ${problems.length} of ${grouped(problemsTotal)} problems; VerifyLog names each.</p>`
      : undefined
  }
${table({
  columns: ["#batch", "#record", "column", "problem"],
  rows: problems.map(({ batch, seq, column, message }) => [batch, seq ?? "", column, message]),
})}`;
}
