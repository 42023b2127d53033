import { toJson } from "@bufbuild/protobuf";
import { expect } from "chai";
import { EventSchema } from "../../gen/ts/anchord/v1/event_pb.js";
import type { Event } from "../../gen/ts/anchord/v1/event_pb.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { databasesOfRun } from "../support/databases.js";
import { randomOf, seedOfRun } from "../support/random.js";
import type { Random } from "../support/random.js";
import { recordSome } from "../support/rebuild.js";
import { expectAgreement } from "../support/stream-checks.js";
import { drain, NODES, turns } from "../support/stream-reorg.js";
import type { Fickle } from "../support/stream-reorg.js";
import { Subscriber } from "../support/subscriber.js";
import type { Wanted } from "../support/subscriber.js";
import { until } from "../support/until.js";

/** How often a subscriber's call is cut on a database, and how often the daemon is killed in between. */
const CUTS: Readonly<Record<string, number>> = { SQLite: 50, MariaDB: 15 };
const KILLS = 4;

const NAME = "test/resume";

const seed = seedOfRun();

for (const database of databasesOfRun(seed)) {
  describe(`A subscriber that is killed again and again, on ${database.name}`, function () {
    this.timeout(240_000);

    const cuts = CUTS[database.name] ?? 0;
    let settings: Record<string, string>;
    let random: Random;
    let fickle: Fickle;
    let daemon: Daemon;
    const subscribers: Subscriber[] = [];

    before(() => console.log(`      SEED=${seed}`));

    beforeEach(async function () {
      const found = await database.settings();
      if (found === undefined) return this.skip();
      random = randomOf(seed);
      fickle = await NODES.ganache();
      settings = {
        ...fickle.chain.environment,
        ...fickle.settings,
        ...found,
        DATA_DIR: temporaryFolder(),
      };
      daemon = await startDaemon(settings);
    });

    afterEach(async () => {
      for (const subscriber of subscribers.splice(0))
        await subscriber.stop().catch(() => undefined);
      await daemon?.kill();
      await fickle?.stop();
    });

    function subscribe(wanted: Wanted = {}): Subscriber {
      const subscriber = new Subscriber(() => daemon.events.grpc, wanted);
      subscribers.push(subscriber);
      return subscriber;
    }

    /** One in three answers finds its subscriber dead before the end of its events. */
    const diesAfter = (events: number) =>
      random.between(0, 2) === 0 ? random.between(0, events) : undefined;

    /** Cuts and kills at random while records come and blocks go. Resolves to the number of records. */
    async function disturb(subscriber: Subscriber, afterCut: () => Promise<void>): Promise<number> {
      const record = async (count: number) => {
        const before = subscriber.told;
        await recordSome(daemon, random, count);
        await subscriber.hears("it is told of them", () => subscriber.told > before);
      };
      await record(600);
      const things = [
        () => record(random.between(1, 60)),
        () => recordSome(daemon, random, random.between(1, 60)),
        () => fickle.chain.mine(random.between(1, 5)),
        () => fickle.reorganise(random),
        () => turns(random.between(0, 2_000)),
      ];
      for (let cut = 1; cut <= cuts; cut++) {
        await fickle.remember();
        await random.pick(things)();
        await turns(random.between(0, 300));
        subscriber.cut();
        if (cut % Math.floor(cuts / KILLS) === 0) {
          await daemon.kill();
          daemon = await startDaemon(settings);
        }
        await afterCut();
      }
      return drain(daemon, fickle.chain);
    }

    /** It was told what one is told whom nothing disturbs, and that agrees with the chain. */
    async function expectUndisturbed(subscriber: Subscriber, records: number): Promise<Event[]> {
      await subscriber.caughtUp(records);
      const undisturbed = subscribe();
      await undisturbed.caughtUp(records);
      expect([undisturbed.calls, undisturbed.told]).to.deep.equal([
        1,
        undisturbed.happenings.length,
      ]);
      expect(subscriber.happenings.map(keyOf)).to.deep.equal(undisturbed.happenings.map(keyOf));
      expect(subscriber.happenings.map(jsonOf)).to.deep.equal(undisturbed.happenings.map(jsonOf));
      expect(subscriber.calls).to.be.greaterThan(cuts);
      expect(subscriber.told, "what was told again").to.be.greaterThan(undisturbed.told);
      await expectAgreement(daemon, { provisional: undisturbed.happenings });
      return undisturbed.happenings;
    }

    it("goes on from its cursor, and misses and reorders nothing", async () => {
      const subscriber = subscribe({ diesAfter });
      const records = await disturb(subscriber, () => Promise.resolve());
      await expectUndisturbed(subscriber, records);
    });

    it("goes on where its subscription is, which is never ahead of what it acknowledged", async () => {
      const subscriber = subscribe({ diesAfter, subscription: NAME });
      /** Where the subscription stood, and how much had been dealt with by then. */
      const stands: { readonly cursor: string; readonly dealtWith: number }[] = [];
      const records = await disturb(subscriber, async () => {
        const { subscriptions } = await daemon.events.http.listSubscriptions({});
        const { cursor } = subscriptions.find(({ name }) => name === NAME) ?? {};
        if (cursor !== undefined) stands.push({ cursor, dealtWith: subscriber.dealtWith });
      });
      const happenings = await expectUndisturbed(subscriber, records);
      const places = new Map(happenings.map(({ key }, i) => [key, i]));
      let before = 0;
      for (const { cursor, dealtWith } of stands) {
        const next = await firstBehind(cursor);
        const place = next === undefined ? happenings.length : (places.get(next.key) ?? -1);
        expect(place).to.be.at.least(before).and.at.most(dealtWith);
        before = place;
      }
      expect(before).to.be.greaterThan(0);
      await until("everything is acknowledged", async () => {
        const { subscriptions } = await daemon.events.grpc.listSubscriptions({});
        return subscriptions.length === 1 && subscriptions[0]?.pendingSince === undefined;
      });
    });

    /** The first event behind a cursor; undefined where there is none. */
    async function firstBehind(cursor: string): Promise<Event | undefined> {
      const progressInterval = { seconds: 0n, nanos: 500_000_000 };
      const call = new AbortController();
      const request = { from: { case: "cursor" as const, value: cursor }, progressInterval };
      let answers = 0;
      for await (const { events } of daemon.events.grpc.subscribeEvents(request, call)) {
        if (events.length > 0 || ++answers > 1) return events[0];
      }
      throw new Error("the stream has ended");
    }
  });
}

function keyOf({ key }: Event): string {
  return key;
}

function jsonOf(event: Event): unknown {
  return toJson(EventSchema, event);
}
