import { toJson } from "@bufbuild/protobuf";
import type { JsonObject } from "@bufbuild/protobuf";
import { timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import { expect } from "chai";
import { ListOrder } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { EvidenceSchema } from "../../gen/ts/anchord/v1/evidence_pb.js";
import type { Evidence } from "../../gen/ts/anchord/v1/evidence_pb.js";
import { EvidenceVerdict } from "../../gen/ts/anchord/v1/evidence_service_pb.js";
import type { VerifyEvidenceResponse } from "../../gen/ts/anchord/v1/evidence_service_pb.js";
import { ContentState, RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { web3Chain } from "../../src/chain/web3.js";
import { hex, sha256 } from "../../src/core/bytes.js";
import { startDaemon } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { DATABASES } from "../support/databases.js";
import { DOORS, refusalOf } from "../support/doors.js";
import type { AuditClient, Door } from "../support/doors.js";
import {
  download,
  evidenceClient,
  randomFile,
  stagedBy,
  upload,
  uploaded,
  verify,
} from "../support/evidence.js";
import type { EvidenceClient, UploadMetadata } from "../support/evidence.js";
import { randomOf, seedOfRun } from "../support/random.js";
import { until } from "../support/until.js";

const { ANCHORED, FINAL } = RecordState;
const { VERIFIED, OTHER_SUBJECT, NOT_ANCHORED } = EvidenceVerdict;

const GATEWAY = "https://files.example";

/** As `ipfs add --cid-version=1` gives them. */
const EMPTY_CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
const HELLO = Buffer.from("hello world\n");
const HELLO_CID = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4";
const HELLO_BASE36 = "k2cwuecvan95uqzq14dj3a18wx6av6tgr73nxvopxn3j5kvyr0apys7b";
/** As `ipfs add` gives it: of version 0, which does not tell the file's SHA-256. */
const HELLO_V0 = "QmZjTnYw2TFhn9Nn7tjmPSoTBoY7YRkwPzwSrSbabY24Kp";

const seed = seedOfRun();
const random = randomOf(seed);

let made = 0;
/** A name that no other test uses. */
const unique = (what: string) => `${what}-${made++}`;
/** A file that no other test uses. */
const file = (size = 100) => randomFile(random, size);
const digestOf = (bytes: Uint8Array) => hex(sha256(bytes));
const keyOf = (subject: string) => digestOf(Buffer.from(subject));

for (const database of DATABASES) {
  describe(`EvidenceService on ${database.name}`, function () {
    this.timeout(60_000);

    let daemon: Daemon | undefined;

    before(async function () {
      this.timeout(300_000);
      console.log(`      seed ${seed}`);
      const settings = await database.settings();
      if (settings === undefined) return this.skip();
      daemon = await startDaemon({
        ...settings,
        API_TOKENS: "one,two",
        CONFIRMATIONS: "1",
        IPFS_GATEWAY_URL: GATEWAY,
      });
    });

    after(() => daemon?.stop());

    for (const door of DOORS) {
      describe(`through the ${door.name} door`, () => behaves(() => daemon as Daemon, door));
    }
  });
}

/** Everything that the service promises, whatever door and database. */
function behaves(running: () => Daemon, door: Door): void {
  let daemon: Daemon;
  let client: EvidenceClient;
  let audit: AuditClient;

  before(() => {
    daemon = running();
    client = evidenceClient(door, daemon, "one");
    audit = door.client(daemon, "one");
  });

  const get = async (id: string) => (await client.getEvidence({ id })).evidence as Evidence;
  const trail = async (subject: string) => (await audit.getTrail({ subject })).records;
  const anchored = (metadata: UploadMetadata, bytes: Uint8Array) =>
    uploaded(client, { waitFor: ANCHORED, ...metadata }, bytes);

  describe("UploadEvidence", () => {
    it("takes a file and what is said of it, which GetEvidence gives back as it came", async () => {
      const original = await uploaded(client, { subject: unique("complaint") }, file());
      const subject = unique("complaint/€");
      const given = {
        subject,
        actor: "Zoë",
        occurTime: "2026-01-31T08:00:00.123456789Z",
        fileName: "Beschwerde & Antwort.txt",
        mediaType: 'text/plain; charset="utf-8"',
        derivedFrom: original.id,
        details: { "10": "ten", a: null, größe: [1, -0.5, "\u{1f600}"] },
      };
      const before = Date.now();
      const evidence = await uploaded(
        client,
        {
          ...given,
          requestId: unique("r"),
          occurTime: timestampFromDate(new Date("2026-01-31T08:00:00.123Z")),
        },
        HELLO,
      );
      const seen = toJson(EvidenceSchema, await get(evidence.id)) as JsonObject;
      expect(seen).to.deep.include({
        ...given,
        id: evidence.id,
        occurTime: "2026-01-31T08:00:00.123Z",
        subjectKey: keyOf(subject),
        sha256: digestOf(HELLO),
        cid: HELLO_CID,
        size: "12",
      });
      expect(timestampMs(evidence.acceptTime as never)).to.be.within(before, Date.now());
      expect(evidence.content?.gatewayUrl).to.equal(
        `${GATEWAY}/ipfs/${HELLO_CID}?filename=Beschwerde%20%26%20Antwort.txt`,
      );
      expect([ContentState.PENDING, ContentState.INTACT]).to.include(evidence.content?.state);
    });

    it("makes a record of it, in the trail of its subject", async () => {
      const subject = unique("complaint");
      const bytes = file();
      const { id, cid } = await uploaded(client, { subject, actor: "ada", fileName: "a" }, bytes);
      const [record] = await trail(subject);
      expect(record).to.deep.include({ id, subject, actor: "ada" });
      expect(record?.body.case).to.equal("evidenceAdded");
      expect(record?.body.value).to.deep.include({
        sha256: digestOf(bytes),
        cid,
        size: 100n,
        fileName: "a",
        contentKept: true,
      });
    });

    for (const [what, chunks] of [
      ["no chunk", []],
      ["an empty chunk", [new Uint8Array()]],
    ] as const) {
      it(`takes an empty file, of ${what}`, async () => {
        const subject = unique("complaint");
        const { evidence } = await client.uploadEvidence(
          (async function* () {
            yield { part: { case: "metadata" as const, value: { subject } } };
            for (const value of chunks) yield { part: { case: "chunk" as const, value } };
          })(),
        );
        expect(evidence).to.deep.include({ cid: EMPTY_CID, size: 0n, fileName: "" });
        expect(evidence?.content?.gatewayUrl).to.equal(`${GATEWAY}/ipfs/${EMPTY_CID}`);
        expect((await download(client, { id: evidence?.id ?? "" })).bytes).to.have.lengthOf(0);
      });
    }

    it("takes a file in chunks of any size, and gives it back", async () => {
      const bytes = file(1_500_000);
      const subjects = [unique("complaint"), unique("complaint")] as const;
      const sizeOf = () => random.pick([1, 17, 999, 65_537, 262_144, 400_001]);
      const [odd, even] = await Promise.all([
        upload(client, { subject: subjects[0] }, bytes, { sizeOf }),
        upload(client, { subject: subjects[1] }, bytes),
      ]);
      expect(odd.evidence?.sha256).to.equal(digestOf(bytes));
      expect(odd.evidence?.cid).to.match(/^bafy/).and.to.equal(even.evidence?.cid);
      expect(odd.evidence?.id).not.to.equal(even.evidence?.id);
      const got = await download(client, { id: odd.evidence?.id ?? "" });
      expect(got.bytes.equals(bytes)).to.equal(true);
      expect(got.evidence?.id).to.equal(odd.evidence?.id);
    });

    it("takes a file that is what was declared of it, however that is written", async () => {
      const subject = unique("complaint");
      const declared = { size: 12n, sha256: digestOf(HELLO).toUpperCase(), cid: HELLO_BASE36 };
      const { cid, sha256: digest } = await uploaded(client, { subject, ...declared }, HELLO);
      expect({ cid, digest }).to.deep.equal({ cid: HELLO_CID, digest: digestOf(HELLO) });
    });

    it("waits until it is anchored, and tells where, as the chain does", async () => {
      const subject = unique("complaint");
      const { sha256: digest, state, anchor } = await anchored({ subject }, file());
      expect(state).to.be.at.least(ANCHORED);
      const { contract } = await verify(client, { subject, sha256: digest });
      const chain = web3Chain(daemon.rpcUrl);
      const key = sha256(Buffer.from(subject));
      const onChain = await chain.evidenceAnchor(contract, key, Buffer.from(digest, "hex"));
      expect(anchor?.submitter).to.equal(onChain?.submitter);
      expect(anchor?.blockNumber).to.equal(BigInt(onChain?.blockNumber ?? 0));
      expect(anchor?.blockTime?.seconds).to.equal(BigInt(onChain?.time ?? 0));
      const block = await chain.block(Number(anchor?.blockNumber));
      expect(anchor?.blockHash).to.equal(block?.hash);
      const mined = await chain.mined(anchor?.transactionHash ?? "");
      expect(mined).to.include({ succeeded: true, blockHash: block?.hash });
    });

    it("waits until it is final", async () => {
      const bytes = file();
      const subject = unique("complaint");
      const waiting = uploaded(client, { subject, waitFor: FINAL }, bytes);
      const sha256 = digestOf(bytes);
      await until("anchored", async () => {
        const { evidence } = await client.listEvidence({ subject, sha256 });
        return evidence[0]?.state === ANCHORED || evidence[0]?.state === FINAL;
      });
      // Final means one block behind its own.
      await anchored({ subject: unique("complaint") }, file());
      expect((await waiting).state).to.equal(FINAL);
    });

    it("answers with what it was first where the same file comes again for the same subject", async () => {
      const bytes = file();
      const subject = unique("complaint");
      const first = await anchored({ subject, actor: "ada" }, bytes);
      const again = await upload(client, { subject, actor: "bob", fileName: "x" }, bytes);
      expect(again.replayed).to.equal(true);
      expect(again.evidence).to.deep.include({ id: first.id, actor: "ada", fileName: "" });
      expect(again.evidence?.anchor).to.deep.equal(first.anchor);
      expect(await trail(subject)).to.have.lengthOf(1);
    });

    it("makes one piece of evidence of the same file from many at once", async () => {
      const bytes = file(300_000);
      const subject = unique("complaint");
      const clients = [client, evidenceClient(door, daemon, "two")];
      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, i) =>
          upload(clients[i % 2] as EvidenceClient, { subject, waitFor: ANCHORED }, bytes),
        ),
      );
      expect(answers.filter(({ replayed }) => !replayed)).to.have.lengthOf(1);
      expect(new Set(answers.map(({ evidence }) => evidence?.id)).size).to.equal(1);
      expect(
        new Set(answers.map(({ evidence }) => evidence?.anchor?.transactionHash)).size,
      ).to.equal(1);
      expect(await trail(subject)).to.have.lengthOf(1);
      await until("nothing is staged", async () => (await stagedBy(daemon)).length === 0);
      const { bytes: got } = await download(client, { id: answers[0]?.evidence?.id ?? "" });
      expect(got.equals(bytes)).to.equal(true);
    });

    it("keeps the evidence of two subjects apart, whose file is the same", async () => {
      const bytes = file();
      const [one, two] = await Promise.all(
        [unique("complaint"), unique("complaint")].map((subject) => anchored({ subject }, bytes)),
      );
      expect(one?.cid).to.equal(two?.cid);
      expect(one?.id).not.to.equal(two?.id);
      expect(one?.subjectKey).not.to.equal(two?.subjectKey);
    });

    it("has the file in the content store at once where that is required", async () => {
      const metadata = { subject: unique("complaint"), requireContent: true };
      const { content } = await uploaded(client, metadata, file(300_000));
      expect(content?.state).to.equal(ContentState.INTACT);
    });

    it("refuses to derive from evidence that there is not", async () => {
      const subject = unique("complaint");
      const derivedFrom = "0".repeat(64);
      const refusal = await refusalOf(upload(client, { subject, derivedFrom }, file()));
      expect(refusal).to.include({ code: "NotFound", reason: "ERROR_REASON_EVIDENCE_NOT_FOUND" });
      expect(refusal.message).to.include("derived_from");
      expect(await trail(subject)).to.have.lengthOf(0);
      await until("nothing is staged", async () => (await stagedBy(daemon)).length === 0);
    });
  });

  describe("request_id", () => {
    const metadata = () => ({
      subject: unique("complaint"),
      requestId: unique("r"),
      actor: "ada",
      fileName: "a.txt",
    });

    it("makes a repeated upload the same evidence, also where more is waited for and declared", async () => {
      const bytes = file();
      const given = { ...metadata(), sha256: digestOf(bytes) };
      const first = await upload(client, given, bytes);
      const { sha256: _, ...undeclared } = given;
      const again = { ...undeclared, waitFor: ANCHORED, requireContent: true };
      const second = await upload(client, again, bytes);
      const third = await client.anchorEvidence(given);
      const answers = [first, second, third];
      expect(answers.map(({ replayed }) => replayed)).to.deep.equal([false, true, true]);
      expect(new Set(answers.map(({ evidence }) => evidence?.id)).size).to.equal(1);
      expect(await trail(given.subject)).to.have.lengthOf(1);
    });

    it("refuses another file, other metadata, or another event with it", async () => {
      const bytes = file();
      const given = metadata();
      const { id } = await uploaded(client, given, bytes);
      const { requestId } = given;
      for (const call of [
        () => upload(client, given, file()),
        () => upload(client, { ...given, actor: "bob" }, bytes),
        () => upload(client, { ...given, subject: unique("complaint") }, bytes),
        () =>
          audit.recordEvent({
            subject: given.subject,
            requestId,
            body: { case: "login", value: { user: "ada" } },
          }),
      ]) {
        const refusal = await refusalOf(call());
        expect(refusal).to.include({ reason: "ERROR_REASON_REQUEST_ID_REUSED" });
        expect(refusal.metadata).to.include({ record_id: id });
      }
      expect(await trail(given.subject)).to.have.lengthOf(1);
    });

    it("is each caller's own", async () => {
      const given = metadata();
      const subject = unique("complaint");
      const one = await upload(client, given, file());
      const other = evidenceClient(door, daemon, "two");
      const two = await upload(other, { ...given, subject }, file());
      expect([one.replayed, two.replayed]).to.deep.equal([false, false]);
    });
  });

  describe("AnchorEvidence", () => {
    it("anchors a hash, whose file stays with its owner", async () => {
      const bytes = file();
      const subject = unique("complaint");
      const { evidence, replayed } = await client.anchorEvidence({
        subject,
        sha256: digestOf(bytes).toUpperCase(),
        size: 100n,
        cid: HELLO_V0,
        fileName: "secret.pdf",
        waitFor: ANCHORED,
      });
      expect(replayed).to.equal(false);
      expect(evidence).to.deep.include({
        subject,
        sha256: digestOf(bytes),
        size: 100n,
        cid: HELLO_V0,
        fileName: "secret.pdf",
      });
      expect(evidence?.state).to.be.at.least(ANCHORED);
      expect(evidence?.content).to.deep.include({ state: ContentState.NONE, gatewayUrl: "" });
      expect((await verify(client, { subject }, bytes)).verdict).to.equal(VERIFIED);
      const refusal = await refusalOf(download(client, { id: evidence?.id ?? "" }));
      expect(refusal).to.include({
        code: "FailedPrecondition",
        reason: "ERROR_REASON_CONTENT_NOT_KEPT",
      });
    });

    it("gets the file later, which is then kept, and anchored no second time", async () => {
      const bytes = file();
      const subject = unique("complaint");
      const request = { subject, sha256: digestOf(bytes), waitFor: ANCHORED };
      const { evidence } = await client.anchorEvidence(request);
      const later = await upload(client, { subject, waitFor: ANCHORED }, bytes);
      expect(later.replayed).to.equal(true);
      expect(later.evidence).to.deep.include({ id: evidence?.id, size: 100n });
      expect(later.evidence?.anchor).to.deep.equal(evidence?.anchor);
      const got = await download(client, { id: evidence?.id ?? "" });
      expect(got.bytes.equals(bytes)).to.equal(true);
    });
  });

  describe("VerifyEvidence", () => {
    let bytes: Buffer;
    let evidence: Evidence;
    const anchors = ({ anchors: found }: VerifyEvidenceResponse) =>
      found.map(({ evidenceId }) => evidenceId);

    before(async () => {
      bytes = file(300_000);
      evidence = await anchored({ subject: unique("complaint") }, bytes);
    });

    it("finds a file anchored for its subject, by its bytes or their hash", async () => {
      const { subject, id, subjectKey, sha256: digest } = evidence;
      for (const answer of [
        await verify(client, { subject }, bytes),
        await verify(client, { subject, sha256: digest.toUpperCase() }),
        await verify(client, { subject, sha256: digest }, bytes),
      ]) {
        expect(answer.verdict).to.equal(VERIFIED);
        expect(answer.sha256).to.equal(digest);
        expect(answer.chainId).to.equal(1337n);
        expect(answer.contract).to.match(/^0x[0-9a-f]{40}$/);
        const [anchor] = answer.anchors;
        expect(anchor).to.deep.include({ subject, subjectKey, evidenceId: id });
        expect(anchor?.anchor).to.deep.equal(evidence.anchor);
      }
    });

    it("finds it by the bare key of the subject", async () => {
      const { subject, subjectKey, id } = evidence;
      const answer = await verify(client, { subject: subjectKey.toUpperCase() }, bytes);
      expect(answer.verdict).to.equal(VERIFIED);
      expect(answer.anchors[0]).to.deep.include({ subject, subjectKey, evidenceId: id });
    });

    it("finds no file that differs in one bit, is cut, or longer", async () => {
      const { subject } = evidence;
      const flipped = Buffer.from(bytes);
      const at = random.between(0, bytes.length - 1);
      flipped[at] = (flipped[at] as number) ^ (1 << random.between(0, 7));
      for (const other of [
        flipped,
        bytes.subarray(0, -1),
        bytes.subarray(1),
        Buffer.concat([bytes, Buffer.of(0)]),
        Buffer.alloc(0),
      ]) {
        const answer = await verify(client, { subject }, other);
        expect(answer.verdict).to.be.oneOf([NOT_ANCHORED, OTHER_SUBJECT]);
        expect(answer.sha256).to.equal(digestOf(other));
      }
      expect((await verify(client, {}, flipped)).verdict).to.equal(NOT_ANCHORED);
    });

    it("does not take a file for another subject's", async () => {
      const other = await anchored({ subject: unique("complaint") }, file());
      const answer = await verify(client, { subject: other.subject }, bytes);
      expect(answer.verdict).to.equal(OTHER_SUBJECT);
      expect(anchors(answer)).to.deep.equal([evidence.id]);
      const unknown = await verify(client, { subject: unique("complaint") }, bytes);
      expect(unknown.verdict).to.equal(OTHER_SUBJECT);
    });

    it("lists all subjects of a file, oldest first, that which was asked for before them", async () => {
      const shared = file();
      const all: Evidence[] = [];
      for (let i = 0; i < 3; i++) all.push(await anchored({ subject: unique("c") }, shared));
      const ids = all.map(({ id }) => id);
      const any = await verify(client, {}, shared);
      expect(any.verdict).to.equal(VERIFIED);
      expect(anchors(any)).to.deep.equal(ids);
      const last = await verify(client, { subject: all[2]?.subject ?? "" }, shared);
      expect(last.verdict).to.equal(VERIFIED);
      expect(anchors(last)).to.deep.equal([ids[2], ids[0], ids[1]]);
    });

    it("knows the evidence that was asked for, however many subjects have the file", async () => {
      const digest = digestOf(file());
      const subjects = Array.from({ length: 102 }, () => unique("crowd"));
      const all = await Promise.all(
        subjects.map((subject) =>
          client.anchorEvidence({ subject, sha256: digest, waitFor: ANCHORED }),
        ),
      );
      const listed = anchors(await verify(client, { sha256: digest }));
      expect(listed).to.have.lengthOf(100);
      const unlisted = all.find(({ evidence: each }) => !listed.includes(each?.id ?? ""));
      const { id, subject = "", anchor } = unlisted?.evidence as Evidence;
      const answer = await verify(client, { subject, sha256: digest });
      expect(answer.verdict).to.equal(VERIFIED);
      expect(answer.anchors).to.have.lengthOf(100);
      expect(answer.anchors[0]).to.deep.include({ subject, evidenceId: id, anchor });
    });

    it("refuses a hash that is not that of the bytes", async () => {
      const refusal = await refusalOf(verify(client, { sha256: evidence.sha256 }, file()));
      expect(refusal).to.include({ reason: "ERROR_REASON_INVALID_FIELD" });
      expect(refusal.fields).to.deep.equal(["metadata.sha256"]);
      expect(refusal.message).to.include(evidence.sha256);
    });
  });

  describe("GetEvidence", () => {
    it("finds evidence by its subject and hash as well", async () => {
      const {
        id,
        subject,
        sha256: digest,
      } = await uploaded(client, { subject: unique("complaint") }, file());
      for (const request of [
        { id: id.toUpperCase() },
        { subject, sha256: digest },
        { subject: keyOf(subject), sha256: digest.toUpperCase() },
      ]) {
        expect((await client.getEvidence(request)).evidence?.id).to.equal(id);
      }
    });
  });

  describe("ListEvidence", () => {
    let subject: string;
    let ids: string[];
    let shared: string;

    before(async () => {
      subject = unique("complaint");
      ids = [];
      for (let i = 0; i < 5; i++) ids.push((await uploaded(client, { subject }, file())).id);
      const bytes = file();
      shared = digestOf(bytes);
      await client.anchorEvidence({ subject, sha256: shared });
      await uploaded(client, { subject: unique("complaint") }, bytes);
    });

    const listed = async (request: Parameters<EvidenceClient["listEvidence"]>[0]) =>
      (await client.listEvidence(request)).evidence.map(({ id }) => id);

    it("goes through the evidence of a subject page by page, in either order", async () => {
      for (const order of [ListOrder.OLDEST_FIRST, ListOrder.UNSPECIFIED]) {
        const seen: string[] = [];
        let pageToken = "";
        do {
          const page = await client.listEvidence({ subject, order, pageSize: 2, pageToken });
          seen.push(...page.evidence.map(({ id }) => id));
          ({ nextPageToken: pageToken } = page);
        } while (pageToken !== "");
        expect(seen).to.have.lengthOf(6);
        expect(
          order === ListOrder.OLDEST_FIRST ? seen : seen.toReversed(),
        ).to.include.ordered.members(ids);
      }
    });

    it("finds what has a hash, or whose file is in a state, and evidence by its bare key", async () => {
      expect(await listed({ sha256: shared.toUpperCase() })).to.have.lengthOf(2);
      expect(await listed({ sha256: shared, subject })).to.have.lengthOf(1);
      const contentState = ContentState.NONE;
      expect(await listed({ subject, contentState })).to.deep.equal(
        await listed({ sha256: shared, subject }),
      );
      expect(await listed({ subject: keyOf(subject) })).to.deep.equal(await listed({ subject }));
      expect(await listed({ subject: unique("nobody") })).to.deep.equal([]);
      await until("all is kept", async () => {
        const kept = await listed({ subject, contentState: ContentState.INTACT });
        return kept.length === 5;
      });
    });
  });

  describe("DownloadEvidence", () => {
    const size = 1_200_000;
    let bytes: Buffer;
    let id: string;

    before(async () => {
      bytes = file(size);
      ({ id } = await uploaded(client, { subject: unique("complaint") }, bytes));
    });

    it("gives any range of a file", async () => {
      const ranges = Array.from({ length: 15 }, () => {
        const offset = random.between(0, size);
        return { offset, length: random.between(0, size - offset) };
      });
      const edges = [
        { offset: 0, length: size },
        { offset: size, length: 0 },
        { offset: 262_144, length: 262_144 },
        { offset: 262_143, length: 2 },
        { offset: size - 1, length: 1 },
        { offset: 0, length: 0 },
      ];
      for (const { offset, length } of [...ranges, ...edges]) {
        const range = { offset: BigInt(offset), length: BigInt(length) };
        const got = await download(client, { id, ...range });
        const expected = bytes.subarray(offset, offset + length);
        expect(got.bytes.equals(expected), `${offset}+${length}`).to.equal(true);
      }
      const rest = await download(client, { id, offset: 1_000_000n });
      expect(rest.bytes.equals(bytes.subarray(1_000_000))).to.equal(true);
      expect((await download(client, { id, offset: BigInt(size) })).bytes).to.have.lengthOf(0);
    });

    it("sends no chunk over 256 KiB", async () => {
      for await (const { part } of client.downloadEvidence({ id })) {
        if (part.case === "chunk") expect(part.value.length).to.be.within(1, 262_144);
      }
    });

    it("takes it well when the caller leaves in the middle", async () => {
      for (let i = 0; i < 3; i++) {
        for await (const { part } of client.downloadEvidence({ id })) {
          if (part.case === "chunk") break;
        }
      }
      expect((await download(client, { id })).bytes.equals(bytes)).to.equal(true);
      expect(daemon.log()).not.to.include("a call failed");
    });
  });
}
