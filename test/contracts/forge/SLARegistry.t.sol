// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {SLARegistry} from "../../../contracts/SLARegistry.sol";
import {ISLARegistry} from "../../../contracts/interfaces/ISLARegistry.sol";
import {Test, Vm, VM} from "./Test.sol";

contract SLARegistryTest is Test {
    uint48 private constant NOW = 1_700_000_000;
    uint48 private constant LATEST = type(uint40).max;
    bytes32 private constant ID = "subject";
    bytes32 private constant REF = "record";
    bytes32 private constant REASON = "reason";
    address private constant STRANGER = address(0x57);

    SLARegistry private _registry;

    function setUp() external {
        VM.warp(NOW);
        _registry = new SLARegistry(address(this), address(this));
    }

    /// @notice What was set is what is answered and told of, whatever it is.
    function testFuzz_whatIsSetIsAnswered(
        bytes32 id,
        bytes32 ref,
        uint48 deadline,
        uint256 seed
    ) external {
        deadline = uint48(bound(deadline, NOW + 1, LATEST));
        uint32[] memory offsets = _ladder(seed);
        VM.recordLogs();
        assertEq(_registry.setSLADeadline(id, deadline, offsets, ref), 1);

        Vm.Log[] memory logs = VM.getRecordedLogs();
        assertEq(logs.length, 1);
        _assertTopics(logs[0], ISLARegistry.DeadlineSet.selector, id, ref);
        assertEq(keccak256(logs[0].data), keccak256(abi.encode(deadline, offsets, address(this))));
        _assertCycle(
            _registry.deadlineOf(id),
            ISLARegistry.Cycle(1, deadline, 0, 0, 0, 0, offsets)
        );
        _assertStatus(id, ISLARegistry.State.Running, 0, 0, false);
        assertTrue(_registry.timeRemaining(id) == int256(uint256(deadline - NOW)), "remaining");
    }

    function testFuzz_aDeadlineIsAfterNowAndWithinReach(uint48 deadline) external {
        bytes memory refusal;
        if (deadline <= NOW) {
            refusal = abi.encodeWithSelector(SLARegistry.DeadlineInPast.selector, deadline, NOW);
        } else if (deadline > LATEST) {
            refusal = abi.encodeWithSelector(SLARegistry.DeadlineTooFar.selector, LATEST, deadline);
        }
        _set(deadline, _ladderOf(0), refusal);
    }

    function test_theEdgesOfADeadline() external {
        _set(
            NOW,
            _ladderOf(0),
            abi.encodeWithSelector(SLARegistry.DeadlineInPast.selector, NOW, NOW)
        );
        bytes4 tooFar = SLARegistry.DeadlineTooFar.selector;
        _set(LATEST + 1, _ladderOf(0), abi.encodeWithSelector(tooFar, LATEST, LATEST + 1));
        _set(NOW + 1, _ladderOf(0), "");
        _registry.extend(ID, LATEST, REASON, REF);
        VM.expectRevert(abi.encodeWithSelector(tooFar, LATEST, LATEST + 1));
        _registry.extend(ID, LATEST + 1, REASON, REF);
    }

    function testFuzz_aLadderAscends(uint256 seed, uint256 index, uint32 offset) external {
        uint32[] memory offsets = _ladder(seed);
        if (offsets.length == 1) offsets = _ladderOf(0, 1, 2);
        index = bound(index, 1, offsets.length - 1);
        offset = uint32(bound(offset, 0, offsets[index - 1]));
        offsets[index] = offset;
        bytes4 selector = SLARegistry.LadderNotAscending.selector;
        _set(NOW + 1, offsets, abi.encodeWithSelector(selector, index, offsets[index - 1], offset));
    }

    function testFuzz_aLadderHasOneToEightLevels(uint8 levels) external {
        uint32[] memory offsets = new uint32[](levels);
        for (uint32 i = 0; i < levels; ++i) offsets[i] = i;
        bytes memory refusal;
        if (levels == 0) refusal = abi.encodeWithSelector(SLARegistry.EmptyLadder.selector);
        if (levels > 8) {
            refusal = abi.encodeWithSelector(SLARegistry.TooManyLevels.selector, 8, levels);
        }
        _set(NOW + 1, offsets, refusal);
    }

    /// @notice A level is raised in its second and not in the one before, and each on its own.
    function testFuzz_aLevelIsRaisedWhenItIsDue(uint256 seed, uint32 ahead) external {
        uint48 deadline = NOW + 1 + ahead;
        uint32[] memory offsets = _ladder(seed);
        _set(deadline, offsets, "");
        for (uint8 level = 1; level <= offsets.length; ++level) {
            uint48 due = deadline + offsets[level - 1];
            VM.warp(due - 1);
            _assertStatus(ID, ISLARegistry.State.Running, level - 1, level - 1, due > deadline);
            _expectNothingDue(level - 1);
            VM.warp(due);
            _assertStatus(ID, ISLARegistry.State.Running, level - 1, level, true);
            VM.recordLogs();
            VM.prank(STRANGER);
            assertEq(_registry.checkAndEscalate(ID), level);
            _assertRaised(VM.getRecordedLogs(), deadline, offsets, level, level);
            _expectNothingDue(level);
        }
    }

    /// @notice What fell due meanwhile is raised at once, each level told of, in their order.
    function testFuzz_levelsAreCaughtUpInOrder(uint256 seed, uint32 late) external {
        uint48 deadline = NOW + 1;
        uint32[] memory offsets = _ladder(seed);
        _set(deadline, offsets, "");
        VM.warp(deadline + late);
        uint8 due = 0;
        while (due < offsets.length && offsets[due] <= late) ++due;
        if (due == 0) return _expectNothingDue(0);

        VM.recordLogs();
        VM.prank(STRANGER);
        assertEq(_registry.checkAndEscalate(ID), due);
        _assertRaised(VM.getRecordedLogs(), deadline, offsets, 1, due);
        _expectNothingDue(due);
    }

    function testFuzz_anExtensionMovesTheDeadline(
        uint32 ahead,
        uint32 by,
        bytes32 reason
    ) external {
        VM.assume(by != 0 && reason != 0);
        uint48 deadline = NOW + 1 + ahead;
        _set(deadline, _ladderOf(0), "");
        VM.recordLogs();
        _registry.extend(ID, deadline + by, reason, REF);

        Vm.Log[] memory logs = VM.getRecordedLogs();
        _assertTopics(logs[0], ISLARegistry.DeadlineExtended.selector, ID, REF);
        assertEq(
            keccak256(logs[0].data),
            keccak256(abi.encode(deadline + by, deadline, reason, 1, address(this)))
        );
        _assertCycle(
            _registry.deadlineOf(ID),
            ISLARegistry.Cycle(1, deadline + by, 0, 0, 1, 0, _ladderOf(0))
        );
    }

    function testFuzz_anExtensionIsLaterAndHasAReason(uint32 ahead, uint48 deadline) external {
        uint48 current = NOW + 1 + ahead;
        deadline = uint48(bound(deadline, 0, current));
        _set(current, _ladderOf(0), "");
        VM.expectRevert(abi.encodeWithSelector(SLARegistry.NotLater.selector, current, deadline));
        _registry.extend(ID, deadline, REASON, REF);
        VM.expectRevert(abi.encodeWithSelector(SLARegistry.NoReason.selector));
        _registry.extend(ID, current + 1, 0, REF);
    }

    /// @notice From the deadline on it is neither extended nor paused, and in the second before it is.
    function testFuzz_aBreachStays(uint32 ahead, uint32 late) external {
        uint48 deadline = NOW + 1 + ahead;
        _set(deadline, _ladderOf(type(uint32).max), "");
        VM.warp(deadline + late);
        _assertStatus(ID, ISLARegistry.State.Running, 0, late == type(uint32).max ? 1 : 0, true);
        bytes4 selector = SLARegistry.AlreadyBreached.selector;
        bytes memory refusal = abi.encodeWithSelector(selector, ID, 1, deadline);
        VM.expectRevert(refusal);
        _registry.extend(ID, LATEST, REASON, REF);
        VM.expectRevert(refusal);
        _registry.pause(ID, REF);

        VM.warp(deadline - 1);
        _registry.extend(ID, deadline + 1, REASON, REF);
        _registry.pause(ID, REF);
    }

    /// @notice While it is paused nothing falls due, however long; then it is later by just that.
    function testFuzz_aPauseMovesTheDeadline(uint32 ahead, uint32 until, uint40 length) external {
        uint48 deadline = NOW + 1 + ahead;
        uint48 pausedAt = NOW + uint48(bound(until, 0, ahead));
        _set(deadline, _ladderOf(0), "");
        VM.warp(pausedAt);
        VM.recordLogs();
        _registry.pause(ID, REF);
        _assertTold(ISLARegistry.DeadlinePaused.selector, abi.encode(address(this)));

        VM.warp(pausedAt + length);
        _assertCycle(
            _registry.deadlineOf(ID),
            ISLARegistry.Cycle(1, deadline, pausedAt, 0, 0, 0, _ladderOf(0))
        );
        _assertStatus(ID, ISLARegistry.State.Paused, 0, 0, false);
        assertTrue(_registry.timeRemaining(ID) == int256(uint256(deadline - pausedAt)), "frozen");
        _expectPaused(pausedAt);

        VM.recordLogs();
        _registry.resume(ID, REF);
        bytes memory told = abi.encode(deadline + length, address(this));
        _assertTold(ISLARegistry.DeadlineResumed.selector, told);
        assertEq(_registry.deadlineOf(ID).deadline, deadline + length);
        VM.expectRevert(abi.encodeWithSelector(SLARegistry.NotPaused.selector, ID, 1));
        _registry.resume(ID, REF);
    }

    /// @notice No pause is so long that the deadline cannot be resumed, met, nor its levels counted.
    function test_noPauseOverflows() external {
        _set(LATEST, _ladderOf(type(uint32).max), "");
        _registry.pause(ID, REF);
        uint48 end = 2 ** 47;
        VM.warp(end);
        _registry.resume(ID, REF);
        uint48 deadline = LATEST + (end - NOW);
        assertEq(_registry.deadlineOf(ID).deadline, deadline);
        VM.warp(uint256(deadline) + type(uint32).max);
        assertEq(_registry.checkAndEscalate(ID), 1);
        _registry.meet(ID, REF);
    }

    function testFuzz_itIsMetInTimeBeforeTheDeadline(uint32 ahead, uint32 after_) external {
        uint48 deadline = NOW + 1 + ahead;
        uint48 time = NOW + after_;
        _set(deadline, _ladderOf(0), "");
        VM.warp(time);
        VM.recordLogs();
        _registry.meet(ID, REF);
        bytes memory told = abi.encode(time < deadline, deadline, address(this));
        _assertTold(ISLARegistry.DeadlineMet.selector, told);

        VM.warp(time + ahead + 1);
        _assertStatus(ID, ISLARegistry.State.Met, 0, 0, time >= deadline);
        int256 left = int256(uint256(deadline)) - int256(uint256(time));
        assertTrue(_registry.timeRemaining(ID) == left, "what was left when it was met");
        _expectClosed(time);
    }

    function testFuzz_aPausedOneIsMetInTime(uint32 ahead, uint32 length) external {
        uint48 deadline = NOW + 1 + ahead;
        _set(deadline, _ladderOf(0), "");
        _registry.pause(ID, REF);
        VM.warp(NOW + length);
        VM.recordLogs();
        _registry.meet(ID, REF);
        bytes memory told = abi.encode(true, deadline + length, address(this));
        _assertTold(ISLARegistry.DeadlineMet.selector, told);
        _assertCycle(
            _registry.deadlineOf(ID),
            ISLARegistry.Cycle(1, deadline + length, 0, NOW + length, 0, 0, _ladderOf(0))
        );
    }

    /// @notice Closed cycles stay what they were when the next ones are set.
    function testFuzz_cyclesFollowOneAnother(uint256 seed, uint8 count) external {
        uint32 last = uint32(bound(count, 1, 6));
        bytes32[] memory closed = new bytes32[](last + 1);
        for (uint32 number = 1; number <= last; ++number) {
            uint48 deadline = uint48(block.timestamp) + 10;
            uint32[] memory offsets = _ladder(uint256(keccak256(abi.encode(seed, number))));
            assertEq(_registry.setSLADeadline(ID, deadline, offsets, REF), number);
            bytes4 selector = SLARegistry.AlreadyOpen.selector;
            _set(deadline, offsets, abi.encodeWithSelector(selector, ID, number, deadline));
            VM.warp(deadline + ((seed >> number) % 3) - 1);
            _registry.meet(ID, REF);
            closed[number] = keccak256(abi.encode(_registry.deadlineOf(ID)));
        }
        assertEq(_registry.cycles(ID), last);
        for (uint32 number = 1; number <= last; ++number) {
            assertEq(keccak256(abi.encode(_registry.cycleOf(ID, number))), closed[number]);
        }
        _expectNoCycle(0, last);
        _expectNoCycle(last + 1, last);
    }

    function testFuzz_whatWasNeverSetIsUnknown(bytes32 id, bytes32 other) external {
        VM.assume(id != other);
        _registry.setSLADeadline(other, NOW + 1, _ladderOf(0), REF);
        VM.warp(NOW + 1);
        bytes memory refusal = abi.encodeWithSelector(SLARegistry.UnknownDeadline.selector, id);
        VM.expectRevert(refusal);
        _registry.extend(id, NOW + 2, REASON, REF);
        VM.expectRevert(refusal);
        _registry.pause(id, REF);
        VM.expectRevert(refusal);
        _registry.resume(id, REF);
        VM.expectRevert(refusal);
        _registry.meet(id, REF);
        VM.expectRevert(refusal);
        _registry.checkAndEscalate(id);
        VM.expectRevert(refusal);
        _registry.deadlineOf(id);
        VM.expectRevert(refusal);
        _registry.statusOf(id);
        VM.expectRevert(refusal);
        _registry.timeRemaining(id);
        assertEq(_registry.cycles(id), 0);
    }

    /// @notice A batch says of each id what came of it, and none stands in the way of another.
    function test_aBatchPassesOverWhatIsNotDue() external {
        bytes32[] memory ids = new bytes32[](6);
        (ids[0], ids[1], ids[2], ids[3], ids[4], ids[5]) = ("none", "later", "p", "m", ID, ID);
        for (uint256 i = 1; i < 5; ++i) {
            uint48 deadline = i == 1 ? NOW + 100 : NOW + 10;
            _registry.setSLADeadline(ids[i], deadline, _ladderOf(0, 5, 90), REF);
        }
        _registry.pause("p", REF);
        VM.warp(NOW + 10);
        _registry.checkAndEscalate("m");
        _registry.meet("m", REF);
        VM.warp(NOW + 15);
        bytes32[] memory due = _registry.dueOf(ids);
        assertEq(due.length, 2);
        assertTrue(due[0] == ID && due[1] == ID, "due");

        VM.recordLogs();
        VM.prank(STRANGER);
        ISLARegistry.Check[] memory checks = _registry.batchCheckAndEscalate(ids);
        _assertRaised(VM.getRecordedLogs(), NOW + 10, _ladderOf(0, 5, 90), 1, 2);
        _assertCheck(checks[0], ISLARegistry.Outcome.Unknown, 0);
        _assertCheck(checks[1], ISLARegistry.Outcome.NotDue, 0);
        _assertCheck(checks[2], ISLARegistry.Outcome.Paused, 0);
        _assertCheck(checks[3], ISLARegistry.Outcome.Closed, 1);
        _assertCheck(checks[4], ISLARegistry.Outcome.Raised, 2);
        _assertCheck(checks[5], ISLARegistry.Outcome.NotDue, 2);
        assertEq(_registry.dueOf(ids).length, 0);
    }

    function testFuzz_aBatchOfAnythingDoesNotRevert(bytes32[] calldata ids) external {
        assertEq(_registry.batchCheckAndEscalate(ids).length, ids.length);
        assertEq(_registry.dueOf(ids).length, 0);
    }

    function testFuzz_nobodyElseManages(address stranger) external {
        VM.assume(stranger != address(this));
        _set(NOW + 10, _ladderOf(0), "");
        _expectUnauthorized(stranger);
        _registry.setSLADeadline("other", NOW + 10, _ladderOf(0), REF);
        _expectUnauthorized(stranger);
        _registry.extend(ID, NOW + 20, REASON, REF);
        _expectUnauthorized(stranger);
        _registry.pause(ID, REF);
        _expectUnauthorized(stranger);
        _registry.resume(ID, REF);
        _expectUnauthorized(stranger);
        _registry.meet(ID, REF);
    }

    function testFuzz_aKeyIsReplacedWithoutLosingDeadlines(address next) external {
        VM.assume(next != address(this));
        _set(NOW + 10, _ladderOf(0), "");
        bytes32 role = _registry.MANAGER_ROLE();
        _registry.grantRole(role, next);
        _registry.revokeRole(role, address(this));
        _expectUnauthorized(address(this));
        _registry.meet(ID, REF);
        VM.prank(next);
        _registry.meet(ID, REF);
        _assertStatus(ID, ISLARegistry.State.Met, 0, 0, false);
    }

    function _set(uint48 deadline, uint32[] memory offsets, bytes memory refusal) private {
        if (refusal.length > 0) VM.expectRevert(refusal);
        _registry.setSLADeadline(ID, deadline, offsets, REF);
    }

    function _expectNothingDue(uint8 raised) private {
        bytes4 selector = SLARegistry.NothingDue.selector;
        VM.expectRevert(abi.encodeWithSelector(selector, ID, 1, raised));
        _registry.checkAndEscalate(ID);
    }

    function _expectPaused(uint48 pausedAt) private {
        bytes4 selector = SLARegistry.AlreadyPaused.selector;
        bytes memory refusal = abi.encodeWithSelector(selector, ID, 1, pausedAt);
        VM.expectRevert(refusal);
        _registry.pause(ID, REF);
        VM.expectRevert(refusal);
        _registry.extend(ID, LATEST, REASON, REF);
        VM.expectRevert(refusal);
        _registry.checkAndEscalate(ID);
    }

    function _expectClosed(uint48 metAt) private {
        VM.expectRevert(abi.encodeWithSelector(SLARegistry.AlreadyMet.selector, ID, 1, metAt));
        _registry.meet(ID, REF);
        bytes memory refusal = abi.encodeWithSelector(SLARegistry.NotOpen.selector, ID, 1, metAt);
        VM.expectRevert(refusal);
        _registry.extend(ID, LATEST, REASON, REF);
        VM.expectRevert(refusal);
        _registry.pause(ID, REF);
        VM.expectRevert(refusal);
        _registry.resume(ID, REF);
        VM.expectRevert(refusal);
        _registry.checkAndEscalate(ID);
    }

    function _expectNoCycle(uint32 number, uint32 last) private {
        bytes4 selector = SLARegistry.UnknownCycle.selector;
        VM.expectRevert(abi.encodeWithSelector(selector, ID, number, last));
        _registry.cycleOf(ID, number);
    }

    function _expectUnauthorized(address account) private {
        bytes4 selector = IAccessControl.AccessControlUnauthorizedAccount.selector;
        bytes32 role = _registry.MANAGER_ROLE();
        VM.expectRevert(abi.encodeWithSelector(selector, account, role));
        VM.prank(account);
    }

    /// @dev Requires that logs are recorded.
    function _assertTold(bytes32 selector, bytes memory data) private {
        Vm.Log[] memory logs = VM.getRecordedLogs();
        assertEq(logs.length, 1);
        _assertTopics(logs[0], selector, ID, REF);
        assertEq(keccak256(logs[0].data), keccak256(data));
    }

    function _assertStatus(
        bytes32 id,
        ISLARegistry.State state,
        uint256 raised,
        uint256 due,
        bool breached
    ) private view {
        (ISLARegistry.State s, uint8 r, uint8 d, bool b) = _registry.statusOf(id);
        assertTrue(s == state, "state");
        assertEq(r, raised);
        assertEq(d, due);
        assertTrue(b == breached, "breached");
    }

    function _assertTopics(
        Vm.Log memory log,
        bytes32 selector,
        bytes32 id,
        bytes32 ref
    ) private pure {
        assertEq(log.topics.length, 4);
        assertEq(log.topics[0], selector);
        assertEq(log.topics[1], id);
        assertEq(log.topics[2], bytes32(uint256(1)));
        assertEq(log.topics[3], ref);
    }

    /// @dev The events of these levels of cycle 1, in their order, by the stranger, and nothing else.
    function _assertRaised(
        Vm.Log[] memory logs,
        uint48 deadline,
        uint32[] memory offsets,
        uint8 first,
        uint8 last
    ) private pure {
        assertEq(logs.length, last - first + 1);
        for (uint256 i = 0; i < logs.length; ++i) {
            uint256 level = first + i;
            assertEq(logs[i].topics.length, 3);
            assertEq(logs[i].topics[0], ISLARegistry.LevelRaised.selector);
            assertEq(logs[i].topics[1], ID);
            assertEq(logs[i].topics[2], bytes32(uint256(1)));
            bytes memory data = abi.encode(level, deadline + offsets[level - 1], STRANGER);
            assertEq(keccak256(logs[i].data), keccak256(data));
        }
    }

    function _assertCycle(
        ISLARegistry.Cycle memory actual,
        ISLARegistry.Cycle memory expected
    ) private pure {
        assertEq(keccak256(abi.encode(actual)), keccak256(abi.encode(expected)));
    }

    function _assertCheck(
        ISLARegistry.Check memory check,
        ISLARegistry.Outcome outcome,
        uint8 level
    ) private pure {
        assertTrue(check.outcome == outcome, "outcome");
        assertEq(check.level, level);
    }

    /// @dev A valid ladder, whatever the seed: 1 to 8 levels, some of them a second apart.
    function _ladder(uint256 seed) private pure returns (uint32[] memory offsets) {
        offsets = new uint32[](1 + (seed % 8));
        uint32 offset = uint32(seed >> 8) % 2 ** 28;
        for (uint256 i = 0; i < offsets.length; ++i) {
            offsets[i] = offset;
            uint256 step = uint256(keccak256(abi.encode(seed, i)));
            offset += step % 2 == 0 ? 1 : 1 + uint32((step >> 1) % 2 ** 28);
        }
    }

    function _ladderOf(uint32 only) private pure returns (uint32[] memory offsets) {
        offsets = new uint32[](1);
        offsets[0] = only;
    }

    function _ladderOf(
        uint32 first,
        uint32 second,
        uint32 third
    ) private pure returns (uint32[] memory offsets) {
        offsets = new uint32[](3);
        (offsets[0], offsets[1], offsets[2]) = (first, second, third);
    }
}
