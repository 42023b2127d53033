/** The page of a transaction in an explorer, whose address has {tx} for the hash; undefined without one. */
export function explorerLink(
  template: string | undefined,
  transactionHash: string,
): string | undefined {
  return template?.replaceAll("{tx}", transactionHash);
}
