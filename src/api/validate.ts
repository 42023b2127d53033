import { getOption } from "@bufbuild/protobuf";
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { createValidator } from "@bufbuild/protovalidate";
import type { Validator } from "@bufbuild/protovalidate";
import type { Interceptor } from "@connectrpc/connect";
import { field as fieldRules, oneof as oneofRules } from "../../gen/ts/buf/validate/validate_pb.js";
import type { FieldRules } from "../../gen/ts/buf/validate/validate_pb.js";
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
      const item = field.listKind === "message" ? surelyValid(field.message) : () => true;
      return (value) => check(value) && (value as unknown[]).every((each) => item(each as never));
    }
    case "message":
      if (field.message.typeName === TimestampSchema.typeName) {
        return (value) => wellFormedTime(value as Timestamp) && check(value);
      }
      if (field.message.typeName.startsWith("google.protobuf.")) return check;
      return (value) => check(value) && surelyValid(field.message)(value as never);
    case "scalar":
      return (value) => (typeof value !== "string" || value.isWellFormed()) && check(value);
    default:
      return check;
  }
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
  }),
  timestamp: known({
    gte: (bound: Timestamp) => (value: Timestamp) => value.seconds >= bound.seconds,
    lt: (bound: Timestamp) => (value: Timestamp) => value.seconds < bound.seconds,
  }),
};

/** The years 1 to 9999, which is what google.protobuf.Timestamp and its JSON can express. */
const FIRST_SECOND = -62_135_596_800n;
const LAST_SECOND = 253_402_300_799n;

function wellFormedTime({ seconds, nanos }: Timestamp): boolean {
  return nanos >= 0 && nanos < 1_000_000_000 && seconds >= FIRST_SECOND && seconds <= LAST_SECOND;
}

/** Values that no rule can express: unpaired surrogates, and times that are none. */
function malformedValues(
  schema: DescMessage,
  message: Record<string, unknown>,
  at: string,
): FieldViolation[] {
  return schema.fields.flatMap((field): FieldViolation[] => {
    const path = `${at}${field.name}`;
    const value = memberValue(field, message);
    if (value === undefined) return [];
    if (typeof value === "string" && !value.isWellFormed()) {
      return [{ field: path, description: "must not have unpaired surrogates" }];
    }
    if (field.fieldKind === "message" && field.message.typeName === TimestampSchema.typeName) {
      if (wellFormedTime(value as Timestamp)) return [];
      return [
        { field: path, description: "must be in the years 1 to 9999, nanos from 0 to 999999999" },
      ];
    }
    if (field.fieldKind === "message" && !field.message.typeName.startsWith("google.")) {
      return malformedValues(field.message, value as Record<string, unknown>, `${path}.`);
    }
    if (field.fieldKind === "list" && field.listKind === "message") {
      return (value as Record<string, unknown>[]).flatMap((item, i) =>
        malformedValues(field.message, item, `${path}[${i}].`),
      );
    }
    return [];
  });
}

function memberValue(field: DescField, message: Record<string, unknown>): unknown {
  if (field.oneof === undefined) return message[field.localName];
  const choice = message[field.oneof.localName] as { case?: string; value?: unknown };
  return choice.case === field.localName ? choice.value : undefined;
}
