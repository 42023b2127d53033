// Writes docs/vectors/receipts.json: the test vectors of docs/receipts.md. Deterministic: salts and
// times are fixed. Run after a build: npx tsc -p . && node scripts/gen-vectors.mjs [file]
import { writeFileSync } from "node:fs";
import { create, fromJson, toJson } from "@bufbuild/protobuf";
import { CID } from "multiformats/cid";
import * as Digest from "multiformats/hashes/digest";
import { Web3 } from "web3";
import { hex, hex0x, sha256, ZERO32 } from "../dist/src/core/bytes.js";
import { findNonce, genesisHead, logIdOf, nextHead } from "../dist/src/core/head.js";
import { inclusionPath, leafHash, merkleRoot, treeLevels } from "../dist/src/core/merkle.js";
import { canonicalHash, decodeEntry, encodeRecord } from "../dist/src/core/record.js";
import { trailLeaf } from "../dist/src/core/trail.js";
import { EntrySchema } from "../dist/gen/ts/anchord/v1/receipt_pb.js";
import { GetReceiptResponseSchema } from "../dist/gen/ts/anchord/v1/audit_service_pb.js";

const CHAIN_ID = 31337n;
const CONTRACT = "0x5fbdb2315678afecb367f032d93f642f64180aa3";
const LOG_NAME = "default";
const LOG = logIdOf(LOG_NAME);
const ID = { chainId: CHAIN_ID, contract: CONTRACT, log: LOG };
const NOW = Date.UTC(2026, 0, 31, 23, 59, 58, 125);
const OUT = process.argv[2] ?? new URL("../docs/vectors/receipts.json", import.meta.url);

// ---- Entries ------------------------------------------------------------------------------------

const details = (text) => JSON.parse(text); // so that "__proto__" becomes a member like any other
const threat = { score: 92.5, durationMinutes: 18.7 };
/** What evidence says of a file of one block. */
function fileOf(text) {
  const digest = sha256(Buffer.from(text));
  const cid = CID.createV1(0x55, Digest.create(0x12, digest)).toString();
  return { sha256: hex(digest), cid, size: String(Buffer.byteLength(text)) };
}
const SCAN = fileOf("what the scanner saw\n");
const REQUESTS = {
  threat: {
    subject: "user/42",
    actor: "detector",
    occurTime: "2026-01-31T23:41:12.345678901Z",
    threat,
  },
  threat_all: {
    subject: "user/42",
    actor: "detector",
    requestId: "threat-0001",
    threat: { ...threat, details: { model: "m-7", signals: ["velocity", "geo"] } },
  },
  threat_unit: {
    subject: "user/42",
    threat: { score: 0.4, durationMinutes: 5e-324, scale: "THREAT_SCALE_UNIT" },
  },
  threat_zero: {
    subject: "user/43",
    occurTime: "1970-01-01T00:00:00Z",
    threat: { score: 0, durationMinutes: 0 },
  },
  threat_negative_zero: { subject: "user/43", threat: { score: 100, durationMinutes: -0 } },
  trade: {
    subject: "user/42",
    trade: {
      tradeId: "t-1",
      symbol: "BTC/USDT",
      side: "SIDE_BUY",
      quantity: 0.25,
      price: -37.63,
      orderType: "market",
    },
  },
  trade_details: {
    subject: "account/ä/東京",
    requestId: "11111111-2222-3333-4444-555555555555",
    trade: {
      tradeId: "t-2",
      symbol: "ETH/EUR",
      quantity: 1e21,
      price: 1e-7,
      details: details('{"fees":[0.1,1e-7,1e21],"venue":"X"}'),
    },
  },
  order: {
    subject: "user/42",
    order: {
      orderId: "o-1",
      symbol: "BTC/USDT",
      side: "SIDE_SELL",
      quantity: 3,
      price: 64000.5,
      orderType: "limit",
      status: "filled",
    },
  },
  order_details: { subject: "user/42", order: { orderId: "o-2", symbol: "X", details: {} } },
  system_change: {
    subject: "system/api",
    actor: "deploy-bot",
    systemChange: {
      component: "api",
      changeType: "deploy",
      details: { old_value: "1.0.0", new_value: "1.0.1" },
    },
  },
  system_change_plain: {
    subject: "system/api",
    systemChange: { component: "api", changeType: "restart" },
  },
  login: {
    subject: "user/42",
    login: { user: "ada", success: true, source: "203.0.113.7", method: "password" },
  },
  login_failed: {
    subject: "user/42",
    login: { user: "ada", details: { attempts: 3, locked: false, reason: null } },
  },
  config_change: {
    subject: "config/limits",
    configChange: { key: "max", oldValue: "10", newValue: "ten\nlines\u0000\ufeff\u{1f600}" },
  },
  config_change_details: {
    subject: "\ufeffconfig/limits",
    configChange: { key: "max", details: { ticket: "OPS-7" } },
  },
  complaint: {
    subject: "complaint/ABC12345",
    actor: "desk/3",
    occurTime: "2199-12-31T23:59:59.999999999Z",
    complaint: { eventType: "ASSIGNED", assignee: "grace", status: "open" },
  },
  complaint_details: {
    subject: "complaint/ABC12345",
    requestId: "ä€😀",
    complaint: { eventType: "EVIDENCE_ADDED", details: { file: "scan.pdf", pages: 12 } },
  },
  custom: { subject: "device/7", custom: { type: "reading.v2" } },
  custom_keys: {
    subject: "device/7",
    custom: {
      type: "reading.v2",
      data: details(
        '{"10":"a","9":"b","1":"c","__proto__":{"__proto__":null,"x":1},"constructor":2,"toJSON":"t",' +
          '"":0,"\u20ac":1,"\\r":2,"\ufb33":3,"\u{1f600}":4,"\u0080":5,"\u00f6":6,"A":7,"a":8}',
      ),
    },
  },
  custom_strings: {
    subject: "device/7",
    custom: {
      type: "text",
      data: details(
        '{"s":"\\u0000\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f \\"\\\\/\u007f\u0080\u2028\u2029\ufeff\uffff\u{10ffff}<>&\'"}',
      ),
    },
  },
  custom_numbers: {
    subject: "device/7",
    custom: {
      type: "numbers",
      data: details(
        '{"n":[0,-0,1,-1,0.1,0.5,1.5,100,1e20,1e21,123456789012345680000,1.2345e22,0.000001,0.0000012,1e-7,1.5e-7,' +
          "5e-324,2.2250738585072014e-308,1.7976931348623157e308,-1.7976931348623157e308,9007199254740991," +
          "9007199254740993,9223372036854775807,18446744073709551615,4.35,333333333.33333329,1e23,9.5e-5," +
          "0.30000000000000004,295147905179352830000,999999999999999900000]}",
      ),
    },
  },
  custom_deep: {
    subject: "device/7",
    custom: { type: "deep", data: details('{"a":'.repeat(31) + "{}" + "}".repeat(31)) },
  },
  evidence_added: {
    subject: "complaint/ABC12345",
    actor: "desk/3",
    requestId: "evidence-0001",
    occurTime: "2026-01-31T22:00:00Z",
    evidenceAdded: {
      ...SCAN,
      fileName: "scän.txt",
      mediaType: "text/plain",
      derivedFrom: hex(sha256(Buffer.from("original"))),
      contentKept: true,
      details: { pages: 12, source: { scanner: "s-1" } },
    },
  },
  evidence_added_hash: {
    subject: "complaint/ABC12345",
    evidenceAdded: { sha256: hex(sha256(Buffer.from("stays with its owner"))) },
  },
  evidence_added_empty_file: {
    subject: "case/7",
    evidenceAdded: { ...fileOf(""), contentKept: true, details: {} },
  },
  evidence_added_not_kept: {
    subject: "case/7",
    evidenceAdded: { ...SCAN, fileName: "scan.txt" },
  },
  evidence_checked: {
    subject: "complaint/ABC12345",
    evidenceChecked: {
      evidenceId: hex(sha256(Buffer.from("evidence"))),
      ...SCAN,
      state: "CONTENT_STATE_ALTERED",
      previousState: "CONTENT_STATE_INTACT",
    },
  },
  evidence_checked_empty_file: {
    subject: "case/7",
    evidenceChecked: {
      evidenceId: hex(sha256(Buffer.from("evidence of an empty file"))),
      ...fileOf(""),
      state: "CONTENT_STATE_INTACT",
      previousState: "CONTENT_STATE_PENDING",
    },
  },
  deadline_set: {
    subject: "complaint/ABC12345",
    actor: "desk/3",
    requestId: "deadline-0001",
    deadlineSet: {
      deadline: "2026-02-02T12:00:00Z",
      ladder: ["0s", "86400s", "259200s"],
      details: { contract: "gold" },
    },
  },
  deadline_set_by_policy: {
    subject: "complaint/DEF67890",
    deadlineSet: {
      deadline: "2026-02-02T00:00:40Z",
      ladder: ["3600s"],
      cause: hex(sha256(Buffer.from("assigned"))),
    },
  },
  deadline_set_again: {
    subject: "complaint/ABC12345",
    deadlineSet: { deadline: "2026-03-01T00:00:00Z", ladder: ["0s"] },
  },
  deadline_extended: {
    subject: "complaint/ABC12345",
    actor: "desk/3",
    deadlineExtended: { deadline: "2026-02-03T12:00:00Z", reason: "they wait for their bänk" },
  },
  deadline_paused: { subject: "complaint/ABC12345", deadlinePaused: {} },
  deadline_resumed: {
    subject: "complaint/ABC12345",
    deadlineResumed: { reason: "they wrote back" },
  },
  deadline_met: {
    subject: "complaint/ABC12345",
    actor: "desk/3",
    deadlineMet: { reason: "paid back" },
  },
  deadline_met_by_policy: {
    subject: "complaint/DEF67890",
    deadlineMet: { cause: hex(sha256(Buffer.from("resolved"))) },
  },
  level_raised: {
    subject: "complaint/DEF67890",
    levelRaised: {
      cycle: 1,
      level: 1,
      dueTime: "2026-02-02T01:00:40Z",
      raiseTime: "2026-02-02T01:00:41Z",
    },
  },
  deadline_refused: {
    subject: "complaint/DEF67890",
    deadlineRefused: {
      recordId: hex(sha256(Buffer.from("met twice"))),
      reason: "AlreadyMet(0x12, 1, 1770000000)",
    },
  },
};

const records = Object.entries(REQUESTS).map(([name, json], i) => {
  const request = fromJson(EntrySchema, json);
  const { requestId: _, ...rest } = json;
  const record = encodeRecord(
    {
      caller: i % 2 === 0 ? "local" : "0123456789abcdef",
      subject: request.subject,
      actor: request.actor,
      occurTime: request.occurTime,
      body: request.body,
      request:
        request.requestId === "" ? undefined : { id: request.requestId, hash: canonicalHash(rest) },
    },
    {
      scale: 1,
      now: new Date(NOW + i * 1000),
      salt: sha256(Buffer.from(`salt/${i}`)).subarray(0, 16),
    },
  );
  return { name, ...record };
});
const byName = Object.fromEntries(records.map((record) => [record.name, record]));

// ---- Entries to refuse --------------------------------------------------------------------------

const varint = (value) => {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes = [];
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
};
const tag = (number, type) => varint((number << 3) | type);
const num = (number, value) => Buffer.concat([tag(number, 0), varint(value)]);
const len = (number, value) =>
  Buffer.concat([tag(number, 2), varint(Buffer.from(value).length), Buffer.from(value)]);
const dbl = (number, bits) => Buffer.concat([tag(number, 1), Buffer.from(bits, "hex").reverse()]);
const raw = (text) => Buffer.from(text, "hex");
const SALT = Buffer.alloc(16, 0x11);
/** A small entry, with parts replaced; null leaves a part out. */
function entry(parts = {}) {
  const all = {
    salt: len(1, SALT),
    accept: len(2, num(1, 1)),
    caller: len(3, "local"),
    requestId: null,
    requestHash: null,
    subject: len(6, "s"),
    actor: null,
    occur: len(8, num(1, 1)),
    details: null,
    body: len(20, len(1, "u")),
    after: null,
    ...parts,
  };
  return Buffer.concat(Object.values(all).filter((part) => part !== null));
}
const withDetails = (text) => entry({ details: len(9, text) });
const cat = (...parts) => Buffer.concat(parts);
const bodied = (body) => entry({ body });
const ADDED = len(24, len(1, "a"));
const REFUSED = {
  empty: [raw(""), "no bytes at all"],
  duplicate_field: [entry({ subject: cat(len(6, "s"), len(6, "s")) }), "subject comes twice"],
  out_of_order: [entry({ caller: len(6, "s"), subject: len(3, "local") }), "subject before caller"],
  out_of_order_in_body: [
    entry({ body: len(20, cat(num(2, 1), len(1, "u"))) }),
    "success before user",
  ],
  non_minimal_value: [entry({ accept: len(2, raw("088100")) }), "seconds as 81 00 instead of 01"],
  non_minimal_length: [entry({ subject: raw("32810073") }), "length as 81 00 instead of 01"],
  non_minimal_tag: [entry({ subject: raw("b2000173") }), "tag as b2 00 instead of 32"],
  long_varint: [entry({ accept: len(2, raw("08ffffffffffffffffffff01")) }), "a varint of 11 bytes"],
  varint_over_64_bits: [
    entry({ accept: len(2, raw("08ffffffffffffffffff02")) }),
    "a varint over 2^64 - 1",
  ],
  default_string: [entry({ caller: len(3, "") }), "an empty caller is written"],
  default_int: [entry({ accept: len(2, cat(num(1, 1), num(2, 0))) }), "nanos 0 is written"],
  default_bool: [entry({ body: len(20, cat(len(1, "u"), num(2, 0))) }), "success false is written"],
  default_enum: [entry({ body: len(16, num(3, 0)) }), "scale 0 is written"],
  default_double: [entry({ body: len(16, dbl(1, "0000000000000000")) }), "score +0.0 is written"],
  bool_of_two: [entry({ body: len(20, cat(len(1, "u"), num(2, 2))) }), "success is written as 2"],
  enum_beyond_32_bits: [entry({ body: len(16, num(3, 2n ** 32n + 1n)) }), "scale 2^32 + 1"],
  negative_enum_in_5_bytes: [
    entry({ body: len(16, num(3, 2n ** 32n - 1n)) }),
    "scale -1 in 5 bytes, not 10",
  ],
  nanos_beyond_32_bits: [entry({ accept: len(2, num(2, 2n ** 31n)) }), "nanos 2^31"],
  not_a_number: [entry({ body: len(16, dbl(1, "7ff8000000000000")) }), "score is not a number"],
  infinite: [entry({ body: len(16, dbl(2, "7ff0000000000000")) }), "the duration is infinite"],
  unknown_field: [entry({ after: len(24, "x") }), "field 24"],
  unknown_field_between: [entry({ details: len(10, "x") }), "field 10"],
  unknown_field_in_body: [
    entry({ body: len(20, cat(len(1, "u"), num(6, 1))) }),
    "field 6 of a login",
  ],
  unknown_field_in_time: [
    entry({ accept: len(2, cat(num(1, 1), num(3, 1))) }),
    "field 3 of a time",
  ],
  field_zero: [entry({ after: raw("0001") }), "field number 0"],
  group: [entry({ after: raw("c301c401") }), "a group"],
  wrong_wire_type: [entry({ subject: num(6, 1) }), "subject as a varint"],
  wrong_wire_type_double: [entry({ body: len(16, raw("0d0000c842")) }), "score as a 32-bit float"],
  invalid_utf8: [entry({ subject: len(6, raw("ff")) }), "byte ff"],
  overlong_utf8: [entry({ subject: len(6, raw("c1a1")) }), "an overlong form"],
  surrogate_utf8: [entry({ subject: len(6, raw("eda080")) }), "an encoded surrogate"],
  truncated: [entry().subarray(0, -1), "the last byte is missing"],
  truncated_varint: [entry({ after: raw("c0") }), "ends within a tag"],
  trailing_zero: [entry({ after: raw("00") }), "a zero byte at the end"],
  no_body: [entry({ body: null }), "no body"],
  two_bodies: [entry({ body: cat(len(20, len(1, "u")), len(21, len(1, "k"))) }), "two bodies"],
  same_body_twice: [
    entry({ body: cat(len(20, len(1, "u")), len(20, len(1, "u"))) }),
    "one body twice",
  ],
  salt_missing: [entry({ salt: null }), "no salt"],
  salt_of_15: [entry({ salt: len(1, SALT.subarray(1)) }), "15 bytes of salt"],
  accept_time_missing: [entry({ accept: null }), "no accept_time"],
  occur_time_missing: [entry({ occur: null }), "no occur_time"],
  request_id_alone: [entry({ requestId: len(4, "r") }), "request_id without request_hash"],
  request_hash_alone: [entry({ requestHash: len(5, ZERO32) }), "request_hash without request_id"],
  request_hash_short: [
    entry({ requestId: len(4, "r"), requestHash: len(5, SALT) }),
    "request_hash of 16 bytes",
  ],
  request_hash_short_alone: [
    entry({ requestHash: len(5, SALT) }),
    "16 bytes of request_hash, no request_id",
  ],
  details_in_body: [
    entry({ body: len(20, cat(len(1, "u"), len(5, ""))) }),
    "the login has details of its own",
  ],
  data_in_body: [
    entry({ body: len(23, cat(len(1, "t"), len(2, len(1, cat(len(1, "a"), len(2, num(4, 1))))))) }),
    "the custom body has data of its own",
  ],
  details_array: [withDetails("[]"), "details are an array"],
  details_null: [withDetails("null"), "details are null"],
  details_not_json: [withDetails("{"), "details are not JSON"],
  details_with_space: [withDetails('{"a": 1}'), "a space"],
  details_unsorted: [withDetails('{"b":1,"a":1}'), "members out of order"],
  details_sorted_by_code_point: [
    withDetails('{"\ufb33":1,"\u{1f600}":1}'),
    "sorted by code point, not by UTF-16 code unit",
  ],
  details_integers_first: [withDetails('{"9":1,"10":1}'), "integer-like members in numeric order"],
  details_twice: [withDetails('{"a":1,"a":1}'), "a member twice"],
  details_number_form: [withDetails('{"a":1.0}'), "1.0 instead of 1"],
  details_number_exponent: [withDetails('{"a":1E21}'), "1E21 instead of 1e+21"],
  details_number_too_precise: [
    withDetails('{"a":9007199254740993}'),
    "9007199254740993 instead of 9007199254740992",
  ],
  details_negative_zero: [withDetails('{"a":-0}'), "-0 instead of 0"],
  details_overflow: [withDetails('{"a":1e400}'), "a number that no double holds"],
  details_nan: [withDetails('{"a":NaN}'), "NaN"],
  details_escape: [withDetails('{"a":"\\u0041"}'), "\\u0041 instead of A"],
  details_escaped_slash: [withDetails('{"a":"\\/"}'), "\\/ instead of /"],
  details_upper_case_escape: [withDetails('{"a":"\\u001F"}'), "\\u001F instead of \\u001f"],
  details_raw_control: [withDetails('{"a":"\t"}'), "a raw tab"],
  details_lone_surrogate: [withDetails('{"a":"\\ud800"}'), "an unpaired surrogate"],
  details_byte_order_mark: [withDetails('\ufeff{"a":1}'), "a byte order mark"],
  details_33_levels: [withDetails('{"a":'.repeat(32) + "{}" + "}".repeat(32)), "33 levels deep"],
  details_2000_levels: [
    withDetails('{"a":'.repeat(2000) + "{}" + "}".repeat(2000)),
    "2001 levels deep",
  ],
  unknown_field_33: [entry({ after: len(33, "") }), "field 33"],
  evidence_beside_login: [entry({ after: len(24, len(1, "a")) }), "two bodies"],
  evidence_twice: [bodied(cat(ADDED, ADDED)), "one body twice"],
  evidence_size_non_minimal: [bodied(len(24, raw("188000"))), "size as 80 00 instead of 00"],
  evidence_size_over_64_bits: [
    bodied(len(24, raw("18ffffffffffffffffff02"))),
    "size over 2^64 - 1",
  ],
  evidence_size_twice: [bodied(len(24, cat(num(3, 0), num(3, 0)))), "size comes twice"],
  evidence_size_as_double: [bodied(len(24, dbl(3, "3ff0000000000000"))), "size as a double"],
  evidence_default_string: [bodied(len(24, len(1, ""))), "an empty sha256 is written"],
  evidence_default_bool: [bodied(len(24, num(7, 0))), "content_kept false is written"],
  evidence_bool_of_two: [bodied(len(24, num(7, 2))), "content_kept is written as 2"],
  evidence_details_in_body: [bodied(len(24, len(8, ""))), "the evidence has details of its own"],
  evidence_unknown_field: [bodied(len(24, len(9, "x"))), "field 9 of an evidence_added"],
  checked_default_size: [
    bodied(len(25, num(6, 0))),
    "size 0 is written, which here is not optional",
  ],
  checked_default_state: [bodied(len(25, num(4, 0))), "state 0 is written"],
  checked_state_beyond_32_bits: [bodied(len(25, num(4, 2n ** 31n))), "state 2^31"],
  checked_unknown_field: [bodied(len(25, len(7, "x"))), "field 7 of an evidence_checked"],
  checked_details_in_body: [
    bodied(len(25, len(8, ""))),
    "details of its own, which an evidence_checked never has",
  ],
  checked_details: [
    entry({ details: len(9, "{}"), body: len(25, "") }),
    "an evidence_checked with details",
  ],
  deadline_beside_login: [entry({ after: len(26, "") }), "two bodies"],
  deadline_twice: [bodied(len(26, cat(len(1, ""), len(1, "")))), "deadline comes twice"],
  deadline_ladder_first: [bodied(len(26, cat(len(2, ""), len(1, "")))), "ladder before deadline"],
  deadline_ladder_apart: [
    bodied(len(26, cat(len(2, ""), len(3, "c"), len(2, num(1, 1))))),
    "the levels of the ladder do not stand together",
  ],
  deadline_ladder_as_varint: [bodied(len(26, num(2, 1))), "a level as a varint"],
  deadline_default_nanos: [
    bodied(len(26, len(2, cat(num(1, 1), num(2, 0))))),
    "nanos 0 of a level is written",
  ],
  deadline_unknown_field_in_level: [bodied(len(26, len(2, num(3, 1)))), "field 3 of a level"],
  deadline_default_cause: [bodied(len(26, len(3, ""))), "an empty cause is written"],
  deadline_details_in_body: [bodied(len(26, len(4, ""))), "the deadline has details of its own"],
  deadline_unknown_field: [bodied(len(26, num(5, 1))), "field 5 of a deadline_set"],
  level_default_cycle: [bodied(len(31, num(1, 0))), "cycle 0 is written"],
  level_cycle_over_32_bits: [bodied(len(31, num(1, 2n ** 32n))), "cycle 2^32"],
  ...Object.fromEntries(
    Object.entries({ extended: 27, paused: 28, resumed: 29, met: 30, raised: 31, refused: 32 }).map(
      ([name, number]) => [
        `${name}_details`,
        [entry({ details: len(9, "{}"), body: len(number, "") }), `a body ${number} with details`],
      ],
    ),
  ),
};
for (const [name, [bytes]] of Object.entries(REFUSED)) {
  try {
    decodeEntry(bytes);
  } catch {
    continue;
  }
  throw new Error(`${name} is not refused`);
}
/** Odd, but canonical: a decoder must take them. */
const ODD = {
  small: entry(),
  zero_times: entry({ accept: len(2, ""), occur: len(8, "") }),
  empty_body: entry({ body: len(20, "") }),
  no_caller_no_subject: entry({ caller: null, subject: null }),
  unknown_enum_value: entry({ body: len(16, cat(num(3, 99), num(4, -1))) }),
  negative_time: entry({ accept: len(2, cat(num(1, -1), num(2, 999999999))) }),
  time_beyond_calendars: entry({ accept: len(2, cat(num(1, 2n ** 63n - 1n), num(2, -1))) }),
  smallest_double: entry({ body: len(16, dbl(1, "0000000000000001")) }),
  evidence_empty: bodied(len(24, "")),
  evidence_size_zero: bodied(len(24, num(3, 0))),
  evidence_size_most: bodied(len(24, num(3, 2n ** 64n - 1n))),
  evidence_checked_empty: bodied(len(25, "")),
  evidence_checked_unknown_state: bodied(len(25, cat(num(4, 6), num(5, -1)))),
  evidence_checked_size_most: bodied(len(25, num(6, 2n ** 64n - 1n))),
  deadline_empty: bodied(len(26, "")),
  deadline_epoch: bodied(len(26, len(1, ""))),
  deadline_levels_of_zero: bodied(len(26, cat(len(2, ""), len(2, "")))),
  deadline_level_below_zero: bodied(len(26, len(2, cat(num(1, -1), num(2, -5))))),
  deadline_ladder_of_12: bodied(
    len(26, cat(...Array.from({ length: 12 }, (_, i) => len(2, num(1, i + 1))))),
  ),
  paused_empty: bodied(len(28, "")),
  level_most: bodied(len(31, cat(num(1, 2n ** 32n - 1n), num(2, 2n ** 32n - 1n)))),
};
for (const bytes of Object.values(ODD)) decodeEntry(bytes);

// ---- Trees and heads ----------------------------------------------------------------------------

const trees = [1, 2, 3, 5, 7, 8, 13].map((size) => {
  const leaves = Array.from({ length: size }, (_, i) => leafHash(Buffer.from([i])));
  const levels = treeLevels(leaves);
  return {
    leaves: leaves.map(hex),
    root: hex(merkleRoot(leaves)),
    paths: leaves.map((_, i) => inclusionPath(levels, i).map(hex)),
  };
});

// ---- A log of six batches, and its chain: mostly as it was before the fifth ---------------------

const trails = new Map();
const leaves = records.map(({ name, id, columns }) => {
  const { index, leaf: previous } = trails.get(columns.subject) ?? { index: -1, leaf: ZERO32 };
  const leaf = trailLeaf(id, index + 1, previous);
  trails.set(columns.subject, { index: index + 1, leaf });
  return { name, index: BigInt(index + 1), previousLeaf: previous, leaf };
});
const SIZES = [5, 1, 3, 8, 11, 10];
/** How many batches the chains have that do not say otherwise. */
const SEALED = 4;
const batches = [];
let head = genesisHead(ID);
let from = 0;
for (const [i, size] of SIZES.entries()) {
  const members = leaves.slice(from, from + size);
  from += size;
  const levels = treeLevels(members.map(({ leaf }) => leaf));
  const published = i === 3;
  const seal = {
    number: BigInt(i + 1),
    root: levels.at(-1)[0],
    size: BigInt(size),
    manifestDigest: published ? sha256(Buffer.from("manifest")) : ZERO32,
    trailsRoot: published ? sha256(Buffer.from("trails")) : ZERO32,
    nonce: 0n,
  };
  if (published) seal.nonce = findNonce(head, seal, 2, { from: 0, to: 1_000_000 });
  const previousHead = head;
  head = nextHead(head, seal);
  const seconds = BigInt(Date.UTC(2026, 1, 1) / 1000 + 12 * i);
  const anchor = {
    transactionHash: hex0x(sha256(Buffer.from(`transaction/${i}`))),
    blockNumber: BigInt(1000 + i),
    blockHash: hex0x(sha256(Buffer.from(`block/${i}`))),
    blockTime: { seconds, nanos: 0 },
  };
  batches.push({ members, levels, seal, previousHead, head, anchor });
}

const web3 = new Web3("http://127.0.0.1:1");
const SELECTORS = Object.fromEntries(
  ["contractName()", "version()", "batchOf(bytes32,uint64)", "minimumDifficulty()"].map((s) => [
    s,
    web3.utils.sha3(s).slice(0, 10),
  ]),
);
const TOPICS = Object.fromEntries(
  [
    "BatchSealed(bytes32,uint64,bytes32,bytes32,uint64,bytes32,bytes32,uint64)",
    "DifficultyChanged(uint8,uint8)",
  ].map((s) => [s, web3.utils.sha3(s)]),
);
const [BATCH_SEALED, DIFFICULTY_CHANGED] = Object.values(TOPICS);
const abi = (types, values) => web3.eth.abi.encodeParameters(types, values);
const batchOfData = (log, number) =>
  SELECTORS["batchOf(bytes32,uint64)"] + abi(["bytes32", "uint64"], [hex0x(log), number]).slice(2);
const batchOfResult = (root, head, size, time) =>
  abi(["bytes32", "bytes32", "uint64", "uint64"], [hex0x(root), hex0x(head), size, time]);
const ABSENT = batchOfResult(ZERO32, ZERO32, 0n, 0n);

/** What AuditLog announces of a batch that it seals. */
const sealedLog = ({ seal, head }, address = CONTRACT, log = LOG) => ({
  address,
  topics: [BATCH_SEALED, hex0x(log), abi(["uint64"], [seal.number]), hex0x(seal.root)],
  data: abi(
    ["bytes32", "uint64", "bytes32", "bytes32", "uint64"],
    [hex0x(head), seal.size, hex0x(seal.manifestDigest), hex0x(seal.trailsRoot), seal.nonce],
  ),
});

/** What a scripted node answers. Calls and transactions that it does not list: "0x" and null; logs: none. */
function chain({
  contract = CONTRACT,
  name = "anchord.AuditLog",
  version = 1n,
  chainId = CHAIN_ID,
  sealed = batches.slice(0, SEALED),
  difficulty = 0,
  raised = [],
  change = {},
  logs = (batch) => [sealedLog(batch, contract)],
} = {}) {
  const call = (data, result) => ({ to: contract, data, result });
  return {
    chainId: `0x${chainId.toString(16)}`,
    calls: [
      call(SELECTORS["contractName()"], abi(["string"], [name])),
      call(SELECTORS["version()"], abi(["uint256"], [version])),
      call(SELECTORS["minimumDifficulty()"], abi(["uint8"], [difficulty])),
      call(batchOfData(LOG, 0n), batchOfResult(ZERO32, genesisHead(ID), 0n, 0n)),
      ...sealed.map(({ seal, head, anchor }) =>
        call(
          batchOfData(LOG, seal.number),
          batchOfResult(seal.root, head, seal.size, anchor.blockTime.seconds),
        ),
      ),
      call(batchOfData(LOG, BigInt(sealed.length + 1)), ABSENT),
    ].map((answer) => ({ ...answer, ...change[answer.data] })),
    transactions: Object.fromEntries(
      sealed.map((batch) => [
        batch.anchor.transactionHash,
        {
          blockNumber: `0x${batch.anchor.blockNumber.toString(16)}`,
          blockHash: batch.anchor.blockHash,
          logs: logs(batch),
        },
      ]),
    ),
    logs:
      raised.length === 0
        ? undefined
        : raised.map(([block, previous, current]) => ({
            address: contract,
            topics: [DIFFICULTY_CHANGED],
            data: abi(["uint8", "uint8"], [previous, current]),
            blockNumber: `0x${block.toString(16)}`,
          })),
  };
}
const LOOK_ALIKE = "0x00000000000000000000000000000000000000aa";
const REVERT = { result: undefined, error: { code: -32000, message: "execution reverted" } };
const batch3 = batchOfData(LOG, 3n);
const answerOf = (n, { root, head, size, time }) => {
  const b = batches[n - 1];
  return {
    result: batchOfResult(
      root ?? b.seal.root,
      head ?? b.head,
      size ?? b.seal.size,
      time ?? b.anchor.blockTime.seconds,
    ),
  };
};
const zeroHead = { [batch3]: answerOf(3, { head: ZERO32 }) };
const chains = {
  log: chain(),
  other_chain_id: chain({ chainId: 1n }),
  no_contract: { chainId: `0x${CHAIN_ID.toString(16)}`, calls: [], transactions: {} },
  other_name: chain({ name: "anchord.AuditLoh" }),
  longer_name: chain({ name: "anchord.AuditLogs" }),
  empty_name: chain({ name: "" }),
  version_2: chain({ version: 2n }),
  contract_reverts: chain({ change: { [SELECTORS["contractName()"]]: REVERT } }),
  version_reverts: chain({ change: { [SELECTORS["version()"]]: REVERT } }),
  batch_reverts: chain({
    change: { [batch3]: { result: undefined, error: { code: 3, message: "no", data: "0x" } } },
  }),
  batch_absent: chain({ change: { [batch3]: { result: ABSENT } } }),
  batch_short: chain({ change: { [batch3]: { result: "0x" + "11".repeat(96) } } }),
  batch_other_root: chain({
    change: { [batch3]: answerOf(3, { root: sha256(Buffer.from("x")) }) },
  }),
  batch_other_size: chain({ change: { [batch3]: answerOf(3, { size: 4n }) } }),
  batch_other_head: chain({ change: zeroHead }),
  batch_other_time: chain({ change: { [batch3]: answerOf(3, { time: 1n }) } }),
  batch_before_absent: chain({ change: { [batchOfData(LOG, 2n)]: { result: ABSENT } } }),
  seal_unsaid: chain({ logs: () => [] }),
  seal_of_another_contract: chain({ logs: (batch) => [sealedLog(batch, LOOK_ALIKE)] }),
  seal_of_another_log: chain({ logs: (batch) => [sealedLog(batch, CONTRACT, logIdOf("other"))] }),
  seal_of_the_next: chain({ logs: ({ seal }) => [sealedLog(batches[Number(seal.number)])] }),
  seals_of_all: chain({ logs: () => batches.map((batch) => sealedLog(batch)) }),
  look_alike: chain({ contract: LOOK_ALIKE, name: "AuditLog" }),
  log_of_five: chain({ sealed: batches.slice(0, 5) }),
  log_of_six: chain({ sealed: batches }),
  // Batches 1 to 4 are in blocks 1000 to 1003; the head of batch 4 starts with two zero digits.
  work_two: chain({ difficulty: 2 }),
  work_raised_after: chain({
    difficulty: 8,
    raised: [
      [1004, 0, 2],
      [1005, 2, 8],
    ],
  }),
  work_raised_before: chain({ difficulty: 2, raised: [[1001, 0, 2]] }),
  work_raised_with_it: chain({ difficulty: 2, raised: [[1002, 0, 2]] }),
  work_lowered_with_it: chain({
    difficulty: 4,
    raised: [
      [1002, 4, 0],
      [1004, 0, 4],
    ],
  }),
};

// ---- Receipts -----------------------------------------------------------------------------------

function receiptOf(name) {
  const batch = batches.find(({ members }) => members.some((member) => member.name === name));
  const leafIndex = batch.members.findIndex((member) => member.name === name);
  const { index, previousLeaf } = batch.members[leafIndex];
  return toJson(
    GetReceiptResponseSchema,
    create(GetReceiptResponseSchema, {
      state: 3,
      receipt: {
        entry: byName[name].entry,
        identity: ID,
        trail: { index, previousLeaf },
        inclusion: { leafIndex: BigInt(leafIndex), path: inclusionPath(batch.levels, leafIndex) },
        batch: { ...batch.seal, previousHead: batch.previousHead },
        anchor: batch.anchor,
      },
    }),
  );
}
const EXITS = { valid: 0, invalid: 1, "not-anchored": 3 };
const receipts = [];
const add = (name, receipt, rest = {}) => {
  const step = rest.failedStep ?? null;
  const verdict = rest.verdict ?? (step === null ? "valid" : "invalid");
  receipts.push({
    name,
    verdict,
    failedStep: step,
    exitCode: EXITS[verdict],
    chain: rest.chain ?? "log",
    expect: rest.expect ?? {},
    receipt,
  });
};
const base64 = (bytes) => Buffer.from(bytes).toString("base64");
/** The receipt of the third record of batch 3, with one change. */
const SUBJECT = leaves[7].name;
const changed = (change) => {
  const copy = structuredClone(receiptOf(SUBJECT));
  return change(copy.receipt, copy) ?? copy;
};
const bad = (name, failedStep, change, rest = {}) =>
  add(name, changed(change), { failedStep, ...rest });
const same = () => undefined;

for (const [i, { members }] of batches.entries()) {
  const rest = i < SEALED ? {} : { chain: ["log_of_five", "log_of_six"][i - SEALED] };
  for (const { name } of members) add(`valid_${name}`, receiptOf(name), rest);
}
add("valid_receipt_alone", receiptOf("threat").receipt);
add("valid_expected", receiptOf("threat"), {
  expect: { chainId: String(CHAIN_ID), contract: CONTRACT.replace("fb", "FB"), log: LOG_NAME },
});
add(
  "bare",
  { receipt: { entry: receiptOf("threat").receipt.entry }, state: "RECORD_STATE_ACCEPTED" },
  { verdict: "not-anchored" },
);
add(
  "bare_receipt_alone",
  { entry: receiptOf("threat").receipt.entry },
  { verdict: "not-anchored" },
);
// A contract may be asked about any chain: a wrong expectation counts only once there is a proof.
add(
  "bare_expected",
  { entry: receiptOf("threat").receipt.entry },
  { verdict: "not-anchored", expect: { chainId: "1" } },
);

add("format_array", [], { failedStep: "format" });
add("format_null", null, { failedStep: "format" });
add("format_receipt_null", { receipt: null }, { failedStep: "format" });
bad("format_unknown_member", "format", (r) => void (r.extra = 1));
bad("format_unknown_inner_member", "format", (r) => void (r.trail.extra = "1"));
bad("format_unknown_outer_member", "format", (_, all) => void (all.extra = 1));
bad(
  "format_snake_case",
  "format",
  (r) => void ((r.trail.previous_leaf = r.trail.previousLeaf), delete r.trail.previousLeaf),
);
bad("format_state_number", "format", (_, all) => void (all.state = 3));
bad("format_state_unknown", "format", (_, all) => void (all.state = "RECORD_STATE_FINAM"));
bad("format_state_default", "format", (_, all) => void (all.state = "RECORD_STATE_UNSPECIFIED"));
bad("format_number", "format", (r) => void (r.batch.size = 3));
bad("format_leading_zero", "format", (r) => void (r.batch.size = "03"));
bad("format_plus", "format", (r) => void (r.batch.size = "+3"));
bad("format_decimal_point", "format", (r) => void (r.batch.size = "3.0"));
bad("format_full_width_digit", "format", (r) => void (r.batch.size = "\uff13"));
bad("format_too_big", "format", (r) => void (r.batch.size = "18446744073709551616"));
bad("format_written_default", "format", (r) => void (r.batch.nonce = "0"));
bad("format_written_empty_list", "format", (r) => void (r.inclusion.path = []));
bad("format_null_member", "format", (r) => void (r.batch.nonce = null));
bad(
  "format_base64_url",
  "format",
  (r) => void (r.batch.root = base64(Buffer.alloc(32, 0xff)).replaceAll("/", "_")),
);
bad("format_base64_unpadded", "format", (r) => void (r.batch.root = r.batch.root.replace("=", "")));
bad(
  "format_base64_unused_bits",
  "format",
  (r) => void (r.trail.previousLeaf = base64(ZERO32).replace("A=", "B=")),
);
bad("format_base64_space", "format", (r) => void (r.batch.root += "\n"));
bad(
  "format_time_fraction",
  "format",
  (r) => void (r.anchor.blockTime = r.anchor.blockTime.replace("Z", ".500Z")),
);
bad(
  "format_time_offset",
  "format",
  (r) => void (r.anchor.blockTime = r.anchor.blockTime.replace("Z", "+00:00")),
);
bad(
  "format_time_day_30_of_february",
  "format",
  (r) => void (r.anchor.blockTime = "2026-02-30T00:00:00Z"),
);
bad("format_time_hour_24", "format", (r) => void (r.anchor.blockTime = "2026-02-01T24:00:00Z"));
bad("format_time_leap_second", "format", (r) => void (r.anchor.blockTime = "2026-02-01T00:00:60Z"));
bad("format_time_missing", "format", (r) => void delete r.anchor.blockTime);
for (const part of ["identity", "trail", "inclusion", "batch", "anchor"]) {
  bad(`format_no_${part}`, "format", (r) => void delete r[part]);
}
bad("format_log_missing", "format", (r) => void delete r.identity.log);
bad("format_digest_short", "format", (r) => void (r.batch.trailsRoot = base64(Buffer.alloc(31))));
bad("format_path_empty_node", "format", (r) => void (r.inclusion.path[0] = ""));
bad("format_path_null_node", "format", (r) => void (r.inclusion.path[0] = null));
bad("format_path_number_node", "format", (r) => void (r.inclusion.path[0] = 0));
bad("format_path_not_a_list", "format", (r) => void (r.inclusion.path = r.inclusion.path[0]));
bad("format_part_not_an_object", "format", (r) => void (r.trail = []));
bad("format_part_null", "format", (r) => void (r.trail = null));
bad(
  "format_contract_upper_case",
  "format",
  (r) => void (r.identity.contract = CONTRACT.replace("fb", "FB")),
);
bad("format_contract_short", "format", (r) => void (r.identity.contract = CONTRACT.slice(0, -2)));
bad("format_contract_new_line", "format", (r) => void (r.identity.contract += "\n"));
bad(
  "format_block_hash_bare",
  "format",
  (r) => void (r.anchor.blockHash = r.anchor.blockHash.slice(2)),
);

add("entry_missing", {}, { failedStep: "entry" });
add("entry_missing_before_parts", { identity: {} }, { failedStep: "entry" });
add("entry_missing_in_response", { receipt: {} }, { failedStep: "entry" });
for (const name of ["duplicate_field", "non_minimal_value", "details_unsorted", "two_bodies"]) {
  bad(`entry_${name}`, "entry", (r) => void (r.entry = base64(REFUSED[name][0])));
}
add("entry_bare", { entry: base64(REFUSED.unknown_field[0]) }, { failedStep: "entry" });

bad("identity_expected_chain", "identity", same, { expect: { chainId: "1" } });
bad("identity_expected_contract", "identity", same, { expect: { contract: LOOK_ALIKE } });
bad("identity_expected_log", "identity", same, { expect: { log: "other" } });
bad("identity_chain_changed", "identity", (r) => void (r.identity.chainId = "1"));
bad("identity_node_of_another_chain", "identity", same, { chain: "other_chain_id" });

bad("contract_changed", "contract", (r) => void (r.identity.contract = LOOK_ALIKE));
for (const name of [
  "no_contract",
  "other_name",
  "longer_name",
  "empty_name",
  "version_2",
  "contract_reverts",
  "version_reverts",
]) {
  bad(`contract_${name}`, "contract", same, { chain: name });
}
bad("contract_look_alike", "contract", (r) => void (r.identity.contract = LOOK_ALIKE), {
  chain: "look_alike",
});

bad("path_outside", "path", (r) => void (r.inclusion.leafIndex = "3"));
bad("path_empty_batch", "path", (r) => void delete r.batch.size);
bad("path_too_long", "path", (r) => void r.inclusion.path.push(r.batch.root));
bad("path_too_short", "path", (r) => void r.inclusion.path.pop());
bad("path_missing", "path", (r) => void delete r.inclusion.path);
bad("path_huge_size", "path", (r) => void (r.batch.size = "18446744073709551615"));

bad("root_other_entry", "root", (r) => void (r.entry = receiptOf("threat").receipt.entry));
bad("root_other_trail_index", "root", (r) => void (r.trail.index = "77"));
bad("root_other_previous_leaf", "root", (r) => void (r.trail.previousLeaf = base64(ZERO32)));
bad("root_other_node", "root", (r) => void (r.inclusion.path[0] = r.batch.root));
bad("root_nodes_swapped", "root", (r) => void r.inclusion.path.reverse());
bad("root_other_root", "root", (r) => void (r.batch.root = base64(ZERO32)));
bad("root_other_index", "root", (r) => void delete r.inclusion.leafIndex);

bad("batch_zero", "batch", (r) => void delete r.batch.number);
bad("batch_unknown", "batch", (r) => void (r.batch.number = "5"));
bad("batch_another", "batch", (r) => void (r.batch.number = "2"));
bad("batch_other_log", "batch", (r) => void (r.identity.log = base64(logIdOf("other"))));
bad("batch_size_changed", "batch", (r) => void (r.batch.size = "4"));
for (const name of ["reverts", "absent", "short", "other_root", "other_size"]) {
  bad(`batch_chain_${name}`, "batch", same, { chain: `batch_${name}` });
}

bad("head_previous", "head", (r) => void (r.batch.previousHead = base64(ZERO32)));
bad("head_manifest", "head", (r) => void (r.batch.manifestDigest = r.batch.root));
bad("head_trails", "head", (r) => void (r.batch.trailsRoot = r.batch.root));
bad("head_nonce", "head", (r) => void (r.batch.nonce = "1"));
bad("head_chain_other", "head", same, { chain: "batch_other_head" });
bad("head_batch_before_absent", "head", same, { chain: "batch_before_absent" });
const genesisChanged = structuredClone(receiptOf("threat"));
genesisChanged.receipt.batch.previousHead = base64(ZERO32);
add("head_genesis", genesisChanged, { failedStep: "head" });

bad("anchor_transaction_unknown", "anchor", (r) => void (r.anchor.transactionHash = hex0x(ZERO32)));
bad(
  "anchor_transaction_of_another",
  "anchor",
  (r) => void (r.anchor.transactionHash = batches[0].anchor.transactionHash),
);
// All of batch 1's, but for its time.
bad("anchor_of_another", "anchor", (r) => {
  const { transactionHash, blockNumber, blockHash } = batches[0].anchor;
  Object.assign(r.anchor, { transactionHash, blockNumber: String(blockNumber), blockHash });
});
for (const name of ["unsaid", "of_another_contract", "of_another_log", "of_the_next"]) {
  bad(`anchor_chain_seal_${name}`, "anchor", same, { chain: `seal_${name}` });
}
add("anchor_one_of_many_seals", changed(same), { chain: "seals_of_all" });
bad("anchor_block_number", "anchor", (r) => void (r.anchor.blockNumber = "1"));
bad("anchor_block_hash", "anchor", (r) => void (r.anchor.blockHash = hex0x(ZERO32)));
bad("anchor_block_time", "anchor", (r) => void (r.anchor.blockTime = "2026-02-01T00:00:25Z"));
bad("anchor_chain_other_time", "anchor", same, { chain: "batch_other_time" });

// A receipt of batch 3, whose head starts with no zero digit, and one of batch 4, whose head has two.
const FOURTH = batches[3].members[0].name;
bad("work_two_for_none", "work", same, { chain: "work_two" });
add("work_two_for_two", receiptOf(FOURTH), { chain: "work_two" });
add("work_raised_after", changed(same), { chain: "work_raised_after" });
bad("work_raised_before", "work", same, { chain: "work_raised_before" });
add("work_raised_in_its_block", changed(same), { chain: "work_raised_with_it" });
add("work_lowered_in_its_block", changed(same), { chain: "work_lowered_with_it" });
bad("work_expected_one_for_none", "work", same, { expect: { difficulty: 1 } });
add("work_expected_two_for_two", receiptOf(FOURTH), { expect: { difficulty: 2 } });
add("work_expected_three_for_two", receiptOf(FOURTH), {
  failedStep: "work",
  expect: { difficulty: 3 },
});

// ---- The file -----------------------------------------------------------------------------------

const seals = batches.map(({ seal, previousHead, head }) => ({
  head: hex(previousHead),
  number: String(seal.number),
  root: hex(seal.root),
  size: String(seal.size),
  manifestDigest: hex(seal.manifestDigest),
  trailsRoot: hex(seal.trailsRoot),
  nonce: String(seal.nonce),
  next: hex(head),
}));
const described = (name, bytes) => ({
  name,
  hex: hex(bytes),
  id: hex(sha256(bytes)),
  // Proto3 JSON has no place for a time outside of the calendar.
  fields: name === "odd_time_beyond_calendars" ? null : toJson(EntrySchema, decodeEntry(bytes)),
});
const genesis = [
  ID,
  { ...ID, chainId: 1n },
  { ...ID, contract: LOOK_ALIKE },
  { ...ID, log: logIdOf("") },
  { ...ID, chainId: 2n ** 64n - 1n },
];
const vectors = {
  about:
    "Test vectors of docs/receipts.md, made by scripts/gen-vectors.mjs. Bytes are hex, except in receipts.",
  entries: [
    ...records.map(({ name, entry }) => described(name, entry)),
    ...Object.entries(ODD).map(([name, bytes]) => described(`odd_${name}`, bytes)),
  ],
  refusedEntries: Object.entries(REFUSED).map(([name, [bytes, why]]) => ({
    name,
    why,
    hex: hex(bytes),
  })),
  trailLeaves: leaves.map(({ name, index, previousLeaf, leaf }) => ({
    entry: name,
    entryHash: hex(byName[name].id),
    index: String(index),
    previousLeaf: hex(previousLeaf),
    leaf: hex(leaf),
  })),
  trees,
  logIds: [LOG_NAME, "", "tenant/ä"].map((name) => ({ name, log: hex(logIdOf(name)) })),
  genesisHeads: genesis.map((id) => ({
    chainId: String(id.chainId),
    contract: id.contract,
    log: hex(id.log),
    head: hex(genesisHead(id)),
  })),
  nextHeads: seals,
  selectors: SELECTORS,
  topics: TOPICS,
  chains,
  receipts,
};

/** JSON with -0 kept, as -0.0, and lists of short things on one line. */
function print(value, indent = "") {
  if (Object.is(value, -0)) return "-0.0";
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Array.isArray(value)
    ? value.map((item) => print(item, `${indent}  `))
    : Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .map(([key, item]) => `${JSON.stringify(key)}: ${print(item, `${indent}  `)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const line = `${open}${members.join(", ")}${close}`;
  if (!line.includes("\n") && indent.length + line.length <= 100) return line;
  return `${open}\n${indent}  ${members.join(`,\n${indent}  `)}\n${indent}${close}`;
}
writeFileSync(OUT, `${print(vectors)}\n`);
