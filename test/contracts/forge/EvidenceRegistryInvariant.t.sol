// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {EvidenceRegistry} from "../../../contracts/EvidenceRegistry.sol";
import {IEvidenceRegistry} from "../../../contracts/interfaces/IEvidenceRegistry.sol";
import {Test, VM} from "./Test.sol";

/// @notice Anchors a few files for a few subjects over and over, and remembers what came of it first.
contract Anchorers {
    uint256 public constant SUBJECTS = 3;
    uint256 public constant FILES = 4;

    EvidenceRegistry public immutable REGISTRY;

    mapping(bytes32 subject => mapping(bytes32 digest => IEvidenceRegistry.Anchor)) private _first;
    address[] private _accounts;

    constructor() {
        REGISTRY = new EvidenceRegistry(address(this), address(this));
        _accounts = [address(this), address(0xa1), address(0xa2)];
    }

    /// @notice Some files, by one of the accounts, whether it has the role or not.
    function anchor(uint256 account, uint256[5] calldata picks, bytes32 ref, uint8 count) external {
        address sender = _accounts[account % _accounts.length];
        uint256 length = count % 6;
        IEvidenceRegistry.Evidence[] memory list = new IEvidenceRegistry.Evidence[](length);
        for (uint256 i = 0; i < length; ++i) {
            (bytes32 subject, bytes32 digest) = place(picks[i]);
            list[i] = IEvidenceRegistry.Evidence(subject, digest, ref, abi.encode(picks[i]));
        }
        VM.prank(sender);
        try REGISTRY.anchorEvidence(list) {
            for (uint256 i = 0; i < length; ++i) _remember(sender, list[i]);
        } catch {
            return;
        }
    }

    /// @notice The role comes and goes.
    function rotate(uint256 account, bool grant) external {
        address holder = _accounts[account % _accounts.length];
        bytes32 role = REGISTRY.ANCHORER_ROLE();
        if (grant) REGISTRY.grantRole(role, holder);
        else REGISTRY.revokeRole(role, holder);
    }

    /// @notice Time passes.
    function wait(uint16 blocks) external {
        VM.roll(block.number + blocks);
        VM.warp(block.timestamp + 12 * uint256(blocks));
    }

    function firstOf(
        bytes32 subject,
        bytes32 digest
    ) external view returns (IEvidenceRegistry.Anchor memory) {
        return _first[subject][digest];
    }

    function place(uint256 pick) public pure returns (bytes32 subject, bytes32 digest) {
        (subject, digest) = (bytes32(pick % SUBJECTS), bytes32(1 + ((pick / SUBJECTS) % FILES)));
    }

    function _remember(address sender, IEvidenceRegistry.Evidence memory item) private {
        IEvidenceRegistry.Anchor storage first = _first[item.subject][item.digest];
        if (first.submitter != address(0)) return;
        first.submitter = sender;
        first.time = uint48(block.timestamp);
        first.blockNumber = uint48(block.number);
    }
}

contract EvidenceRegistryInvariantTest is Test {
    Anchorers private _anchorers;

    function setUp() external {
        _anchorers = new Anchorers();
        targetContract(address(_anchorers));
    }

    /// @notice Each file of each subject has its first anchor, or none while it was never anchored.
    function invariant_theFirstAnchorStands() external view {
        for (uint256 i = 0; i < _anchorers.SUBJECTS() * _anchorers.FILES(); ++i) {
            (bytes32 subject, bytes32 digest) = _anchorers.place(i);
            IEvidenceRegistry.Anchor memory first = _anchorers.firstOf(subject, digest);
            try _anchorers.REGISTRY().evidenceOf(subject, digest) returns (
                IEvidenceRegistry.Anchor memory anchor
            ) {
                assertEq(keccak256(abi.encode(anchor)), keccak256(abi.encode(first)));
            } catch {
                assertTrue(first.submitter == address(0), "an anchor is gone");
            }
        }
    }
}
