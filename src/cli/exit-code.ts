/** How the command line ends; the same for every verb. */
export const ExitCode = {
  /** Done, and what was checked holds. */
  ok: 0,
  /** It does not hold, or the command failed. */
  failed: 1,
  /** The command was not called as it should be. */
  usage: 2,
  /** The receipt was made before its record was anchored. */
  notAnchored: 3,
  /** The chain or the service cannot be reached. */
  unreachable: 4,
} as const;
