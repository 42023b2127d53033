// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {SLARegistry} from "../../../contracts/SLARegistry.sol";
import {ISLARegistry} from "../../../contracts/interfaces/ISLARegistry.sol";
import {Test, Vm, VM} from "./Test.sol";

/// @notice Sets, moves, meets and escalates a few deadlines over and over, rightly and wrongly. Remembers
/// what must have come of it, and fails where the registry allowed or refused what it should not have.
contract Managers is Test {
    struct Ghost {
        uint32[] offsets;
        uint256 deadline;
        uint256 pausedAt;
        uint256 metAt;
        uint256 left;
        uint256 extensions;
        uint256 raised;
        ISLARegistry.State state;
    }

    uint256 public constant SUBJECTS = 3;
    uint256 private constant SPAN = 40;

    SLARegistry public immutable REGISTRY;

    mapping(bytes32 id => Ghost[] cycles) private _ghosts;
    bool private _hasRole = true;

    constructor() {
        REGISTRY = new SLARegistry(address(this), address(this));
    }

    /// @notice A deadline around now, with a ladder that is mostly right.
    function set(uint256 pick, uint256 ahead, uint256 seed) external {
        bytes32 id = idOf(pick);
        uint256 deadline = block.timestamp - 2 + (ahead % SPAN);
        uint32[] memory offsets = _offsets(seed);
        bool closed = _count(id) == 0 || _last(id).state == ISLARegistry.State.Met;
        bool allowed = _hasRole && closed && deadline > block.timestamp && _isLadder(offsets);
        try REGISTRY.setSLADeadline(id, uint48(deadline), offsets, 0) returns (uint32 cycle) {
            assertTrue(allowed, "set");
            Ghost storage ghost = _ghosts[id].push();
            (ghost.deadline, ghost.offsets) = (deadline, offsets);
            assertEq(cycle, _count(id));
        } catch {
            assertTrue(!allowed, "not set");
        }
    }

    /// @notice Earlier or later, mostly with a reason.
    function extend(uint256 pick, uint256 by, uint8 reason) external {
        bytes32 id = idOf(pick);
        uint256 before = _count(id) == 0 ? block.timestamp : _last(id).deadline;
        uint256 deadline = before - 5 + (by % SPAN);
        bool allowed = _mayMove(id) && deadline > before && reason % 8 != 0;
        try REGISTRY.extend(id, uint48(deadline), bytes32(uint256(reason % 8)), 0) {
            assertTrue(allowed, "extended");
            Ghost storage ghost = _last(id);
            ghost.deadline = deadline;
            ++ghost.extensions;
        } catch {
            assertTrue(!allowed, "not extended");
        }
    }

    function pause(uint256 pick) external {
        bytes32 id = idOf(pick);
        bool allowed = _mayMove(id);
        try REGISTRY.pause(id, 0) {
            assertTrue(allowed, "paused");
            Ghost storage ghost = _last(id);
            (ghost.state, ghost.pausedAt) = (ISLARegistry.State.Paused, block.timestamp);
            ghost.left = ghost.deadline - block.timestamp;
        } catch {
            assertTrue(!allowed, "not paused");
        }
    }

    function resume(uint256 pick) external {
        bytes32 id = idOf(pick);
        bool allowed = _hasRole && _count(id) > 0 && _last(id).state == ISLARegistry.State.Paused;
        try REGISTRY.resume(id, 0) {
            assertTrue(allowed, "resumed");
            _restart(_last(id));
        } catch {
            assertTrue(!allowed, "not resumed");
        }
    }

    function meet(uint256 pick) external {
        bytes32 id = idOf(pick);
        bool allowed = _hasRole && _count(id) > 0 && _last(id).state != ISLARegistry.State.Met;
        try REGISTRY.meet(id, 0) {
            assertTrue(allowed, "met");
            Ghost storage ghost = _last(id);
            if (ghost.state == ISLARegistry.State.Paused) _restart(ghost);
            (ghost.state, ghost.metAt) = (ISLARegistry.State.Met, block.timestamp);
        } catch {
            assertTrue(!allowed, "not met");
        }
    }

    function check(uint256 pick, address anyone) external {
        bytes32 id = idOf(pick);
        bool allowed = _count(id) > 0 && dueOf(id) > _last(id).raised;
        VM.recordLogs();
        VM.prank(anyone);
        try REGISTRY.checkAndEscalate(id) returns (uint8 level) {
            assertTrue(allowed, "raised");
            _follow(VM.getRecordedLogs(), anyone);
            assertEq(level, _last(id).raised);
            assertEq(level, dueOf(id));
        } catch {
            assertTrue(!allowed, "not raised");
        }
    }

    /// @notice Ids known, unknown and repeated: all that is due is raised.
    function checkMany(uint256[4] calldata picks, uint8 count, address anyone) external {
        bytes32[] memory ids = new bytes32[](count % 5);
        ISLARegistry.Check[] memory expected = new ISLARegistry.Check[](ids.length);
        for (uint256 i = 0; i < ids.length; ++i) {
            ids[i] = bytes32(picks[i] % (SUBJECTS + 1));
            expected[i] = _expected(ids, i);
        }
        VM.recordLogs();
        VM.prank(anyone);
        ISLARegistry.Check[] memory checks = REGISTRY.batchCheckAndEscalate(ids);
        assertEq(keccak256(abi.encode(checks)), keccak256(abi.encode(expected)));
        _follow(VM.getRecordedLogs(), anyone);
        for (uint256 i = 0; i < ids.length; ++i) {
            if (_count(ids[i]) > 0) assertEq(_last(ids[i]).raised, dueOf(ids[i]));
        }
    }

    /// @notice The role goes, and comes back more often.
    function rotate(uint8 grant) external {
        _hasRole = grant % 4 != 0;
        bytes32 role = REGISTRY.MANAGER_ROLE();
        if (_hasRole) REGISTRY.grantRole(role, address(this));
        else REGISTRY.revokeRole(role, address(this));
    }

    /// @notice Time passes.
    function wait(uint8 time) external {
        VM.warp(block.timestamp + (time % SPAN));
    }

    /// @notice Time passes up to the very second of a deadline, or of one of its levels.
    function waitFor(uint256 pick, uint256 level) external {
        bytes32 id = idOf(pick);
        if (_count(id) == 0) return;
        Ghost storage ghost = _last(id);
        level = level % (ghost.offsets.length + 1);
        uint256 time = ghost.deadline + (level == 0 ? 0 : ghost.offsets[level - 1]);
        if (time > block.timestamp) VM.warp(time);
    }

    function cyclesOf(bytes32 id) external view returns (Ghost[] memory) {
        return _ghosts[id];
    }

    /// @notice The level that the last cycle should have by now. Requires that there is one.
    function dueOf(bytes32 id) public view returns (uint256 due) {
        Ghost storage ghost = _last(id);
        if (ghost.state != ISLARegistry.State.Running) return ghost.raised;
        for (uint256 i = 0; i < ghost.offsets.length; ++i) {
            if (ghost.deadline + ghost.offsets[i] <= block.timestamp) ++due;
        }
    }

    function idOf(uint256 pick) public pure returns (bytes32) {
        return bytes32(pick % SUBJECTS);
    }

    /// @dev Each level is the next one, of a clock that runs, and not before its time.
    function _follow(Vm.Log[] memory logs, address by) private {
        for (uint256 i = 0; i < logs.length; ++i) {
            assertEq(logs[i].topics[0], ISLARegistry.LevelRaised.selector);
            bytes32 id = logs[i].topics[1];
            assertEq(logs[i].topics[2], bytes32(_count(id)));
            Ghost storage ghost = _last(id);
            assertTrue(ghost.state == ISLARegistry.State.Running, "its clock stands still");
            uint256 due = ghost.deadline + ghost.offsets[ghost.raised];
            assertTrue(due <= block.timestamp, "before its time");
            assertEq(keccak256(logs[i].data), keccak256(abi.encode(++ghost.raised, due, by)));
        }
    }

    function _restart(Ghost storage ghost) private {
        ghost.deadline = block.timestamp + ghost.left;
        (ghost.state, ghost.pausedAt) = (ISLARegistry.State.Running, 0);
    }

    function _mayMove(bytes32 id) private view returns (bool) {
        if (!_hasRole || _count(id) == 0) return false;
        Ghost storage ghost = _last(id);
        return ghost.state == ISLARegistry.State.Running && block.timestamp < ghost.deadline;
    }

    /// @dev What a batch says of the id at this place, knowing what came before it in the list.
    function _expected(
        bytes32[] memory ids,
        uint256 index
    ) private view returns (ISLARegistry.Check memory) {
        bytes32 id = ids[index];
        if (_count(id) == 0) return ISLARegistry.Check(ISLARegistry.Outcome.Unknown, 0);
        Ghost storage ghost = _last(id);
        ISLARegistry.Outcome outcome = ISLARegistry.Outcome.NotDue;
        if (ghost.state == ISLARegistry.State.Paused) outcome = ISLARegistry.Outcome.Paused;
        else if (ghost.state == ISLARegistry.State.Met) outcome = ISLARegistry.Outcome.Closed;
        else if (dueOf(id) > ghost.raised) outcome = ISLARegistry.Outcome.Raised;
        if (outcome == ISLARegistry.Outcome.Raised) {
            for (uint256 i = 0; i < index; ++i) {
                if (ids[i] == id) outcome = ISLARegistry.Outcome.NotDue;
            }
        }
        return ISLARegistry.Check(outcome, uint8(dueOf(id)));
    }

    function _count(bytes32 id) private view returns (uint256) {
        return _ghosts[id].length;
    }

    function _last(bytes32 id) private view returns (Ghost storage) {
        return _ghosts[id][_ghosts[id].length - 1];
    }

    /// @dev 0 to 9 levels, seconds apart; one in eight ladders has two levels at one time.
    function _offsets(uint256 seed) private pure returns (uint32[] memory offsets) {
        offsets = new uint32[](seed % 10);
        uint32 offset = uint32(seed >> 8) % 4;
        for (uint256 i = 0; i < offsets.length; ++i) {
            offsets[i] = offset;
            offset += 1 + (uint32(seed >> (16 + 4 * i)) % 10);
        }
        if (seed >> 253 == 0 && offsets.length > 1) offsets[1] = offsets[0];
    }

    function _isLadder(uint32[] memory offsets) private pure returns (bool) {
        if (offsets.length == 0 || offsets.length > 8) return false;
        for (uint256 i = 1; i < offsets.length; ++i) {
            if (offsets[i] <= offsets[i - 1]) return false;
        }
        return true;
    }
}

contract SLARegistryInvariantTest is Test {
    Managers private _managers;
    SLARegistry private _registry;

    function setUp() external {
        VM.warp(1_700_000_000);
        _managers = new Managers();
        _registry = _managers.REGISTRY();
        targetContract(address(_managers));
    }

    /// @notice Every cycle that ever was, and how each subject stands now, are as they must be.
    function invariant_allIsAsItWasMade() external view {
        for (uint256 i = 0; i < _managers.SUBJECTS(); ++i) {
            bytes32 id = _managers.idOf(i);
            Managers.Ghost[] memory ghosts = _managers.cyclesOf(id);
            assertEq(_registry.cycles(id), ghosts.length);
            for (uint32 j = 0; j < ghosts.length; ++j) {
                _checkCycle(_registry.cycleOf(id, j + 1), ghosts[j], j + 1);
            }
            if (ghosts.length > 0) _checkLast(id, ghosts[ghosts.length - 1], uint32(ghosts.length));
        }
    }

    /// @notice What is due is found, in the order asked for, and nothing else.
    function invariant_whatIsDueIsFound() external view {
        uint256 subjects = _managers.SUBJECTS();
        bytes32[] memory ids = new bytes32[](subjects + 1);
        for (uint256 i = 0; i <= subjects; ++i) ids[i] = bytes32(subjects - i);
        bytes32[] memory due = _registry.dueOf(ids);
        uint256 found = 0;
        for (uint256 i = 0; i <= subjects; ++i) {
            Managers.Ghost[] memory ghosts = _managers.cyclesOf(ids[i]);
            if (ghosts.length == 0) continue;
            if (_managers.dueOf(ids[i]) == ghosts[ghosts.length - 1].raised) continue;
            assertEq(due[found], ids[i]);
            ++found;
        }
        assertEq(due.length, found);
    }

    function _checkLast(bytes32 id, Managers.Ghost memory ghost, uint32 number) private view {
        _checkCycle(_registry.deadlineOf(id), ghost, number);
        (ISLARegistry.State state, uint8 raised, uint8 due, bool breached) = _registry.statusOf(id);
        assertTrue(state == ghost.state, "state");
        assertEq(raised, ghost.raised);
        assertEq(due, _managers.dueOf(id));

        int256 left = int256(ghost.left);
        if (ghost.state == ISLARegistry.State.Running) {
            left = int256(ghost.deadline) - int256(block.timestamp);
        } else if (ghost.state == ISLARegistry.State.Met) {
            left = int256(ghost.deadline) - int256(ghost.metAt);
        }
        assertTrue(_registry.timeRemaining(id) == left, "time remaining");
        assertTrue(breached == (left <= 0), "breached");
    }

    function _checkCycle(
        ISLARegistry.Cycle memory cycle,
        Managers.Ghost memory ghost,
        uint32 number
    ) private pure {
        ISLARegistry.Cycle memory expected = ISLARegistry.Cycle(
            number,
            uint48(ghost.deadline),
            uint48(ghost.pausedAt),
            uint48(ghost.metAt),
            uint32(ghost.extensions),
            uint8(ghost.raised),
            ghost.offsets
        );
        assertEq(keccak256(abi.encode(cycle)), keccak256(abi.encode(expected)));
    }
}
