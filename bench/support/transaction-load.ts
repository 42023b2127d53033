import { BareTransactions, emptyCall } from "./bare-transactions.js";
import type { Account } from "./bare-transactions.js";

/**
 * Anchors one record a transaction: account as JSON, seconds. Prints how many a second. Each is signed
 * while the one before is on its way; to hand in several at once makes Ganache slower, not faster.
 */
const [accountText = "{}", secondsText = "5"] = process.argv.slice(2);
const transactions = new BareTransactions(JSON.parse(accountText) as Account, emptyCall);
await transactions.prepare();
for (let i = 0; i < 20; i++) await transactions.send(); // warm up

let count = 0;
let next = transactions.sign();
const start = performance.now();
while (performance.now() < start + Number(secondsText) * 1000) {
  const delivered = transactions.deliver(await next);
  next = transactions.sign();
  await delivered;
  count += 1;
}
process.stdout.write(`${(count / (performance.now() - start)) * 1000}\n`);
process.exit(0);
