import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import type { DescMessage, JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import canonicalize from "canonicalize";
import { expect } from "chai";
import fc from "fast-check";
import type { Entry } from "../../gen/ts/anchord/v1/receipt_pb.js";
import {
  ComplaintSchema,
  ConfigChangeSchema,
  ContentStateSchema,
  CustomSchema,
  DeadlineExtendedSchema,
  DeadlineMetSchema,
  DeadlinePausedSchema,
  DeadlineRefusedSchema,
  DeadlineResumedSchema,
  DeadlineSetSchema,
  EvidenceAddedSchema,
  EvidenceCheckedSchema,
  LevelRaisedSchema,
  LoginSchema,
  OrderSchema,
  Side,
  SideSchema,
  SystemChangeSchema,
  ThreatScale,
  ThreatScaleSchema,
  ThreatSchema,
  ThreatSeveritySchema,
  TradeSchema,
} from "../../gen/ts/anchord/v1/record_pb.js";
import { hex } from "../../src/core/bytes.js";
import { looksLikeCertificate } from "../../src/core/certificate-json.js";
import { decodeEntry, encodeRecord } from "../../src/core/record.js";
import type { Body, RecordDraft } from "../../src/core/record.js";
import { web3Chain } from "../../src/chain/web3.js";
import {
  certificateVector,
  certificateVectors,
  checkCertificateText,
  expectationArgs,
} from "../support/certificates.js";
import type { CertificateVector } from "../support/certificates.js";
import { run } from "../support/run.js";
import type { Ended } from "../support/run.js";
import { serveChain } from "../support/scripted-chain.js";
import { chainScript, checkText, receiptVector, vectors } from "../support/vectors.js";
import type { ReceiptVector } from "../support/vectors.js";

const PYTHON = process.env["PYTHON"] ?? "python3";
const SCRIPT = "examples/verify.py";

/** What verify.py --json prints. */
interface Result {
  readonly verdict: string;
  readonly failed_step: string | null;
  readonly message: string;
  readonly passed: readonly string[];
  readonly record: Readonly<Record<string, string>> | null;
  readonly block_time: string | null;
  readonly trusted: readonly string[];
}

/** Feeds lines to a snippet that has verify.py as the module `verify`; returns the lines it prints. */
async function feed(snippet: string, lines: readonly string[]): Promise<string[]> {
  const program = `
import sys, json
sys.dont_write_bytecode = True
sys.path.insert(0, "examples")
import verify
${snippet}
`;
  const { code, stdout, stderr } = await run(
    PYTHON,
    ["-c", program],
    lines.map((line) => `${line}\n`).join(""),
  );
  expect(code, stderr).to.equal(0);
  return stdout.trimEnd().split("\n");
}

/** Prints each entry of standard input as JSON, bytes in hex, numbers as text; or null if refused. */
const DECODE = `
def plain(value):
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        import struct
        return struct.pack(">d", value).hex()
    return value if isinstance(value, (bool, str)) else str(value)
for line in sys.stdin:
    try:
        print(json.dumps(plain(verify.decode_entry(bytes.fromhex(line.strip())))))
    except ValueError:
        print("null")
`;

/** Prints the verdict on each text of standard input, or the step that failed, on a chain of vectors. */
const checking = (file: string, chain: string) => `
class Scripted(verify.Chain):
    def ask(self, method, params, read):
        if method == "eth_chainId":
            return read(script["chainId"])
        if method == "eth_getTransactionReceipt":
            return read(script["transactions"].get(params[0]))
        if method == "eth_getLogs":
            return read([log for log in script.get("logs", []) if log["address"] == params[0]["address"]
                         and int(log["blockNumber"], 16) >= int(params[0]["fromBlock"], 16)])
        if method == "eth_getBlockByNumber":
            return read(script["blocks"].get(params[0]))
        found = [c for c in script["calls"] if (c["to"], c["data"]) == (params[0]["to"], params[0]["data"])]
        return read(found[0].get("result", "0x") if found else "0x")
script = json.load(open("docs/vectors/${file}.json", encoding="utf-8"))["chains"]["${chain}"]
for line in sys.stdin:
    try:
        print(verify.check(json.loads(line), Scripted(""), {}, {"passed": verify.Steps()}))
    except verify.Failed as failure:
        print(failure.args[0])
`;

const BODY_ENUMS: Readonly<
  Record<string, { values: readonly { number: number; name: string }[] }>
> = {
  side: SideSchema,
  scale: ThreatScaleSchema,
  severity: ThreatSeveritySchema,
  state: ContentStateSchema,
  previousState: ContentStateSchema,
};

/** Numbers that are no doubles and no enums. */
const INTEGERS: ReadonlySet<string> = new Set(["cycle", "level"]);

/** A time or a duration in the form that DECODE prints. */
function time(value: Pick<Timestamp, "seconds" | "nanos"> | undefined): unknown {
  return { seconds: String(value?.seconds), nanos: String(value?.nanos) };
}

/** An entry in the form that DECODE prints. */
function plain(entry: Entry): unknown {
  const { case: name, value } = entry.body as Body;
  const fields = Object.entries(value).flatMap(
    ([key, field]: [string, unknown]): [string, unknown][] => {
      if (key.startsWith("$") || field === undefined) return [];
      if (typeof field === "bigint" || INTEGERS.has(key)) return [[snake(key), String(field)]];
      if (Array.isArray(field)) return [[snake(key), (field as Timestamp[]).map(time)]];
      if (typeof field === "object") return [[snake(key), time(field as Timestamp)]];
      if (typeof field !== "number") return [[snake(key), field]];
      const known = BODY_ENUMS[key];
      if (known === undefined) {
        const bits = Buffer.alloc(8);
        bits.writeDoubleBE(field);
        return [[snake(key), hex(bits)]];
      }
      return [
        [snake(key), known.values.find(({ number }) => number === field)?.name ?? String(field)],
      ];
    },
  );
  return {
    salt: hex(entry.salt),
    accept_time: time(entry.acceptTime),
    caller: entry.caller,
    request_id: entry.requestId,
    request_hash: hex(entry.requestHash),
    subject: entry.subject,
    actor: entry.actor,
    occur_time: time(entry.occurTime),
    details: entry.details,
    [snake(name)]: Object.fromEntries(fields),
  };
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

describe("examples/verify.py", function () {
  this.timeout(120_000);
  let node: Awaited<ReturnType<typeof serveChain>>;
  let certificateNode: Awaited<ReturnType<typeof serveChain>>;
  let directory: string;

  before(async () => {
    node = await serveChain((name) => vectors.chains[name]);
    certificateNode = await serveChain((name) => certificateVectors.chains[name]);
    directory = await mkdtemp(join(tmpdir(), "anchord-verify-"));
  });
  after(async () => {
    await node.close();
    await certificateNode.close();
    await rm(directory, { recursive: true });
  });

  function verify(vector: ReceiptVector, ...options: string[]): Promise<Ended> {
    const rpc = `${node.url}/${vector.chain}`;
    const args = [SCRIPT, "-", "--rpc", rpc, ...expectationArgs(vector.expect), ...options];
    return run(PYTHON, args, JSON.stringify(vector.receipt));
  }

  function verifyCertificate(vector: CertificateVector, ...options: string[]): Promise<Ended> {
    const rpc = `${certificateNode.url}/${vector.chain}`;
    const args = [SCRIPT, "-", "--rpc", rpc, ...expectationArgs(vector.expect), ...options];
    return run(PYTHON, args, JSON.stringify(vector.certificate));
  }

  describe("over every vector", () => {
    const results = new Map<string, Promise<Ended>>();
    before(async () => {
      const waiting = [...vectors.receipts];
      const work = async () => {
        for (let vector = waiting.shift(); vector; vector = waiting.shift()) {
          results.set(vector.name, verify(vector, "--json"));
          await results.get(vector.name);
        }
      };
      await Promise.all([work(), work(), work()]);
    });

    for (const vector of vectors.receipts) {
      it(`${vector.name}: ${vector.failedStep ?? vector.verdict}`, async () => {
        const ended = (await results.get(vector.name)) as Ended;
        expect(ended.stderr).to.equal("");
        const result = JSON.parse(ended.stdout) as Result;
        expect(result.verdict).to.equal(vector.verdict);
        expect(result.failed_step).to.equal(vector.failedStep);
        expect(ended.code).to.equal(vector.exitCode);
      });
    }
  });

  it("decodes every entry as the core does", async () => {
    const found = await feed(
      DECODE,
      vectors.entries.map((entry) => entry.hex),
    );
    expect(found).to.have.lengthOf(vectors.entries.length);
    for (const [i, { name, hex: text }] of vectors.entries.entries()) {
      expect(JSON.parse(found[i] ?? ""), name).to.deep.equal(
        plain(decodeEntry(Buffer.from(text, "hex"))),
      );
    }
  });

  it("refuses every entry that is to be refused", async () => {
    const found = await feed(
      DECODE,
      vectors.refusedEntries.map((entry) => entry.hex),
    );
    const accepted = vectors.refusedEntries.filter((_, i) => found[i] !== "null");
    expect(accepted).to.deep.equal([]);
    expect(found).to.have.lengthOf(vectors.refusedEntries.length);
  });

  it("decodes random entries, and entries with a flipped bit, as the core does", async () => {
    const seed = Date.now() % 2 ** 31;
    console.log(`      seed ${seed}`);
    const entries = fc
      .sample(fc.tuple(arbitraryDraft, fc.nat()), { seed, numRuns: 600 })
      .flatMap(([draft, at]) => {
        const { entry } = encodeRecord(draft, { scale: ThreatScale.HUNDRED });
        const flipped = Uint8Array.from(entry);
        const byte = (at >> 3) % entry.length;
        flipped[byte] = (entry[byte] as number) ^ (1 << (at & 7));
        return [entry, flipped];
      });
    const found = await feed(DECODE, entries.map(hex));
    for (const [i, entry] of entries.entries()) {
      let expected: unknown = null;
      try {
        expected = plain(decodeEntry(entry));
      } catch {
        expect(i % 2, `entry ${hex(entry)} is refused`).to.equal(1);
      }
      expect(JSON.parse(found[i] ?? ""), `seed ${seed}, entry ${hex(entry)}`).to.deep.equal(
        expected,
      );
    }
  });

  it("gives the core's verdict and step on receipts that were tampered with", async () => {
    const seed = Date.now() % 2 ** 31;
    console.log(`      seed ${seed}`);
    const valid = vectors.receipts.filter(({ verdict }) => verdict !== "invalid");
    const texts = tampered(
      valid.map((vector) => JSON.stringify(vector.receipt)),
      { seed, numRuns: 4000 },
    );
    const chain = "work_raised_before";
    const snippet = checking("receipts", chain);
    const found = await feed(
      snippet,
      texts.map((text) => JSON.stringify(text)),
    );
    const steps = new Set<string>();
    for (const [i, text] of texts.entries()) {
      const ours = await checkText(text, chainScript(chain));
      const expected = ours.verdict === "invalid" ? ours.step : ours.verdict;
      steps.add(expected);
      expect(found[i], `seed ${seed}, ${text}`).to.equal(expected);
    }
    expect([...steps]).to.include.members(["format", "entry", "root", "head", "anchor", "work"]);
  });

  it("gives the core's verdict and step on certificates that were tampered with", async () => {
    const seed = Date.now() % 2 ** 31;
    console.log(`      seed ${seed}`);
    const chain = web3Chain(`${certificateNode.url}/registry`);
    const { slaCycle } = chain;
    // Of deadlines that are not scripted, the node does not say as a registry does that there are none.
    chain.slaCycle = (...which) => slaCycle(...which).catch(() => undefined);
    const valid = certificateVectors.certificates.filter(({ verdict }) => verdict === "valid");
    const texts = tampered(
      valid.map(({ certificate }) => JSON.stringify(certificate)),
      { seed, numRuns: 1500 },
    );
    const found = await feed(
      checking("sla-certificates", "registry"),
      texts.map((text) => JSON.stringify(text)),
    );
    const steps = new Set<string>();
    for (const [i, text] of texts.entries()) {
      const isCertificate = looksLikeCertificate(text);
      const ours = isCertificate
        ? await checkCertificateText(text, chain)
        : await checkText(text, chainScript("log"));
      const expected = ours.verdict === "invalid" ? ours.step : ours.verdict;
      steps.add(expected);
      expect(found[i], `seed ${seed}, ${text}`).to.equal(expected);
    }
    expect([...steps]).to.include.members(["format", "verdict", "cycle", "set/entry", "set/root"]);
  });

  describe("over every vector of certificates", () => {
    for (const vector of certificateVectors.certificates) {
      it(`${vector.name}: ${vector.failedStep ?? vector.verdict}`, async () => {
        const ended = await verifyCertificate(vector, "--json");
        expect(ended.stderr).to.equal("");
        const result = JSON.parse(ended.stdout) as Result;
        expect([result.verdict, result.failed_step, ended.code]).to.deep.equal([
          vector.verdict,
          vector.failedStep,
          vector.exitCode,
        ]);
      });
    }
  });

  it("prints a certificate, the records that it proves, each step and how the deadline ended", async () => {
    const { stdout } = await verifyCertificate(certificateVector("valid_met_in_time"));
    expect(stdout).to.match(/^subject +complaint\/ABC12345$/m);
    expect(stdout).to.match(/^deadline +2026-02-03T12:00:00Z$/m);
    expect(stdout).to.match(/^set\.deadline_set\.ladder +0 s, 86400 s, 259200 s$/m);
    expect(stdout).to.match(/^meet\.deadline_met\.reason +paid back$/m);
    expect(stdout).to.match(/^cycle +ok\nblock +ok\nset\/format +ok$/m);
    expect(stdout).to.match(/^set +ok\nmeet\/format +ok$/m);
    expect(stdout).to.match(/^VALID: the deadline .* was met in time, at 2026-02-03T11:59:59Z /m);
    expect(stdout).to.include("--chain-id, --contract, --log, --registry");
    const since = await verifyCertificate(certificateVector("valid_met_since"));
    expect(since.stdout).to.match(/was broken, at 2026-03-01T12:00:00Z .*met late since, at 2026-/);
    expect(since.stdout).to.include("not given: --chain-id, --registry");
  });

  it("ends with 2 where a registry is expected of a receipt", async () => {
    const registry = ["--registry", `0x${"00".repeat(20)}`];
    const { code, stderr } = await verify(receiptVector("valid_threat"), ...registry);
    expect(code).to.equal(2);
    expect(stderr).to.include("--registry is for certificates");
  });

  it("writes numbers as RFC 8785 asks", async () => {
    const seed = Date.now() % 2 ** 31;
    console.log(`      seed ${seed}`);
    const anyDouble = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((bits) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64BE(bits);
      return bytes.readDoubleBE();
    });
    const power = fc.tuple(fc.integer({ min: -330, max: 308 }), fc.integer({ min: 1, max: 99999 }));
    const numbers = [
      ...fc.sample(anyDouble, { seed, numRuns: 5000 }),
      ...fc.sample(fc.double(), { seed, numRuns: 1000 }),
      ...fc
        .sample(power, { seed, numRuns: 2000 })
        .map(([exponent, factor]) => Number(`${factor}e${exponent}`)),
    ].filter(Number.isFinite);
    const bits = numbers.map((value) => {
      const bytes = Buffer.alloc(8);
      bytes.writeDoubleBE(value);
      return hex(bytes);
    });
    const snippet = `
import struct
for line in sys.stdin:
    print(verify.canonical_number(struct.unpack(">d", bytes.fromhex(line.strip()))[0]))
`;
    expect(await feed(snippet, bits)).to.deep.equal(numbers.map((value) => canonicalize(value)));
  });

  it("prints the record from its entry, each step, the verdict and the block's time", async () => {
    const { code, stdout } = await verify(receiptVector("valid_threat_all"));
    expect(code).to.equal(0);
    const at = (text: string) => {
      expect(stdout).to.include(text);
      return stdout.indexOf(text);
    };
    expect(stdout).to.match(/^id +[0-9a-f]{64}\n/);
    expect(stdout).to.match(/^threat\.score +92\.5$/m);
    expect(stdout).to.match(/^threat\.duration_minutes +18\.7$/m);
    expect(stdout).to.match(/^threat\.severity +THREAT_SEVERITY_CRITICAL$/m);
    expect(stdout).to.match(/^details +\{"model":"m-7","signals":\["velocity","geo"\]\}$/m);
    const steps = [
      "format",
      "entry",
      "identity",
      "contract",
      "path",
      "root",
      "batch",
      "head",
      "anchor",
      "work",
    ];
    const lines = steps.map((step) => at(`\n${step.padEnd(24)} ok`));
    expect(lines).to.deep.equal([...lines].sort((a, b) => a - b));
    at("\nVALID: the record existed by 2026-02-01T00:00:00Z");
    at("--chain-id, --contract, --log");
  });

  it("prints evidence, its size only where it has one", async () => {
    const lines = async (name: string) => {
      const { stdout } = await verify(receiptVector(name));
      return stdout.split("\n").map((line) => line.replace(/ +/, " "));
    };
    expect(await lines("valid_evidence_added")).to.include.members([
      "evidence_added.size 21",
      "evidence_added.file_name scän.txt",
      "evidence_added.media_type text/plain",
      "evidence_added.content_kept True",
      'details {"pages":12,"source":{"scanner":"s-1"}}',
    ]);
    expect(await lines("valid_evidence_added_empty_file")).to.include("evidence_added.size 0");
    const hashAlone = await lines("valid_evidence_added_hash");
    expect(hashAlone).to.include("evidence_added.content_kept False");
    expect(hashAlone.join("\n")).not.to.include("evidence_added.size");
    expect(await lines("valid_evidence_checked")).to.include.members([
      "evidence_checked.state CONTENT_STATE_ALTERED",
      "evidence_checked.previous_state CONTENT_STATE_INTACT",
      "evidence_checked.size 21",
    ]);
  });

  it("prints times to the nanosecond", async () => {
    const { stdout } = await verify(receiptVector("valid_threat"));
    expect(stdout).to.match(/^occur_time +2026-01-31T23:41:12\.345678901Z$/m);
    expect(stdout).to.match(/^accept_time +2026-01-31T23:59:58\.125Z$/m);
  });

  it("prints times that no calendar has as numbers", async () => {
    const entry = vectors.entries.find(({ name }) => name === "odd_time_beyond_calendars");
    const bare = {
      ...receiptVector("bare"),
      receipt: { entry: Buffer.from(entry?.hex ?? "", "hex").toString("base64") },
    };
    const { code, stdout } = await verify(bare);
    expect(code).to.equal(3);
    expect(stdout).to.match(/^accept_time +9223372036854775807 s and -1 ns after 1970$/m);
  });

  it("escapes what could deceive on a terminal", async () => {
    const { stdout } = await verify(receiptVector("valid_config_change"));
    expect(stdout).to.include("ten\\nlines\\x00\\ufeff\u{1f600}");
  });

  it("prints the steps before the failed one, and no further one", async () => {
    const { stdout } = await verify(receiptVector("root_other_trail_index"));
    expect(stdout).to.match(/^path +ok\nroot +FAILED\n\nINVALID: /m);
    expect(stdout).not.to.match(/^batch /m);
  });

  it("names what it trusts only as far as it was not told", async () => {
    const result = JSON.parse(
      (await verify(receiptVector("valid_expected"), "--json")).stdout,
    ) as Result;
    expect(result.trusted).to.have.lengthOf(1);
    const open = JSON.parse(
      (await verify(receiptVector("valid_threat"), "--json")).stdout,
    ) as Result;
    expect(open.trusted[1]).to.include("--chain-id, --contract, --log");
    // An address may hold a key to the node, and reports are passed on.
    expect(open.trusted[0]).to.include("127.0.0.1").and.not.to.include("/log");
  });

  it("reads a file, and ends with 2 where it cannot", async () => {
    const file = join(directory, "receipt.json");
    await writeFile(file, JSON.stringify(receiptVector("valid_threat").receipt));
    expect((await run(PYTHON, [SCRIPT, file, "--rpc", `${node.url}/log`])).code).to.equal(0);
    const missing = await run(PYTHON, [SCRIPT, join(directory, "none.json"), "--rpc", node.url]);
    expect(missing.code).to.equal(2);
    expect(missing.stderr).to.include("none.json");
    const isDirectory = await run(PYTHON, [SCRIPT, directory, "--rpc", node.url]);
    expect(isDirectory.code).to.equal(2);
  });

  it("ends with 2 on bad arguments", async () => {
    for (const args of [
      [],
      ["-"],
      ["-", "--rpc", "node:8545"],
      ["-", "--rpc", "http://"],
      ["-", "--rpc", "http://["],
      ["-", "--rpc", "http://node:port"],
      ["-", "--rpc", node.url, "--chain-id", "one"],
      ["-", "--rpc", node.url, "--contract", "0x12"],
      ["-", "--rpc", node.url, "--unknown"],
    ]) {
      const { code, stderr } = await run(PYTHON, [SCRIPT, ...args]);
      expect(code, args.join(" ")).to.equal(2);
      expect(stderr).to.include("usage: ");
    }
  });

  it("fails at format where the text is not JSON", async () => {
    for (const text of ["", "{", "\ufeff{}", '{"entry":NaN}', "[".repeat(100_000)]) {
      const { code, stdout } = await run(PYTHON, [SCRIPT, "-", "--rpc", node.url, "--json"], text);
      expect(code).to.equal(1);
      expect((JSON.parse(stdout) as Result).failed_step).to.equal("format");
    }
  });

  it("ends with 4 where the RPC node is out of reach or talks nonsense", async () => {
    const receipt = JSON.stringify(receiptVector("valid_threat").receipt);
    const nonsense = { ...chainScript("log"), chainId: "one" };
    const refusing = {
      ...chainScript("log"),
      calls: chainScript("log").calls.map(({ to, data }) => ({
        to,
        data,
        error: { code: -32005, message: "rate limit" },
      })),
    };
    const searchless = {
      ...chainScript("work_raised_after"),
      logs: { error: { code: -32005, message: "at most 100 blocks" } },
    };
    const odd = await serveChain((name) => ({ nonsense, refusing, searchless })[name]);
    try {
      for (const url of [
        "http://127.0.0.1:1",
        `${node.url}/none`,
        `${odd.url}/nonsense`,
        `${odd.url}/refusing`,
        `${odd.url}/searchless`,
      ]) {
        const { code, stdout } = await run(PYTHON, [SCRIPT, "-", "--rpc", url, "--json"], receipt);
        expect(code, url).to.equal(4);
        const result = JSON.parse(stdout) as Result;
        expect(result.verdict).to.equal("unreachable");
        expect(result.record?.["subject"]).to.equal("user/42");
      }
      const ours = web3Chain(`${odd.url}/searchless`).difficultyChanges(`0x${"00".repeat(20)}`, 1);
      const refused = await ours.catch((error: unknown) => error);
      expect(refused).to.include({ reason: "CHAIN_UNAVAILABLE" });
      expect(String(refused)).to.match(/from block 1 on \(.*100 blocks.*\).*: ask another node$/);
    } finally {
      await odd.close();
    }
  });

  it("asks no node about a bare receipt, and ends with 3", async () => {
    const receipt = JSON.stringify(receiptVector("bare").receipt);
    const { code, stdout } = await run(
      PYTHON,
      [SCRIPT, "-", "--rpc", "http://127.0.0.1:1"],
      receipt,
    );
    expect(code).to.equal(3);
    expect(stdout).to.include("NOT-ANCHORED: ");
  });

  it("imports the standard library alone", async () => {
    const { code, stderr } = await run(PYTHON, ["-I", "-S", SCRIPT, "--help"]);
    expect(code, stderr).to.equal(0);
  });
});

// ---- Random tampering and random drafts ------------------------------------------------------------------------------

/** Texts that were changed once or twice. */
function tampered(
  valid: readonly string[],
  options: { readonly seed: number; readonly numRuns: number },
): string[] {
  const changes = fc.array(fc.tuple(fc.nat(), fc.nat(), tampering), { minLength: 1, maxLength: 2 });
  return fc
    .sample(fc.tuple(fc.nat(), changes), options)
    .map(([which, made]) =>
      made.reduce<string>(
        (text, [at, more, change]) => change(text, at % text.length, more),
        valid[which % valid.length] as string,
      ),
    );
}

type Tampering = (text: string, at: number, more: number) => string;

/** Changes of a receipt's JSON: most of them keep it JSON, and reach the later steps. */
const tampering: fc.Arbitrary<Tampering> = fc.constantFrom<Tampering[]>(
  (text, at, more) =>
    text.slice(0, at) + String.fromCharCode(32 + (more % 95)) + text.slice(at + 1),
  (text, at) => text.slice(0, at) + text.slice(at + 1),
  (text, at, more) =>
    text.slice(0, at) + '0123456789abcdefABC+/=":,{}[] '[more % 31] + text.slice(at),
  // another digit or letter in place of one, of the same kind
  (text, at, more) => {
    const place = text.slice(at).search(/[0-9a-f](?=[0-9a-f]{3})/) + at;
    return text.slice(0, place) + "0123456789abcdef"[more % 16] + text.slice(place + 1);
  },
  // one value of the receipt in place of another
  (text, at, more) => {
    const values = [...text.matchAll(/:("[^"]*")/g)];
    const [to, from] = [values[at % values.length], values[more % values.length]];
    if (to === undefined || from === undefined) return text;
    return text.slice(0, to.index) + from[0] + text.slice(to.index + to[0].length);
  },
  // without one of its members
  (text, at) => {
    const members = [...text.matchAll(/"[a-zA-Z]+":("[^"]*"|\[[^\]]*\]|\{[^{}]*\}),?/g)];
    const member = members[at % members.length];
    if (member === undefined) return text;
    const left = text.slice(0, member.index) + text.slice(member.index + member[0].length);
    return left.replaceAll(",}", "}");
  },
);

const text = (maxLength: number) => fc.string({ unit: "binary", maxLength });
const amount = fc.double({ min: 0, noNaN: true, noDefaultInfinity: true });
const side = fc.constantFrom(Side.UNSPECIFIED, Side.BUY, Side.SELL);
const size = fc.oneof(fc.constant(0n), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }));
const contentState = fc.constantFrom(...ContentStateSchema.values.map(({ number }) => number));
const free: fc.Arbitrary<JsonObject | undefined> = fc.option(
  fc
    .dictionary(
      fc.oneof(text(8), fc.constantFrom("__proto__", "10", "9")),
      fc.jsonValue({ stringUnit: "binary" }),
    )
    .map((value) => JSON.parse(JSON.stringify(value)) as JsonObject),
  { nil: undefined },
);

/** A body of that kind with random fields; a free part that is undefined is left out. */
function body<Desc extends DescMessage>(
  name: Body["case"],
  schema: Desc,
  fields: Record<string, fc.Arbitrary<unknown>>,
): fc.Arbitrary<Body> {
  return fc.record(fields).map(
    (value) =>
      ({
        case: name,
        value: create(
          schema,
          Object.fromEntries(
            Object.entries(value).filter(([, field]) => field !== undefined),
          ) as MessageInitShape<Desc>,
        ),
      }) as unknown as Body,
  );
}

const deal = {
  symbol: text(20),
  side,
  quantity: amount,
  price: fc.double({ noNaN: true, noDefaultInfinity: true }),
};
const arbitraryTime = fc
  .tuple(fc.integer({ min: 0, max: 7258118399 }), fc.nat(999_999_999))
  .map(([seconds, nanos]) => create(TimestampSchema, { seconds: BigInt(seconds), nanos }));
const optionalTime = fc.option(arbitraryTime, { nil: undefined });
const ladder = fc.array(
  fc
    .tuple(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.integer())
    .map(([seconds, nanos]) => create(DurationSchema, { seconds, nanos })),
  { maxLength: 8 },
);
const count = fc.nat(2 ** 31 - 1).map((half) => 2 * half + (half % 2));
const arbitraryBody: fc.Arbitrary<Body> = fc.oneof(
  body("threat", ThreatSchema, {
    score: fc.double({ min: 0, max: 1, noNaN: true }),
    durationMinutes: amount,
    scale: fc.constantFrom(ThreatScale.UNSPECIFIED, ThreatScale.HUNDRED, ThreatScale.UNIT),
    details: free,
  }),
  body("trade", TradeSchema, { tradeId: text(20), ...deal, orderType: text(9), details: free }),
  body("order", OrderSchema, {
    orderId: text(20),
    ...deal,
    orderType: text(9),
    status: text(9),
    details: free,
  }),
  body("systemChange", SystemChangeSchema, {
    component: text(20),
    changeType: text(9),
    details: free,
  }),
  body("login", LoginSchema, {
    user: text(9),
    success: fc.boolean(),
    source: text(9),
    method: text(9),
    details: free,
  }),
  body("configChange", ConfigChangeSchema, {
    key: text(9),
    oldValue: text(200),
    newValue: text(200),
    details: free,
  }),
  body("complaint", ComplaintSchema, {
    eventType: text(9),
    assignee: text(9),
    status: text(9),
    details: free,
  }),
  body("custom", CustomSchema, { type: text(9).map((type) => `x${type}`), data: free }),
  body("evidenceAdded", EvidenceAddedSchema, {
    sha256: text(64),
    cid: text(59),
    size: fc.option(size, { nil: undefined }),
    fileName: text(20),
    mediaType: text(20),
    derivedFrom: text(64),
    contentKept: fc.boolean(),
    details: free,
  }),
  body("evidenceChecked", EvidenceCheckedSchema, {
    evidenceId: text(64),
    sha256: text(64),
    cid: text(59),
    state: contentState,
    previousState: contentState,
    size,
  }),
  body("deadlineSet", DeadlineSetSchema, {
    deadline: optionalTime,
    ladder,
    cause: text(64),
    details: free,
  }),
  body("deadlineExtended", DeadlineExtendedSchema, { deadline: optionalTime, reason: text(40) }),
  body("deadlinePaused", DeadlinePausedSchema, { reason: text(40) }),
  body("deadlineResumed", DeadlineResumedSchema, { reason: text(40) }),
  body("deadlineMet", DeadlineMetSchema, { reason: text(40), cause: text(64) }),
  body("levelRaised", LevelRaisedSchema, {
    cycle: count,
    level: count,
    dueTime: optionalTime,
    raiseTime: optionalTime,
  }),
  body("deadlineRefused", DeadlineRefusedSchema, { recordId: text(64), reason: text(40) }),
);
const arbitraryDraft: fc.Arbitrary<RecordDraft> = fc.record({
  caller: text(16),
  subject: text(40),
  actor: text(40),
  occurTime: optionalTime,
  body: arbitraryBody,
  request: fc.option(
    fc.record({
      id: fc.string({ unit: "binary", minLength: 1, maxLength: 20 }),
      hash: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    }),
    { nil: undefined },
  ),
});
