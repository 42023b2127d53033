import { Client, credentials } from "@grpc/grpc-js";
import { requestBytes, threatRequest } from "./messages.js";

/** Calls one method over and over: target, path, calls in flight, seconds. Prints calls a second. */
const [target = "", path = "", inFlightText = "64", secondsText = "5"] = process.argv.slice(2);
const inFlight = Number(inFlightText);
const client = new Client(target, credentials.createInsecure());
const bytes = Buffer.from(requestBytes(threatRequest(42)));
const pass = (data: Buffer) => data;

let done = 0;
let running = true;
const call = (): Promise<void> =>
  new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, pass, pass, bytes, (error) => {
      if (error) reject(error);
      else {
        done += 1;
        resolve();
      }
    });
  });
const worker = async () => {
  while (running) await call();
};
const workers = Array.from({ length: inFlight }, worker);

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
await wait(2000); // warm up
const from = done;
const start = performance.now();
await wait(Number(secondsText) * 1000);
const rate = ((done - from) / (performance.now() - start)) * 1000;
running = false;
await Promise.all(workers);
process.stdout.write(`${rate}\n`);
client.close();
