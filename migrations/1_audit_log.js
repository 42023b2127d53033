/* global artifacts, web3 */

/**
 * Deploys AuditLog once per network; run again, it finds what it deployed. Prints its address as the
 * setting of the service. Reads from the environment:
 *
 * - SEALER_ADDRESS: who may seal, the deployer unless told. Taken at the first deployment only.
 * - MINIMUM_DIFFICULTY: leading zero hex digits asked of every head; left as it is unless told.
 * - ADMIN_ADDRESS: who rules over the roles, the deployer unless told. The deployer gives its own rule
 *   up last, and from then on changes nothing here.
 */
const { deployOnce, handOver, rules } = require("./deployment.cjs");

const AuditLog = artifacts.require("AuditLog");

module.exports = async function (deployer, _network, [account]) {
  const difficulty = wantedDifficulty();
  const sealer = process.env.SEALER_ADDRESS || account;
  const auditLog = await deployOnce(deployer, web3, AuditLog, account, sealer);
  if (await rules(auditLog, account)) {
    await setDifficulty(auditLog, difficulty, account);
    await handOver(auditLog, account);
  }
  console.log(`BLOCKCHAIN_CONTRACT_ADDRESS=${auditLog.address}`);
};

/** Checked before anything is deployed: the node would answer with an error nobody can read. */
function wantedDifficulty() {
  const text = process.env.MINIMUM_DIFFICULTY;
  if (!text) return undefined;
  if (!/^([0-9]|1[0-6])$/.test(text)) {
    throw new Error(`MINIMUM_DIFFICULTY must be a number from 0 to 16, not "${text}"`);
  }
  return Number(text);
}

async function setDifficulty(auditLog, wanted, from) {
  if (wanted === undefined) return;
  if ((await auditLog.minimumDifficulty()).toNumber() === wanted) return;
  await auditLog.setMinimumDifficulty(wanted, { from });
}
