import { once } from "node:events";
import { connect } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { expect } from "chai";
import { EvidenceService } from "../../gen/ts/anchord/v1/evidence_service_pb.js";
import type { ContentState } from "../../gen/ts/anchord/v1/record_pb.js";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { hex, sha256 } from "../../src/core/bytes.js";
import { startDaemon } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { DOORS, GRPC_DOOR, HTTP_DOOR, refusalOf } from "../support/doors.js";
import type { AuditClient, Refusal } from "../support/doors.js";
import {
  download,
  evidenceClient,
  messages,
  randomFile,
  stagedBy,
  upload,
  uploaded,
  verify,
} from "../support/evidence.js";
import type { EvidenceClient, UploadMetadata, UploadPart } from "../support/evidence.js";
import { randomOf, seedOfRun } from "../support/random.js";
import { until } from "../support/until.js";

const METHODS = EvidenceService.method;

const MAX_BYTES = 2_000_000;

/** How a call must be refused. */
interface Expected {
  readonly code: string;
  readonly reason: string;
}

const INVALID_FIELD = { code: "InvalidArgument", reason: "INVALID_FIELD" } as const;
const TOO_LARGE = { code: "InvalidArgument", reason: "EVIDENCE_TOO_LARGE" } as const;
const NOT_FOUND = { code: "NotFound", reason: "EVIDENCE_NOT_FOUND" } as const;
const BAD_TOKEN = { code: "InvalidArgument", reason: "INVALID_PAGE_TOKEN" } as const;
const OUT_OF_BOUNDS = { code: "OutOfRange", reason: "RANGE_OUT_OF_BOUNDS" } as const;

const HELLO = Buffer.from("hello world\n");
const HELLO_CID = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4";
const HELLO_V0 = "QmZjTnYw2TFhn9Nn7tjmPSoTBoY7YRkwPzwSrSbabY24Kp";
const OTHER_CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";

const nobody = "0".repeat(64);
const digestOf = (bytes: Uint8Array) => hex(sha256(bytes));

/** What no metadata may have; each is refused before a byte is read. */
const BAD_METADATA: readonly [what: string, metadata: UploadMetadata, field: string][] = [
  ["no subject", { subject: "" }, "subject"],
  ["a subject over 256 characters", { subject: "x".repeat(257) }, "subject"],
  ["a line feed in the subject", { subject: "a\nb" }, "subject"],
  ["a DEL in the actor", { actor: "\u007f" }, "actor"],
  ["a tab in the request_id", { requestId: "a\tb" }, "request_id"],
  ["an unknown state to wait for", { waitFor: 9 as RecordState }, "wait_for"],
  ["a time in 1969", { occurTime: { seconds: -1n, nanos: 0 } }, "occur_time"],
  ["a file name with a folder", { fileName: "a/b.txt" }, "file_name"],
  ["a file name that climbs", { fileName: "../b.txt" }, "file_name"],
  ["a file name with a folder of Windows", { fileName: "a\\b.txt" }, "file_name"],
  ["a folder as a file name", { fileName: ".." }, "file_name"],
  ["this folder as a file name", { fileName: "." }, "file_name"],
  ["a NUL in the file name", { fileName: "a\0.txt" }, "file_name"],
  ["a line feed in the file name", { fileName: "a\n.txt" }, "file_name"],
  ["a file name over 255 characters", { fileName: "x".repeat(256) }, "file_name"],
  ["a media type without a subtype", { mediaType: "text" }, "media_type"],
  ["a media type with a line feed", { mediaType: "text/plain\n" }, "media_type"],
  ["a malformed id to derive from", { derivedFrom: "42" }, "derived_from"],
  ["a malformed hash", { sha256: "42" }, "sha256"],
  ["a CID that is none", { cid: "hello" }, "cid"],
  ["a CID that was cut", { cid: HELLO_CID.slice(0, -1) }, "cid"],
  ["a CID in two cases", { cid: `${HELLO_CID.slice(0, -1)}I` }, "cid"],
  ["a path with a CID", { cid: `/ipfs/${HELLO_CID}` }, "cid"],
  ["details over 64 KiB", { details: { x: "x".repeat(65_536) } }, "details"],
  ["details 33 levels deep", { details: nested(33) }, "details"],
];

function nested(levels: number): Record<string, never> {
  let inner = {};
  for (let level = 1; level < levels; level++) inner = { a: inner };
  return inner;
}

/** What was declared of HELLO, and is not so. */
const UNTRUE: readonly [
  what: string,
  metadata: UploadMetadata,
  field: string,
  ...says: string[],
][] = [
  ["another SHA-256", { sha256: "ab".repeat(32) }, "sha256", "ab".repeat(32), digestOf(HELLO)],
  ["a smaller size", { size: 11n }, "size", "11", "12"],
  ["size 0", { size: 0n }, "size", "0", "12"],
  ["a larger size", { size: 13n }, "size", "13", "12"],
  ["another CID", { cid: OTHER_CID }, "cid", OTHER_CID, HELLO_CID],
  ["its CID of version 0", { cid: HELLO_V0 }, "cid", HELLO_V0, HELLO_CID],
];

const part = {
  metadata: (value: UploadMetadata = {}): UploadPart => ({
    part: { case: "metadata", value: { subject: "complaint/1", ...value } },
  }),
  chunk: (value: Uint8Array = HELLO): UploadPart => ({ part: { case: "chunk", value } }),
};

describe("bad input of EvidenceService", function () {
  this.timeout(60_000);

  const seed = seedOfRun();
  const random = randomOf(seed);
  let daemon: Daemon;
  let audit: AuditClient;
  let known: string;

  before(async function () {
    this.timeout(120_000);
    console.log(`      seed ${seed}`);
    daemon = await startDaemon({ MAX_EVIDENCE_BYTES: String(MAX_BYTES) });
    audit = GRPC_DOOR.client(daemon);
    const client = evidenceClient(GRPC_DOOR, daemon);
    const metadata = { subject: "known", waitFor: RecordState.ANCHORED };
    known = (await uploaded(client, metadata, HELLO)).id;
    const hashed = { subject: "known", sha256: "ab".repeat(32) };
    await client.anchorEvidence({ ...hashed, waitFor: RecordState.ANCHORED });
  });

  after(() => daemon.stop());

  const recordsNow = async () => (await audit.getStats({})).records;

  /** Nothing of a call that was refused may stay. */
  async function leavesNothing<T>(call: () => Promise<T>): Promise<T> {
    const before = await recordsNow();
    const result = await call();
    expect(await recordsNow(), "records").to.equal(before);
    await until("nothing is staged", async () => (await stagedBy(daemon)).length === 0);
    return result;
  }

  async function expectRefused(
    call: () => Promise<unknown>,
    { code, reason }: Expected,
    ...fields: string[]
  ): Promise<Refusal> {
    const refusal = await leavesNothing(() => refusalOf(call()));
    const { message } = refusal;
    expect(refusal, message).to.include({ code, reason: `ERROR_REASON_${reason}` });
    expect(refusal.domain).to.equal("anchord");
    expect([...new Set(refusal.fields)].sort()).to.deep.equal([...fields].sort());
    return refusal;
  }

  for (const door of DOORS) {
    describe(`through the ${door.name} door`, () => {
      let client: EvidenceClient;

      before(() => (client = evidenceClient(door, daemon)));

      describe("UploadEvidence refuses", () => {
        const parts = (...all: UploadPart[]) => client.uploadEvidence(messages(...all));

        const misplaced: Readonly<Record<string, UploadPart[]>> = {
          "a stream without a message": [],
          "a chunk before the metadata": [part.chunk(), part.metadata()],
          "chunks alone": [part.chunk(), part.chunk()],
          "metadata twice": [part.metadata(), part.metadata()],
          "metadata again behind chunks": [part.metadata(), part.chunk(), part.metadata()],
        };
        for (const [what, all] of Object.entries(misplaced)) {
          it(what, () => expectRefused(() => parts(...all), INVALID_FIELD, "metadata"));
        }

        it("a message without a part, also behind chunks", async () => {
          await expectRefused(() => parts({}), INVALID_FIELD, "part");
          const late = [part.metadata(), part.chunk(), {}];
          await expectRefused(() => parts(...late), INVALID_FIELD, "part");
        });

        for (const [what, metadata, field] of BAD_METADATA) {
          it(what, () =>
            expectRefused(
              () => upload(client, { subject: "a", ...metadata }, HELLO),
              INVALID_FIELD,
              `metadata.${field}`,
            ),
          );
        }

        for (const [what, metadata, field, ...says] of UNTRUE) {
          it(`a file of which ${what} was declared, and says what came`, async () => {
            const call = () => upload(client, { subject: "a", ...metadata }, HELLO);
            const { message } = await expectRefused(call, INVALID_FIELD, `metadata.${field}`);
            for (const each of says) expect(message).to.include(each);
          });
        }

        it("a file of which several untrue things were declared, and names each", async () => {
          const declared = { sha256: nobody, size: 13n, cid: OTHER_CID };
          const fields = ["metadata.sha256", "metadata.size", "metadata.cid"];
          const call = () => upload(client, { subject: "a", ...declared }, HELLO);
          await expectRefused(call, INVALID_FIELD, ...fields);
        });

        it("a file whose declared size is over the limit, before it is read", async () => {
          for (const size of [BigInt(MAX_BYTES) + 1n, 2n ** 64n - 1n]) {
            let read = 0;
            const call = () =>
              client.uploadEvidence(
                (async function* () {
                  yield part.metadata({ size });
                  for (; read < 200; read++) yield part.chunk(new Uint8Array(100_000));
                })(),
              );
            const { metadata } = await expectRefused(call, TOO_LARGE);
            expect(metadata).to.include({ max_bytes: String(MAX_BYTES) });
          }
        });

        it("a file over the limit, and takes one of just as many bytes", async () => {
          const bytes = randomFile(random, MAX_BYTES + 1);
          const call = () => upload(client, { subject: "a" }, bytes);
          const { metadata } = await expectRefused(call, TOO_LARGE);
          expect(metadata).to.include({ max_bytes: String(MAX_BYTES) });
          const { size } = await uploaded(client, { subject: "a" }, bytes.subarray(1));
          expect(size).to.equal(BigInt(MAX_BYTES));
        });

        it("a chunk over what a message may have", () =>
          expectRefused(() => parts(part.metadata(), part.chunk(new Uint8Array(5_000_000))), {
            code: "ResourceExhausted",
            reason: "MESSAGE_TOO_LARGE",
          }));
      });

      describe("leaves nothing of an upload", () => {
        /** An upload that stops after its first bytes, until the test lets it go on. */
        function halted() {
          let resume: () => void = () => undefined;
          const resumed = new Promise<void>((resolve) => (resume = resolve));
          async function* parts(): AsyncGenerator<UploadPart> {
            yield part.metadata({ subject: "halted" });
            yield part.chunk(randomFile(random, 600_000));
            await resumed;
          }
          const staged = until("it is staged", async () => (await stagedBy(daemon)).length === 1);
          return { parts: parts(), staged, resume };
        }

        it("whose caller ends it in the middle", () =>
          leavesNothing(async () => {
            const { parts, staged, resume } = halted();
            const controller = new AbortController();
            const { signal } = controller;
            const ending = refusalOf(client.uploadEvidence(parts, { signal }));
            await staged;
            controller.abort();
            expect((await ending).code).to.equal("Canceled");
            resume();
          }));

        it("whose time is over", () =>
          leavesNothing(async () => {
            const { parts, staged, resume } = halted();
            const ending = refusalOf(client.uploadEvidence(parts, { timeoutMs: 2_000 }));
            await staged;
            expect((await ending).code).to.equal("DeadlineExceeded");
            resume();
          }));

        after("and makes no noise about it", () => {
          expect(daemon.log()).not.to.include("a call failed");
        });
      });

      describe("AnchorEvidence refuses", () => {
        const good = { subject: "a", sha256: digestOf(HELLO) };
        const rows: readonly [
          string,
          MessageInitShape<typeof METHODS.anchorEvidence.input>,
          string,
        ][] = [
          ...BAD_METADATA.map(([what, metadata, field]) => {
            const { requireContent: _, $typeName: __, ...rest } = metadata;
            return [what, { ...good, ...rest }, field] as [string, object, string];
          }),
          ["no hash", { subject: "a" }, "sha256"],
          ["the hash of nothing but zeros", { ...good, sha256: nobody }, "sha256"],
          ["the CID of another file", { ...good, cid: OTHER_CID }, "cid"],
          ["a size that cannot be counted", { ...good, size: 2n ** 53n }, "size"],
        ];
        for (const [what, request, field] of rows) {
          it(what, () => expectRefused(() => client.anchorEvidence(request), INVALID_FIELD, field));
        }
      });

      describe("VerifyEvidence refuses", () => {
        it("a stream that does not begin with metadata, or has it twice", async () => {
          const metadata = { part: { case: "metadata" as const, value: {} } };
          const chunk = { part: { case: "chunk" as const, value: HELLO } };
          for (const all of [[], [chunk], [metadata, metadata], [metadata, chunk, metadata]]) {
            const call = () => client.verifyEvidence(messages(...all));
            await expectRefused(call, INVALID_FIELD, "metadata");
          }
        });

        it("a malformed subject or hash", async () => {
          const call = () => verify(client, { subject: "a\n", sha256: "42" });
          await expectRefused(call, INVALID_FIELD, "metadata.subject", "metadata.sha256");
        });

        it("a file over the limit", () =>
          expectRefused(() => verify(client, {}, new Uint8Array(MAX_BYTES + 1)), TOO_LARGE));
      });

      describe("refuses", () => {
        const get = (request: MessageInitShape<typeof METHODS.getEvidence.input>) => () =>
          client.getEvidence(request);
        const list = (request: MessageInitShape<typeof METHODS.listEvidence.input>) => () =>
          client.listEvidence(request);
        const fetch =
          (rest: { readonly offset?: bigint; readonly length?: bigint }, id = () => known) =>
          () =>
            download(client, { id: id(), ...rest });
        const whole = { sha256: digestOf(HELLO) };
        const rows: readonly [what: string, () => Promise<unknown>, Expected, ...string[]][] = [
          ["to get nothing", get({}), INVALID_FIELD, "subject", "sha256"],
          ["to get a malformed id", get({ id: "42" }), INVALID_FIELD, "id"],
          ["to get a subject alone", get({ subject: "known" }), INVALID_FIELD, "sha256"],
          ["to get a hash alone", get(whole), INVALID_FIELD, "subject"],
          ["to get an id and a subject", get({ id: nobody, subject: "a" }), INVALID_FIELD, "id"],
          ["to get an id and a hash", get({ id: nobody, ...whole }), INVALID_FIELD, "id"],
          ["to get an unknown id", get({ id: nobody }), NOT_FOUND],
          ["to get an unknown hash", get({ subject: "known", sha256: nobody }), NOT_FOUND],
          ["to get an unknown subject", get({ subject: "?", ...whole }), NOT_FOUND],
          ["to list a malformed hash", list({ sha256: "ab" }), INVALID_FIELD, "sha256"],
          ["a negative page size", list({ pageSize: -1 }), INVALID_FIELD, "page_size"],
          [
            "to list an unknown state",
            list({ contentState: 9 as ContentState }),
            INVALID_FIELD,
            "content_state",
          ],
          ["a page token that is none", list({ pageToken: "next" }), BAD_TOKEN],
          ["to download without an id", fetch({}, () => ""), INVALID_FIELD, "id"],
          ["to download an unknown id", fetch({}, () => nobody), NOT_FOUND],
          ["an offset behind the end", fetch({ offset: 13n }), OUT_OF_BOUNDS],
          ["a range over the end", fetch({ offset: 12n, length: 1n }), OUT_OF_BOUNDS],
          [
            "a range that no number holds",
            fetch({ offset: 2n ** 64n - 1n, length: 2n ** 64n - 1n }),
            OUT_OF_BOUNDS,
          ],
        ];
        for (const [what, call, expected, ...fields] of rows) {
          it(what, () => expectRefused(call, expected, ...fields));
        }

        it("a page token with another filter or order", async () => {
          const request = { subject: "known", pageSize: 1 };
          const { nextPageToken: pageToken } = await client.listEvidence(request);
          expect(pageToken).not.to.equal("");
          for (const other of [{ pageToken }, { ...request, order: 2, pageToken }]) {
            const refusal = await refusalOf(client.listEvidence(other));
            expect(refusal.reason).to.equal("ERROR_REASON_INVALID_PAGE_TOKEN");
          }
        });

        it("a range out of bounds, and names the size", async () => {
          const { metadata } = await expectRefused(fetch({ length: 13n }), OUT_OF_BOUNDS);
          expect(metadata).to.include({ size: "12" });
        });
      });
    });
  }

  it("leaves nothing of an upload over HTTP whose connection is cut", () =>
    leavesNothing(async () => {
      const body = (...parts: UploadPart[]) =>
        Buffer.concat(
          parts.map((each) => {
            const message = toBinary(
              METHODS.uploadEvidence.input,
              create(METHODS.uploadEvidence.input, each),
            );
            const head = Buffer.alloc(5);
            head.writeUInt32BE(message.length, 1);
            return Buffer.concat([head, message]);
          }),
        );
      const bytes = body(part.metadata({ subject: "cut" }), part.chunk(new Uint8Array(500_000)));
      const socket = connect(daemon.httpPort, "127.0.0.1");
      await once(socket, "connect");
      socket.write(
        `POST /${EvidenceService.typeName}/UploadEvidence HTTP/1.1\r\nhost: localhost\r\n` +
          "content-type: application/connect+proto\r\nconnect-protocol-version: 1\r\n" +
          `transfer-encoding: chunked\r\n\r\n${bytes.length.toString(16)}\r\n`,
      );
      socket.write(bytes);
      socket.write("\r\n");
      await until("it is staged", async () => (await stagedBy(daemon)).length === 1);
      socket.destroy();
      await once(socket, "close");
      await until("nothing is staged", async () => (await stagedBy(daemon)).length === 0);
      expect(daemon.log()).not.to.include("a call failed");
    }));

  it("lets a caller over HTTP go on with its connection after a refusal halfway", async () => {
    const client = evidenceClient(HTTP_DOOR, daemon);
    for (let i = 0; i < 20; i++) {
      const refusal = await refusalOf(upload(client, { subject: "a", size: 1n }, HELLO));
      expect(refusal.reason).to.equal("ERROR_REASON_INVALID_FIELD");
      await client.listEvidence({});
    }
  });
});
