// Writes docs/vectors/sla-certificates.json: the test vectors of docs/sla-certificates.md, with the receipts
// and the log of docs/vectors/receipts.json. Run after scripts/gen-vectors.mjs:
// node scripts/gen-certificate-vectors.mjs [file]
import { readFileSync, writeFileSync } from "node:fs";
import { fromJson, toJson } from "@bufbuild/protobuf";
import { Web3 } from "web3";
import { slaRegistryAbi } from "../dist/gen/contracts/sla-registry.js";
import { GetCertificateResponseSchema } from "../dist/gen/ts/anchord/v1/sla_service_pb.js";
import { hex, hex0x, sha256, ZERO32 } from "../dist/src/core/bytes.js";

const OUT = process.argv[2] ?? new URL("../docs/vectors/sla-certificates.json", import.meta.url);
const RECEIPTS = JSON.parse(
  readFileSync(new URL("../docs/vectors/receipts.json", import.meta.url)),
);
const LOG = withLastBatches(RECEIPTS.chains.log_of_six);
const REGISTRY = "0xe7f1725e7734ce288f8367e1bb143e90bb3f0512";
const MANAGER = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
const OTHER = "0x00000000000000000000000000000000000000aa";

/** The chain without the batches that no certificate here needs. */
function withLastBatches({ chainId, calls, transactions }) {
  const last = Object.entries(transactions).slice(-1);
  return {
    chainId,
    calls: [...calls.slice(0, 3), ...calls.slice(-3)],
    transactions: Object.fromEntries(last),
  };
}

const seconds = (time) => Date.parse(time) / 1000;
const timeOf = (time) => new Date(time * 1000).toISOString().replace(".000Z", "Z");
const keyOf = (subject) => hex(sha256(Buffer.from(subject)));
const receiptOf = (name) =>
  RECEIPTS.receipts.find((each) => each.name === `valid_${name}`).receipt.receipt;
const idOf = (name) => RECEIPTS.entries.find((entry) => entry.name === name).id;
const transactionOf = (name) => hex0x(sha256(Buffer.from(`transaction/${name}`)));

// ---- Deadlines as the registry has them ---------------------------------------------------------

/** A deadline that the registry keeps, by the records that set and met it, where there are such. */
const cycle = (subject, number, state, set, met) => {
  const unset = { pauseTime: 0, meetTime: 0, extensions: 0, raised: 0, offsets: [0] };
  const key = /^[0-9a-f]{64}$/.test(subject) ? subject : keyOf(subject);
  return { subject, key, number, ...unset, ...state, set, met };
};
const CYCLES = {
  met_in_time: cycle(
    "complaint/ABC12345",
    1,
    {
      deadline: seconds("2026-02-03T12:00:00Z"),
      meetTime: seconds("2026-02-03T11:59:59Z"),
      extensions: 1,
      offsets: [0, 86400, 259200],
    },
    "deadline_set",
    "deadline_met",
  ),
  breached: cycle(
    "complaint/ABC12345",
    2,
    { deadline: seconds("2026-03-01T00:00:00Z"), raised: 1 },
    "deadline_set_again",
  ),
  met_late: cycle(
    "complaint/DEF67890",
    1,
    {
      deadline: seconds("2026-02-02T00:00:40Z"),
      meetTime: seconds("2026-02-02T01:00:45Z"),
      raised: 1,
      offsets: [3600],
    },
    "deadline_set_by_policy",
    "deadline_met_by_policy",
  ),
  met_at_the_deadline: cycle("case/7", 1, {
    deadline: seconds("2026-02-04T00:00:00Z"),
    meetTime: seconds("2026-02-04T00:00:00Z"),
  }),
  met_without_the_service: cycle(keyOf("case/8"), 1, {
    deadline: seconds("2026-02-04T00:00:00Z"),
    meetTime: seconds("2026-02-03T23:59:59Z"),
  }),
  met_since: cycle("case/9", 1, {
    deadline: seconds("2026-03-01T12:00:00Z"),
    meetTime: seconds("2026-03-08T00:00:00Z"),
    raised: 8,
    offsets: [0, 1, 2, 3, 4, 5, 6, 7],
  }),
  paused: cycle("case/10", 1, {
    deadline: seconds("2026-03-01T00:00:00Z"),
    pauseTime: seconds("2026-02-28T23:59:59Z"),
  }),
};
const NOW = seconds("2026-03-01T12:00:00Z");
const BLOCK = 250_000;

// ---- What a node answers ------------------------------------------------------------------------

const web3 = new Web3("http://127.0.0.1:1");
const { sha3 } = web3.utils;
const SELECTORS = Object.fromEntries(
  ["contractName()", "version()", "cycleOf(bytes32,uint32)"].map((name) => [
    name,
    sha3(name).slice(0, 10),
  ]),
);
const TOPICS = Object.fromEntries(
  [
    "DeadlineSet(bytes32,uint32,bytes32,uint48,uint32[],address)",
    "DeadlineMet(bytes32,uint32,bytes32,bool,uint48,address)",
  ].map((name) => [name, sha3(name)]),
);
const UNKNOWN_CYCLE = sha3("UnknownCycle(bytes32,uint32,uint32)").slice(0, 10);
const abi = (types, values) => web3.eth.abi.encodeParameters(types, values);
const CYCLE = slaRegistryAbi.find(({ name }) => name === "cycleOf").outputs;
const cycleData = ({ key, number }) =>
  SELECTORS["cycleOf(bytes32,uint32)"] + abi(["bytes32", "uint32"], [`0x${key}`, number]).slice(2);
const cycleResult = (state) => abi(CYCLE, [state]);
const topics = (name, { key, number }, ref) => {
  const [topic] = Object.entries(TOPICS)
    .find(([event]) => event.startsWith(name))
    .slice(1);
  return [topic, `0x${key}`, abi(["uint32"], [number]), ref];
};

/** The logs of the transactions that set and met a deadline, by the names of their records. */
function logsOf(each, address) {
  const { set, met, deadline, meetTime, offsets } = each;
  const first = set && RECEIPTS.entries.find(({ name }) => name === set).fields.deadlineSet;
  const at = first ? seconds(first.deadline) : deadline;
  const log = (name, ref, data) => ({ address, topics: topics(name, each, ref), data });
  const setData = abi(["uint48", "uint32[]", "address"], [at, offsets, MANAGER]);
  const metData = abi(["bool", "uint48", "address"], [meetTime < deadline, deadline, MANAGER]);
  return {
    ...(set && { [transactionOf(set)]: [log("DeadlineSet", `0x${idOf(set)}`, setData)] }),
    ...(met && { [transactionOf(met)]: [log("DeadlineMet", `0x${idOf(met)}`, metData)] }),
  };
}

/** What a scripted node answers. Calls, transactions and blocks that it does not list: "0x" and null. */
function chain({ name = "anchord.SLARegistry", version = 1n, cycles = CYCLES, ...change } = {}) {
  const call = (data, result) => ({ to: REGISTRY, data, result });
  const all = Object.values(cycles);
  const place = {
    blockNumber: `0x${BLOCK.toString(16)}`,
    blockHash: hex0x(sha256(Buffer.from("b"))),
  };
  const logs = all.flatMap((each) => Object.entries(logsOf(each, change.logsOf ?? REGISTRY)));
  return {
    chainId: change.chainId ?? LOG.chainId,
    calls: [
      ...LOG.calls,
      call(SELECTORS["contractName()"], abi(["string"], [name])),
      call(SELECTORS["version()"], abi(["uint256"], [version])),
      ...all.map((each) => call(cycleData(each), cycleResult(each))),
      {
        to: REGISTRY,
        data: cycleData({ key: keyOf("complaint/ABC12345"), number: 3 }),
        error: {
          code: 3,
          message: "execution reverted",
          data:
            UNKNOWN_CYCLE +
            abi(["bytes32", "uint32", "uint32"], [`0x${keyOf("complaint/ABC12345")}`, 3, 2]).slice(
              2,
            ),
        },
      },
    ],
    transactions: {
      ...LOG.transactions,
      ...Object.fromEntries(
        (change.unset ? [] : logs).map(([hash, list]) => [hash, { ...place, logs: list }]),
      ),
    },
    blocks: {
      [place.blockNumber]: {
        number: place.blockNumber,
        hash: place.blockHash,
        parentHash: hex0x(ZERO32),
        timestamp: `0x${(change.now ?? NOW).toString(16)}`,
      },
    },
  };
}
const withCycle = (name, state) =>
  chain({ cycles: { ...CYCLES, [name]: { ...CYCLES[name], ...state } } });
const chains = {
  registry: chain(),
  log_alone: LOG,
  other_chain_id: chain({ chainId: "0x1" }),
  other_name: chain({ name: "anchord.EvidenceRegistry" }),
  version_2: chain({ version: 2n }),
  other_block_time: chain({ now: NOW + 1 }),
  logs_of_another: chain({ logsOf: OTHER }),
  no_transactions: chain({ unset: true }),
  set_later: withCycle("breached", { set: "deadline_set" }),
  extended_since: withCycle("met_in_time", { extensions: 2 }),
  met_at_another_time: withCycle("met_in_time", { meetTime: seconds("2026-02-03T11:59:58Z") }),
  not_met: withCycle("met_in_time", { meetTime: 0 }),
  not_raised: withCycle("breached", { raised: 0 }),
  met_before: withCycle("met_since", { meetTime: NOW - 1 }),
  met_in_that_block: withCycle("met_since", { meetTime: NOW }),
  other_ladder: withCycle("met_in_time", { offsets: [0, 86400] }),
  other_deadline_asked: withCycle("met_late", { set: "deadline_set_again" }),
};

// ---- Certificates -------------------------------------------------------------------------------

function certificateOf(name) {
  const { subject, key, number, deadline, meetTime, raised, extensions, set, met } = CYCLES[name];
  const isMet = meetTime !== 0 && name !== "met_since";
  const verdict = meetTime < deadline ? "MET_IN_TIME" : "MET_LATE";
  const certificate = {
    format: "anchord/sla-certificate/v1",
    chainId: String(BigInt(LOG.chainId)),
    contract: REGISTRY,
    subject,
    subjectKey: key,
    cycle: number,
    verdict: `SLA_VERDICT_${isMet ? verdict : "BREACHED"}`,
    deadline: timeOf(deadline),
    ...(isMet && { meetTime: timeOf(meetTime) }),
    level: name === "met_since" ? 1 : raised,
    extensions,
    asOfTime: timeOf(NOW),
    asOfBlock: String(BLOCK),
    ...(set && { setReceipt: receiptOf(set), setTransactionHash: transactionOf(set) }),
    ...(met && { meetReceipt: receiptOf(met), meetTransactionHash: transactionOf(met) }),
  };
  // In the one form that proto3 JSON has, defaults left out.
  const message = fromJson(GetCertificateResponseSchema, { certificate });
  return toJson(GetCertificateResponseSchema, message);
}

const certificates = [];
const add = (
  name,
  certificate,
  { failedStep = null, chain: on = "registry", expect = {} } = {},
) => {
  const verdict = failedStep === null ? "valid" : "invalid";
  const exitCode = failedStep === null ? 0 : 1;
  certificates.push({ name, verdict, failedStep, exitCode, chain: on, expect, certificate });
};
const changed = (of, change) => {
  const copy = structuredClone(certificateOf(of));
  change(copy.certificate, copy);
  return copy;
};
const bad = (name, failedStep, change, { of = "met_in_time", ...rest } = {}) =>
  add(name, changed(of, change), { failedStep, ...rest });
const same = () => undefined;
const good = (name, of, rest) => add(`valid_${name}`, certificateOf(of), rest);

for (const name of Object.keys(CYCLES).filter((each) => each !== "paused")) good(name, name);
add("valid_certificate_alone", certificateOf("met_late").certificate);
add(
  "valid_without_receipts",
  changed("met_in_time", (c) => {
    for (const part of ["setReceipt", "setTransactionHash", "meetReceipt", "meetTransactionHash"]) {
      delete c[part];
    }
  }),
);
good("expected", "met_in_time", {
  expect: {
    chainId: "31337",
    registry: REGISTRY.replace("e7f", "E7F"),
    contract: receiptOf("deadline_set").identity.contract,
    log: "default",
  },
});
add(
  "valid_raised_since",
  changed("breached", (c) => void delete c.level),
);
good("met_in_that_block", "met_since", { chain: "met_in_that_block" });

add("format_null", { certificate: null }, { failedStep: "format" });
add("format_list", { certificate: [] }, { failedStep: "format" });
bad("format_other", "format", (c) => void (c.format = "anchord/sla-certificate/v2"));
bad("format_missing", "format", (c) => void delete c.format);
bad("format_unknown_member", "format", (c) => void (c.extra = 1));
bad("format_unknown_outer_member", "format", (_, all) => void (all.state = "SLA_STATE_MET"));
bad("format_unknown_receipt_member", "format", (c) => void (c.setReceipt.extra = "1"));
bad("format_snake_case", "format", (c) => {
  c.meet_time = c.meetTime;
  delete c.meetTime;
});
bad("format_contract_upper_case", "format", (c) => void (c.contract = REGISTRY.toUpperCase()));
bad("format_subject_surrogate", "format", (c) => void (c.subject = "\ud800"));
bad("format_key_short", "format", (c) => void (c.subjectKey = c.subjectKey.slice(1)));
bad("format_key_upper_case", "format", (c) => void (c.subjectKey = c.subjectKey.toUpperCase()));
bad("format_cycle_zero", "format", (c) => void (c.cycle = 0));
bad("format_cycle_missing", "format", (c) => void delete c.cycle);
bad("format_cycle_text", "format", (c) => void (c.cycle = "1"));
bad("format_cycle_fraction", "format", (c) => void (c.cycle = 1.5));
bad("format_cycle_negative", "format", (c) => void (c.cycle = -1));
bad("format_cycle_true", "format", (c) => void (c.cycle = true));
bad("format_cycle_over_32_bits", "format", (c) => void (c.cycle = 2 ** 32));
bad("format_block_number", "format", (c) => void (c.asOfBlock = BLOCK));
bad("format_level_zero", "format", (c) => void (c.level = 0));
bad("format_verdict_missing", "format", (c) => void delete c.verdict);
bad("format_verdict_number", "format", (c) => void (c.verdict = 1));
bad("format_verdict_unknown", "format", (c) => void (c.verdict = "SLA_VERDICT_MET"));
bad("format_verdict_default", "format", (c) => void (c.verdict = "SLA_VERDICT_UNSPECIFIED"));
bad("format_deadline_missing", "format", (c) => void delete c.deadline);
bad("format_deadline_fraction", "format", (c) => {
  c.deadline = c.deadline.replace("Z", ".500Z");
});
bad("format_as_of_missing", "format", (c) => void delete c.asOfTime);
bad("format_met_without_time", "format", (c) => void delete c.meetTime);
bad("format_breached_with_time", "format", (c) => void (c.meetTime = c.asOfTime), {
  of: "breached",
});
bad("format_receipt_alone", "format", (c) => void delete c.setTransactionHash);
bad("format_transaction_alone", "format", (c) => void delete c.meetReceipt);
bad("format_transaction_short", "format", (c) => {
  c.setTransactionHash = c.setTransactionHash.slice(0, -1);
});
bad(
  "format_breached_with_meet_receipt",
  "format",
  (c) => {
    c.meetReceipt = receiptOf("deadline_met");
    c.meetTransactionHash = transactionOf("deadline_met");
  },
  { of: "breached" },
);

bad("subject_other", "subject", (c) => void (c.subject = "complaint/ABC12346"));
bad("subject_missing", "subject", (c) => void delete c.subject);
bad("subject_key_other", "subject", (c) => void (c.subjectKey = keyOf("complaint/ABC12346")));

bad("verdict_late", "verdict", (c) => void (c.verdict = "SLA_VERDICT_MET_LATE"));
bad("verdict_in_time", "verdict", (c) => void (c.verdict = "SLA_VERDICT_MET_IN_TIME"), {
  of: "met_at_the_deadline",
});
bad("verdict_not_broken_yet", "verdict", (c) => void (c.asOfTime = "2026-02-28T23:59:59Z"), {
  of: "breached",
});
bad("verdict_met_later", "verdict", (c) => void (c.asOfTime = "2026-02-03T11:59:58Z"));

bad("identity_expected_chain", "identity", same, { expect: { chainId: "1" } });
bad("identity_expected_registry", "identity", same, { expect: { registry: OTHER } });
bad("identity_chain_changed", "identity", (c) => void (c.chainId = "1"));
bad("identity_chain_missing", "identity", (c) => void delete c.chainId);
bad("identity_node_of_another_chain", "identity", same, { chain: "other_chain_id" });

bad("contract_changed", "contract", (c) => void (c.contract = OTHER));
bad("contract_is_the_log", "contract", (c) => void (c.contract = c.setReceipt.identity.contract));
for (const name of ["log_alone", "other_name", "version_2"]) {
  bad(`contract_${name}`, "contract", same, { chain: name });
}

bad("cycle_unknown", "cycle", (c) => void (c.cycle = 3));
bad("cycle_another", "cycle", (c) => void (c.cycle = 2));
bad("cycle_deadline", "cycle", (c) => void (c.deadline = "2026-02-03T12:00:01Z"));
bad("cycle_meet_time", "cycle", (c) => void (c.meetTime = "2026-02-03T11:59:58Z"));
bad("cycle_level", "cycle", (c) => void (c.level = 1));
bad("cycle_extensions", "cycle", (c) => void (c.extensions = 2));
bad("cycle_breach_denied", "cycle", (c) => {
  c.verdict = "SLA_VERDICT_BREACHED";
  for (const part of ["meetTime", "meetReceipt", "meetTransactionHash"]) delete c[part];
});
bad(
  "cycle_late_denied",
  "cycle",
  (c) => {
    c.deadline = "2026-02-02T01:00:46Z";
    c.verdict = "SLA_VERDICT_MET_IN_TIME";
  },
  { of: "met_late" },
);
bad("cycle_level_of_breached", "cycle", same, { of: "breached", chain: "not_raised" });
for (const name of ["extended_since", "met_at_another_time", "not_met"]) {
  bad(`cycle_${name}`, "cycle", same, { chain: name });
}
bad("cycle_met_before", "cycle", same, { of: "met_since", chain: "met_before" });
bad("cycle_paused", "cycle", same, { of: "paused" });

bad("block_unknown", "block", (c) => void (c.asOfBlock = String(BLOCK + 1)));
bad("block_beyond", "block", (c) => void (c.asOfBlock = "18446744073709551615"));
bad("block_missing", "block", (c) => void delete c.asOfBlock);
bad("block_time", "block", (c) => void (c.asOfTime = "2026-03-01T12:00:01Z"));
bad("block_chain_other_time", "block", same, { chain: "other_block_time" });

bad("set_bare", "set/format", (c) => void (c.setReceipt = { entry: c.setReceipt.entry }));
bad("set_incomplete", "set/format", (c) => void delete c.setReceipt.anchor);
bad("set_entry", "set/entry", (c) => void (c.setReceipt.entry = "AAAA"));
bad("set_expected_log", "set/identity", same, { expect: { log: "other" } });
bad("set_expected_contract", "set/identity", same, { expect: { contract: OTHER } });
bad("set_other_chain", "set/identity", (c) => void (c.setReceipt.identity.chainId = "1"));
bad("set_root", "set/root", (c) => void (c.setReceipt.trail.index = "77"));
bad("set_anchor", "set/anchor", (c) => void (c.setReceipt.anchor.blockNumber = "1"));
bad("set_another_cycle", "set", (c) => {
  c.setReceipt = receiptOf("deadline_set_again");
  c.setTransactionHash = transactionOf("deadline_set_again");
});
bad("set_another_record", "set", (c) => void (c.setReceipt = receiptOf("deadline_set_again")));
bad("set_another_transaction", "set", (c) => {
  c.setTransactionHash = transactionOf("deadline_set_again");
});
bad("set_by_meeting", "set", (c) => {
  c.setReceipt = receiptOf("deadline_met");
  c.setTransactionHash = transactionOf("deadline_met");
});
bad("set_transaction_unknown", "set", (c) => void (c.setTransactionHash = hex0x(ZERO32)));
bad("set_logs_of_another", "set", same, { chain: "logs_of_another" });
bad("set_other_ladder", "set", same, { chain: "other_ladder" });
bad("set_no_transactions", "set", same, { chain: "no_transactions" });
bad(
  "set_other_deadline_asked",
  "set",
  (c) => {
    c.setReceipt = receiptOf("deadline_set_again");
    c.setTransactionHash = transactionOf("deadline_set_again");
  },
  { of: "met_late", chain: "other_deadline_asked" },
);

bad("meet_bare", "meet/format", (c) => void (c.meetReceipt = { entry: c.meetReceipt.entry }));
bad("meet_head", "meet/head", (c) => void (c.meetReceipt.batch.nonce = "1"));
bad("meet_another_record", "meet", (c) => {
  c.meetReceipt = receiptOf("deadline_met_by_policy");
});
bad("meet_by_setting", "meet", (c) => {
  c.meetReceipt = c.setReceipt;
  c.meetTransactionHash = c.setTransactionHash;
});

// ---- The file -----------------------------------------------------------------------------------

const about =
  "Test vectors of docs/sla-certificates.md, made by scripts/gen-certificate-vectors.mjs. The receipts are those of receipts.json.";
const vectors = { about, selectors: SELECTORS, topics: TOPICS, chains, certificates };
writeFileSync(OUT, `${JSON.stringify(vectors, null, 1)}\n`);
