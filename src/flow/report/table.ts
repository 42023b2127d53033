import { markup } from "./markup.js";
import type { Markup } from "./markup.js";
import { grouped } from "./number.js";

type Cell = string | number;

/** A table of few rows. The name of a column of numbers has # in front; each row has as many cells. */
export function table(options: {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
  readonly total?: readonly Cell[];
}): Markup {
  const { columns, rows, total } = options;
  const classes = columns.map((name) => (name.startsWith("#") ? "number" : "text"));
  const row = (cells: readonly Cell[]) => markup`<tr>${cells.map(
    (cell, i) => markup`<td class="${classes[i]}">${textOf(cell)}</td>`,
  )}</tr>
`;
  return markup`<div class="table"><table>
<thead><tr>${columns.map(
    (name, i) => markup`<th class="${classes[i]}">${name.replace(/^#/, "")}</th>`,
  )}</tr></thead>
<tbody>
${rows.map(row)}</tbody>
${total && markup`<tfoot>${row(total)}</tfoot>`}
</table></div>`;
}

function textOf(cell: Cell): string {
  return typeof cell === "number" ? grouped(cell) : cell;
}
