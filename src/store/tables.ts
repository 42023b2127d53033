import type { ColumnType, Generated } from "kysely";

/** Bytes: both databases give back a Uint8Array (MySQL a Buffer, which is one). */
type Bytes = Uint8Array;

/** Text is stored as bytes in MySQL, so that no collation folds it; read it through `text()`. */
type Text = ColumnType<string | Uint8Array, string, string>;

/** One row: how many records the log has. Its lock makes commit order and log order the same. */
export interface TailTable {
  id: number;
  length: number;
}

/** Accepted records, by position in the log: dense from 0, in commit order. Never changed. */
export interface RecordsTable {
  seq: number;
  id: Bytes;
  entry: Bytes;
  subject: Text;
  type: Text;
  actor: Text;
  occur_time: number;
}

/** One row: how many records, from the first on, were asked to be sealed. */
export interface SealRequestTable {
  id: number;
  length: number;
}

/** Idempotency keys. */
export interface RequestsTable {
  caller: Text;
  request_id: Text;
  hash: Bytes;
  seq: number;
}

/** Positions in trails, for records that are in a batch. Never changed. */
export interface LeavesTable {
  seq: number;
  trail_index: number;
  leaf: Bytes;
}

/** Sealed batches, and where they stand on the chain while they are in a block. */
export interface BatchesTable {
  number: number;
  first_seq: number;
  size: number;
  previous_head: Bytes;
  root: Bytes;
  manifest_digest: Bytes;
  trails_root: Bytes;
  nonce: number;
  head: Bytes;
  create_time: number;
  transaction_hash: Bytes | null;
  block_number: number | null;
  block_hash: Bytes | null;
  block_time: number | null;
  gas_used: number | null;
}

/** Signed transactions, kept until they end. */
export interface OperationsTable {
  id: Generated<number>;
  kind: Text;
  number: number;
  sender: Bytes;
  nonce: number;
  transaction_hash: Bytes;
  transaction: Bytes;
  state: Text;
  reason: Text;
  create_time: number;
}

/** Recent blocks that were followed, to notice a reorganisation. */
export interface BlocksTable {
  number: number;
  hash: Bytes;
}

/** One row: which log this database belongs to, fixed when the chain is first reached. */
export interface IdentityTable {
  id: number;
  chain_id: Text;
  contract: Bytes;
  log: Bytes;
  genesis_hash: Bytes;
  deploy_block: number;
  evidence_contract: Bytes | null;
  sla_contract: Bytes | null;
}

/** One row: how far the chain was followed, and up to which block it is confirmed and final. */
export interface ChainPositionTable {
  id: number;
  block_number: number;
  final_number: number;
  confirmed_number: number;
  moves: number;
}

/**
 * One row: the bounds of the feed, and a random mark of this database's numbering of it. Its lock makes
 * commit order and feed order the same.
 */
export interface FeedTable {
  id: number;
  epoch: Text;
  first_number: number;
  next_number: number;
}

/** What happened, in the order in which subscribers are told: dense, numbered from 1. Never changed. */
export interface EventsTable {
  number: number;
  kind: Text;
  finality: number;
  batch_number: number;
  block_number: number | null;
  block_hash: Bytes | null;
  block_time: number | null;
  transaction_hash: Bytes | null;
  gas_used: number | null;
  occurrence: number;
  final_number: number;
  late: number;
  detail: Text;
  create_time: number;
}

/** Positions of named subscriptions in the feed. */
export interface SubscriptionsTable {
  name: Text;
  number: number;
  done: number;
  holder: Text;
  create_time: number;
  acknowledge_time: number | null;
}

/** Contents of batches on their way to the content store. */
export interface PublicationsTable {
  batch_number: number;
  key_id: Bytes;
  publish_time: number | null;
}

/** One row: how far the auditor has come, and what it found. */
export interface AuditTable {
  id: number;
  next_batch: number;
  pass_start_time: number;
  pass_end_time: number | null;
  problem: Text;
  problem_time: number | null;
}

/** Evidence that was handed in, what has become of its file, and where it stands on the chain. */
export interface EvidenceTable {
  id: Generated<number>;
  record_id: Bytes;
  subject_key: Bytes;
  digest: Bytes;
  cid: Text;
  size: number | null;
  content: Text;
  check_time: number | null;
  group_number: number | null;
  submitter: Bytes | null;
  transaction_hash: Bytes | null;
  block_number: number | null;
  block_hash: Bytes | null;
  block_time: number | null;
}

/** Anchors of evidence on the chain that there is no record of. */
export interface StrangeAnchorsTable {
  subject_key: Bytes;
  digest: Bytes;
  cid: Bytes;
  log_index: number;
  submitter: Bytes;
  transaction_hash: Bytes;
  block_number: number;
  block_hash: Bytes;
  block_time: number;
}

/** What SLARegistry has announced. Read in the order of block and position. */
export interface SlaEventsTable {
  id: Generated<number>;
  subject_key: Bytes;
  cycle: number;
  kind: Text;
  detail: Text;
  ref: Bytes;
  account: Bytes;
  transaction_hash: Bytes;
  log_index: number;
  block_number: number;
  block_hash: Bytes;
  block_time: number;
  record_id: Bytes | null;
}

/** Changes of deadlines that somebody asked for. What they are is said by their records. */
export interface SlaChangesTable {
  id: Generated<number>;
  record_id: Bytes;
  subject_key: Bytes;
  kind: Text;
  state: Text;
  reason: Text;
  cycle: number | null;
}

/** Deadlines: each row follows from the events of its cycle, or from the change that is to set it. */
export interface SlasTable {
  id: Generated<number>;
  subject_key: Bytes;
  cycle: number;
  subject: Text;
  record_id: Bytes | null;
  state: Text;
  deadline: number;
  ladder: Text;
  raised: number;
  extensions: number;
  pause_time: number | null;
  meet_time: number | null;
  next_time: number | null;
  block_number: number | null;
}

/** Deadlines that one transaction escalates, and the block that has it. */
export interface EscalationsTable {
  number: Generated<number>;
  subject_keys: Bytes;
  levels: number;
  block_number: number | null;
}

/** One row: up to where policies have looked at the log. */
export interface SlaPolicyTable {
  id: number;
  next_seq: number;
}

/** Who may act alone, and until when, by the database's clock in milliseconds. */
export interface LeasesTable {
  name: Text;
  holder: Text;
  expire_time: number;
}

/** Every table. */
export interface Tables {
  tail: TailTable;
  records: RecordsTable;
  seal_request: SealRequestTable;
  requests: RequestsTable;
  leaves: LeavesTable;
  batches: BatchesTable;
  operations: OperationsTable;
  blocks: BlocksTable;
  identity: IdentityTable;
  chain_position: ChainPositionTable;
  leases: LeasesTable;
  feed: FeedTable;
  events: EventsTable;
  subscriptions: SubscriptionsTable;
  publications: PublicationsTable;
  audit: AuditTable;
  evidence: EvidenceTable;
  strange_anchors: StrangeAnchorsTable;
  sla_events: SlaEventsTable;
  sla_changes: SlaChangesTable;
  slas: SlasTable;
  escalations: EscalationsTable;
  sla_policy: SlaPolicyTable;
}

/** The string in a text column. */
export function text(value: string | Uint8Array): string {
  return typeof value === "string" ? value : Buffer.from(value).toString("utf8");
}
