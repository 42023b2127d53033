#!/usr/bin/env node
import { setFlagsFromString } from "node:v8";

// Collect garbage before a heap has grown by 40 %: left to itself, V8 lets it double and more where the
// machine has much memory, and the service takes half as much again.
setFlagsFromString("--heap-growing-percent=40");

await import("../dist/src/cli/main.js");
