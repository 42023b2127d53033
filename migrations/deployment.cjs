/** What the migrations share. Truffle runs a migration with globals of its own, and passes them on here. */

/**
 * Deploys a contract of ours whose constructor takes an admin and the first holder of a role, unless it
 * is there already. The deployer is its admin, until `handOver`.
 */
async function deployOnce(deployer, web3, contract, admin, holder) {
  const overwrite = !(await isThere(web3, contract));
  await deployer.deploy(contract, admin, holder, { overwrite });
  return contract.deployed();
}

/**
 * Whether the contract stands where its artifact says: a development chain may have been reset, and have
 * another of our contracts there. A node that does not answer is no reason to deploy again.
 */
async function isThere(web3, contract) {
  if (!contract.isDeployed()) return false;
  const data = web3.eth.abi.encodeFunctionSignature("contractName()");
  const answer = await web3.eth.call({ to: contract.address, data }).catch(noneIfReverted);
  return answer === web3.eth.abi.encodeParameter("string", `anchord.${contract.contractName}`);
}

/** A contract that is none of ours may well revert. */
function noneIfReverted(error) {
  if (/revert/.test(error.message)) return undefined;
  throw error;
}

/** Whether an account still rules over the roles of a contract. */
async function rules(contract, account) {
  return contract.hasRole(await contract.DEFAULT_ADMIN_ROLE(), account);
}

/** Gives the rule over the roles to ADMIN_ADDRESS. Requires that the account still has it. */
async function handOver(contract, from) {
  const admin = process.env.ADMIN_ADDRESS;
  if (!admin || admin.toLowerCase() === from.toLowerCase()) return;
  const role = await contract.DEFAULT_ADMIN_ROLE();
  await contract.grantRole(role, admin, { from });
  await contract.renounceRole(role, from, { from });
}

module.exports = { deployOnce, handOver, rules };
