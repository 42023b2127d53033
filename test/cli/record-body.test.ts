import { Command } from "commander";
import { create, toJson } from "@bufbuild/protobuf";
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { expect } from "chai";
import { RecordEventRequestSchema } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { RecordSchema } from "../../gen/ts/anchord/v1/record_pb.js";
import { cutRow, jsonLine, row } from "../../src/cli/columns.js";
import { exactJson } from "../../src/cli/exact-json.js";
import { factOf } from "../../src/cli/record-body.js";
import type { Told } from "../../src/cli/record-body.js";
import { withServer } from "../../src/cli/server.js";
import { parseTime } from "../../src/cli/time.js";

/** The fact that data stands for, its body as the JSON of a request. */
function fact(type: string, data: JsonValue, told?: Told) {
  const { body, subject, actor, occurTime } = factOf(type, data, told);
  const request = { ...create(RecordEventRequestSchema), body };
  return {
    body: toJson(RecordEventRequestSchema, request) as JsonObject,
    subject,
    actor,
    time: occurTime && timestampDate(occurTime).toISOString(),
  };
}

const TRADE = { trade_id: "t-1", symbol: "BTC/USDT", side: "buy", quantity: 0.1, price: 50000 };

describe("the data of record-event", () => {
  it("takes a trade by the names of the plugin, and keeps as details what it does not know", () => {
    const data = {
      id: 7,
      symbol: "BTC/USDT",
      side: "Sell",
      quantity: 0.1,
      price: 50000.5,
      timestamp: "2026-02-01T12:00:00+01:00",
      order_type: "market",
      execution_details: { fee: 0.1 },
      venue: ["X"],
    };
    expect(fact("trade", data)).to.deep.equal({
      body: {
        trade: {
          tradeId: "7",
          symbol: "BTC/USDT",
          side: "SIDE_SELL",
          quantity: 0.1,
          price: 50000.5,
          orderType: "market",
          details: { fee: 0.1, venue: ["X"] },
        },
      },
      subject: "trade/7",
      actor: undefined,
      time: "2026-02-01T11:00:00.000Z",
    });
  });

  it("takes the names of the proto files as well", () => {
    const data = { tradeId: "t-1", symbol: "S", side: "SIDE_BUY", quantity: "0.1", price: -1 };
    const { body } = fact("trade", data);
    expect(body).to.deep.equal({
      trade: { tradeId: "t-1", symbol: "S", side: "SIDE_BUY", quantity: 0.1, price: -1 },
    });
  });

  it("takes orders, changes, logins and types of the caller, each with its subject", () => {
    const order = { id: "o-1", symbol: "S", side: "buy", quantity: 1, type: "limit", price: null };
    expect(fact("order", order)).to.deep.include({
      body: {
        order: { orderId: "o-1", symbol: "S", side: "SIDE_BUY", quantity: 1, orderType: "limit" },
      },
      subject: "order/o-1",
    });
    const details = { old_value: 1, new_value: [2] };
    const change = { component: "engine", change_type: "deploy", user: "ada", details };
    expect(fact("system_change", change)).to.deep.include({
      body: { systemChange: { component: "engine", changeType: "deploy", details } },
      subject: "system/engine",
      actor: "ada",
    });
    const setting = { key: "limit", old_value: 5, new_value: { a: true }, user: "ada" };
    expect(fact("config_change", setting, { actor: "bob" })).to.deep.include({
      body: {
        configChange: {
          key: "limit",
          oldValue: "5",
          newValue: '{"a":true}',
          details: { user: "ada" },
        },
      },
      subject: "config/limit",
      actor: "bob",
    });
    expect(fact("login", { user: "ada", success: false, ip: "::1" })).to.deep.include({
      body: { login: { user: "ada", details: { ip: "::1" } } },
      subject: "user/ada",
    });
    const door = { timestamp: 5, details: 1 };
    expect(fact("door.opened", door)).to.deep.include({
      body: { custom: { type: "door.opened", data: { timestamp: 5, details: 1 } } },
      subject: "door.opened",
      time: undefined,
    });
  });

  it("reads when it happened from ISO 8601 or seconds, unless it is told", () => {
    const time = (timestamp: JsonValue) => fact("trade", { ...TRADE, timestamp }).time;
    expect(time("2026-02-01 12:00:00.123456")).to.equal("2026-02-01T12:00:00.123Z");
    expect(time(1_769_947_200.25)).to.equal("2026-02-01T12:00:00.250Z");
    expect(time(null)).to.equal(undefined);
    const told = { time: parseTime("2026-03-01"), subject: "desk/1" };
    expect(fact("trade", { ...TRADE, timestamp: "then" }, told)).to.deep.include({
      time: "2026-03-01T00:00:00.000Z",
      subject: "desk/1",
      body: {
        trade: {
          tradeId: "t-1",
          symbol: "BTC/USDT",
          side: "SIDE_BUY",
          quantity: 0.1,
          price: 50000,
          details: { timestamp: "then" },
        },
      },
    });
  });

  const refused: readonly [string, string, JsonValue, RegExp][] = [
    ["no object", "trade", [], /must be a JSON object/],
    ["an unknown side", "trade", { ...TRADE, side: "long" }, /side must be one of buy, sell/],
    ["a trade without a quantity", "trade", { ...TRADE, quantity: null }, /needs quantity/],
    ["a login without an outcome", "login", { user: "ada" }, /needs success/],
    ["text for a number", "trade", { ...TRADE, price: "a lot" }, /price/],
    ["a list for a number", "trade", { ...TRADE, price: [] }, /price/],
    [
      "text with too many digits",
      "trade",
      { ...TRADE, price: "0.12345678901234567891" },
      /round it/,
    ],
    ["a field twice", "trade", { ...TRADE, fee: 1, details: { fee: 2 } }, /fee is there twice/],
    [
      "a time that is none",
      "trade",
      { ...TRADE, timestamp: "2026-02-30" },
      /timestamp must be a time/,
    ],
    ["milliseconds", "trade", { ...TRADE, timestamp: 1_769_947_200_000 }, /seconds since 1970/],
    ["no id", "trade", { ...TRADE, trade_id: "" }, /give --subject, or trade_id in the data/],
    ["nothing it is about", "threat", { score: 1, duration_minutes: 1 }, /give --subject: what/],
  ];
  for (const [what, type, data, message] of refused) {
    it(`refuses ${what}`, () => expect(() => factOf(type, data)).to.throw(message));
  }

  it("is refused for every type that only the service records, and for custom", () => {
    const accepted = new Set(RecordEventRequestSchema.fields.map(({ name }) => name));
    const own = RecordSchema.fields.filter(({ oneof, name }) => oneof && !accepted.has(name));
    expect(own).not.to.have.length(0);
    for (const { name } of [...own, { name: "custom" }]) {
      expect(() => factOf(name, {}), name).to.throw(`${name} cannot be recorded by --type: `);
    }
    expect(() => factOf("evidence_added", {})).to.throw("use anchord evidence upload");
  });
});

describe("exact JSON", () => {
  it("keeps numbers that a double holds, however they are written", () => {
    const text = `{"a":[0.10,50000.0,-0,1E+2,9007199254740992,5e-324,0.1e1],"1.23456789012345678901":"\\"7e999"}`;
    expect(exactJson(text)).to.deep.equal(JSON.parse(text));
  });

  const refused: readonly [string, RegExp][] = [
    [
      "0.12345678901234567891",
      /would be kept as 0.12345678901234568: round it, or write it as a string/,
    ],
    ["[9007199254740993]", /would be kept as 9007199254740992/],
    ['{"a":1e999}', /would be kept as Infinity/],
    ['{"a":NaN}', /no JSON/],
    ['{"a":[{"b":1,"b":2}]}', /a key stands twice/],
    ["", /no JSON/],
  ];
  for (const [text, message] of refused) {
    it(`refuses ${JSON.stringify(text)}`, () => expect(() => exactJson(text)).to.throw(message));
  }
});

describe("JSON on a terminal", () => {
  it("has nothing that could rewrite the screen, and the same values", () => {
    const value = { subject: "a\u009b2J\u202eb\u{e0001}\n" };
    const line = jsonLine(value);
    expect(line).to.match(/^[\x20-\x7e]+\n$/);
    expect(JSON.parse(line)).to.deep.equal(value);
  });
});

describe("columns on a terminal", () => {
  const { columns } = process.stdout;
  afterEach(() => void (process.stdout.columns = columns));

  it("have the last one in full, unless it is a sample", () => {
    process.stdout.columns = 10;
    expect(row([3], ["a", "value in full"])).to.equal("a   value in full\n");
    expect(cutRow([3], ["a", "value in full"])).to.equal("a   value…\n");
  });
});

describe("the address of the service", () => {
  const taken: Readonly<Record<string, string>> = {
    localhost: "http://localhost:50051/",
    "[::1]": "http://[::1]:50051/",
    "localhost:80": "http://localhost:80",
    "https://host": "https://host",
  };
  for (const [text, address] of Object.entries(taken)) {
    it(`takes ${text}`, () => {
      const command = withServer(new Command()).parse(["--server", text], { from: "user" });
      expect(command.opts()).to.include({ server: address });
    });
  }
});

describe("times of the command line", () => {
  const taken: Readonly<Record<string, string>> = {
    "2026-02-01": "2026-02-01T00:00:00.000Z",
    "2026-02-01T12:30": "2026-02-01T12:30:00.000Z",
    "2026-02-01 12:30:05": "2026-02-01T12:30:05.000Z",
    "2026-02-01T12:30:05.123456": "2026-02-01T12:30:05.123Z",
    "2026-02-01T12:30:05.1234567Z": "2026-02-01T12:30:05.123Z",
    "2026-02-01T12:30:05+00:00": "2026-02-01T12:30:05.000Z",
    "2026-02-01T12:30:05 -0130": "2026-02-01T14:00:05.000Z",
    "2026-02-01T12:30+02": "2026-02-01T10:30:00.000Z",
    "2024-02-29": "2024-02-29T00:00:00.000Z",
  };
  for (const [text, time] of Object.entries(taken)) {
    it(`take ${text}`, () => expect(timestampDate(parseTime(text)).toISOString()).to.equal(time));
  }

  const refused = [
    "",
    "now",
    "2026",
    "2026-13-01",
    "2026-02-30",
    "2026-02-01T",
    "2026-02-01T24:30",
  ];
  for (const text of [...refused, "2026-02-01T12:30:05+25:99", "2026-02-01Z", "01.02.2026"]) {
    it(`refuse ${JSON.stringify(text)}`, () =>
      expect(() => parseTime(text)).to.throw(/must be a time such as/));
  }
});
