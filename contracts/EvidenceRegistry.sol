// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IEvidenceRegistry} from "./interfaces/IEvidenceRegistry.sol";

/**
 * @title EvidenceRegistry
 * @notice Keeps the anchors of evidence; see IEvidenceRegistry.
 * @dev The admin grants and revokes both roles, so that a lost or stolen anchorer key is replaced
 * without moving the register. There is no way, for any role, to alter or remove an anchor. Only the
 * role anchors: nobody who sees a transaction on its way can be the first with its evidence.
 */
contract EvidenceRegistry is IEvidenceRegistry, AccessControl {
    /// @notice Whoever holds this role may anchor evidence.
    bytes32 public constant ANCHORER_ROLE = keccak256("ANCHORER_ROLE");

    uint256 private constant LONGEST_CID = 64;

    mapping(bytes32 subject => mapping(bytes32 digest => Anchor anchor)) private _anchors;

    /// @notice This file was never anchored for this subject.
    error NoEvidence(bytes32 subject, bytes32 digest);

    /// @notice The file at this place of the list has no digest.
    error ZeroDigest(uint256 index);

    /// @notice The CID at this place of the list is longer than any that is used.
    error CidTooLong(uint256 index, uint256 length);

    /// @notice The list has no files.
    error EmptyList();

    /// @notice The role would be given to nobody.
    error ZeroAddress(bytes32 role);

    /**
     * @notice Starts without anchors.
     * @param admin Grants and revokes roles.
     * @param anchorer Anchors evidence.
     */
    constructor(address admin, address anchorer) {
        if (admin == address(0)) revert ZeroAddress(DEFAULT_ADMIN_ROLE);
        if (anchorer == address(0)) revert ZeroAddress(ANCHORER_ROLE);
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(ANCHORER_ROLE, anchorer);
    }

    /// @inheritdoc IEvidenceRegistry
    function anchorEvidence(Evidence[] calldata evidence) external onlyRole(ANCHORER_ROLE) {
        if (evidence.length == 0) revert EmptyList();
        for (uint256 i = 0; i < evidence.length; ++i) _anchor(i, evidence[i]);
    }

    /// @inheritdoc IEvidenceRegistry
    function evidenceOf(
        bytes32 subject,
        bytes32 digest
    ) external view returns (Anchor memory anchor) {
        anchor = _anchors[subject][digest];
        if (anchor.submitter == address(0)) revert NoEvidence(subject, digest);
    }

    /// @inheritdoc IEvidenceRegistry
    function contractName() external pure returns (string memory name) {
        return "anchord.EvidenceRegistry";
    }

    /// @inheritdoc IEvidenceRegistry
    function version() external pure returns (uint256 revision) {
        return 1;
    }

    function _anchor(uint256 index, Evidence calldata item) private {
        (bytes32 subject, bytes32 digest) = (item.subject, item.digest);
        if (digest == 0) revert ZeroDigest(index);
        if (item.cid.length > LONGEST_CID) revert CidTooLong(index, item.cid.length);

        mapping(bytes32 digest => Anchor anchor) storage anchors = _anchors[subject];
        if (anchors[digest].submitter != address(0)) return;
        anchors[digest] = Anchor({
            submitter: msg.sender,
            time: uint48(block.timestamp),
            blockNumber: uint48(block.number)
        });
        emit EvidenceAnchored(subject, digest, item.ref, item.cid, msg.sender);
    }
}
