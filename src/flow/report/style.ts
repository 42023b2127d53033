/** What a report looks like: on a screen, light or dark, wide or narrow, and on paper. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --ground: #fff; --panel: #f6f7f9; --text: #16191d; --quiet: #59616b; --line: #d6dae0; --link: #0b57a4;
  --good: #116d3b; --bad: #b3261e; --open: #8a5300;
  --s0: #0072b2; --s1: #e69f00; --s2: #009e73; --s3: #cc79a7; --s4: #56b4e9; --s5: #d55e00; --s6: #e3d02f;
  --s7: #8a8f96;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --panel: #1d2228; --text: #e7eaee; --quiet: #a3abb5; --line: #39414b; --link: #7db8f2;
    --good: #5fce92; --bad: #ff8a80; --open: #f2b65a;
    --s0: #3d9fdc; --s1: #f0ac1c; --s2: #1fbf92; --s3: #dd92bb; --s4: #9bd6f7; --s5: #f07c2a; --s6: #f0e442;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2.5rem 1.25rem; max-width: 70rem; background: var(--ground); color: var(--text);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
h1 { margin: 0 0 .25rem; font-size: 1.9rem; line-height: 1.2; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.25rem; }
p { margin: .5rem 0; }
a { color: var(--link); }
.quiet, footer { color: var(--quiet); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.25rem; margin: 1rem 0; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
code { font-family: ui-monospace, "SF Mono", Consolas, "DejaVu Sans Mono", monospace; font-size: .85em; }
.verdict {
  margin: 1.5rem 0; padding: 1rem 1.25rem; background: var(--panel); border: 1px solid var(--line);
  border-left: .4rem solid var(--tone); border-radius: .25rem;
}
.verdict h2 { margin: 0; color: var(--tone); }
.verdict dl { margin-bottom: 0; }
.verdict dl:not(:has(dt)) { display: none; }
.intact { --tone: var(--good); }
.broken { --tone: var(--bad); }
.not_checked { --tone: var(--open); }
.chart { margin: 0; overflow-x: auto; }
.chart > svg { display: block; width: 100%; min-width: 54rem; height: auto; }
.chart text { fill: var(--text); font-size: 12px; font-variant-numeric: tabular-nums; }
.chart text.axis { fill: var(--quiet); }
.grid { stroke: var(--line); }
.mark { stroke: var(--quiet); }
rect { stroke: var(--ground); stroke-width: .6; }
.s0 { fill: var(--s0); } .s1 { fill: var(--s1); } .s2 { fill: var(--s2); } .s3 { fill: var(--s3); }
.s4 { fill: var(--s4); } .s5 { fill: var(--s5); } .s6 { fill: var(--s6); } .s7 { fill: var(--s7); }
figcaption { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; font-size: .875rem; position: sticky; left: 0; }
.key { display: inline-flex; align-items: center; gap: .4rem; overflow-wrap: anywhere; }
.key svg { flex: none; width: .8rem; height: .8rem; }
.table { margin: 1rem 0; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; }
th, td { padding: .35rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--quiet); font-weight: 600; white-space: nowrap; }
td { unicode-bidi: isolate; overflow-wrap: break-word; }
th.number, td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.time { white-space: nowrap; font-variant-numeric: tabular-nums; }
td.text { min-width: 7rem; overflow-wrap: anywhere; }
.records td.name { min-width: 9rem; max-width: 15rem; overflow-wrap: anywhere; }
.records td.text { min-width: 16rem; }
tfoot td { font-weight: 600; border-bottom: 0; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: .875rem; }
@media (max-width: 40rem) {
  body { padding: 1.25rem 1rem; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .4rem; }
}
@media print {
  @page { margin: 15mm; }
  :root {
    color-scheme: light;
    --ground: #fff; --panel: #fff; --text: #000; --quiet: #444; --line: #bbb; --link: #000;
    --good: #0b5e30; --bad: #b3261e; --open: #6f4300;
    --s0: #0072b2; --s1: #e69f00; --s2: #009e73; --s3: #cc79a7; --s4: #56b4e9; --s5: #d55e00; --s6: #e3d02f;
  }
  body { max-width: none; padding: 0; font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .chart > svg { min-width: 0; }
  .chart, .table { overflow: visible; }
  table { font-size: 8pt; }
  thead { display: table-header-group; }
  tr, .chart, .verdict { break-inside: avoid; }
  h2, h2 + p { break-after: avoid; }
}
`;
