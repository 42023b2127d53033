import { BareTransactions } from "./bare-transactions.js";
import type { Account } from "./bare-transactions.js";

/** Anchors one record a transaction: account as JSON, number in flight, seconds. Prints how many a second. */
const [accountText = "{}", inFlightText = "1", secondsText = "5"] = process.argv.slice(2);
const transactions = new BareTransactions(JSON.parse(accountText) as Account);
await transactions.prepare();
for (let i = 0; i < 20; i++) await transactions.send(); // warm up

let sent = 0;
const start = performance.now();
const end = start + Number(secondsText) * 1000;
const sender = async () => {
  for (; performance.now() < end; sent++) await transactions.send();
};
await Promise.all(Array.from({ length: Number(inFlightText) }, sender));
process.stdout.write(`${(sent / (performance.now() - start)) * 1000}\n`);
