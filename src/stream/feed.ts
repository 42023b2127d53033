import type { Database } from "../store/database.js";
import { Consumers } from "./consumers.js";
import { FeedPoints } from "./points.js";
import { FeedSource } from "./source.js";
import { FeedWatch } from "./feed-watch.js";

/** The event feed as the API works with it. */
export class EventFeed {
  readonly source: FeedSource;
  readonly points: FeedPoints;
  readonly watch: FeedWatch;
  readonly consumers: Consumers;
  /** How many events were handed to subscribers. */
  delivered = 0;

  constructor(readonly database: Database) {
    this.source = new FeedSource(database);
    this.points = new FeedPoints(database, this.source);
    this.watch = new FeedWatch(database);
    this.consumers = new Consumers(database);
  }
}
