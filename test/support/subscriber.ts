import { Code, ConnectError } from "@connectrpc/connect";
import type { Client } from "@connectrpc/connect";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { EventKind } from "../../gen/ts/anchord/v1/event_pb.js";
import type { Event, Finality } from "../../gen/ts/anchord/v1/event_pb.js";
import { StartPoint } from "../../gen/ts/anchord/v1/event_service_pb.js";
import type {
  EventService,
  SubscribeEventsRequestSchema,
} from "../../gen/ts/anchord/v1/event_service_pb.js";
import { ErrorInfoSchema } from "../../gen/ts/google/rpc/error_details_pb.js";
import { until } from "./until.js";

/** The stream as a subscriber reaches it now: another daemon after a restart. */
export type Service = () => Client<typeof EventService>;

/** What a subscriber asks for. */
export interface Wanted {
  readonly kinds?: readonly EventKind[];
  readonly minimumFinality?: Finality;
  /** The name of a subscription, which is acknowledged answer by answer. */
  readonly subscription?: string;
  /** How many events of an answer are dealt with before it dies; undefined where it deals with all. */
  readonly diesAfter?: (events: number) => number | undefined;
}

/** How soon a stream says that nothing happens. */
const PROGRESS_MS = 200;

/**
 * A subscriber from the start of the feed, which goes on from its last cursor, or its subscription,
 * whenever its call has ended.
 */
export class Subscriber {
  /** What it was told, each happening once, where it was first told. */
  readonly happenings: Event[] = [];
  /** How many events it was told, with those that came again. */
  told = 0;
  /** Calls that were made. */
  calls = 0;
  /** How many of the happenings it has dealt with, and acknowledged where it acknowledges at all. */
  dealtWith = 0;
  #cursor = "";
  readonly #places = new Map<string, number>();
  #finals = 0;
  #isIdle = false;
  #stopped = false;
  #failure: unknown;
  #call = new AbortController();
  readonly #running: Promise<void>;

  constructor(
    private readonly service: Service,
    private readonly wanted: Wanted = {},
  ) {
    this.#running = this.#run().catch((error: unknown) => {
      this.#failure = error;
    });
  }

  /** Where it has come to. */
  get cursor(): string {
    return this.#cursor;
  }

  /** Ends the call that runs; the next goes on. */
  cut(): void {
    this.#call.abort();
  }

  /** Resolves once every one of so many records is final, and nothing more comes. */
  async caughtUp(records: number, limitMs = 120_000): Promise<void> {
    await this.hears(
      `all of ${records} records are told`,
      () => this.#isIdle && this.#finals >= records,
      limitMs,
    );
  }

  /** Resolves once a condition on what it was told holds. */
  async hears(what: string, condition: () => boolean, limitMs = 120_000): Promise<void> {
    const holds = () => {
      if (this.#failure !== undefined) throw this.#failure;
      return condition();
    };
    await until(what, holds, limitMs);
  }

  /** Ends it. Rejects where it was refused what it asked for. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.cut();
    await this.#running;
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#subscribe();
      } catch (error) {
        if (!isPassing(error)) throw error;
        if (!this.#call.signal.aborted) await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async #subscribe(): Promise<void> {
    this.#call = new AbortController();
    this.#isIdle = false;
    this.calls += 1;
    const { signal } = this.#call;
    const { subscription, diesAfter } = this.wanted;
    const service = this.service();
    for await (const { events, cursor } of service.subscribeEvents(this.#request(), { signal })) {
      const most = events.length === 0 ? undefined : diesAfter?.(events.length);
      this.#hear(events.slice(0, most));
      if (most !== undefined) return this.#call.abort();
      this.#isIdle = events.length === 0;
      const last = events.at(-1);
      if (last !== undefined) {
        this.dealtWith = Math.max(this.dealtWith, (this.#places.get(last.key) ?? 0) + 1);
      }
      if (subscription !== undefined && events.length > 0) {
        await service.acknowledgeEvents({ subscription, cursor }, { signal });
      }
      this.#cursor = cursor;
    }
  }

  #request(): MessageInitShape<typeof SubscribeEventsRequestSchema> {
    const { kinds = [], minimumFinality, subscription } = this.wanted;
    const goesOn = this.#cursor !== "" && subscription === undefined;
    return {
      filter: { kinds: [...kinds], ...(minimumFinality && { minimumFinality }) },
      subscription: subscription ?? "",
      from: goesOn
        ? { case: "cursor", value: this.#cursor }
        : { case: "start", value: StartPoint.START },
      progressInterval: durationFromMs(PROGRESS_MS),
    };
  }

  #hear(events: readonly Event[]): void {
    this.told += events.length;
    for (const event of events) {
      if (this.#places.has(event.key)) continue;
      this.#places.set(event.key, this.happenings.length);
      this.happenings.push(event);
      if (event.kind === EventKind.RECORD_FINAL) this.#finals += 1;
    }
  }
}

/** Whether a call has ended for what passes: it was cut, or the service went away. */
function isPassing(error: unknown): boolean {
  const known = ConnectError.from(error);
  return known.code === Code.Unavailable || known.findDetails(ErrorInfoSchema).length === 0;
}
