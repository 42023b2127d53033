// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AuditLog} from "../../../contracts/AuditLog.sol";
import {IAuditLog} from "../../../contracts/interfaces/IAuditLog.sol";
import {Test} from "./Test.sol";

/// @notice Seals in a few logs, rightly and wrongly, and remembers what must have come of it.
contract Sealers {
    uint256 public constant LOGS = 3;

    AuditLog public immutable AUDIT_LOG;

    mapping(uint256 log => IAuditLog.Seal[] seals) private _sealed;
    mapping(uint256 log => uint64[] times) private _times;

    constructor() {
        AUDIT_LOG = new AuditLog(address(this), address(this));
    }

    /// @notice The next batch, as it should be.
    function sealNext(uint256 log, IAuditLog.Seal memory seal) external {
        log = log % LOGS;
        (uint64 number, bytes32 head) = AUDIT_LOG.headOf(bytes32(log));
        (seal.number, seal.previousHead) = (number + 1, head);
        if (seal.size == 0) seal.size = 1;
        _try(log, seal);
    }

    /// @notice A batch that was sealed before, once more.
    function sealAgain(uint256 log, uint256 index) external {
        log = log % LOGS;
        if (_sealed[log].length > 0) _try(log, _sealed[log][index % _sealed[log].length]);
    }

    /// @notice A sealed batch of one log in another.
    function sealElsewhere(uint256 log, uint256 other, uint256 index) external {
        log = log % LOGS;
        if (_sealed[log].length == 0) return;
        other = (log + 1 + (other % (LOGS - 1))) % LOGS;
        _try(other, _sealed[log][index % _sealed[log].length]);
    }

    /// @notice Anything at all.
    function sealAnything(uint256 log, IAuditLog.Seal memory seal) external {
        _try(log % LOGS, seal);
    }

    function count(uint256 log) external view returns (uint64) {
        return uint64(_sealed[log].length);
    }

    function sealAt(uint256 log, uint64 number) external view returns (IAuditLog.Seal memory) {
        return _sealed[log][number - 1];
    }

    function timeAt(uint256 log, uint64 number) external view returns (uint64) {
        return _times[log][number - 1];
    }

    function _try(uint256 log, IAuditLog.Seal memory seal) private {
        try AUDIT_LOG.sealBatch(bytes32(log), seal) {
            _sealed[log].push(seal);
            _times[log].push(uint64(block.timestamp));
        } catch {
            return;
        }
    }
}

contract AuditLogInvariantTest is Test {
    Sealers private _sealers;
    AuditLog private _auditLog;

    function setUp() external {
        _sealers = new Sealers();
        _auditLog = _sealers.AUDIT_LOG();
        targetContract(address(_sealers));
    }

    /// @notice Numbers have no gap, each head is derived from the one before, nothing sealed changes.
    function invariant_headsAreAChain() external view {
        for (uint256 log = 0; log < _sealers.LOGS(); ++log) _checkLog(log);
    }

    function _checkLog(uint256 log) private view {
        uint64 last = _sealers.count(log);
        bytes32 head = _auditLog.genesisHead(bytes32(log));
        for (uint64 number = 1; number <= last; ++number) {
            head = _checkBatch(log, number, head);
        }
        (uint64 current, bytes32 currentHead) = _auditLog.headOf(bytes32(log));
        assertEq(current, last);
        assertEq(currentHead, head);
        (bytes32 root, bytes32 none, uint64 size, uint64 time) = _auditLog.batchOf(
            bytes32(log),
            last + 1
        );
        assertTrue(root == 0 && none == 0 && size == 0 && time == 0, "no batch after the last");
    }

    function _checkBatch(
        uint256 log,
        uint64 number,
        bytes32 previous
    ) private view returns (bytes32 head) {
        IAuditLog.Seal memory seal = _sealers.sealAt(log, number);
        uint64 size;
        uint64 time;
        bytes32 root;
        (root, head, size, time) = _auditLog.batchOf(bytes32(log), number);
        assertEq(seal.number, number);
        assertEq(seal.previousHead, previous);
        assertEq(root, seal.root);
        assertEq(size, seal.size);
        assertEq(time, _sealers.timeAt(log, number));
        assertEq(head, _headAfter(previous, seal));
    }

    function _headAfter(
        bytes32 previous,
        IAuditLog.Seal memory seal
    ) private pure returns (bytes32) {
        bytes memory numbers = bytes.concat(previous, bytes8(seal.number), seal.root);
        bytes memory digests = bytes.concat(seal.manifestDigest, seal.trailsRoot);
        return sha256(bytes.concat(numbers, bytes8(seal.size), digests, bytes8(seal.nonce)));
    }
}
