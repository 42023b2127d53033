import { getOption } from "@bufbuild/protobuf";
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { createValidator } from "@bufbuild/protovalidate";
import type { Validator } from "@bufbuild/protovalidate";
import type { Interceptor } from "@connectrpc/connect";
import { field as fieldRules, oneof as oneofRules } from "../../gen/ts/buf/validate/validate_pb.js";
import type { FieldRules } from "../../gen/ts/buf/validate/validate_pb.js";
import { isWellFormedTime } from "../core/calendar.js";
import { invalidFields } from "../core/errors.js";
import type { FieldViolation } from "../core/errors.js";

/**
 * Validation by the rules in the proto files. Protovalidate decides; in front of it stand checks
 * compiled from the same rules, which only ever say "surely valid", so that a good message, which
 * most are, does not cost the 20 to 30 µs of the general machinery.
 */

/** True only if a value surely obeys its rules; false sends the message to protovalidate. */
type SurelyValid<T> = (value: T) => boolean;
type MessageCheck = SurelyValid<Record<string, unknown>>;

/** Refuses requests that break a rule, each message of a stream included. */
export function validationInterceptor(): Interceptor {
  const validator = createValidator();
  return (next) => (request) => {
    const { input } = request.method;
    if (!request.stream) {
      requireValid(validator, input, request.message);
      return next(request);
    }
    const message = { value: validated(validator, input, request.message) };
    return next(Object.create(request, { message }) as typeof request);
  };
}

async function* validated(
  validator: Validator,
  schema: DescMessage,
  messages: AsyncIterable<Message>,
) {
  for await (const message of messages) {
    requireValid(validator, schema, message);
    yield message;
  }
}

function requireValid(validator: Validator, schema: DescMessage, message: Message): void {
  if (surelyValid(schema)(message as unknown as Record<string, unknown>)) return;
  const violations = violationsOf(validator, schema, message);
  if (violations.length > 0) throw invalidFields(violations);
}

/** Every rule that a message breaks, by protovalidate. */
export function violationsOf(
  validator: Validator,
  schema: DescMessage,
  message: Message,
): FieldViolation[] {
  const result = validator.validate(schema, message as never);
  if (result.kind === "error") throw result.error;
  if (result.kind === "invalid") {
    return result.violations.map((violation) => ({
      field: fieldPath(violation.field),
      description: violation.message,
    }));
  }
  return malformedValues(schema, message as unknown as Record<string, unknown>, "");
}

function fieldPath(
  path: readonly { kind?: string; name?: string; index?: number; key?: unknown }[],
): string {
  return path.reduce((text, part) => {
    if (part.kind === "list_sub") return `${text}[${part.index}]`;
    if (part.kind === "map_sub") return `${text}[${JSON.stringify(String(part.key))}]`;
    return text === "" ? (part.name ?? "") : `${text}.${part.name ?? ""}`;
  }, "");
}

const compiled = new Map<string, MessageCheck>();

/** The compiled checks of a message type. */
export function surelyValid(schema: DescMessage): MessageCheck {
  const known = compiled.get(schema.typeName);
  if (known !== undefined) return known;
  // A type that contains itself finds this entry while its own checks are compiled.
  compiled.set(schema.typeName, (message) => surelyValid(schema)(message));
  const checks = schema.members.map((member) =>
    member.kind === "oneof" ? oneofCheck(member) : fieldCheck(member),
  );
  const check: MessageCheck = (message) => checks.every((each) => each(message));
  compiled.set(schema.typeName, check);
  return check;
}

function oneofCheck(
  oneof: Extract<DescMessage["members"][number], { kind: "oneof" }>,
): MessageCheck {
  const { required } = getOption(oneof, oneofRules);
  const cases = new Map(oneof.fields.map((f) => [f.localName, valueCheck(f)]));
  return (message) => {
    const choice = message[oneof.localName] as { case?: string; value?: unknown };
    if (choice.case === undefined) return !required;
    return cases.get(choice.case)?.(choice.value) ?? false;
  };
}

function fieldCheck(field: DescField): MessageCheck {
  const check = valueCheck(field);
  const { required } = getOption(field, fieldRules);
  return (message) => {
    const value = message[field.localName];
    return value === undefined ? !required : check(value);
  };
}

function valueCheck(field: DescField): SurelyValid<unknown> {
  const check = ruleCheck(field, getOption(field, fieldRules));
  switch (field.fieldKind) {
    case "list": {
      const item = field.listKind === "message" ? messageCheck(field.message) : isSayable;
      return (value) => (value as unknown[]).every(item) && check(value);
    }
    case "message": {
      const itself = messageCheck(field.message);
      return (value) => itself(value) && check(value);
    }
    case "scalar":
      return (value) => isSayable(value) && check(value);
    default:
      return check;
  }
}

/** What a message must be, whatever the rules of the field that has it. */
function messageCheck(message: DescMessage): SurelyValid<unknown> {
  const form = FORMS[message.typeName];
  if (form !== undefined) return form.isKept;
  if (message.typeName.startsWith("google.protobuf.")) return () => true;
  return surelyValid(message) as SurelyValid<unknown>;
}

/** Checks of one field's rules; rules that are not known here are never surely obeyed. */
function ruleCheck(field: DescField, rules: FieldRules): SurelyValid<unknown> {
  if (rules.cel.length > 0 || rules.celExpression.length > 0 || rules.ignore !== 0)
    return () => false;
  const { case: kind, value: rule } = rules.type;
  if (kind === undefined) return () => true;
  const bounds = setMembers(rule as never);
  const maker = (MAKERS as Record<string, Maker | undefined>)[kind];
  return maker?.(bounds, field) ?? (() => false);
}

/** The members of a rules message that are set, oneofs flattened. */
function setMembers(rule: Record<string, unknown>): Map<string, unknown> {
  const entries = Object.entries(rule).flatMap(([name, value]): [string, unknown][] => {
    if (name.startsWith("$") || value === undefined) return [];
    if (Array.isArray(value)) return value.length > 0 ? [[name, value]] : [];
    if (value !== null && typeof value === "object" && "case" in value) {
      const { case: member, value: inner } = value as { case?: string; value?: unknown };
      return member === undefined ? [] : [[member, inner]];
    }
    return [[name, value]];
  });
  return new Map(entries);
}

type Maker = (bounds: Map<string, unknown>, field: DescField) => SurelyValid<unknown>;
type Tests = Record<string, (bound: never, field: DescField) => (value: never) => boolean>;

/** A maker that knows these members of a rule, and gives up on any other. */
function known(tests: Tests): Maker {
  return (bounds, field) => {
    const checks: SurelyValid<unknown>[] = [];
    for (const [name, bound] of bounds) {
      const test = tests[name];
      if (test === undefined) return () => false;
      checks.push(test(bound as never, field) as SurelyValid<unknown>);
    }
    return (value) => checks.every((check) => check(value));
  };
}

const NUMBER: Tests = {
  finite: () => (value: number) => Number.isFinite(value),
  gte: (bound: number) => (value: number) => value >= bound,
  lte: (bound: number) => (value: number) => value <= bound,
};

const MAKERS: Readonly<Record<string, Maker>> = {
  // Lengths count code points, of which there are at most as many as UTF-16 units, and at least half.
  string: known({
    minLen: (bound: bigint) => (value: string) =>
      value.length >= 2 * Number(bound) || (bound === 1n && value !== ""),
    maxLen: (bound: bigint) => (value: string) => value.length <= Number(bound),
    pattern: (bound: string) => {
      const pattern = new RegExp(bound, "u");
      return (value: string) => pattern.test(value);
    },
    notIn: (bound: readonly string[]) => (value: string) => !bound.includes(value),
  }),
  double: known(NUMBER),
  int32: known(NUMBER),
  uint32: known(NUMBER),
  uint64: known({ lt: (bound: bigint) => (value: bigint) => value < bound }),
  bytes: known({ len: (bound: bigint) => (value: Uint8Array) => value.length === Number(bound) }),
  enum: known({
    const: (bound: number) => (value: number) => value === bound,
    definedOnly:
      (_: boolean, { enum: desc }) =>
      (value: number) =>
        desc?.value[value] !== undefined,
  }),
  repeated: known({
    minItems: (bound: bigint) => (value: unknown[]) => value.length >= Number(bound),
    maxItems: (bound: bigint) => (value: unknown[]) => value.length <= Number(bound),
    items: (rules: FieldRules, field) => {
      const check = ruleCheck(field, rules);
      return (value: unknown[]) => value.every(check);
    },
  }),
  duration: known({
    gte: (bound: Duration) => (value: Duration) => !isShorter(value, bound),
    lte: (bound: Duration) => (value: Duration) => !isShorter(bound, value),
  }),
  timestamp: known({
    gte: (bound: Timestamp) => (value: Timestamp) => value.seconds >= bound.seconds,
    lt: (bound: Timestamp) => (value: Timestamp) => value.seconds < bound.seconds,
  }),
};

/** 10,000 years, which is what google.protobuf.Duration and its JSON can express. */
const MOST_SECONDS = 315_576_000_000n;

function wellFormedDuration({ seconds, nanos }: Duration): boolean {
  const isOneSigned = seconds === 0n || nanos === 0 || seconds < 0n === nanos < 0;
  const length = seconds < 0n ? -seconds : seconds;
  return isOneSigned && Math.abs(nanos) < 1_000_000_000 && length <= MOST_SECONDS;
}

/** Requires that both are well formed. */
function isShorter(a: Duration, b: Duration): boolean {
  return a.seconds < b.seconds || (a.seconds === b.seconds && a.nanos < b.nanos);
}

/** Messages that can be encoded with values that mean nothing: which mean something, and what is said else. */
const FORMS: Readonly<Record<string, { isKept: SurelyValid<unknown>; description: string }>> = {
  [TimestampSchema.typeName]: {
    isKept: (value) => isWellFormedTime(value as Timestamp),
    description: "must be in the years 1 to 9999, nanos from 0 to 999999999",
  },
  [DurationSchema.typeName]: {
    isKept: (value) => wellFormedDuration(value as Duration),
    description: "must be at most 10000 years, nanos up to 999999999 with the sign of its seconds",
  },
};

/** Whether a value is anything but text that UTF-8 cannot say. */
function isSayable(value: unknown): boolean {
  return typeof value !== "string" || value.isWellFormed();
}

/** Values that no rule can express: unpaired surrogates, and times and durations that are none. */
function malformedValues(
  schema: DescMessage,
  message: Record<string, unknown>,
  at: string,
): FieldViolation[] {
  return schema.fields.flatMap((field): FieldViolation[] => {
    const value = memberValue(field, message);
    if (value === undefined) return [];
    const path = `${at}${field.name}`;
    const inner =
      field.fieldKind === "message" || field.fieldKind === "list" ? field.message : undefined;
    if (field.fieldKind !== "list") return malformedValue(inner, value, path);
    return (value as unknown[]).flatMap((item, i) => malformedValue(inner, item, `${path}[${i}]`));
  });
}

function malformedValue(
  message: DescMessage | undefined,
  value: unknown,
  path: string,
): FieldViolation[] {
  if (!isSayable(value)) return [{ field: path, description: "must not have unpaired surrogates" }];
  if (message === undefined) return [];
  const form = FORMS[message.typeName];
  if (form !== undefined) {
    return form.isKept(value) ? [] : [{ field: path, description: form.description }];
  }
  if (message.typeName.startsWith("google.")) return [];
  return malformedValues(message, value as Record<string, unknown>, `${path}.`);
}

function memberValue(field: DescField, message: Record<string, unknown>): unknown {
  if (field.oneof === undefined) return message[field.localName];
  const choice = message[field.oneof.localName] as { case?: string; value?: unknown };
  return choice.case === field.localName ? choice.value : undefined;
}
