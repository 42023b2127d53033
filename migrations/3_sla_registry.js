/* global artifacts, web3 */

/**
 * Deploys SLARegistry once per network; run again, it finds what it deployed. Prints its address as the
 * setting of the service. Beside contracts whose artifacts are elsewhere, run this one alone:
 * `npm run migrate -- -f 3`. Reads from the environment:
 *
 * - MANAGER_ADDRESS: who may set and move deadlines, SEALER_ADDRESS unless told, as the service seals and
 *   manages with one account; the deployer where neither is set. Taken at the first deployment only.
 * - ADMIN_ADDRESS: who rules over the roles, the deployer unless told. The deployer gives its own rule
 *   up last, and from then on changes nothing here.
 */
const { deployOnce, handOver, rules } = require("./deployment.cjs");

const SLARegistry = artifacts.require("SLARegistry");

module.exports = async function (deployer, _network, [account]) {
  const manager = process.env.MANAGER_ADDRESS || process.env.SEALER_ADDRESS || account;
  const registry = await deployOnce(deployer, web3, SLARegistry, account, manager);
  if (await rules(registry, account)) await handOver(registry, account);
  console.log(`SLA_CONTRACT_ADDRESS=${registry.address}`);
};
