import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type {
  EventService,
  SubscriptionSchema,
} from "../../../gen/ts/anchord/v1/event_service_pb.js";
import {
  acknowledgeSubscription,
  deleteSubscription,
  listSubscriptions,
} from "../../store/subscriptions.js";
import { timeOfMs } from "../../core/calendar.js";
import type { StoredSubscription } from "../../store/subscriptions.js";
import { subscriptionNotFound } from "../../stream/consumers.js";
import { WHOLE } from "../../stream/cursor.js";
import type { EventFeed } from "../../stream/feed.js";
import { namePageToken, pageSize, parseNamePageToken } from "../page-token.js";
import { subscribeEvents } from "./subscribe.js";
import { EventWindow } from "./window.js";

const QUESTION = { subscriptions: true };

/** EventService, written once for both doors. */
export function eventService(feed: EventFeed): ServiceImpl<typeof EventService> {
  const window = new EventWindow(feed);
  const { database, points, consumers } = feed;
  return {
    subscribeEvents: (request, context) => subscribeEvents(feed, window, request, context),

    async acknowledgeEvents({ subscription, cursor }) {
      const position = await points.resolve(cursor);
      if (await acknowledgeSubscription(database, subscription, position)) return {};
      throw subscriptionNotFound(subscription);
    },

    async listSubscriptions({ pageSize: size, pageToken }) {
      const limit = pageSize(size);
      const after = parseNamePageToken(QUESTION, pageToken);
      const range = { after, limit: limit + 1, whole: WHOLE };
      const found = await listSubscriptions(database, range);
      const shown = found.slice(0, limit);
      const last = shown.at(-1);
      const more = found.length > limit && last !== undefined;
      return {
        subscriptions: await Promise.all(shown.map((each) => subscriptionOf(feed, each))),
        nextPageToken: more ? namePageToken(QUESTION, last.name) : "",
      };
    },

    async deleteSubscription({ name }) {
      if (!(await deleteSubscription(database, name))) throw subscriptionNotFound(name);
      await consumers.check();
      return {};
    },
  };
}

async function subscriptionOf(
  { points }: EventFeed,
  subscription: StoredSubscription,
): Promise<MessageInitShape<typeof SubscriptionSchema>> {
  const { name, createTime, acknowledgeTime, pendingTime } = subscription;
  return {
    name,
    cursor: await points.cursorOf(subscription),
    createTime: timeOfMs(createTime),
    acknowledgeTime: timeOfMs(acknowledgeTime),
    pendingSince: timeOfMs(pendingTime),
  };
}
