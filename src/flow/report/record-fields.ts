import type { JsonValue } from "@bufbuild/protobuf";
import type { ReportRecord } from "./facts.js";

/**
 * What reports show of a record, in their order: each field's value under the name that `get-audit-trail` has
 * for it as well.
 */
export const RECORD_FIELDS: Readonly<Record<string, (record: ReportRecord) => JsonValue>> = {
  id: ({ id }) => id,
  type: ({ type }) => type,
  timestamp: ({ occurTime }) => occurTime,
  subject: ({ subject }) => subject,
  actor: ({ actor }) => actor,
  data: ({ data }) => data,
  accept_time: ({ acceptTime }) => acceptTime,
  caller: ({ caller }) => caller,
  sequence: ({ sequence }) => sequence,
  state: ({ state }) => state,
  block_index: ({ batch }) => batch?.number ?? null,
  block_hash: ({ batch }) => batch?.head ?? null,
  transaction_hash: ({ anchor }) => anchor?.transaction ?? null,
  chain_block_number: ({ anchor }) => anchor?.block ?? null,
  block_time: ({ anchor }) => anchor?.blockTime ?? null,
  receipt_url: ({ receiptUrl }) => receiptUrl,
  explorer_url: ({ anchor }) => anchor?.explorerUrl ?? null,
};
