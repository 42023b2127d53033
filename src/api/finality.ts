import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { chainPosition } from "../store/chain-position.js";
import type { Database } from "../store/database.js";

/** The number of the last block that is final; −1 before there is one. */
export async function lastFinal(database: Database): Promise<number> {
  return (await chainPosition(database))?.finalNumber ?? -1;
}

/** How far something has come that a block has; `blockNumber` is undefined where none does. */
export function stateIn(blockNumber: number | undefined, finalNumber: number): RecordState {
  if (blockNumber === undefined) return RecordState.ACCEPTED;
  return blockNumber <= finalNumber ? RecordState.FINAL : RecordState.ANCHORED;
}
