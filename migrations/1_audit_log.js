/* global artifacts, web3 */

/**
 * Deploys AuditLog once per network; run again, it finds what it deployed. Reads from the environment:
 *
 * - SEALER_ADDRESS: who may seal, the deployer unless told. Taken at the first deployment only.
 * - MINIMUM_DIFFICULTY: leading zero hex digits asked of every head; left as it is unless told.
 * - ADMIN_ADDRESS: who rules over the roles, the deployer unless told. The deployer gives its own rule
 *   up last, and from then on changes nothing here.
 */
const AuditLog = artifacts.require("AuditLog");

module.exports = async function (deployer, _network, [account]) {
  const difficulty = wantedDifficulty();
  const overwrite = !(await isThere(AuditLog));
  const sealer = process.env.SEALER_ADDRESS || account;
  await deployer.deploy(AuditLog, account, sealer, { overwrite });

  const auditLog = await AuditLog.deployed();
  const adminRole = await auditLog.DEFAULT_ADMIN_ROLE();
  if (await auditLog.hasRole(adminRole, account)) {
    await setDifficulty(auditLog, difficulty, account);
    await handOver(auditLog, adminRole, account);
  }
  console.log(`AuditLog is at ${auditLog.address}`);
};

/** Whether the contract stands where its artifact says: a development chain may have been reset. */
async function isThere(contract) {
  if (!contract.isDeployed()) return false;
  return (await web3.eth.getCode(contract.address)) !== "0x";
}

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

async function handOver(auditLog, adminRole, from) {
  const admin = process.env.ADMIN_ADDRESS;
  if (!admin || admin.toLowerCase() === from.toLowerCase()) return;
  await auditLog.grantRole(adminRole, admin, { from });
  await auditLog.renounceRole(adminRole, from, { from });
}
