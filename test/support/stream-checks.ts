import { toJson } from "@bufbuild/protobuf";
import { expect } from "chai";
import type { Batch } from "../../gen/ts/anchord/v1/batch_pb.js";
import { EventKind, Finality } from "../../gen/ts/anchord/v1/event_pb.js";
import type { Event } from "../../gen/ts/anchord/v1/event_pb.js";
import { RecordSchema, RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import type { Anchor, Record } from "../../gen/ts/anchord/v1/record_pb.js";
import type { Daemon } from "./daemon.js";
import { expectWhole, healthOf, sealsOf } from "./log-checks.js";

/** What a stream has told in all: where every batch stands, and the records in them. */
export interface Told {
  readonly batches: readonly Batch[];
  readonly records: readonly Record[];
  readonly retractions: number;
}

/** The events of records that must follow the event of their batch. */
const RECORD_KIND: ReadonlyMap<EventKind, EventKind> = new Map([
  [EventKind.BATCH_SEALED, EventKind.RECORD_ANCHORED],
  [EventKind.BATCH_FINAL, EventKind.RECORD_FINAL],
  [EventKind.BATCH_RETRACTED, EventKind.RECORD_RETRACTED],
]);

/**
 * Goes through all that a subscriber with this minimum finality was told, each happening once, as a
 * program would that keeps its own copy of the log. Throws at the first event that does not fit what
 * was told before it.
 */
export function replay(events: readonly Event[], minimum: Finality): Told {
  const ledger = new Ledger(minimum);
  for (const [i, event] of events.entries()) {
    try {
      ledger.hear(event);
    } catch (error) {
      const { message } = error as Error;
      throw new Error(`event ${i}, ${event.key}: ${message}`, { cause: error });
    }
  }
  ledger.end();
  return ledger;
}

/** The copy of a log that follows from a stream. */
class Ledger implements Told {
  readonly batches: Batch[] = [];
  readonly records: Record[] = [];
  retractions = 0;
  #final = 0;
  /** The records' events that must come next: of this batch, from this one of its records on. */
  #run: { readonly event: Event; readonly batch: Batch; next: number } | undefined;

  constructor(private readonly minimum: Finality) {}

  hear(event: Event): void {
    const { payload } = event;
    if (payload.case === "record") return this.#hearRecord(event, payload.value);
    this.end();
    if (payload.case !== "batch") {
      expect(event.finality).to.equal(Finality.UNSPECIFIED);
      return;
    }
    this.#hearBatch(event, payload.value);
    this.#run = { event, batch: payload.value, next: 0 };
  }

  end(): void {
    if (this.#run === undefined) return;
    const { batch, next } = this.#run;
    expect(next, `records told of batch ${batch.sealed?.number}`).to.equal(sizeOf(batch));
  }

  #hearBatch({ kind, finality }: Event, batch: Batch): void {
    expect(batch.state).to.equal(stateAfter(kind, finality));
    const number = numberOf(batch);
    switch (kind) {
      case EventKind.BATCH_SEALED: {
        expect(finality).to.equal(this.minimum);
        expect(number).to.equal(this.batches.length + 1);
        const { anchor: before } = this.batches.at(-1) ?? {};
        expect(Number(batch.anchor?.blockNumber)).to.be.at.least(Number(before?.blockNumber ?? 0n));
        this.batches.push(batch);
        break;
      }
      case EventKind.BATCH_FINAL:
        expect(finality).to.equal(Finality.FINAL);
        expect(number).to.equal(this.#final + 1);
        expect(placeOf(batch.anchor)).to.equal(placeOf(this.batches[number - 1]?.anchor));
        this.#final = number;
        this.batches[number - 1] = batch;
        break;
      case EventKind.BATCH_RETRACTED:
        expect(finality).to.be.at.least(this.minimum).and.to.be.lessThan(Finality.FINAL);
        expect(number).to.equal(this.batches.length);
        expect(number, "a final batch").to.be.greaterThan(this.#final);
        expect(batch.anchor).to.equal(undefined);
        this.batches.pop();
        this.retractions += 1;
        break;
      default:
        throw new Error("an event of a record has a batch");
    }
  }

  #hearRecord({ kind, finality }: Event, record: Record): void {
    if (this.#run === undefined) throw new Error("its batch was not told of");
    const { event, batch, next } = this.#run;
    expect(kind).to.equal(RECORD_KIND.get(event.kind));
    expect(finality).to.equal(event.finality);
    expect(record.batchNumber).to.equal(batch.sealed?.number);
    expect(record.state).to.equal(batch.state);
    expect(placeOf(record.anchor)).to.equal(placeOf(batch.anchor));
    const sequence = Number(batch.firstSequence) + next;
    expect(Number(record.sequence)).to.equal(sequence);
    this.#run.next += 1;
    if (kind === EventKind.RECORD_ANCHORED) expect(sequence).to.equal(this.records.length);
    if (kind === EventKind.RECORD_RETRACTED) this.records.length = Number(batch.firstSequence);
    else this.records[sequence] = record;
  }
}

/**
 * Checks that what subscribers were told comes to what the database holds and the chain has, once
 * everything is final. Resolves to how many batches a subscriber of everything saw retracted.
 */
export async function expectAgreement(
  daemon: Daemon,
  told: Partial<Readonly<{ provisional: Event[]; confirmed: Event[]; final: Event[] }>>,
): Promise<number> {
  const records = await expectWhole(daemon);
  const batches = await allBatches(daemon);
  const seals = await sealsOf(daemon);
  expect(batches.map(({ anchor }) => placeOf(anchor))).to.deep.equal(
    seals.map(
      ({ transactionHash, blockNumber, blockHash }) =>
        `${transactionHash} ${blockNumber} ${blockHash}`,
    ),
  );
  const { sealing } = await healthOf(daemon);
  let retractions = 0;
  for (const [name, events] of Object.entries(told)) {
    const minimum = Finality[name.toUpperCase() as keyof typeof Finality];
    const found = replay(events, minimum);
    expect(found.batches.map(standingOf), name).to.deep.equal(batches.map(standingOf));
    expect(found.records.map(jsonOf), name).to.deep.equal(records.map(jsonOf));
    // What has failed may be sent again and then be mined, after a reorganisation.
    const failures = events.filter(({ kind }) => kind === EventKind.OPERATION_FAILED);
    expect(failures.length, `${name}: failures`).to.be.at.least(sealing.failedOperations);
    if (minimum === Finality.FINAL) expect(found.retractions, "retracted when final").to.equal(0);
    retractions = Math.max(retractions, found.retractions);
  }
  return retractions;
}

/** Every batch of the log, in log order. */
async function allBatches({ grpc }: Daemon): Promise<Batch[]> {
  const batches: Batch[] = [];
  let pageToken = "";
  do {
    const page = await grpc.listBatches({ pageSize: 1000, pageToken });
    batches.push(...page.batches);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return batches.reverse();
}

/** How far a batch has come that an event tells of. */
function stateAfter(kind: EventKind, finality: Finality): RecordState {
  if (kind === EventKind.BATCH_RETRACTED) return RecordState.ACCEPTED;
  return finality === Finality.FINAL ? RecordState.FINAL : RecordState.ANCHORED;
}

function numberOf(batch: Batch): number {
  return Number(batch.sealed?.number ?? 0n);
}

function sizeOf(batch: Batch): number {
  return Number(batch.sealed?.size ?? 0n);
}

function placeOf(anchor: Anchor | undefined): string {
  if (anchor === undefined) return "nowhere";
  return `${anchor.transactionHash} ${anchor.blockNumber} ${anchor.blockHash}`;
}

function standingOf(batch: Batch): string {
  const { state, anchor, firstSequence } = batch;
  return `${numberOf(batch)}: ${sizeOf(batch)} from ${firstSequence} ${RecordState[state]} ${placeOf(anchor)}`;
}

function jsonOf(record: Record): unknown {
  return toJson(RecordSchema, record);
}
