/* global artifacts, web3 */

/**
 * Deploys EvidenceRegistry once per network; run again, it finds what it deployed. Prints its address as
 * the setting of the service. Beside an AuditLog whose artifacts are elsewhere, run this one alone:
 * `npm run migrate -- -f 2 --to 2`. Reads from the environment:
 *
 * - ANCHORER_ADDRESS: who may anchor evidence, SEALER_ADDRESS unless told, as the service seals and
 *   anchors with one account; the deployer where neither is set. Taken at the first deployment only.
 * - ADMIN_ADDRESS: who rules over the roles, the deployer unless told. The deployer gives its own rule
 *   up last, and from then on changes nothing here.
 */
const { deployOnce, handOver, rules } = require("./deployment.cjs");

const EvidenceRegistry = artifacts.require("EvidenceRegistry");

module.exports = async function (deployer, _network, [account]) {
  const anchorer = process.env.ANCHORER_ADDRESS || process.env.SEALER_ADDRESS || account;
  const registry = await deployOnce(deployer, web3, EvidenceRegistry, account, anchorer);
  if (await rules(registry, account)) await handOver(registry, account);
  console.log(`EVIDENCE_CONTRACT_ADDRESS=${registry.address}`);
};
