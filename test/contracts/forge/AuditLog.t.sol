// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {AuditLog} from "../../../contracts/AuditLog.sol";
import {IAuditLog} from "../../../contracts/interfaces/IAuditLog.sol";
import {Test, VM} from "./Test.sol";
import {Tree} from "./Tree.sol";

contract AuditLogTest is Test {
    uint256 private constant MOST_LEAVES = 70;

    AuditLog private _auditLog;

    function setUp() external {
        _auditLog = new AuditLog(address(this), address(this));
    }

    /// @notice Whatever is tried, a log moves by one batch on its head or not at all.
    function testFuzz_sealMovesTheHeadByOneOrReverts(
        bytes32 log,
        IAuditLog.Seal calldata seal
    ) external {
        _sealOne(log, "first", 1);
        (uint64 number, bytes32 head) = _auditLog.headOf(log);
        bool valid = seal.number == number + 1 && seal.previousHead == head && seal.size > 0;

        try _auditLog.sealBatch(log, seal) {
            assertTrue(valid, "only the next batch on the head is sealed");
        } catch {
            assertTrue(!valid, "the next batch on the head is sealed");
            (uint64 numberAfter, bytes32 headAfter) = _auditLog.headOf(log);
            assertEq(numberAfter, number);
            assertEq(headAfter, head);
        }
    }

    /// @notice A seal that is right but for one part is refused for that part.
    function testFuzz_eachPartOfTheSealIsChecked(
        bytes32 log,
        IAuditLog.Seal memory seal,
        uint64 wrongNumber,
        bytes32 wrongHead
    ) external {
        _sealOne(log, "first", 1);
        (, bytes32 head) = _auditLog.headOf(log);
        VM.assume(wrongNumber != 2 && wrongHead != head);
        seal = _with(seal, wrongNumber, head, 1);
        VM.expectRevert(abi.encodeWithSelector(AuditLog.UnexpectedNumber.selector, 2, wrongNumber));
        _auditLog.sealBatch(log, seal);

        seal = _with(seal, 2, wrongHead, 1);
        VM.expectRevert(abi.encodeWithSelector(AuditLog.UnexpectedHead.selector, head, wrongHead));
        _auditLog.sealBatch(log, seal);

        seal = _with(seal, 2, head, 0);
        VM.expectRevert(abi.encodeWithSelector(AuditLog.EmptyBatch.selector));
        _auditLog.sealBatch(log, seal);
    }

    /// @notice The head commits to every field: another value gives another head.
    function testFuzz_headIsTheHashOfThePackedSeal(
        bytes32 log,
        IAuditLog.Seal memory seal
    ) external {
        seal = _with(seal, 1, _auditLog.genesisHead(log), seal.size == 0 ? 1 : seal.size);
        _auditLog.sealBatch(log, seal);

        (bytes32 root, bytes32 head, uint64 size, uint64 time) = _auditLog.batchOf(log, 1);
        assertEq(root, seal.root);
        assertEq(size, seal.size);
        assertEq(time, block.timestamp);
        bytes memory packed = bytes.concat(
            seal.previousHead,
            bytes8(seal.number),
            seal.root,
            bytes8(seal.size),
            seal.manifestDigest,
            seal.trailsRoot,
            bytes8(seal.nonce)
        );
        assertEq(packed.length, 152);
        assertEq(head, sha256(packed));
    }

    function testFuzz_nobodyButASealerSeals(
        address stranger,
        bytes32 log,
        IAuditLog.Seal calldata seal
    ) external {
        VM.assume(stranger != address(this));
        bytes4 selector = IAccessControl.AccessControlUnauthorizedAccount.selector;
        bytes memory refusal = abi.encodeWithSelector(selector, stranger, _auditLog.SEALER_ROLE());
        VM.expectRevert(refusal);
        VM.prank(stranger);
        _auditLog.sealBatch(log, seal);
    }

    function testFuzz_nobodyButTheAdminSetsTheDifficulty(
        address stranger,
        uint8 difficulty
    ) external {
        VM.assume(stranger != address(this));
        bytes4 selector = IAccessControl.AccessControlUnauthorizedAccount.selector;
        VM.expectRevert(abi.encodeWithSelector(selector, stranger, bytes32(0)));
        VM.prank(stranger);
        _auditLog.setMinimumDifficulty(difficulty);
    }

    /// @notice Work is counted in leading zero hex digits, checked here digit by digit.
    function testFuzz_headsHaveTheWorkAskedFor(
        bytes32 log,
        IAuditLog.Seal memory seal,
        uint8 difficulty
    ) external {
        difficulty = uint8(bound(difficulty, 1, 2));
        _auditLog.setMinimumDifficulty(difficulty);
        seal = _with(seal, 1, _auditLog.genesisHead(log), 1);
        try _auditLog.sealBatch(log, seal) {
            (, bytes32 head) = _auditLog.headOf(log);
            assertTrue(_zeroDigits(head) >= difficulty, "a sealed head has the work");
        } catch (bytes memory reason) {
            bytes32 head = _headAfter(seal);
            assertTrue(_zeroDigits(head) < difficulty, "a refused head lacks the work");
            assertEq(
                keccak256(reason),
                keccak256(
                    abi.encodeWithSelector(
                        AuditLog.InsufficientWork.selector,
                        difficulty,
                        _zeroDigits(head)
                    )
                )
            );
        }
    }

    function testFuzz_verifyAcceptsEveryLeafAtItsPlaceOnly(
        bytes32 log,
        bytes32 seed,
        uint256 size,
        uint256 index,
        uint64 otherIndex,
        bytes32 otherLeaf
    ) external {
        bytes32[] memory leaves = _leaves(seed, bound(size, 1, MOST_LEAVES));
        uint64 place = uint64(bound(index, 0, leaves.length - 1));
        VM.assume(otherIndex != place && otherLeaf != leaves[place]);
        _sealOne(log, Tree.root(leaves, 0, leaves.length), uint64(leaves.length));
        bytes32[] memory path = Tree.path(leaves, place, 0, leaves.length);

        assertTrue(_auditLog.verify(log, 1, leaves[place], place, path), "the leaf is there");
        assertTrue(!_auditLog.verify(log, 1, otherLeaf, place, path), "no other leaf is there");
        assertTrue(!_auditLog.verify(log, 1, leaves[place], otherIndex, path), "nowhere else");
        otherIndex = uint64(bound(otherIndex, 0, leaves.length - 1));
        assertTrue(
            otherIndex == place || !_auditLog.verify(log, 1, leaves[place], otherIndex, path),
            "nor elsewhere in the batch"
        );
    }

    function testFuzz_verifyRefusesATamperedPath(
        bytes32 log,
        bytes32 seed,
        uint256 size,
        uint256 index,
        uint256 position,
        bytes32 stray
    ) external {
        bytes32[] memory leaves = _leaves(seed, bound(size, 2, MOST_LEAVES));
        uint64 place = uint64(bound(index, 0, leaves.length - 1));
        _sealOne(log, Tree.root(leaves, 0, leaves.length), uint64(leaves.length));
        bytes32[] memory path = Tree.path(leaves, place, 0, leaves.length);
        bytes32 leaf = leaves[place];

        assertTrue(!_auditLog.verify(log, 1, leaf, place, _resized(path, 1, stray)), "longer");
        bytes32[] memory shorter = _resized(path, -1, stray);
        assertTrue(!_auditLog.verify(log, 1, leaf, place, shorter), "shorter");
        position = bound(position, 0, path.length - 1);
        VM.assume(path[position] != stray);
        path[position] = stray;
        assertTrue(!_auditLog.verify(log, 1, leaf, place, path), "another node");
    }

    /// @notice No leaf, place and path out of the blue is ever accepted.
    function testFuzz_verifyRefusesWhateverIsMadeUp(
        bytes32 log,
        bytes32 root,
        uint64 size,
        bytes32 leaf,
        uint64 index,
        bytes32[] calldata path
    ) external {
        VM.assume(size > 0 && leaf != root);
        _sealOne(log, root, size);
        assertTrue(!_auditLog.verify(log, 1, leaf, index, path), "made up");
        assertTrue(!_auditLog.verify(log, 2, leaf, index, path), "no such batch");
        assertTrue(!_auditLog.verify(~log, 1, leaf, index, path), "no such log");
    }

    /// @notice A root over more leaves than the batch was sealed with does not let them in.
    function testFuzz_verifyGoesByTheSealedSize(bytes32 log, bytes32 left, bytes32 leaf) external {
        bytes32[] memory path = new bytes32[](1);
        path[0] = left;
        _sealOne(log, sha256(abi.encodePacked(bytes1(0x01), left, leaf)), 1);
        assertTrue(!_auditLog.verify(log, 1, leaf, 0, path), "one leaf has no path");
    }

    /// @notice Heads start from chain, contract and log.
    function testFuzz_genesisHeadNamesTheLog(bytes32 log, uint64 chainId) external {
        VM.chainId(chainId);
        bytes memory name = abi.encodePacked(uint256(chainId), address(_auditLog), log);
        assertEq(_auditLog.genesisHead(log), sha256(bytes.concat("anchord/head/v1", name)));
    }

    function _sealOne(bytes32 log, bytes32 root, uint64 size) private {
        (uint64 number, bytes32 head) = _auditLog.headOf(log);
        _auditLog.sealBatch(log, IAuditLog.Seal(number + 1, size, 0, head, root, 0, 0));
    }

    function _with(
        IAuditLog.Seal memory seal,
        uint64 number,
        bytes32 previousHead,
        uint64 size
    ) private pure returns (IAuditLog.Seal memory) {
        (seal.number, seal.previousHead, seal.size) = (number, previousHead, size);
        return seal;
    }

    function _headAfter(IAuditLog.Seal memory seal) private pure returns (bytes32) {
        return
            sha256(
                bytes.concat(
                    seal.previousHead,
                    bytes8(seal.number),
                    seal.root,
                    bytes8(seal.size),
                    seal.manifestDigest,
                    seal.trailsRoot,
                    bytes8(seal.nonce)
                )
            );
    }

    function _zeroDigits(bytes32 head) private pure returns (uint8 digits) {
        while (digits < 64 && (uint256(head) >> (252 - 4 * uint256(digits))) & 0xf == 0) ++digits;
    }

    function _leaves(bytes32 seed, uint256 size) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) leaves[i] = sha256(abi.encodePacked(seed, i));
    }

    function _resized(
        bytes32[] memory path,
        int256 by,
        bytes32 stray
    ) private pure returns (bytes32[] memory other) {
        other = new bytes32[](uint256(int256(path.length) + by));
        for (uint256 i = 0; i < other.length; ++i) other[i] = i < path.length ? path[i] : stray;
    }
}
