import { randomBytes } from "node:crypto";
import { DEFAULT_MIGRATION_TABLE, Migrator, sql } from "kysely";
import type { Kysely, Migration } from "kysely";
import { Misconfigured } from "../core/errors.js";
import type { Database, Flavour } from "./database.js";
import type { Tables } from "./tables.js";

/**
 * The schema, one change a migration, each safe to run again: MySQL commits schema changes at once,
 * so a migration that was cut short is repeated. Append only; a released migration never changes.
 */
const CHANGES: Readonly<Record<string, (types: ColumnTypes) => Change>> = {
  "0001-tail": (t) => table(`tail (id ${t.key} primary key, length bigint not null)`),
  "0002-records": (t) =>
    table(`records (
      seq ${t.key} primary key,
      id ${t.digest} not null unique,
      entry ${t.blob} not null,
      subject ${t.text(256)} not null,
      type ${t.text(64)} not null,
      actor ${t.text(256)} not null,
      occur_time bigint not null)`),
  "0003-records-by-subject": () => index("records_by_subject", "records", "subject, seq"),
  "0004-records-by-type": () => index("records_by_type", "records", "type, seq"),
  "0005-records-by-actor": () => index("records_by_actor", "records", "actor, seq"),
  "0006-records-by-time": () => index("records_by_time", "records", "occur_time, seq"),
  "0007-requests": (t) =>
    table(`requests (
      caller ${t.text(64)} not null,
      request_id ${t.text(128)} not null,
      hash ${t.digest} not null,
      seq bigint not null,
      primary key (caller, request_id))`),
  "0008-leaves": (t) =>
    table(`leaves (
      seq ${t.key} primary key,
      trail_index bigint not null,
      leaf ${t.digest} not null)`),
  "0009-batches": (t) =>
    table(`batches (
      number ${t.key} primary key,
      first_seq bigint not null unique,
      size bigint not null,
      previous_head ${t.digest} not null,
      root ${t.digest} not null,
      manifest_digest ${t.digest} not null,
      trails_root ${t.digest} not null,
      nonce bigint not null,
      head ${t.digest} not null,
      create_time bigint not null,
      transaction_hash ${t.digest},
      block_number bigint,
      block_hash ${t.digest},
      block_time bigint,
      gas_used bigint)`),
  "0010-batches-by-root": () => index("batches_by_root", "batches", "root"),
  "0011-batches-by-block": () => index("batches_by_block", "batches", "block_number"),
  "0012-operations": (t) =>
    table(`operations (
      id ${t.autoKey},
      batch_number bigint not null,
      sender ${t.digest} not null,
      nonce bigint not null,
      transaction_hash ${t.digest} not null unique,
      "transaction" ${t.blob} not null,
      state ${t.text(16)} not null,
      reason ${t.text(1024)} not null,
      create_time bigint not null)`),
  "0013-operations-by-batch": () =>
    index("operations_by_batch", "operations", "batch_number, state"),
  "0014-blocks": (t) => table(`blocks (number ${t.key} primary key, hash ${t.digest} not null)`),
  "0015-identity": (t) =>
    table(`identity (
      id ${t.key} primary key,
      chain_id ${t.text(80)} not null,
      contract ${t.digest} not null,
      log ${t.digest} not null,
      genesis_hash ${t.digest} not null,
      deploy_block bigint not null)`),
  "0016-chain-position": (t) =>
    table(`chain_position (
      id ${t.key} primary key,
      block_number bigint not null,
      final_number bigint not null)`),
  "0017-leases": (t) =>
    table(`leases (
      name ${t.text(64)} primary key,
      holder ${t.text(256)} not null,
      expire_time bigint not null)`),
  "0018-tail-row": () => row("tail (id, length) values (1, 0)"),
  "0019-chain-position-confirmed": () =>
    column("chain_position", "confirmed_number", "bigint not null default -1"),
  "0020-feed": (t) =>
    table(`feed (
      id ${t.key} primary key,
      epoch ${t.text(16)} not null,
      first_number bigint not null,
      next_number bigint not null)`),
  "0021-feed-row": () =>
    row(
      `feed (id, epoch, first_number, next_number) values (1, '${randomBytes(8).toString("hex")}', 1, 1)`,
    ),
  "0022-events": (t) =>
    table(`events (
      number ${t.key} primary key,
      kind ${t.text(32)} not null,
      finality bigint not null,
      batch_number bigint not null,
      block_number bigint,
      block_hash ${t.digest},
      block_time bigint,
      transaction_hash ${t.digest},
      gas_used bigint,
      occurrence bigint not null,
      final_number bigint not null,
      late bigint not null,
      detail ${t.blob} not null,
      create_time bigint not null)`),
  "0023-events-by-batch": () => index("events_by_batch", "events", "batch_number"),
  "0024-events-by-block": () => index("events_by_block", "events", "block_number"),
  "0025-subscriptions": (t) =>
    table(`subscriptions (
      name ${t.text(128)} primary key,
      number bigint not null,
      done bigint not null,
      holder ${t.text(64)} not null,
      create_time bigint not null,
      acknowledge_time bigint)`),
  "0026-publications": (t) =>
    table(`publications (
      batch_number ${t.key} primary key,
      key_id ${t.digest} not null,
      publish_time bigint)`),
  "0027-publications-by-time": () =>
    index("publications_by_time", "publications", "publish_time, batch_number"),
  "0028-audit": (t) =>
    table(`audit (
      id ${t.key} primary key,
      next_batch bigint not null,
      pass_start_time bigint not null,
      pass_end_time bigint,
      problem ${t.blob} not null,
      problem_time bigint)`),
  "0029-follow-again": () => followAgain,
  "0030-events-told-late": () => index("events_told_late", "events", "late, number"),
  "0031-operations-by-state": () => index("operations_by_state", "operations", "state, id"),
  "0032-chain-position-moves": () => column("chain_position", "moves", "bigint not null default 0"),
  "0033-identity-evidence": (t) => column("identity", "evidence_contract", t.digest),
  "0034-operations-number": () => renamed("operations", "batch_number", "number"),
  "0035-operations-kind": (t) =>
    column("operations", "kind", `${t.text(16)} not null default 'SEAL'`),
  "0036-operations-by-purpose": () =>
    index("operations_by_purpose", "operations", "kind, number, state"),
  "0037-operations-by-nonce": () => index("operations_by_nonce", "operations", "sender, nonce"),
  "0038-operations-by-batch": () => noIndex("operations_by_batch", "operations"),
  "0041-evidence": (t) =>
    table(`evidence (
      id ${t.autoKey},
      record_id ${t.digest} not null unique,
      subject_key ${t.digest} not null,
      digest ${t.digest} not null,
      cid ${t.text(128)} not null,
      size bigint,
      content ${t.text(16)} not null,
      check_time bigint,
      group_number bigint,
      submitter ${t.digest},
      transaction_hash ${t.digest},
      block_number bigint,
      block_hash ${t.digest},
      block_time bigint,
      unique (subject_key, digest))`),
  "0042-evidence-by-digest": () => index("evidence_by_digest", "evidence", "digest, id"),
  "0043-evidence-by-block": () =>
    index("evidence_by_block", "evidence", "block_number, group_number, id"),
  "0044-evidence-by-content": () => index("evidence_by_content", "evidence", "content, id"),
  "0045-evidence-by-check": () => index("evidence_by_check", "evidence", "check_time, id"),
  "0046-evidence-by-group": () => index("evidence_by_group", "evidence", "group_number"),
  "0047-strange-anchors": (t) =>
    table(`strange_anchors (
      subject_key ${t.digest} not null,
      digest ${t.digest} not null,
      cid ${t.blob} not null,
      log_index bigint not null,
      submitter ${t.digest} not null,
      transaction_hash ${t.digest} not null,
      block_number bigint not null,
      block_hash ${t.digest} not null,
      block_time bigint not null,
      primary key (subject_key, digest))`),
  "0048-strange-anchors-by-block": () =>
    index("strange_anchors_by_block", "strange_anchors", "block_number"),
  "0049-identity-sla": (t) => column("identity", "sla_contract", t.digest),
  "0050-sla-events": (t) =>
    table(`sla_events (
      id ${t.autoKey},
      subject_key ${t.digest} not null,
      cycle bigint not null,
      kind ${t.text(16)} not null,
      detail ${t.text(256)} not null,
      ref ${t.digest} not null,
      account ${t.digest} not null,
      transaction_hash ${t.digest} not null,
      log_index bigint not null,
      block_number bigint not null,
      block_hash ${t.digest} not null,
      block_time bigint not null,
      record_id ${t.digest},
      unique (block_number, log_index))`),
  "0051-sla-events-by-cycle": () =>
    index("sla_events_by_cycle", "sla_events", "subject_key, cycle, block_number, log_index"),
  "0052-sla-events-by-ref": () => index("sla_events_by_ref", "sla_events", "ref"),
  "0053-sla-events-by-record": () =>
    index("sla_events_by_record", "sla_events", "record_id, block_number, log_index"),
  "0054-sla-changes": (t) =>
    table(`sla_changes (
      id ${t.autoKey},
      record_id ${t.digest} not null unique,
      subject_key ${t.digest} not null,
      kind ${t.text(16)} not null,
      state ${t.text(16)} not null,
      reason ${t.text(1024)} not null,
      cycle bigint)`),
  "0055-sla-changes-by-subject": () =>
    index("sla_changes_by_subject", "sla_changes", "subject_key, state"),
  "0056-sla-changes-by-state": () => index("sla_changes_by_state", "sla_changes", "state, id"),
  "0057-slas": (t) =>
    table(`slas (
      id ${t.autoKey},
      subject_key ${t.digest} not null,
      cycle bigint not null,
      subject ${t.text(256)} not null,
      record_id ${t.digest},
      state ${t.text(16)} not null,
      deadline bigint not null,
      ladder ${t.text(256)} not null,
      raised bigint not null,
      extensions bigint not null,
      pause_time bigint,
      meet_time bigint,
      next_time bigint,
      block_number bigint)`),
  "0058-slas-by-subject": () => index("slas_by_subject", "slas", "subject_key, cycle, id"),
  "0059-slas-by-record": () => index("slas_by_record", "slas", "record_id"),
  "0060-slas-by-deadline": () => index("slas_by_deadline", "slas", "deadline, id"),
  "0061-slas-by-state": () => index("slas_by_state", "slas", "state, id"),
  "0062-slas-by-state-and-deadline": () =>
    index("slas_by_state_and_deadline", "slas", "state, deadline, id"),
  "0063-slas-by-level": () => index("slas_by_level", "slas", "raised, id"),
  "0064-slas-by-next": () => index("slas_by_next", "slas", "next_time, id"),
  "0065-escalations": (t) =>
    table(`escalations (
      number ${t.autoKey},
      subject_keys ${t.blob} not null,
      levels bigint not null,
      block_number bigint)`),
  "0066-escalations-by-block": () =>
    index("escalations_by_block", "escalations", "block_number, number"),
  "0067-sla-policy": (t) => table(`sla_policy (id ${t.key} primary key, next_seq bigint not null)`),
  "0068-sla-policy-row": () =>
    row("sla_policy (id, next_seq) values (1, (select length from tail))"),
  "0069-seal-request": (t) =>
    table(`seal_request (id ${t.key} primary key, length bigint not null)`),
  "0070-seal-request-row": () => row("seal_request (id, length) values (1, 0)"),
  "0071-batches-by-head": () => index("batches_by_head", "batches", "head"),
};

/** Brings the schema up to date. Safe to call from several processes at once. */
export async function migrate({ schema, flavour }: Database): Promise<void> {
  if (flavour === "mysql") return applyChanges(schema, flavour);
  // The migrator takes a lock in MySQL alone; SQLite's is that of a writing transaction.
  await schema.connection().execute(async (db) => {
    await sql`begin immediate`.execute(db);
    try {
      await applyChanges(db, flavour);
      await sql`commit`.execute(db);
    } catch (error) {
      await sql`rollback`.execute(db);
      throw error;
    }
  });
}

/** How a schema differs from the one that this code works with. */
export interface SchemaState {
  /** Changes that are still to be made; all of them in an empty database. */
  readonly missing: readonly string[];
  /** Changes that a later version of this code has made. */
  readonly unknown: readonly string[];
}

/** Compares the schema with the one that this code works with, and changes nothing. */
export async function schemaState(database: Database): Promise<SchemaState> {
  const made = new Set(await database.read(madeChanges));
  const wanted = new Set(Object.keys(CHANGES));
  return {
    missing: [...wanted].filter((name) => !made.has(name)),
    unknown: [...made].filter((name) => !wanted.has(name)),
  };
}

async function madeChanges(db: Kysely<Tables>): Promise<string[]> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true });
  if (!tables.some(({ name }) => name === DEFAULT_MIGRATION_TABLE)) return [];
  const { rows } = await sql<{ name: string }>`
    select name from ${sql.table(DEFAULT_MIGRATION_TABLE)}`.execute(db);
  return rows.map(({ name }) => name);
}

/** What another program has in a database must be neither used nor emptied. Throws Misconfigured. */
export async function requireOurs(db: Database["schema"]): Promise<void> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true });
  const names = tables.map(({ name }) => name);
  if (names.length === 0 || names.includes(DEFAULT_MIGRATION_TABLE)) return;
  throw new Misconfigured(
    `the database has tables of another program (${names.slice(0, 5).join(", ")}): ` +
      "set DB_PATH, or DATABASE_URL, to one of its own",
  );
}

async function applyChanges(schema: Database["schema"], flavour: Flavour): Promise<void> {
  await requireOurs(schema);
  const types = columnTypes(flavour);
  const migrator = new Migrator({
    db: schema,
    provider: {
      getMigrations: () =>
        Promise.resolve(
          Object.fromEntries(
            Object.entries(CHANGES).map(([name, change]): [string, Migration] => [
              name,
              { up: (db) => change(types)(db, flavour) },
            ]),
          ),
        ),
    },
  });
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined) throw error as Error;
}

type Change = (db: Kysely<unknown>, flavour: Flavour) => Promise<void>;

/** A database from before there was a feed follows the chain once more, which writes it. */
async function followAgain(db: Kysely<unknown>): Promise<void> {
  await sql`
    update batches set transaction_hash = null, block_number = null, block_hash = null,
      block_time = null, gas_used = null`.execute(db);
  await sql`delete from blocks`.execute(db);
  await sql`
    update chain_position set final_number = -1, confirmed_number = -1,
      block_number = (select deploy_block - 1 from identity)`.execute(db);
}

function table(definition: string): Change {
  return async (db, flavour) => {
    const text = flavour === "mysql" ? definition.replaceAll('"', "`") : definition;
    await sql.raw(`create table if not exists ${text}`).execute(db);
  };
}

/** Neither database has ADD COLUMN IF NOT EXISTS. */
function column(of: string, name: string, definition: string): Change {
  return async (db) => {
    if ((await columnsOf(db, of)).includes(name)) return;
    await sql.raw(`alter table ${of} add column ${name} ${definition}`).execute(db);
  };
}

function renamed(of: string, before: string, name: string): Change {
  return async (db) => {
    if ((await columnsOf(db, of)).includes(name)) return;
    await sql.raw(`alter table ${of} rename column ${before} to ${name}`).execute(db);
  };
}

async function columnsOf(db: Kysely<unknown>, table: string): Promise<string[]> {
  const tables = await db.introspection.getTables();
  return (tables.find(({ name }) => name === table)?.columns ?? []).map(({ name }) => name);
}

/** MySQL has no CREATE INDEX IF NOT EXISTS. */
function index(name: string, on: string, columns: string): Change {
  return async (db, flavour) => {
    if (flavour === "mysql" && (await mysqlHasIndex(db, on, name))) return;
    const ifNotExists = flavour === "sqlite" ? "if not exists " : "";
    await sql.raw(`create index ${ifNotExists}${name} on ${on} (${columns})`).execute(db);
  };
}

/** An index that nothing asks any more. */
function noIndex(name: string, on: string): Change {
  return async (db, flavour) => {
    if (flavour === "sqlite") await sql.raw(`drop index if exists ${name}`).execute(db);
    else if (await mysqlHasIndex(db, on, name))
      await sql.raw(`drop index ${name} on ${on}`).execute(db);
  };
}

async function mysqlHasIndex(db: Kysely<unknown>, on: string, name: string): Promise<boolean> {
  const found = await sql`
    select 1 from information_schema.statistics
    where table_schema = database() and table_name = ${on} and index_name = ${name}`.execute(db);
  return found.rows.length > 0;
}

function row(values: string): Change {
  return async (db, flavour) => {
    const again =
      flavour === "mysql" ? "on duplicate key update id = id" : "on conflict do nothing";
    await sql.raw(`insert into ${values} ${again}`).execute(db);
  };
}

type ColumnTypes = ReturnType<typeof columnTypes>;

/** Exact bytes in both databases: no collation that folds text, and no padding. */
function columnTypes(flavour: Flavour) {
  return flavour === "sqlite"
    ? {
        key: "integer",
        autoKey: "integer primary key autoincrement",
        text: (_characters: number) => "text",
        digest: "blob",
        blob: "blob",
      }
    : {
        key: "bigint",
        autoKey: "bigint primary key auto_increment",
        text: (characters: number) => `varbinary(${characters * 4})`,
        digest: "varbinary(32)",
        blob: "mediumblob",
      };
}
