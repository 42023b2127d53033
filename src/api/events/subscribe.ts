import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import { StartPoint } from "../../../gen/ts/anchord/v1/event_service_pb.js";
import type {
  SubscribeEventsRequest,
  SubscribeEventsResponseSchema,
} from "../../../gen/ts/anchord/v1/event_service_pb.js";
import type { FeedBounds } from "../../store/feed.js";
import { MOST_EVENTS } from "../../stream/chunk.js";
import type { Position } from "../../stream/cursor.js";
import type { EventFeed } from "../../stream/feed.js";
import type { Seat } from "../../stream/feed-watch.js";
import { filterOf } from "./convert.js";
import type { EventWindow } from "./window.js";

const PROGRESS_MS = 10_000;

type Answer = MessageInitShape<typeof SubscribeEventsResponseSchema>;

/** Streams events to one subscriber until it goes, or something ends its stream. */
export async function* subscribeEvents(
  feed: EventFeed,
  window: EventWindow,
  request: SubscribeEventsRequest,
  { signal }: Pick<HandlerContext, "signal">,
): AsyncGenerator<Answer> {
  const { progressInterval } = request;
  const intervalMs = progressInterval === undefined ? PROGRESS_MS : durationMs(progressInterval);
  const { maxEvents } = request;
  const mostEvents = maxEvents === 0 ? MOST_EVENTS : Math.min(maxEvents, MOST_EVENTS);
  const wanted = { filter: filterOf(request.filter), mostEvents };
  const seat = feed.watch.enter();
  const leave = () => seat.leave();
  signal.addEventListener("abort", leave, { once: true });
  try {
    let at = await startOf(feed, request, seat);
    let due = performance.now() + intervalMs;
    yield { events: [], cursor: await feed.points.cursorOf(at) };
    while (!signal.aborted) {
      let answer: Answer | undefined;
      if (await seat.more(at, Math.max(0, due - performance.now()))) {
        const delivery = await window.next(at, wanted, feed.watch.bounds as FeedBounds);
        ({ to: at, answer } = delivery);
        feed.delivered += delivery.events;
      }
      if (answer === undefined && performance.now() >= due) {
        answer = { events: [], cursor: await feed.points.cursorOf(at, feed.watch.bounds) };
      }
      if (answer === undefined) continue;
      due = performance.now() + intervalMs;
      yield answer;
    }
  } finally {
    signal.removeEventListener("abort", leave);
    leave();
  }
}

/** Where a stream starts: a named subscription that there is goes on at its position. */
async function startOf(
  feed: EventFeed,
  { subscription, from }: SubscribeEventsRequest,
  seat: Seat,
): Promise<Position> {
  const { points, consumers } = feed;
  const asked = (): Promise<Position> => {
    if (from.case === "cursor") return points.resolve(from.value);
    return from.value === StartPoint.START ? points.start() : points.now();
  };
  if (subscription === "") return asked();
  return points.kept(await consumers.take(subscription, seat, asked));
}
