// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice The few cheatcodes of forge that the tests need.
interface Vm {
    struct Log {
        bytes32[] topics;
        bytes data;
        address emitter;
    }

    function assume(bool condition) external pure;
    function chainId(uint256 value) external;
    function warp(uint256 time) external;
    function roll(uint256 number) external;
    function prank(address sender) external;
    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory logs);
    function expectRevert(bytes calldata revertData) external;
}

// Forge answers here.
Vm constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

/// @notice What a test contract of forge needs, without forge's own library.
abstract contract Test {
    address[] private _targets;

    error Different(bytes32 expected, bytes32 actual);
    error NotHeld(string what);

    /// @notice Which contracts an invariant test may call: forge asks for them.
    function targetContracts() external view returns (address[] memory) {
        return _targets;
    }

    function targetContract(address target) internal {
        _targets.push(target);
    }

    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + (value % (high - low + 1));
    }

    function assertEq(bytes32 actual, bytes32 expected) internal pure {
        if (actual != expected) revert Different(expected, actual);
    }

    function assertEq(uint256 actual, uint256 expected) internal pure {
        assertEq(bytes32(actual), bytes32(expected));
    }

    function assertTrue(bool held, string memory what) internal pure {
        if (!held) revert NotHeld(what);
    }
}
