import type { JsonObject } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { SLACertificateSchema } from "../../gen/ts/anchord/v1/sla_pb.js";
import type { SLACertificate } from "../../gen/ts/anchord/v1/sla_pb.js";
import { GetCertificateResponseSchema } from "../../gen/ts/anchord/v1/sla_service_pb.js";
import { requireWholeSeconds } from "./receipt-json.js";
import { jsonObject, strictFromJson } from "./strict-json.js";

/** Whether a text is JSON that means to be a certificate, valid or not; else it may be a receipt. */
export function looksLikeCertificate(text: string): boolean {
  try {
    const json = jsonObject(text, "certificate");
    return "certificate" in json || "format" in json;
  } catch {
    return false;
  }
}

/**
 * Reads a certificate's JSON as docs/sla-certificates.md specifies it: the proto3 JSON of a
 * GetCertificateResponse or of an SLACertificate alone, and no other way to write the same. Throws an
 * Error that says what is wrong; a check then fails at its step "format".
 */
export function certificateFromJson(text: string): SLACertificate {
  const certificate = messageIn(jsonObject(text, "certificate"));
  const { deadline, meetTime, asOfTime, setReceipt, meetReceipt } = certificate;
  for (const [name, time] of Object.entries({ deadline, meetTime, asOfTime })) {
    if (hasFraction(time)) throw new Error(`${name} has a fraction of a second`);
  }
  for (const receipt of [setReceipt, meetReceipt]) {
    if (receipt !== undefined) requireWholeSeconds(receipt);
  }
  return certificate;
}

function messageIn(json: JsonObject): SLACertificate {
  if (!("certificate" in json)) return strictFromJson(SLACertificateSchema, json, "certificate");
  const { certificate } = strictFromJson(GetCertificateResponseSchema, json, "certificate");
  if (certificate === undefined) throw new Error("there is no certificate");
  return certificate;
}

function hasFraction(time: Timestamp | undefined): boolean {
  return time !== undefined && time.nanos !== 0;
}
