#!/usr/bin/env node
import { setFlagsFromString } from "node:v8";

// Collect garbage before a heap has grown by 30 %: left to itself, V8 lets it double and more where the
// machine has much memory, and the service takes half as much again. But begin to mark only shortly before:
// what an upload leaves is cheap to collect with the young, and would else have all of the heap marked, for
// each twenty megabytes of a file.
setFlagsFromString("--heap-growing-percent=30");
setFlagsFromString("--incremental-marking-soft-trigger=97"); // percent of the way to there

await import("../dist/bundle/anchord/main.js");
