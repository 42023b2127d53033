// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/**
 * @title Register of deadlines
 * @notice Says by when something was to be done for which subject, whether it was done in time, and how
 * far it was escalated when it was not. The time of the block decides. A breach, once past, stays on
 * record: nobody can move the deadline away from under it.
 * @dev A subject's id is the SHA-256 of its name: a pseudonym, not a secret, since whoever guesses the
 * name finds the id. It has one open deadline at a time; one that was met is closed, and may be followed
 * by the next cycle, numbered from 1. Whoever holds the manager role sets, extends, pauses, resumes and
 * meets deadlines; anyone escalates what is overdue, and anyone may read. Times are in seconds since the
 * epoch.
 */
interface ISLARegistry {
    /// @notice Whether the clock of a cycle runs, stands still until it is resumed, or has stopped.
    enum State {
        Running,
        Paused,
        Met
    }

    /// @notice What came of checking an id: it has no deadline, no level is due, its clock stands still,
    /// it was met, or levels were raised.
    enum Outcome {
        Unknown,
        NotDue,
        Paused,
        Closed,
        Raised
    }

    /**
     * @notice One deadline of a subject, from its setting to its end.
     * @param number Number of the cycle, from 1.
     * @param deadline When it is breached, unless met before. While paused, as it stood when the pause
     * began.
     * @param pauseTime Since when its clock stands still; 0 while it runs.
     * @param meetTime When it was met; 0 until then.
     * @param extensions How often it was extended.
     * @param raised The last level that was raised; 0 before the first.
     * @param offsets Seconds from the deadline to each level, ascending; the first is of level 1.
     */
    struct Cycle {
        uint32 number;
        uint48 deadline;
        uint48 pauseTime;
        uint48 meetTime;
        uint32 extensions;
        uint8 raised;
        uint32[] offsets;
    }

    /**
     * @notice What came of checking one id of a batch.
     * @param outcome What came of it.
     * @param level The last level that was raised, in this call or before; 0 where none was.
     */
    struct Check {
        Outcome outcome;
        uint8 level;
    }

    /**
     * @notice A deadline was set, and with it a new cycle begun.
     * @param id The subject.
     * @param cycle Number of the cycle.
     * @param ref SHA-256 of the record that tells of it, or zero.
     * @param deadline When it is breached.
     * @param offsets Seconds from the deadline to each level, ascending.
     * @param by The account that set it.
     */
    event DeadlineSet(
        bytes32 indexed id,
        uint32 indexed cycle,
        bytes32 indexed ref,
        uint48 deadline,
        uint32[] offsets,
        address by
    );

    /**
     * @notice A deadline was moved to a later time.
     * @param id The subject.
     * @param cycle Number of the cycle.
     * @param ref SHA-256 of the record that tells of it, or zero.
     * @param deadline The deadline from now on.
     * @param previous The deadline until now.
     * @param reason Why: 32 bytes of the manager's choice, such as the hash of a text.
     * @param extensions How often it was extended, this time included.
     * @param by The account that extended it.
     */
    event DeadlineExtended(
        bytes32 indexed id,
        uint32 indexed cycle,
        bytes32 indexed ref,
        uint48 deadline,
        uint48 previous,
        bytes32 reason,
        uint32 extensions,
        address by
    );

    /**
     * @notice The clock of a deadline stands still from the time of this block on.
     * @param id The subject.
     * @param cycle Number of the cycle.
     * @param ref SHA-256 of the record that tells of it, or zero.
     * @param by The account that paused it.
     */
    event DeadlinePaused(bytes32 indexed id, uint32 indexed cycle, bytes32 indexed ref, address by);

    /**
     * @notice The clock of a deadline runs again.
     * @param id The subject.
     * @param cycle Number of the cycle.
     * @param ref SHA-256 of the record that tells of it, or zero.
     * @param deadline The deadline from now on: later by the time that it was paused.
     * @param by The account that resumed it.
     */
    event DeadlineResumed(
        bytes32 indexed id,
        uint32 indexed cycle,
        bytes32 indexed ref,
        uint48 deadline,
        address by
    );

    /**
     * @notice What was to be done is done; the cycle is closed at the time of this block.
     * @param id The subject.
     * @param cycle Number of the cycle.
     * @param ref SHA-256 of the record that tells of it, or zero.
     * @param inTime Whether that was before the deadline.
     * @param deadline The deadline that counted: where it was paused, later by the time of the pause.
     * @param by The account that met it.
     */
    event DeadlineMet(
        bytes32 indexed id,
        uint32 indexed cycle,
        bytes32 indexed ref,
        bool inTime,
        uint48 deadline,
        address by
    );

    /**
     * @notice An overdue deadline was escalated by one level.
     * @param id The subject.
     * @param cycle Number of the cycle.
     * @param level The level, from 1; the one before it was raised before it.
     * @param due When it fell due: never later than the block.
     * @param by The account that had it checked.
     */
    event LevelRaised(
        bytes32 indexed id,
        uint32 indexed cycle,
        uint8 level,
        uint48 due,
        address by
    );

    /**
     * @notice Sets the deadline of a subject that has none, or whose last one was met.
     * @dev Requires the manager role, and a deadline after the time of the block and no later than
     * 2⁴⁰ − 1. The ladder has 1 to 8 levels.
     * @param id The subject.
     * @param deadline When it is breached.
     * @param offsets Seconds from the deadline to each level, each more than the one before.
     * @param ref SHA-256 of the record that tells of it, or zero.
     * @return cycle Number of the cycle that begins.
     */
    function setSLADeadline(
        bytes32 id,
        uint48 deadline,
        uint32[] calldata offsets,
        bytes32 ref
    ) external returns (uint32 cycle);

    /**
     * @notice Moves a deadline to a later time, and its levels with it.
     * @dev Requires the manager role, a deadline that runs and is not breached, a later one no later than
     * 2⁴⁰ − 1, and a reason that is not zero.
     * @param id The subject.
     * @param deadline The new deadline.
     * @param reason Why: 32 bytes of the manager's choice, such as the hash of a text.
     * @param ref SHA-256 of the record that tells of it, or zero.
     */
    function extend(bytes32 id, uint48 deadline, bytes32 reason, bytes32 ref) external;

    /**
     * @notice Stops the clock of a deadline until it is resumed.
     * @dev Requires the manager role, and a deadline that runs and is not breached.
     * @param id The subject.
     * @param ref SHA-256 of the record that tells of it, or zero.
     */
    function pause(bytes32 id, bytes32 ref) external;

    /**
     * @notice Lets the clock of a deadline run again: it is later by the time that it was paused, also
     * where that is later than one may be set.
     * @dev Requires the manager role, and a deadline that is paused.
     * @param id The subject.
     * @param ref SHA-256 of the record that tells of it, or zero.
     */
    function resume(bytes32 id, bytes32 ref) external;

    /**
     * @notice Closes a cycle: in time before the deadline, late from the deadline on. A paused deadline is
     * resumed first, and so always met in time. Nothing is escalated any more.
     * @dev Requires the manager role, and a deadline that is open.
     * @param id The subject.
     * @param ref SHA-256 of the record that tells of it, or zero.
     */
    function meet(bytes32 id, bytes32 ref) external;

    /**
     * @notice Raises every level of an overdue deadline that has fallen due and was not raised yet.
     * @dev Anyone may call. Reverts where there is nothing to raise.
     * @param id The subject.
     * @return level The last level that was raised.
     */
    function checkAndEscalate(bytes32 id) external returns (uint8 level);

    /**
     * @notice Raises every level that has fallen due, of as many subjects as are given.
     * @dev Anyone may call. What is unknown, closed or not due is passed over, as is a repeated id, and the
     * others are escalated all the same. A call takes about 22,300 gas, 9,300 for each id with a level to
     * raise, and 2,860 for each level.
     * @param ids The subjects.
     * @return checks What came of each, in the order of the ids.
     */
    function batchCheckAndEscalate(bytes32[] calldata ids) external returns (Check[] memory checks);

    /**
     * @notice The last cycle of a subject, open or not.
     * @dev Reverts where there is none, so that no caller takes zeros for a deadline.
     * @param id The subject.
     * @return cycle The cycle as it stands.
     */
    function deadlineOf(bytes32 id) external view returns (Cycle memory cycle);

    /**
     * @notice Any cycle of a subject, open or not.
     * @dev Reverts where there is none.
     * @param id The subject.
     * @param number Number of the cycle, from 1.
     * @return cycle The cycle as it stands.
     */
    function cycleOf(bytes32 id, uint32 number) external view returns (Cycle memory cycle);

    /**
     * @notice How many cycles a subject has had, the open one included.
     * @param id The subject.
     * @return count Number of the last cycle; 0 where there is none.
     */
    function cycles(bytes32 id) external view returns (uint32 count);

    /**
     * @notice How the last cycle of a subject stands at the time of the block.
     * @dev Reverts where there is none.
     * @param id The subject.
     * @return state Whether its clock runs, stands still, or has stopped.
     * @return raised The last level that was raised; 0 before the first.
     * @return due The level that it would have if it were checked now: `raised` where nothing is due.
     * @return breached Whether the deadline passed before it was met.
     */
    function statusOf(
        bytes32 id
    ) external view returns (State state, uint8 raised, uint8 due, bool breached);

    /**
     * @notice How long the last cycle of a subject has until its deadline, at the time of the block.
     * @dev Reverts where there is none.
     * @param id The subject.
     * @return remaining Seconds; zero and less from the breach on. It stands still while paused, and once
     * met it is what was left then.
     */
    function timeRemaining(bytes32 id) external view returns (int256 remaining);

    /**
     * @notice Those of the given subjects that have a level due at the time of the block.
     * @param ids The subjects, known or not.
     * @return due The ones to be checked, in the order given.
     */
    function dueOf(bytes32[] calldata ids) external view returns (bytes32[] memory due);

    /**
     * @notice What this contract is, so that a foreign address can be told from it.
     * @return name Always "anchord.SLARegistry".
     */
    function contractName() external pure returns (string memory name);

    /**
     * @notice Which revision of the contract this is.
     * @return revision Counts up with every change that callers can see.
     */
    function version() external pure returns (uint256 revision);
}
