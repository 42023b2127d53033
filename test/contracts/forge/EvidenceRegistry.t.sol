// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {EvidenceRegistry} from "../../../contracts/EvidenceRegistry.sol";
import {IEvidenceRegistry} from "../../../contracts/interfaces/IEvidenceRegistry.sol";
import {Test, Vm, VM} from "./Test.sol";

contract EvidenceRegistryTest is Test {
    EvidenceRegistry private _registry;

    function setUp() external {
        _registry = new EvidenceRegistry(address(this), address(this));
    }

    /// @notice An anchor says who, when and in which block, and is told of with all that was given.
    function testFuzz_theAnchorIsOfItsBlock(
        IEvidenceRegistry.Evidence memory item,
        address anchorer,
        uint48 time,
        uint48 number
    ) external {
        item = _valid(item);
        VM.assume(anchorer != address(0));
        _registry.grantRole(_registry.ANCHORER_ROLE(), anchorer);
        VM.warp(time);
        VM.roll(number);
        VM.recordLogs();
        VM.prank(anchorer);
        _registry.anchorEvidence(_listOf(item));

        _assertEvents(1);
        IEvidenceRegistry.Anchor memory anchor = _registry.evidenceOf(item.subject, item.digest);
        assertTrue(anchor.submitter == anchorer, "who");
        assertEq(anchor.time, time);
        assertEq(anchor.blockNumber, number);
    }

    /// @notice A repeat changes nothing and tells of nothing, whoever it is by and whatever it says.
    function testFuzz_theFirstAnchorStays(
        IEvidenceRegistry.Evidence memory item,
        IEvidenceRegistry.Evidence memory again,
        address other,
        uint32 later
    ) external {
        (item, again) = (_valid(item), _valid(again));
        (again.subject, again.digest) = (item.subject, item.digest);
        VM.assume(other != address(0));
        _registry.grantRole(_registry.ANCHORER_ROLE(), other);
        _registry.anchorEvidence(_listOf(item));
        IEvidenceRegistry.Anchor memory first = _registry.evidenceOf(item.subject, item.digest);

        VM.warp(block.timestamp + later);
        VM.roll(block.number + later);
        VM.recordLogs();
        VM.prank(other);
        _registry.anchorEvidence(_listOf(again));
        _assertEvents(0);
        _assertSame(_registry.evidenceOf(item.subject, item.digest), first);
    }

    /// @notice Of a list, what is new is anchored, once, and the rest is skipped.
    function testFuzz_aListIsAnchoredButForWhatIsThere(
        IEvidenceRegistry.Evidence memory known,
        IEvidenceRegistry.Evidence memory fresh,
        IEvidenceRegistry.Evidence memory last
    ) external {
        (known, fresh, last) = (_valid(known), _valid(fresh), _valid(last));
        VM.assume(!_same(known, fresh) && !_same(known, last) && !_same(fresh, last));
        _registry.anchorEvidence(_listOf(known));
        IEvidenceRegistry.Evidence[] memory list = new IEvidenceRegistry.Evidence[](4);
        (list[0], list[1], list[2], list[3]) = (known, fresh, fresh, last);
        VM.recordLogs();
        _registry.anchorEvidence(list);

        _assertEvents(2);
        _registry.evidenceOf(fresh.subject, fresh.digest);
        _registry.evidenceOf(last.subject, last.digest);
    }

    /// @notice What is anchored for one subject is not for another.
    function testFuzz_subjectsAndFilesAreApart(
        IEvidenceRegistry.Evidence memory item,
        bytes32 otherSubject,
        bytes32 otherDigest
    ) external {
        item = _valid(item);
        VM.assume(otherSubject != item.subject && otherDigest != item.digest);
        _registry.anchorEvidence(_listOf(item));
        _expectNone(otherSubject, item.digest);
        _expectNone(item.subject, otherDigest);
        _expectNone(otherSubject, otherDigest);
    }

    /// @notice One item that is refused refuses the whole list.
    function testFuzz_eachItemIsChecked(
        IEvidenceRegistry.Evidence memory item,
        IEvidenceRegistry.Evidence memory wrong,
        uint8 excess
    ) external {
        item = _valid(item);
        IEvidenceRegistry.Evidence[] memory list = new IEvidenceRegistry.Evidence[](2);
        (list[0], list[1]) = (item, _valid(wrong));
        list[1].digest = 0;
        VM.expectRevert(abi.encodeWithSelector(EvidenceRegistry.ZeroDigest.selector, 1));
        _registry.anchorEvidence(list);

        uint256 length = 65 + uint256(excess);
        (list[1].digest, list[1].cid) = (keccak256("file"), new bytes(length));
        bytes4 tooLong = EvidenceRegistry.CidTooLong.selector;
        VM.expectRevert(abi.encodeWithSelector(tooLong, 1, length));
        _registry.anchorEvidence(list);
        _expectNone(item.subject, item.digest);
    }

    function test_anEmptyListIsRefused() external {
        VM.expectRevert(abi.encodeWithSelector(EvidenceRegistry.EmptyList.selector));
        _registry.anchorEvidence(new IEvidenceRegistry.Evidence[](0));
    }

    function testFuzz_nobodyElseAnchors(
        address stranger,
        IEvidenceRegistry.Evidence memory item
    ) external {
        VM.assume(stranger != address(this));
        item = _valid(item);
        bytes4 selector = IAccessControl.AccessControlUnauthorizedAccount.selector;
        bytes32 role = _registry.ANCHORER_ROLE();
        VM.expectRevert(abi.encodeWithSelector(selector, stranger, role));
        VM.prank(stranger);
        _registry.anchorEvidence(_listOf(item));
        _expectNone(item.subject, item.digest);
    }

    function testFuzz_aKeyIsReplacedWithoutLosingAnchors(
        IEvidenceRegistry.Evidence memory item,
        address next
    ) external {
        item = _valid(item);
        VM.assume(next != address(0) && next != address(this));
        _registry.anchorEvidence(_listOf(item));
        IEvidenceRegistry.Anchor memory anchor = _registry.evidenceOf(item.subject, item.digest);
        bytes32 role = _registry.ANCHORER_ROLE();
        _registry.grantRole(role, next);
        _registry.revokeRole(role, address(this));

        bytes4 selector = IAccessControl.AccessControlUnauthorizedAccount.selector;
        VM.expectRevert(abi.encodeWithSelector(selector, address(this), role));
        _registry.anchorEvidence(_listOf(item));
        VM.prank(next);
        _registry.anchorEvidence(_listOf(item));
        _assertSame(_registry.evidenceOf(item.subject, item.digest), anchor);
    }

    function _valid(
        IEvidenceRegistry.Evidence memory item
    ) private pure returns (IEvidenceRegistry.Evidence memory) {
        if (item.digest == 0) item.digest = keccak256("file");
        if (item.cid.length > 64) item.cid = bytes.concat(keccak256(item.cid), item.digest);
        return item;
    }

    function _listOf(
        IEvidenceRegistry.Evidence memory item
    ) private pure returns (IEvidenceRegistry.Evidence[] memory list) {
        list = new IEvidenceRegistry.Evidence[](1);
        list[0] = item;
    }

    function _same(
        IEvidenceRegistry.Evidence memory a,
        IEvidenceRegistry.Evidence memory b
    ) private pure returns (bool) {
        return a.subject == b.subject && a.digest == b.digest;
    }

    function _assertSame(
        IEvidenceRegistry.Anchor memory actual,
        IEvidenceRegistry.Anchor memory expected
    ) private pure {
        assertEq(keccak256(abi.encode(actual)), keccak256(abi.encode(expected)));
    }

    /// @dev Requires that logs are recorded.
    function _assertEvents(uint256 count) private {
        Vm.Log[] memory logs = VM.getRecordedLogs();
        assertEq(logs.length, count);
        for (uint256 i = 0; i < count; ++i) {
            assertEq(logs[i].topics[0], IEvidenceRegistry.EvidenceAnchored.selector);
        }
    }

    function _expectNone(bytes32 subject, bytes32 digest) private {
        bytes4 selector = EvidenceRegistry.NoEvidence.selector;
        VM.expectRevert(abi.encodeWithSelector(selector, subject, digest));
        _registry.evidenceOf(subject, digest);
    }
}
