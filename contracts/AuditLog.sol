// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IAuditLog} from "./interfaces/IAuditLog.sol";

/**
 * @title AuditLog
 * @notice Keeps the heads, roots, sizes and times of sealed batches; see IAuditLog.
 * @dev The admin grants and revokes both roles, so that a lost or stolen sealer key is replaced
 * without moving a log. There is no way, for any role, to alter or remove a batch.
 */
contract AuditLog is IAuditLog, AccessControl {
    struct Batch {
        bytes32 root;
        bytes32 head;
        uint64 size;
        uint64 time;
    }

    struct Log {
        uint64 count;
        mapping(uint64 number => Batch batch) batches;
    }

    /// @notice Whoever holds this role may seal batches.
    bytes32 public constant SEALER_ROLE = keccak256("SEALER_ROLE");

    uint8 private constant MAXIMUM_DIFFICULTY = 16;
    bytes15 private constant GENESIS_TAG = "anchord/head/v1";
    bytes1 private constant NODE_PREFIX = 0x01;

    /// @inheritdoc IAuditLog
    uint8 public minimumDifficulty;

    mapping(bytes32 log => Log state) private _logs;

    /// @notice The batch is not the next one. Read `headOf`: it was sealed already, or one is missing.
    error UnexpectedNumber(uint64 expected, uint64 actual);

    /// @notice The batch follows another head than the log's: it belongs to another history.
    error UnexpectedHead(bytes32 expected, bytes32 actual);

    /// @notice The batch has no records.
    error EmptyBatch();

    /// @notice The head starts with too few zero hex digits. Find another nonce.
    error InsufficientWork(uint8 required, uint8 actual);

    /// @notice No sealer could be expected to do this much work.
    error DifficultyTooHigh(uint8 maximum, uint8 actual);

    /// @notice The role would be given to nobody.
    error ZeroAddress(bytes32 role);

    /**
     * @notice Starts with every log empty and no work asked for.
     * @param admin Grants and revokes roles, sets the difficulty.
     * @param sealer Seals batches.
     */
    constructor(address admin, address sealer) {
        if (admin == address(0)) revert ZeroAddress(DEFAULT_ADMIN_ROLE);
        if (sealer == address(0)) revert ZeroAddress(SEALER_ROLE);
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(SEALER_ROLE, sealer);
    }

    /// @inheritdoc IAuditLog
    function sealBatch(bytes32 log, Seal calldata seal) external onlyRole(SEALER_ROLE) {
        (uint64 number, bytes32 head) = headOf(log);
        if (seal.number != number + 1) revert UnexpectedNumber(number + 1, seal.number);
        if (seal.previousHead != head) revert UnexpectedHead(head, seal.previousHead);
        if (seal.size == 0) revert EmptyBatch();

        bytes32 next = _nextHead(seal);
        _requireWork(next);
        _append(log, seal, next);
    }

    /// @inheritdoc IAuditLog
    function setMinimumDifficulty(uint8 difficulty) external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (difficulty > MAXIMUM_DIFFICULTY) {
            revert DifficultyTooHigh(MAXIMUM_DIFFICULTY, difficulty);
        }
        emit DifficultyChanged(minimumDifficulty, difficulty);
        minimumDifficulty = difficulty;
    }

    /// @inheritdoc IAuditLog
    function batchOf(
        bytes32 log,
        uint64 number
    ) external view returns (bytes32 root, bytes32 head, uint64 size, uint64 time) {
        if (number == 0) return (0, genesisHead(log), 0, 0);
        Batch storage batch = _logs[log].batches[number];
        return (batch.root, batch.head, batch.size, batch.time);
    }

    /// @inheritdoc IAuditLog
    function verify(
        bytes32 log,
        uint64 number,
        bytes32 leaf,
        uint64 index,
        bytes32[] calldata path
    ) external view returns (bool included) {
        Batch storage batch = _logs[log].batches[number];
        if (index >= batch.size) return false;
        (bool complete, bytes32 root) = _rootFromPath(leaf, index, batch.size, path);
        return complete && root == batch.root;
    }

    /// @inheritdoc IAuditLog
    function contractName() external pure returns (string memory name) {
        return "anchord.AuditLog";
    }

    /// @inheritdoc IAuditLog
    function version() external pure returns (uint256 revision) {
        return 1;
    }

    /// @inheritdoc IAuditLog
    function headOf(bytes32 log) public view returns (uint64 number, bytes32 head) {
        number = _logs[log].count;
        head = number == 0 ? genesisHead(log) : _logs[log].batches[number].head;
    }

    /// @inheritdoc IAuditLog
    function genesisHead(bytes32 log) public view returns (bytes32 head) {
        return sha256(abi.encodePacked(GENESIS_TAG, block.chainid, address(this), log));
    }

    function _append(bytes32 log, Seal calldata seal, bytes32 head) private {
        Log storage state = _logs[log];
        state.count = seal.number;
        state.batches[seal.number] = Batch({
            root: seal.root,
            head: head,
            size: seal.size,
            time: uint64(block.timestamp)
        });
        emit BatchSealed(
            log,
            seal.number,
            seal.root,
            head,
            seal.size,
            seal.manifestDigest,
            seal.trailsRoot,
            seal.nonce
        );
    }

    function _requireWork(bytes32 head) private view {
        uint8 work = _workOf(head);
        if (work < minimumDifficulty) revert InsufficientWork(minimumDifficulty, work);
    }

    function _nextHead(Seal calldata seal) private pure returns (bytes32) {
        return
            sha256(
                abi.encodePacked(
                    seal.previousHead,
                    seal.number,
                    seal.root,
                    seal.size,
                    seal.manifestDigest,
                    seal.trailsRoot,
                    seal.nonce
                )
            );
    }

    /// @dev How many zero hex digits a head starts with.
    function _workOf(bytes32 head) private pure returns (uint8) {
        return head == 0 ? 64 : uint8(63 - Math.log2(uint256(head)) / 4);
    }

    /// @dev Not complete where the path has another length than the place asks for. Requires
    /// index < size.
    function _rootFromPath(
        bytes32 leaf,
        uint64 index,
        uint64 size,
        bytes32[] calldata path
    ) private pure returns (bool complete, bytes32 root) {
        uint64 last = size - 1;
        root = leaf;
        for (uint256 i = 0; i < path.length; ++i) {
            if (last == 0) return (false, 0);
            if (index % 2 == 1 || index == last) {
                root = _nodeHash(path[i], root);
                while (index % 2 == 0 && index != 0) (index, last) = (index / 2, last / 2);
            } else {
                root = _nodeHash(root, path[i]);
            }
            (index, last) = (index / 2, last / 2);
        }
        complete = last == 0;
    }

    function _nodeHash(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return sha256(abi.encodePacked(NODE_PREFIX, left, right));
    }
}
