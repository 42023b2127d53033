// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/**
 * @title Append-only logs of sealed batches
 * @notice A batch is a run of records under one Merkle root (RFC 9162, SHA-256). Each log is a chain
 * of heads: the head of a batch commits to the head before it, so nothing that was sealed can be
 * changed, dropped or slipped in, not even by the sealer.
 * @dev A log is named by 32 bytes, so that one contract keeps many of them, each independent of the
 * others. Whoever holds the sealer role seals in all of them; anyone may read and verify.
 */
interface IAuditLog {
    /**
     * @notice A batch on its way into a log.
     * @param number Number of the batch: one more than the log's last, from 1.
     * @param size How many records it has, at least one.
     * @param nonce Proof of work: makes the head start with enough zero hex digits.
     * @param previousHead Head of the log that this batch follows.
     * @param root Merkle root over the leaves of its records.
     * @param manifestDigest SHA-256 of its published content, or zero.
     * @param trailsRoot Root of the map of trail heads, or zero.
     */
    struct Seal {
        uint64 number;
        uint64 size;
        uint64 nonce;
        bytes32 previousHead;
        bytes32 root;
        bytes32 manifestDigest;
        bytes32 trailsRoot;
    }

    /**
     * @notice A batch was sealed.
     * @param log The log it was appended to.
     * @param number Its number in the log.
     * @param root Merkle root over its leaves.
     * @param head The log's head from now on.
     * @param size How many records it has.
     * @param manifestDigest SHA-256 of its published content, or zero.
     * @param trailsRoot Root of the map of trail heads, or zero.
     * @param nonce Proof of work.
     */
    event BatchSealed(
        bytes32 indexed log,
        uint64 indexed number,
        bytes32 indexed root,
        bytes32 head,
        uint64 size,
        bytes32 manifestDigest,
        bytes32 trailsRoot,
        uint64 nonce
    );

    /**
     * @notice The work asked of every further head was changed.
     * @param previous Leading zero hex digits asked for until now.
     * @param current Leading zero hex digits asked for from now on.
     */
    event DifficultyChanged(uint8 previous, uint8 current);

    /**
     * @notice Appends a batch to a log.
     * @dev The new head is SHA-256(previousHead ‖ number u64 ‖ root ‖ size u64 ‖ manifestDigest ‖
     * trailsRoot ‖ nonce u64), big-endian. Requires the sealer role, the next number on the current
     * head, at least one record, and a head with the minimum difficulty.
     * @param log The log to append to.
     * @param seal The batch.
     */
    function sealBatch(bytes32 log, Seal calldata seal) external;

    /**
     * @notice Sets how much work the heads of all further batches must show.
     * @dev Requires the admin role and a difficulty no higher than the maximum.
     * @param difficulty Leading zero hex digits.
     */
    function setMinimumDifficulty(uint8 difficulty) external;

    /**
     * @notice The last batch of a log and the head that the next one must follow.
     * @param log The log.
     * @return number Number of the last batch; 0 where there is none.
     * @return head Its head; the genesis head where there is none.
     */
    function headOf(bytes32 log) external view returns (uint64 number, bytes32 head);

    /**
     * @notice A batch as it was sealed; all zero where there is no such batch.
     * @dev Number 0 stands for the empty log: it has the genesis head and nothing else.
     * @param log The log.
     * @param number Number of the batch.
     * @return root Merkle root over its leaves.
     * @return head Head of the log after it.
     * @return size How many records it has.
     * @return time Time of the block that sealed it, in seconds since the epoch.
     */
    function batchOf(
        bytes32 log,
        uint64 number
    ) external view returns (bytes32 root, bytes32 head, uint64 size, uint64 time);

    /**
     * @notice The head of a log before its first batch.
     * @dev SHA-256("anchord/head/v1" ‖ chain id u256 ‖ this contract ‖ log): heads of another chain,
     * contract or log never pass for heads of this one.
     * @param log The log.
     * @return head The head.
     */
    function genesisHead(bytes32 log) external view returns (bytes32 head);

    /**
     * @notice Whether a leaf stands at this place in a sealed batch.
     * @dev Inclusion as in RFC 9162, section 2.1.3.2; the path must have exactly the length that the
     * place asks for. The leaf is a leaf hash already: derive it from the record, never take it from
     * whoever presents the proof.
     * @param log The log.
     * @param number Number of the batch.
     * @param leaf Hash of the leaf.
     * @param index Place of the leaf in the batch, from 0.
     * @param path Sibling hashes from the leaf up.
     * @return included False where the batch does not exist, or does not have this leaf there.
     */
    function verify(
        bytes32 log,
        uint64 number,
        bytes32 leaf,
        uint64 index,
        bytes32[] calldata path
    ) external view returns (bool included);

    /**
     * @notice How many zero hex digits the head of a new batch must start with.
     * @return difficulty Leading zero hex digits.
     */
    function minimumDifficulty() external view returns (uint8 difficulty);

    /**
     * @notice What this contract is, so that a foreign address can be told from it.
     * @return name Always "anchord.AuditLog".
     */
    function contractName() external pure returns (string memory name);

    /**
     * @notice Which revision of the contract this is.
     * @return revision Counts up with every change that callers can see.
     */
    function version() external pure returns (uint256 revision);
}
