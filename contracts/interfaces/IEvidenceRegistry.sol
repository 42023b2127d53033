// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/**
 * @title Register of evidence
 * @notice Says which file was handed in for which subject, by whom and when. A file is its SHA-256, a
 * subject is a key of 32 bytes; each pair has one anchor, which stands for ever.
 * @dev A subject's key is the SHA-256 of its name: a pseudonym, not a secret, since whoever guesses the
 * name finds the key. Whoever holds the anchorer role anchors for every subject; anyone may read.
 */
interface IEvidenceRegistry {
    /**
     * @notice A file on its way into the register.
     * @param subject Key of the subject that it is handed in for.
     * @param digest SHA-256 of the file, not zero.
     * @param ref SHA-256 of the record that tells of it, or zero.
     * @param cid Where the file can be fetched: a binary CID of at most 64 bytes, or nothing.
     */
    struct Evidence {
        bytes32 subject;
        bytes32 digest;
        bytes32 ref;
        bytes cid;
    }

    /**
     * @notice Who anchored a file for a subject, and when.
     * @param submitter The account that did.
     * @param time Time of the block, in seconds since the epoch.
     * @param blockNumber Number of the block.
     */
    struct Anchor {
        address submitter;
        uint48 time;
        uint48 blockNumber;
    }

    /**
     * @notice A file was anchored for a subject, for the first time.
     * @param subject Key of the subject.
     * @param digest SHA-256 of the file.
     * @param ref SHA-256 of the record that tells of it, or zero.
     * @param cid Binary CID of the file, or nothing.
     * @param submitter The account that anchored it.
     */
    event EvidenceAnchored(
        bytes32 indexed subject,
        bytes32 indexed digest,
        bytes32 indexed ref,
        bytes cid,
        address submitter
    );

    /**
     * @notice Anchors files, each for its subject.
     * @dev What has its anchor already is skipped without a word: the first one stays, and the others of
     * the list are anchored all the same. Requires the anchorer role and at least one file; each with a
     * digest, and a CID of at most 64 bytes. One that is refused refuses the whole list. With CIDs of 64
     * bytes, a call takes about 24,000 gas and 30,000 for each file.
     * @param evidence The files.
     */
    function anchorEvidence(Evidence[] calldata evidence) external;

    /**
     * @notice The anchor of a file for a subject.
     * @dev Reverts where there is none, so that no caller takes zeros for an anchor.
     * @param subject Key of the subject.
     * @param digest SHA-256 of the file.
     * @return anchor Who anchored it first, and when.
     */
    function evidenceOf(
        bytes32 subject,
        bytes32 digest
    ) external view returns (Anchor memory anchor);

    /**
     * @notice What this contract is, so that a foreign address can be told from it.
     * @return name Always "anchord.EvidenceRegistry".
     */
    function contractName() external pure returns (string memory name);

    /**
     * @notice Which revision of the contract this is.
     * @return revision Counts up with every change that callers can see.
     */
    function version() external pure returns (uint256 revision);
}
