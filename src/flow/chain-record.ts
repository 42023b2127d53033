import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { hex0x, sha256 } from "../core/bytes.js";
import { CHAIN_CALLER } from "../core/evidence.js";
import { canonicalHash, encodeRecord } from "../core/record.js";
import type { Body, EncodedRecord } from "../core/record.js";

/** Where and by whom something was done on chain. */
export interface ChainPlace {
  readonly chainId: bigint;
  readonly transactionHash: Uint8Array;
  /** Position of the event in its block. */
  readonly logIndex: number;
  /** Seconds since 1970. */
  readonly blockTime: number;
  /** The account that did it: 20 bytes. */
  readonly account: Uint8Array;
}

/** A record of what the chain has: everything in it is the chain's, so that every database makes the same. */
export function chainRecord(place: ChainPlace, subject: string, body: Body): EncodedRecord {
  const chainId = place.chainId.toString();
  const transaction = hex0x(place.transactionHash);
  const { logIndex, account } = place;
  const hash = canonicalHash({ chainId, transaction, logIndex });
  const time = place.blockTime * 1_000;
  return encodeRecord(
    {
      caller: CHAIN_CALLER,
      subject,
      actor: hex0x(account),
      occurTime: timestampFromMs(time),
      request: { id: `${chainId}/${transaction}/${logIndex}`, hash },
      body,
    },
    { now: new Date(time), salt: sha256(hash).subarray(0, 16) },
  );
}
