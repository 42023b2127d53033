import { parentPort, workerData } from "node:worker_threads";
import { findNonce } from "../core/head.js";
import type { NonceSearch } from "./nonce.js";

const { head, seal, difficulty, from } = workerData as NonceSearch;
parentPort?.postMessage(findNonce(head, seal, difficulty, { from, to: Number.MAX_SAFE_INTEGER }));
