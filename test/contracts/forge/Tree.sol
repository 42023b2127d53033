// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice The tree of RFC 9162, section 2.1, as its recursive definition has it.
library Tree {
    /// @notice The root over leaves[from..to). Requires from < to.
    function root(
        bytes32[] memory leaves,
        uint256 from,
        uint256 to
    ) internal pure returns (bytes32) {
        if (to - from == 1) return leaves[from];
        uint256 middle = from + _split(to - from);
        return _node(root(leaves, from, middle), root(leaves, middle, to));
    }

    /// @notice The path of a leaf within leaves[from..to). Requires from <= index < to.
    function path(
        bytes32[] memory leaves,
        uint256 index,
        uint256 from,
        uint256 to
    ) internal pure returns (bytes32[] memory) {
        if (to - from == 1) return new bytes32[](0);
        uint256 middle = from + _split(to - from);
        return
            index < middle
                ? _append(path(leaves, index, from, middle), root(leaves, middle, to))
                : _append(path(leaves, index, middle, to), root(leaves, from, middle));
    }

    /// @dev The largest power of two below the size.
    function _split(uint256 size) private pure returns (uint256 half) {
        half = 1;
        while (half * 2 < size) half *= 2;
    }

    function _node(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x01), left, right));
    }

    function _append(
        bytes32[] memory hashes,
        bytes32 last
    ) private pure returns (bytes32[] memory longer) {
        longer = new bytes32[](hashes.length + 1);
        for (uint256 i = 0; i < hashes.length; ++i) longer[i] = hashes[i];
        longer[hashes.length] = last;
    }
}
