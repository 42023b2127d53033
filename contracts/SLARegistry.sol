// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ISLARegistry} from "./interfaces/ISLARegistry.sol";

/**
 * @title SLARegistry
 * @notice Keeps deadlines, their cycles and their levels; see ISLARegistry.
 * @dev The admin grants and revokes both roles, so that a lost or stolen manager key is replaced without
 * moving the register. There is no way, for any role, to erase a breach: from the deadline on it can
 * neither be extended nor paused, and a closed cycle never changes.
 */
contract SLARegistry is ISLARegistry, AccessControl {
    /// @dev Two slots. The ladder has the offset of each level in 32 bits, that of level 1 in the lowest.
    struct PackedCycle {
        uint32 number;
        uint48 deadline;
        uint48 pauseTime;
        uint48 meetTime;
        uint32 extensions;
        uint8 raised;
        uint8 levels;
        uint256 ladder;
    }

    /// @notice Whoever holds this role may set, extend, pause, resume and meet deadlines.
    bytes32 public constant MANAGER_ROLE = keccak256("MANAGER_ROLE");

    // Pauses move a deadline past it: 48 bits hold whatever they add.
    uint48 private constant LATEST_DEADLINE = type(uint40).max;
    uint256 private constant MOST_LEVELS = 8;

    mapping(bytes32 id => PackedCycle cycle) private _last;
    mapping(bytes32 id => mapping(uint32 number => PackedCycle cycle)) private _closed;

    /// @notice The deadline is not after the time of the block.
    error DeadlineInPast(uint48 deadline, uint256 time);

    /// @notice The deadline is later than any may be set. Are these milliseconds?
    error DeadlineTooFar(uint48 latest, uint48 actual);

    /// @notice The subject has an open deadline. Meet it first, or extend it.
    error AlreadyOpen(bytes32 id, uint32 cycle, uint48 deadline);

    /// @notice The ladder has no levels.
    error EmptyLadder();

    /// @notice The ladder has more levels than are kept.
    error TooManyLevels(uint256 most, uint256 actual);

    /// @notice The offset at this place of the ladder is not more than the one before.
    error LadderNotAscending(uint256 index, uint32 previous, uint32 actual);

    /// @notice The subject never had a deadline.
    error UnknownDeadline(bytes32 id);

    /// @notice The subject has not had this cycle; it has had that many.
    error UnknownCycle(bytes32 id, uint32 cycle, uint32 cycles);

    /// @notice The cycle is closed: the deadline was met at that time. Set the next one.
    error NotOpen(bytes32 id, uint32 cycle, uint48 meetTime);

    /// @notice The clock of the deadline runs: there is nothing to resume.
    error NotPaused(bytes32 id, uint32 cycle);

    /// @notice The clock of the deadline stands still since that time. Resume it first.
    error AlreadyPaused(bytes32 id, uint32 cycle, uint48 pauseTime);

    /// @notice The deadline was met before, at that time.
    error AlreadyMet(bytes32 id, uint32 cycle, uint48 meetTime);

    /// @notice The deadline has passed, and a breach stays.
    error AlreadyBreached(bytes32 id, uint32 cycle, uint48 deadline);

    /// @notice The new deadline is not after the one that there is.
    error NotLater(uint48 deadline, uint48 actual);

    /// @notice The extension has no reason.
    error NoReason();

    /// @notice No level above this one has fallen due.
    error NothingDue(bytes32 id, uint32 cycle, uint8 raised);

    /// @notice The role would be given to nobody.
    error ZeroAddress(bytes32 role);

    /**
     * @notice Starts without deadlines.
     * @param admin Grants and revokes roles.
     * @param manager Sets, extends, pauses, resumes and meets deadlines.
     */
    constructor(address admin, address manager) {
        if (admin == address(0)) revert ZeroAddress(DEFAULT_ADMIN_ROLE);
        if (manager == address(0)) revert ZeroAddress(MANAGER_ROLE);
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(MANAGER_ROLE, manager);
    }

    /// @inheritdoc ISLARegistry
    function setSLADeadline(
        bytes32 id,
        uint48 deadline,
        uint32[] calldata offsets,
        bytes32 ref
    ) external onlyRole(MANAGER_ROLE) returns (uint32 cycle) {
        if (deadline <= block.timestamp) revert DeadlineInPast(deadline, block.timestamp);
        _requireReachable(deadline);
        _requireLadder(offsets);

        cycle = _archive(id) + 1;
        PackedCycle memory opened;
        (opened.number, opened.deadline) = (cycle, deadline);
        opened.levels = uint8(offsets.length);
        opened.ladder = _packed(offsets);
        _last[id] = opened;
        emit DeadlineSet(id, cycle, ref, deadline, offsets, msg.sender);
    }

    /// @inheritdoc ISLARegistry
    function extend(
        bytes32 id,
        uint48 deadline,
        bytes32 reason,
        bytes32 ref
    ) external onlyRole(MANAGER_ROLE) {
        PackedCycle storage sla = _unbreached(id);
        uint48 previous = sla.deadline;
        if (reason == 0) revert NoReason();
        if (deadline <= previous) revert NotLater(previous, deadline);
        _requireReachable(deadline);

        sla.deadline = deadline;
        uint32 extensions = ++sla.extensions;
        emit DeadlineExtended(
            id,
            sla.number,
            ref,
            deadline,
            previous,
            reason,
            extensions,
            msg.sender
        );
    }

    /// @inheritdoc ISLARegistry
    function pause(bytes32 id, bytes32 ref) external onlyRole(MANAGER_ROLE) {
        PackedCycle storage sla = _unbreached(id);
        sla.pauseTime = uint48(block.timestamp);
        emit DeadlinePaused(id, sla.number, ref, msg.sender);
    }

    /// @inheritdoc ISLARegistry
    function resume(bytes32 id, bytes32 ref) external onlyRole(MANAGER_ROLE) {
        PackedCycle storage sla = _open(id);
        if (sla.pauseTime == 0) revert NotPaused(id, sla.number);
        _endPause(sla);
        emit DeadlineResumed(id, sla.number, ref, sla.deadline, msg.sender);
    }

    /// @inheritdoc ISLARegistry
    function meet(bytes32 id, bytes32 ref) external onlyRole(MANAGER_ROLE) {
        PackedCycle storage sla = _known(id);
        if (sla.meetTime != 0) revert AlreadyMet(id, sla.number, sla.meetTime);
        if (sla.pauseTime != 0) _endPause(sla);
        sla.meetTime = uint48(block.timestamp);
        emit DeadlineMet(id, sla.number, ref, !_isBreached(sla), sla.deadline, msg.sender);
    }

    /// @inheritdoc ISLARegistry
    function checkAndEscalate(bytes32 id) external returns (uint8 level) {
        PackedCycle memory sla = _running(id);
        level = _raise(id, sla);
        if (level == sla.raised) revert NothingDue(id, sla.number, level);
    }

    /// @inheritdoc ISLARegistry
    function batchCheckAndEscalate(
        bytes32[] calldata ids
    ) external returns (Check[] memory checks) {
        checks = new Check[](ids.length);
        for (uint256 i = 0; i < ids.length; ++i) checks[i] = _check(ids[i]);
    }

    /// @inheritdoc ISLARegistry
    function deadlineOf(bytes32 id) external view returns (Cycle memory cycle) {
        return _unpacked(_known(id));
    }

    /// @inheritdoc ISLARegistry
    function cycleOf(bytes32 id, uint32 number) external view returns (Cycle memory cycle) {
        PackedCycle storage last = _last[id];
        if (number == 0 || number > last.number) revert UnknownCycle(id, number, last.number);
        return _unpacked(number == last.number ? last : _closed[id][number]);
    }

    /// @inheritdoc ISLARegistry
    function cycles(bytes32 id) external view returns (uint32 count) {
        return _last[id].number;
    }

    /// @inheritdoc ISLARegistry
    function statusOf(
        bytes32 id
    ) external view returns (State state, uint8 raised, uint8 due, bool breached) {
        PackedCycle memory sla = _known(id);
        if (sla.meetTime != 0) state = State.Met;
        else if (sla.pauseTime != 0) state = State.Paused;
        return (state, sla.raised, _dueLevel(sla), _isBreached(sla));
    }

    /// @inheritdoc ISLARegistry
    function timeRemaining(bytes32 id) external view returns (int256 remaining) {
        PackedCycle memory sla = _known(id);
        return int256(uint256(sla.deadline)) - int256(_clock(sla));
    }

    /// @inheritdoc ISLARegistry
    function dueOf(bytes32[] calldata ids) external view returns (bytes32[] memory due) {
        bytes32[] memory found = new bytes32[](ids.length);
        uint256 count = 0;
        for (uint256 i = 0; i < ids.length; ++i) {
            PackedCycle memory sla = _last[ids[i]];
            if (_dueLevel(sla) == sla.raised) continue;
            found[count] = ids[i];
            ++count;
        }
        due = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) due[i] = found[i];
    }

    /// @inheritdoc ISLARegistry
    function contractName() external pure returns (string memory name) {
        return "anchord.SLARegistry";
    }

    /// @inheritdoc ISLARegistry
    function version() external pure returns (uint256 revision) {
        return 1;
    }

    /// @dev Makes room for the next cycle, and says the number of the last; 0 where there is none.
    function _archive(bytes32 id) private returns (uint32 number) {
        PackedCycle storage last = _last[id];
        number = last.number;
        if (number == 0) return 0;
        if (last.meetTime == 0) revert AlreadyOpen(id, number, last.deadline);
        _closed[id][number] = last;
    }

    /// @dev Requires a paused cycle.
    function _endPause(PackedCycle storage sla) private {
        sla.deadline += uint48(block.timestamp) - sla.pauseTime;
        sla.pauseTime = 0;
    }

    function _check(bytes32 id) private returns (Check memory) {
        PackedCycle memory sla = _last[id];
        uint8 raised = sla.raised;
        if (sla.number == 0) return Check(Outcome.Unknown, 0);
        if (sla.meetTime != 0) return Check(Outcome.Closed, raised);
        if (sla.pauseTime != 0) return Check(Outcome.Paused, raised);
        uint8 level = _raise(id, sla);
        return Check(level == raised ? Outcome.NotDue : Outcome.Raised, level);
    }

    /// @dev Raises what is due, and says the last level raised, now or before. Requires a running clock.
    function _raise(bytes32 id, PackedCycle memory sla) private returns (uint8 level) {
        level = sla.raised;
        while (level < sla.levels) {
            uint48 due = _nextDue(sla, level);
            if (block.timestamp < due) break;
            emit LevelRaised(id, sla.number, ++level, due, msg.sender);
        }
        if (level != sla.raised) _last[id].raised = level;
    }

    function _known(bytes32 id) private view returns (PackedCycle storage sla) {
        sla = _last[id];
        if (sla.number == 0) revert UnknownDeadline(id);
    }

    function _open(bytes32 id) private view returns (PackedCycle storage sla) {
        sla = _known(id);
        if (sla.meetTime != 0) revert NotOpen(id, sla.number, sla.meetTime);
    }

    function _running(bytes32 id) private view returns (PackedCycle storage sla) {
        sla = _open(id);
        if (sla.pauseTime != 0) revert AlreadyPaused(id, sla.number, sla.pauseTime);
    }

    function _unbreached(bytes32 id) private view returns (PackedCycle storage sla) {
        sla = _running(id);
        if (_isBreached(sla)) revert AlreadyBreached(id, sla.number, sla.deadline);
    }

    function _isBreached(PackedCycle memory sla) private view returns (bool) {
        return _clock(sla) >= sla.deadline;
    }

    /// @dev The time that counts: it stands still while paused, and once met.
    function _clock(PackedCycle memory sla) private view returns (uint256) {
        if (sla.meetTime != 0) return sla.meetTime;
        return sla.pauseTime != 0 ? sla.pauseTime : block.timestamp;
    }

    /// @dev The highest level that is due or was raised. Once met, no other falls due.
    function _dueLevel(PackedCycle memory sla) private view returns (uint8 level) {
        level = sla.raised;
        if (sla.meetTime != 0) return level;
        uint256 time = _clock(sla);
        while (level < sla.levels && time >= _nextDue(sla, level)) ++level;
    }

    /// @dev When the level after this one falls due. Requires one below the last.
    function _nextDue(PackedCycle memory sla, uint8 level) private pure returns (uint48) {
        return sla.deadline + _offset(sla.ladder, level);
    }

    function _unpacked(PackedCycle memory sla) private pure returns (Cycle memory cycle) {
        uint32[] memory offsets = new uint32[](sla.levels);
        for (uint256 i = 0; i < offsets.length; ++i) offsets[i] = _offset(sla.ladder, i);
        return
            Cycle({
                number: sla.number,
                deadline: sla.deadline,
                pauseTime: sla.pauseTime,
                meetTime: sla.meetTime,
                extensions: sla.extensions,
                raised: sla.raised,
                offsets: offsets
            });
    }

    /// @dev Requires at most 8 offsets.
    function _packed(uint32[] calldata offsets) private pure returns (uint256 ladder) {
        for (uint256 i = 0; i < offsets.length; ++i) ladder |= uint256(offsets[i]) << (32 * i);
    }

    function _offset(uint256 ladder, uint256 index) private pure returns (uint32) {
        return uint32(ladder >> (32 * index));
    }

    function _requireReachable(uint48 deadline) private pure {
        if (deadline > LATEST_DEADLINE) revert DeadlineTooFar(LATEST_DEADLINE, deadline);
    }

    function _requireLadder(uint32[] calldata offsets) private pure {
        if (offsets.length == 0) revert EmptyLadder();
        if (offsets.length > MOST_LEVELS) revert TooManyLevels(MOST_LEVELS, offsets.length);
        for (uint256 i = 1; i < offsets.length; ++i) {
            (uint32 previous, uint32 offset) = (offsets[i - 1], offsets[i]);
            if (offset <= previous) revert LadderNotAscending(i, previous, offset);
        }
    }
}
