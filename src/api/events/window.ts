import { fromBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { SubscribeEventsResponseSchema } from "../../../gen/ts/anchord/v1/event_service_pb.js";
import type { FeedBounds } from "../../store/feed.js";
import { chunkFrom } from "../../stream/chunk.js";
import { nextRow } from "../../stream/cursor.js";
import type { Position } from "../../stream/cursor.js";
import type { EventFeed } from "../../stream/feed.js";
import type { EventFilter } from "../../stream/filter.js";
import { SharedCache } from "../../core/shared-cache.js";
import { encodedAs } from "../encoded.js";
import { encodeAnswer } from "./encode.js";

/** Bytes of answers that are kept for whoever comes behind. */
const KEPT_BYTES = 32 * 1024 * 1024;
const ANSWER_BYTES = 500;

/** What follows a position, for everyone with the same filter who is there. */
export interface Delivery {
  readonly to: Position;
  readonly events: number;
  /** The answer; undefined where the filter lets nothing pass. */
  readonly answer: Answer | undefined;
}

/** What a subscriber wants to be told, and how much at once. */
export interface Wanted {
  readonly filter: EventFilter;
  readonly mostEvents: number;
}

type Answer = MessageInitShape<typeof SubscribeEventsResponseSchema>;

/** The answers of SubscribeEvents, each read and encoded once for all subscribers who need it. */
export class EventWindow {
  readonly #deliveries = new SharedCache<Delivery & { readonly bytes: number }>(
    KEPT_BYTES,
    ({ bytes }) => bytes + ANSWER_BYTES,
  );

  constructor(private readonly feed: EventFeed) {}

  /** What follows a position. Requires that something does. Throws CURSOR_EXPIRED. */
  async next(at: Position, wanted: Wanted, bounds: FeedBounds): Promise<Delivery> {
    const delivery = await this.#made(at, wanted, bounds);
    // What comes after is made while this is sent.
    if (nextRow(delivery.to) < bounds.next) {
      this.#made(delivery.to, wanted, bounds).catch(() => undefined);
    }
    return delivery;
  }

  #made(at: Position, wanted: Wanted, bounds: FeedBounds) {
    const { filter, mostEvents } = wanted;
    const key = `${bounds.epoch}/${at.number}/${at.done}/${mostEvents}/${filter.id}`;
    return this.#deliveries.get(key, () =>
      this.#make(at, wanted, bounds).catch((error: unknown) => {
        this.feed.source.forget();
        throw error;
      }),
    );
  }

  async #make(at: Position, { filter, mostEvents }: Wanted, bounds: FeedBounds) {
    const { source, points } = this.feed;
    const chunk = await chunkFrom(source, filter, at, { next: bounds.next, mostEvents });
    if (chunk === undefined) throw await points.expired();
    const { to, tellings } = chunk;
    const events = tellings.length;
    if (events === 0) return { to, events, answer: undefined, bytes: 0 };
    const cursor = await points.cursorOf(to, bounds);
    const bytes = encodeAnswer(tellings, cursor, bounds.epoch);
    return { to, events, answer: answerOf(bytes, cursor), bytes: bytes.length };
  }
}

/** An answer that is kept as bytes alone: its events, which take much more room, are read from them. */
function answerOf(bytes: Uint8Array, cursor: string): Answer {
  const answer = {
    get events() {
      return fromBinary(SubscribeEventsResponseSchema, bytes).events;
    },
    cursor,
  };
  return encodedAs(answer, bytes);
}
